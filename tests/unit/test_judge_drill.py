# SPDX-License-Identifier: GPL-3.0-or-later
"""What was seen while something was broken: one lie in the whole time is enough."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cutover.checks import ExpectationError, judge
from cutover.judge_drill import Sample, Watched, watched_checks
from cutover.verdict import Status

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
WRONG = "status: expected 503, observed {}"
BECOMES = {"answer": {"status": [503], "max_ms": 1500.0}, "within_s": 2.0, "hold_s": 1.0}
STAYS = {"answer": {"status": [200]}, "stays": True}


def watched(*answers: int | tuple[int, int], right: int = 503) -> Watched:
    """Half a second apart, each a status or a status and the milliseconds it took; ``right`` is the one declared."""
    told = [answer if isinstance(answer, tuple) else (answer, 10) for answer in answers]
    return Watched(
        samples=[
            Sample(
                sent_at=START + timedelta(seconds=number / 2), took_ms=took_ms, said=str(status),
                wrong=None if status == right else WRONG.format(status),
            )
            for number, (status, took_ms) in enumerate(told)
        ]
    )  # fmt: skip


def statuses(seen: Watched, expected: Mapping[str, Any]) -> dict[str, str]:
    findings = judge(watched_checks(expected), seen, reachable_remedy="")
    return {finding.check: finding.status.value for finding in findings if finding.check != "reachable"}


def test_a_service_that_notices_in_time_and_goes_on_saying_so_passes() -> None:
    seen = watched(200, 200, 503, 503, 503)
    assert statuses(seen, BECOMES) == {"becomes": "pass", "holds": "pass", "slowest_ms": "pass"}
    assert seen.to_dict()["became_at"] == "2026-01-31T12:00:01.010000Z"
    assert [span["times"] for span in seen.to_dict()["answers"]] == [2, 3]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        pytest.param([200] * 6, {"becomes": "fail", "holds": "skipped", "slowest_ms": "pass"}, id="always 200"),
        pytest.param([200, 500, 500], {"becomes": "fail", "holds": "skipped", "slowest_ms": "pass"}, id="500 for 503"),
        pytest.param(
            [200] * 6 + [503, 503], {"becomes": "fail", "holds": "skipped", "slowest_ms": "pass"}, id="noticed too late"
        ),
        pytest.param(
            [200, 503, 200, 503], {"becomes": "pass", "holds": "fail", "slowest_ms": "pass"}, id="200 in between"
        ),
        pytest.param(
            [200, (503, 4000), 503],
            {"becomes": "fail", "holds": "skipped", "slowest_ms": "fail"},
            id="hangs, then says so",
        ),
        pytest.param(
            [(200, 1900), 503, 503], {"becomes": "pass", "holds": "pass", "slowest_ms": "fail"}, id="hangs before"
        ),
        pytest.param([200, 503], {"becomes": "pass", "holds": "error", "slowest_ms": "pass"}, id="asked too seldom"),
    ],
)
def test_a_service_that_lies_does_not_pass(answers: list[Any], expected: dict[str, str]) -> None:
    assert statuses(watched(*answers), BECOMES) == expected


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        pytest.param([200, 200, 200], Status.PASS, id="all the time"),
        pytest.param([200, 503, 200], Status.FAIL, id="one answer was not"),
    ],
)
def test_what_must_not_notice_anything_is_held_to_every_answer(answers: list[int], status: Status) -> None:
    assert statuses(watched(*answers, right=200), STAYS) == {"stays": status.value}


@pytest.mark.parametrize(
    "expected",
    [
        pytest.param({"stays": True}, id="no answer"),
        pytest.param({"answer": {}, "within_s": 1.0}, id="an answer of which nothing is expected"),
        pytest.param({"answer": {"status": [503]}}, id="no limit"),
        pytest.param({"answer": {"status": [503]}, "within_s": 1.0, "hold_s": -1.0}, id="less than no time"),
    ],
)
def test_an_expectation_that_means_nothing_is_refused(expected: dict[str, Any]) -> None:
    with pytest.raises(ExpectationError):
        list(watched_checks(expected))
