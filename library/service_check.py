#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to the checks of processes: judge_service.py says what must be true, observe_service.py looks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_check
short_description: Verify which processes run under a process manager, since when, and that they log no errors
description:
  - Asks supervisord, systemd or a declared command, and reads only.
  - A name that the process manager does not know is neither running nor stopped, so a wrong name never passes.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
extends_documentation_fragment: [check, targets]
options:
  targets:
    suboptions:
      name:
        description: Name of the target in reports; unique among the targets.
        type: str
        required: true
      driver:
        description:
          - Who manages the processes.
          - V(supervisor) needs O(targets[].address), V(command) needs O(targets[].status_argv).
        type: str
        choices: [supervisor, systemd, command]
        required: true
      address:
        description: Where supervisord listens, V(unix:///path/of/supervisor.sock) or V(http://host:port).
        type: str
      username:
        description: User name that supervisord asks for.
        type: str
      password:
        description: Password that supervisord asks for.
        type: str
      systemctl:
        description: The program to ask systemd with.
        type: str
        default: systemctl
      scope:
        description: Which systemd is asked, the one of the system or that of the user who looks.
        type: str
        choices: [system, user]
        default: system
      status_argv:
        description:
          - The command that tells the state of one process, whose name is added as the last argument.
          - Exit code 0 means that it runs, one of O(targets[].stopped_codes) that it does not. Any other is an error.
        type: list
        elements: str
      chdir:
        description: The directory in which to run O(targets[].status_argv).
        type: path
      stopped_codes:
        description: Exit codes that mean that there is no process; the default is that of Linux Standard Base scripts.
        type: list
        elements: int
        default: [1, 2, 3]
      expected:
        description: What is expected of this target; overrides O(expected) option by option.
        type: dict
        suboptions: &expectation
          running:
            description:
              - Names of processes that must run (C(running.<name>)).
              - For supervisord a program, V(group:program), or a group, all of whose programs must run. For systemd a
                unit; one that is C(active (exited)) has no process and does not run.
            type: list
            elements: str
          stopped:
            description: Names of processes that must not run and not come back by themselves (C(stopped.<name>)).
            type: list
            elements: str
          min_uptime_s:
            description: Least seconds since which everything in O(expected.running) runs (C(uptime.<name>)).
            type: float
          log_files:
            description:
              - Logs in which no line since the start of the process matches O(expected.error_patterns), by the name of
                the process (C(errors.<name>)). The last 10 MiB are read.
              - Without O(expected.log_since), lines count by the times that they bear; lines without one belong to the
                line above. Times without a zone are related to the moment at which the file was last written.
            type: dict
          log_since:
            description:
              - Regular expression (Python) of a line that every process logs when it starts; lines from the last such
                line on count. In it, C({pid}) is the process id that the process manager tells.
              - Where no line matches, the finding is an error.
            type: str
          error_patterns:
            description:
              - Regular expressions (Python); a line that one of them matches is an error line.
              - Not declared, they are C(\bERROR\b), C(\bCRITICAL\b) and C(Traceback).
            type: list
            elements: str
  expected:
    description: What is expected of every target.
    type: dict
    suboptions: *expectation
  component:
    description: The component in whose name the verdicts are given.
    type: str
    default: services
"""

EXAMPLES = r"""
- name: Verify that the application runs, and that the scheduler does not yet
  service_check:
    component: release
    targets:
      - name: app1
        driver: supervisor
        address: unix:///srv/shop/run/supervisor.sock
    expected:
      running: [web, worker]
      stopped: [scheduler]
      min_uptime_s: 5
      log_files:
        web: /srv/shop/log/web.log
        worker: /srv/shop/log/worker.log
"""

RETURN = r"""
verdicts:
  description: One verdict for each target, in their order. The fragment C(check) describes its parts.
  returned: always
  type: list
  elements: dict
  sample:
    - component: release
      subject: app1
      address: unix:///srv/shop/run/supervisor.sock
      ok: false
      took_ms: 3
      findings:
        - {check: reachable, status: pass, blocking: true, expected: true, observed: true, cause: null, remedy: null}
        - check: running.web
          status: fail
          blocking: true
          expected: running
          observed: FATAL (Exited too quickly (process log may have details))
          cause: null
          remedy: start web; when it does not stay up, its log says why
commands:
  description: The commands that were run, as evidence; M(recorded_command) describes their parts.
  returned: always
  type: list
  elements: dict
"""

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.glue import check_arguments, reporting
from ansible.module_utils.cutover.judge_service import service_checks
from ansible.module_utils.cutover.observe_service import look_at_services
from ansible.module_utils.cutover.options import PROCESS_MANAGER, PROCESS_MANAGER_RULES
from ansible.module_utils.cutover.verify import verify_targets

EXPECTED = {
    "running": {"type": "list", "elements": "str"},
    "stopped": {"type": "list", "elements": "str"},
    "min_uptime_s": {"type": "float"},
    "log_files": {"type": "dict"},
    "log_since": {"type": "str"},
    "error_patterns": {"type": "list", "elements": "str"},
}

TARGET = {
    "driver": {"type": "str", "choices": ["supervisor", "systemd", "command"], "required": True},
    **PROCESS_MANAGER,
    "status_argv": {"type": "list", "elements": "str"},
    "chdir": {"type": "path"},
    "stopped_codes": {"type": "list", "elements": "int", "default": [1, 2, 3]},
}


def argument_spec() -> dict[str, Any]:
    return check_arguments(
        target=TARGET,
        expected=EXPECTED,
        required_if=[("driver", "supervisor", ("address",)), ("driver", "command", ("status_argv",))],
        **PROCESS_MANAGER_RULES,
    ) | {"component": {"type": "str", "default": "services"}}


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    with reporting(module) as report:
        commands: list[dict[str, Any]] = []
        verdicts = verify_targets(
            module.params["component"],
            module.params,
            partial(look_at_services, keep=commands.append, secrets=module.no_log_values),
            service_checks,
            reachable_remedy="start the process manager, and see that this user may speak with it",
        )
        report(verdicts, commands=commands)


if __name__ == "__main__":
    main()
