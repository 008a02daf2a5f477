# SPDX-License-Identifier: GPL-3.0-or-later
"""Close a run with its final go or no-go."""

from __future__ import annotations

from typing import Any

import ansible.module_utils
from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Ansible hands the project's module_utils to modules only; plugins have to look there themselves.
ansible.module_utils.__path__ += [
    path for path in constants.DEFAULT_MODULE_UTILS_PATH if path not in ansible.module_utils.__path__
]

from ansible.module_utils.cutover.closing import close_run
from ansible.module_utils.cutover.evidence import evidence_of
from ansible.module_utils.cutover.gate import GO
from ansible.module_utils.cutover.journal import utc_now
from ansible.module_utils.cutover.masking import Masker
from ansible.module_utils.cutover.report import headline
from ansible.module_utils.cutover.runs import BEGUN, PastRun, open_drills


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
        records, problems = evidence_of(run)
        try:
            whole, path, sha256 = close_run(
                run, records, problems=problems, required_gates=args["required_gates"], waivers=args["waivers"],
                context=Masker().mask(args["context"]), now=utc_now(),
            )  # fmt: skip
        except FileExistsError as fault:
            raise AnsibleActionFail(f"run {run['id']} is closed already: a decision is made once") from fault
        result |= {"changed": False, "run_closed": True}
        result |= {"decision": {"verdict": whole["verdict"], "path": path, "sha256": sha256}}
        about = {"id": run["id"], "directory": run["dir"], "verb": run["verb"], "manifest": {"drill": run.get("drill")}}
        ended = PastRun(**about, records=records, verdict=whole["verdict"])
        before = PastRun(id="", directory="", verb="drills", records=_begun(run))
        result["settled"] = (
            ended.is_settled
            and (bool(ended.steps) or not run.get("unfinished"))
            and not open_drills([before, ended])
        )  # fmt: skip
        return result if whole["verdict"] == GO else result | {"failed": True, "msg": headline(whole)}


def _begun(run: dict[str, Any]) -> list[dict[str, Any]]:
    """The drills that were left open before this run, as their records told."""
    return [{"kind": "drill", "data": {**drill, "state": BEGUN}} for drill in run.get("unfinished_drills") or ()]
