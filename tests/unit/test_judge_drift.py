# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs, since when, and what that amounts to; what was not seen is never as it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cutover.gate import GO, NO_GO, decide
from cutover.journal import iso
from cutover.judge_drift import (
    CONTRACT_BROKEN,
    COULD_NOT_LOOK,
    DRIFT,
    NO_DRIFT,
    Comparison,
    Difference,
    DriftError,
    Ignore,
    Unseen,
    broken_contract,
    compared,
    dated,
    missed_runs,
    outcome,
    told_once,
    with_ignores,
    with_owners,
)
from cutover.masking import Masker
from cutover.observation import Observation, Seen, fingerprints

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SIGNED = {"run": "r1", "decided_at": iso(NOON), "signed_at": iso(NOON)}


def observed(facts: dict[str, Any], component: str = "redis", subject: str = "cache", **unseen: str) -> dict[str, Any]:
    seen = Seen(facts=facts, unseen={part.replace("all", ""): cause for part, cause in unseen.items()})
    address = f"{component}://{subject}"
    return Observation(component=component, subject=subject, address=address, took_ms=1, seen=seen).to_dict()


def told(before: dict[str, Any], now: dict[str, Any], **where: str) -> list[tuple[str, Any, Any]]:
    differences, unseen = compared([observed(before, **where)], [observed(now, **where)])
    assert unseen == []
    return [(each.key, each.baseline, each.observed) for each in differences]


def test_the_same_facts_are_no_drift() -> None:
    facts = {"config.maxmemory": "0", "user.app": "on", "role.x": {"login": True}}
    assert told(facts, dict(facts)) == []


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        pytest.param({"config.hz": "10"}, {"config.hz": "20"}, [("config.hz", "10", "20")], id="changed"),
        pytest.param({}, {"user.eve": "on"}, [("user.eve", None, "on")], id="added"),
        pytest.param({"extension.pg_trgm": "1.6"}, {}, [("extension.pg_trgm", "1.6", None)], id="gone"),
        pytest.param(
            {"role.app": {"login": True, "superuser": False}}, {"role.app": {"login": True, "superuser": True}},
            [("role.app", {"superuser": False}, {"superuser": True})], id="of a dictionary, what differs",
        ),
        pytest.param(
            {"table.public.t": {"kind": "table"}, "table.public.t/column.a": "text", "table.public.t/index.i": "btree"},
            {}, [("table.public.t", {"kind": "table"}, None)], id="a dropped table is one difference",
        ),
        pytest.param(
            {"table.t": {"kind": "table"}}, {"table.t": {"kind": "table"}, "table.t/column.a": "int"},
            [("table.t/column.a", None, "int")], id="an added column is one difference",
        ),
        pytest.param(
            {"place": {"leads_to": "releases/1"}, "file.a/b": "x", "file.c": "y"},
            {"place": {"leads_to": "releases/2"}, "file.a/b": "z"},
            [("place", {"leads_to": "releases/1"}, {"leads_to": "releases/2"})], id="another release is one difference",
        ),
        pytest.param(
            {"place": {"mode": "0755"}, "file.a/b": "x"}, {"place": "absent"},
            [("place", {"mode": "0755"}, "absent")], id="a release that is gone is one difference",
        ),
        pytest.param(
            {"place": {"leads_to": "1.env"}, "variable.A": "fingerprint 1"},
            {"place": {"leads_to": "2.env"}, "variable.A": "fingerprint 2"},
            [("place", {"leads_to": "1.env"}, {"leads_to": "2.env"}), ("variable.A", "fingerprint 1", "fingerprint 2")],
            id="another environment file hides no variable",
        ),
        pytest.param(
            {"file.bin": "x"}, {"file.bin/web": "y"}, [("file.bin", "x", None), ("file.bin/web", None, "y")],
            id="a file that became a folder hides nothing in it",
        ),
    ],
)  # fmt: skip
def test_a_change_is_told_as_exactly_that(before: dict[str, Any], now: dict[str, Any], expected: list[Any]) -> None:
    assert told(before, now) == expected


