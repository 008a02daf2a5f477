# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a database back from its backup without destroying another: names, marks, what comes next, what is lost.

The backup goes into a new database, which then changes names with the present one (checklist rows C21, D9). Everything
here only thinks; restore_programs.py runs PostgreSQL's own programs, apply_restore.py speaks with the server.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from .checks import Check

# PostgreSQL cuts a longer name off, and would then find another database by it (NAMEDATALEN).
MAX_NAME_BYTES = 63
SUFFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
MARK = "cutover postgres_restore "
# More tables than these are counted, and not listed in a message.
MAX_TOLD = 20


class CannotRestore(Exception):
    """The database is not brought back. The text is for a person and free of credentials."""


# --- names and marks -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Names:
    """The database as its clients know it, the new one until it is swapped in, and the old one from then on."""

    present: str
    restored: str
    kept: str


def names(database: str, suffix: str) -> Names:
    """The three names; raises ``CannotRestore`` for a suffix that is none. A name that gets too long is cut, and gets
    eight hexadecimal digits of its own, so that two long names never become one."""
    if not SUFFIX.fullmatch(suffix):
        raise CannotRestore(
            f"the suffix {suffix!r} cannot be part of a database's name: use 1 to 40 letters, digits, '_', '.' and '-'"
        )
    ends = {"restored": f"_restored_{suffix}", "kept": f"_failed_{suffix}"}
    base = _fitting(database, MAX_NAME_BYTES - max(map(len, ends.values())))
    return Names(present=database, **{which: base + end for which, end in ends.items()})


def named_for(database: str, end: str) -> str:
    """A name for a database that is made for this one."""
    return _fitting(database, MAX_NAME_BYTES - len(end)) + end


def _fitting(name: str, most_bytes: int) -> str:
    whole = name.encode()
    if len(whole) <= most_bytes:
        return name
    digest = hashlib.sha256(whole).hexdigest()[:8]
    return whole[: most_bytes - 9].decode(errors="ignore") + "~" + digest


class Stage(StrEnum):
    """How far a database has come that this project made, or keeps."""

    RESTORING = "restoring"  # what is in it may be half of the backup
    RESTORED = "restored"  # all of the backup is in it, and was checked
    CLOSING = "closing"  # as before; and the present one may be closed to its clients
    KEPT = "kept"  # what the present one was
    SCRATCH = "scratch"  # a backup is being tried out in it


@dataclass(frozen=True, kw_only=True)
class Mark:
    """The comment on a database by which it is known again: only a marked one is ever dropped, and never a kept one."""

    stage: Stage
    suffix: str
    sha256: str
    present_oid: int
    restored_oid: int
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_text(self) -> str:
        """The comment."""
        return MARK + json.dumps(asdict(self), sort_keys=True)

    def at(self, stage: Stage, **facts: Any) -> Mark:
        """The same at another stage."""
        return replace(self, stage=stage, facts=facts)


def read_mark(comment: str | None) -> Mark | None:
    """The mark in a comment; nothing in anybody else's comment."""
    if not (comment or "").startswith(MARK):
        return None
    try:
        told = json.loads(str(comment).removeprefix(MARK))
        return Mark(**{**told, "stage": Stage(told["stage"])})
    except (ValueError, TypeError, KeyError):
        return None


# --- what comes next -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Place:
    """A database that is there: the number that it keeps when it is renamed, and its mark if it has one."""

    oid: int
    mark: Mark | None = None


class Next(StrEnum):
    """What a call with this suffix has to do."""

    START = "start"
    ADOPT = "adopt"  # a new database without a mark: ours if it is empty and as it would be made
    START_AGAIN = "start again"  # drop the half restored one first
    SWAP = "swap"  # an earlier call has restored and checked
    NOTHING = "nothing"  # an earlier call has finished


