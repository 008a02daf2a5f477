# SPDX-License-Identifier: GPL-3.0-or-later
"""Try the newest backup out in a scratch database beside its source, and drop the scratch whatever comes of it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from .apply_database import (
    Connection,
    Database,
    alone,
    connected,
    create_like,
    drop_own,
    for_programs,
    mark,
    marked,
    must_be_there,
)
from .backup import sha256_of
from .checks import CannotObserve, Known
from .command import CannotRun
from .judge_restore import RestoreObservation, RoundTrip, Trial
from .observe_postgres import connection_parameters
from .observe_rows import at_one_moment, compare, label
from .pool import Deadline
from .restore import (
    CannotRestore,
    Mark,
    Stage,
    TableName,
    created_at,
    differing_rows,
    named_for,
    refuse_another_database,
)
from .restore_programs import Programs
from .round_trip import take_round_trip

Options = Mapping[str, Any]
Keep = Callable[[dict[str, Any]], None]

# Kept of a target's time for dropping the scratch.
DROPPING_S = 5.0
LOCK_TIMEOUT_S = 30.0


def look_at_backup(
    target: Options, deadline: Deadline, *, secrets_known: frozenset[str], keep: Keep, check_mode: bool
) -> RestoreObservation:
    """Try out the newest backup of ``target``; raises ``CannotObserve`` where there is none.

    ``keep`` is given the evidence of every program that is run.
    """
    programs = Programs(
        program_dir=target.get("program_dir"),
        timeout_s=max(1.0, deadline.left_s() - DROPPING_S),
        password=target.get("password"),
        secrets=secrets_known,
    )
    dump = newest(Path(target["backup_dir"]), target.get("backup_pattern") or f"{target['name']}-[0-9]*.dump")
    left: list[str] = []
    try:
        listing = programs.listing(dump)
        trial: Known[Trial] = CannotObserve("check mode makes no scratch database")
        if not check_mode:
            trial = _attempt(lambda: _try_out(target, programs, dump, listing, left))
        return RestoreObservation(
            backup=str(dump),
            age_s=round(time.time() - min(created_at(listing) or 0.0, dump.stat().st_mtime), 1),
            is_as_recorded=_as_recorded(dump),
            trial=trial,
            left=tuple(left),
        )
    except CannotRestore as reason:
        raise CannotObserve(str(reason)) from None
    finally:
        for command in programs.done:
            keep(command)


def newest(folder: Path, pattern: str) -> Path:
    """The newest of the dumps in a folder; raises ``CannotObserve`` when there is none."""
    try:
        found = [(path.stat().st_mtime, path) for path in folder.glob(pattern)]
    except (OSError, ValueError) as reason:
        raise CannotObserve(f"{folder} cannot be looked through for {pattern}: {reason}") from None
    if not found:
        raise CannotObserve(f"there is no backup {pattern} in {folder}")
    return max(found)[1]


def _as_recorded(dump: Path) -> Known[bool]:
    try:
        recorded = dump.with_name(f"{dump.name}.sha256").read_text(encoding="utf-8").split()
        return bool(recorded) and recorded[0] == sha256_of(dump)
    except (OSError, UnicodeError) as reason:
        return CannotObserve(f"{dump}.sha256 cannot be read: {reason}")


def _attempt(look: Callable[[], Trial]) -> Known[Trial]:
    try:
        return look()
    except CannotRestore as reason:
        return CannotObserve(str(reason))


def _try_out(target: Options, programs: Programs, dump: Path, listing: str, left: list[str]) -> Trial:
    """Restore, compare, drop. ``left`` names the scratch for as long as it is there."""
    source_name = str(connection_parameters(target)["dbname"])
    refuse_another_database(listing, source_name)
    limits = {**target, "timeout_s": programs.timeout_s, "swap_timeout_s": LOCK_TIMEOUT_S}
    with connected(limits, target["maintenance_database"], autocommit=True) as admin, alone(admin, source_name):
        source = must_be_there(admin, source_name)
        _drop_left_behind(admin, source)
        begun = time.monotonic()
        scratch = create_like(admin, source, named_for(source_name, f"_scratch_{secrets.token_hex(4)}"))
        own = Mark(
            stage=Stage.SCRATCH, suffix="", sha256="", present_oid=source.oid, restored_oid=scratch.oid, facts={}
        )
        left.append(scratch.name)
        try:
            mark(admin, scratch.name, own.to_text())
            programs.restore(dump, for_programs(connection_parameters(target), scratch.name), jobs=target["jobs"])
            restore_s = round(time.monotonic() - begun, 3)
            seen = _compared(limits, programs, dump, source, scratch)
        finally:
            # One that cannot be dropped has a finding of its own; what was seen in it counts all the same.
            with suppress(CannotRestore):
                drop_own(admin, scratch.name)
                left.clear()
    return Trial(restore_s=restore_s, **seen)


def _drop_left_behind(admin: Connection, source: Database) -> None:
    """Drop the scratch of a trial that was killed. Nobody else tries out now: the lock is ours."""
    for name, own in marked(admin).items():
        if own.stage is Stage.SCRATCH and own.present_oid == source.oid:
            drop_own(admin, name)


def _compared(options: Options, programs: Programs, dump: Path, source: Database, scratch: Database) -> dict[str, Any]:
    """The parts of a trial that are seen in the scratch, and beside the source."""
    in_dump = programs.rows(dump)
    with connected(options, source.name) as ours, connected(options, scratch.name) as theirs:
        present, restored = at_one_moment(ours), at_one_moment(theirs)
        counted: dict[TableName, int] = {
            name: restored.digest(name, ())[0]
            for name in in_dump
            if name in restored.tables and not restored.tables[name].of_extension
        }
        compared = {label(name): (lost.rows, lost.returning) for name, lost in compare(present, restored)}
    judged = {name: rows for name, rows in in_dump.items() if name in counted or name not in restored.tables}
    return {
        "tables": len(in_dump),
        "rows": sum(in_dump.values()),
        "differing": differing_rows(judged, counted),
        "compared": compared,
        "amcheck": _amcheck(options, programs, scratch) if options["expected"].get("amcheck") else "",
        # The last of all: it changes what was compared.
        "round_trip": _round_trip(options, programs, scratch) if options["expected"].get("round_trip") else None,
    }


def _round_trip(options: Options, programs: Programs, scratch: Database) -> Known[RoundTrip] | None:
    if not options.get("round_trip"):
        return None
    where = for_programs(connection_parameters(options), scratch.name)
    try:
        return take_round_trip(
            options["round_trip"], scratch.name, schema=lambda: programs.schema(where), timeout_s=programs.timeout_s,
            secrets=programs.secrets, keep=programs.done.append,
        )  # fmt: skip
    except CannotRestore as reason:
        return CannotObserve(str(reason))


def _amcheck(options: Options, programs: Programs, scratch: Database) -> Known[str]:
    """``pg_amcheck``'s complaint on the scratch, which gets the extension if need be; empty where all is well."""
    if options.get("amcheck_user"):
        login = {"user": options["amcheck_user"], "password": options.get("amcheck_password")}
        options, programs = {**options, **login}, replace(programs, password=login["password"])
    try:
        with connected(options, scratch.name, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS amcheck")
        sound, words = programs.amcheck(for_programs(connection_parameters(options), scratch.name))
    except (CannotRestore, CannotRun) as reason:
        return CannotObserve(str(reason))
    return "" if sound else words