@pytest.mark.parametrize("side", ["baseline", "now"])
def test_what_one_side_has_not_seen_is_unseen_and_no_difference(side: str) -> None:
    whole = observed({"config.a": "1", "config.b": "2", "user.x": "on"})
    partly = observed({"user.x": "off"}, config="NOPERM")
    differences, unseen = compared(*([partly], [whole]) if side == "baseline" else ([whole], [partly]))
    assert [each.key for each in differences] == ["user.x"]
    assert [(each.part, "NOPERM" in each.cause) for each in unseen] == [("config", True)]


def test_a_part_hides_no_key_that_only_begins_with_the_same_letters() -> None:
    gap = Unseen(component="c", subject="s", part="role", cause="")
    assert gap.covers(("c", "s", "role.app"))
    assert not gap.covers(("c", "s", "role_setting.app"))
    assert not gap.covers(("c", "other", "role.app"))


def test_a_target_that_did_not_answer_or_was_not_asked_is_unseen() -> None:
    signed = [observed({"a": "1"}, subject="one"), observed({"a": "1"}, subject="two")]
    differences, unseen = compared(signed, [observed({}, subject="one", all="refused")])
    assert differences == []
    assert [(each.subject, each.part) for each in unseen] == [("one", ""), ("two", "")]


def test_a_target_that_the_baseline_does_not_know_is_a_difference() -> None:
    differences, unseen = compared([], [observed({"a": "1", "b": "2"})])
    assert [each.key for each in differences] == ["target"]
    assert unseen == []


# --- since when -------------------------------------------------------------------------------------------------------


def difference(key: str = "config.hz", now: Any = "20", **more: Any) -> Difference:
    return Difference(
        **{"component": "redis", "subject": "cache", "key": key, "baseline": "10", "observed": now} | more
    )


def after(previous: Comparison | None, *differences: Difference, unseen: tuple[Unseen, ...] = (), hours: int) -> Any:
    """The comparison so many hours later, as the next run would read it."""
    now = NOON + timedelta(hours=hours)
    current, fixed, carried = dated(differences, unseen, previous.to_dict() if previous else None, now=now)
    return Comparison(baseline=SIGNED, differences=current, fixed=fixed, carried=carried, unseen=unseen)


