# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does all the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drill_outcome
short_description: Say what came of the drills of a run
description:
  - Reads from the run's journal what was decided at each drill's gates, what its fault did, and what was watched.
  - A drill of which nothing is recorded did not pass.
version_added: 1.1.0
author: Cutover maintainers (@cutover)
options:
  run:
    description: What M(run_open) returned.
    type: dict
    required: true
  drills:
    description: The drills that were chosen, as they are declared.
    type: list
    elements: raw
    required: true
attributes:
  check_mode:
    support: full
    description: Reads only.
"""

EXAMPLES = r"""
- name: Say what came of them
  drill_outcome:
    run: "{{ run_current }}"
    drills: "{{ drills_declared }}"
"""

RETURN = r"""
verdicts:
  description: One verdict for each drill. What is recorded holds its timeline, in UTC and in seconds.
  returned: success
  type: list
  elements: dict
  sample:
    - component: drills
      subject: redis_refused
      address: redis
      ok: true
      took_ms: 21000
      findings:
        - {check: hypothesis, status: pass, blocking: true, expected: go, observed: go, cause: null, remedy: null}
      recorded:
        about: Redis refuses connections
        timeline:
          broken_at: "2026-01-31T12:00:00.300000Z"
          noticed_at: "2026-01-31T12:00:00.700000Z"
          undone_at: "2026-01-31T12:00:06.100000Z"
          undone_by: the drill
          well_at: "2026-01-31T12:00:06.900000Z"
          noticed_after_s: 0.4
          broken_for_s: 5.8
          well_after_s: 0.8
lines:
  description: A line for each drill, for people.
  returned: success
  type: list
  elements: str
"""
