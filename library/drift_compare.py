# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does all the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drift_compare
short_description: Compare what a run has observed with the last signed-off run
description:
  - Takes the observations and verdicts from the journal of the run, proves the baseline from its files, and returns
    every difference as new, known (since when) or fixed, with what is expected, was signed off, and is observed.
  - What could not be seen, now or then, is told apart. Without a baseline that can be proven nothing is compared, and
    the verdict says so.
  - Returns verdicts as check modules do, on each target and on the comparison itself. A gate decides.
  - Reads files alone, and takes no lock.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
options:
  run:
    description: What M(run_open) returned.
    type: dict
    required: true
  components:
    description: The components that were judged, as for M(gate).
    type: list
    elements: str
    required: true
  waivers:
    description: Accepted deviations from what is expected, as for M(gate).
    type: list
    elements: raw
    default: []
  unwaivable:
    description: Patterns of check names that cannot be waived, as for M(gate).
    type: list
    elements: str
    default: []
  ignores:
    description:
      - Accepted differences, each with C(key), C(reason), C(owner) and C(expires) (UTC), and optionally C(component)
        and C(subject). Key, component and subject are patterns.
      - One that has expired ignores nothing, and is reported. One that is not whole fails the task.
    type: list
    elements: raw
    default: []
  owners:
    description: Who should look, by component; the key V(*) is for all others.
    type: dict
    default: {}
  every_s:
    description: How often the comparison is due, in seconds; V(0) when nobody promised it.
    type: float
    default: 0.0
attributes:
  check_mode:
    support: full
    description: Reads only, and really compares in check mode.
"""

EXAMPLES = r"""
- name: Compare with what was signed off
  drift_compare:
    run: "{{ run_current }}"
    components: [vault, postgres, redis]
"""

RETURN = r"""
drift:
  description: The baseline, the run before, all differences, and what was not seen.
  returned: success
  type: dict
verdicts:
  description: One verdict on the comparison, and one on each target that was compared.
  returned: success
  type: list
  elements: dict
"""
