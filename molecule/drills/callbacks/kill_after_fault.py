# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill the controller, as a loss of power does, as soon as a fault is under way."""

from __future__ import annotations

import os
import signal
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: kill_after_fault
type: aggregate
short_description: Kill the controller after a fault
description: For the scenario that proves that a fault is undone by something other than the controller.
"""


class CallbackModule(CallbackBase):
    """Listens until something is broken, or about to be."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "kill_after_fault"
    CALLBACK_NEEDS_ENABLED = True

    def v2_runner_on_ok(self, result: Any) -> None:
        fault = result.result.get("fault") or {}
        if fault and not fault["undone_at"]:
            os.kill(os.getpid(), signal.SIGKILL)
