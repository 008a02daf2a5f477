# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that cuts over for a drill: it goes back whatever has come of that, and whoever has started it."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.cutover.drill_cutover import Plan, is_back, left_by, start
from cutover.locking import ALIVE, against_lending, fate_of
from cutover.read_runs import is_at_work, read_run
from cutover.ticks import ticks

PARENT = "20260131T120000Z-drills-0001"
DRILL = {"run": PARENT, "drill": "rehearsal"}
# Writes a run as a playbook does: python run.py ENVIRONMENT ID RECORDS [SECONDS], and what it was told into a file.
RUN = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from cutover.journal import Journal, canonical, digest
_, _, environment, name, records, seconds, *told = sys.argv
where = Path(environment) / name
where.mkdir()
manifest = canonical({"drill": DRILL})
(where / "manifest.json").write_text(manifest)
journal = Journal(path=where / "journal.jsonl", run=name)
journal.append("opened", {"manifest_sha256": digest(manifest)})
for kind, data in json.loads(records):
    journal.append(kind, data)
(where / "told").write_text(json.dumps(told))
print("said", name, flush=True)
time.sleep(float(seconds))
""".replace("DRILL", repr(DRILL))
STEP = ["step", {"name": "shift", "state": "begun"}]
BACK = ["decision", {"gate": "back", "verdict": "go"}]
NOT_BACK = ["decision", {"gate": "back", "verdict": "no-go"}]
GO, NO_GO = ["closed", {"verdict": "go"}], ["closed", {"verdict": "no-go"}]

Make = Callable[..., Plan]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A plan whose two commands leave runs with these records; the cutover may take its time."""
    (tmp_path / "run.py").write_text(RUN)
    utils = str(Path(__file__).resolve().parents[2] / "module_utils")

    def command(name: str, records: list[Any], seconds: float = 0) -> list[str]:
        words = [str(tmp_path / "run.py"), utils, str(tmp_path), name, json.dumps(records), str(seconds)]
        return [sys.executable, *words]

    def plan(cutover: list[Any], rollback: list[Any], *, seconds: float = 0, limit_s: float = 60) -> Plan:
        return Plan(
            cutover=command("20260131T120001Z-cutover-0002", cutover, seconds),
            rollback=command("20260131T120101Z-rollback-0003", rollback),
            environment_dir=str(tmp_path), drill=DRILL, limit_s=limit_s,
        )  # fmt: skip

    return plan


def played(plan: Plan) -> tuple[Any, Any]:
    assert start(plan).wait(60) == 0
    return left_by(plan)


@pytest.mark.parametrize(
    "cutover",
    [
        pytest.param([["opened", {}], NO_GO], id="moved nothing"),
        pytest.param([STEP, BACK, NO_GO], id="went back by itself"),
    ],
)
def test_what_is_as_it_was_is_left_alone(make: Make, cutover: list[Any]) -> None:
    run, rollback = played(make(cutover, [BACK, GO]))
    assert run is not None
    assert rollback is None
    assert is_back(run, rollback)


@pytest.mark.parametrize(
    "cutover",
    [
        pytest.param([STEP, GO], id="a go"),
        pytest.param([STEP, NOT_BACK, NO_GO], id="half back"),
        pytest.param([STEP], id="cut short"),
    ],
)
def test_all_else_is_gone_back_from_by_its_name(make: Make, cutover: list[Any]) -> None:
    run, rollback = played(make(cutover, [STEP, BACK, GO]))
    assert is_back(run, rollback)
    assert json.loads((Path(rollback.directory) / "told").read_text())[-1] == json.dumps({"rollback_to": run.id})


def test_a_way_back_that_fails_is_tried_again_and_is_no_way_back(make: Make) -> None:
    plan = make([STEP, GO], [STEP, NOT_BACK, NO_GO])
    run, rollback = played(plan)
    assert not is_back(run, rollback)
    assert plan.log.read_text().count("FileExistsError") == 2, (
        "the directory was there at the second and the third time"
    )


def test_a_cutover_that_takes_too_long_is_ended_and_gone_back_from(make: Make) -> None:
    run, rollback = played(make([STEP], [STEP, BACK, GO], seconds=600, limit_s=3))
    assert run.interrupted
    assert is_back(run, rollback)


def test_whoever_looks_sees_that_somebody_is_at_work_although_the_parent_is_gone(make: Make, tmp_path: Path) -> None:
    parent = tmp_path / PARENT
    opened = [["drill", {**DRILL, "fault": "f", "host": "localhost", "state": "begun"}], NO_GO]
    words = [str(Path(__file__).resolve().parents[2] / "module_utils"), str(tmp_path), PARENT, json.dumps(opened), "0"]
    plan = make([STEP, GO], [STEP, BACK, GO], seconds=5)
    subprocess.run([sys.executable, tmp_path / "run.py", *words], check=True, capture_output=True)
    holder = {"id": PARENT, "dir": str(parent), "verb": "drills"}
    assert not is_at_work(parent)
    process = start(plan)
    assert fate_of(holder) == ALIVE
    assert against_lending(holder, DRILL) == ""
    assert stat.S_IMODE(plan.log.stat().st_mode) == 0o600
    for _ in ticks(total_s=10, every_s=0.1):
        if plan.log.read_text():
            break
    for each in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        os.kill(process.pid, each)
    assert process.wait(60) == 0
    assert is_back(*left_by(plan))
    assert not is_at_work(parent)


def test_a_lock_is_lent_only_by_the_run_that_is_at_that_drill(make: Make, tmp_path: Path) -> None:
    assert "does not have the environment in hand" in against_lending(None, DRILL)
    assert "does not have the environment in hand" in against_lending({"id": "another", "dir": str(tmp_path)}, DRILL)
    words = [str(Path(__file__).resolve().parents[2] / "module_utils"), str(tmp_path), PARENT, "[]", "0"]
    make([], [])
    subprocess.run([sys.executable, tmp_path / "run.py", *words], check=True, capture_output=True)
    holder = {"id": PARENT, "dir": str(tmp_path / PARENT)}
    assert "does not play the drill rehearsal just now" in against_lending(holder, DRILL)


def test_a_manifest_that_was_changed_is_not_believed(make: Make, tmp_path: Path) -> None:
    run, _ = played(make([STEP, GO], [STEP, BACK, GO]))
    (Path(run.directory) / "manifest.json").write_text("{}")
    told = read_run(run.directory)
    assert told.problem == "its manifest was changed after it was opened"
    assert not told.is_settled