def what_next(called: Names, present: Place | None, restored: Place | None, kept: Place | None, *, sha256: str) -> Next:
    """What to do by what is there; raises ``CannotRestore`` where that is not what this module leaves behind.

    The names are swapped in one transaction, so they are either all old or all new, wherever a call was killed.
    """
    if present is None:
        raise CannotRestore(
            f"there is no database {called.present!r}: this module takes owner, encoding and grants from "
            "the present one. Restore into a new database by hand, or name the right address"
        )
    for place in (restored, kept):
        if place and place.mark and place.mark.sha256 != sha256:
            raise CannotRestore("this suffix was used with another dump: name another suffix")
    if kept:
        return _finished(called, present, restored, kept)
    if restored is None:
        return Next.START
    if restored.mark is None:
        return Next.ADOPT
    if restored.mark.present_oid != present.oid or restored.mark.restored_oid != restored.oid:
        raise CannotRestore(
            f"{called.restored!r} was made to replace another database than the present {called.present!r}: "
            "name another suffix"
        )
    return Next.START_AGAIN if restored.mark.stage is Stage.RESTORING else Next.SWAP


def _finished(called: Names, present: Place, restored: Place | None, kept: Place) -> Next:
    if kept.mark is None or kept.mark.stage is not Stage.KEPT or kept.mark.present_oid != kept.oid or restored:
        raise CannotRestore(f"there is a database {called.kept!r} that this module has not kept: name another suffix")
    if kept.mark.restored_oid != present.oid:
        raise CannotRestore(
            f"the backup was brought back under this suffix, and {called.present!r} has been replaced since: "
            "name another suffix"
        )
    return Next.NOTHING


# --- the dump --------------------------------------------------------------------------------------------------------

# In the time zone of the host that dumped, which this is.
_CREATED = re.compile(r"^; Archive created at (?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)", re.MULTILINE)
_DBNAME = re.compile(r"^; +dbname: (?P<name>.*)$", re.MULTILINE)
_IDENTIFIER = r'(?:"(?:[^"]|"")+"|[^\s".(]+)'
_COPY = re.compile(rf"COPY (?P<schema>{_IDENTIFIER})\.(?P<table>{_IDENTIFIER}) (?:\(.*\))? FROM stdin;\n", re.DOTALL)
_ENCODING = re.compile(rb"SET client_encoding = '(?P<name>\w+)';")

TableName = tuple[str, str]


def database_of(listing: str) -> str | None:
    """The database that was dumped, as ``pg_restore --list`` shows it: with spaces for line breaks."""
    found = _DBNAME.search(listing)
    return found["name"] if found else None


def created_at(listing: str) -> float | None:
    """When the dump was begun, in seconds since 1970; later writes are not in it."""
    found = _CREATED.search(listing)
    return time.mktime(time.strptime(found["at"], "%Y-%m-%d %H:%M:%S")) if found else None


def refuse_another_database(listing: str, database: str) -> None:
    """Raise ``CannotRestore`` unless the dump is one of ``database``."""
    dumped = database_of(listing)
    if dumped != re.sub(r"[\r\n]", " ", database):
        raise CannotRestore(f"the dump is one of the database {dumped!r}, and not of {database!r}")


def rows_in_script(lines: Iterable[bytes]) -> dict[TableName, int]:
    """Rows of each table in what ``pg_restore --data-only`` prints. Only one line is held at a time.

    Source: COPY's text format, in which a line break within a value is escaped
    (https://www.postgresql.org/docs/current/sql-copy.html).
    """
    counts: dict[TableName, int] = {}
    encoding, header, table = "utf-8", b"", None
    for line in lines:
        if table is not None:
            if line == b"\\.\n":
                table = None
            else:
                counts[table] += 1
        elif header or line.startswith(b"COPY "):
            # A table's name may hold line breaks.
            header += line
            if found := _COPY.fullmatch(header.decode(encoding, "backslashreplace")):
                table, header = (_unquoted(found["schema"]), _unquoted(found["table"])), b""
                counts[table] = 0
        elif found_encoding := _ENCODING.match(line):
            encoding = _codec(found_encoding["name"].decode())
    return counts


def _unquoted(identifier: str) -> str:
    return identifier[1:-1].replace('""', '"') if identifier.startswith('"') else identifier


def _codec(encoding: str) -> str:
    try:
        return codecs.lookup(encoding).name
    except LookupError:
        return "utf-8"


# --- what is lost ----------------------------------------------------------------------------------------------------

Hashed = tuple[int, int, int]


