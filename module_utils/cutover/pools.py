# SPDX-License-Identifier: GPL-3.0-or-later
"""Which servers shall take how much, said in states and weights that HAProxy understands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .haproxy import MAX_WEIGHT

Pools = Mapping[str, Sequence[str]]
FULL_WEIGHT = 100


def traffic_to(pools: Pools, pool: str) -> dict[str, dict[str, Any]]:
    """Every server of ``pool`` takes new requests, all others are drained; raises ``ValueError`` for no such pool."""
    chosen = _members(pools, pool)
    others = [name for members in pools.values() for name in members if name not in chosen]
    return {name: {"state": "ready", "weight": FULL_WEIGHT} for name in chosen} | {
        name: {"state": "drain"} for name in others
    }


def traffic_share(pools: Pools, *, serving: str, to: str, percent: int | str) -> dict[str, dict[str, Any]]:
    """Weights with which the servers of ``to`` together take ``percent`` of all requests, ``serving`` the rest.

    Raises ``ValueError`` for a pool that is not there or empty, and for a share other than 1 to 99.
    """
    # On the command line, `-e traffic_share_percent=10` is text.
    if not str(percent).isdecimal() or not 0 < int(percent) < 100:
        raise ValueError(f"a share is 1 to 99 percent, not {percent!r}")
    old, new = _members(pools, serving), _members(pools, to)
    weight_old, weight_new = (100 - int(percent)) * len(new), int(percent) * len(old)
    scale = max(1.0, weight_old / MAX_WEIGHT, weight_new / MAX_WEIGHT)
    return {name: _ready(weight_old / scale) for name in old} | {name: _ready(weight_new / scale) for name in new}


def _ready(weight: float) -> dict[str, Any]:
    return {"state": "ready", "weight": max(1, round(weight))}


def _members(pools: Pools, pool: str) -> Sequence[str]:
    if not pools.get(pool):
        raise ValueError(f"no servers in pool {pool!r}: there are {', '.join(map(repr, pools)) or 'no pools'}")
    return pools[pool]
