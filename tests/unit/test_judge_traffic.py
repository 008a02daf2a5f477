# SPDX-License-Identifier: GPL-3.0-or-later
"""Judging which pool serves and how a share of the traffic went: no traffic is no proof."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from cutover import observe_traffic
from cutover.checks import CannotObserve, judge
from cutover.haproxy import Server, parse_servers
from cutover.judge_traffic import Share, TrafficObservation, traffic_checks
from cutover.pool import Deadline
from cutover.verdict import Finding, Status
from hypothesis import given
from hypothesis import strategies as st

GOOD = Share(requests=200, errors=0, mean_ms=20)
SHARE = {"min_requests": 100, "max_error_percent": 0.5, "max_mean_ms": 300}
POOL = {"one_pool": True, "serving_pool": "green"}
LONG_S = 60.0


def judged(seen: TrafficObservation | CannotObserve, expected: dict[str, Any]) -> dict[str, Finding]:
    return {finding.check: finding for finding in judge(traffic_checks(expected), seen, reachable_remedy="")}


def red(found: dict[str, Finding]) -> dict[str, str]:
    wrong = (Status.FAIL, Status.ERROR)
    return {name: finding.status.value for name, finding in found.items() if finding.status in wrong}


def share(requests: int, errors: int = 0, mean_ms: int | None = 20) -> TrafficObservation:
    return TrafficObservation(
        serving_pools=("green",), broken=(), share=Share(requests=requests, errors=errors, mean_ms=mean_ms)
    )


def test_traffic_as_declared_passes_every_check() -> None:
    found = judged(share(200), POOL | SHARE)
    assert sorted(found) == [
        "pool.idle", "pool.one", "pool.serving", "pool.up", "reachable", "share.errors", "share.mean_ms",
        "share.requests",
    ]  # fmt: skip
    assert red(found) == {}
    assert all(finding.ok for finding in found.values())


@pytest.mark.parametrize(
    ("serving", "broken", "wrong"),
    [
        pytest.param(("green",), (), {}, id="the one declared"),
        pytest.param(("blue",), (), {"pool.serving": "fail"}, id="another one"),
        pytest.param(("blue", "green"), (), {"pool.one": "fail", "pool.serving": "fail"}, id="both"),
        pytest.param((), (), {"pool.one": "fail", "pool.serving": "fail"}, id="none"),
        pytest.param(("green",), ("green2 DOWN",), {"pool.up": "fail"}, id="not all of it is up"),
    ],
)
def test_each_state_of_the_pools_is_red_in_just_what_is_wrong(
    serving: tuple[str, ...], broken: tuple[str, ...], wrong: dict[str, str]
) -> None:
    assert red(judged(TrafficObservation(serving_pools=serving, broken=broken), POOL)) == wrong


def test_no_pool_that_serves_has_no_servers_that_are_up() -> None:
    found = judged(TrafficObservation(serving_pools=(), broken=()), {"one_pool": True})
    assert (found["pool.up"].status, found["pool.up"].cause) == (Status.SKIPPED, "pool.one")


@pytest.mark.parametrize(
    ("seen", "wrong"),
    [
        pytest.param(share(100, errors=0, mean_ms=300), {}, id="at each limit"),
        pytest.param(share(200, errors=1), {}, id="just few enough errors"),
        pytest.param(share(99), {"share.requests": "fail"}, id="too few requests"),
        pytest.param(share(200, errors=2), {"share.errors": "fail"}, id="too many errors"),
        pytest.param(share(200, mean_ms=301), {"share.mean_ms": "fail"}, id="too slow"),
        pytest.param(share(200, mean_ms=None), {"share.mean_ms": "error"}, id="no request was answered"),
        pytest.param(share(0, mean_ms=0), {"share.requests": "fail", "share.errors": "error"}, id="no request"),
        pytest.param(
            TrafficObservation(serving_pools=(), broken=()),
            {"share.requests": "error", "share.errors": "error"},
            id="nobody watched",
        ),
    ],
)
def test_each_share_is_red_in_just_what_is_wrong(seen: TrafficObservation, wrong: dict[str, str]) -> None:
    assert red(judged(seen, SHARE)) == wrong


@given(st.integers(max_value=0), st.integers(), st.integers(0, 10))
def test_without_any_request_nothing_about_a_share_passes(requests: int, errors: int, mean_ms: int) -> None:
    found = judged(share(requests, errors, mean_ms), {"max_error_percent": 100.0, "max_mean_ms": 10})
    assert red(found) == {"share.errors": "error", "share.mean_ms": "error"}


@given(st.integers(1, 10**6), st.data())
def test_errors_are_a_part_of_the_requests(requests: int, data: Any) -> None:
    errors = data.draw(st.integers(0, requests))
    assert replace(GOOD, requests=requests, errors=errors).error_percent == pytest.approx(100 * errors / requests)


@pytest.mark.parametrize("expected", [{}, {"one_pool": False}], ids=["nothing declared", "declared as no matter"])
def test_what_asks_nothing_implies_no_check(expected: dict[str, Any]) -> None:
    assert list(traffic_checks(expected)) == []


@pytest.fixture
def watch(recorded: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., TrafficObservation]:
    """Look at a backend that shows one recorded state after another; each step names what differs from the first."""

    def look(*steps: dict[str, dict[str, Any]], **target: Any) -> TrafficObservation:
        stat, state = recorded("haproxy-2.6/show-stat.txt"), recorded("haproxy-2.6/show-servers-state.txt")
        first = parse_servers(stat, state, "web")

        def answers() -> Iterator[dict[str, Server]]:
            yield first
            for step in steps:
                yield first | {name: replace(first[name], **sides) for name, sides in step.items()}

        said = answers()
        monkeypatch.setattr(observe_traffic, "servers_of", lambda *_: next(said))
        asked = {"address": "/sock", "backend": "web", "expected": {}, "watch_s": LONG_S} | target
        return observe_traffic.look_at_traffic(asked, Deadline(LONG_S, lambda: 0.0))

    return look


def test_a_share_is_what_came_by_while_it_was_watched(watch: Callable[..., TrafficObservation]) -> None:
    seen = watch(
        {"blue1": {"requests": 21}},
        {"blue1": {"requests": 31, "errors": 2, "mean_ms": 40, "answers": 9999}, "green1": {"requests": 20}},
        share=["blue1", "green1"],
        expected={"min_requests": 30},
    )
    assert seen.share == Share(requests=30, errors=2, mean_ms=40)


def test_watching_ends_when_enough_has_come_by(watch: Callable[..., TrafficObservation]) -> None:
    seen = watch({"blue1": {"requests": 12}}, {"blue1": {"requests": 99}}, share=["blue1"])
    assert seen.share is not None
    assert seen.share.requests == 1


def test_a_haproxy_that_counts_anew_proves_nothing(watch: Callable[..., TrafficObservation]) -> None:
    with pytest.raises(CannotObserve, match="counted anew"):
        watch({"blue1": {"requests": 0}}, share=["blue1"])


def test_a_share_of_servers_that_are_not_there_is_refused_with_those_that_are(
    watch: Callable[..., TrafficObservation],
) -> None:
    with pytest.raises(CannotObserve, match=r"the share names green9: the backend has blue1, blue2"):
        watch(share=["blue1", "green9"])


@pytest.mark.parametrize(
    ("pools", "serving", "broken"),
    [
        pytest.param({"a": ["blue1"], "b": ["quiet"]}, ("a",), (), id="one is drained"),
        pytest.param({"a": ["blue1"], "b": ["green2"]}, ("a", "b"), (), id="both serve"),
        pytest.param({"a": ["blue2"], "b": ["spare1"]}, (), (), id="none serves"),
        pytest.param({"a": ["blue1", "blue2"]}, ("a",), (), id="who is drained needs not be up"),
    ],
)
def test_pools_are_seen_through_their_servers(
    watch: Callable[..., TrafficObservation],
    pools: dict[str, list[str]],
    serving: tuple[str, ...],
    broken: tuple[str, ...],
) -> None:
    seen = watch(pools=pools)
    assert (seen.serving_pools, seen.broken, seen.share) == (serving, broken, None)


def test_one_error_in_a_million_is_more_than_none() -> None:
    seen = replace(GOOD, requests=10**6, errors=1)
    assert seen.error_percent > 0


def test_an_idle_server_that_only_waits_to_be_up_is_red() -> None:
    seen = TrafficObservation(serving_pools=("green",), broken=(), lurking=("blue1",))
    assert red(judged(seen, POOL)) == {"pool.idle": "fail"}
