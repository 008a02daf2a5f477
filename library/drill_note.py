# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does all the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drill_note
short_description: Note that a drill begins to break something, or that all is well again after it
description:
  - The evidence callback writes it to the run's journal before the next task begins. M(run_open) tells whoever comes
    next of every drill that was begun and after which nobody has seen that all is well.
version_added: 1.1.0
author: Cutover maintainers (@cutover)
options:
  drill:
    description: The drill's name.
    type: str
    required: true
  state:
    description: V(begun) before anything is broken, V(recovered) when all was seen to be well again.
    type: str
    choices: [begun, recovered]
    required: true
  fault:
    description: The id of its fault, as M(fault) knows it.
    type: str
    required: true
  host:
    description: The host of the fault.
    type: str
    required: true
  run:
    description: What M(run_open) returned.
    type: dict
    required: true
attributes:
  check_mode:
    support: full
    description: Evidence is written in check mode as well.
"""

EXAMPLES = r"""
- name: Say that Redis is about to be stopped
  drill_note:
    drill: redis_refused
    state: begun
    fault: 20260131T120000Z-drills-ab12-redis_refused
    host: cache1
    run: "{{ run_current }}"
"""

RETURN = r"""
drill:
  description: What goes to the journal.
  returned: success
  type: dict
  sample: {drill: redis_refused, state: begun, fault: 20260131T120000Z-drills-ab12-redis_refused, host: cache1}
"""
