# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true of the newest backup when it is tried out in a scratch database (checklist rows C9, C21, D9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from .checks import CannotObserve, Check, Known, known


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A backup brought back into a scratch database.

    ``restore_s`` is the time until it could have been used. ``differing`` are tables with other rows than the dump has.
    ``compared`` says, by table, how many rows only the source has now, and how many only the backup.
    """

    restore_s: float
    tables: int
    rows: int
    differing: Mapping[str, Any]
    compared: Mapping[str, tuple[int, int]]
    amcheck: Known[str]


@dataclass(frozen=True, kw_only=True)
class RestoreObservation:
    """The newest backup. ``age_s`` is the time since it was begun: what was written since would be lost.

    ``left`` are scratch databases that are still there.
    """

    backup: str
    age_s: float
    is_as_recorded: Known[bool]
    trial: Known[Trial]
    left: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """What evidence keeps of it."""
        trial = {} if isinstance(self.trial, CannotObserve) else self._kept(self.trial)
        return {"backup": self.backup, "age_s": self.age_s, **trial}

    @staticmethod
    def _kept(trial: Trial) -> dict[str, Any]:
        changed = {table: list(rows) for table, rows in trial.compared.items() if any(rows)}
        same = sorted(set(trial.compared) - set(changed))
        facts = {"restore_s": trial.restore_s, "tables": trial.tables, "rows": trial.rows}
        return {**facts, "same_as_source": same, "changed_since": changed}


def restore_checks(expected: Mapping[str, Any]) -> Iterator[Check[RestoreObservation]]:
    """Every check that the expectation implies. The backup is always brought back and compared with its dump."""
    if "max_age_s" in expected:
        yield _at_most(
            "backup.age_s", expected["max_age_s"], lambda seen: seen.age_s, "back up more often, and see why it was not"
        )
    yield Check(
        name="backup.sha256",
        expected=True,
        look=lambda seen: known(seen.is_as_recorded),
        remedy="the file is not the one that was recorded beside it: find out what changed it, and back up again",
    )
    yield _of_trial("restore.rows", {}, lambda trial: trial.differing, "see what pg_restore said")
    if "min_tables" in expected:
        least = expected["min_tables"]
        yield Check(
            name="restore.tables",
            expected=f">= {least}",
            look=lambda seen: known(seen.trial).tables,
            holds=lambda tables: tables >= least,
            needs="backup.sha256",
            remedy="see that the whole database is backed up",
        )
    if "max_restore_s" in expected:
        yield _at_most(
            "restore.restore_s",
            expected["max_restore_s"],
            lambda seen: known(seen.trial).restore_s,
            "restore by more jobs, on faster disks, or by another way than a dump",
        )
    if expected.get("amcheck"):
        yield _of_trial("restore.amcheck", "", lambda trial: known(trial.amcheck), "read pg_amcheck's words")
    for table in sorted(expected.get("same_tables", [])):
        remedy = "see whether the source has been written to, or the backup does not hold all of it"
        yield _of_trial(f"restore.same.{table}", [0, 0], partial(_difference, table), remedy)
    yield Check(
        name="restore.left_behind",
        expected=[],
        look=lambda seen: list(seen.left),
        remedy="drop the scratch database by hand, or let the next trial do it",
    )


def _difference(table: str, trial: Trial) -> list[int]:
    if table not in trial.compared:
        raise CannotObserve(f"the source has no table {table}")
    return list(trial.compared[table])


def _at_most(name: str, most: float, look: Any, remedy: str) -> Check[RestoreObservation]:
    return Check(name=name, expected=f"<= {most}", look=look, holds=lambda seen: seen <= most, remedy=remedy)


def _of_trial(name: str, expected: Any, look: Any, remedy: str) -> Check[RestoreObservation]:
    return Check(
        name=name,
        expected=expected,
        look=lambda seen: look(known(seen.trial)),
        needs="backup.sha256",
        remedy=remedy,
    )
