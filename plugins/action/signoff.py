# SPDX-License-Identifier: GPL-3.0-or-later
"""Sign a run off."""

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

from ansible.module_utils.cutover.journal import JournalBroken
from ansible.module_utils.cutover.signoffs import LOG_NAME, Refused, append_signoff, signable, statement


def argument_spec() -> dict[str, Any]:
    """The options, as the module of the same name documents them."""
    return {
        "run": {"type": "str", "required": True},
        "environment": {"type": "str", "required": True},
        "artifacts_dir": {"type": "path", "required": True},
        "role": {"type": "str", "required": True},
        "approver": {"type": "str", "required": True},
        "reason": {"type": "str", "required": True},
    }


class ActionModule(ActionBase):
    """Proves the run anew, and adds one line to the sign-off log. In check mode it only says whether it would."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec())
        if lacking := [name for name in ("role", "approver", "reason") if not args[name].strip()]:
            raise AnsibleActionFail(
                f"Not signed off: it lacks {', '.join(lacking)}. A sign-off names who, as what, and why"
            )
        directory = Path(args["artifacts_dir"]) / args["environment"]
        try:
            proven = signable(directory, args["run"])
            said = statement(proven, role=args["role"], approver=args["approver"], reason=args["reason"])
            log = directory / LOG_NAME
            if not self._task.check_mode:
                record = append_signoff(log, said, environment=args["environment"])
                result |= {"signed_at": record["time"], "seq": record["seq"], "hash": record["hash"]}
        except (Refused, JournalBroken) as reason:
            raise AnsibleActionFail(str(reason)) from reason
        return result | {"changed": True, "log": str(log), "signoff": said}
