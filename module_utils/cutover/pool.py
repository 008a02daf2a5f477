# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at many targets at once, and be back in time whatever they do."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .checks import CannotObserve

T = TypeVar("T")
Seen = TypeVar("Seen")
Clock = Callable[[], float]

# A client's own time-out names what it waited for; we cut in only when the client did not.
GRACE_S = 0.25


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long one target and all of them together may take, in seconds, and how many are looked at side by side."""

    timeout_s: float
    total_timeout_s: float
    workers: int


@dataclass(frozen=True)
class Deadline:
    """The moment by which a target must have answered, on a monotonic clock in seconds."""

    at: float
    clock: Clock = time.monotonic

    def left_s(self) -> float:
        """Seconds left, more than zero; raises ``CannotObserve`` when there are none."""
        left = self.at - self.clock()
        if left <= 0:
            raise CannotObserve("the target's deadline passed before all of it was seen")
        return left

    def at_most(self, seconds: float) -> Deadline:
        """A deadline for a part of the work: so many seconds from now, and never later than this one."""
        return Deadline(min(self.at, self.clock() + seconds), self.clock)


@dataclass(frozen=True, kw_only=True)
class Outcome(Generic[Seen]):
    """What came of looking at one target."""

    observation: Seen | CannotObserve
    took_ms: int


def look_at_all(
    targets: Sequence[T],
    look: Callable[[T, Deadline], Seen],
    *,
    limits: Limits,
    wait_s: Callable[[T], float] = lambda target: 0.0,
    clock: Clock = time.monotonic,
) -> list[Outcome[Seen]]:
    """One outcome a target, in the targets' order. Never raises for a target and never outlives the total.

    ``wait_s(target)`` are the seconds for which a target may be waited for: its deadline, and the total, come as much
    later.

    A thread cannot be stopped from outside: one that is overdue is left behind as a daemon, its place in the
    pool is given to the next target, and what it may still find is not looked at.
    """
    pool = _Pool(targets, look, limits, [wait_s(target) for target in targets], clock)
    while pool.unfinished():
        pool.start_what_fits()
        pool.collect()
    return pool.outcomes()


class _Pool(Generic[T, Seen]):
    def __init__(
        self,
        targets: Sequence[T],
        look: Callable[[T, Deadline], Seen],
        limits: Limits,
        waits_s: Sequence[float],
        clock: Clock,
    ) -> None:
        self._look, self._limits, self._clock = look, limits, clock
        self._targets, self._waits_s = targets, waits_s
        self._waiting = deque(range(len(targets)))
        self._running: dict[int, float] = {}
        self._finished: dict[int, Outcome[Seen]] = {}
        self._answers: queue.SimpleQueue[tuple[int, Seen | CannotObserve]] = queue.SimpleQueue()
        self._total_s = limits.total_timeout_s + max(waits_s, default=0.0)
        self._end = clock() + self._total_s

    def unfinished(self) -> bool:
        return len(self._finished) < len(self._targets)

    def outcomes(self) -> list[Outcome[Seen]]:
        return [self._finished[index] for index in range(len(self._targets))]

    def start_what_fits(self) -> None:
        while self._waiting and len(self._running) < self._limits.workers and self._clock() < self._end:
            index = self._waiting.popleft()
            self._running[index] = self._clock()
            deadline = Deadline(self._due(index), self._clock)
            threading.Thread(target=self._work, args=(index, deadline), daemon=True).start()

    def _due(self, index: int) -> float:
        """When a running target must have answered."""
        return min(self._running[index] + self._limits.timeout_s + self._waits_s[index], self._end)

    def _work(self, index: int, deadline: Deadline) -> None:
        try:
            answer: Seen | CannotObserve = self._look(self._targets[index], deadline)
        except CannotObserve as reason:
            answer = reason
        except BaseException as defect:  # noqa: BLE001 - whatever ends a thread becomes a finding with its cause
            answer = CannotObserve(f"{type(defect).__name__}: {defect}")
        self._answers.put((index, answer))

    def collect(self) -> None:
        """Wait for the next answer or the next deadline, whichever comes first."""
        try:
            index, answer = self._answers.get(timeout=max(0.0, self._next_deadline() - self._clock()))
        except queue.Empty:
            self._give_up_on_the_overdue()
        else:
            if index in self._running:
                self._finish(index, answer)

    def _next_deadline(self) -> float:
        return min(map(self._due, self._running), default=self._end) + GRACE_S

    def _give_up_on_the_overdue(self) -> None:
        now = self._clock()
        for index, started in list(self._running.items()):
            if now >= self._due(index) + GRACE_S:
                self._finish(index, CannotObserve(f"no answer within {min(now, self._end) - started:.1f} s"))
        if now >= self._end:
            while self._waiting:
                self._running[index := self._waiting.popleft()] = now
                reason = f"never looked at: the {self._total_s:g} s for all targets were used up"
                self._finish(index, CannotObserve(reason))

    def _finish(self, index: int, observation: Any) -> None:
        took_ms = round((self._clock() - self._running.pop(index)) * 1000)
        self._finished[index] = Outcome(observation=observation, took_ms=took_ms)
