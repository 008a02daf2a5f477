# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide one gate of a run."""

from __future__ import annotations

from pathlib import Path
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
from ansible.module_utils.cutover.gate import GO, decide
from ansible.module_utils.cutover.journal import canonical, utc_now, write_once
from ansible.module_utils.cutover.naming import Resolver, expected_subjects
from ansible.module_utils.cutover.report import refusal
from ansible.module_utils.cutover.triggers import TriggerError


def argument_spec() -> dict[str, Any]:
    """The options, as the module of the same name documents them."""
    return {
        "name": {"type": "str", "required": True},
        "run": {"type": "dict", "required": True},
        "components": {"type": "list", "elements": "str", "required": True},
        "waivers": {"type": "list", "elements": "raw", "default": []},
        "unwaivable": {"type": "list", "elements": "str", "default": []},
        "declared_components": {"type": "list", "elements": "str", "default": []},
        "refusal": {"type": "str"},
        "triggers": {"type": "list", "elements": "raw", "default": []},
    }


class ActionModule(ActionBase):
    """Reads the journal back and answers go or no-go; looks at nothing else, and changes nothing but the evidence."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec())
        run = args["run"]
        records, problems = evidence_of(run)
        resolver = Resolver(self._templar)
        try:
            decision = decide(
                records,
                gate=args["name"],
                run=run["id"],
                expected=expected_subjects(args["components"], task_vars or {}, resolver),
                declared=expected_subjects(args["declared_components"], task_vars or {}, resolver),
                waivers=args["waivers"],
                now=utc_now(),
                unwaivable=args["unwaivable"],
                problems=problems,
                refusal=args["refusal"],
                triggers=args["triggers"],
            ).to_dict()
        except TriggerError as reason:
            raise AnsibleActionFail(f"The gate {args['name']} is not decided: {reason}") from reason
        path = Path(run["dir"]) / "gates" / f"gate-{len(records):06d}-{_file_name(args['name'])}.json"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        sha256 = write_once(path, canonical(decision) + "\n")
        result |= {
            "changed": False,
            "decision": {"gate": decision["gate"], "verdict": decision["verdict"], "path": str(path), "sha256": sha256},
        }
        return result if decision["verdict"] == GO else result | {"failed": True, "msg": refusal(decision)}


def _file_name(name: str) -> str:
    return "".join(character if character.isalnum() or character in "-_" else "_" for character in name)
