# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask endpoints again and again, side by side, while something is broken or comes back. Reads only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from .checks import CannotObserve, Check, judge
from .journal import utc_now
from .judge_drill import Sample, Watched
from .judge_endpoint import EndpointObservation, endpoint_checks
from .observe_endpoint import ask
from .pool import Deadline
from .ticks import Sleep

Options = Mapping[str, Any]


class Meeting:
    """Whoever is watched beside others is watched until they are done, and never shorter than ``for_s``."""

    def __init__(
        self, targets: Sequence[Options], *, for_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lock = threading.Lock()
        self._becoming = sum(not target["expected"].get("stays") for target in targets)
        self._clock, self._until = clock, clock() + for_s

    def leave(self) -> None:
        """Say that one that had to become something is done."""
        with self._lock:
            self._becoming -= 1

    @property
    def is_over(self) -> bool:
        """Whether nobody needs to be watched any more."""
        return self._becoming <= 0 and self._clock() >= self._until


def watch(
    target: Options,
    deadline: Deadline,
    *,
    meeting: Meeting,
    every_s: float,
    timeout_s: float,
    sleep: Sleep = time.sleep,
    now: Callable[[], datetime] = utc_now,
) -> Watched:
    """Ask until the answer is as declared and has been so for long enough, and until the others are done as well.

    Raises ``CannotObserve`` when there never was any answer.
    """
    expected = target["expected"]
    watcher = _Watcher(target, list(endpoint_checks(expected["answer"])), deadline, timeout_s, now)
    is_done = bool(expected.get("stays"))
    try:
        while not (is_done and meeting.is_over):
            began = deadline.clock()
            watcher.ask_once()
            if not is_done and watcher.is_done(expected):
                is_done = True
                meeting.leave()
            sleep(max(0.0, min(began + every_s - deadline.clock(), deadline.left_s())))
    except CannotObserve:
        # The time for all of it is up: what was seen by then is judged.
        if not watcher.samples:
            raise
    if not watcher.answered:
        raise CannotObserve(f"it never answered, asked {len(watcher.samples)} times: {watcher.samples[-1].said}")
    return Watched(samples=tuple(watcher.samples))


class _Watcher:
    """What was seen of one endpoint so far."""

    def __init__(
        self,
        target: Options,
        checks: Sequence[Check[EndpointObservation]],
        deadline: Deadline,
        timeout_s: float,
        now: Callable[[], datetime],
    ) -> None:
        self._target, self._checks, self._deadline = target, checks, deadline
        self._timeout_s, self._now = timeout_s, now
        self._became_at: datetime | None = None
        self.samples: list[Sample] = []
        self.answered = False

    def ask_once(self) -> None:
        sent_at, began = self._now(), self._deadline.clock()
        try:
            seen: EndpointObservation | CannotObserve = ask(self._target, self._deadline.at_most(self._timeout_s))
        except CannotObserve as reason:
            seen = reason
        took_ms = round((self._deadline.clock() - began) * 1000)
        if isinstance(seen, EndpointObservation):
            self.answered, said = True, str(seen.status)
        else:
            said = f"no answer: {seen}"
        self.samples.append(Sample(sent_at=sent_at, took_ms=took_ms, said=said, wrong=self._wrong(seen)))
        if self._became_at is None and self.samples[-1].wrong is None:
            self._became_at = self.samples[-1].answered_at

    def _wrong(self, seen: EndpointObservation | CannotObserve) -> str | None:
        for finding in judge(self._checks, seen, reachable_remedy=""):
            if not finding.ok:
                return finding.cause or f"{finding.check}: expected {finding.expected}, observed {finding.observed}"
        return None

    def is_done(self, expected: Options) -> bool:
        """It became as declared and stayed so for as long as it had to, or it never will in its time."""
        last = self.samples[-1].answered_at
        if self._became_at is None:
            return last - self.samples[0].sent_at >= timedelta(seconds=expected["within_s"])
        return last - self._became_at >= timedelta(seconds=expected.get("hold_s", 0.0))
