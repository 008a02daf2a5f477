# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a file away at a step, and put it back when the run begins to go back: AWAY_AT=shift:begun AWAY=FILE."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: away_at
type: aggregate
short_description: Take a file away for the time of one step
description: For the scenario that proves that a step which fails leads back.
"""


class CallbackModule(CallbackBase):
    """Listens until the step is there."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "away_at"
    CALLBACK_NEEDS_ENABLED = True

    def v2_runner_on_ok(self, result: Any) -> None:
        step = result.result.get("step") or {}
        file = Path(os.environ["AWAY"])
        away = file.with_name(f"{file.name}.away")
        point = f"{step.get('name')}:{step.get('state')}"
        if point == os.environ["AWAY_AT"]:
            file.rename(away)
        elif point == "go_back:begun":
            away.rename(file)
