# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide one gate of a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible import constants
from ansible.plugins.action import ActionBase

# Ansible hands the project's module_utils to modules only; plugins have to look there themselves.
ansible.module_utils.__path__ += [
    path for path in constants.DEFAULT_MODULE_UTILS_PATH if path not in ansible.module_utils.__path__
]

from ansible.module_utils.cutover.evidence import ATTESTATION, read_evidence
from ansible.module_utils.cutover.gate import GO, decide
from ansible.module_utils.cutover.journal import canonical, digest, utc_now
from ansible.module_utils.cutover.naming import Resolver, expected_subjects
from ansible.module_utils.cutover.report import refusal


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
        records, problems = read_evidence(run["dir"], run["id"], os.environ.get(ATTESTATION))
        resolver = Resolver(self._templar)
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
        ).to_dict()
        path, sha256 = _write(Path(run["dir"]), f"gate-{len(records):06d}-{_file_name(args['name'])}.json", decision)
        result |= {
            "changed": False,
            "decision": {"gate": decision["gate"], "verdict": decision["verdict"], "path": path, "sha256": sha256},
        }
        return result if decision["verdict"] == GO else result | {"failed": True, "msg": refusal(decision)}


def _file_name(name: str) -> str:
    return "".join(character if character.isalnum() or character in "-_" else "_" for character in name)


def _write(directory: Path, name: str, decision: dict[str, Any]) -> tuple[str, str]:
    path, text = directory / "gates" / name, canonical(decision) + "\n"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
    return str(path), digest(text)
