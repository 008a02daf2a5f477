# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the facts of one host's process manager: which processes are declared, and how. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .checks import CannotObserve
from .command import CannotRun, Command, explain, run
from .facts_service import UNIT_PROPERTIES, supervisor_facts, unit_facts
from .masking import Masker
from .observation import Seen
from .observe_service import ask_supervisor
from .pool import Deadline

Options = Mapping[str, Any]


def look_at_service_facts(target: Options, deadline: Deadline) -> Seen:
    """Raises ``CannotObserve`` when the process manager does not answer."""
    if target["driver"] == "supervisor":
        answer = ask_supervisor(target, deadline, question="getAllConfigInfo", answers="command")
        return Seen(facts=supervisor_facts(answer))
    argv = [target["systemctl"], f"--{target['scope']}", "show", "--no-pager"]
    argv += [f"--property={','.join(UNIT_PROPERTIES)}", "--", *target["processes"]]
    command = Command(argv=argv, timeout_s=max(0.1, deadline.left_s() - 0.5), grace_s=0.2, keep_stdout=True)
    try:
        ran = run(command)
    except CannotRun as reason:
        raise CannotObserve(str(reason)) from reason
    if ran.timed_out or ran.exit_code != 0:
        raise CannotObserve(explain(command, ran, Masker()))
    return Seen(facts=unit_facts(ran.stdout, target["processes"]))
