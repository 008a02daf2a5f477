# SPDX-License-Identifier: GPL-3.0-or-later
"""Judging a command by how it ended and by all that it printed."""

from __future__ import annotations

from typing import Any

import pytest
from cutover.checks import ExpectationError, judge
from cutover.judge_command import SHOWN_CHARACTERS, CommandObservation, command_checks
from cutover.verdict import Finding, Status


def judged(
    expected: dict[str, Any], *, exit_code: int = 0, stdout: str = "blue\n", complete: bool = True
) -> dict[str, Finding]:
    seen = CommandObservation(exit_code=exit_code, stdout=stdout, record={}, stdout_complete=complete)
    return {finding.check: finding for finding in judge(command_checks(expected), seen, reachable_remedy="")}


@pytest.mark.parametrize(
    ("expected", "exit_code", "passed"),
    [
        pytest.param({}, 0, True, id="zero, when nothing is declared"),
        pytest.param({}, 1, False, id="not zero"),
        pytest.param({"exit_codes": [0, 3]}, 3, True, id="one of those declared"),
        pytest.param({"exit_codes": [3]}, 0, False, id="zero, when it is not declared"),
        pytest.param({"exit_codes": []}, 0, False, id="none is right"),
        pytest.param({}, -15, False, id="a signal"),
    ],
)
def test_a_command_is_judged_by_how_it_ends(expected: dict[str, Any], exit_code: int, passed: bool) -> None:
    finding = judged(expected, exit_code=exit_code)["exit_code"]
    assert finding.ok is passed
    assert finding.observed == exit_code


@pytest.mark.parametrize(
    ("pattern", "stdout", "passed"),
    [
        pytest.param("^(blue|green)$", "blue\n", True, id="the line without its end"),
        pytest.param("^(blue|green)$", "yellow\n", False, id="something else"),
        pytest.param("^(blue|green)$", "", False, id="nothing printed"),
        pytest.param("ready", "x" * SHOWN_CHARACTERS + " ready", True, id="beyond what is shown"),
        pytest.param(
            r"\A(?!.*ERROR)", "x" * SHOWN_CHARACTERS + " ERROR", False, id="what must not be there, beyond it"
        ),
    ],
)
def test_all_that_was_printed_is_judged(pattern: str, stdout: str, passed: bool) -> None:
    finding = judged({"stdout_matches": pattern}, stdout=stdout)["stdout"]
    assert finding.ok is passed
    assert finding.observed == stdout.strip()[:SHOWN_CHARACTERS]


def test_what_was_not_read_to_its_end_is_not_judged() -> None:
    finding = judged({"stdout_matches": "blue"}, complete=False)["stdout"]
    assert finding.status is Status.ERROR
    assert finding.cause is not None
    assert "more than can be read" in finding.cause


def test_what_a_failed_command_printed_means_nothing() -> None:
    found = judged({"stdout_matches": "blue"}, exit_code=1)
    assert (found["stdout"].status, found["stdout"].cause) == (Status.SKIPPED, "exit_code")


@pytest.mark.parametrize("pattern", ["(", "[", "*"])
def test_a_pattern_that_is_none_is_refused_before_anything_runs(pattern: str) -> None:
    with pytest.raises(ExpectationError, match="is no regular expression"):
        list(command_checks({"stdout_matches": pattern}))
