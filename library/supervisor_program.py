#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to supervisord where it shall do something: apply_supervisor.py says what."""

from __future__ import annotations

DOCUMENTATION = r"""
module: supervisor_program
short_description: Start, restart or stop programs of supervisord, and wait until they are up or down
description:
  - Brings all O(names) into O(state) side by side, and ends when they are in it, or when one cannot get there.
  - A program that keeps crashing, and that supervisord is about to start again, counts as running until it is stopped;
    C(community.general.supervisorctl) takes it for stopped, and it comes back.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
options:
  names:
    description: Names of programs, of groups, or C(group:program), as supervisord knows them.
    type: list
    elements: str
    required: true
  state:
    description:
      - What becomes of them. A program that is on its way up counts as started.
      - With V(restarted), what was changed in their configuration is taken over; other programs are left alone.
    type: str
    choices: [started, restarted, stopped]
    required: true
  address:
    description: Where supervisord listens, such as V(unix:///run/supervisor.sock).
    type: str
    required: true
  username:
    description: Login at supervisord.
    type: str
  password:
    description: Its password.
    type: str
  timeout_s:
    description: Deadline for all of them, in seconds. Programs may take their C(stopwaitsecs) to end.
    type: float
    default: 120.0
attributes:
  check_mode:
    support: full
    description: Says which programs would be changed.
"""

EXAMPLES = r"""
- name: Stop the scheduler, also when it keeps crashing
  supervisor_program:
    names: [scheduler]
    state: stopped
    address: unix:///run/supervisor.sock
"""

RETURN = r"""
programs:
  description: The programs that were changed, as C(group:program).
  returned: success
  type: list
  elements: str
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.apply_supervisor import ProgramError, bring
from ansible.module_utils.cutover.checks import CannotObserve
from ansible.module_utils.cutover.pool import Deadline


def argument_spec() -> dict[str, Any]:
    return {
        "names": {"type": "list", "elements": "str", "required": True},
        "state": {"type": "str", "choices": ["started", "restarted", "stopped"], "required": True},
        "address": {"type": "str", "required": True},
        "username": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "timeout_s": {"type": "float", "default": 120.0},
    }


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True, required_by={"password": ("username",)})
    options = module.params
    deadline = Deadline(time.monotonic() + options["timeout_s"])
    try:
        changed = bring(options, options["names"], options["state"], deadline=deadline, check_mode=module.check_mode)
    except (ProgramError, CannotObserve) as reason:
        module.fail_json(msg=f"{', '.join(options['names'])}: not {options['state']}. {reason}")
    module.exit_json(changed=bool(changed), programs=changed)


if __name__ == "__main__":
    main()
