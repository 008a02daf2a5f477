# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what came of the drills of a run."""

from __future__ import annotations

import os
from typing import Any

import ansible.module_utils
from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Ansible hands the project's module_utils to modules only; plugins have to look there themselves.
ansible.module_utils.__path__ += [
    path for path in constants.DEFAULT_MODULE_UTILS_PATH if path not in ansible.module_utils.__path__
]

from ansible.module_utils.cutover.drills import outcomes, said
from ansible.module_utils.cutover.evidence import ATTESTATION, read_evidence


def argument_spec() -> dict[str, Any]:
    """The options, as the module of the same name documents them."""
    return {
        "run": {"type": "dict", "required": True},
        "drills": {"type": "list", "elements": "raw", "required": True},
    }


class ActionModule(ActionBase):
    """Reads the journal back; what is not in it did not happen."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec())
        run = args["run"]
        records, problems = read_evidence(run["dir"], run["id"], os.environ.get(ATTESTATION))
        if problems:
            raise AnsibleActionFail(f"Nothing is known of the drills: {problems[0]}")
        verdicts = outcomes(records, args["drills"], rehearsal=bool(self._task.check_mode))
        return result | {
            "changed": False,
            "verdicts": [verdict.to_dict() for verdict in verdicts],
            "lines": said(verdicts),
        }
