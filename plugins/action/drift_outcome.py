# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what a drift run has come to, in one word."""

from __future__ import annotations

from typing import Any

import ansible.module_utils
from ansible import constants
from ansible.plugins.action import ActionBase

# Ansible hands the project's module_utils to modules only; plugins have to look there themselves.
ansible.module_utils.__path__ += [
    path for path in constants.DEFAULT_MODULE_UTILS_PATH if path not in ansible.module_utils.__path__
]

from ansible.module_utils.cutover.evidence import evidence_of
from ansible.module_utils.cutover.gate import conclude
from ansible.module_utils.cutover.journal import utc_now
from ansible.module_utils.cutover.judge_drift import outcome
from ansible.module_utils.cutover.report_drift import context, told_in


def argument_spec() -> dict[str, Any]:
    """The options, as the module of the same name documents them."""
    return {
        "run": {"type": "dict", "required": True},
        "required_gates": {"type": "list", "elements": "str", "default": ["drift"]},
        "waivers": {"type": "list", "elements": "raw", "default": []},
    }


class ActionModule(ActionBase):
    """Concludes as the closing of the run will, and names what blocks by its kind; writes nothing."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec())
        run = args["run"]
        records, problems = evidence_of(run)
        blocking = conclude(
            records, run=run["id"], required_gates=args["required_gates"], waivers=args["waivers"], now=utc_now(),
            problems=problems,
        ).to_dict()["blocking"]  # fmt: skip
        word = outcome(blocking)
        return result | {"changed": False, "outcome": word, "context": context(word, told_in(records), blocking)}
