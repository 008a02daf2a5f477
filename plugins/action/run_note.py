# SPDX-License-Identifier: GPL-3.0-or-later
"""Note what a run found, for whoever has to go back to it."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase


def argument_spec() -> dict[str, Any]:
    """The options, as the module of the same name documents them."""
    return {"facts": {"type": "dict", "required": True}}


class ActionModule(ActionBase):
    """The evidence callback has it in the journal before the next task begins."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec())
        return result | {"changed": False, "found": {"facts": args["facts"]}}
