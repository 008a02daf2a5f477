# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare what a run has observed with the baseline of its environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
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
from ansible.module_utils.cutover.gate import decide
from ansible.module_utils.cutover.history import earlier_drift_runs, running
from ansible.module_utils.cutover.journal import Record, utc_now
from ansible.module_utils.cutover.judge_drift import (
    Comparison,
    DriftError,
    Ignore,
    broken_contract,
    compared,
    dated,
    missed_runs,
    told_once,
    with_ignores,
    with_owners,
)
from ansible.module_utils.cutover.naming import Resolver, expected_subjects
from ansible.module_utils.cutover.proof import Proven, Unproven
from ansible.module_utils.cutover.signoffs import LOG_NAME, baseline, read_signoffs


def argument_spec() -> dict[str, Any]:
    """The options, as the module of the same name documents them."""
    return {
        "run": {"type": "dict", "required": True},
        "components": {"type": "list", "elements": "str", "required": True},
        "waivers": {"type": "list", "elements": "raw", "default": []},
        "unwaivable": {"type": "list", "elements": "str", "default": []},
        "ignores": {"type": "list", "elements": "raw", "default": []},
        "owners": {"type": "dict", "default": {}},
        "every_s": {"type": "float", "default": 0.0},
    }


class ActionModule(ActionBase):
    """Reads this run's journal, the baseline's and that of the drift run before; writes nothing."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec())
        run, now = args["run"], utc_now()
        records, problems = evidence_of(run)
        if problems:
            raise AnsibleActionFail(f"Nothing was compared: {problems[0]}")
        try:
            ignores = [Ignore.read(ignore) for ignore in args["ignores"]]
        except DriftError as reason:
            raise AnsibleActionFail(f"Nothing was compared: {reason}") from reason
        subjects = expected_subjects(args["components"], task_vars or {}, Resolver(self._templar))
        contract = decide(
            records, gate="contract", run=run["id"], expected=subjects, now=now,
            waivers=args["waivers"], unwaivable=args["unwaivable"],
        ).to_dict()  # fmt: skip
        comparison = _compared(Path(run["dir"]), records, contract, ignores, args, now)
        return result | {
            "changed": False,
            "drift": comparison.to_dict(),
            "verdicts": [verdict.to_dict() for verdict in comparison.verdicts()],
        }


def _compared(
    where: Path, records: Sequence[Record], contract: dict[str, Any], ignores: list[Ignore], args: Any, now: datetime
) -> Comparison:
    """What this run has seen, beside what was signed off, and beside what the drift run before has said."""
    observed = [record["data"] for record in records if record["kind"] == "observation"]
    signed, refused = _baseline(where.parent)
    verdicts = signed.data("verdict") if signed else []
    facts, unseen = compared(signed.data("observation"), observed) if signed else ([], [])
    earlier = next(earlier_drift_runs(where.parent, before=where.name), None)
    about = _about(where.parent, signed) if signed else None
    same_baseline = earlier is not None and _which(earlier.drift.get("baseline")) == _which(about)
    differences, fixed, carried = dated(
        told_once(broken_contract(contract, verdicts), facts),
        unseen,
        earlier.drift if earlier and same_baseline else None,
        now=now,
    )
    return Comparison(
        baseline=about, refused=refused, observed=observed, unseen=unseen, carried=carried,
        previous={"run": earlier.run, "time": earlier.opened_at} if earlier else None,
        running=running(where.parent),
        missed=missed_runs(earlier.opened_at if earlier else None, now=now, every_s=args["every_s"]),
        differences=with_ignores(with_owners(differences, args["owners"]), ignores, now=now),
        fixed=with_owners(fixed, args["owners"]),
        expired=[ignore for ignore in ignores if ignore.expires <= now],
    )  # fmt: skip


def _baseline(directory: Path) -> tuple[Proven | None, str | None]:
    """The baseline, or why there is none that could be compared with."""
    try:
        signed = baseline(directory)
    except Unproven as reason:
        return None, str(reason)
    if not signed.data("observation"):
        return None, f"run {signed.id} was signed off, and holds no observations: sign a readiness run off"
    return signed, None


def _which(about: Mapping[str, Any] | None) -> tuple[Any, Any] | None:
    """Which sign-off it is. What was said there may be masked in a journal, and is not compared."""
    return (about["run"], about["signed_at"]) if about else None


def _about(directory: Path, signed: Proven) -> dict[str, Any]:
    record = read_signoffs(directory / LOG_NAME)[-1]
    said = {key: record["data"][key] for key in ("role", "approver", "reason")}
    return {"run": signed.id, "decided_at": signed.decision["decided_at"], "signed_at": record["time"]} | said
