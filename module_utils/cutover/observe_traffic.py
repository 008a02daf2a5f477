# SPDX-License-Identifier: GPL-3.0-or-later
"""Watch HAProxy's servers through its runtime interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .checks import CannotObserve
from .haproxy import Server, mean_since, servers_of
from .judge_traffic import Sample, Share, TrafficObservation
from .pool import Deadline
from .shift import serving_pools
from .ticks import ticks

Options = Mapping[str, Any]

TICK_S = 0.2
SAMPLE_S = 1.0


def look_at_traffic(target: Options, deadline: Deadline) -> TrafficObservation:
    """Observe one backend; with ``share`` in the target, watch those servers until enough requests have come by."""
    first = servers_of(target["address"], target["backend"], deadline)
    share = _watch(target, first, deadline) if target.get("share") else None
    pools = target.get("pools") or {}
    serving = tuple(sorted(serving_pools(first, pools)))
    members = [name for pool in serving for name in pools[pool] if first[name].state == "ready"]
    broken = tuple(f"{name} {first[name].status}" for name in members if not first[name].up)
    idle = [name for pool, names in pools.items() if pool not in serving for name in names]
    lurking = tuple(name for name in idle if first[name].state == "ready" and first[name].weight > 0)
    return TrafficObservation(serving_pools=serving, broken=broken, lurking=lurking, share=share)


def _watch(target: Options, first: Mapping[str, Server], deadline: Deadline) -> Share:
    enough = target["expected"].get("min_requests", 1)
    names: Sequence[str] = target["share"]
    unknown = [name for name in names if name not in first]
    if unknown:
        raise CannotObserve(f"the share names {', '.join(unknown)}: the backend has {', '.join(sorted(first))}")
    share, samples = _since(first, first, names), _Samples(names, first)
    for gone_s in ticks(total_s=min(target["watch_s"], deadline.left_s() - 0.2), every_s=TICK_S):
        now = servers_of(target["address"], target["backend"], deadline)
        share = _since(first, now, names)
        samples.take(now, gone_s)
        if share.requests >= enough and samples.measured >= target.get("min_samples", 0):
            break
    return replace(share, samples=tuple(samples.taken))


class _Samples:
    """One sample a second of what the watched servers do."""

    def __init__(self, names: Sequence[str], first: Mapping[str, Server]) -> None:
        self.taken: list[Sample] = []
        self._names, self._first, self._last, self._next_s = names, first, first, SAMPLE_S

    @property
    def measured(self) -> int:
        """How many of them say anything."""
        return sum(sample.requests > 0 for sample in self.taken)

    def take(self, now: Mapping[str, Server], gone_s: float) -> None:
        if gone_s < self._next_s:
            return
        part = _since(self._last, now, self._names)
        self.taken.append(
            Sample(
                at_s=round(gone_s, 1),
                requests=part.requests,
                error_percent=round(part.error_percent, 3) if part.requests else None,
                # Of all since the watch began: of the few of a second, HAProxy does not tell enough.
                mean_ms=_since(self._first, now, self._names).mean_ms if part.requests else None,
            )
        )
        self._last, self._next_s = now, gone_s + SAMPLE_S


def _since(first: Mapping[str, Server], now: Mapping[str, Server], names: Sequence[str]) -> Share:
    if any(now[name].requests < first[name].requests for name in names):
        raise CannotObserve("HAProxy counted anew while the share was watched: was it restarted?")
    means = (mean_since(first[name], now[name]) for name in names)
    return Share(
        requests=sum(now[name].requests - first[name].requests for name in names),
        errors=sum(now[name].errors - first[name].errors for name in names),
        mean_ms=max((mean for mean in means if mean is not None), default=None),
    )
