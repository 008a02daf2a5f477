# SPDX-License-Identifier: GPL-3.0-or-later
"""What people are told, and that nothing a server says gets out of its place."""

from __future__ import annotations

from typing import Any

from cutover import report
from cutover.report import for_html, for_markdown, refusal, show, summary, view
from cutover.runs import PastRun
from hypothesis import given
from hypothesis import strategies as st

OPENED = {
    "id": "20260131T120000Z-cutover-ab12",
    "verb": "cutover",
    "environment": "staging",
    "dir": "/srv/a/staging/run",
}
BLOCKER = {
    "component": "redis", "subject": "cache", "check": "config.maxmemory-policy", "status": "fail", "address": None,
    "expected": "allkeys-lru", "observed": "noeviction", "cause": None,
    "remedy": "CONFIG SET maxmemory-policy allkeys-lru",
}  # fmt: skip


def decision(*blocking: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "gate": "final", "run": OPENED["id"], "verb": "cutover", "environment": "staging",
        "decided_at": "2026-01-31T12:03:04.5Z", "verdict": "no-go" if blocking else "go", "blocking": list(blocking),
        "advisories": [], "waived": [], "waivers": [], "counts": {"verdicts": 3, "findings": 30, "pass": 29, "fail": 1},
        "gates": [], "context": {}, "evidence": {"files": {}},
    } | more  # fmt: skip


def said(closed: dict[str, Any] | None, *incidents: dict[str, Any], broken: str | None = None) -> str:
    return "\n".join(line.text for line in summary(OPENED, closed, incidents, broken, cwd="/srv/a"))


def test_go_is_said_with_the_releases_and_where_the_evidence_lies() -> None:
    text = said(decision(context={"release_from": "1.0.0", "release_to": "1.1.0"}))
    assert "\nGO  cutover of staging, 1.0.0 -> 1.1.0  (run 20260131T120000Z-cutover-ab12)\n" in text
    assert "0 blocking findings, 29 of 30 checks passed, 3 verdicts" in text
    assert "evidence  staging/run/report.html" in text


def counted(subject: str, at: str, **kept: Any) -> dict[str, Any]:
    verdict = {"component": "visitors", "subject": subject, "ok": True, "findings": [], "recorded": kept}
    return {"kind": "verdict", "seq": 1, "time": at, "data": verdict}


def test_what_visitors_saw_last_is_said_in_a_line_and_has_its_place_on_the_page() -> None:
    records = [
        counted("load", "2026-01-31T12:01:00Z", sent=900, failed=0, slowest_ms=40.2, samples=[]),
        counted("load", "2026-01-31T12:02:00Z", sent=3410, failed=2, slowest_ms=378.7, samples=[]),
    ]
    run = PastRun(id=OPENED["id"], directory="/srv/a/staging/run", verb="cutover", records=records)
    text = "\n".join(line.text for line in summary(OPENED, decision(), [], None, run=run, cwd="/srv/a"))
    seen = view({}, decision(), records)

    assert "\nvisitors  load: 3410 requests, 2 failed, slowest 379 ms\n" in text
    assert seen["visitors"] == [
        {"subject": "load", "until": "2026-01-31 12:02:00", "sent": "3410", "failed": "2", "slowest": "379 ms"}
    ]
    assert seen["recorded"] == []


def test_a_drill_that_was_not_well_again_is_not_gone_back_from_but_seen_to() -> None:
    left = {"kind": "drill", "seq": 1, "time": "2026-01-31T12:01:00Z", "data": {"drill": "cache", "state": "begun"}}
    run = PastRun(id="20260131T120000Z-drills-ab12", directory="/srv/a", verb="drills", records=[left], problem="torn")
    text = " ".join(line.text for line in summary(OPENED, decision(BLOCKER), [], None, run=run, cwd="/srv/a"))

    assert "rollback.yml" not in text
    assert "then run drills again" in " ".join(text.split())


def test_no_go_names_every_finding_with_both_sides_and_the_remedy() -> None:
    text = said(decision(BLOCKER, BLOCKER | {"check": "role", "status": "error", "cause": "refused", "observed": None}))
    assert "\nNO-GO  cutover" in text
    assert (
        "redis/cache  config.maxmemory-policy  fail\n  expected  allkeys-lru\n  observed  noeviction\n  remedy" in text
    )
    assert "redis/cache  role  error\n  cause     refused" in text


def test_only_an_untroubled_go_is_a_go() -> None:
    incident = {"kind": "failure", "role": None, "host": "h", "task": "Write the report", "message": "disk full"}
    for text in (said(None), said(decision(), incident), said(decision(), broken="disk full"), said(None, incident)):
        assert "\nNO-GO  " in text
    assert "never closed" in said(None)
    assert "disk full" in said(decision(), incident)


def test_without_a_run_there_is_nothing_to_say() -> None:
    assert summary({}, None, [], None, cwd="/") == []


@given(st.text(max_size=400))
def test_whatever_a_server_says_the_terminal_stays_ours(text: str) -> None:
    for line in summary(
        OPENED, decision(BLOCKER | {"observed": text, "cause": text, "remedy": text}), [], None, cwd="/"
    ):
        assert line.text.isprintable()


