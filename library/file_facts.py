#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to the facts of files: observe_files.py looks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: file_facts
short_description: Take the facts of environment files and of folders
description:
  - Of an environment file, the names of its variables and a fingerprint of each value; of a folder, a fingerprint of
    every file. Owner, mode, and where a link leads.
  - What is not there is a fact as well. What is there and cannot be read is not.
  - Judges nothing. What is taken here is compared with what was taken when a run was signed off.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
extends_documentation_fragment: [facts, facts.salt, targets]
options:
  targets:
    suboptions:
      name:
        description: Name of the target in reports; unique among the targets.
        type: str
        required: true
      path:
        description: The file or folder; a link is followed.
        type: path
        required: true
      kind:
        description: Whether it is an environment file or a folder.
        type: str
        required: true
        choices: [variables, tree]
      exclude:
        description: Patterns of names that are left out, besides what Python makes when it runs.
        type: list
        elements: str
      max_files:
        description: Of more files than this, one for each folder at the top.
        type: int
        default: 2000
  component:
    description: What the observations are of, such as V(environment) or V(release).
    type: str
    default: files
"""

EXAMPLES = r"""
- name: Take fingerprints of the release
  file_facts:
    component: release
    targets:
      - {name: web1, path: /srv/shop/current, kind: tree}
    salt: "{{ run_salt_secret }}"
"""

RETURN = r"""
observations:
  description: One observation for each target, in their order. The fragment C(facts) describes its parts.
  returned: always
  type: list
  elements: dict
  sample:
    - component: release
      subject: web1
      address: web1
      took_ms: 12
      facts:
        - {key: file.bin/web, value: fingerprint 0a1b2c3d4e5f6071 executable}
      unseen: []
"""

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.glue import fact_arguments, recording
from ansible.module_utils.cutover.observation import fingerprints, observe_targets

TARGET = {
    "path": {"type": "path", "required": True},
    "kind": {"type": "str", "choices": ["variables", "tree"], "required": True},
    "exclude": {"type": "list", "elements": "str"},
    "max_files": {"type": "int", "default": 2000},
}


def argument_spec() -> dict[str, Any]:
    return fact_arguments(target=TARGET) | {"component": {"type": "str", "default": "files"}}


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    with recording(module) as record:
        from ansible.module_utils.cutover.observe_files import look_at_files

        record(
            observe_targets(
                module.params["component"], module.params, partial(look_at_files, fingerprints(module.params["salt"]))
            )
        )


if __name__ == "__main__":
    main()
