#!/usr/bin/python
"""Lay the lab's folders, secrets, certificates and configuration."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_ground
short_description: Lay the lab's folders, secrets, certificates and configuration
description:
  - Makes below the state folder what is declared and not there yet. Folders get mode 0700, files 0600.
  - Secrets are generated once and never shown. C(@@name@@) in the content of a file stands for the secret of that name.
options:
  state_dir:
    description: The lab's state folder.
    type: path
    required: true
  ground:
    description: Folders, secrets, certificates and files that must be there. See C(vars/main.yml) of the role.
    type: dict
    required: true
  stack:
    description: Programs, listeners and app hosts. See C(vars/main.yml) of the role.
    type: dict
    required: true
author:
  - Cutover maintainers
"""

EXAMPLES = r"""
- name: Lay the ground
  lab_ground:
    state_dir: "{{ lab_state_dir }}"
    ground: "{{ __lab_ground }}"
    stack: "{{ __lab_stack }}"
  register: __lab_laid
"""

RETURN = r"""
touched:
  description: The programs whose files changed, which must start again.
  type: list
  elements: str
  returned: always
missing:
  description: What was made, or in check mode would be.
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lab import ground as grounds
from ansible.module_utils.lab.trouble import Trouble


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state_dir": {"type": "path", "required": True},
            "ground": {"type": "dict", "required": True},
            "stack": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    ground = grounds.Ground.of(module.params)
    missing = grounds.missing(ground)
    try:
        touched = grounds.lay(ground) if missing and not module.check_mode else []
    except Trouble as trouble:
        module.fail_json(msg=str(trouble))
    module.exit_json(changed=bool(missing), missing=missing, touched=touched)


if __name__ == "__main__":
    main()
