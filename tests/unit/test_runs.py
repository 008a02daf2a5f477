"""What the evidence of past runs says to whoever comes next."""

from __future__ import annotations

import fcntl
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cutover.journal import Journal, JournalBroken, hold, is_held, read_journal
from cutover.read_runs import past_runs, read_run
from cutover.runs import (
    PastRun,
    against_resuming,
    changed_inputs,
    last_cutover,
    last_durations,
    open_drills,
    unfinished,
    verb_of,
)

CUTOVER, ROLLBACK = "20260131T120000Z-cutover-ab12", "20260131T130000Z-rollback-cd34"
BEGUN, DONE = {"name": "migrate", "state": "begun"}, {"name": "migrate", "state": "done"}
BACK = {"gate": "back", "verdict": "go"}


def run(*told: tuple[str, dict[str, Any]], name: str = CUTOVER, **more: Any) -> PastRun:
    """A run whose journal has these records, a second apart."""
    start = datetime(2026, 1, 31, 12, tzinfo=UTC)
    records = [
        {"seq": seq, "kind": kind, "data": data, "run": name, "time": (start + timedelta(seconds=seq)).isoformat()}
        for seq, (kind, data) in enumerate(told, start=1)
    ]
    return PastRun(id=name, directory=f"/runs/{name}", verb=verb_of(name), records=records, **more)


def test_a_run_that_began_no_step_changed_nothing_and_leaves_nothing_open() -> None:
    assert run(("opened", {})).is_settled
    assert unfinished([run(("opened", {}))]) == []


@pytest.mark.parametrize(
    ("ended", "settled"),
    [
        pytest.param([], False, id="killed"),
        pytest.param([("decision", {"gate": "back", "verdict": "no-go"})], False, id="went back, but not wholly"),
        pytest.param([("decision", {"gate": "going_back", "verdict": "no-go"})], False, id="killed on its way back"),
        pytest.param([("decision", BACK)], True, id="went back"),
    ],
)
def test_a_run_that_changed_something_is_settled_when_it_is_all_back(ended: list[Any], settled: bool) -> None:
    assert run(("step", BEGUN), *ended).is_settled is settled


def test_a_rehearsal_leaves_nothing_open_and_tells_no_durations() -> None:
    walked = run(("step", BEGUN), ("step", DONE), manifest={"check_mode": True})
    assert walked.is_settled
    assert last_durations([walked]) == {}
    assert last_cutover([walked]) is None


def test_a_go_settles_a_run_and_evidence_that_is_not_believed_never_does() -> None:
    assert run(("step", BEGUN), ("closed", {}), verdict="go").is_settled
    assert not run(problem="line 3: changed", verdict="go").is_settled


def test_a_rollback_that_went_well_settles_all_before_it_and_one_that_changed_nothing_settles_nothing() -> None:
    killed = run(("step", BEGUN))
    idle = run(("opened", {}), name=ROLLBACK, verdict="go")
    well = run(("step", {"name": "go_back", "state": "begun"}), name=ROLLBACK, verdict="go")
    assert unfinished([killed, idle]) == [killed]
    assert unfinished([killed, well]) == []
    assert unfinished([killed, well, killed]) == [killed]


def test_a_run_is_set_aside_once_and_for_all_and_what_only_looked_leaves_nothing_open() -> None:
    killed, later = run(("step", BEGUN)), run(name="20260131T140000Z-cutover-ef56", manifest={"set_aside": [CUTOVER]})
    assert unfinished([killed], set_aside=[CUTOVER]) == []
    assert unfinished([killed, later]) == []
    assert unfinished([run(("step", BEGUN), name="20260131T120000Z-readiness-ab12")]) == []
    assert unfinished([run(("step", BEGUN), manifest={"check_mode": True})]) == []


def test_what_a_run_found_and_how_far_it_came_is_told_by_its_records() -> None:
    told = run(
        ("found", {"facts": {"release_from": "1.0.0"}}), ("step", {"name": "stage", "state": "begun"}),
        ("step", {"name": "stage", "state": "done"}), ("found", {"facts": {"environment_before": {"a": "b"}}}),
        ("step", BEGUN),
    )  # fmt: skip
    assert told.found == {"release_from": "1.0.0", "environment_before": {"a": "b"}}
    assert told.steps == {"stage": "done", "migrate": "begun"}
    assert told.durations_s == {"stage": 1.0}
    assert last_durations([told, run(("step", BEGUN), ("step", DONE))]) == {"stage": 1.0, "migrate": 1.0}


