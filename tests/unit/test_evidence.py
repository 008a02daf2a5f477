# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task's result is worth as evidence, and when evidence is not believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cutover.evidence import (
    Task,
    attestation,
    bounded,
    entries,
    first_and_last,
    milliseconds,
    read_evidence,
    whole_decision,
)
from cutover.journal import Journal, JournalBroken, canonical, digest

TASK = Task(name="verify | Judge", action="redis_check", host="localhost", role="redis", file="verify", took_ms=5)
VERDICT = {"component": "redis", "subject": "cache"}


def of(result: dict[str, Any], action: str = "redis_check", **how: bool) -> list[tuple[str, dict[str, Any]]]:
    return list(entries(result, Task(name="t", action=action, host="h"), **how))


def kinds(result: dict[str, Any], action: str = "redis_check", **how: bool) -> list[str]:
    return [kind for kind, _ in of(result, action, **how)]


def test_every_verdict_counts_also_those_of_a_loop() -> None:
    assert of({"verdicts": [VERDICT, VERDICT]}) == [("verdict", VERDICT)] * 2
    assert kinds({"results": [{"verdicts": [VERDICT]}, {"verdicts": [VERDICT]}, "text"]}) == ["verdict", "verdict"]


@pytest.mark.parametrize("malformed", ["pass", None, [None], ["pass"], {"ok": True}, 1])
def test_a_malformed_verdict_is_recorded_so_that_the_gate_refuses_it(malformed: object) -> None:
    assert kinds({"verdicts": malformed}) == ["verdict"]


def test_what_debug_repeats_is_no_verdict() -> None:
    assert kinds({"verdicts": [VERDICT]}, "ansible.builtin.debug") == []


def test_only_our_own_actions_decide() -> None:
    reference = {"decision": {"verdict": "go"}}
    assert kinds(reference, "gate") == ["decision"]
    assert kinds(reference, "run_close") == ["closed"]
    assert kinds(reference, "ansible.builtin.uri") == []


def test_a_refused_gate_is_a_decision_and_no_failure() -> None:
    assert kinds({"decision": {"verdict": "no-go"}, "msg": "NO-GO"}, "gate", failed=True) == ["decision"]
    assert kinds({"msg": "a traceback"}, "gate", failed=True) == ["failure"]


def test_a_failure_says_why_from_whatever_the_result_holds() -> None:
    for key in ("msg", "censored", "module_stderr", "stderr"):
        assert of({key: "because"}, failed=True)[0][1]["message"] == "because"
    assert of({}, failed=True)[0][1]["message"] == "no reason was given"
    assert len(of({"msg": "x" * 10000}, failed=True)[0][1]["message"]) == 4000


@pytest.mark.parametrize(
    "failed",
    [
        pytest.param({"failed": True, "exception": "(traceback unavailable)"}, id="2.19"),
        pytest.param({"exception": "(traceback unavailable)"}, id="2.21, which leaves out what callbacks may infer"),
        pytest.param({"failed_when_result": True}, id="2.21, by failed_when"),
    ],
)
def test_each_failed_item_is_named(failed: dict[str, Any]) -> None:
    well = [{"item": "a"}, {"item": "c", "exception": "(traceback unavailable)", "failed_when_result": False}]
    result = {"results": [*well, {"item": "b", "msg": "no"} | failed], "msg": "One or more items failed"}
    assert [(data["item"], data["message"]) for _, data in of(result, failed=True)] == [("b", "no")]


def test_a_failed_loop_whose_items_are_hidden_is_still_a_failure() -> None:
    assert kinds({"results": [{"censored": "hidden"}], "censored": "hidden"}, failed=True) == ["failure"]


def test_failures_of_silent_actions_count() -> None:
    assert kinds({"msg": "no"}, "ansible.builtin.assert", failed=True) == ["failure"]


