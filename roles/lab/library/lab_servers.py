#!/usr/bin/python
"""Start and furnish the lab's servers side by side, or end every process of the lab."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_servers
short_description: Start and furnish the lab's servers side by side, or end every process of the lab
description:
  - Starts what is down. A new PostgreSQL gets its roles, database and extensions; OpenBao is initialised, unsealed
    and gets its policies, AppRoles and secrets. Servers come up at the same time, each in a thread of its own.
  - Processes of the lab that lost their process manager are ended first.
  - With O(state=absent) every process ends and the state folder stays.
options:
  state:
    description: Up or down.
    type: str
    choices: [present, absent]
    default: present
  state_dir:
    description: The lab's state folder.
    type: path
    required: true
  stack:
    description: Programs, listeners and app hosts. See C(vars/main.yml) of the role.
    type: dict
    required: true
  contents:
    description:
      - What new servers are filled with. C(@@name@@) stands for a secret. See C(vars/main.yml) of the role.
      - Required when O(state=present).
    type: dict
  restart:
    description: Programs, C(infrastructure) or app hosts whose configuration changed and that must start again.
    type: list
    elements: str
    default: []
author:
  - Cutover maintainers
"""

EXAMPLES = r"""
- name: Start what is down
  lab_servers:
    state_dir: "{{ lab_state_dir }}"
    stack: "{{ __lab_stack }}"
    contents: "{{ __lab_contents }}"
"""

RETURN = r"""
changes:
  description: The programs that were started or furnished, or the process managers that were ended.
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lab import servers
from ansible.module_utils.lab.trouble import Trouble


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "state_dir": {"type": "path", "required": True},
            "stack": {"type": "dict", "required": True},
            "contents": {"type": "dict"},
            "restart": {"type": "list", "elements": "str", "default": []},
        },
        required_if=[("state", "present", ["contents"])],
    )
    stack = servers.Stack.of(module.params)
    try:
        if module.params["state"] == "absent":
            changes = servers.take_down(stack)
        else:
            changes = servers.bring_up(stack, servers.Contents(**module.params["contents"]), module.params["restart"])
    except Trouble as trouble:
        module.fail_json(msg=str(trouble))
    module.exit_json(changed=bool(changes), changes=changes)


if __name__ == "__main__":
    main()
