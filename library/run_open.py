# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does all the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_open
short_description: Open a run, in which everything that happens becomes evidence
description:
  - Makes the directory C(<artifacts_dir>/<environment>/<run id>) and writes C(manifest.json), masked - who, where,
    when, with which versions, from which commit, with which inputs.
  - From then on the evidence callback writes the run's journal.
  - Writes in check mode too, because evidence is not the system under change.
options:
  verb:
    description: What the run does, such as V(readiness) or V(cutover).
    type: str
    required: true
  environment:
    description: The environment it does that to, such as V(staging).
    type: str
    required: true
  artifacts_dir:
    description: Directory of all runs.
    type: path
    required: true
  operator:
    description: Who is responsible for the run. The user who runs Ansible when left out.
    type: str
  exclusive:
    description: Whether the run changes the environment. Then it is refused while another one has left it unfinished.
    type: bool
    default: false
  settles:
    description: Whether the run brings to an end what others have left unfinished, and so is never refused for it.
    type: bool
    default: false
  drill:
    description:
      - The drill of which the run is a part, as C(run), the id of the run that plays it, and C(drill), its name.
      - A cutover of a drill is to be gone back from.
    type: dict
    default: {}
  resume:
    description:
      - The id of an unfinished run to go on with.
      - Refused when its inputs or this project's code have changed since, and when it had begun to go back.
    type: str
    default: ""
  set_aside:
    description: Ids of unfinished runs for which a person answers. From then on they keep no other from beginning.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: Evidence is written in check mode as well.
"""

EXAMPLES = r"""
- name: Open the run
  run_open:
    verb: readiness
    environment: staging
    artifacts_dir: "{{ playbook_dir }}/../artifacts"
  register: run_current
"""

RETURN = r"""
id:
  description: The run's name - UTC time, verb and four random characters.
  returned: success
  type: str
dir:
  description: The run's directory, readable by its owner alone.
  returned: success
  type: str
verb:
  description: What the run does.
  returned: success
  type: str
environment:
  description: The environment.
  returned: success
  type: str
opened_at:
  description: When it was opened, in UTC.
  returned: success
  type: str
manifest_sha256:
  description: Digest of C(manifest.json).
  returned: success
  type: str
unfinished:
  description: The ids of runs that others have left unfinished.
  returned: success
  type: list
  elements: str
unfinished_drills:
  description: Drills that were begun, and after which nobody has seen that all is well again, as M(drill_note) told.
  returned: success
  type: list
  elements: dict
durations_s:
  description: How long each step took the last time, in seconds.
  returned: success
  type: dict
run_opened:
  description: Tells the evidence callback to begin.
  returned: success
  type: bool
"""