def states(comparison: Comparison) -> list[tuple[str, str, int]]:
    hours = [(datetime.fromisoformat(str(each.since)) - NOON).seconds // 3600 for each in _all(comparison)]
    return [(each.key, each.state, hour) for each, hour in zip(_all(comparison), hours, strict=True)]


def _all(comparison: Comparison) -> list[Difference]:
    return [*comparison.differences, *comparison.fixed]


def test_a_difference_is_new_then_known_since_then_and_fixed_once() -> None:
    first = after(None, difference(), hours=1)
    second = after(first, difference(), difference("config.save", ""), hours=2)
    third = after(second, difference("config.save", ""), hours=3)
    fourth = after(third, difference("config.save", ""), hours=4)
    assert states(first) == [("config.hz", "new", 1)]
    assert states(second) == [("config.hz", "known", 1), ("config.save", "new", 2)]
    assert states(third) == [("config.save", "known", 2), ("config.hz", "fixed", 1)]
    assert states(fourth) == [("config.save", "known", 2)]


def test_another_value_is_new_again() -> None:
    first = after(None, difference(now="20"), hours=1)
    assert states(after(first, difference(now="30"), hours=2)) == [("config.hz", "new", 2)]


def test_one_that_comes_back_is_new() -> None:
    gone = after(after(None, difference(), hours=1), hours=2)
    assert states(after(gone, difference(), hours=3)) == [("config.hz", "new", 3)]


def test_what_could_not_be_looked_at_is_not_fixed_and_still_known_afterwards() -> None:
    gap = Unseen(component="redis", subject="cache", part="", cause="down")
    first = after(None, difference(), hours=1)
    blind = after(after(first, unseen=(gap,), hours=2), unseen=(gap,), hours=3)
    assert states(blind) == []
    assert states(after(blind, difference(), hours=4)) == [("config.hz", "known", 1)]
    assert states(after(blind, hours=4)) == [("config.hz", "fixed", 1)]


# --- the contract -----------------------------------------------------------------------------------------------------


def verdict(status: str, observed: Any, check: str = "config.hz") -> dict[str, Any]:
    finding = {"check": check, "status": status, "blocking": True, "expected": "10", "observed": observed}
    return {"component": "redis", "subject": "cache", "ok": status == "pass", "findings": [finding]}


def decided(verdict: dict[str, Any], *waivers: dict[str, Any]) -> dict[str, Any]:
    records = [{"seq": 1, "run": "r2", "kind": "verdict", "data": verdict}]
    subjects = [("redis", "cache")]
    return decide(records, gate="g", run="r2", expected=subjects, waivers=waivers, now=NOON).to_dict()


def test_a_broken_expectation_shows_all_three_sides_and_is_told_once() -> None:
    broken = broken_contract(decided(verdict("fail", "20")), [verdict("pass", "10")])
    facts = [difference(now="20"), difference("config.save")]
    everything = told_once(broken, facts)
    assert [(each.key, each.kind) for each in everything] == [("config.hz", "contract"), ("config.save", "drift")]
    assert (everything[0].expected, everything[0].baseline, everything[0].observed) == ("10", "10", "20")


def test_a_check_and_a_fact_of_other_names_are_told_once_too() -> None:
    broken = Difference(component="vault", subject="v", key="kv.secret", kind="contract")
    fact = Difference(component="vault", subject="v", key="mount.secret")
    assert told_once([broken], [fact]) == [broken]


def test_a_waived_finding_is_told_as_ignored() -> None:
    waiver = {"check": "config.hz", "subject": "cache", "reason": "r", "owner": "o", "ticket": "t",
              "expires": "2026-12-31T00:00:00Z"}  # fmt: skip
    (broken,) = broken_contract(decided(verdict("fail", "20"), waiver), [])
    assert broken.ignored == waiver


def test_a_finding_that_could_not_be_answered_is_no_broken_contract() -> None:
    assert broken_contract(decided(verdict("error", None)), []) == []


# --- ignores and owners -----------------------------------------------------------------------------------------------

IGNORE = {"key": "config.*", "reason": "moving", "owner": "ops", "expires": "2026-03-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("ignore", "ignored"),
    [
        pytest.param({}, True, id="by its key"),
        pytest.param({"component": "redis", "subject": "ca*"}, True, id="narrowed to its target"),
        pytest.param({"component": "postgres"}, False, id="of another component"),
        pytest.param({"key": "config"}, False, id="of another key"),
        pytest.param({"expires": "2026-01-31T11:59:59Z"}, False, id="expired"),
        pytest.param({"expires": datetime(2026, 2, 1).date()}, True, id="until a day"),
    ],
)
def test_an_ignore_covers_what_it_names_until_it_expires(ignore: dict[str, Any], ignored: bool) -> None:
    (found,) = with_ignores([difference()], [Ignore.read(IGNORE | ignore)], now=NOON)
    assert (found.ignored is not None) is ignored


def test_an_ignore_covers_no_broken_expectation() -> None:
    (found,) = with_ignores([difference(kind="contract")], [Ignore.read(IGNORE)], now=NOON)
    assert found.ignored is None


@pytest.mark.parametrize(
    "wrong", ["config.*", {}, IGNORE | {"reason": " "}, IGNORE | {"expires": "soon"}, IGNORE | {"ticket": "X"}], ids=str
)
def test_an_ignore_that_is_not_whole_is_refused(wrong: Any) -> None:
    with pytest.raises(DriftError):
        Ignore.read(wrong)


def test_the_owner_of_the_component_looks_or_the_one_of_everything() -> None:
    found = with_owners([difference(), difference(component="vault")], {"vault": "security", "*": "platform"})
    assert [each.owner for each in found] == ["platform", "security"]


# --- what it comes to -------------------------------------------------------------------------------------------------


def gate_on(comparison: Comparison) -> dict[str, Any]:
    records = [{"seq": 1, "run": "r2", "kind": "verdict", "data": each.to_dict()} for each in comparison.verdicts()]
    return decide(records, gate="drift", run="r2", expected=[("drift", "baseline")], now=NOON).to_dict()


def comparison(*differences: Difference, **more: Any) -> Comparison:
    defaults: dict[str, Any] = {"baseline": SIGNED, "observed": [observed({"config.hz": "10"})]}
    return Comparison(differences=differences, **defaults | more)


GAP = Unseen(component="redis", subject="cache", part="config", cause="NOPERM")


@pytest.mark.parametrize(
    ("found", "verdict", "word"),
    [
        pytest.param(comparison(), GO, NO_DRIFT, id="nothing"),
        pytest.param(comparison(difference()), NO_GO, DRIFT, id="a difference"),
        pytest.param(comparison(difference(ignored=IGNORE)), GO, NO_DRIFT, id="an ignored one"),
        pytest.param(comparison(unseen=[GAP]), NO_GO, COULD_NOT_LOOK, id="a part unseen"),
        pytest.param(comparison(difference("user.x"), unseen=[GAP]), NO_GO, COULD_NOT_LOOK, id="both"),
        pytest.param(comparison(baseline=None, refused="none was signed"), NO_GO, COULD_NOT_LOOK, id="no baseline"),
        pytest.param(comparison(missed="2 missed"), GO, NO_DRIFT, id="a missed run is an advice"),
        pytest.param(comparison(unseen=[Unseen(component="x", subject="y", part="", cause="gone")]), NO_GO,
                     COULD_NOT_LOOK, id="a target that nothing looked at"),
    ],
)  # fmt: skip
def test_the_gate_and_the_word_follow_from_what_was_found(found: Comparison, verdict: str, word: str) -> None:
    decision = gate_on(found)
    assert (decision["verdict"], outcome(decision["blocking"])) == (verdict, word)


def test_a_gate_misses_a_comparison_that_never_was() -> None:
    decision = decide([], gate="drift", run="r2", expected=[("drift", "baseline")], now=NOON).to_dict()
    assert outcome(decision["blocking"]) == COULD_NOT_LOOK


@pytest.mark.parametrize(
    ("statuses", "word"),
    [
        (["fail", "error"], CONTRACT_BROKEN),
        (["error", "drift"], COULD_NOT_LOOK),
        (["unreachable"], COULD_NOT_LOOK),
        (["failed"], COULD_NOT_LOOK),
        (["missing"], COULD_NOT_LOOK),
        (["invalid"], COULD_NOT_LOOK),
        (["drift"], DRIFT),
        (["drift", "fail"], CONTRACT_BROKEN),
        ([], NO_DRIFT),
    ],
)
def test_the_gravest_word_holds(statuses: list[str], word: str) -> None:
    blocking = [
        {"check": "drift.a", "status": "fail"} if status == "drift" else {"check": "a", "status": status}
        for status in statuses
    ]
    assert outcome(blocking) == word


@pytest.mark.parametrize(
    ("hours", "missed"), [(None, None), (6, None), (8, None), (12, "1 missed"), (25, "3 missed")], ids=str
)
def test_a_run_that_was_missed_is_noticed_by_the_next(hours: float | None, missed: str | None) -> None:
    previous = None if hours is None else NOON - timedelta(hours=hours)
    said = missed_runs(previous, now=NOON, every_s=6 * 3600)
    assert (said or "").partition(":")[0] == (missed or "")


def test_nobody_promised_anything() -> None:
    assert missed_runs(NOON - timedelta(days=30), now=NOON, every_s=0) is None


# --- fingerprints -----------------------------------------------------------------------------------------------------


def test_a_fingerprint_tells_values_apart_and_survives_the_masker() -> None:
    of = fingerprints("s" * 32)
    taken = observed({"variable.DATABASE_PASSWORD": of("tr0ub4dor")})
    masked = Masker(["tr0ub4dor"]).mask(taken)
    assert masked == taken
    assert of("tr0ub4dor") != of("tr0ub4dor2")
    assert of("tr0ub4dor") != fingerprints("t" * 32)("tr0ub4dor")


def test_a_salt_that_could_be_guessed_is_refused() -> None:
    with pytest.raises(ValueError, match="32 characters"):
        fingerprints("short")
