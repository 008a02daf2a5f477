# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a run go back: which list can be evaluated, and what fires on which records."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from cutover.gate import GO, NO_GO, Decision, decide, recomputed
from cutover.triggers import Refused, TriggerError, evaluate, failed_step, read_triggers, samples_needed

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
DEFAULT = [{"name": "a gate refused", "gate": "*"}, {"name": "a step failed", "step": "*"}]
SLOW = {"name": "too slow", "max_mean_ms": 300, "samples": 3}
WRONG = {"name": "too many errors", "max_error_percent": 1, "samples": 2}
BYPASS = {"name": "somebody came in", "authentication_bypass": True}


def verdict(*findings: dict[str, Any], samples: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    """A record of a verdict on the front door."""
    told = [{"blocking": True, "expected": 1, "observed": 2, "cause": None, "remedy": None, **f} for f in findings]
    ok = all(finding["status"] == "pass" or not finding["blocking"] for finding in told)
    recorded = {"recorded": {"samples": samples}} if samples is not None else {}
    data = {"component": "traffic", "subject": "front", "address": "a://b", "ok": ok, "findings": told}
    return {"kind": "verdict", "data": data | recorded | more}


def samples(*mean_ms: int | None) -> list[dict[str, Any]]:
    return [{"requests": 5, "mean_ms": value, "error_percent": 0.0} for value in mean_ms]


def fired(records: list[dict[str, Any]], *declared: dict[str, Any], **more: Any) -> list[tuple[str, Any, Any]]:
    return [(one.trigger, one.expected, one.observed) for one in evaluate(records, read_triggers(declared), **more)]


def gate(*records: dict[str, Any], triggers: list[dict[str, Any]], name: str = "share", **more: Any) -> Decision:
    journal = [record | {"seq": seq, "run": "r"} for seq, record in enumerate(records, start=1)]
    options = {"gate": name, "run": "r", "expected": [("traffic", "front")], "now": NOON} | more
    return decide(journal, triggers=triggers, **options)


PASSED = {"check": "share.errors", "status": "pass"}
FAILED = {"check": "share.errors", "status": "fail", "expected": "<= 0 %", "observed": 3.0}


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        pytest.param("*", "run_rollback_triggers[0] is '*': a trigger is a mapping", id="no mapping"),
        pytest.param({"gate": "*"}, "run_rollback_triggers[0] has no name", id="no name"),
        pytest.param({"name": "x"}, "(x) has none: exactly one of gate, step, finding", id="nothing"),
        pytest.param({"name": "x", "gate": "*", "step": "*"}, "(x) has gate and step: exactly one", id="two at once"),
        pytest.param({"name": "x", "gate": "*", "samples": 2}, "has no option samples: with gate", id="odd option"),
        pytest.param({"name": "x", "max_mean_ms": "fast"}, "max_mean_ms is 'fast', and not a number", id="no number"),
        pytest.param({"name": "x", "max_mean_ms": True}, "max_mean_ms is True, and not a number", id="a boolean"),
        pytest.param({"name": "x", "max_mean_ms": 1, "samples": 0}, "samples is 0: say how many", id="no sample"),
        pytest.param({"name": "x", "authentication_bypass": False}, "say true, or leave the trigger out", id="false"),
        pytest.param({"name": "x", "finding": ["a"]}, "finding is ['a'], and not a name", id="no pattern"),
        pytest.param(
            {"name": "x", "finding": "a", "component": 1}, "component is 1, and not a name", id="no name of it"
        ),
    ],
)
def test_a_trigger_that_cannot_be_evaluated_is_refused_by_its_place_and_name(declared: Any, words: str) -> None:
    with pytest.raises(TriggerError) as refused:
        read_triggers([declared])
    assert words in str(refused.value)


def test_two_triggers_of_one_name_are_refused() -> None:
    with pytest.raises(TriggerError, match=r"\[2\] \(a gate refused\)|\[2\]: another one is named 'a gate refused'"):
        read_triggers([*DEFAULT, DEFAULT[0]])


def test_a_gate_and_a_step_fire_by_their_names() -> None:
    refused = Refused(gate="share", reasons=["share.errors"])
    assert fired([], *DEFAULT, refused=refused) == [("a gate refused", "go", "no-go")]
    assert fired([], {"name": "x", "gate": "release"}, refused=refused) == []
    assert fired([], *DEFAULT, failed_step="migrate") == [("a step failed", "done", "failed")]
    assert fired([], {"name": "x", "step": "sh*"}, failed_step="migrate") == []


def test_a_finding_fires_by_its_name_whether_it_blocks_or_not() -> None:
    asked = {"name": "x", "finding": "share.*", "component": "traffic"}
    assert fired([verdict(FAILED | {"blocking": False})], asked) == [("x", "<= 0 %", 3.0)]
    assert fired([verdict({"check": "share.errors", "status": "error", "cause": "gone"})], asked) == [("x", 1, "gone")]
    assert fired([verdict(PASSED, {"check": "pool.up", "status": "fail"})], asked) == []
    assert fired([verdict(FAILED)], asked | {"subject": "edge"}) == []


@pytest.mark.parametrize(
    ("values", "observed"),
    [
        pytest.param([301, 400, 500], [301, 400, 500], id="three in a row"),
        pytest.param([10, 301, 400, 500, 10], [301, 400, 500], id="three in the middle"),
        pytest.param([301, 300, 301, 301], None, id="never three in a row"),
        pytest.param([301, None, 400, 500], [301, 400, 500], id="a second without requests says nothing"),
        pytest.param([301, 400], None, id="too few"),
    ],
)
def test_a_budget_fires_when_it_is_broken_so_many_times_in_a_row(values: list[int | None], observed: Any) -> None:
    records = [verdict(PASSED, samples=samples(*values[:2])), verdict(PASSED, samples=samples(*values[2:]))]
    expected = "<= 300 in one of any 3 samples in a row"
    assert fired(records, SLOW) == ([("too slow", expected, observed)] if observed else [])
    assert fired([verdict(PASSED, samples=[{"error_percent": 2.0}, {"error_percent": 1.5}])], WRONG) != []


