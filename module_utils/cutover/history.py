# SPDX-License-Identifier: GPL-3.0-or-later
"""What the directory of an environment tells a drift run: the run before it, and whether anything is being changed.

Only reads, and takes no lock: asking for one could refuse it to a cutover that begins at that moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from .evidence import JOURNAL_NAME
from .journal import JournalBroken, Record, read_journal
from .runs import CHANGING_VERBS, verb_of

LOCKS = Path("/proc/locks")


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """An earlier drift run that recorded a comparison."""

    run: str
    opened_at: datetime
    drift: dict[str, Any]


def earlier_drift_runs(directory: Path, *, before: str) -> Iterator[Earlier]:
    """Drift runs that opened before the one of that id, newest first. One whose journal is broken is passed over."""
    runs = sorted((path for path in directory.glob("*-drift-*") if path.name < before), reverse=True)
    for path in runs:
        try:
            records = read_journal(path / JOURNAL_NAME)
        except JournalBroken:
            continue
        if drift := _last(records, "drift"):
            yield Earlier(run=path.name, opened_at=datetime.fromisoformat(records[0]["time"]), drift=drift)


def _last(records: list[Record], kind: str) -> dict[str, Any] | None:
    return next((record["data"] for record in reversed(records) if record["kind"] == kind), None)


def running(directory: Path) -> str | None:
    """The newest run that changes the environment and is still being written; ``None`` when there is none.

    Whoever writes a run holds its journal (``journal.hold``): the kernel's list of locks tells so, and none is taken.
    """
    try:
        held = {_inode(line) for line in LOCKS.read_text(encoding="ascii").splitlines()}
    except OSError:
        return None
    changing = (path for path in directory.glob("*-*-*") if verb_of(path.name) in CHANGING_VERBS)
    unfinished = (path for path in changing if not (path / "decision.json").exists())
    return max((path.name for path in unfinished if _inode_of(path / JOURNAL_NAME) in held), default=None)


def _inode_of(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _inode(line: str) -> int | None:
    """``1: FLOCK  ADVISORY  WRITE 4242 fe:01:131073 0 EOF``, see proc_locks(5)."""
    words = line.split()
    try:
        return int(words[words.index("FLOCK") + 4].rsplit(":", 1)[1])
    except (ValueError, IndexError):
        return None
