# SPDX-License-Identifier: GPL-3.0-or-later
"""Recall what a run found and how far it came, from its evidence."""

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

from ansible.module_utils.cutover.read_runs import past_runs, read_run
from ansible.module_utils.cutover.runs import DONE, PastRun, last_cutover


def argument_spec() -> dict[str, Any]:
    """The options, as the module of the same name documents them."""
    return {
        "run": {"type": "dict", "required": True},
        "of": {"type": "str", "default": ""},
    }


class ActionModule(ActionBase):
    """Returns what the run noted, and how far it came."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec())
        run = args["run"]
        own = args["of"] == run["id"]
        told = read_run(run["dir"]) if own else _other(Path(run["dir"]), args["of"])
        recalled = {
            "run": told.id,
            "steps": told.steps,
            # When a run's own evidence broke, everything is taken back.
            "begun": None if told.problem else list(told.steps),
            "done": [name for name, state in told.steps.items() if state == DONE],
            # A run knows what it noted itself.
            "facts": {} if own else told.found,
        }
        return result | {"changed": False, "recalled": recalled}


def _other(current: Path, name: str) -> PastRun:
    runs = past_runs(current.parent, besides=current.name)
    cutovers = [run.id for run in runs if run.verb == "cutover" and run.steps]
    told = read_run(current.parent / Path(name).name) if name else last_cutover(runs)
    if told is None or not (told.steps or told.problem):
        wanted = f"{name} is no cutover that changed anything" if name else "no cutover has changed anything"
        raise AnsibleActionFail(
            f"{wanted}, as far as the evidence in {current.parent} tells: there is nothing to go back to. "
            f"The last ones are: {', '.join(cutovers) or 'none'}. Evidence of another controller lies there."
        )
    if told.problem:
        raise AnsibleActionFail(f"run {told.id} cannot be gone back to: {told.problem}")
    if told.verb != "cutover":
        raise AnsibleActionFail(f"{told.id} is a {told.verb}, and not one of the cutovers {', '.join(cutovers)}")
    if told.alive:
        raise AnsibleActionFail(f"run {told.id} is still at work, and goes back by itself when it must: end it first")
    return told