def test_samples_of_two_load_balancers_are_no_row() -> None:
    other = verdict(PASSED, samples=samples(400), subject="other")
    assert fired([verdict(PASSED, samples=samples(400, 400)), other], SLOW) == []


def test_a_budget_that_could_not_be_judged_fires_where_samples_had_to_be_taken() -> None:
    few = [verdict(PASSED, samples=samples(10, None, 10))]
    assert fired(few, SLOW) == []
    (told,) = evaluate(few, read_triggers([SLOW]), sampled=True)
    assert told.error == "fewer than 3 samples with a mean_ms were taken: nothing says that it was kept"
    assert samples_needed([*DEFAULT, SLOW, WRONG]) == 3
    assert samples_needed(DEFAULT) == 0


@pytest.mark.parametrize(
    ("finding", "fires"),
    [
        ({"check": "status", "status": "fail", "expected": [401], "observed": 200}, True),
        ({"check": "viewer-sees-no-users.status", "status": "fail", "expected": 403, "observed": 302}, True),
        ({"check": "status", "status": "fail", "expected": [401], "observed": 503}, False),
        ({"check": "status", "status": "fail", "expected": [200, 401], "observed": 204}, False),
        ({"check": "status", "status": "fail", "expected": [200], "observed": 500}, False),
        ({"check": "status", "status": "error", "expected": [401], "observed": None}, False),
        ({"check": "unauthenticated", "status": "fail", "expected": "refused", "observed": "accepted"}, True),
        ({"check": "default_password.admin", "status": "fail"}, True),
    ],
)
def test_an_authentication_bypass_is_an_answer_to_whom_none_was_due(finding: dict[str, Any], fires: bool) -> None:
    assert bool(fired([verdict(finding)], BYPASS)) is fires


def test_the_step_that_failed_is_the_one_that_was_begun_and_not_done() -> None:
    def step(name: str, state: str) -> dict[str, Any]:
        return {"kind": "step", "data": {"name": name, "state": state}}

    assert failed_step([step("stage", "begun"), step("stage", "done"), step("migrate", "begun")]) == "migrate"
    assert failed_step([step("stage", "begun"), step("stage", "done"), step("go_back", "begun")]) is None
    forth = [step("stage", "begun"), step("stage", "done"), step("migrate", "begun")]
    assert failed_step([*forth, step("go_back", "begun"), step("traffic/rollback", "begun")]) == "migrate"
    assert failed_step([]) is None


# --- in a gate --------------------------------------------------------------------------------------------------------


def test_a_gate_that_refuses_names_the_trigger_and_one_that_opens_names_none() -> None:
    refused = gate(verdict(FAILED), triggers=DEFAULT)
    assert [f["trigger"] for f in refused.fired] == ["a gate refused"]
    assert refused.fired[0]["what"] == "the gate share: share.errors"
    assert [b.check for b in refused.blocking] == ["share.errors"]
    assert gate(verdict(PASSED), triggers=DEFAULT).fired == ()


def test_a_trigger_refuses_by_itself_and_no_waiver_covers_it() -> None:
    waiver = {
        "check": "share.errors", "subject": "front", "reason": "known", "owner": "ops", "ticket": "OPS-1",
        "expires": "2026-02-01T00:00:00Z",
    }  # fmt: skip
    asked = [{"name": "errors", "finding": "share.errors"}]
    assert gate(verdict(FAILED), triggers=[], waivers=[waiver]).verdict == GO
    decision = gate(verdict(FAILED), triggers=asked, waivers=[waiver])
    assert decision.verdict == NO_GO
    (blocker,) = decision.blocking
    assert (blocker.check, blocker.expected, blocker.observed) == ("trigger errors", "<= 0 %", 3.0)


def test_before_the_first_change_and_on_the_way_back_nothing_fires() -> None:
    for name in ("preflight", "back"):
        decision = gate(verdict(FAILED), triggers=[*DEFAULT, {"name": "x", "finding": "*"}], name=name)
        assert ([b.check for b in decision.blocking], decision.fired) == (["share.errors"], ())


def test_samples_are_demanded_of_the_gate_before_which_they_are_taken() -> None:
    assert gate(verdict(PASSED), triggers=[SLOW], name="release").verdict == GO
    decision = gate(verdict(PASSED), triggers=[SLOW])
    assert [(b.check, b.status) for b in decision.blocking] == [("trigger too slow", "error")]


def test_a_decision_is_recomputed_with_its_triggers() -> None:
    record = verdict(PASSED, samples=samples(400, 400, 400)) | {"seq": 1, "run": "r"}
    decision = gate(record, triggers=[*DEFAULT, SLOW])
    again = recomputed([record], decision.to_dict())
    assert (again.verdict, again.fired) == (NO_GO, decision.fired)
    assert [f["trigger"] for f in again.fired] == ["too slow", "a gate refused"]


def test_a_run_that_goes_back_names_the_step_that_failed() -> None:
    begun = {"kind": "step", "data": {"name": "start", "state": "begun"}}
    decision = gate(begun, triggers=DEFAULT, name="going_back", expected=[], refusal="start: it failed")
    assert [(f["trigger"], f["what"]) for f in decision.fired] == [("a step failed", "the step start")]
