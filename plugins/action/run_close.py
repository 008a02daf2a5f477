# SPDX-License-Identifier: GPL-3.0-or-later
"""Close a run with its final go or no-go."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
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

from ansible.module_utils.cutover.evidence import ATTESTATION, JOURNAL_NAME, read_evidence
from ansible.module_utils.cutover.gate import GO, conclude
from ansible.module_utils.cutover.journal import GENESIS, canonical, digest, plain, utc_now
from ansible.module_utils.cutover.masking import Masker
from ansible.module_utils.cutover.report import headline


def argument_spec() -> dict[str, Any]:
    """The options, as the module of the same name documents them."""
    return {
        "run": {"type": "dict", "required": True},
        "required_gates": {"type": "list", "elements": "str", "required": True},
        "waivers": {"type": "list", "elements": "raw", "default": []},
        "context": {"type": "dict", "default": {}},
    }


class ActionModule(ActionBase):
    """Decides over the whole journal and writes decision.json, which names the digest of everything it rests on."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec())
        run = args["run"]
        directory = Path(run["dir"])
        records, problems = read_evidence(run["dir"], run["id"], os.environ.get(ATTESTATION))
        problems += _manifest_problem(directory, records)
        decision = conclude(
            records, run=run["id"], required_gates=args["required_gates"], waivers=args["waivers"], now=utc_now(),
            problems=problems,
        ).to_dict()  # fmt: skip
        whole = decision | {
            "verb": run["verb"], "environment": run["environment"], "context": plain(Masker().mask(args["context"])),
            "gates": [_gate(record["data"]) for record in records if record["kind"] == "decision"],
            "evidence": _evidence(directory, records), "dir": str(directory),
        }  # fmt: skip
        try:
            path, sha256 = _write(directory / "decision.json", whole)
        except FileExistsError as fault:
            raise AnsibleActionFail(f"run {run['id']} is closed already: a decision is made once") from fault
        result |= {"changed": False, "run_closed": True}
        result |= {"decision": {"verdict": whole["verdict"], "path": path, "sha256": sha256}}
        return result if whole["verdict"] == GO else result | {"failed": True, "msg": headline(whole)}


def _manifest_problem(directory: Path, records: Sequence[Mapping[str, Any]]) -> list[str]:
    try:
        found = digest((directory / "manifest.json").read_bytes())
    except OSError as fault:
        return [f"manifest.json cannot be read: {fault.strerror}"]
    recorded = records[0]["data"].get("manifest_sha256") if records else found
    return [] if found == recorded else ["manifest.json was changed after the run was opened"]


def _gate(decision: Mapping[str, Any]) -> dict[str, Any]:
    return {"blocking": len(decision["blocking"])} | {key: decision[key] for key in ("gate", "verdict", "decided_at")}


def _evidence(directory: Path, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the decision rests on: the head of the chain, and the digest of every other file in the run's directory."""
    files = {
        str(path.relative_to(directory)): digest(path.read_bytes())
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.name != JOURNAL_NAME
    }
    return {"head": records[-1]["hash"] if records else GENESIS, "records": len(records), "files": files}


def _write(path: Path, decision: Mapping[str, Any]) -> tuple[str, str]:
    text = json.dumps(json.loads(canonical(plain(decision))), indent=2, sort_keys=True) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
    return str(path), digest(text)
