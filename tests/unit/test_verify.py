# SPDX-License-Identifier: GPL-3.0-or-later
"""The road of every check module: one verdict a target, and a wrong inventory is refused before anything is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from cutover.checks import CannotObserve, Check, ExpectationError
from cutover.pool import Deadline
from cutover.verdict import Verdict
from cutover.verify import merged, verify_targets

Options = Mapping[str, Any]
Seen = dict[str, Any]
LIMITS = {"timeout_s": 60.0, "total_timeout_s": 60.0, "workers": 4}


def checks_for(expected: Options) -> Iterator[Check[Seen]]:
    for name, value in expected.items():
        yield Check(name=name, expected=value, look=lambda seen, name=name: seen[name])


def verify(*targets: Options, look: Any, **options: Any) -> list[Verdict]:
    params = {"targets": list(targets), "expected": None, **LIMITS} | options.pop("params", {})
    return verify_targets("redis", params, look, checks_for, reachable_remedy="start it", **options)


def seen_as(**answers: Seen | Exception) -> Any:
    """An observer that answers by the target's name."""

    def look(target: Options, deadline: Deadline) -> Seen:
        answer = answers[target["name"]]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return look


def looks_at_nothing(target: Options, deadline: Deadline) -> Seen:
    raise AssertionError(f"{target['name']} was looked at")


def test_each_target_has_its_verdict_in_the_order_of_the_inventory() -> None:
    targets = [{"name": name, "address": f"redis://{name}", "expected": {"size": 1}} for name in ("b", "c", "a")]
    look = seen_as(a={"size": 1}, b={"size": 2}, c=CannotObserve("refused"))
    verdicts = verify(*targets, look=look)
    assert [(verdict.subject, verdict.address, verdict.ok) for verdict in verdicts] == [
        ("b", "redis://b", False),
        ("c", "redis://c", False),
        ("a", "redis://a", True),
    ]
    assert [finding.status.value for finding in verdicts[1].findings] == ["error", "skipped"]
    assert verdicts[1].findings[0].remedy == "start it"


@pytest.mark.parametrize("address", [{}, {"address": None}, {"address": ""}], ids=["absent", "none", "empty"])
def test_a_target_without_an_address_is_known_by_its_name(address: Options) -> None:
    (verdict,) = verify({"name": "shop", **address, "expected": {"size": 1}}, look=seen_as(shop={"size": 1}))
    assert verdict.address == "shop"


def test_an_observer_that_raises_costs_its_own_target_only() -> None:
    targets = [{"name": name, "expected": {"size": 1}} for name in ("a", "b")]
    broken, fine = verify(*targets, look=seen_as(a=RuntimeError("defect"), b={"size": 1}))
    assert broken.findings[0].cause == "RuntimeError: defect"
    assert fine.ok


@pytest.mark.parametrize(
    ("general", "own", "expected"),
    [
        pytest.param({"size": 1}, None, {"size": 1}, id="what is expected of all"),
        pytest.param(None, {"size": 2}, {"size": 2}, id="its own alone"),
        pytest.param({"size": 1, "age": 1}, {"size": 2}, {"size": 2, "age": 1}, id="its own words win"),
        pytest.param({"size": 1}, {"size": None}, {"size": 1}, id="none is no word"),
        pytest.param({"size": None, "age": 1}, {}, {"age": 1}, id="none is no word for all either"),
        pytest.param({"size": 1}, {"size": 0}, {"size": 0}, id="zero is a word"),
        pytest.param({"list": [1]}, {"list": []}, {"list": []}, id="an empty list is a word"),
    ],
)
def test_a_targets_own_expectation_overrides_option_by_option(
    general: Options | None, own: Options | None, expected: Options
) -> None:
    assert merged(general, own) == expected


def test_the_observer_is_told_all_that_is_expected() -> None:
    told = []

    def look(target: Options, deadline: Deadline) -> Seen:
        told.append(target["expected"])
        return {"size": 1, "age": 2}

    verify({"name": "a", "expected": {"age": 2}}, look=look, params={"expected": {"size": 1}})
    assert told == [{"size": 1, "age": 2}]


def test_only_what_was_seen_is_recorded() -> None:
    targets = [{"name": name, "expected": {"size": 1}} for name in ("a", "b")]
    look = seen_as(a={"size": 1}, b=CannotObserve("refused"))
    verdicts = verify(*targets, look=look, record=lambda seen: {"whole": seen["size"]})
    assert [verdict.recorded for verdict in verdicts] == [{"whole": 1}, None]


SIZE = {"size": 1}


@pytest.mark.parametrize(
    ("targets", "params", "words"),
    [
        pytest.param([], {}, "targets is empty", id="no target"),
        pytest.param([{"name": "a", "expected": SIZE}] * 2, {}, "two targets are named 'a'", id="a name twice"),
        pytest.param([{"name": "a"}], {}, "expected of 'a' implies no check", id="nothing expected"),
        pytest.param(
            [{"name": "a", "expected": SIZE}, {"name": "b", "expected": {"size": None}}],
            {},
            "expected of 'b' implies no check",
            id="nothing expected of the last one",
        ),
        pytest.param([{"name": "a", "expected": SIZE}], {"workers": 0}, "workers is less than 1", id="no workers"),
    ],
)
def test_a_wrong_inventory_is_refused_before_anything_is_looked_at(
    targets: list[Options], params: Options, words: str
) -> None:
    with pytest.raises(ExpectationError, match=words):
        verify(*targets, look=looks_at_nothing, params=params)


def test_an_expectation_that_makes_no_sense_is_refused_before_anything_is_looked_at() -> None:
    def refuses(expected: Options) -> Iterator[Check[Seen]]:
        yield Check(name="size", expected=1, look=lambda seen: 1)
        if expected.get("pattern"):
            raise ExpectationError("not a pattern")

    params = {"targets": [{"name": "a"}, {"name": "b", "expected": {"pattern": "("}}], "expected": None, **LIMITS}
    with pytest.raises(ExpectationError, match="not a pattern"):
        verify_targets("redis", params, looks_at_nothing, refuses, reachable_remedy="")
