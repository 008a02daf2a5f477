#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to a look at processes that judges nothing: which of those that are named run now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_state
short_description: Say which of a host's processes run
description:
  - Asks supervisord, systemd or a declared command, and judges nothing; M(service_check) does.
  - For whoever changes processes and has to bring back what was there.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
options:
  names:
    description: Names of the processes, as the process manager knows them.
    type: list
    elements: str
    required: true
  target:
    description: The process manager, as a target of M(service_check) without its name and expectation.
    type: dict
    required: true
    suboptions:
      driver:
        description: Who tells.
        type: str
        choices: [supervisor, systemd, command]
        required: true
      address:
        description: Where supervisord listens, such as V(unix:///run/supervisor.sock).
        type: str
      username:
        description: Login at supervisord.
        type: str
      password:
        description: Its password.
        type: str
      systemctl:
        description: The program to ask systemd by.
        type: str
        default: systemctl
      scope:
        description: Which systemd is asked.
        type: str
        choices: [system, user]
        default: system
      status_argv:
        description: The command that gets the name of a process as its last argument, and ends with 0 when it runs.
        type: list
        elements: str
      chdir:
        description: Where to run it.
        type: path
      stopped_codes:
        description: Its exit codes for a process that does not run.
        type: list
        elements: int
        default: [1, 2, 3]
  timeout_s:
    description: Deadline, in seconds.
    type: float
    default: 5.0
attributes:
  check_mode:
    support: full
    description: Reads only, and really looks in check mode.
"""

EXAMPLES = r"""
- name: See what runs
  service_state:
    names: [web, worker]
    target: {driver: supervisor, address: unix:///run/supervisor.sock}
"""

RETURN = r"""
running:
  description: Names of the processes that run. One whose state cannot be told fails the module.
  returned: success
  type: list
  elements: str
commands:
  description: The commands that were run, as evidence; M(recorded_command) describes their parts.
  returned: always
  type: list
  elements: dict
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.checks import CannotObserve, known
from ansible.module_utils.cutover.observe_service import look_at_services
from ansible.module_utils.cutover.pool import Deadline

TARGET = {
    "driver": {"type": "str", "choices": ["supervisor", "systemd", "command"], "required": True},
    "address": {"type": "str"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "systemctl": {"type": "str", "default": "systemctl"},
    "scope": {"type": "str", "choices": ["system", "user"], "default": "system"},
    "status_argv": {"type": "list", "elements": "str"},
    "chdir": {"type": "path"},
    "stopped_codes": {"type": "list", "elements": "int", "default": [1, 2, 3]},
}


def argument_spec() -> dict[str, Any]:
    return {
        "names": {"type": "list", "elements": "str", "required": True},
        "target": {
            "type": "dict",
            "required": True,
            "options": TARGET,
            "required_if": [("driver", "supervisor", ("address",)), ("driver", "command", ("status_argv",))],
            "required_by": {"password": ("username",)},
        },
        "timeout_s": {"type": "float", "default": 5.0},
    }


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    names = module.params["names"]
    commands: list[dict[str, Any]] = []
    target = {**module.params["target"], "expected": {"running": names}}
    deadline = Deadline(time.monotonic() + module.params["timeout_s"], time.monotonic)
    try:
        seen = look_at_services(target, deadline, keep=commands.append, secrets=module.no_log_values)
        running = [name for name in names if known(seen.processes[name]).running]
    except CannotObserve as reason:
        module.fail_json(msg=f"Nobody can say what runs: {reason}", commands=commands)
    module.exit_json(changed=False, running=running, commands=commands)


if __name__ == "__main__":
    main()