def test_what_a_resumed_run_had_begun_is_this_ones_own() -> None:
    recalled = {"run": CUTOVER, "steps": {"stage": "done", "migrate": "begun"}, "facts": {"release_from": "1.0.0"}}
    resumes = {"manifest": {"resumes": CUTOVER}, "name": "20260131T140000Z-cutover-ef56"}
    told = run(("recalled", recalled), ("step", {"name": "stage", "state": "begun"}), **resumes)
    assert told.steps == {"stage": "done", "migrate": "begun"}
    assert told.found == {"release_from": "1.0.0"}
    assert run(("recalled", recalled), name=ROLLBACK).steps == {}


def test_the_last_cutover_that_changed_something_is_gone_back_from() -> None:
    first, idle = run(("step", BEGUN)), run(("opened", {}), name="20260131T140000Z-cutover-ef56")
    assert last_cutover([first, idle, run(("step", BEGUN), name=ROLLBACK)]) == first
    assert last_cutover([idle]) is None


DRILL = {"run": "20260131T115000Z-drills-0001", "drill": "rollback_rehearsal"}
REHEARSED = "20260131T121000Z-cutover-0002"


def test_a_cutover_of_a_drill_is_open_until_it_was_gone_back_from() -> None:
    before = run(("step", BEGUN), verdict="go")
    rehearsed = run(("step", BEGUN), name=REHEARSED, verdict="go", manifest={"drill": DRILL})
    rollback = run(("step", BEGUN), ("decision", BACK), name=ROLLBACK, verdict="go")
    assert unfinished([before, rehearsed]) == [rehearsed]
    assert last_cutover([before, rehearsed]) == rehearsed
    assert unfinished([before, rehearsed, rollback]) == []
    assert last_cutover([before, rehearsed, rollback]) == before, "a rehearsal does not move the way back"
    by_itself = run(("step", BEGUN), ("decision", BACK), name=REHEARSED, manifest={"drill": DRILL})
    assert unfinished([before, by_itself]) == []
    assert last_cutover([before, by_itself]) == before
    assert before.moves_the_way_back
    assert not by_itself.moves_the_way_back, "what it was found in is still to be known"


NOW = {"project": {"code_sha256": "c"}, "inputs": {"variables": {"a": 1}, "groups": {}}}


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        pytest.param(run(("step", BEGUN), manifest=NOW), None, id="just interrupted"),
        pytest.param(run(("step", BEGUN), name=ROLLBACK, manifest=NOW), "it is a rollback", id="a rollback"),
        pytest.param(run(("step", BEGUN), ("closed", {}), manifest=NOW), "its own decision", id="ended"),
        pytest.param(run(("opened", {}), manifest=NOW), "not begun any step", id="changed nothing"),
        pytest.param(run(("step", BEGUN), manifest=NOW | {"drill": DRILL}), "part of the drill", id="a drill's"),
        pytest.param(
            run(("step", BEGUN), ("decision", {"gate": "going_back"}), manifest=NOW), "going back", id="going back"
        ),
        pytest.param(run(("step", BEGUN), manifest=NOW | {"project": {}}), "not what it was", id="other code"),
        pytest.param(
            run(("step", BEGUN), manifest=NOW | {"inputs": {"variables": {"a": 2}}}),
            "what they were: a",
            id="other inputs",
        ),
        pytest.param(run(problem="torn"), "torn", id="not believed"),
    ],
)
def test_a_run_is_resumed_only_where_nothing_else_has_changed(told: PastRun, reason: str | None) -> None:
    reasons = against_resuming(told, NOW)
    assert not reasons if reason is None else reason in "; ".join(reasons)


def test_what_says_how_to_go_on_is_no_change_of_the_inputs() -> None:
    before = {"variables": {"a": 1, "b": 2, "__seen": 1}, "groups": {"all": ["x"]}}
    now = {"variables": {"a": 1, "resume": "RUN", "run_lock_break": "RUN"}, "groups": {"all": ["x", "y"]}}
    assert changed_inputs(before, now) == ["all", "b"]


@pytest.mark.parametrize("name", ["", "lost+found", ".lock", "cutover", "x-cutover-1"])
def test_what_is_no_run_has_no_verb(name: str) -> None:
    assert verb_of(name) == ""


