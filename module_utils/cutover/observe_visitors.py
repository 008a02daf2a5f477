# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask whoever counts visitors' requests what became of them, until it has counted for a moment at least."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from .checks import CannotObserve
from .command import KEPT_LINES
from .judge_visitors import VisitorsObservation, read_samples, seen_since
from .observe_command import look_with_command
from .pool import Deadline
from .ticks import ticks

Options = Mapping[str, Any]

# A run that has just begun is given this long, so that there is something to judge.
LEAST_S = 3.0
EVERY_S = 0.5


def look_at_visitors(secrets: set[str], *, since: float) -> Callable[[Options, Deadline], VisitorsObservation]:
    """An observer of what became of the requests after ``since`` (seconds since 1970 UTC)."""
    run = look_with_command(secrets)

    def look(target: Options, deadline: Deadline) -> VisitorsObservation:
        for _ in ticks(total_s=LEAST_S + 1, every_s=EVERY_S):
            seen = run(target, deadline)
            if seen.exit_code != 0 or not seen.stdout_complete:
                last = [*seen.record["first_lines"], *seen.record["last_lines"]][-KEPT_LINES:]
                said = f"Its last line: {last[-1]}" if seen.exit_code and last else "It printed more than can be read."
                raise CannotObserve(f"{target['argv'][0]} ended with exit code {seen.exit_code}. {said}")
            samples = read_samples(seen.stdout)
            if samples and samples[-1].at >= since + LEAST_S:
                break
        return seen_since(samples, since=since, read_at=time.time())

    return look
