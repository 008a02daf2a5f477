# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does all the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gate
short_description: Decide go or no-go from the journal of a run
description:
  - Reads back what the evidence callback wrote since the previous gate of the run, and refuses unless every target of
    every component was judged and every blocking finding passed or is waived.
  - Refuses as well when a task failed (also when it was rescued), a host was unreachable, the journal's chain is
    broken, belongs to another run, or has lost records, and when nobody writes evidence.
  - Fails on a no-go. The whole decision is written to C(gates/) in the directory of the run, and recorded in the
    journal.
options:
  name:
    description: Name of the gate.
    type: str
    required: true
  run:
    description: What M(run_open) returned.
    type: dict
    required: true
  components:
    description:
      - The components that must have been judged. The subjects are the names in the variable C(<component>_targets)
        of each.
      - A component without a target cannot be judged, so it closes the gate.
    type: list
    elements: str
    required: true
  declared_components:
    description:
      - All components of the run, where O(components) are only some of them.
      - A waiver for one of the others waits for its gate.
    type: list
    elements: str
    default: []
  waivers:
    description:
      - Accepted deviations, each with C(check), C(subject), C(reason), C(owner), C(ticket) and C(expires) (UTC, such as
        V(2026-01-31T12:00:00Z)), and optionally C(component).
      - One that has expired, is incomplete, or matches nothing that was judged closes the gate by itself.
    type: list
    elements: raw
    default: []
  unwaivable:
    description: Patterns of check names that cannot be waived, besides V(reachable), V(sealed) and V(initialized).
    type: list
    elements: str
    default: []
  refusal:
    description:
      - A reason to refuse that is known already, such as the failure for which a run goes back. The gate says no-go.
      - What is decided after it rests on what was recorded after it.
    type: str
  triggers:
    description:
      - What makes the run go back, see C(run_rollback_triggers) of the role C(run). One that fires refuses, whether
        what fired it blocks, is waived, or neither. Before the first change and on the way back none is evaluated.
      - A list that cannot be evaluated fails, before anything is decided.
    type: list
    elements: raw
    default: []
attributes:
  check_mode:
    support: full
    description: Decides in check mode too; only evidence is written.
"""

EXAMPLES = r"""
- name: Decide whether the cutover may begin
  gate:
    name: preflight
    run: "{{ run_current }}"
    components: [vault, postgres, redis]
"""

RETURN = r"""
decision:
  description: What was decided, and where the whole of it lies.
  returned: always
  type: dict
  contains:
    gate: {description: Name of the gate., type: str}
    verdict: {description: V(go) or V(no-go)., type: str}
    path: {description: The file that holds the whole decision., type: str}
    sha256: {description: Digest of that file., type: str}
"""
