# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does all the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_recall
short_description: Recall what a run found and how far it came, from its evidence
description:
  - Returns what M(run_note) noted in that run, and its steps.
  - Refuses a run whose journal does not hold, that is still at work, or that changed nothing.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
options:
  run:
    description: The run that asks, as M(run_open) has opened it.
    type: dict
    required: true
  of:
    description: The id of the run to recall. The last cutover of the environment that changed anything when left out.
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: Reads only.
"""

EXAMPLES = r"""
- name: Recall what the last cutover found
  run_recall:
    run: "{{ run_current }}"
"""

RETURN = r"""
recalled:
  description: What was recalled, which goes to the journal of the run that asked.
  returned: success
  type: dict
  sample: {run: 20260131T120000Z-cutover-ab12, begun: [stage, migrate], done: [stage], facts: {}, steps: {}}
"""
