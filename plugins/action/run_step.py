# SPDX-License-Identifier: GPL-3.0-or-later
"""Say that a step of a run begins, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ansible.module_utils
from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Ansible hands the project's module_utils to modules only; plugins have to look there themselves.
ansible.module_utils.__path__ += [
    path for path in constants.DEFAULT_MODULE_UTILS_PATH if path not in ansible.module_utils.__path__
]

from ansible.module_utils.cutover.evidence import evidence_of
from ansible.module_utils.cutover.runs import BEGUN, DONE, FAILED

ENDED = "ended"


def argument_spec() -> dict[str, Any]:
    """The options, as the module of the same name documents them."""
    return {
        "run": {"type": "dict", "required": True},
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "required": True, "choices": [BEGUN, DONE, ENDED]},
        "undo": {"type": "str", "required": True},
        "reversible": {"type": "bool", "default": True},
        "acknowledged": {"type": "list", "elements": "str", "default": []},
    }


class ActionModule(ActionBase):
    """A step that cannot be undone begins only when it was acknowledged; one in which anything failed is never done."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec())
        name, state = args["name"], args["state"]
        if state == BEGUN and not args["reversible"] and name not in args["acknowledged"]:
            raise AnsibleActionFail(
                f"the step {name} cannot be undone ({args['undo']}), so nothing goes on from here by itself. To take "
                f'it, knowing that no way leads back: -e \'{{"run_acknowledged_steps": ["{name}"]}}\''
            )
        if state in (DONE, ENDED):
            wrong = _what_failed(args["run"], name)
            if wrong and state == DONE:
                raise AnsibleActionFail(wrong)
            state = FAILED if wrong else DONE
        step = {"name": name, "state": state, "undo": args["undo"], "reversible": args["reversible"]}
        return result | {"changed": False, "step": step}


def _what_failed(run: Mapping[str, Any], name: str) -> str:
    records, problems = evidence_of(run)
    if problems:
        return f"nothing proves that the step {name} is done: {problems[0]}"
    failed = list(dict.fromkeys(_failed_since(records, name)))
    return f"the step {name} is not done: {'; '.join(failed)}" if failed else ""


def _failed_since(records: Sequence[Mapping[str, Any]], name: str) -> Iterator[str]:
    begun = max((r["seq"] for r in records if r["kind"] == "step" and r["data"]["name"] == name), default=0)
    for record in records:
        if record["seq"] > begun and record["kind"] in ("failure", "unreachable"):
            data = record["data"]
            yield f"{data['host']}: {data['task']}: {data['message']}"
