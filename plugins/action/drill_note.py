# SPDX-License-Identifier: GPL-3.0-or-later
"""Note that a drill begins to break something, or that all is well again after it."""

from __future__ import annotations

from typing import Any

import ansible.module_utils
from ansible import constants
from ansible.plugins.action import ActionBase

# Ansible hands the project's module_utils to modules only; plugins have to look there themselves.
ansible.module_utils.__path__ += [
    path for path in constants.DEFAULT_MODULE_UTILS_PATH if path not in ansible.module_utils.__path__
]

from ansible.module_utils.cutover.runs import BEGUN, RECOVERED


def argument_spec() -> dict[str, Any]:
    """The options, as the module of the same name documents them."""
    return {
        "drill": {"type": "str", "required": True},
        "state": {"type": "str", "choices": [BEGUN, RECOVERED], "required": True},
        "fault": {"type": "str", "required": True},
        "host": {"type": "str", "required": True},
        "run": {"type": "dict", "required": True},
    }


class ActionModule(ActionBase):
    """The evidence callback has it in the journal before the next task begins."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec())
        told = {key: args[key] for key in ("drill", "state", "fault", "host")}
        return result | {"changed": False, "drill": told | {"run": args["run"]["id"]}}
