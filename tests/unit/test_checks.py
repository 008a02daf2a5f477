# SPDX-License-Identifier: GPL-3.0-or-later
"""Every listed check gets its answer, and whatever could not be answered is never a pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cutover.checks import CannotObserve, Check, ExpectationError, judge, known
from cutover.verdict import Finding, Status
from hypothesis import given
from hypothesis import strategies as st

Seen = dict[str, Any]


def check(name: str = "version", expected: Any = 1, **options: Any) -> Check[Seen]:
    options.setdefault("look", lambda seen: seen[name])
    return Check(name=name, expected=expected, **options)


def findings(*checks: Check[Seen], seen: Seen | CannotObserve) -> dict[str, Finding]:
    found = judge(checks, seen, reachable_remedy="start it")
    assert found[0].check == "reachable"
    return {finding.check: finding for finding in found}


def raising(reason: BaseException) -> Callable[[Any], Any]:
    def answer(_: Any) -> Any:
        raise reason

    return answer


class Hostile:
    """Compares as equal to everything, in its own way."""

    def __init__(self, verdict: object) -> None:
        self.verdict = verdict

    def __eq__(self, other: object) -> Any:
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict

    def __hash__(self) -> int:
        return 0


EXCEPTIONS = st.sampled_from(
    [
        CannotObserve("no answer"),
        KeyError("version"),
        TypeError(),
        ZeroDivisionError(),
        RecursionError(),
        StopIteration(),
    ]
)
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.lists(st.integers()),
    st.dictionaries(st.text(), st.integers()),
    st.builds(Hostile, st.one_of(st.booleans(), st.none(), st.text(), EXCEPTIONS)),
    st.builds(CannotObserve, st.text(min_size=1)),
    st.just(float("nan")),
    st.just(object()),
)
ANSWERS = st.one_of(ANYTHING.map(lambda value: lambda _: value), EXCEPTIONS.map(raising))


@given(ANYTHING, ANSWERS, st.none() | ANSWERS)
def test_a_pass_is_only_what_was_observed_and_held_to_be_true(
    expected: Any, look: Callable[[Any], Any], holds: Callable[[Any], Any] | None
) -> None:
    finding = findings(check(expected=expected, look=look, holds=holds), seen={})["version"]
    if finding.status is Status.PASS:
        observed = look({})
        assert not isinstance(observed, CannotObserve)
        assert (observed == expected if holds is None else holds(observed)) is True
    assert finding.status is not Status.ERROR or finding.cause


@given(ANYTHING, ANSWERS, st.none() | ANSWERS)
def test_what_could_not_be_observed_never_passes(
    expected: Any, look: Callable[[Any], Any], holds: Callable[[Any], Any] | None
) -> None:
    asked = check(expected=expected, look=look, holds=holds)
    found = findings(asked, seen=CannotObserve("connection refused"))
    assert found["reachable"].status is Status.ERROR
    assert found["reachable"].cause == "connection refused"
    assert (found["version"].status, found["version"].cause) == (Status.SKIPPED, "reachable")


NAMES = st.lists(st.text(min_size=1, max_size=3), unique=True, max_size=8).filter(
    lambda names: "reachable" not in names
)


@given(st.data(), NAMES, st.booleans())
def test_every_listed_check_has_exactly_one_finding_in_its_place(data: Any, names: list[str], seen: bool) -> None:
    needs = st.none() | st.sampled_from([*names, "reachable", "a check that nobody listed"])
    checks = [check(name, look=data.draw(ANSWERS), needs=data.draw(needs)) for name in names]
    found = judge(checks, {} if seen else CannotObserve("gone"), reachable_remedy="")
    assert [finding.check for finding in found] == ["reachable", *names]
    passed = {finding.check for finding in found if finding.status is Status.PASS}
    for finding, asked in zip(found[1:], checks, strict=True):
        assert finding.check not in passed or asked.needs is None or asked.needs in passed


@pytest.mark.parametrize(
    ("options", "status", "cause"),
    [
        pytest.param({"look": raising(CannotObserve("403"))}, Status.ERROR, "403", id="not observed"),
        pytest.param({"look": lambda seen: CannotObserve("403")}, Status.ERROR, "403", id="a reason as observation"),
        pytest.param(
            {"look": lambda seen: CannotObserve("403"), "holds": lambda seen: True},
            Status.ERROR,
            "403",
            id="a reason that the rule would accept",
        ),
        pytest.param(
            {"look": lambda seen: seen["absent"]},
            Status.ERROR,
            "this check could not be evaluated: KeyError: 'absent'",
            id="a judge with a defect",
        ),
        pytest.param(
            {"holds": lambda seen: seen > "text"},
            Status.ERROR,
            "this check could not be evaluated: TypeError: '>' not supported between instances of 'int' and 'str'",
            id="a rule with a defect",
        ),
        pytest.param({"holds": lambda seen: "yes"}, Status.FAIL, None, id="a rule that answers no boolean"),
        pytest.param({"holds": lambda seen: False}, Status.FAIL, None, id="a rule that does not hold"),
        pytest.param({"expected": 2}, Status.FAIL, None, id="another value"),
        pytest.param(
            {"show": raising(ValueError("x"))},
            Status.ERROR,
            "this check could not be evaluated: ValueError: x",
            id="what cannot be shown",
        ),
    ],
)
def test_each_way_not_to_pass_has_its_own_words(options: dict[str, Any], status: Status, cause: str | None) -> None:
    finding = findings(check(remedy="upgrade", **options), seen={"version": 1})["version"]
    assert (finding.status, finding.cause, finding.remedy) == (status, cause, "upgrade")


def test_a_passed_check_needs_no_remedy() -> None:
    finding = findings(check(remedy="upgrade"), seen={"version": 1})["version"]
    assert (finding.status, finding.observed, finding.remedy) == (Status.PASS, 1, None)


def test_a_report_is_shown_less_than_was_judged() -> None:
    whole = check(expected="ends in b", holds=lambda seen: seen.endswith("b"), show=lambda seen: seen[:3])
    finding = findings(whole, seen={"version": "aaaaab"})["version"]
    assert (finding.status, finding.observed) == (Status.PASS, "aaa")


def test_a_chain_of_needs_names_the_one_to_mend_first() -> None:
    chain = [check("login"), check("token", needs="login"), check("policy", needs="token"), check("other")]
    found = findings(*chain, seen={"login": 0, "token": 1, "policy": 1, "other": 1})
    assert {name: finding.status.value for name, finding in found.items()} == {
        "reachable": "pass",
        "login": "fail",
        "token": "skipped",
        "policy": "skipped",
        "other": "pass",
    }
    assert {found["token"].cause, found["policy"].cause} == {"login"}


def test_all_that_is_skipped_of_an_unreachable_target_points_to_it() -> None:
    found = findings(check("login"), check("token", needs="login"), seen=CannotObserve("connection refused"))
    assert {found["login"].cause, found["token"].cause} == {"reachable"}


@pytest.mark.parametrize("need", ["later", "nobody lists it"])
def test_a_need_that_was_not_answered_before_is_not_met(need: str) -> None:
    found = findings(check("token", needs=need), check("later"), seen={"token": 1, "later": 1})
    assert (found["token"].status, found["token"].cause) == (Status.SKIPPED, need)


def test_advice_stays_advice_when_it_is_skipped() -> None:
    found = findings(check("login"), check("token", needs="login", blocking=False), seen={"login": 0})
    assert found["token"].ok
    assert not found["login"].ok


@pytest.mark.parametrize("name", ["version", "reachable"])
def test_a_check_that_is_implied_twice_is_refused(name: str) -> None:
    with pytest.raises(ExpectationError, match=f"check '{name}' is implied twice"):
        findings(check("version"), check(name), seen={"version": 1})


def test_a_known_part_is_itself_and_an_unknown_one_its_reason() -> None:
    assert known(3) == 3
    with pytest.raises(CannotObserve, match="403"):
        known(CannotObserve("403"))
