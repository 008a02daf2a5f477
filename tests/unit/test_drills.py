# SPDX-License-Identifier: GPL-3.0-or-later
"""Which drills are played where, what the catalogue says, and what came of each."""

from __future__ import annotations

from typing import Any

import pytest
from cutover.drills import DrillError, Timeline, catalogue, chosen, left_open, outcomes, said

WATCHED = [{"name": "ready", "expected": {"answer": {"status": 503}}}]
REDIS: dict[str, Any] = {
    "name": "redis_refused", "about": "Redis refuses connections", "component": "redis", "blast_radius": "component",
    "hurts": "everybody", "hypothesis": ["redis", "endpoints"],
    "fault": {"kind": "stop", "service": "redis", "host": "cache1", "limit_s": 60},
    "while_broken": WATCHED, "afterwards": WATCHED,
}  # fmt: skip
RESTORE: dict[str, Any] = {
    "name": "restore", "about": "the newest backup is restored", "component": "backup", "blast_radius": "instance",
    "hurts": "nobody", "hypothesis": ["postgres"], "plays": ["restore/verify"], "judged": ["restore"],
    "undo": "the scratch database is dropped", "harmless": True,
}  # fmt: skip
CANARY: dict[str, Any] = {
    "name": "canary", "about": "a bad release", "component": "traffic", "blast_radius": "environment",
    "hurts": "a tenth", "hypothesis": ["endpoints"],
    "cutover": {"release_version": "2", "expected": {"verdict": "no-go"}},
}  # fmt: skip
DECLARED = [REDIS, RESTORE]


def choose(wanted: Any, environment: str = "lab", declared: Any = DECLARED) -> list[str]:
    return chosen(declared, wanted, environment=environment, allowed=["lab", "staging"])


def without(name: str, drill: dict[str, Any] = REDIS) -> dict[str, Any]:
    return {key: value for key, value in drill.items() if key != name}


def test_all_that_may_be_played_are_played_unless_some_are_named() -> None:
    assert choose("") == ["redis_refused", "restore"]
    assert choose("restore") == ["restore"]
    assert choose(" restore, redis_refused,") == ["redis_refused", "restore"]
    assert choose(["restore"]) == ["restore"]


def test_in_production_only_what_is_harmless_is_played() -> None:
    assert choose("", "production") == ["restore"]
    with pytest.raises(DrillError, match=r"redis_refused: it breaks something that serves \(component: everybody\)"):
        choose("redis_refused,restore", "production")
    with pytest.raises(DrillError, match="none of redis_refused may be played in production"):
        choose("", "production", [REDIS])


def test_a_drill_that_names_its_environments_is_played_in_those_alone() -> None:
    anywhere = [{**REDIS, "environments": ["production"]}]
    assert choose("", "production", anywhere) == ["redis_refused"]
    with pytest.raises(DrillError, match="it may be played in production, and not in lab"):
        choose("redis_refused", "lab", anywhere)


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        pytest.param([], "no drill is declared", id="none"),
        pytest.param([without("hypothesis")], "redis_refused: hypothesis is missing", id="no hypothesis"),
        pytest.param([{**REDIS, "blast": 1}], "redis_refused: there is no blast", id="an unknown field"),
        pytest.param([{**REDIS, "blast_radius": "world"}], "blast_radius is 'world'", id="an unknown radius"),
        pytest.param([without("fault")], "either a fault, or what it plays", id="neither a fault nor a play"),
        pytest.param([{**REDIS, "cutover": CANARY["cutover"]}], "either a fault, or", id="a fault and a cutover"),
        pytest.param([{**CANARY, "cutover": {"expected": {}}}], "to what", id="a cutover to nothing"),
        pytest.param([{**CANARY, "harmless": True}], "never harmless", id="a harmless cutover"),
        pytest.param(
            [{**CANARY, "cutover": {**CANARY["cutover"], "extra_vars": {"db": {"password": "s3cret-word"}}}}],
            r"cutover.extra_vars holds a secret(?!.*s3cret)",
            id="a secret for a command line",
        ),
        pytest.param([without("while_broken")], "nobody watches", id="unwatched"),
        pytest.param([{**REDIS, "fault": {"kind": "stop"}}], "limit_s is missing", id="no limit"),
        pytest.param([without("judged", RESTORE)], "judged and undo are missing", id="nobody's verdict counts"),
        pytest.param([{**REDIS, "name": "list"}], "not the word list", id="the catalogue's name"),
        pytest.param([{**REDIS, "name": "../x"}], "use letters", id="a path"),
        pytest.param([REDIS, REDIS], "declared twice", id="twice"),
    ],
)
def test_a_wrong_declaration_is_refused_before_anything_is_played(declared: Any, words: str) -> None:
    with pytest.raises(DrillError, match=words):
        choose("", declared=declared)


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(DrillError, match=r"redis_refuse: no such drill\. Declared are: redis_refused, restore"):
        choose("redis_refuse")


