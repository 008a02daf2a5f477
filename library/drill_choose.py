# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does all the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drill_choose
short_description: Choose the drills that a run plays, or list them all
description:
  - Refuses what is declared wrongly, a name that is unknown, and a drill that may not be played in the environment.
  - A drill that names its own C(environments) may be played in those. All others may be played in
    O(allowed_environments), and elsewhere only when they are C(harmless), that is, break nothing that serves.
version_added: 1.1.0
author: Cutover maintainers (@cutover)
options:
  declared:
    description: The drills, as drills_declared of the role drills lists them.
    type: list
    elements: raw
    required: true
  wanted:
    description:
      - Names of drills, as a list or with commas between them. Empty for all that may be played.
      - V(list) for the catalogue.
    type: raw
    default: ""
  environment:
    description: The environment in which they are to be played.
    type: str
    required: true
  allowed_environments:
    description: Environments in which drills may break what serves.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    support: full
    description: Reads the declarations only.
"""

EXAMPLES = r"""
- name: Choose the drills
  drill_choose:
    declared: "{{ drills_declared }}"
    wanted: redis_refused,restore
    environment: staging
    allowed_environments: [lab, staging]
"""

RETURN = r"""
drills:
  description: The names of the drills to play, in the order in which they are declared.
  returned: success
  type: list
  elements: str
catalogue:
  description: What each drill does, whom it can hurt, how it is undone, line by line.
  returned: with O(wanted=list)
  type: list
  elements: str
"""