def test_changes_and_unreachable_hosts_are_recorded() -> None:
    assert kinds({"changed": True}) == ["change"]
    assert kinds({"results": [{"changed": True}]}) == ["change"]
    assert kinds({"unreachable": True, "msg": "refused"}, unreachable=True) == ["unreachable"]
    looped = {"msg": "All items completed", "results": [{"ping": "pong"}, {"unreachable": True, "msg": "refused"}]}
    assert [data["message"] for _, data in of(looped, unreachable=True)] == ["refused"]
    looped["results"][1]["_ansible_item_label"] = "app2"
    assert [data["host"] for _, data in of(looped, unreachable=True)] == ["app2"]


def test_a_command_is_kept_with_its_exit_code_and_first_and_last_lines() -> None:
    output = "\n".join(map(str, range(30)))
    result = {"cmd": ["seq", "30"], "rc": 3, "stdout": output, "stderr": "oops", "delta": "0:00:01.250000"}
    (kind, command), = of(result, "ansible.builtin.command")  # fmt: skip
    assert (kind, command["argv"], command["exit_code"], command["took_ms"]) == ("command", ["seq", "30"], 3, 1250)
    assert command["first_lines"] == [str(number) for number in range(10)]
    assert command["last_lines"] == [*(str(number) for number in range(21, 30)), "oops"]
    assert command["line_count"] == 31
    assert of({"commands": [{"argv": ["a"], "exit_code": 0}, "text"]})[0][1]["argv"] == ["a"]


def test_no_line_is_shown_twice() -> None:
    assert first_and_last(["a", "b"]) == {"first_lines": ["a", "b"], "last_lines": [], "line_count": 2}
    assert milliseconds(None) is None


def test_a_text_of_ten_megabytes_is_cut_and_says_so() -> None:
    cut = bounded({"recorded": [{"body": "x" * 10_000_000}]})["recorded"][0]["body"]
    assert len(cut) < 1_000_200
    assert "10000000 characters" in cut


# --- believing ---


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = Journal(path=tmp_path / "journal.jsonl", run="run-1")
    journal.append("opened", {})
    journal.append("verdict", VERDICT)
    return journal


def problems(journal: Journal, attested: str | None, run: str = "run-1") -> str:
    return " ".join(read_evidence(str(journal.path.parent), run, attested)[1])


def test_what_the_writer_attests_is_believed(journal: Journal) -> None:
    assert problems(journal, attestation(journal)) == ""


def test_records_that_came_after_are_no_problem(journal: Journal) -> None:
    attested = attestation(journal)
    journal.append("verdict", VERDICT)
    assert problems(journal, attested) == ""


def test_nobody_writing_is_a_problem(journal: Journal) -> None:
    for nothing in (None, "", "null", "[]", "{}", "1"):
        assert "nobody is writing" in problems(journal, nothing)


def test_a_broken_writer_is_a_problem(journal: Journal) -> None:
    assert "the evidence broke: disk full" in problems(journal, attestation(journal, "disk full"))


def test_lost_records_are_a_problem(journal: Journal) -> None:
    text = journal.path.read_text().splitlines(keepends=True)
    attested = attestation(journal)
    journal.path.write_text(text[0])
    assert "the journal lost records" in problems(journal, attested)


def test_another_run_is_a_problem(journal: Journal) -> None:
    assert "not of run-2" in problems(journal, attestation(journal), run="run-2")
    other = json.loads(attestation(journal)) | {"run": "run-2"}
    assert "is of run run-2, not of run-1" in problems(journal, json.dumps(other))


def test_a_decision_that_was_changed_on_its_way_is_not_recorded(tmp_path: Path) -> None:
    text = canonical({"verdict": "no-go"})
    path = tmp_path / "gate.json"
    path.write_text(text)
    reference = {"path": str(path), "sha256": digest(text)}
    assert whole_decision(reference) == {"verdict": "no-go"}
    path.write_text(canonical({"verdict": "go"}))
    with pytest.raises(JournalBroken, match="changed after it was decided"):
        whole_decision(reference)
