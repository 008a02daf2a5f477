# SPDX-License-Identifier: GPL-3.0-or-later
"""way_back_check on hosts that are folders and on evidence as it is written: each finding green, and red by itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import release_state
import way_back_check
from cutover.journal import Journal
from findings import findings, green, red

RunModule = Callable[..., dict[str, Any]]
BUILT = hashlib.sha256(b"shop-1.4.1").hexdigest()
ALWAYS = ["reachable", "release.listed", "release.present", "release.startable"]
EXPECTED = {
    "note": True, "environment": True, "policy": True, "max_backup_age_s": 3600, "max_restore_age_s": 3600,
    "max_rollback_age_s": 10000,
    "max_rollback_s": 30,
}  # fmt: skip
BACKUP = ("verdict", {"component": "backup", "subject": "shop", "ok": True, "recorded": {"path": "/b/shop-1.dump"}})
RESTORE = (
    "verdict",
    {"component": "restore", "subject": "shop", "ok": True, "recorded": {"backup": "/b/shop-1.dump", "restore_s": 4.5}},
)
WENT_BACK = (
    ("step", {"name": "go_back", "state": "begun"}),
    ("decision", {"gate": "back", "verdict": "go", "blocking": []}),
)


class Place:
    """A host with a release, and an environment with evidence."""

    def __init__(self, folder: Path, run_module: RunModule) -> None:
        self.release, self.run_module = folder / "releases/1.4.1", run_module
        self.evidence, self.env_file = folder / "artifacts/shop", folder / "environment"
        (self.release / "bin").mkdir(parents=True)
        (self.release / "bin/web").write_text("#!/bin/sh\n")
        (self.release / "bin/web").chmod(0o755)
        (self.release / ".archive.sha256").write_text(BUILT)
        self.env_file.write_text("PORT=1\n")
        self.evidence.mkdir(parents=True)

    def ran(self, *told: tuple[str, dict[str, Any]], ago_s: float = 60, verb: str = "rollback") -> Path:
        """A run of some time ago whose journal tells this, a second apart."""
        start = datetime.now(UTC) - timedelta(seconds=ago_s)
        directory = self.evidence / f"{start.strftime('%Y%m%dT%H%M%SZ')}-{verb}-ab12"
        directory.mkdir()
        (directory / "manifest.json").write_text(json.dumps({"check_mode": False}))
        moments = iter(start + timedelta(seconds=second) for second in range(len(told) + 1))
        journal = Journal(path=directory / "journal.jsonl", run=directory.name, clock=lambda: next(moments))
        for kind, data in (("opened", {}), *told):
            journal.append(kind, data)
        return directory

    def kept(self) -> dict[str, Any]:
        asked = {"host": "web1", "release_dir": str(self.release), "start_files": ["bin/web"]}
        told = self.run_module(release_state, **asked, env_file=str(self.env_file))
        assert told["changed"] is False
        return {**told["kept"], "archive": BUILT}

    def check(self, expected: dict[str, Any] | None = None, **other: Any) -> dict[str, Any]:
        target = {
            "name": "shop", "evidence_dir": str(self.evidence), "release": "1.4.1", "releases": ["1.4.1", "1.5.0"],
            "hosts": [self.kept()], "policy": "restore", "backups": ["shop"], "restorable": ["shop"],
        }  # fmt: skip
        return self.run_module(
            way_back_check, targets=[target | other], expected=EXPECTED if expected is None else expected,
            report_only=True,
        )  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, run_module: RunModule) -> Place:
    return Place(tmp_path, run_module)


def test_everything_is_green_and_the_way_back_is_told(place: Place) -> None:
    place.ran(BACKUP, RESTORE, *WENT_BACK)
    result = place.check()
    assert red(result) == []
    assert green(result) == sorted(
        [
            *ALWAYS, "release.note", "environment.present", "policy", "backup.age_s", "restore.age_s",
            "rollback.age_s", "rollback.took_s",
        ]
    )  # fmt: skip
    recorded = result["verdicts"][0]["recorded"]
    assert (recorded["release"], recorded["hosts"], recorded["policy"]) == ("1.4.1", ["web1"], "restore")
    assert recorded["backups"]["shop"]["what"] == recorded["restore"]["what"] == "/b/shop-1.dump"
    assert (recorded["restore"]["took_s"], recorded["rollback"]["took_s"]) == (4.5, 1.0)


def test_without_anything_declared_it_is_judged_that_the_release_is_there(place: Place) -> None:
    result = place.check({})
    assert green(result) == ALWAYS
    recorded = result["verdicts"][0]["recorded"]
    assert recorded["restore"] == "no restore is proven by the evidence of this environment"
    assert recorded["rollback"] == "the evidence of this environment tells of no going back"


def break_listed(place: Place) -> dict[str, Any]:
    return {"releases": ["1.5.0"]}


def break_present(place: Place) -> dict[str, Any]:
    place.release.rename(place.release.with_name("1.4.1.gone"))
    return {}


def break_note(place: Place) -> dict[str, Any]:
    (place.release / ".archive.sha256").write_text("0" * 64)
    return {}


def break_startable(place: Place) -> dict[str, Any]:
    (place.release / "bin/web").chmod(0o644)
    return {}


def break_environment(place: Place) -> dict[str, Any]:
    place.env_file.unlink()
    return {}


def break_policy(place: Place) -> dict[str, Any]:
    return {"policy": "none"}


@pytest.mark.parametrize(
    ("broken", "wrong"),
    [
        (break_listed, "release.listed"),
        (break_present, "release.present"),
        (break_note, "release.note"),
        (break_startable, "release.startable"),
        (break_environment, "environment.present"),
        (break_policy, "policy"),
    ],
)
def test_what_is_broken_is_red_and_nothing_else(
    place: Place, broken: Callable[[Place], dict[str, Any]], wrong: str
) -> None:
    place.ran(BACKUP, RESTORE, *WENT_BACK)
    assert red(place.check(**broken(place))) == [wrong]


@pytest.mark.parametrize(
    ("expected", "wrong"),
    [
        ({"max_backup_age_s": 1}, "backup.age_s"),
        ({"max_restore_age_s": 1}, "restore.age_s"),
        ({"max_rollback_age_s": 1}, "rollback.age_s"),
        ({"max_rollback_s": 0.1}, "rollback.took_s"),
    ],
)
def test_what_is_too_old_or_too_slow_is_red_and_what_the_evidence_does_not_tell_is_an_error(
    place: Place, expected: dict[str, Any], wrong: str
) -> None:
    unknown = place.check(expected)
    assert (red(unknown), findings(unknown)[wrong]["status"]) == ([wrong], "error")
    place.ran(BACKUP, RESTORE, *WENT_BACK)
    late = place.check(expected)
    assert (red(late), findings(late)[wrong]["status"]) == ([wrong], "fail")


def test_the_newest_that_is_believed_counts_and_what_failed_proves_nothing(place: Place) -> None:
    place.ran(BACKUP, RESTORE, *WENT_BACK, ago_s=7200)
    failed = {"component": "restore", "subject": "shop", "ok": False}
    place.ran(("verdict", failed), ago_s=600, verb="readiness")
    forged = place.ran(RESTORE, ago_s=300, verb="readiness") / "journal.jsonl"
    forged.write_text(forged.read_text().replace("4.5", "1.5"))
    not_back = ({**WENT_BACK[1][1], "verdict": "no-go"},)
    place.ran(WENT_BACK[0], ("decision", not_back[0]), ago_s=100)
    result = place.check(newest={"shop": {"path": "/b/shop-2.dump", "mtime": datetime.now(UTC).timestamp() - 50}})
    assert red(result) == ["restore.age_s"]
    recorded = result["verdicts"][0]["recorded"]
    assert recorded["backups"]["shop"]["what"] == "/b/shop-2.dump"
    assert 7100 < recorded["rollback"]["age_s"] < 7300


def test_a_way_back_counts_that_was_rehearsed_in_another_environment(
    place: Place, run_module: RunModule, tmp_path: Path
) -> None:
    staging = Place(tmp_path / "staging", run_module)
    expected = {"max_rollback_age_s": 600}
    rehearsed = {"rehearsals_dir": str(staging.evidence)}
    assert findings(place.check(expected, **rehearsed))["rollback.age_s"]["status"] == "error"
    staging.ran(*WENT_BACK, ago_s=300)
    assert red(place.check(expected, **rehearsed)) == []
    assert red(place.check({"max_rollback_age_s": 60}, **rehearsed)) == ["rollback.age_s"]
    place.ran(*WENT_BACK, ago_s=30)
    assert red(place.check({"max_rollback_age_s": 60}, **rehearsed)) == [], "the newest counts"
    assert red(place.check(expected, rehearsals_dir=str(tmp_path / "nowhere"))) == ["reachable"]


def test_evidence_that_is_somewhere_else_and_hosts_that_do_not_tell_are_no_pass(place: Place) -> None:
    gone = place.check(evidence_dir=str(place.release / "bin/web"))
    assert red(gone) == ["reachable"]
    mute = place.check({}, hosts=[place.kept(), {"host": "web2", "cause": "Connection refused"}])
    assert red(mute) == ["release.present"]
    assert findings(mute)["release.present"]["cause"] == "web2: Connection refused"
    assert findings(place.check({}, hosts=[]))["release.present"]["cause"] == "no host was looked at"
    undeclared = place.check({}, hosts=[{**place.kept(), "start": {}}])
    assert red(undeclared) == ["release.startable"]
    assert "Declare release_start_files" in findings(undeclared)["release.startable"]["cause"]


@pytest.mark.parametrize(
    ("options", "lacks"),
    [
        pytest.param({"policy": "keep"}, "", id="keep"),
        pytest.param({"policy": "none", "acknowledged": True}, "", id="acknowledged"),
        pytest.param({"policy": "undo"}, "undo is none of keep, downgrade, restore, none", id="unknown"),
        pytest.param({"restorable": []}, "migrations_restore_targets names no database", id="nothing to restore"),
        pytest.param({"restorable": ["stock"]}, "no backup is taken of stock", id="not backed up"),
    ],
)
def test_a_policy_says_what_it_lacks(place: Place, options: dict[str, Any], lacks: str) -> None:
    found = findings(place.check({"policy": True}, **options))["policy"]
    assert (found["observed"]["lacks"], found["status"]) == (lacks, "fail" if lacks else "pass")