def difference(present: Iterator[Hashed], restored: Iterator[Hashed]) -> tuple[int, int]:
    """How many rows only the one has, and how many only the other: of (hash, hash, times) in ascending order."""
    only_present = only_restored = 0
    ours, theirs = next(present, None), next(restored, None)
    while ours or theirs:
        if theirs is None or (ours and ours[:2] < theirs[:2]):
            only_present += ours[2] if ours else 0
            ours = next(present, None)
        elif ours is None or theirs[:2] < ours[:2]:
            only_restored += theirs[2]
            theirs = next(restored, None)
        else:
            only_present += max(0, ours[2] - theirs[2])
            only_restored += max(0, theirs[2] - ours[2])
            ours, theirs = next(present, None), next(restored, None)
    return only_present, only_restored


@dataclass(frozen=True, kw_only=True)
class TableLoss:
    """What going back to the backup does to one table.

    ``rows`` are there now and will not be; ``returning`` were deleted since and come back. A row that was changed is
    one of each. ``columns`` are those that the backup lacks, with the number of rows that say something in them.
    """

    table: str
    rows: int = 0
    returning: int = 0
    columns: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_none(self) -> bool:
        """Whether nothing was written since the backup."""
        return not (self.rows or self.returning or any(self.columns.values()))

    def __str__(self) -> str:
        parts = [f"{_rows(self.rows)}"] if self.rows else []
        parts += [f"{self.returning} deleted or changed since that would return"] if self.returning else []
        parts += [f"{_rows(rows)} with a value in its new column {name}" for name, rows in self.columns.items() if rows]
        return f"{self.table}: {', '.join(parts)}"


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number} rows"


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What was written since the backup. ``ignored`` are tables that were declared to be the migrations' own."""

    tables: Sequence[TableLoss] = ()
    ignored: Sequence[TableLoss] = ()
    only_present: Sequence[str] = ()
    only_restored: Sequence[str] = ()

    @property
    def is_none(self) -> bool:
        """Whether going back loses nothing that is counted."""
        return not self.tables

    def to_dict(self) -> dict[str, Any]:
        """The parts of a module's result."""
        return {
            "lost": [asdict(table) for table in self.tables],
            "ignored": [asdict(table) for table in self.ignored],
            "only_present": list(self.only_present),
            "only_restored": list(self.only_restored),
        }

    def __str__(self) -> str:
        told = "; ".join(map(str, self.tables[:MAX_TOLD]))
        more = len(self.tables) - MAX_TOLD
        return told + (f"; and {more} more tables" if more > 0 else "")


def loss_of(found: Iterable[TableLoss], *, ignore: Iterable[str], **only: Sequence[str]) -> Loss:
    """The loss of all tables that lose something, those apart that were declared to be ignored."""
    declared, losing = set(ignore), [table for table in found if not table.is_none]
    return Loss(
        tables=tuple(table for table in losing if table.table not in declared),
        ignored=tuple(table for table in losing if table.table in declared),
        **only,
    )


# --- what must be true -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What was seen of the restored database: rows by table in the dump and in it, ``pg_amcheck``'s complaint."""

    in_dump: Mapping[TableName, int]
    in_database: Mapping[TableName, int]
    amcheck: str = ""

    def differing(self) -> dict[str, list[int | None]]:
        """By table, the rows in the dump and in the database where they are not the same."""
        return differing_rows(self.in_dump, self.in_database)


def differing_rows(
    in_dump: Mapping[TableName, int], in_database: Mapping[TableName, int]
) -> dict[str, list[int | None]]:
    """By table, the rows in the dump and in the database where they are not the same."""
    return {
        ".".join(table): [rows, in_database.get(table)]
        for table, rows in sorted(in_dump.items())
        if rows != in_database.get(table)
    }


def restored_checks(min_tables: int, *, amcheck: bool) -> Iterator[Check[Restored]]:
    """What must be true before a restored database is swapped in. ``amcheck`` says whether that was run."""
    yield Check(
        name="restore.tables",
        expected=f">= {min_tables}",
        look=lambda seen: len(seen.in_dump),
        holds=lambda tables: tables >= min_tables,
        remedy="name the dump of the whole database: this one holds fewer tables than declared",
    )
    yield Check(
        name="restore.rows",
        expected={},
        look=lambda seen: seen.differing(),
        needs="restore.tables",
        remedy="look into what pg_restore said: by table, these are the rows in the dump and in the restored database",
    )
    if amcheck:
        yield Check(
            name="restore.amcheck",
            expected="",
            look=lambda seen: seen.amcheck,
            needs="restore.tables",
            remedy="read pg_amcheck's words: the storage of the server may be damaged",
        )
