#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to starts that must be refused: judge_start.py says how, observe_start.py tries."""

from __future__ import annotations

DOCUMENTATION = r"""
module: start_check
short_description: Verify that a service refuses to start with settings that it must not have
description:
  - Starts one more instance of it with the wrong settings, and sees that it gives up quickly, that nobody ever listens
    at its port, and that it says why. One that goes on is ended.
  - What serves is not touched, as long as the instance has a port of its own.
version_added: 1.1.0
author: Cutover maintainers (@cutover)
extends_documentation_fragment: [check, targets]
options:
  targets:
    suboptions:
      name:
        description: Name of the target in reports; unique among the targets.
        type: str
        required: true
      argv:
        description: The program and its arguments. It must stay in the foreground.
        type: list
        elements: str
        required: true
      chdir:
        description: The directory in which to run it.
        type: path
      env_file:
        description: File on the host with C(NAME=value) lines, such as the one of the release.
        type: path
      environment:
        description: Variables, after those of O(targets[].env_file); the wrong ones among them. Never logged.
        type: dict
      unset:
        description: Names of variables that are taken out.
        type: list
        elements: str
      host:
        description: Where it would listen.
        type: str
        default: 127.0.0.1
      port:
        description: The port at which it would listen. It must be free.
        type: int
      expected:
        description: What is expected of this target; overrides O(expected) option by option.
        type: dict
        suboptions: &expectation
          refuses_within_s:
            description: Most seconds until it ends, with another status than 0.
            type: float
          names:
            description: Words that its last lines hold, such as the name of the variable.
            type: list
            elements: str
  expected:
    description: What is expected of every target.
    type: dict
    suboptions: *expectation
  timeout_s:
    description: Deadline for one target, in seconds.
    type: float
    default: 30.0
  workers:
    description: How many starts are tried side by side.
    type: int
    default: 2
attributes:
  check_mode:
    support: full
    description: It does the same, for what serves is not touched.
"""

EXAMPLES = r"""
- name: Verify that the service refuses a start without Redis
  start_check:
    targets:
      - name: no-redis-url
        argv: [/srv/shop/current/bin/web]
        env_file: /srv/shop/environment
        environment: {LISTEN_PORT: "8100"}
        unset: [REDIS_URL]
        port: 8100
        expected: {names: [REDIS_URL]}
    expected: {refuses_within_s: 5}
"""

RETURN = r"""
verdicts:
  description: One verdict for each target, in their order. The fragment C(check) describes its parts.
  returned: always
  type: list
  elements: dict
  sample:
    - component: starts
      subject: no-redis-url
      address: /srv/shop/current/bin/web
      ok: false
      took_ms: 5012
      findings:
        - {check: reachable, status: pass, blocking: true, expected: true, observed: true, cause: null, remedy: null}
        - check: refuses
          status: fail
          blocking: true
          expected: ends within 5 s, and not with 0
          observed: went on after 5.0 s, and was ended
          cause: null
          remedy: let it verify its settings before anything else, and end with a status that says so
commands:
  description: The starts, as evidence; M(recorded_command) describes their parts.
  returned: always
  type: list
  elements: dict
"""

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.command import harmless_values
from ansible.module_utils.cutover.glue import check_arguments, reporting
from ansible.module_utils.cutover.judge_start import start_checks
from ansible.module_utils.cutover.observe_start import look_at_start
from ansible.module_utils.cutover.verify import verify_targets

EXPECTED = {
    "refuses_within_s": {"type": "float"},
    "names": {"type": "list", "elements": "str"},
}

TARGET = {
    "argv": {"type": "list", "elements": "str", "required": True},
    "chdir": {"type": "path"},
    "env_file": {"type": "path"},
    "environment": {"type": "dict", "no_log": True},
    "unset": {"type": "list", "elements": "str"},
    "host": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int"},
}

LIMITS = {
    "timeout_s": {"type": "float", "default": 30.0},
    "workers": {"type": "int", "default": 2},
}


def argument_spec() -> dict[str, Any]:
    return check_arguments(target=TARGET, expected=EXPECTED) | LIMITS


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    for target in module.params["targets"]:
        module.no_log_values -= harmless_values(target["environment"])
        target["address"] = target["argv"][0]
    with reporting(module) as report:
        commands: list[dict[str, Any]] = []
        verdicts = verify_targets(
            "starts",
            module.params,
            partial(look_at_start, keep=commands.append, secrets=module.no_log_values),
            start_checks,
            reachable_remedy="see that the program is there and can be run, and that its port is free",
        )
        report(verdicts, commands=commands)


if __name__ == "__main__":
    main()
