#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to checks by command: judge_command.py says what must be true, observe_command.py looks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: command_check
short_description: Verify something by a command of your own
description:
  - Runs each target's command, which must only look, and judges how it ends and what it prints.
  - For what no other check knows. Commands run without a shell, side by side, in check mode too.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
extends_documentation_fragment: [check, targets]
options:
  component:
    description: What the verdicts call the kind of thing that is looked at.
    type: str
    default: commands
  targets:
    suboptions:
      name:
        description: Name of the target in reports; unique among the targets.
        type: str
        required: true
      argv:
        description: The program and its arguments. Every user of the host can see it.
        type: list
        elements: str
        required: true
      chdir:
        description: The directory in which to run it.
        type: path
      env_file:
        description: File with C(NAME=value) lines that are added to the environment. What is secret in it is masked.
        type: path
      environment:
        description: Variables that are added to the environment. Never logged.
        type: dict
      expected:
        description: What is expected of this target; overrides O(expected) option by option.
        type: dict
        suboptions: &expectation
          exit_codes:
            description: Exit codes that are right. Without it, V(0).
            type: list
            elements: int
          stdout_matches:
            description: Regular expression that must be found in what the command prints to stdout.
            type: str
  expected:
    description: What is expected of every target.
    type: dict
    suboptions: *expectation
"""

EXAMPLES = r"""
- name: Verify that the edge serves from one of our pools
  command_check:
    component: traffic
    targets:
      - {name: edge, argv: [edgectl, pool]}
    expected: {stdout_matches: '^(blue|green)$'}
"""

RETURN = r"""
verdicts:
  description: One verdict for each target, in their order. The fragment C(check) describes its parts.
  returned: always
  type: list
  elements: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.command import harmless_values
from ansible.module_utils.cutover.glue import check_arguments, reporting
from ansible.module_utils.cutover.judge_command import command_checks
from ansible.module_utils.cutover.observe_command import look_with_command
from ansible.module_utils.cutover.verify import verify_targets

EXPECTED = {
    "exit_codes": {"type": "list", "elements": "int"},
    "stdout_matches": {"type": "str"},
}

TARGET = {
    "argv": {"type": "list", "elements": "str", "required": True},
    "chdir": {"type": "path"},
    "env_file": {"type": "path"},
    "environment": {"type": "dict", "no_log": True},
}


def argument_spec() -> dict[str, Any]:
    return {**check_arguments(target=TARGET, expected=EXPECTED), "component": {"type": "str", "default": "commands"}}


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    for target in module.params["targets"]:
        module.no_log_values -= harmless_values(target["environment"])
    with reporting(module) as report:
        report(
            verify_targets(
                module.params["component"],
                module.params,
                look_with_command(module.no_log_values),
                command_checks,
                reachable_remedy="see that the program is installed where this task runs, and ends in time",
                record=lambda seen: seen.record,
            )
        )


if __name__ == "__main__":
    main()
