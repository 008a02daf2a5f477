# SPDX-License-Identifier: GPL-3.0-or-later
"""Shares said in HAProxy's weights: as near to what was asked for as whole numbers from 1 to 256 can be."""

from __future__ import annotations

from typing import Any

import pytest
from cutover.haproxy import MAX_WEIGHT, Wanted
from cutover.pools import traffic_share, traffic_to
from hypothesis import assume, given
from hypothesis import strategies as st

POOLS = {"blue": ["blue1", "blue2"], "green": ["green1"]}


def pools(blue: int, green: int) -> dict[str, list[str]]:
    return {"blue": [f"blue{n}" for n in range(blue)], "green": [f"green{n}" for n in range(green)]}


def share_of(pool: str, weights: dict[str, dict[str, Any]]) -> float:
    """Percent of all requests that the servers of the pool get."""
    taken = sum(sides["weight"] for name, sides in weights.items() if name.startswith(pool))
    return 100 * taken / sum(sides["weight"] for sides in weights.values())


@given(st.integers(1, 99), st.integers(1, 50), st.integers(1, 50))
def test_every_weight_is_one_that_haproxy_takes(percent: int, blue: int, green: int) -> None:
    weights = traffic_share(pools(blue, green), serving="blue", to="green", percent=percent)
    assert len(weights) == blue + green
    for name, sides in weights.items():
        assert sides["state"] == "ready"
        assert 1 <= sides["weight"] <= MAX_WEIGHT
        Wanted.parse(name, sides)


@given(st.integers(1, 99), st.integers(1, 50), st.integers(1, 50))
def test_the_share_is_what_was_asked_for_within_rounding(percent: int, blue: int, green: int) -> None:
    weights = traffic_share(pools(blue, green), serving="blue", to="green", percent=percent)
    old, new = weights["blue0"]["weight"], weights["green0"]["weight"]
    # Below a weight of 1 there is nothing: the smallest share there is may be larger than the one asked for.
    assume(min(old, new) > 1)
    least = 100 * green * (new - 0.5) / (green * (new - 0.5) + blue * (old + 0.5))
    most = 100 * green * (new + 0.5) / (green * (new + 0.5) + blue * (old - 0.5))
    assert least <= percent <= most


@given(st.integers(1, 99), st.integers(1, 50))
def test_pools_of_the_same_size_get_their_share_nearly_exactly(percent: int, size: int) -> None:
    weights = traffic_share(pools(size, size), serving="blue", to="green", percent=percent)
    assert share_of("green", weights) == pytest.approx(percent, abs=1)


@pytest.mark.parametrize(
    ("percent", "weights"),
    [
        pytest.param(10, {"blue1": 90, "blue2": 90, "green1": 20}, id="a tenth"),
        pytest.param(50, {"blue1": 50, "blue2": 50, "green1": 100}, id="half"),
        pytest.param(99, {"blue1": 1, "blue2": 1, "green1": 198}, id="nearly all"),
        pytest.param("10", {"blue1": 90, "blue2": 90, "green1": 20}, id="text, as from the command line"),
    ],
)
def test_shares_that_people_ask_for(percent: int | str, weights: dict[str, int]) -> None:
    found = traffic_share(POOLS, serving="blue", to="green", percent=percent)
    assert found == {name: {"state": "ready", "weight": weight} for name, weight in weights.items()}


@pytest.mark.parametrize("percent", [0, 100, -1, 0.5, 101, "ten", "", None, [10]])
def test_what_is_no_share_is_refused(percent: Any) -> None:
    with pytest.raises(ValueError, match="a share is 1 to 99 percent"):
        traffic_share(POOLS, serving="blue", to="green", percent=percent)


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        pytest.param(POOLS, "no servers in pool 'red': there are 'blue', 'green'", id="no such pool"),
        pytest.param({"red": []}, "no servers in pool 'red': there are 'red'", id="an empty pool"),
        pytest.param({}, "no servers in pool 'red': there are no pools", id="no pools"),
    ],
)
def test_a_pool_without_servers_is_refused(declared: dict[str, list[str]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        traffic_to(declared, "red")
    with pytest.raises(ValueError, match=words):
        traffic_share(declared | {"new": ["new1"]} if declared else {}, serving="red", to="new", percent=10)


def test_all_traffic_goes_to_one_pool_and_all_others_are_drained() -> None:
    assert traffic_to(POOLS | {"spare": ["spare1"]}, "green") == {
        "green1": {"state": "ready", "weight": 100},
        "blue1": {"state": "drain"},
        "blue2": {"state": "drain"},
        "spare1": {"state": "drain"},
    }


def test_a_server_of_two_pools_is_not_drained_with_the_other_one() -> None:
    shared = {"blue": ["a", "b"], "green": ["b", "c"]}
    assert traffic_to(shared, "green") == {
        "b": {"state": "ready", "weight": 100},
        "c": {"state": "ready", "weight": 100},
        "a": {"state": "drain"},
    }
