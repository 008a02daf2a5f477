# SPDX-License-Identifier: GPL-3.0-or-later
"""What opens a gate, and that nothing else does."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from cutover.gate import GO, NO_GO, Decision, conclude, decide, recomputed
from hypothesis import given, settings
from hypothesis import strategies as st

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
RUN = "run-1"
SUBJECTS = [("redis", "cache"), ("vault", "primary")]


def finding(check: str = "version", status: str = "pass", **more: Any) -> dict[str, Any]:
    return {
        "check": check,
        "status": status,
        "blocking": True,
        "expected": 1,
        "observed": 2,
        "cause": None,
        "remedy": None,
    } | more


def verdict(component: str, subject: str, /, *findings: dict[str, Any], **more: Any) -> dict[str, Any]:
    ok = all(item.get("status") == "pass" or not item.get("blocking") for item in findings)
    return {
        "component": component,
        "subject": subject,
        "address": "a://b",
        "ok": ok,
        "took_ms": 1,
        "findings": list(findings),
    } | more


def journal(*entries: Any, run: str = RUN) -> list[dict[str, Any]]:
    """Records of bare verdicts, or of (kind, data)."""
    pairs = [entry if isinstance(entry, tuple) else ("verdict", entry) for entry in entries]
    return [{"seq": n, "run": run, "kind": kind, "data": data} for n, (kind, data) in enumerate(pairs, start=1)]


GOOD = (verdict("redis", "cache", finding()), verdict("vault", "primary", finding()))


def gate(records: list[dict[str, Any]], **more: Any) -> Decision:
    return decide(records, **({"gate": "preflight", "run": RUN, "expected": SUBJECTS, "now": NOON} | more))


def causes(decision: Decision) -> list[str]:
    return [f"{b.component}/{b.subject} {b.check} {b.status}" for b in decision.blocking]


def waiver(**more: Any) -> dict[str, Any]:
    return {
        "check": "version", "component": "redis", "subject": "cache", "reason": "upgrade is planned", "owner": "ops",
        "ticket": "OPS-1", "expires": "2026-02-01T00:00:00Z",
    } | more  # fmt: skip


def test_it_opens_when_every_subject_passed() -> None:
    decision = gate(journal(*GOOD))
    assert (decision.verdict, decision.blocking) == (GO, ())
    assert decision.counts["pass"] == 2


@pytest.mark.parametrize("status", ["fail", "error", "skipped"])
def test_anything_but_a_pass_closes_it(status: str) -> None:
    decision = gate(journal(verdict("redis", "cache", finding(), finding("role", status)), GOOD[1]))
    assert causes(decision) == [f"redis/cache role {status}"]


def test_what_does_not_block_is_shown() -> None:
    decision = gate(journal(verdict("redis", "cache", finding("role", "fail", blocking=False)), GOOD[1]))
    assert decision.verdict == GO
    assert [advisory.check for advisory in decision.advisories] == ["role"]


def test_a_subject_that_was_never_judged_closes_it() -> None:
    decision = gate(journal(GOOD[0]))
    assert causes(decision) == ["vault/primary judged missing"]
    assert decision.blocking[0].cause == "missing: vault/primary was never judged"


def test_nothing_expected_is_nothing_proven() -> None:
    assert causes(gate(journal(*GOOD), expected=[])) == ["run/gate expected missing"]


def test_what_an_earlier_gate_saw_does_not_open_a_later_one() -> None:
    decision = gate(journal(*GOOD, ("decision", {"verdict": GO}), GOOD[0]))
    assert causes(decision) == ["vault/primary judged missing"]


def test_what_an_earlier_gate_refused_does_not_close_a_later_one() -> None:
    bad = verdict("redis", "cache", finding(status="fail"))
    assert gate(journal(bad, ("failure", {"task": "x"}), ("decision", {}), *GOOD)).verdict == GO


def test_a_failed_task_and_an_unreachable_host_close_it() -> None:
    decision = gate(
        journal(
            *GOOD,
            ("failure", {"task": "t", "host": "h", "role": "redis", "message": "m"}),
            ("unreachable", {"host": "h2"}),
        )
    )
    assert causes(decision) == ["playbook/h2 a task unreachable", "redis/h t failed"]
    assert decision.blocking[1].cause == "m"


def test_broken_evidence_closes_it() -> None:
    assert causes(gate(journal(*GOOD, ("broken", {"cause": "disk full"})))) == ["run/journal evidence invalid"]
    assert causes(gate(journal(*GOOD), problems=["line 3: changed"])) == ["run/journal evidence invalid"]


def test_a_refusal_closes_it_whatever_was_proven() -> None:
    assert causes(gate(journal(*GOOD), refusal="the migration failed")) == ["run/step preflight failed"]
    assert causes(gate(journal(), expected=[], refusal="the migration failed")) == ["run/step preflight failed"]


def test_records_of_another_run_close_it() -> None:
    assert gate(journal(*GOOD, run="run-0")).verdict == NO_GO


@pytest.mark.parametrize(
    "malformed",
    [
        pytest.param(verdict("redis", "cache", ok=True), id="no finding"),
        pytest.param(verdict("redis", "cache", finding(status="PASS"), ok=True), id="unknown status"),
        pytest.param(verdict("redis", "cache", finding(status=None), ok=True), id="no status"),
        pytest.param(verdict("redis", "cache", finding(status=["pass"]), ok=True), id="a list for a status"),
        pytest.param(verdict("redis", "cache", finding(blocking="no"), ok=True), id="blocking is a text"),
        pytest.param(verdict("redis", "cache", {"status": "pass"}, ok=True), id="a finding without a check"),
        pytest.param(verdict("redis", "cache", finding(), ok=False), id="it contradicts its findings"),
        pytest.param(verdict("redis", "cache", finding(), ok="true"), id="ok is a text"),
        pytest.param(verdict("redis", "cache", finding(), findings="pass"), id="findings are a text"),
        pytest.param(verdict("redis", "cache", finding(), subject=["cache"]), id="the subject is a list"),
        pytest.param("pass", id="a text"),
        pytest.param(None, id="nothing"),
    ],
)
def test_a_malformed_verdict_closes_it_even_beside_a_good_one(malformed: Any) -> None:
    assert any("verdict invalid" in cause for cause in causes(gate(journal(malformed, *GOOD))))
    assert any("judged missing" in cause for cause in causes(gate(journal(malformed, GOOD[1]))))


class TestWaivers:
    BAD = journal(verdict("redis", "cache", finding(status="fail")), GOOD[1])

    def test_one_in_force_opens_the_gate_and_is_shown(self) -> None:
        decision = gate(self.BAD, waivers=[waiver()])
        assert decision.verdict == GO
        assert decision.waivers[0]["state"] == "applied"
        assert (decision.waived[0]["check"], decision.waived[0]["waiver"]["ticket"]) == ("version", "OPS-1")

    def test_the_component_may_be_left_out(self) -> None:
        without = {key: value for key, value in waiver().items() if key != "component"}
        assert gate(self.BAD, waivers=[without]).verdict == GO

    @pytest.mark.parametrize("expires", [datetime(2026, 2, 1), datetime(2026, 2, 1, tzinfo=UTC), date(2026, 2, 1)])
    def test_the_expiry_may_be_what_yaml_makes_of_it(self, expires: date) -> None:
        assert gate(self.BAD, waivers=[waiver(expires=expires)]).verdict == GO

    @pytest.mark.parametrize(
        ("changes", "state"),
        [
            pytest.param({"expires": "2026-01-31T12:00:00Z"}, "expired", id="expires now"),
            pytest.param({"expires": "2026-02-01T00:00:00"}, "malformed", id="no time zone"),
            pytest.param({"expires": "2026-02-01T00:00:00+02:00"}, "malformed", id="not UTC"),
            pytest.param({"expires": "soon"}, "malformed", id="not a time"),
            pytest.param({"expires": None}, "malformed: it lacks expires", id="no expiry"),
            pytest.param({"reason": " "}, "malformed: it lacks reason", id="no reason"),
            pytest.param({"owner": ""}, "malformed: it lacks owner", id="no owner"),
            pytest.param({"ticket": None}, "malformed: it lacks ticket", id="no ticket"),
            pytest.param({"chek": "x"}, "malformed: it has no field chek", id="a misspelt field"),
            pytest.param({"check": "*"}, "unknown", id="no wildcards"),
            pytest.param({"subject": "other"}, "unknown", id="matches nothing"),
        ],
    )
    def test_one_that_is_not_in_order_blocks_by_itself(self, changes: dict[str, Any], state: str) -> None:
        for records in (self.BAD, journal(*GOOD)):
            decision = gate(records, waivers=[waiver(**changes)])
            assert decision.verdict == NO_GO
            assert decision.waivers[0]["state"].startswith(state)

    def test_some_checks_cannot_be_waived(self) -> None:
        records = journal(verdict("redis", "cache", finding("refuses.default-password", "fail")), GOOD[1])
        assert (
            gate(records, waivers=[waiver(check="refuses.default-password")], unwaivable=["refuses.*"]).verdict == NO_GO
        )
        sealed = journal(verdict("redis", "cache", finding("sealed", "fail")), GOOD[1])
        assert gate(sealed, waivers=[waiver(check="sealed")]).verdict == NO_GO

    def test_a_missing_verdict_and_a_failure_cannot_be_waived(self) -> None:
        assert gate(journal(GOOD[1]), waivers=[waiver(check="judged")]).verdict == NO_GO
        failed = journal(*GOOD, ("failure", {"task": "t", "host": "h", "role": "r"}))
        assert gate(failed, waivers=[waiver(check="t", subject="h", component="r")]).verdict == NO_GO

    def test_one_that_is_no_longer_needed_does_not_block(self) -> None:
        decision = gate(journal(*GOOD), waivers=[waiver()])
        assert (decision.verdict, decision.waivers[0]["state"]) == (GO, "not needed")

    def test_one_for_a_component_of_another_gate_waits_for_that_gate(self) -> None:
        other = waiver(component="postgres", subject="primary")
        decision = gate(journal(*GOOD), waivers=[other], declared=[*SUBJECTS, ("postgres", "primary")])
        assert (decision.verdict, decision.waivers[0]["state"]) == (GO, "elsewhere")
        assert gate(journal(*GOOD), waivers=[other]).verdict == NO_GO

    def test_a_waiver_that_is_no_mapping_blocks(self) -> None:
        assert gate(journal(*GOOD), waivers=["version"]).verdict == NO_GO


def closed(*entries: Any, required: tuple[str, ...] = ("preflight",), **more: Any) -> Decision:
    return conclude(journal(*entries), run=RUN, required_gates=required, now=NOON, **more)


PASSED = ("decision", gate(journal(*GOOD)).to_dict())


class TestConclusion:
    def test_it_is_go_when_every_gate_was(self) -> None:
        assert closed(*GOOD, PASSED).verdict == GO

    def test_a_gate_that_was_never_decided_is_a_no_go(self) -> None:
        assert causes(closed(*GOOD, PASSED, required=("preflight", "release"))) == ["run/gates gate release missing"]
        assert closed(*GOOD, required=()).verdict == NO_GO
        assert closed(required=()).verdict == NO_GO

    def test_one_gate_that_refused_makes_the_run_a_no_go_whatever_came_later(self) -> None:
        refused = gate(journal(GOOD[0])).to_dict()
        decision = closed(GOOD[0], ("decision", refused), *GOOD, PASSED)
        assert causes(decision) == ["vault/primary judged missing"]

    def test_a_failure_counts_even_when_it_was_rescued_and_a_later_gate_opened(self) -> None:
        first = ("decision", gate(journal(*GOOD, ("failure", {"task": "t"}))).to_dict())
        assert "playbook/unknown t failed" in causes(closed(*GOOD, ("failure", {"task": "t"}), first, *GOOD, PASSED))
        assert closed(*GOOD, PASSED, ("failure", {"task": "t"})).verdict == NO_GO
        assert closed(*GOOD, PASSED, ("unreachable", {"host": "h"})).verdict == NO_GO

    def test_what_was_judged_after_the_last_gate_counts(self) -> None:
        assert closed(*GOOD, PASSED, verdict("redis", "cache", finding(status="fail"))).verdict == NO_GO
        assert closed(*GOOD, PASSED, GOOD[0]).verdict == GO

    def test_a_recorded_go_that_the_records_do_not_give_is_refused(self) -> None:
        decision = closed(GOOD[0], PASSED)
        assert "recorded as go, but the journal says no-go" in str(decision.blocking[0].cause)

    def test_a_waiver_that_no_gate_knew_is_refused(self) -> None:
        elsewhere = waiver(component="postgres")
        declared = [*SUBJECTS, ("postgres", "cache")]
        entry = ("decision", gate(journal(*GOOD), waivers=[elsewhere], declared=declared).to_dict())
        assert entry[1]["verdict"] == GO
        assert closed(*GOOD, entry, waivers=[elsewhere]).verdict == NO_GO
        known = ("decision", gate(journal(*GOOD), waivers=[waiver()]).to_dict())
        assert closed(*GOOD, known, waivers=[waiver()]).verdict == GO

    def test_a_decision_is_recomputed_at_the_time_it_was_made(self) -> None:
        records = journal(verdict("redis", "cache", finding(status="fail")), GOOD[1])
        decision = gate(records, waivers=[waiver(expires=datetime(2026, 2, 1, tzinfo=UTC))])
        assert recomputed(records, decision.to_dict()).to_dict() == decision.to_dict()
        entries = [record["data"] for record in records]
        late = conclude(
            journal(*entries, ("decision", decision.to_dict())), run=RUN, required_gates=["preflight"],
            now=NOON + timedelta(days=9),
        )  # fmt: skip
        assert late.verdict == GO


# --- properties -------------------------------------------------------------------------------------------------------

STATUS = st.sampled_from(["pass", "pass", "pass", "fail", "error", "skipped", "PASS", "", None, 1])
FINDINGS = st.lists(
    st.builds(
        finding,
        st.sampled_from(["version", "role", "sealed"]),
        STATUS,
        blocking=st.sampled_from([True, True, False, None]),
    ),
    max_size=3,
)
NAMES = st.sampled_from([*SUBJECTS, ("redis", "other"), ("", "cache"), (None, None)])
JUNK = st.none() | st.text(max_size=5) | st.integers() | st.lists(st.integers(), max_size=2)
VERDICTS = st.builds(
    lambda names, findings, more: verdict(*names, *findings, **more),
    NAMES,
    FINDINGS,
    st.dictionaries(st.sampled_from(["ok", "findings", "address"]), st.booleans() | JUNK, max_size=1),
)
KINDS = st.sampled_from(["failure", "unreachable", "broken", "change", "command", "decision", "other"])
ENTRIES = st.lists(
    VERDICTS | st.tuples(KINDS, st.dictionaries(st.text(max_size=4), JUNK)) | st.tuples(st.just("verdict"), JUNK),
    max_size=8,
)
WAIVERS = st.lists(
    st.builds(
        waiver,
        check=st.sampled_from(["version", "role", "sealed", "judged"]),
        subject=st.sampled_from(["cache", "primary"]),
    )
    | st.dictionaries(st.sampled_from(["check", "subject", "expires"]), JUNK)
    | JUNK,
    max_size=3,
)


def proven(records: list[dict[str, Any]], subject: tuple[str, str]) -> bool:
    """Said independently of the gate: a well-formed verdict on this subject stands after the last decision."""
    last = max((r["seq"] for r in records if r["kind"] == "decision"), default=0)
    return any(
        isinstance(r["data"], dict)
        and (r["data"].get("component"), r["data"].get("subject")) == subject
        and r["data"].get("findings")
        for r in records
        if r["kind"] == "verdict" and r["seq"] > last
    )


@given(entries=ENTRIES, waivers=WAIVERS)
@settings(max_examples=500, deadline=None)
def test_no_input_opens_the_gate_on_an_unanswered_check(entries: list[Any], waivers: list[Any]) -> None:
    records = journal(*entries)
    decision = gate(records, waivers=waivers)
    if decision.verdict == GO:
        assert all(proven(records, subject) for subject in SUBJECTS)
        covered = {(w["waiver"]["check"], w["subject"]) for w in decision.waived}
        last = max((r["seq"] for r in records if r["kind"] == "decision"), default=0)
        for record in records[last:]:
            assert record["kind"] not in ("failure", "unreachable", "broken")
            for item in record["data"]["findings"] if record["kind"] == "verdict" else []:
                assert (
                    item["status"] == "pass"
                    or item["blocking"] is False
                    or (item["check"], record["data"]["subject"]) in covered
                )


@given(entries=ENTRIES, waivers=WAIVERS, victim=st.integers(0))
@settings(max_examples=500, deadline=None)
def test_taking_out_the_verdict_on_a_subject_never_opens_the_gate(
    entries: list[Any], waivers: list[Any], victim: int
) -> None:
    records = journal(*entries)
    subject = SUBJECTS[victim % 2]
    without = [r for r in records if not (r["kind"] == "verdict" and _names(r["data"]) == subject)]
    assert gate(without, waivers=waivers).verdict == NO_GO


def _names(data: Any) -> Any:
    return (data.get("component"), data.get("subject")) if isinstance(data, dict) else None


@given(entries=ENTRIES, waivers=WAIVERS, order=st.randoms())
@settings(max_examples=300, deadline=None)
def test_the_order_of_records_does_not_matter(entries: list[Any], waivers: list[Any], order: Any) -> None:
    records = journal(*entries)
    shuffled = list(records)
    order.shuffle(shuffled)
    one, other = gate(records, waivers=waivers), gate(shuffled, waivers=waivers)
    assert (one.verdict, one.blocking) == (other.verdict, other.blocking)
