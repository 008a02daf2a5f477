# SPDX-License-Identifier: GPL-3.0-or-later
"""Judging what visitors saw by its samples: nothing that was not counted is taken for well."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cutover.checks import CannotObserve, ExpectationError, judge
from cutover.judge_visitors import Sample, read_samples, seen_since, visitors_checks
from cutover.triggers import evaluate, read_triggers
from cutover.verdict import Finding, Status
from hypothesis import given
from hypothesis import strategies as st

BEGAN = 1_769_860_800.0
EXPECTED = {"min_per_s": 20.0, "max_failed": 0, "max_ms": 1000.0}


def a_minute(**changed: dict[int, dict[str, Any]]) -> list[Sample]:
    """A sample a second for a minute, from the one before the beginning; ``changed`` are parts of some of them."""
    samples = []
    for second in range(-1, 61):
        values = {"sent": 50, "failed": 0, "slowest_ms": 40.0}
        samples.append(Sample(at=BEGAN + second + 0.5, **(values | changed.get(f"s{second}", {}))))
    return samples


def judged(samples: list[Sample], expected: dict[str, Any] = EXPECTED, *, after_s: float = 61) -> dict[str, Finding]:
    seen = seen_since(samples, since=BEGAN, read_at=BEGAN + after_s)
    return {finding.check: finding for finding in judge(visitors_checks(expected), seen, reachable_remedy="")}


def test_enough_requests_none_lost_and_none_slow_is_right():
    findings = judged(a_minute())

    assert {finding.status for finding in findings.values()} == {Status.PASS}
    assert findings["sent_per_s"].observed == 50


def test_what_was_before_the_run_does_not_count():
    assert judged(a_minute(**{"s-1": {"failed": 7, "slowest_ms": 9000.0}}))["failed"].ok


@pytest.mark.parametrize(
    ("changed", "check", "observed"),
    [
        pytest.param({"s30": {"failed": 1}}, "failed", 1, id="one request was lost"),
        pytest.param({"s60": {"slowest_ms": 1000.1}}, "slowest_ms", 1000.1, id="one request was slow"),
        pytest.param({f"s{at}": {"sent": 1} for at in range(61)}, "sent_per_s", 1.0, id="hardly anybody came"),
    ],
)
def test_each_deviation_is_its_own_finding(changed, check, observed):
    findings = judged(a_minute(**changed))

    assert [name for name, finding in findings.items() if not finding.ok] == [check]
    assert findings[check].observed == observed


@pytest.mark.parametrize(
    ("samples", "gap_s"),
    [
        pytest.param([s for s in a_minute() if not BEGAN + 20 < s.at < BEGAN + 28], 9.0, id="a gap in the middle"),
        pytest.param([s for s in a_minute() if s.at > BEGAN + 10], 10.5, id="began to count later"),
        pytest.param([s for s in a_minute() if s.at < BEGAN + 50], 11.5, id="has stopped counting"),
        pytest.param([], 61.0, id="nothing was ever counted"),
    ],
)
def test_a_time_that_nobody_counted_is_no_pass_of_anything(samples, gap_s):
    findings = judged(samples)

    assert findings["covered"].status is Status.FAIL
    assert findings["covered"].observed == gap_s
    assert {findings[name].status for name in ("sent_per_s", "failed", "slowest_ms")} == {Status.SKIPPED}


def test_of_one_sample_nobody_can_say_how_many_requests_a_second_there_are():
    finding = judged(a_minute()[:2], after_s=1)["sent_per_s"]

    assert finding.status is Status.ERROR
    assert "one sample or none" in (finding.cause or "")


@pytest.mark.parametrize("expected", [{}, {"max_failed": 0}, {"min_per_s": 0}, {"min_per_s": -1}])
def test_who_does_not_say_how_many_must_come_is_refused(expected):
    with pytest.raises(ExpectationError, match="min_per_s"):
        list(visitors_checks(expected))


def test_samples_are_read_in_their_order_whatever_else_there_is():
    later = {"at": 2, "sent": 1, "failed": 0, "slowest_ms": 3}
    text = json.dumps({"tool": "k6", "samples": [later, {**later, "at": 1.5, "mean_ms": 2, "more": None}]})

    assert [(sample.at, sample.mean_ms) for sample in read_samples(text)] == [(1.5, 2.0), (2.0, None)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("[]", id="a list"),
        pytest.param('{"samples": 1}', id="samples are a number"),
        pytest.param('{"samples": [1]}', id="a sample is a number"),
        pytest.param('{"samples": [{"at": 1, "sent": 1, "failed": 0}]}', id="a part is missing"),
        pytest.param('{"samples": [{"at": 1, "sent": "1", "failed": 0, "slowest_ms": 1}]}', id="a count is text"),
        pytest.param('{"samples": [{"at": 1, "sent": 1, "failed": -1, "slowest_ms": 1}]}', id="a count below zero"),
        pytest.param('{"samples": [{"at": 1, "sent": true, "failed": 0, "slowest_ms": 1}]}', id="a count is true"),
        pytest.param('{"samples": [{"at": NaN, "sent": 1, "failed": 0, "slowest_ms": 1}]}', id="no time"),
        pytest.param('{"samples": [{"at": 1, "sent": 1, "failed": 0, "slowest_ms": Infinity}]}', id="for ever"),
        pytest.param(
            '{"samples": [{"at": 1, "sent": 1, "failed": 0, "slowest_ms": 1, "mean_ms": null}]}', id="no mean"
        ),
    ],
)
def test_any_other_document_is_not_understood(text):
    with pytest.raises(CannotObserve, match="samples"):
        read_samples(text)


def test_triggers_are_evaluated_from_what_is_kept():
    slow = {f"s{at}": {"mean_ms": 400.0, "failed": 1} for at in range(30, 33)}
    seen = seen_since(a_minute(s29={"sent": 0}, **slow), since=BEGAN, read_at=BEGAN + 61)
    record = {"kind": "verdict", "data": {"component": "visitors", "subject": "k6", "recorded": seen.told()}}
    triggers = [
        {"name": "wait", "max_mean_ms": 300, "samples": 3}, {"name": "wait longer", "max_mean_ms": 300, "samples": 4},
        {"name": "errors", "max_error_percent": 1, "samples": 3},
    ]  # fmt: skip

    fired = [(each.trigger, each.observed) for each in evaluate([record], read_triggers(triggers))]

    assert fired == [("wait", [400.0] * 3), ("errors", [2.0] * 3)]
    assert seen.told()["samples"][29] == {"at": BEGAN + 29.5, "requests": 0, "error_percent": None, "mean_ms": None}


@given(st.lists(st.builds(Sample, at=st.floats(0, 4e9), sent=st.integers(0, 9), failed=st.integers(0, 9),
                          slowest_ms=st.floats(0, 1e6))))  # fmt: skip
def test_no_samples_make_an_unanswered_check_pass(samples):
    ordered = sorted(samples, key=lambda sample: sample.at)
    findings = judged(ordered)

    if findings["covered"].status is not Status.PASS:
        assert not any(findings[name].ok for name in ("sent_per_s", "failed", "slowest_ms"))
    if any(sample.failed for sample in ordered if sample.at > BEGAN):
        assert not findings["failed"].ok
