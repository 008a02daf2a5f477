# SPDX-License-Identifier: GPL-3.0-or-later
"""Only a finished, unaltered, real GO is signed off; and the log of it is appended to, never written over."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cutover.gate import conclude, decide
from cutover.journal import Journal, JournalBroken, canonical, digest
from cutover.proof import LEAST_GATES, Unproven, prove
from cutover.signoffs import LOG_NAME, Refused, append_signoff, baseline, read_signoffs, signable, statement

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
RUN = "20260131T120000Z-readiness-1a2b"
SAYS = {"role": "release manager", "approver": "Jane Doe", "reason": "all checks passed"}
Tamper = Callable[[Path], object]


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """The directory of the environment `lab`."""
    (tmp_path / "lab").mkdir()
    return tmp_path / "lab"


def make_run(
    directory: Path, run: str = RUN, *, status: str = "pass", check_mode: bool = False, required: str = "readiness",
    verb: str = "readiness", steps: tuple[str, ...] = (), **more: Any,
) -> Path:  # fmt: skip
    """A run as `run_open`, the callback, `gate` and `run_close` leave it behind. Its one gate is `readiness`."""
    where = directory / run
    (where / "gates").mkdir(parents=True)
    about = {"id": run, "verb": verb, "environment": "lab", "check_mode": check_mode, "project": {"git_sha": "abc"}}
    about |= more
    manifest = canonical(about) + "\n"
    (where / "manifest.json").write_text(manifest)
    journal = Journal(path=where / "journal.jsonl", run=run, clock=lambda: NOON)
    finding = {"check": "version", "status": status, "blocking": True, "expected": "7", "observed": "7"}
    verdict = {"component": "redis", "subject": "cache", "ok": status == "pass", "findings": [finding]}
    records = [journal.append("opened", {"manifest_sha256": digest(manifest)}), journal.append("verdict", verdict)]
    records.append(journal.append("observation", {"component": "redis", "subject": "cache", "facts": [], "unseen": []}))
    records += [journal.append("step", {"name": name, "state": "done"}) for name in steps]
    gate = decide(records, gate="readiness", run=run, expected=[("redis", "cache")], now=NOON).to_dict()
    (where / "gates" / "gate-readiness.json").write_text(canonical(gate) + "\n")
    records.append(journal.append("decision", gate))
    final = conclude(records, run=run, required_gates=["readiness"], now=NOON).to_dict()
    files = {name: digest((where / name).read_bytes()) for name in ("manifest.json", "gates/gate-readiness.json")}
    evidence = {"head": journal.head, "records": len(records), "files": files}
    final |= {"verb": verb, "environment": "lab", "gates": [{"gate": "readiness"}], "evidence": evidence}
    final |= {"required_gates": [required]}
    (where / "decision.json").write_text(json.dumps(final, indent=2, sort_keys=True) + "\n")
    journal.append("closed", {"verdict": final["verdict"], "sha256": digest((where / "decision.json").read_bytes())})
    return where


def sign(directory: Path, run: str = RUN, hours: int = 1) -> dict[str, Any]:
    said = statement(signable(directory, run), **SAYS)
    return append_signoff(directory / LOG_NAME, said, environment="lab", clock=lambda: NOON + timedelta(hours=hours))


def test_a_go_is_signed_off_with_the_digest_of_its_evidence(tmp_path: Path) -> None:
    where = make_run(tmp_path)
    said = sign(tmp_path)["data"]
    assert {key: said[key] for key in ("signed_run", "verdict", "observed", *SAYS)} == {
        "signed_run": RUN, "verdict": "go", "observed": 1, **SAYS,
    }  # fmt: skip
    assert said["evidence"]["decision_sha256"] == digest((where / "decision.json").read_bytes())
    assert (
        said["evidence"]["journal_head"] == json.loads((where / "journal.jsonl").read_text().splitlines()[-1])["hash"]
    )
    assert stat.S_IMODE((tmp_path / LOG_NAME).stat().st_mode) == 0o600


def replace(name: str, old: str, new: str) -> Tamper:
    def tamper(where: Path) -> None:
        text = (where / name).read_text()
        assert old in text
        (where / name).write_text(text.replace(old, new, 1))

    return tamper


def drop_last_line(where: Path) -> None:
    lines = (where / "journal.jsonl").read_text().splitlines(keepends=True)
    (where / "journal.jsonl").write_text("".join(lines[:-1]))


@pytest.mark.parametrize(
    ("tamper", "complaint"),
    [
        pytest.param(replace("journal.jsonl", '"observed":"7"', '"observed":"8"'), "altered", id="a record"),
        pytest.param(replace("manifest.json", "abc", "abd"), "manifest.json", id="the manifest"),
        pytest.param(replace("decision.json", "redis", "valkey"), "decision.json", id="the decision"),
        pytest.param(replace("gates/gate-readiness.json", "go", "no"), "gate-readiness.json", id="a gate"),
        pytest.param(drop_last_line, "never finished", id="not closed"),
        pytest.param(lambda where: (where / "decision.json").unlink(), "decision.json", id="no decision"),
        pytest.param(lambda where: (where / "journal.jsonl").unlink(), "cannot be read", id="no journal"),
        pytest.param(lambda where: where.rename(where.with_name("x")), "there is no run", id="no run"),
    ],
)
def test_an_unfinished_or_altered_run_is_refused(tmp_path: Path, tamper: Tamper, complaint: str) -> None:
    tamper(make_run(tmp_path))
    with pytest.raises(Refused, match=complaint):
        signable(tmp_path, RUN)


def test_a_no_go_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path, status="fail")
    with pytest.raises(Refused, match="NO-GO with 1 blocking"):
        signable(tmp_path, RUN)


@pytest.mark.parametrize("walked", [(), ("stage",)], ids=["nothing", "its steps"])
def test_a_rehearsal_is_refused_whatever_it_has_walked(tmp_path: Path, walked: tuple[str, ...]) -> None:
    make_run(tmp_path, check_mode=True, verb="cutover", steps=walked)
    with pytest.raises(Refused, match="check mode"):
        signable(tmp_path, RUN)


def test_a_run_that_is_part_of_a_drill_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path, drill={"run": "r1", "drill": "rollback_rehearsal"})
    with pytest.raises(Refused, match="part of a drill"):
        signable(tmp_path, RUN)


@pytest.mark.parametrize("run", ["", ".", "..", "../other/run", "a/b"], ids=repr)
def test_what_is_no_id_leads_nowhere(tmp_path: Path, run: str) -> None:
    with pytest.raises(Refused, match="no id"):
        signable(tmp_path, run)


def test_a_run_that_was_copied_from_another_environment_is_refused(tmp_path: Path) -> None:
    production = tmp_path.parent / "production"
    shutil.copytree(make_run(tmp_path), production / RUN)
    with pytest.raises(Refused, match="is of lab, and not of production"):
        signable(production, RUN)


def test_a_go_without_a_gate_that_was_required_of_it_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path, required="release")
    with pytest.raises(Refused, match="its records say no-go: run/gates gate release"):
        signable(tmp_path, RUN)


@pytest.mark.parametrize("verb", sorted(set(LEAST_GATES) - {"readiness"}))
def test_a_run_of_a_verb_whose_own_gate_was_never_decided_is_refused(tmp_path: Path, verb: str) -> None:
    make_run(tmp_path, verb=verb)
    with pytest.raises(Refused, match=f"its records say no-go: run/gates gate {LEAST_GATES[verb][0]}"):
        signable(tmp_path, RUN)


def test_a_cutover_that_took_a_step_and_never_judged_what_came_of_it_is_refused(tmp_path: Path) -> None:
    where = make_run(tmp_path, verb="cutover", steps=("stage",), required="preflight")
    as_somebody_who_knows_how(gate="preflight")(where)
    with pytest.raises(Refused, match=r"run/gates gate (release|started)"):
        signable(tmp_path, RUN)


def test_a_cutover_that_changed_nothing_is_judged_by_its_first_gate(tmp_path: Path) -> None:
    where = make_run(tmp_path, verb="cutover", required="preflight")
    as_somebody_who_knows_how(gate="preflight")(where)
    assert signable(tmp_path, RUN).id == RUN


def test_a_run_of_an_unknown_verb_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path, verb="rehearse")
    with pytest.raises(Refused, match="is of the verb 'rehearse': what it had to decide is not known"):
        signable(tmp_path, RUN)


def as_somebody_who_knows_how(*, gate: str | None = None, status: str | None = None, **decision: Any) -> Tamper:
    """Every hash, digest and file agrees afterwards. None as a part of ``decision`` removes it."""

    def tamper(where: Path) -> None:
        lines = [json.loads(line) for line in (where / "journal.jsonl").read_text().splitlines()]
        (where / "journal.jsonl").unlink()
        journal = Journal(path=where / "journal.jsonl", run=RUN, clock=lambda: NOON)
        said = json.loads((where / "decision.json").read_text()) | decision
        said = {key: value for key, value in said.items() if value is not None}
        for line in lines:
            data = line["data"]
            if line["kind"] == "verdict" and status:
                data["findings"][0]["status"], data["ok"] = status, status == "pass"
            if line["kind"] == "decision" and gate:
                data["gate"] = gate
            if line["kind"] == "closed":
                said["evidence"]["head"] = journal.head
                (where / "decision.json").write_text(json.dumps(said))
                data["sha256"] = digest((where / "decision.json").read_bytes())
            journal.append(line["kind"], data)

    return tamper


@pytest.mark.parametrize(
    ("tamper", "complaint"),
    [
        pytest.param({"status": "fail"}, "its records say no-go", id="a finding that failed"),
        pytest.param({"gate": "other"}, "gate readiness", id="another gate"),
        pytest.param({"gate": "other", "required_gates": []}, "gate readiness", id="nothing required"),
        pytest.param({"gate": "other", "required_gates": None}, "gate readiness", id="no word on what was required"),
        pytest.param({"gate": "other", "required_gates": ["other"]}, "gate readiness", id="another one required"),
        pytest.param({"verb": "drift"}, "its verb is 'readiness', its decision says 'drift'", id="another verb"),
        pytest.param({"environment": "staging"}, "its environment is 'lab'", id="another environment"),
    ],
)
def test_a_go_that_does_not_follow_from_its_records_is_refused(
    tmp_path: Path, tamper: dict[str, Any], complaint: str
) -> None:
    as_somebody_who_knows_how(**tamper)(make_run(tmp_path))
    with pytest.raises(Unproven, match=complaint):
        prove(tmp_path / RUN)


# --- the log and the baseline -----------------------------------------------------------------------------------------


def test_a_later_sign_off_appends_and_is_the_baseline(tmp_path: Path) -> None:
    later = RUN.replace("12", "13", 1)
    make_run(tmp_path)
    make_run(tmp_path, later)
    first = sign(tmp_path)
    text = (tmp_path / LOG_NAME).read_text()
    second = sign(tmp_path, later, hours=2)
    assert (tmp_path / LOG_NAME).read_text().startswith(text)
    assert [record["hash"] for record in read_signoffs(tmp_path / LOG_NAME)] == [first["hash"], second["hash"]]
    assert baseline(tmp_path).id == later


def test_without_a_sign_off_there_is_no_baseline(tmp_path: Path) -> None:
    make_run(tmp_path)
    assert read_signoffs(tmp_path / LOG_NAME) == []
    with pytest.raises(Unproven, match="ever signed off"):
        baseline(tmp_path)


@pytest.mark.parametrize(
    "tamper",
    [
        pytest.param(replace(LOG_NAME, "Jane", "Joan"), id="a name"),
        pytest.param(replace(LOG_NAME, "\n", ""), id="its end"),
        pytest.param(lambda where: (where / LOG_NAME).write_text("{}\n"), id="all of it"),
    ],
)
def test_an_altered_log_is_neither_believed_nor_added_to(tmp_path: Path, tamper: Tamper) -> None:
    make_run(tmp_path)
    sign(tmp_path)
    tamper(tmp_path)
    with pytest.raises(Unproven, match="sign-off log was altered"):
        baseline(tmp_path)
    with pytest.raises(JournalBroken):
        sign(tmp_path)


def test_a_run_that_was_written_anew_after_its_sign_off_is_no_baseline(tmp_path: Path) -> None:
    where = make_run(tmp_path)
    sign(tmp_path)
    shutil.rmtree(where)
    make_run(tmp_path)
    assert baseline(tmp_path).id == RUN  # the same to the last byte
    shutil.rmtree(where)
    make_run(tmp_path, check_mode=True)
    with pytest.raises(Unproven, match="after it was signed off"):
        baseline(tmp_path)
