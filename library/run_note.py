# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does all the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_note
short_description: Note what a run found, for whoever has to go back to it
description:
  - The evidence callback writes it to the run's journal before the next task begins, so that the way back is known
    whatever happens then. M(run_recall) gives it back.
  - What is masked there could not be gone back to. Then the evidence is broken, and no gate opens.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
options:
  facts:
    description: Names of variables that the way back reads, and their values.
    type: dict
    required: true
attributes:
  check_mode:
    support: full
    description: Evidence is written in check mode as well.
"""

EXAMPLES = r"""
- name: Note the environment that is in force
  run_note:
    facts:
      environment_before: {app1: environments/1.4.1.env}
"""

RETURN = r"""
found:
  description: What goes to the journal.
  returned: success
  type: dict
  sample: {facts: {environment_before: {app1: environments/1.4.1.env}}}
"""