def test_a_line_fits_into_eighty_columns() -> None:
    long = BLOCKER | {"observed": "noeviction " * 40, "remedy": "one\ntwo " + "word " * 50}
    assert max(len(line) for line in said(decision(long)).splitlines()) <= 80


def test_a_refusal_is_short_however_much_blocks() -> None:
    text = refusal(decision(*[BLOCKER] * 40))
    assert text.splitlines()[0] == "NO-GO at final: 40 blocking findings"
    assert "- and 28 more" in text
    assert "- redis/cache config.maxmemory-policy: expected allkeys-lru, observed noeviction" in text


def test_values_are_shown_as_a_person_reads_them() -> None:
    assert [show(value) for value in (None, True, 3, "x", ["a", 1], {"b": None})] == [
        "-",
        "true",
        "3",
        "x",
        '["a", 1]',
        '{"b": null}',
    ]
    assert show("x" * 700).endswith("... (700 characters)")


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in _texts(part)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


NESTED = st.recursive(
    st.text(alphabet="<>&\"'`|*_[]\\\n\x1b\u202ea{}%", max_size=20) | st.integers() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet="a<'|", max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(NESTED)
def test_no_text_can_leave_its_place_in_a_page(value: Any) -> None:
    for text in _texts(for_html(value)):
        assert not set(text) & set("<>\"'\x1b\u202e")


@given(NESTED)
def test_no_text_can_leave_its_cell_in_a_table(value: Any) -> None:
    for text in _texts(for_markdown(value)):
        assert not set(text) & set("<>\n\x1b\u202e")
        assert "|" not in text.replace("\\\\", "").replace("\\|", "")


def test_the_view_has_everything_in_its_order() -> None:
    verdict = {
        "component": "endpoints", "subject": "ready", "address": "https://h/api/ready", "ok": True, "took_ms": 3,
        "findings": [{"check": "status", "status": "pass", "blocking": True, "expected": 200, "observed": 200}],
        "recorded": {"status": 200, "headers": {"A": "b"}, "body": '{"status":"ready"}'},
    }  # fmt: skip
    command = {
        "argv": ["alembic", "upgrade head"],
        "exit_code": 0,
        "host": "h",
        "first_lines": ["a"],
        "last_lines": ["z"],
        "line_count": 9,
    }
    records = [
        {"kind": "verdict", "time": "2026-01-31T12:00:00.000000Z", "data": verdict},
        {"kind": "command", "time": "2026-01-31T12:00:01.000000Z", "data": command},
        {"kind": "verdict", "time": "2026-01-31T12:00:02.000000Z", "data": {"malformed": "x"}},
    ]
    manifest = {
        "opened_at": "2026-01-31T12:00:00.000000Z",
        "project": {"git_sha": "a" * 40, "dirty": True},
        "command": ["x", "y z"],
    }
    shown = view(manifest, decision(BLOCKER, context={"release_to": "2", "note": "n"}), records)
    assert shown["facts"]["Took"] == "3 min 4 s"
    assert shown["facts"]["Git commit"] == "aaaaaaaaaaaa (with local changes)"
    assert shown["facts"]["Command"] == "x 'y z'"
    assert (shown["change"], shown["context"]) == ("- -> 2", {"note": "n"})
    assert [component["name"] for component in shown["components"]] == ["endpoints"]
    assert shown["commands"][0]["command"] == "alembic 'upgrade head'"
    assert shown["commands"][0]["lines"] == ["a", "... 7 lines ...", "z"]
    assert shown["recorded"][0]["body"] == ["{", '  "status": "ready"', "}"]


def test_a_drill_that_has_cut_over_names_the_runs_that_it_has_made() -> None:
    made = {"cutover": {"run": "r2"}, "rollback": {"run": "r3"}, "back_s": 11.24}
    data = {"component": "drills", "subject": "rehearsal", "ok": True, "recorded": {"timeline": {}, **made}}
    [drill] = list(report._drills([{"kind": "verdict", "time": "2026-01-31T12:00:09Z", "data": data}]))
    assert drill["runs"] == "cutover r2, rollback r3; went back in 11.2 s"


def test_a_drill_is_shown_with_its_times_and_with_what_was_answered_meanwhile() -> None:
    timeline = {"broken_at": "2026-01-31T12:00:03.000000Z", "undone_by": "the drill", "noticed_after_s": 0.4}
    told = {"component": "drills", "subject": "redis_refused", "ok": True, "findings": []}
    span = {"said": "503", "times": 9, "slowest_ms": 12, "from": "2026-01-31T12:00:03.4Z", "wrong": None}
    records = [
        {"kind": "verdict", "time": "2026-01-31T12:00:09Z", "data": {**told, **more}}
        for more in (
            {"subject": "redis_refused.broken.ready", "recorded": {"answers": [span]}},
            {"recorded": {"about": "Redis refuses connections", "timeline": timeline}},
        )
    ]
    [drill] = list(report._drills(records))
    assert (drill["broken_at"], drill["seconds"]["noticed_after_s"]) == ("2026-01-31 12:00:03", "0.4 s")
    assert drill["seconds"]["well_after_s"] == "-"
    assert [(row["what"], row["said"], row["wrong"]) for row in drill["watched"]] == [("broken.ready", "503", "-")]
    assert list(report._recorded(records)) == []
