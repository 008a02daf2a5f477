# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true of what visitors saw during a run: enough requests, without a gap, and none of them lost.

Checklist rows C19 (too few samples are no pass) and C23 (a gap in samples is a failure, not a pass).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .checks import CannotObserve, Check, ExpectationError

MAX_GAP_S = 5.0
# An hour of one a second: whatever has to lead back has long done so.
SAMPLES_KEPT = 3600
SHAPE = '{"samples": [{"at": SECONDS, "sent": COUNT, "failed": COUNT, "slowest_ms": NUMBER}, ...]}'


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What became of the requests since the sample before; ``at`` is when it ended, in seconds since 1970 UTC.

    ``mean_ms`` is ``None`` where whoever counts does not tell it.
    """

    at: float
    sent: int
    failed: int
    slowest_ms: float
    mean_ms: float | None = None

    def told(self) -> dict[str, Any]:
        """As triggers read it: of a time without requests, nothing can be said of errors and times."""
        return {
            "at": self.at, "requests": self.sent,
            "error_percent": round(100 * self.failed / self.sent, 3) if self.sent else None,
            "mean_ms": self.mean_ms if self.sent else None,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class VisitorsObservation:
    """The samples that ended after ``since``, in their order, and when they were read (seconds since 1970 UTC)."""

    since: float
    read_at: float
    samples: tuple[Sample, ...]

    @property
    def sent(self) -> int:
        return sum(sample.sent for sample in self.samples)

    @property
    def failed(self) -> int:
        return sum(sample.failed for sample in self.samples)

    @property
    def slowest_ms(self) -> float:
        return max((sample.slowest_ms for sample in self.samples), default=0.0)

    @property
    def longest_gap_s(self) -> float:
        moments = [self.since, *(sample.at for sample in self.samples), self.read_at]
        return round(max(later - earlier for earlier, later in pairwise(moments)), 1)

    @property
    def sent_per_s(self) -> float:
        """Over the time that the samples cover: the first of them may have begun before ``since``."""
        covered_s = self.samples[-1].at - self.samples[0].at if self.samples else 0.0
        if covered_s <= 0:
            raise CannotObserve(
                "there is one sample or none since then: how many requests a second there are is not seen"
            )
        return round(sum(sample.sent for sample in self.samples[1:]) / covered_s, 1)

    def told(self) -> dict[str, Any]:
        """What evidence keeps of it, and triggers are evaluated from."""
        samples = [sample.told() for sample in self.samples[-SAMPLES_KEPT:]]
        return {"sent": self.sent, "failed": self.failed, "slowest_ms": self.slowest_ms, "samples": samples}


def read_samples(text: str) -> list[Sample]:
    """The samples in a document of the shape ``SHAPE``, in their order; what else it holds is not looked at.

    Raises ``CannotObserve`` for any other.
    """
    try:
        document = json.loads(text)
        samples = [_sample(each) for each in document["samples"]]
    except (ValueError, TypeError, KeyError, OverflowError) as strange:
        raise CannotObserve(f"what was printed is not {SHAPE}: {type(strange).__name__}: {strange}") from strange
    return sorted(samples, key=lambda sample: sample.at)


def _sample(data: Mapping[str, Any]) -> Sample:
    counts = {name: data[name] for name in ("sent", "failed")}
    numbers = {name: float(data[name]) for name in ("at", "slowest_ms", "mean_ms") if name in data or name != "mean_ms"}
    if any(type(count) is not int or count < 0 for count in counts.values()):
        raise ValueError(f"sent and failed must be counts, and are {counts['sent']!r} and {counts['failed']!r}")
    if not all(math.isfinite(number) and number >= 0 for number in numbers.values()):
        shown = ", ".join(f"{name} is {data[name]!r}" for name in numbers)
        raise ValueError(f"times must be numbers that are not negative, and {shown}")
    return Sample(sent=counts["sent"], failed=counts["failed"], **numbers)


def seen_since(samples: Sequence[Sample], *, since: float, read_at: float) -> VisitorsObservation:
    """The part of the samples that ended after ``since``."""
    return VisitorsObservation(
        since=since, read_at=max(since, read_at), samples=tuple(sample for sample in samples if sample.at > since)
    )


def visitors_checks(expected: Mapping[str, Any]) -> Iterator[Check[VisitorsObservation]]:
    """Every check that ``expected`` implies; the keys are those of visitors_check's ``expected`` option.

    Raises ``ExpectationError`` where it is not said how many requests there must be: of none, none is lost.
    """
    if not expected.get("min_per_s", 0) > 0:
        raise ExpectationError("declare min_per_s, more than 0: where nobody asks, nothing is seen to be lost")
    max_gap_s = expected.get("max_gap_s", MAX_GAP_S)
    yield Check(
        name="covered",
        expected=f"at most {max_gap_s:g} s without a sample",
        look=lambda seen: seen.longest_gap_s,
        holds=lambda gap_s: gap_s <= max_gap_s,
        remedy="see that whoever counts was counting all the time, and that its clock is right",
    )
    yield Check(
        name="sent_per_s",
        expected=f"at least {expected['min_per_s']:g}",
        look=lambda seen: seen.sent_per_s,
        holds=lambda per_s: per_s >= expected["min_per_s"],
        needs="covered",
        remedy="see why fewer requests came than there should have been; too few prove nothing",
    )
    if "max_failed" in expected:
        yield Check(
            name="failed",
            expected=f"at most {expected['max_failed']}",
            look=lambda seen: seen.failed,
            holds=lambda count: count <= expected["max_failed"],
            needs="covered",
            remedy="see in the load balancer's log which requests were lost, and where they went",
        )
    if "max_ms" in expected:
        yield Check(
            name="slowest_ms",
            expected=f"at most {expected['max_ms']:g}",
            look=lambda seen: seen.slowest_ms,
            holds=lambda slowest: slowest <= expected["max_ms"],
            needs="covered",
            remedy="see in the load balancer's log which request took so long",
        )
