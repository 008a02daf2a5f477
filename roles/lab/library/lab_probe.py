#!/usr/bin/python
"""Say what of the lab is up and what stands in the way of the rest."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_probe
short_description: Say what of the lab is up and what stands in the way of the rest
description:
  - Compares the files below the state folder with the declared ones, asks the process managers, knocks at every
    port and asks OpenBao whether it is sealed.
  - Changes nothing. Only when something is missing, it looks for what would keep it from starting.
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
- name: Look at what is up
  lab_probe:
    state_dir: "{{ lab_state_dir }}"
    ground: "{{ __lab_ground }}"
    stack: "{{ __lab_stack }}"
  register: __lab_probe
"""

RETURN = r"""
up:
  description: Everything declared is there, runs and answers.
  type: bool
  returned: always
missing:
  description: What is not there, not running or not answering, by name.
  type: list
  elements: str
  returned: always
obstacles:
  description: What would keep the lab from starting, one sentence each, with what to do about it.
  type: list
  elements: str
  returned: always
has_release:
  description: Whether a release is current on any app host.
  type: bool
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lab import ground as grounds
from ansible.module_utils.lab import servers


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state_dir": {"type": "path", "required": True},
            "ground": {"type": "dict", "required": True},
            "stack": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    ground, stack = grounds.Ground.of(module.params), servers.Stack.of(module.params)
    missing = [*grounds.missing(ground), *servers.down(stack)]
    module.exit_json(
        changed=False,
        up=not missing,
        missing=missing,
        obstacles=[*grounds.obstacles(ground), *servers.obstacles(stack)] if missing else [],
        has_release=any(host.has_release for host in stack.app_hosts),
    )


if __name__ == "__main__":
    main()
