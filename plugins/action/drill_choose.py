# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the drills that a run plays, or list them all."""

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

from ansible.module_utils.cutover.drills import CATALOGUE, DrillError, catalogue, chosen


def argument_spec() -> dict[str, Any]:
    """The options, as the module of the same name documents them."""
    return {
        "declared": {"type": "list", "elements": "raw", "required": True},
        "wanted": {"type": "raw", "default": ""},
        "environment": {"type": "str", "required": True},
        "allowed_environments": {"type": "list", "elements": "str", "required": True},
    }


class ActionModule(ActionBase):
    """Looks at the declarations alone. A refusal comes before anything is opened, judged or broken."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars) | {"changed": False}
        _, args = self.validate_argument_spec(argument_spec())
        where = {"environment": args["environment"], "allowed": args["allowed_environments"]}
        try:
            if args["wanted"] == CATALOGUE:
                return result | {"drills": [], "catalogue": catalogue(args["declared"], **where)}
            return result | {"drills": chosen(args["declared"], args["wanted"] or "", **where)}
        except DrillError as reason:
            raise AnsibleActionFail(f"Nothing was played: {reason}") from reason
