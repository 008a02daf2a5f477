# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut over for a drill and go back from it, each in a process of its own, and judge what came of both."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible import constants, context
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

# Ansible hands the project's module_utils to modules only; plugins have to look there themselves.
ansible.module_utils.__path__ += [
    path for path in constants.DEFAULT_MODULE_UTILS_PATH if path not in ansible.module_utils.__path__
]

from ansible.module_utils.cutover.checks import CannotObserve, ExpectationError, judge
from ansible.module_utils.cutover.drill_cutover import Plan, is_back, left_by, start
from ansible.module_utils.cutover.gate import GO, NO_GO
from ansible.module_utils.cutover.judge_drill_cutover import DrillCutover, drill_cutover_checks
from ansible.module_utils.cutover.verdict import Verdict

# What of the command line the other playbooks are to be told, too: by its name there.
HANDED_ON = {
    "inventory": "--inventory", "extra_vars": "--extra-vars", "vault_ids": "--vault-id",
    "vault_password_files": "--vault-password-file", "subset": "--limit", "remote_user": "--user",
    "private_key_file": "--private-key", "connection_password_file": "--connection-password-file",
    "become_password_file": "--become-password-file", "ssh_common_args": "--ssh-common-args",
    "ssh_extra_args": "--ssh-extra-args", "become_user": "--become-user", "become_method": "--become-method",
    "connection": "--connection", "timeout": "--timeout",
}  # fmt: skip
PROMPTS = ("@prompt", "@prompt_ask_vault_pass")
# Of what a playbook has printed that opened no run.
LINES_SHOWN = 6
ASKED = {"ask_vault_pass": "--ask-vault-pass", "ask_pass": "--ask-pass", "become_ask_pass": "--ask-become-pass"}


def argument_spec() -> dict[str, Any]:
    """The options, as the module of the same name documents them."""
    return {
        "run": {"type": "dict", "required": True},
        "drill": {"type": "str", "required": True},
        "release_version": {"type": "str", "required": True},
        "extra_vars": {"type": "dict", "default": {}},
        "expected": {
            "type": "dict", "required": True, "options": {
                "verdict": {"type": "str", "choices": [GO, NO_GO], "default": GO},
                "refused_at": {"type": "str"},
                "refused_for": {"type": "list", "elements": "str"},
                "back_within_s": {"type": "float"},
            },
        },
        "limit_s": {"type": "float", "default": 900.0},
    }  # fmt: skip


class ActionModule(ActionBase):
    """Waits for the process that plays both. Should it die meanwhile, that process goes on, and goes back."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec())
        try:
            checks = list(drill_cutover_checks(args["expected"]))
            plan = _plan(args, Path((task_vars or {})["playbook_dir"]))
        except ExpectationError as reason:
            return result | {"failed": True, "is_back": True, "msg": f"{args['drill']}: {reason}"}
        begun = time.monotonic()
        Display().display(
            f"{args['drill']}: {args['release_version']} is cut over to, and gone back from. Whatever becomes of this, "
            f"that goes on; see {plan.log}"
        )
        seen = _played(plan)
        verdict = Verdict(
            component="drills", subject=f"{args['drill']}.cutover", address=args["release_version"],
            took_ms=round((time.monotonic() - begun) * 1000),
            findings=judge(checks, seen, reachable_remedy=f"read {plan.log}, which holds what both playbooks printed"),
            recorded=seen.told() if isinstance(seen, DrillCutover) else None,
        )  # fmt: skip
        back = is_back(*left_by(plan))
        return result | {"changed": True, "is_back": back, "verdicts": [verdict.to_dict()]}


def _plan(args: Mapping[str, Any], playbooks: Path) -> Plan:
    asked = [option for name, option in ASKED.items() if context.CLIARGS.get(name)]
    asked += [f"--vault-id {name}" for name in context.CLIARGS.get("vault_ids") or () if name.endswith(PROMPTS)]
    if asked:
        raise ExpectationError(
            f"cutover.yml and rollback.yml are played by a process of its own, which has no terminal to ask in. "
            f"Give files instead of {', '.join(asked)}"
        )
    drill = {"run": args["run"]["id"], "drill": args["drill"]}
    variables = {**args["extra_vars"], "release_version": args["release_version"], "run_drill": drill}
    more = [*_handed_on(), "--extra-vars", json.dumps(variables)]
    command = [sys.executable, "-m", "ansible", "playbook"]
    return Plan(
        cutover=[*command, str(playbooks / "cutover.yml"), *more],
        rollback=[*command, str(playbooks / "rollback.yml"), *more],
        environment_dir=str(Path(args["run"]["dir"]).parent),
        drill=drill,
        limit_s=args["limit_s"],
    )


def _handed_on() -> Iterator[str]:
    if context.CLIARGS.get("become"):
        yield "--become"
    for name, option in HANDED_ON.items():
        value = context.CLIARGS.get(name)
        for each in value if isinstance(value, (list, tuple)) else [value]:
            if each:
                yield from (option, str(each))


def _played(plan: Plan) -> DrillCutover | CannotObserve:
    try:
        # Without a limit: as long as it works, nobody else may.
        start(plan).wait()
    except OSError as fault:
        return CannotObserve(f"no process could be started: {fault}")
    cutover, rollback = left_by(plan)
    if cutover is None:
        return CannotObserve(f"no run was opened. The last lines of {plan.log.name}: {_last_lines(plan.log)}")
    return DrillCutover(cutover=cutover, rollback=rollback)


def _last_lines(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return " / ".join([line for line in lines if line][-LINES_SHOWN:])
