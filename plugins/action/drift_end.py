# SPDX-License-Identifier: GPL-3.0-or-later
"""End a drift run with an exit status of its own."""

from __future__ import annotations

from typing import Any

import ansible.module_utils
from ansible import constants
from ansible.plugins.action import ActionBase

# Ansible hands the project's module_utils to modules only; plugins have to look there themselves.
ansible.module_utils.__path__ += [
    path for path in constants.DEFAULT_MODULE_UTILS_PATH if path not in ansible.module_utils.__path__
]

from ansible.module_utils.cutover.judge_drift import COULD_NOT_LOOK, NO_DRIFT


def argument_spec() -> dict[str, Any]:
    """The options, as the module of the same name documents them."""
    return {"outcome": {"type": "str", "required": True}}


class ActionModule(ActionBase):
    """A look that did not come about is to Ansible a host that it could not reach: ansible-playbook ends with 4."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec())
        ends = {NO_DRIFT: {}, COULD_NOT_LOOK: {"unreachable": True}}.get(args["outcome"], {"failed": True})
        return result | {"changed": False, "msg": f"The outcome is {args['outcome']}."} | ends
