# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does all the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drill_cutover
short_description: Cut over for a drill and go back from it, and judge what came of both
description:
  - Plays C(cutover.yml), and then C(rollback.yml) unless the cutover has moved nothing or has gone back by itself. Both
    are real, and runs with evidence of their own that says of which drill they are a part.
  - A process of its own plays them, which has no terminal. Whatever becomes of the controller, it goes on, and goes
    back. What both print is in C(.drills/<run>-<drill>.log) beside the runs of the environment.
  - They are given the inventory, variables, vault passwords, user, keys and privileges that the command line has named.
version_added: 1.1.0
author: Cutover maintainers (@cutover)
options:
  run:
    description: What M(run_open) returned. It must have the environment in hand.
    type: dict
    required: true
  drill:
    description: The drill's name.
    type: str
    required: true
  release_version:
    description: The release to cut over to. One that serves already moves nothing, and so proves nothing.
    type: str
    required: true
  extra_vars:
    description:
      - More variables for both playbooks. They are part of a command line, which every user of the controller can see.
    type: dict
    default: {}
  expected:
    description: What must come of it, beside that everything is as it was found.
    type: dict
    required: true
    suboptions:
      verdict:
        description: Whether the release is good, or is to be found out.
        type: str
        choices: [go, no-go]
        default: go
      refused_at:
        description: The gate that is to refuse it, such as V(share). For a no-go.
        type: str
      refused_for:
        description: Patterns of names of checks. Whatever refuses it must be among them. For a no-go.
        type: list
        elements: str
      back_within_s:
        description: Most seconds from the decision to go back until all of it is judged.
        type: float
  limit_s:
    description: Seconds after which the cutover is ended, and gone back from.
    type: float
    default: 900
attributes:
  check_mode:
    support: none
    description: What a cutover would do, C(cutover.yml --check) says.
"""

EXAMPLES = r"""
- name: See that a release that answers with errors is sent back before it takes all of the traffic
  drill_cutover:
    run: "{{ run_current }}"
    drill: canary_judged_bad
    release_version: 1.4.2-answers-500
    expected: {verdict: no-go, refused_at: share, refused_for: [share.errors], back_within_s: 60}
"""

RETURN = r"""
is_back:
  description: Whether everything is as the cutover has found it. If not, nobody should go on.
  returned: always
  type: bool
verdicts:
  description:
    - One verdict, of the component C(drills) and the subject C(<drill>.cutover). What is recorded are the ids of both
      runs, the hash that stands for each one's whole journal, and the seconds that going back took.
  returned: success
  type: list
  elements: dict
  sample:
    - component: drills
      subject: rollback_rehearsal.cutover
      address: 1.4.2
      ok: true
      took_ms: 61000
      findings:
        - {check: cutover, status: pass, blocking: true, expected: go, observed: go, cause: null, remedy: null}
        - {check: back_s, status: pass, blocking: true, expected: at most 60, observed: 11.2, cause: null, remedy: null}
      recorded:
        cutover: {run: 20260131T120004Z-cutover-ab12, journal_head: 6f1c}
        rollback: {run: 20260131T120051Z-rollback-cd34, journal_head: 09ab}
        back_s: 11.2
"""
