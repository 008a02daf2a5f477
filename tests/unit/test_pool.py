# SPDX-License-Identifier: GPL-3.0-or-later
"""Many targets at once: every one gets its outcome, in order and in bounds, whatever the others do."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from clocks import FakeClock
from cutover.checks import CannotObserve
from cutover.pool import Deadline, Limits, Outcome, look_at_all
from hypothesis import given
from hypothesis import strategies as st

PATIENT = Limits(timeout_s=60.0, total_timeout_s=600.0, workers=4)
# For what never answers; whoever shall answer is waited for much longer by `wait_s`.
HASTY_S, LONG_S = 0.1, 60.0


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """What a target waits for that does not answer. Set at the end, so that no thread outlives its test."""
    event = threading.Event()
    yield event
    event.set()


def reasons(outcomes: list[Outcome[object]]) -> list[str | None]:
    """Why each target could not be observed; ``None`` for one that was."""
    return [str(outcome.observation) if isinstance(outcome.observation, Exception) else None for outcome in outcomes]


def test_outcomes_come_in_the_order_of_the_targets_whoever_answers_first() -> None:
    answered = [threading.Event() for _ in range(5)]
    answered[4].set()

    def after_the_next_one(target: int, deadline: Deadline) -> int:
        if target < 4:
            answered[target + 1].wait(deadline.left_s())
        answered[target].set()
        return target * 10

    outcomes = look_at_all(range(5), after_the_next_one, limits=Limits(timeout_s=60, total_timeout_s=60, workers=5))
    assert [outcome.observation for outcome in outcomes] == [0, 10, 20, 30, 40]


def test_no_targets_have_no_outcomes() -> None:
    assert look_at_all([], lambda target, deadline: target, limits=PATIENT) == []


@given(st.lists(st.sampled_from(["answers", "cannot", "raises"]), max_size=12), st.integers(1, 5))
def test_every_target_has_one_outcome_whatever_becomes_of_it(behaviours: list[str], workers: int) -> None:
    def look(behaviour: str, deadline: Deadline) -> str:
        if behaviour == "cannot":
            raise CannotObserve("refused")
        if behaviour == "raises":
            raise ValueError("defect")
        return behaviour

    limits = Limits(timeout_s=60, total_timeout_s=60, workers=workers)
    said = {"answers": None, "cannot": "refused", "raises": "ValueError: defect"}
    assert reasons(look_at_all(behaviours, look, limits=limits)) == [said[behaviour] for behaviour in behaviours]


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        pytest.param(CannotObserve("connection refused"), "connection refused", id="a cause in a person's words"),
        pytest.param(KeyError("data"), "KeyError: 'data'", id="an answer of another shape"),
        pytest.param(SystemExit(1), "SystemExit: 1", id="a library that ends the program"),
        pytest.param(KeyboardInterrupt(), "KeyboardInterrupt: ", id="what is no Exception"),
    ],
)
def test_whatever_is_raised_becomes_the_reason_of_its_own_target_only(raised: BaseException, words: str) -> None:
    def look(target: str, deadline: Deadline) -> str:
        if target == "bad":
            raise raised
        return target

    outcomes = look_at_all(["good", "bad", "fine"], look, limits=PATIENT)
    assert reasons(outcomes) == [None, words, None]


def test_no_more_workers_than_allowed_and_no_fewer_than_could_be() -> None:
    together, running, most = threading.Barrier(3), set(), []

    def look(target: int, deadline: Deadline) -> None:
        running.add(target)
        together.wait(deadline.left_s())
        most.append(len(running))
        together.wait(deadline.left_s())
        running.discard(target)
        together.wait(deadline.left_s())

    outcomes = look_at_all(range(9), look, limits=Limits(timeout_s=60, total_timeout_s=60, workers=3))
    assert reasons(outcomes) == [None] * 9
    assert set(most) == {3}


def test_a_target_that_never_answers_is_left_behind_and_its_place_given_on(never: threading.Event) -> None:
    def look(target: str, deadline: Deadline) -> str:
        if target == "hangs":
            never.wait()
        return target

    limits = Limits(timeout_s=HASTY_S, total_timeout_s=LONG_S, workers=1)
    outcomes = look_at_all(
        ["hangs", "next", "last"], look, limits=limits, wait_s=lambda target: 0.0 if target == "hangs" else LONG_S
    )
    assert outcomes[0].took_ms >= 1000 * HASTY_S
    assert [str(reason).partition(" within")[0] for reason in reasons(outcomes)] == ["no answer", "None", "None"]


def test_an_answer_that_comes_too_late_is_not_looked_at(never: threading.Event) -> None:
    late_is_out = threading.Event()

    def look(target: str, deadline: Deadline) -> str:
        if target == "late":
            never.wait()
            late_is_out.set()
        else:
            never.set()
            late_is_out.wait(deadline.left_s())
        return target

    limits = Limits(timeout_s=HASTY_S, total_timeout_s=LONG_S, workers=1)
    outcomes = look_at_all(
        ["late", "next"], look, limits=limits, wait_s=lambda target: 0.0 if target == "late" else LONG_S
    )
    assert isinstance(outcomes[0].observation, CannotObserve)
    assert outcomes[1].observation == "next"


def test_when_the_time_for_all_is_used_up_the_rest_is_named_as_never_looked_at(never: threading.Event) -> None:
    looked_at = []

    def look(target: str, deadline: Deadline) -> None:
        looked_at.append(target)
        never.wait()

    limits = Limits(timeout_s=LONG_S, total_timeout_s=HASTY_S, workers=1)
    outcomes = look_at_all(["hangs", "waits", "waits too"], look, limits=limits)
    assert looked_at == ["hangs"]
    assert reasons(outcomes)[0] == "no answer within 0.1 s"
    assert reasons(outcomes)[1:] == ["never looked at: the 0.1 s for all targets were used up"] * 2


@pytest.mark.parametrize(
    ("timeout_s", "total_s", "wait_s", "at"),
    [
        pytest.param(5.0, 60.0, 0.0, 105.0, id="its own time"),
        pytest.param(5.0, 3.0, 0.0, 103.0, id="never later than the total"),
        pytest.param(5.0, 3.0, 30.0, 133.0, id="the total waits too"),
        pytest.param(5.0, 60.0, 30.0, 135.0, id="time to wait for it"),
    ],
)
def test_a_target_is_told_when_it_must_have_answered(
    timeout_s: float, total_s: float, wait_s: float, at: float
) -> None:
    limits = Limits(timeout_s=timeout_s, total_timeout_s=total_s, workers=1)
    (outcome,) = look_at_all(
        ["one"],
        lambda target, deadline: deadline.at,
        limits=limits,
        wait_s=lambda target: wait_s,
        clock=FakeClock(100.0),
    )
    assert outcome.observation == at


def test_how_long_a_target_took_is_measured_from_its_own_start() -> None:
    clock = FakeClock(100.0)

    def look(seconds: float, deadline: Deadline) -> None:
        clock.sleep(seconds)

    outcomes = look_at_all(
        [0.5, 2.0, 0.0], look, limits=Limits(timeout_s=60, total_timeout_s=60, workers=1), clock=clock
    )
    assert [outcome.took_ms for outcome in outcomes] == [500, 2000, 0]


def test_a_deadline_says_what_is_left_and_then_refuses() -> None:
    clock = FakeClock(100.0)
    deadline = Deadline(105.0, clock)
    assert deadline.left_s() == 5.0
    clock.now = 105.0
    with pytest.raises(CannotObserve, match="deadline passed"):
        deadline.left_s()


@pytest.mark.parametrize(("seconds", "at"), [(2.0, 102.0), (20.0, 105.0)], ids=["a part", "more than there is"])
def test_a_part_of_the_work_never_gets_more_than_the_whole(seconds: float, at: float) -> None:
    assert Deadline(105.0, FakeClock(100.0)).at_most(seconds).at == at
