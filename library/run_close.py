# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does all the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_close
short_description: Close a run with its final go or no-go
description:
  - Reads the whole journal and says go only when every required gate was decided, every decision was go and still is
    when recomputed from the records, and nothing failed at all, not even in a task that was rescued.
  - Writes C(decision.json) with the head of the journal's chain and the digest of every other file of the run.
  - Fails on a no-go.
options:
  run:
    description: What M(run_open) returned.
    type: dict
    required: true
  required_gates:
    description: The gates that this kind of run must have passed.
    type: list
    elements: str
    required: true
  waivers:
    description: The waivers that the gates were given. One that concerns nothing that any gate looked at is a no-go.
    type: list
    elements: raw
    default: []
  context:
    description: What else the report should say, such as C(release_from), C(release_to) and C(note).
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
    description: Decides in check mode too; only evidence is written.
"""

EXAMPLES = r"""
- name: Close the run
  run_close:
    run: "{{ run_current }}"
    required_gates: [preflight, release]
"""

RETURN = r"""
decision:
  description: The final decision, and where the whole of it lies.
  returned: always
  type: dict
  contains:
    verdict: {description: V(go) or V(no-go)., type: str}
    path: {description: The file that holds the whole decision., type: str}
    sha256: {description: Digest of that file., type: str}
run_closed:
  description: Whether the run was closed.
  returned: always
  type: bool
"""