# --- on the disk ------------------------------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    directory = tmp_path / "lab" / CUTOVER
    directory.mkdir(parents=True)
    (directory / "manifest.json").write_text('{"opened_at": "2026-01-31T12:00:00Z"}')
    journal = Journal(path=directory / "journal.jsonl", run=CUTOVER)
    journal.append("opened", {})
    journal.append("step", BEGUN)
    return journal


def test_a_journal_is_held_as_long_as_somebody_writes_it(journal: Journal) -> None:
    with journal.path.open("rb") as another:
        fcntl.flock(another, fcntl.LOCK_SH)
        assert not is_held(journal.path), "who asks at the same time is no writer"
    with open(hold(journal.path), "rb"):
        assert is_held(journal.path)
        assert read_run(journal.path.parent).alive
    assert not is_held(journal.path)


def test_a_last_line_that_a_loss_of_power_cut_short_is_left_out_and_written_over(journal: Journal) -> None:
    with journal.path.open("a") as file:
        file.write('{"data":{"na')
    with pytest.raises(JournalBroken, match="torn"):
        read_journal(journal.path)
    records = read_journal(journal.path, torn_end=True)
    assert read_run(journal.path.parent).steps == {"migrate": "begun"}
    journal.go_on_after(records)
    journal.append("interrupted", {"cause": "SIGTERM"})
    assert [record["kind"] for record in read_journal(journal.path)] == ["opened", "step", "interrupted"]


def test_a_run_whose_journal_was_changed_is_not_believed(journal: Journal) -> None:
    journal.path.write_text(journal.path.read_text().replace("migrate", "nothing"))
    (told,) = past_runs(journal.path.parent.parent)
    assert "cannot be believed" in str(told.problem)
    assert unfinished([told]) == [told]


def test_runs_come_in_their_order_and_what_is_none_is_passed_over(journal: Journal) -> None:
    environment = journal.path.parent.parent
    (environment / "lost+found").mkdir()
    (environment / ROLLBACK).mkdir()
    (environment / "20260131T140000Z-readiness-ef56").mkdir()
    assert [told.id for told in past_runs(environment)] == [CUTOVER, ROLLBACK]
    assert [told.id for told in past_runs(environment, besides=CUTOVER)] == [ROLLBACK]
    assert past_runs(environment / "nowhere") == []


GO = ("closed", {})


@pytest.mark.parametrize(
    ("told", "settles"),
    [
        pytest.param(run(("step", BEGUN), GO, verdict="go"), True, id="cutover, go"),
        pytest.param(run(("step", BEGUN), ("decision", BACK), GO, verdict="no-go"), True, id="cutover, went back"),
        pytest.param(run(("step", BEGUN), ("decision", BACK)), False, id="cutover, went back and was killed"),
        pytest.param(run(GO, verdict="go"), False, id="cutover that changed nothing"),
        pytest.param(run(("step", BEGUN), GO, verdict="no-go"), False, id="cutover that did not go back"),
        pytest.param(run(("step", BEGUN), GO, verdict="go", manifest={"check_mode": True}), False, id="rehearsal"),
        pytest.param(run(("step", BEGUN), ("decision", BACK), GO, manifest={"drill": DRILL}), False, id="of a drill"),
        pytest.param(
            run(("step", BEGUN), GO, name=ROLLBACK, verdict="go"), False, id="rollback: drills are not its task"
        ),
        pytest.param(run(GO, name=DRILL["run"], verdict="go"), True, id="drills, go"),
        pytest.param(run(GO, name=DRILL["run"], verdict="no-go"), False, id="drills, no-go"),
        pytest.param(
            run(GO, name=DRILL["run"], verdict="go", manifest={"check_mode": True}), False, id="drills, in check mode"
        ),
        pytest.param(run(name=DRILL["run"], problem="line 3", verdict="go"), False, id="drills that are not believed"),
    ],
)
def test_who_could_not_have_ended_so_while_something_before_was_open_settles_all_before(
    told: PastRun, settles: bool
) -> None:
    assert told.settles_all_before is settles


