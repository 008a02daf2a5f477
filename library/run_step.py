# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does all the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_step
short_description: Say that a step of a run begins, and what came of it
description:
  - The evidence callback writes it to the run's journal before the next task begins.
  - Refuses to begin a step that has no way back, unless it was acknowledged.
  - Refuses to call a step done in which a task failed or a host was out of reach.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
options:
  run:
    description: The run, as M(run_open) has opened it.
    type: dict
    required: true
  name:
    description: Name of the step.
    type: str
    required: true
  state:
    description:
      - How far it has come.
      - V(ended) leaves it to the journal whether that is V(done) or V(failed), and refuses neither.
    type: str
    choices: [begun, done, ended]
    required: true
  undo:
    description: How it is undone, in words.
    type: str
    required: true
  reversible:
    description: Whether it can be undone.
    type: bool
    default: true
  acknowledged:
    description: Names of the steps that may begin although they cannot be undone.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: Evidence is written in check mode as well.
"""

EXAMPLES = r"""
- name: Say that the migration begins
  run_step:
    run: "{{ run_current }}"
    name: migrate
    state: begun
    undo: downgraded to the revision before
"""

RETURN = r"""
step:
  description: What goes to the journal.
  returned: success
  type: dict
  sample: {name: migrate, state: begun, undo: downgraded to the revision before, reversible: true}
"""
