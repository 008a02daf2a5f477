# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill the controller, as a loss of power does: KILL_AT=migrate:begun, KILL_AT=migrate:done, KILL_AT=migrate:inside.
KILL_AT=migrate:inside:TERM asks it to end instead, and INT does as Ctrl-C does.

`inside` is shortly after the task began that does the step's work; the worker that runs it is left to itself. With
KILL_TREE=FILE it is not the controller that is killed but the process whose id is in that file, and all below it.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: kill_at
type: aggregate
short_description: Kill the controller at a step
description: For the scenario that proves that nothing is lost then.
"""

# What is done in the worker is done in no time.
INSIDE_S = {"shift": 0.03, "environment": 0.1}
INSIDE_OTHERS_S = 0.2
# The task that does the work of each step.
WORK = {
    "stage": "archive_unpack | Unpack",
    "stage_environment": "stage | Write the release's environment file beside the one in force",
    "back_up": "postgres_take | Back every declared database up, and read each backup back",
    "migrate": "alembic_switch | Upgrade to the release's head",
    "environment": "switch | Put the release's environment file in force",
    "start": "supervisor | Bring the programs into the declared state",
    "share": "haproxy_share | Weigh the new pool's servers for their share, beside the old ones",
    "shift": "haproxy_send | Let one pool take every new request, and drain the others",
    "schedulers": "supervisor | Bring the programs into the declared state",
}


class CallbackModule(CallbackBase):
    """Listens until the step is there."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "kill_at"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._step, self._when, signal_name = [*os.environ.get("KILL_AT", "").split(":"), "", ""][:3]
        self._signal = signal.Signals[f"SIG{signal_name or 'KILL'}"]
        self._begun = False

    def v2_runner_on_ok(self, result: Any) -> None:
        step = result.result.get("step") or {}
        if step.get("name") != self._step:
            return
        self._begun = step["state"] == "begun"
        if step["state"] == self._when:
            self._kill()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        if self._begun and self._when == "inside" and task.get_name().endswith(WORK[self._step]):
            threading.Timer(INSIDE_S.get(self._step, INSIDE_OTHERS_S), self._kill).start()

    def _kill(self) -> None:
        tree = os.environ.get("KILL_TREE")
        for pid in _with_children(int(Path(tree).read_text())) if tree else [os.getpid()]:
            os.kill(pid, self._signal)


def _with_children(pid: int) -> list[int]:
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in below for each in _with_children(int(child)))]
