#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to a command that is kept as evidence: cutover/command.py runs it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: recorded_command
short_description: Run a command within bounds and keep how it ended as evidence
description:
  - Runs a program without a shell, and returns who ran where, how it ended and its first and last lines, masked, in the
    form in which the evidence of a run keeps them.
  - However much the program prints, only its ends are held in memory. It gets no input and no terminal, so it cannot
    wait for a password.
  - A program that it starts and leaves behind keeps running unless O(timeout_s) passes; such a program must send its
    output elsewhere.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
options:
  argv:
    description:
      - The program and its arguments. A program without a slash is looked for in C(PATH), one with a relative path
        from O(chdir).
      - Every user of the host can see it. Give secrets by O(env_file) or O(environment).
    type: list
    elements: str
    required: true
  chdir:
    description: The directory in which to run it.
    type: path
  env_file:
    description:
      - File on the host with C(NAME=value) lines, values quoted as a shell does. They are added to the environment.
      - What the file holds under a name such as C(DB_PASSWORD), or as the password of a URL, is masked in all results.
    type: path
  environment:
    description: Variables that are added to the environment, after those of O(env_file). Never logged.
    type: dict
  timeout_s:
    description:
      - Deadline in seconds. When it passes, the program and all that it started are terminated, and killed 5 s later.
    type: float
    default: 600.0
  creates:
    description: A path that makes the command unnecessary where it exists.
    type: path
  changed:
    description:
      - Whether a success changes something.
      - With V(false), the command reads only, and it runs in check mode too.
    type: bool
    default: true
  success_codes:
    description: Exit codes that mean success.
    type: list
    elements: int
    default: [0]
  read_stdout:
    description: Whether to return RV(stdout_lines).
    type: bool
    default: false
attributes:
  check_mode:
    support: partial
    description: Not run in check mode, but reported as a change, unless O(changed=false).
  diff_mode:
    support: none
    description: What a command changes is not known.
"""

EXAMPLES = r"""
- name: Bring the schema to its newest revision
  recorded_command:
    argv: [bin/migrate, upgrade, head]
    chdir: /srv/shop/current
    env_file: /srv/shop/environment

- name: Ask for the revision that is applied
  recorded_command:
    argv: [bin/migrate, current]
    chdir: /srv/shop/current
    env_file: /srv/shop/environment
    changed: false
    read_stdout: true
  register: __migrations_revision
"""

RETURN = r"""
commands:
  description: The command as evidence; empty when it was not run.
  returned: always
  type: list
  elements: dict
  contains:
    argv: {description: The program and its arguments., type: list, elements: str}
    chdir: {description: Where it ran., type: str}
    host: {description: Name of the host on which it ran., type: str}
    exit_code: {description: How it ended; negative when a signal ended it., type: int}
    took_ms: {description: How long it ran., type: int}
    first_lines: {description: Its first ten lines at most; stdout and stderr are merged., type: list, elements: str}
    last_lines:
      description: Its last ten lines at most; none of RV(commands[].first_lines) is repeated.
      type: list
      elements: str
    line_count: {description: How many lines it printed., type: int}
  sample:
    - argv: [bin/migrate, upgrade, head]
      chdir: /srv/shop/current
      host: app1
      exit_code: 0
      took_ms: 840
      first_lines: ["INFO  [alembic.runtime.migration] Running upgrade 0001 -> 0002, add sites"]
      last_lines: []
      line_count: 1
rc:
  description: The exit code; negative when a signal ended the command.
  returned: when it was run
  type: int
stdout_lines:
  description: All that it printed to stdout, masked.
  returned: when O(read_stdout=true) and it was run
  type: list
  elements: str
stdout_complete:
  description: Whether RV(stdout_lines) is all of it; more than 1 MiB is cut off.
  returned: when O(read_stdout=true) and it was run
  type: bool
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.command import (
    CannotRun,
    Command,
    environment_of,
    explain,
    harmless_values,
    masker_for,
    record,
    run,
)
from ansible.module_utils.cutover.env_file import EnvFileError


def argument_spec() -> dict[str, Any]:
    return {
        "argv": {"type": "list", "elements": "str", "required": True},
        "chdir": {"type": "path"},
        "env_file": {"type": "path"},
        "environment": {"type": "dict", "no_log": True},
        "timeout_s": {"type": "float", "default": 600.0},
        "creates": {"type": "path"},
        "changed": {"type": "bool", "default": True},
        "success_codes": {"type": "list", "elements": "int", "default": [0]},
        "read_stdout": {"type": "bool", "default": False},
    }


def run_and_record(module: AnsibleModule, command: Command) -> None:
    ran = run(command)
    masker = masker_for(command, module.no_log_values)
    result: dict[str, Any] = {"changed": module.params["changed"], "rc": ran.exit_code}
    result["commands"] = [record(command, ran, masker)]
    if command.keep_stdout:
        result |= {"stdout_lines": masker.mask(ran.stdout.splitlines()), "stdout_complete": ran.stdout_complete}
    if ran.timed_out or ran.exit_code not in module.params["success_codes"]:
        module.fail_json(msg=explain(command, ran, masker), **result)
    module.exit_json(**result)


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    options = module.params
    module.no_log_values -= harmless_values(options["environment"])
    if options["creates"] and Path(options["creates"]).exists():
        module.exit_json(changed=False, commands=[], msg=f"Not run: {options['creates']} exists.")
    if module.check_mode and options["changed"]:
        module.exit_json(changed=True, commands=[], msg=f"Would run: {' '.join(options['argv'])}")
    try:
        command = Command(
            argv=options["argv"],
            chdir=options["chdir"],
            environment=environment_of(options["env_file"], options["environment"]),
            timeout_s=options["timeout_s"],
            keep_stdout=options["read_stdout"],
        )
        run_and_record(module, command)
    except (CannotRun, EnvFileError) as reason:
        module.fail_json(msg=str(reason), commands=[])


if __name__ == "__main__":
    main()
