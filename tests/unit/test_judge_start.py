# SPDX-License-Identifier: GPL-3.0-or-later
"""A start that must be refused is refused quickly, with nobody listening, and says why."""

from __future__ import annotations

from typing import Any

import pytest
from cutover.checks import ExpectationError, judge
from cutover.judge_start import StartObservation, start_checks

EXPECTED = {"refuses_within_s": 5.0, "names": ["REDIS_URL"]}
REFUSED: dict[str, Any] = {
    "exit_code": 2,
    "took_s": 0.9,
    "lines": ["refusing: REDIS_URL is not set"],
    "listened": False,
}


def statuses(**seen: Any) -> dict[str, str]:
    findings = judge(start_checks(EXPECTED), StartObservation(**REFUSED | seen), reachable_remedy="")
    return {finding.check: finding.status.value for finding in findings if finding.status.value != "pass"}


@pytest.mark.parametrize(
    ("seen", "wrong"),
    [
        pytest.param({}, {}, id="refused"),
        pytest.param({"exit_code": -6}, {}, id="ended by a signal of its own"),
        pytest.param({"exit_code": 0}, {"refuses": "fail"}, id="ends as if all were well"),
        pytest.param({"exit_code": None, "took_s": 5.0}, {"refuses": "fail"}, id="goes on"),
        pytest.param({"listened": True}, {"no_listener": "fail"}, id="listens before it looks"),
        pytest.param({"listened": None}, {"no_listener": "error"}, id="no port declared"),
        pytest.param({"lines": ["KeyError"]}, {"names.REDIS_URL": "fail"}, id="does not say what is wrong"),
        pytest.param({"lines": []}, {"names.REDIS_URL": "error"}, id="says nothing"),
    ],
)
def test_each_way_of_not_refusing_is_found(seen: dict[str, Any], wrong: dict[str, str]) -> None:
    assert statuses(**seen) == wrong


def test_a_start_without_a_limit_is_refused() -> None:
    with pytest.raises(ExpectationError):
        list(start_checks({"names": ["REDIS_URL"]}))
