# SPDX-License-Identifier: GPL-3.0-or-later
"""The judge of a backup that was tried out: every expectation red in its own check, and nothing passes unseen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cutover.checks import CannotObserve, judge
from cutover.judge_restore import RestoreObservation, Trial, restore_checks
from cutover.verdict import Finding, Status

TRIAL = Trial(
    restore_s=12.5,
    tables=9,
    rows=1000,
    differing={},
    compared={"public.country": (0, 0), "public.visit": (7, 1)},
    amcheck="",
)
SEEN = RestoreObservation(backup="/b/shop-1.dump", age_s=60.0, is_as_recorded=True, trial=TRIAL)
EXPECTED = {
    "max_age_s": 60.0,
    "max_restore_s": 12.5,
    "min_tables": 9,
    "same_tables": ["public.country"],
    "amcheck": True,
}


def found(seen: RestoreObservation, **expected: Any) -> dict[str, Finding]:
    findings = judge(restore_checks(EXPECTED | expected), seen, reachable_remedy="")
    return {finding.check: finding for finding in findings}


def red(findings: dict[str, Finding]) -> list[str]:
    return [name for name, finding in findings.items() if finding.status in (Status.FAIL, Status.ERROR)]


def test_a_backup_within_all_bounds_is_green() -> None:
    assert red(found(SEEN)) == []
    assert len(found(SEEN)) == 9


@pytest.mark.parametrize(
    ("seen", "expected", "wrong"),
    [
        pytest.param(SEEN, {"max_age_s": 59.9}, "backup.age_s", id="too old"),
        pytest.param(SEEN, {"max_restore_s": 12.4}, "restore.restore_s", id="too slow"),
        pytest.param(SEEN, {"min_tables": 10}, "restore.tables", id="too few tables"),
        pytest.param(SEEN, {"same_tables": ["public.visit"]}, "restore.same.public.visit", id="changed"),
        pytest.param(SEEN, {"same_tables": ["public.x"]}, "restore.same.public.x", id="no such table"),
        pytest.param(replace(SEEN, is_as_recorded=False), {}, "backup.sha256", id="changed file"),
        pytest.param(replace(SEEN, left=("shop_scratch_1",)), {}, "restore.left_behind", id="left behind"),
        pytest.param(
            replace(SEEN, trial=replace(TRIAL, differing={"public.a": [3, 2]})),
            {},
            "restore.rows",
            id="rows are missing",
        ),
        pytest.param(replace(SEEN, trial=replace(TRIAL, amcheck="heap")), {}, "restore.amcheck", id="damaged"),
        pytest.param(
            replace(SEEN, trial=replace(TRIAL, amcheck=CannotObserve("no such extension"))),
            {},
            "restore.amcheck",
            id="not looked at",
        ),
    ],
)
def test_each_expectation_is_red_in_its_own_check(
    seen: RestoreObservation, expected: dict[str, Any], wrong: str
) -> None:
    assert red(found(seen, **expected)) == [wrong]


def test_a_backup_that_could_not_be_brought_back_passes_nothing_that_was_not_seen() -> None:
    findings = found(replace(SEEN, trial=CannotObserve("pg_restore ended with exit code 1.")))
    passed = [name for name, finding in findings.items() if finding.status is Status.PASS]
    assert passed == ["reachable", "backup.age_s", "backup.sha256", "restore.left_behind"]
    assert findings["restore.rows"].cause == "pg_restore ended with exit code 1."


def test_nothing_declared_still_asks_whether_it_can_be_brought_back() -> None:
    assert [check.name for check in restore_checks({})] == ["backup.sha256", "restore.rows", "restore.left_behind"]
    assert [check.name for check in restore_checks({"amcheck": False})][1:] == ["restore.rows", "restore.left_behind"]


def test_the_evidence_says_what_changed_since() -> None:
    kept = SEEN.to_dict()
    assert kept["same_as_source"] == ["public.country"]
    assert kept["changed_since"] == {"public.visit": [7, 1]}
    assert "restore_s" not in replace(SEEN, trial=CannotObserve("x")).to_dict()
