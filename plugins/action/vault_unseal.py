# SPDX-License-Identifier: GPL-3.0-or-later
"""Unseal Vault, asking holders in the terminal for what files lack."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail, AnsiblePromptInterrupt, AnsiblePromptNoninteractive
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display


class ActionModule(ActionBase):
    """The module does all the work; this only asks, one holder after the other, and shows what came of each."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        args = dict(self._task.args)
        # From a command line they come as words.
        complete, prompt = boolean(args.get("complete", True)), boolean(args.pop("prompt", False))
        if not prompt or self._task.check_mode:
            return result | self._hand_in(args, task_vars)
        told = self._hand_in(args | {"complete": False}, task_vars)
        taken, changed, number = list(told.get("taken") or ()), bool(told.get("changed")), 0
        while told.get("sealed") and (key := _asked(told)):
            number += 1
            asked = {name: args[name] for name in ("address", "ca_path", "namespace") if args.get(name)}
            word = {"key": key, "holder": f"holder {number}", "complete": False}
            told = self._hand_in(asked | word, task_vars)
            taken, changed = [*taken, *(told.get("taken") or ())], changed or bool(told.get("changed"))
            Display().display(str(told.get("msg")))
        failed = told.get("failed") or (told.get("sealed") and complete)
        return result | told | {"taken": taken, "changed": changed, "failed": bool(failed)}

    def _hand_in(self, args: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        normal = self._shared_loader_obj.action_loader.get(
            "ansible.legacy.normal", task=self._task, connection=self._connection, play_context=self._play_context,
            loader=self._loader, templar=self._templar, shared_loader_obj=self._shared_loader_obj,
        )  # fmt: skip
        done: dict[str, Any] = normal._execute_module(module_name="vault_unseal", module_args=args, task_vars=task_vars)
        return done


def _asked(told: dict[str, Any]) -> str:
    """What a holder types, unseen; empty for nobody else."""
    words = f"Key share {told['progress'] + 1} of {told['threshold']} (it is not shown; nothing ends this): "
    try:
        return Display().prompt_until(words, private=True).decode("utf-8", "replace").strip()
    except AnsiblePromptNoninteractive as nobody:
        raise AnsibleActionFail(
            "There is no terminal in which holders could be asked: name files of shares"
        ) from nobody
    except AnsiblePromptInterrupt as interrupted:
        raise AnsibleActionFail("Interrupted. The shares that were handed in still count") from interrupted
