# SPDX-License-Identifier: GPL-3.0-or-later
"""Take an environment in hand, or leave it, by a file that every controller sees."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import ansible.module_utils
from ansible import constants
from ansible.plugins.action import ActionBase

# Ansible hands the project's module_utils to modules only; plugins have to look there themselves.
ansible.module_utils.__path__ += [
    path for path in constants.DEFAULT_MODULE_UTILS_PATH if path not in ansible.module_utils.__path__
]

from ansible.module_utils.cutover.locking import ALIVE, DEAD, UNKNOWN, against_lending, fate_of, refused


class ActionModule(ActionBase):
    """The file names a run; whether that run lives is told by its journal, which its process holds while it lives."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        args = dict(self._task.args)
        run, broken = args.pop("run"), str(args.pop("break", None) or "")
        settles = list(args.pop("settles", None) or ())
        drill = dict(args.pop("drill", None) or {})
        args["owner"] = {key: str(run[key]) for key in ("id", "verb", "environment", "operator", "opened_at", "dir")}
        args["owner"]["controller"] = socket.gethostname()
        # Who works under another's lock only looks at it.
        looks = {"state": "absent"} if drill else {}
        done = self._on_the_host(args | looks, task_vars)
        holder = done.pop("held_by", None)
        if done.get("failed") or done.get("unreachable") or args.get("state") == "absent":
            return result | done
        if drill:
            why_not = against_lending(holder, drill)
            return result | {"changed": False} | ({"failed": True, "msg": why_not} if why_not else {})
        if not holder:
            return result | done
        how, why_not = self._may_replace(holder, broken, settles)
        if why_not:
            return result | {"failed": True, "changed": False, "msg": refused(holder, why_not), "held_by": holder}
        args["replaces"] = holder["id"]
        done = self._on_the_host(args, task_vars)
        if done.get("held_by"):
            reason = "it was quicker than this run"
            return result | {"failed": True, "changed": False, "msg": refused(done["held_by"], reason)}
        return result | done | {"lock": {"path": args["path"], "how": how, "from": holder}}

    def _on_the_host(self, args: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """What the module of this name says, run as every module of the project is."""
        normal = self._shared_loader_obj.action_loader.get(
            "ansible.legacy.normal", task=self._task, connection=self._connection, play_context=self._play_context,
            loader=self._loader, templar=self._templar, shared_loader_obj=self._shared_loader_obj,
        )  # fmt: skip
        done: dict[str, Any] = normal._execute_module(module_name="run_lock", module_args=args, task_vars=task_vars)
        return done

    def _may_replace(self, holder: Mapping[str, Any], broken: str, settles: list[str]) -> tuple[str, str]:
        """How the lock comes into our hands, or why it must not."""
        fate = fate_of(holder)
        if broken and broken == holder.get("id"):
            return f"broken on request, its owner being {fate}", ""
        # Whoever settles a run answers for what it left behind, and not for what it is doing.
        if fate == DEAD or (fate != ALIVE and holder.get("id") in settles):
            return f"taken over from {'an owner out of sight' if fate == UNKNOWN else 'a dead owner'}", ""
        return "", fate