def _write(
    environment: Path, name: str, *told: tuple[str, dict[str, Any]], verdict: str = "go", **manifest: Any
) -> None:
    directory = environment / name
    directory.mkdir(parents=True)
    (directory / "manifest.json").write_text(json.dumps(manifest))
    journal = Journal(path=directory / "journal.jsonl", run=name)
    for kind, data in (("opened", {}), *told, ("closed", {"verdict": verdict})):
        journal.append(kind, data)


def test_nights_of_drills_are_passed_over_up_to_where_the_way_back_leads(tmp_path: Path) -> None:
    _write(tmp_path, "20260101T120000Z-cutover-0001", ("step", BEGUN))
    _write(tmp_path, "20260102T120000Z-cutover-0002", ("step", BEGUN))
    _write(tmp_path, "20260103T120000Z-cutover-0003", ("step", BEGUN), check_mode=True)
    for night in range(4, 9):
        _write(tmp_path, f"2026010{night}T120000Z-drills-0001")
        _write(tmp_path, f"2026010{night}T120100Z-cutover-0002", ("step", BEGUN), drill=DRILL)
        _write(tmp_path, f"2026010{night}T120200Z-rollback-0003", ("step", BEGUN), ("decision", BACK), drill=DRILL)
    read = past_runs(tmp_path)
    assert [told.id[:8] for told in read] == ["20260102", *["20260108"] * 3]
    assert last_cutover(read) == read[0]
    _write(tmp_path, "20260109T120000Z-drills-0001", verdict="no-go")
    assert [told.id[:8] for told in past_runs(tmp_path)] == ["20260102", *["20260108"] * 3, "20260109"]


@pytest.mark.parametrize(
    "settled_by",
    [
        pytest.param(
            [("20260103T120000Z-rollback-0001", [("step", BEGUN), ("decision", BACK)], {})], id="gone back from"
        ),
        pytest.param(
            [("20260103T120000Z-drills-0001", [], {"set_aside": ["20260102T120000Z-cutover-0002"]})], id="set aside"
        ),
    ],
)
def test_what_was_settled_before_a_night_of_drills_stays_settled(tmp_path: Path, settled_by: list[Any]) -> None:
    _write(tmp_path, "20260102T120000Z-cutover-0002", ("step", BEGUN), verdict="no-go")
    assert [told.id[:8] for told in unfinished(past_runs(tmp_path))] == ["20260102"]
    for name, told, manifest in settled_by:
        _write(tmp_path, name, *told, **manifest)
    for night in range(4, 7):
        assert unfinished(past_runs(tmp_path)) == []
        _write(tmp_path, f"2026010{night}T120000Z-drills-0001")
    read = past_runs(tmp_path)
    assert [told.id[:8] for told in read] == ["20260102", "20260106"]
    assert last_cutover(read) == read[0]


def test_a_cutover_whose_manifest_cannot_be_read_is_read_as_a_whole(tmp_path: Path) -> None:
    _write(tmp_path, "20260102T120000Z-cutover-0002", ("step", BEGUN), drill=DRILL)
    (tmp_path / "20260102T120000Z-cutover-0002/manifest.json").write_text("{")
    _write(tmp_path, "20260103T120000Z-drills-0001")
    assert [told.problem is None for told in past_runs(tmp_path)] == [False, True]


def test_nothing_matters_any_more_before_a_cutover_that_came_to_its_end(journal: Journal) -> None:
    journal.append("closed", {"verdict": "go"})
    environment = journal.path.parent.parent
    for name in ("20260131T110000Z-cutover-0000", "20260131T120000Z-cutover-0001", ROLLBACK):
        (environment / name).mkdir()
    assert [told.id for told in past_runs(environment)] == ["20260131T120000Z-cutover-0001", CUTOVER, ROLLBACK]


def test_a_drill_that_was_begun_is_open_until_somebody_has_seen_that_all_is_well() -> None:
    begun = {"drill": "redis_refused", "state": "begun", "fault": "f1", "host": "cache1", "run": "r1"}
    killed = run(("drill", begun), name="20260131T120000Z-drills-ab12")
    other = run(("drill", {**begun, "fault": "f2"}), ("drill", {**begun, "fault": "f2", "state": "recovered"}))
    assert open_drills([killed, other]) == [begun]
    assert not killed.is_settled
    later = run(("drill", {**begun, "state": "recovered"}), name="20260131T130000Z-drills-cd34")
    assert open_drills([killed, later]) == []
    # What it leaves is not gone back from: a rollback has nothing to do with it.
    assert unfinished([killed]) == []
