# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place that sleeps, on a clock that only sleeping moves."""

from __future__ import annotations

import itertools

import pytest
from clocks import FakeClock
from cutover.ticks import ticks
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("total_s", "every_s", "at"),
    [
        pytest.param(1.0, 0.25, [0, 0.25, 0.5, 0.75, 1.0], id="at once, then evenly, then at the end"),
        pytest.param(1.0, 0.75, [0, 0.75, 1.0], id="the last interval is shorter"),
        pytest.param(1.0, 5.0, [0, 1.0], id="an interval longer than the whole"),
        pytest.param(0.0, 1.0, [0], id="no time still means one look"),
        pytest.param(-1.0, 1.0, [0], id="less than no time too"),
    ],
)
def test_ticks_come_at_once_evenly_and_at_the_end(total_s: float, every_s: float, at: list[float]) -> None:
    clock = FakeClock(100.0)
    assert list(ticks(total_s=total_s, every_s=every_s, clock=clock, sleep=clock.sleep)) == at


def test_what_is_done_between_two_ticks_takes_its_time_from_the_total() -> None:
    clock, seen = FakeClock(0.0), []
    for gone in ticks(total_s=10.0, every_s=1.0, clock=clock, sleep=clock.sleep):
        seen.append(gone)
        clock.now += 4.0
    assert seen == [0.0, 5.0, 10.0]


def test_whoever_has_seen_enough_waits_no_longer() -> None:
    clock = FakeClock(0.0)
    next(ticks(total_s=10.0, every_s=1.0, clock=clock, sleep=clock.sleep))
    assert clock.now == 0.0


@given(st.floats(0, 100), st.floats(0.01, 100), st.floats(0, 50))
def test_no_sleep_is_negative_or_reaches_beyond_the_end(total_s: float, every_s: float, busy_s: float) -> None:
    clock = FakeClock(0.0)
    for _ in itertools.islice(ticks(total_s=total_s, every_s=every_s, clock=clock, sleep=clock.sleep), 100):
        clock.now += busy_s
    assert all(0 <= nap <= min(every_s, total_s) for nap in clock.naps)
