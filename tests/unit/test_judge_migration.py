# SPDX-License-Identifier: GPL-3.0-or-later
"""Judging migrations: what Alembic prints, and what follows from it."""

from __future__ import annotations

from typing import Any

import pytest
from cutover.checks import CannotObserve, ExpectationError, Known, judge
from cutover.judge_migration import ALEMBIC_LINE, MigrationObservation, migration_checks, revision_pattern, revisions
from cutover.verdict import Finding
from hypothesis import given
from hypothesis import strategies as st

Revisions = tuple[str, ...]
ALL = {"single_head": True, "at_head": True, "revision": "0002"}


def findings(current: Known[Revisions], heads: Known[Revisions], expected: dict[str, Any]) -> dict[str, Finding]:
    seen = MigrationObservation(current=current, heads=heads)
    return {finding.check: finding for finding in judge(migration_checks(expected), seen, reachable_remedy="")}


def red(found: dict[str, Finding]) -> dict[str, str]:
    return {name: finding.status.value for name, finding in found.items() if not finding.ok}


@pytest.mark.parametrize(
    ("current", "heads", "wrong"),
    [
        pytest.param(("0002",), ("0002",), {}, id="at the one head"),
        pytest.param(("0001",), ("0002",), {"revision.at_head": "fail", "revision": "fail"}, id="behind"),
        pytest.param((), ("0002",), {"revision.at_head": "fail", "revision": "fail"}, id="nothing applied"),
        pytest.param(
            ("0002",), ("0002", "0003"), {"heads.single": "fail", "revision.at_head": "fail"}, id="a second branch"
        ),
        pytest.param(("0002",), (), {"heads.single": "fail", "revision.at_head": "fail"}, id="a release without any"),
        pytest.param(
            (), (), {"heads.single": "fail", "revision.at_head": "fail", "revision": "fail"}, id="nothing on both sides"
        ),
        pytest.param(
            CannotObserve("no database"),
            ("0002",),
            {"revision.at_head": "error", "revision": "error"},
            id="no database",
        ),
        pytest.param(
            ("0002",),
            CannotObserve("broken"),
            {"heads.single": "error", "revision.at_head": "error"},
            id="a release that cannot be read",
        ),
    ],
)
def test_each_state_is_red_in_just_what_is_wrong(
    current: Known[Revisions], heads: Known[Revisions], wrong: dict[str, str]
) -> None:
    assert red(findings(current, heads, ALL)) == wrong


def test_branches_that_are_all_applied_are_at_head_though_not_single() -> None:
    assert red(findings(("b", "a"), ("a", "b"), ALL | {"revision": "b, a"})) == {"heads.single": "fail"}


def test_both_sides_are_named() -> None:
    found = findings(("0001",), ("0002",), ALL)
    assert found["revision.at_head"].observed == {"applied": ["0001"], "heads": ["0002"]}
    assert (found["revision"].expected, found["revision"].observed) == ("0002", "0001")


@pytest.mark.parametrize(
    "expected", [{}, {"at_head": False, "single_head": False}], ids=["nothing declared", "all declared false"]
)
def test_what_asks_nothing_implies_no_check(expected: dict[str, Any]) -> None:
    assert list(migration_checks(expected)) == []


# Printed by Alembic 1.16 with several branches, labels and a merge point.
@pytest.mark.parametrize(
    ("stdout", "expected"),
    [
        pytest.param("", (), id="nothing applied"),
        pytest.param("0002 (head)\n", ("0002",), id="at head"),
        pytest.param("8f2c1d\n", ("8f2c1d",), id="behind"),
        pytest.param("a1 (shop) (head)\nb2 (effective head)\n", ("a1", "b2"), id="labels"),
        pytest.param("a1 (head) (mergepoint)\r\n", ("a1",), id="carriage return"),
        pytest.param("a1 (head)\na1 (head)\n", ("a1",), id="twice the same"),
        pytest.param("DeprecationWarning: old option\na1 (head)\n", ("a1",), id="a warning is no revision"),
        pytest.param("Current revision(s) for sqlite:///x:\nRev: a1 (head)\n", (), id="verbose output"),
    ],
)
def test_alembic_is_understood(stdout: str, expected: Revisions) -> None:
    assert revisions(stdout, revision_pattern(ALEMBIC_LINE)) == expected


def test_django_is_understood_by_patterns_of_its_own() -> None:
    plan = "[X]  auth.0001_initial\n[ ]  shop.0001_initial\n"
    assert revisions(plan, revision_pattern(r"^\[X\]\s+(\S+)")) == ("auth.0001_initial",)
    assert revisions(plan, revision_pattern(r"^\[.\]\s+(\S+)")) == ("auth.0001_initial", "shop.0001_initial")


@pytest.mark.parametrize(
    ("pattern", "words"), [("(", "not a regular expression"), (r"\w+", "no group")], ids=["broken", "without a group"]
)
def test_a_pattern_that_finds_no_revision_is_refused(pattern: str, words: str) -> None:
    with pytest.raises(ExpectationError, match=words):
        revision_pattern(pattern)


LISTS = st.lists(st.text(min_size=1, max_size=4), max_size=3).map(tuple)


@given(LISTS, LISTS)
def test_only_the_same_heads_on_both_sides_pass(current: Revisions, heads: Revisions) -> None:
    passed = findings(current, heads, {"at_head": True})["revision.at_head"].ok
    assert passed == (bool(heads) and set(current) == set(heads))
