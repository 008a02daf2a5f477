# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true of the traffic: one pool serves, and a share sent elsewhere goes well (checklist row E8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .checks import CannotObserve, Check


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What some servers did from one sample to the next. ``mean_ms`` is of all answers since they were first looked at.

    Where no request came by, nothing can be said of errors and times: they are ``None``.
    """

    at_s: float
    requests: int
    error_percent: float | None
    mean_ms: int | None


@dataclass(frozen=True, kw_only=True)
class Share:
    """What some servers did while they were watched. ``mean_ms`` is the slowest server's mean of that time, ``None``
    where none has answered: what fails is over in no time."""

    requests: int
    errors: int
    mean_ms: int | None
    samples: tuple[Sample, ...] = ()

    @property
    def error_percent(self) -> float:
        """Errors in a hundred requests."""
        return 100 * self.errors / self.requests


@dataclass(frozen=True, kw_only=True)
class TrafficObservation:
    """Which pools take new requests, which of their servers cannot, and how the watched share went.

    ``lurking`` are servers of idle pools that are down but not drained: whatever starts there is served at once.
    """

    serving_pools: tuple[str, ...]
    broken: tuple[str, ...]
    lurking: tuple[str, ...] = ()
    share: Share | None = None

    def to_dict(self) -> dict[str, Any] | None:
        """What evidence keeps of it: the samples of a share, from which triggers are evaluated."""
        return {"samples": [asdict(sample) for sample in self.share.samples]} if self.share else None


def traffic_checks(expected: Mapping[str, Any]) -> Iterator[Check[TrafficObservation]]:
    """Every check that ``expected`` implies; the keys are those of haproxy_check's ``expected`` option."""
    if expected.get("one_pool"):
        yield Check(
            name="pool.one",
            expected="one pool serves",
            look=lambda seen: list(seen.serving_pools),
            holds=lambda pools: len(pools) == 1,
            remedy="finish or take back the cutover that left it so",
        )
        yield Check(
            name="pool.up",
            expected=[],
            look=lambda seen: list(seen.broken),
            needs="pool.one",
            remedy="see why these servers of the serving pool do not answer their health check",
        )
        yield Check(
            name="pool.idle",
            expected=[],
            look=lambda seen: list(seen.lurking),
            remedy="drain these servers: as they are, they take traffic as soon as something answers on them",
        )
    if "serving_pool" in expected:
        yield Check(
            name="pool.serving",
            expected=[expected["serving_pool"]],
            look=lambda seen: list(seen.serving_pools),
            remedy="shift the traffic to that pool",
        )
    if "min_requests" in expected:
        yield Check(
            name="share.requests",
            expected=f">= {expected['min_requests']}",
            look=lambda seen: _share(seen).requests,
            holds=lambda requests: requests >= expected["min_requests"],
            remedy="watch longer, or send a larger share: too few requests prove nothing",
        )
    if "max_error_percent" in expected:
        yield Check(
            name="share.errors",
            expected=f"<= {expected['max_error_percent']:g} %",
            look=lambda seen: _answered(seen).error_percent,
            show=lambda percent: float(f"{percent:.3g}"),
            holds=lambda percent: percent <= expected["max_error_percent"],
            remedy="read the release's log: it answered 5xx, or closed connections",
        )
    if "max_mean_ms" in expected:
        yield Check(
            name="share.mean_ms",
            expected=f"<= {expected['max_mean_ms']}",
            look=_mean_ms,
            holds=lambda mean_ms: mean_ms <= expected["max_mean_ms"],
            needs="share.requests" if "min_requests" in expected else None,
            remedy="find what makes the release slow before it takes more",
        )


def _mean_ms(seen: TrafficObservation) -> int:
    mean_ms = _answered(seen).mean_ms
    if mean_ms is None:
        raise CannotObserve("no request was answered: how long an answer takes is not seen")
    return mean_ms


def _share(seen: TrafficObservation) -> Share:
    if seen.share is None:
        raise CannotObserve("no share was watched: name its servers")
    return seen.share


def _answered(seen: TrafficObservation) -> Share:
    """The share, when at least one request came by: without any, no errors and 0 ms would look like a pass."""
    share = _share(seen)
    if share.requests < 1:
        raise CannotObserve("no request came by: nothing can be said about how it went")
    return share
