# SPDX-License-Identifier: GPL-3.0-or-later
"""Judging a cutover that a drill has made: by what its runs have recorded, and by nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cutover.checks import ExpectationError, judge
from cutover.judge_drill_cutover import DrillCutover, drill_cutover_checks
from cutover.runs import PastRun, verb_of
from cutover.verdict import Finding, Status

CUTOVER, ROLLBACK = "20260131T120000Z-cutover-ab12", "20260131T120100Z-rollback-cd34"
DRILL = {"run": "20260131T115900Z-drills-0001", "drill": "canary"}
BAD = {"verdict": "no-go", "refused_at": "share", "refused_for": ["share.*"], "back_within_s": 5.0}
GOOD = {"verdict": "go", "back_within_s": 5.0}


def decision(gate: str, verdict: str = "go", *checks: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "decision", {"gate": gate, "verdict": verdict, "blocking": [{"check": check, **more} for check in checks]}


STEP = ("step", {"name": "share", "state": "begun"})
BACK = [("step", {"name": "go_back", "state": "begun"}), decision("back")]
NOT_BACK = [("step", {"name": "go_back", "state": "begun"}), decision("back", "no-go", "sealed")]
REFUSED = decision("share", "no-go", "share.errors")


def run(*told: tuple[str, dict[str, Any]], name: str = CUTOVER, verdict: str | None = None, **more: Any) -> PastRun:
    """A run whose journal has these records, two seconds apart."""
    start = datetime(2026, 1, 31, 12, tzinfo=UTC)
    records = [
        {"kind": kind, "data": data, "hash": f"h{seq}", "time": (start + timedelta(seconds=2 * seq)).isoformat()}
        for seq, (kind, data) in enumerate(told, start=1)
    ]
    about = {"directory": f"/runs/{name}", "verb": verb_of(name), "manifest": {"drill": DRILL}}
    return PastRun(id=name, records=records, verdict=verdict, **(about | more))


WENT_WELL = run(decision("preflight"), STEP, decision("release"), verdict="go")
UNTIMED = run(decision("back"), name=ROLLBACK, verdict="go")
HALF_BACK = run(*NOT_BACK, name=ROLLBACK)
HALF_FOUND_OUT = run(decision("preflight"), STEP, REFUSED, *NOT_BACK, verdict="no-go")
BROKEN = run(STEP, problem="broken", verdict="go")
ROLLED_BACK = run(*BACK, name=ROLLBACK, verdict="go")
FOUND_OUT = run(decision("preflight"), STEP, REFUSED, *BACK, verdict="no-go")


def judged(expected: dict[str, Any], cutover: PastRun, rollback: PastRun | None = None) -> dict[str, Finding]:
    seen = DrillCutover(cutover=cutover, rollback=rollback)
    return {each.check: each for each in judge(drill_cutover_checks(expected), seen, reachable_remedy="")}


def red(findings: dict[str, Finding]) -> dict[str, Status]:
    return {name: each.status for name, each in findings.items() if not each.ok and each.status is not Status.SKIPPED}


def test_a_good_release_that_was_gone_back_from_is_right():
    findings = judged(GOOD, WENT_WELL, ROLLED_BACK)
    assert red(findings) == {}
    assert findings["back_s"].observed == 2.0


def test_a_bad_one_that_was_found_out_on_its_share_is_right():
    findings = judged(BAD, FOUND_OUT)
    assert red(findings) == {}
    assert findings["cutover"].observed == "no-go at share: share.errors"


@pytest.mark.parametrize(
    ("expected", "cutover", "rollback", "wrong"),
    [
        pytest.param(GOOD, WENT_WELL, None, {"back": "error"}, id="nobody went back"),
        pytest.param(GOOD, WENT_WELL, HALF_BACK, {"back": "fail"}, id="went back, but not wholly"),
        pytest.param(GOOD, WENT_WELL, UNTIMED, {"back_s": "error"}, id="nobody knows since when"),
        pytest.param(GOOD, WENT_WELL, run(*BACK, name=ROLLBACK, verdict="no-go"), {"back": "fail"}, id="a no-go"),
        pytest.param(GOOD | {"back_within_s": 1.9}, WENT_WELL, ROLLED_BACK, {"back_s": "fail"}, id="too slowly"),
        pytest.param(GOOD, run(verdict="go"), None, {"moved": "fail"}, id="serves already"),
        pytest.param(
            GOOD, run(decision("preflight", "no-go", "errors.worker"), verdict="no-go"), None,
            {"cutover": "fail", "moved": "fail"}, id="was not let begin",
        ),
        pytest.param(GOOD, FOUND_OUT, None, {"cutover": "fail"}, id="a good one was refused"),
        pytest.param(GOOD, run(STEP), ROLLED_BACK, {"cutover": "error"}, id="was interrupted"),
        pytest.param(GOOD, BROKEN, ROLLED_BACK, {"cutover": "error"}, id="its evidence is broken"),
        pytest.param(BAD, WENT_WELL, ROLLED_BACK, {"cutover": "fail"}, id="a bad one passed"),
        pytest.param(BAD, HALF_FOUND_OUT, ROLLED_BACK, {"back": "fail"}, id="it did not go back by itself"),
        pytest.param(BAD, run(STEP, REFUSED, verdict="no-go"), ROLLED_BACK, {"back": "error"}, id="nor try to"),
        pytest.param(
            BAD, run(STEP, decision("release", "no-go", "json.version"), *BACK, verdict="no-go"), None,
            {"refused_at": "fail"}, id="found out too late",
        ),
        pytest.param(
            BAD, run(STEP, decision("share", "no-go", "share.errors", "sealed"), *BACK, verdict="no-go"), None,
            {"refused_for": "fail"}, id="found out for something else, too",
        ),
        pytest.param(
            BAD, run(STEP, decision("going_back", "no-go", "x", cause="it failed"), *BACK, verdict="no-go"), None,
            {"refused_at": "error"}, id="a step failed before any gate",
        ),
    ],
)  # fmt: skip
def test_each_thing_that_went_wrong_is_named_alone(
    expected: dict[str, Any], cutover: PastRun, rollback: PastRun | None, wrong: dict[str, str]
):
    assert red(judged(expected, cutover, rollback)) == wrong


def test_what_is_kept_names_both_runs_and_what_stands_for_their_journals():
    told = DrillCutover(cutover=WENT_WELL, rollback=ROLLED_BACK).told()
    assert told == {
        "cutover": {"run": CUTOVER, "journal_head": "h3"},
        "rollback": {"run": ROLLBACK, "journal_head": "h2"},
        "back_s": 2.0,
    }
    assert DrillCutover(cutover=run()).told() == {"cutover": {"run": CUTOVER, "journal_head": None}, "back_s": None}


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        pytest.param({"verdict": "no-go"}, "which gate is to refuse", id="a no-go for anything"),
        pytest.param({"verdict": "no-go", "refused_at": "share", "refused_for": []}, "for what", id="for nothing"),
        pytest.param(GOOD | {"refused_at": "share"}, "leave out refused_at", id="a go that is refused"),
    ],
)
def test_a_wrong_inventory_is_refused(expected: dict[str, Any], words: str):
    with pytest.raises(ExpectationError, match=words):
        list(drill_cutover_checks(expected))
