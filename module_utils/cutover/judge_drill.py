# SPDX-License-Identifier: GPL-3.0-or-later
"""What was seen of an endpoint while something was broken, or while it came back (checklist rows B4, B5).

Every answer of a whole span of time is judged, not the last one: a service that says 503 once and 200 in between, or
hangs once, has not stood the test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from .checks import CannotObserve, Check, ExpectationError
from .journal import iso

# So many changes of mind of an endpoint say all that there is to say.
SPANS_KEPT = 20


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One request: when it was sent, how long it took, what came, and the first thing about it that was not right."""

    sent_at: datetime
    took_ms: int
    said: str
    wrong: str | None = None

    @property
    def answered_at(self) -> datetime:
        """When its last byte was there, or it was given up."""
        return self.sent_at + timedelta(milliseconds=self.took_ms)


@dataclass(frozen=True, kw_only=True)
class Watched:
    """Every request to one endpoint, in their order. ``held_s`` is how long it had to go on as it had become."""

    samples: Sequence[Sample]

    @property
    def became(self) -> int | None:
        """The number of the first answer that was right."""
        return next((number for number, sample in enumerate(self.samples) if sample.wrong is None), None)

    @property
    def slowest_ms(self) -> int:
        """How long the slowest answer took."""
        return max(sample.took_ms for sample in self.samples)

    def to_dict(self) -> dict[str, Any]:
        """The watch as evidence: who said what from when until when."""
        became = self.became
        return {
            "began_at": iso(self.samples[0].sent_at),
            "ended_at": iso(self.samples[-1].answered_at),
            "became_at": None if became is None else iso(self.samples[became].answered_at),
            "asked": len(self.samples),
            "as_expected": sum(sample.wrong is None for sample in self.samples),
            "slowest_ms": self.slowest_ms,
            "answers": list(_spans(self.samples))[:SPANS_KEPT],
        }


def _spans(samples: Sequence[Sample]) -> Iterator[dict[str, Any]]:
    """Answers that say the same, one after the other, as one."""
    for (said, wrong), group in groupby(samples, key=lambda sample: (sample.said, sample.wrong)):
        alike = list(group)
        yield {
            "said": said, "wrong": wrong, "times": len(alike), "from": iso(alike[0].sent_at),
            "until": iso(alike[-1].answered_at), "slowest_ms": max(sample.took_ms for sample in alike),
        }  # fmt: skip


def watched_checks(expected: Mapping[str, Any]) -> Iterator[Check[Watched]]:
    """What is demanded of a watched endpoint; the keys are those of drill_check's ``expected`` option.

    Raises ``ExpectationError`` for an answer of which nothing is expected, and for limits that mean nothing.
    """
    answer = expected.get("answer") or {}
    if not answer:
        raise ExpectationError("answer is missing: it says what the endpoint must answer")
    if expected.get("stays"):
        yield _stays()
    else:
        within_s, hold_s = expected.get("within_s"), expected.get("hold_s", 0.0)
        if not within_s or within_s <= 0 or hold_s < 0:
            raise ExpectationError("within_s must be more than 0, and hold_s not less: how long may it take?")
        yield _becomes(within_s)
        if hold_s:
            yield _holds(hold_s)
    if "max_ms" in answer:
        yield _within_budget(answer["max_ms"])


def _stays() -> Check[Watched]:
    return Check(
        name="stays",
        expected="every answer as declared",
        look=lambda watched: _count_of_wrong(watched.samples),
        holds=lambda seen: seen["wrong"] == 0,
        remedy="find out why this depends on what was broken: it must not",
    )


def _becomes(within_s: float) -> Check[Watched]:
    return Check(
        name="becomes",
        expected=f"as declared within {within_s:g} s",
        look=_becoming,
        holds=lambda seen: seen.get("after_s") is not None and seen["after_s"] <= within_s,
        remedy="read what it answered instead, and the service's log for why",
    )


def _becoming(watched: Watched) -> dict[str, Any]:
    first, became = watched.samples[0], watched.became
    if became is None:
        last = watched.samples[-1]
        return {"never": last.wrong, "said": last.said, "asked": len(watched.samples)}
    sample = watched.samples[became]
    return {"after_s": round((sample.answered_at - first.sent_at).total_seconds(), 2), "said": sample.said}


def _holds(hold_s: float) -> Check[Watched]:
    return Check(
        name="holds",
        expected=f"every answer as declared for {hold_s:g} s from then on",
        look=_holding,
        holds=lambda seen: seen["wrong"] == 0,
        needs="becomes",
        remedy="see what it answered in between: a load balancer, or a person, would have believed that",
    )


def _holding(watched: Watched) -> dict[str, Any]:
    after = watched.samples[(watched.became or 0) + 1 :]
    return _count_of_wrong(after)


def _count_of_wrong(samples: Sequence[Sample]) -> dict[str, Any]:
    if not samples:
        raise CannotObserve("it was not asked often enough to know")
    wrong = [sample for sample in samples if sample.wrong is not None]
    seen: dict[str, Any] = {"asked": len(samples), "wrong": len(wrong)}
    return seen | {"first": wrong[0].wrong, "said": wrong[0].said} if wrong else seen


def _within_budget(max_ms: float) -> Check[Watched]:
    return Check(
        name="slowest_ms",
        expected=f"<= {max_ms:g}",
        look=lambda watched: watched.slowest_ms,
        holds=lambda slowest: slowest <= max_ms,
        remedy="bound every check that the answer waits for: a dependency that hangs must not make it hang",
    )