def test_the_catalogue_says_whom_it_can_hurt_and_how_it_is_undone() -> None:
    text = "\n".join(catalogue(DECLARED, environment="production", allowed=["lab"]))
    assert "can hurt   component: everybody" in text
    assert "can hurt   nothing that serves: nobody" in text
    assert (
        "undone     the process manager starts it again, after 60 s at the latest by a process of its own on cache1"
        in text
    )
    assert "undone     the scratch database is dropped" in text
    assert "here       it breaks something that serves" in text
    assert "here       may be played" in text


# --- what came of them ------------------------------------------------------------------------------------------------


def decision(gate: str, verdict: str = "go") -> tuple[str, dict[str, Any]]:
    return "decision", {"gate": gate, "verdict": verdict}


def fault(**more: Any) -> tuple[str, dict[str, Any]]:
    at = {"broken_at": "2026-01-31T12:00:03.000000Z", "undone_at": None, "undone_by": None, "undone_how": None}
    return "fault", {"drill": "redis_refused", "failure": None} | at | more


def seen(phase: str, check: str, **recorded: Any) -> tuple[str, dict[str, Any]]:
    subject = f"redis_refused.{phase}.ready"
    return "verdict", {"subject": subject, "findings": [{"check": check}], "recorded": recorded}


UNDONE = {"undone_at": "2026-01-31T12:00:06.000000Z", "undone_by": "the drill", "undone_how": "started"}
PASSED = [
    decision("redis_refused.before"),
    fault(),
    seen("broken", "becomes", began_at="2026-01-31T12:00:02.000000Z", became_at="2026-01-31T12:00:03.400000Z"),
    decision("redis_refused.broken"),
    fault(**UNDONE),
    seen("after", "becomes", began_at="2026-01-31T12:00:06.500000Z", became_at="2026-01-31T12:00:06.600000Z"),
    decision("redis_refused.after"),
]


def records(told: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    return [
        {"seq": seq, "time": f"2026-01-31T12:00:{seq:02}.000000Z", "kind": kind, "data": data}
        for seq, (kind, data) in enumerate(told, start=1)
    ]


def statuses(told: list[tuple[str, dict[str, Any]]], drill: dict[str, Any] = REDIS) -> dict[str, str]:
    [verdict] = outcomes(records(told), [drill])
    return {finding.check: finding.status.value for finding in verdict.findings}


def test_a_drill_that_went_as_declared_passes_and_tells_its_times() -> None:
    [verdict] = outcomes(records(PASSED), [REDIS])
    assert verdict.ok
    assert verdict.recorded is not None
    assert verdict.recorded["timeline"] == {
        "broken_at": "2026-01-31T12:00:03.000000Z", "noticed_at": "2026-01-31T12:00:03.400000Z",
        "undone_at": "2026-01-31T12:00:06.000000Z", "undone_by": "the drill", "well_at": "2026-01-31T12:00:06.600000Z",
        "noticed_after_s": 0.4, "broken_for_s": 3.0, "well_after_s": 0.6,
    }  # fmt: skip
    assert said([verdict]) == ["redis_refused: passed: noticed after 0.4 s, undone after 3.0 s, well 0.6 s later"]


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        pytest.param([], {"hypothesis": "error"}, id="never begun"),
        pytest.param([decision("redis_refused.before", "no-go")], {"hypothesis": "fail"}, id="it was not well before"),
        pytest.param(
            [PASSED[0], fault(broken_at=None, failure="refused")], {"broken": "error"}, id="it could not be broken"
        ),
        pytest.param(
            [*PASSED[:3], decision("redis_refused.broken", "no-go"), *PASSED[4:]], {"noticed": "fail"}, id="it lied"
        ),
        pytest.param(PASSED[:4], {"undone": "error"}, id="nobody undid it"),
        pytest.param([*PASSED[:6], decision("redis_refused.after", "no-go")], {"well": "fail"}, id="it stays broken"),
    ],
)
def test_the_first_thing_that_went_wrong_is_named_and_the_rest_follows_from_it(
    told: Any, wrong: dict[str, str]
) -> None:
    found = {check: status for check, status in statuses(told).items() if status not in ("pass", "skipped")}
    assert found == wrong


