# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true of the newest backup when it is tried out in a scratch database (checklist rows C9, C21, D9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from .checks import CannotObserve, Check, Known, known

DIFFERENCES_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class RoundTrip:
    """Migrations of a scratch database: up to the head, one down, up again. A leg is its complaint, empty when done.

    ``heads`` and ``at`` are revisions after the first leg, ``schema_differs`` the lines by which the schema differs in
    the end.
    """

    up: str
    heads: tuple[str, ...] = ()
    at: tuple[str, ...] = ()
    down: str = ""
    up_again: str = ""
    schema_differs: tuple[str, ...] = ()


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
    round_trip: Known[RoundTrip] | None = None


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
    if expected.get("round_trip"):
        yield from _round_trip_checks()
    for table in sorted(expected.get("same_tables", [])):
        remedy = "see whether the source has been written to, or the backup does not hold all of it"
        yield _of_trial(f"restore.same.{table}", [0, 0], partial(_difference, table), remedy)
    yield Check(
        name="restore.left_behind",
        expected=[],
        look=lambda seen: list(seen.left),
        remedy="drop the scratch database by hand, or let the next trial do it",
    )


def _round_trip_checks() -> Iterator[Check[RestoreObservation]]:
    """Each leg needs the one before (checklist row E3)."""
    for name, expected, look, needs, remedy in (
        ("up", "", lambda trip: trip.up, "restore.rows", "read what Alembic said: this database cannot be migrated"),
        ("single_head", 1, lambda trip: len(trip.heads), "round_trip.up", "merge the heads: alembic merge heads"),
        ("at_head", True, lambda trip: trip.at == trip.heads, "round_trip.single_head", "see where it ended"),
        ("down", "", lambda trip: trip.down, "round_trip.at_head", "mend the last migration's downgrade"),
        ("up_again", "", lambda trip: trip.up_again, "round_trip.down", "see what the downgrade has left or taken"),
        ("schema", [], lambda trip: list(trip.schema_differs[:DIFFERENCES_SHOWN]), "round_trip.up_again",
         "have the downgrade undo just what the upgrade does"),
    ):  # fmt: skip
        yield Check(
            name=f"round_trip.{name}",
            expected=expected,
            look=partial(_of_round_trip, look),
            needs=needs,
            remedy=remedy,
        )


def _of_round_trip(look: Any, seen: RestoreObservation) -> Any:
    trip = known(seen.trial).round_trip
    if trip is None:
        raise CannotObserve("no round trip was taken: the target lacks round_trip, which says how it is migrated")
    return look(known(trip))


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
