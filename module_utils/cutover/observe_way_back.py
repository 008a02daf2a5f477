# SPDX-License-Identifier: GPL-3.0-or-later
"""Look for what the way back rests on: what the hosts have told, and what the evidence of the environment tells."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from .checks import CannotObserve, Known
from .evidence import JOURNAL_NAME
from .judge_way_back import Kept, Past, Policy, WayBack
from .pool import Deadline
from .read_runs import read_run
from .runs import PastRun

Options = Mapping[str, Any]
Clock = Callable[[], float]

# A run's evidence is believed, and so read whole, only when it may hold one of these.
_TELLING = (b'"component":"backup"', b'"component":"restore"', b'"name":"go_back"')


def look_at_way_back(target: Options, deadline: Deadline, *, clock: Clock = time.time) -> WayBack:
    """What the way back of ``target`` rests on; its options are those of way_back_check.

    Raises ``CannotObserve`` when there is no evidence to look through.
    """
    folder = Path(target["evidence_dir"])
    if not folder.is_dir():
        raise CannotObserve(f"{folder} is no directory: the evidence of this environment is somewhere else")
    now = clock()
    past = _Past(now, list(target.get("backups") or ()), target.get("newest") or {})
    for run in _telling_runs(folder):
        if past.is_complete or deadline.left_s() < 1:
            break
        past.take(run)
    if target.get("rehearsals_dir"):
        past.take_rehearsals(Path(target["rehearsals_dir"]), deadline)
    return WayBack(
        release=target["release"],
        releases=target["releases"],
        hosts=[_kept(host) for host in target["hosts"]],
        policy=_policy(target),
        backups=past.backups,
        restore=past.restore or CannotObserve("no restore is proven by the evidence of this environment"),
        rollback=past.rollback or CannotObserve("the evidence of this environment tells of no going back"),
    )


def _kept(host: Options) -> Known[Kept]:
    if host.get("cause"):
        return CannotObserve(f"{host['host']}: {host['cause']}")
    return Kept(**{name: host[name] for name in Kept.__dataclass_fields__ if host.get(name) is not None})


def _policy(target: Options) -> Policy | None:
    if not target.get("policy"):
        return None
    return Policy(
        name=target["policy"],
        backed_up=target.get("backups") or (),
        restorable=target.get("restorable") or (),
        acknowledged=bool(target.get("acknowledged")),
    )


def _telling_runs(folder: Path) -> Iterator[PastRun]:
    """Runs that tell of backups, restores or ways back, newest first. One that cannot be believed is passed over."""
    for directory in sorted((path for path in folder.iterdir() if path.is_dir()), reverse=True):
        try:
            content = (directory / JOURNAL_NAME).read_bytes()
        except OSError:
            continue
        if any(part in content for part in _TELLING):
            run = read_run(directory)
            if not run.problem:
                yield run


class _Past:
    """The newest backup of each name, the newest proven restore and the newest way back, found run by run."""

    def __init__(self, now: float, names: Sequence[str], newest: Mapping[str, Any]) -> None:
        self.now = now
        self._backups: dict[str, Past | None] = dict.fromkeys(names)
        self.restore: Past | None = None
        self.rollback: Past | None = None
        for name, file in newest.items():
            self._backups[name] = Past(age_s=self._age(float(file["mtime"])), what=file["path"])

    @property
    def is_complete(self) -> bool:
        return bool(self.restore and self.rollback and all(self._told.values()))

    @property
    def _told(self) -> dict[str, bool]:
        return {name: past is not None and past.run is not None for name, past in self._backups.items()}

    @property
    def backups(self) -> dict[str, Known[Past]]:
        return {
            name: past or CannotObserve(f"no backup of {name} is known: neither to the evidence nor where it is kept")
            for name, past in self._backups.items()
        }

    def take(self, run: PastRun) -> None:
        for record in reversed(run.records):
            if record["kind"] == "verdict" and record["data"].get("ok") is True:
                self._take_verdict(run.id, record)
        self.rollback = self.rollback or self._way_back(run)

    def take_rehearsals(self, folder: Path, deadline: Deadline) -> None:
        """The newest way back of the environment in which going back is rehearsed, where that is newer than our own."""
        if not folder.is_dir():
            raise CannotObserve(f"{folder} is no directory: the evidence of rehearsals is somewhere else")
        for run in _telling_runs(folder):
            if deadline.left_s() < 1:
                return
            if rehearsed := self._way_back(run):
                if self.rollback is None or rehearsed.age_s < self.rollback.age_s:
                    self.rollback = rehearsed
                return

    def _take_verdict(self, run: str, record: Mapping[str, Any]) -> None:
        verdict = record["data"]
        recorded = verdict.get("recorded") or {}
        age_s = self._age(_moment(record["time"]))
        if verdict.get("component") == "restore" and self.restore is None:
            took_s = recorded.get("restore_s")
            self.restore = Past(age_s=age_s, took_s=took_s, what=_file(recorded), run=run)
        if verdict.get("component") == "backup" and verdict.get("subject") in self._backups:
            name = str(verdict["subject"])
            found, past = self._backups[name], Past(age_s=age_s, what=_file(recorded), run=run)
            if found is None or past.age_s < found.age_s:
                self._backups[name] = past

    def _way_back(self, run: PastRun) -> Past | None:
        """Of a run that went back wholly: from its decision to go back until all of it was judged."""
        if run.is_rehearsal or not run.went_back or not run.back_at or run.back_took_s is None:
            return None
        age_s = self._age(_moment(run.back_at))
        return Past(age_s=age_s, took_s=run.back_took_s, what=f"went back in a {run.verb}", run=run.id)

    def _age(self, moment_s: float) -> float:
        return round(max(0.0, self.now - moment_s), 1)


def _file(recorded: Mapping[str, Any]) -> str:
    """The backup's file, as postgres_backup, restore_check and postgres_restore each call it."""
    return str(recorded.get("path") or recorded.get("backup") or recorded.get("dump") or "")


def _moment(time_text: str) -> float:
    return datetime.fromisoformat(time_text).timestamp()