def test_where_nothing_may_change_it_must_be_watched_from_before_it_broke() -> None:
    kill = {**REDIS, "while_broken": [{"name": "front", "expected": {"stays": True}}]}
    early = seen("broken", "stays", began_at="2026-01-31T12:00:02.000000Z", became_at=None)
    late = seen("broken", "stays", began_at="2026-01-31T12:00:04.000000Z", became_at=None)
    told = [PASSED[0], fault(**UNDONE), PASSED[3], PASSED[6]]
    assert statuses([*told, early], kill)["watched"] == "pass"
    assert statuses([*told, late], kill)["watched"] == "fail"
    assert statuses(told, kill)["watched"] == "error"


@pytest.mark.parametrize(
    ("how", "status"),
    [
        pytest.param("supervisord had started it again", "pass", id="by its manager"),
        pytest.param("supervisord had not started it again within 5 s, so it was told to", "fail", id="by the undo"),
        pytest.param(None, "error", id="nobody knows"),
    ],
)
def test_what_was_killed_must_have_been_started_again_by_its_manager(how: str | None, status: str) -> None:
    kill = {**REDIS, "fault": {**REDIS["fault"], "kind": "kill"}}
    told = [PASSED[0], fault(**UNDONE | {"undone_how": how}), *PASSED[2:4], *PASSED[5:]]
    assert statuses(told, kill)["restarted"] == status


def test_a_drill_without_a_fault_is_what_it_played() -> None:
    told = [decision("restore.before"), decision("restore.played", "no-go"), decision("restore.after")]
    assert statuses(told, RESTORE) == {"hypothesis": "pass", "played": "fail", "well": "pass"}
    assert Timeline().said() == ""


def test_a_drill_that_cuts_over_says_how_long_it_took_to_go_back() -> None:
    told = [decision(f"canary.{phase}") for phase in ("before", "played", "after")]
    recorded = {"cutover": {"run": "r2", "journal_head": "h"}, "back_s": 11.24}
    moved = ("verdict", {"component": "drills", "subject": "canary.cutover", "findings": [], "recorded": recorded})
    [verdict] = outcomes(records([told[0], moved, *told[1:]]), [CANARY])
    assert said([verdict]) == ["canary: passed: went back in 11.2 s"]
    assert (verdict.recorded or {})["cutover"] == recorded["cutover"]
    assert statuses([told[0]], CANARY) == {"hypothesis": "pass", "played": "error", "well": "skipped"}
    assert any("process of its own" in line for line in catalogue([CANARY], environment="lab", allowed=["lab"]))


# --- what is left of earlier ones -------------------------------------------------------------------------------------


def test_what_is_left_is_known_by_the_journal_and_by_the_host() -> None:
    begun = {"drill": "redis_refused", "fault": "r1-redis_refused", "host": "cache1", "run": "r1", "state": "begun"}
    state = {"id": "r1-redis_refused", "drill": "redis_refused", "what": "redis is stopped", "broken_at": "12:00"}
    still = left_open([{"item": "cache1", "faults": [{**state, "undone_at": None}]}], [begun])
    mended = {**state, "undone_at": "12:01", "undone_by": "the keeper, at the deadline"}
    over = left_open([{"item": "cache1", "faults": [mended]}], [begun])
    assert [one["said"].partition(": ")[2] for one in [*still, *over, *left_open([], [begun])]] == [
        "redis is stopped since 12:00, and is not undone yet.",
        "redis is stopped, it said, undone at 12:01 by the keeper, at the deadline.",
        "its host knows of nothing that is broken.",
    ]
    elsewhere = left_open([{"item": "cache1", "faults": [{**state, "undone_at": None}, {**mended, "id": "old"}]}], [])
    assert [(one["drill"], one["fault"], one["host"]) for one in elsewhere] == [
        ("redis_refused", "r1-redis_refused", "cache1")
    ]


def test_a_rehearsal_tells_whether_a_drill_could_begin_and_nothing_else() -> None:
    before = [("decision", {"gate": "redis_refused.before", "verdict": "go"})]
    [verdict] = outcomes(records(before), [REDIS], rehearsal=True)
    assert [(finding.check, finding.ok) for finding in verdict.findings] == [("hypothesis", True)]
    assert said([verdict]) == ["redis_refused: could begin; nothing was broken"]
    [never] = outcomes(records([]), [REDIS], rehearsal=True)
    assert not never.ok
