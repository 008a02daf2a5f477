# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain SQL migrations: which files there are, and which of them a database needs next (checklist rows B2, C9, D2)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The revision of a database to which nothing is applied.
BASE = "base"
NO_TRANSACTION = "-- cutover: no-transaction"

_FILE = re.compile(r"(?P<version>\d+)_(?P<name>[\w.-]+?)(?P<down>\.down)?\.sql")
# What ends a transaction, or begins one within the one that each file is.
_TRANSACTION_CONTROL = re.compile(
    r"(?:begin|start\s+transaction|commit|abort|rollback(?!\s+(?:(?:work|transaction)\s+)?to)|prepare\s+transaction)\b",
    re.IGNORECASE,
)
_COPIES_DATA = re.compile(r"copy\b.*\b(?:from\s+stdin|to\s+stdout)\b", re.IGNORECASE | re.DOTALL)
# Source: https://www.postgresql.org/docs/current/sql-syntax-lexical.html
_PIECE = re.compile(
    r"""(?P<comment> --[^\n]* | /\*.*?\*/ )
      | (?P<quoted> \b[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*"
                  | (?<![\w$])\$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?\$(?P=tag)\$ )
      | (?P<end> ; )
      | . """,
    re.VERBOSE | re.DOTALL,
)


class CannotMigrate(Exception):
    """Migrations were not applied, or not all. The text is ready for a person and free of credentials."""


@dataclass(frozen=True, kw_only=True)
class Migration:
    """One step: its SQL, the SQL that undoes it where there is some, and whether it is a transaction."""

    version: str
    path: Path
    sql: str
    checksum: str
    down_path: Path | None = None
    down_sql: str = ""


@dataclass(frozen=True)
class Step:
    """A migration to apply, or to undo."""

    migration: Migration
    undo: bool = False

    @property
    def path(self) -> Path:
        """The file that is run."""
        return self.migration.down_path if self.undo and self.migration.down_path else self.migration.path

    @property
    def sql(self) -> str:
        """What is run."""
        return self.migration.down_sql if self.undo else self.migration.sql

    @property
    def in_transaction(self) -> bool:
        """Whether all of it happens or nothing, together with its row in the history."""
        return self.sql.split("\n", 1)[0].strip() != NO_TRANSACTION


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What the database's history says of one migration."""

    version: str
    checksum: str


@dataclass(frozen=True, kw_only=True)
class Migrated:
    """What a run did, or would do. ``failure`` is empty when all that was planned happened.

    ``partly`` tells that the step that failed may have changed something.
    """

    revision_before: str
    revision_after: str
    steps: tuple[Step, ...]
    commands: tuple[dict[str, Any], ...] = ()
    failure: str = ""
    partly: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The run as plain data, for a module's result."""
        return {
            "changed": bool(self.steps) or self.partly,
            "revision_before": self.revision_before,
            "revision_after": self.revision_after,
            "steps": [step.path.name for step in self.steps],
            "commands": list(self.commands),
        }


# --- files -----------------------------------------------------------------------------------------------------------


def read_migrations(folder: str) -> list[Migration]:
    """The migrations in ``folder`` in their order; raises ``CannotMigrate`` for a file whose part is not clear."""
    try:
        paths = sorted(path for path in Path(folder).iterdir() if path.suffix == ".sql")
        texts = {path: path.read_bytes() for path in paths}
    except OSError as reason:
        raise CannotMigrate(f"{reason.filename or folder} cannot be read: {reason.strerror}") from None
    ups, downs = _sorted_out(paths)
    if not ups:
        raise CannotMigrate(f"{folder} holds no migration, that is, no file such as 001_name.sql")
    migrations = [_migration(path, downs.get(number), texts) for number, path in sorted(ups.items())]
    for migration in migrations:
        _refuse_what_cannot_be_run(Step(migration))
        _refuse_what_cannot_be_run(Step(migration, undo=True))
    return migrations


def _sorted_out(paths: Sequence[Path]) -> tuple[dict[int, Path], dict[int, Path]]:
    ups: dict[int, Path] = {}
    downs: dict[int, Path] = {}
    for path in paths:
        match = _FILE.fullmatch(path.name)
        if match is None:
            raise CannotMigrate(f"{path.name} is neither NNN_name.sql nor NNN_name.down.sql: rename it or take it out")
        kind = downs if match["down"] else ups
        number = int(match["version"])
        if number in kind:
            raise CannotMigrate(f"{kind[number].name} and {path.name} have the same number: which comes first?")
        kind[number] = path
    for number, path in downs.items():
        if number not in ups:
            raise CannotMigrate(f"{path.name} undoes nothing: there is no migration of that number")
    return ups, downs


def _migration(path: Path, down: Path | None, texts: Mapping[Path, bytes]) -> Migration:
    return Migration(
        version=path.name.partition("_")[0],
        path=path,
        sql=_text(path, texts[path]),
        checksum=hashlib.sha256(texts[path]).hexdigest(),
        down_path=down,
        down_sql=_text(down, texts[down]) if down else "",
    )


def _text(path: Path, data: bytes) -> str:
    if b"\0" in data:
        # libpq would take it for the end, and silently leave out the rest.
        raise CannotMigrate(f"{path.name} holds a null byte")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CannotMigrate(f"{path.name} is not UTF-8") from None


def _refuse_what_cannot_be_run(step: Step) -> None:
    for statement in map(_without_comments, statements(step.sql)):
        if statement.startswith("\\"):
            raise CannotMigrate(f"{step.path.name} holds the command {statement.split()[0]} of psql: say it in SQL")
        if _COPIES_DATA.match(statement):
            raise CannotMigrate(f"{step.path.name} copies from or to the client, where there is no data: use INSERT")
        control = _TRANSACTION_CONTROL.match(statement)
        if control and step.in_transaction:
            raise CannotMigrate(
                f"{step.path.name} holds {control[0].upper()}, but is run as one transaction: take it out, or begin "
                f"the file with the line {NO_TRANSACTION!r}"
            )


def statements(sql: str) -> Iterator[str]:
    """The statements of a file, split at semicolons outside of quotes and comments; comments alone are none."""
    begin = 0
    for piece in _PIECE.finditer(sql):
        if piece["end"]:
            yield from _unless_empty(sql[begin : piece.start()])
            begin = piece.end()
    yield from _unless_empty(sql[begin:])


def _unless_empty(statement: str) -> Iterator[str]:
    if _without_comments(statement):
        yield statement.strip()


def _without_comments(statement: str) -> str:
    return _PIECE.sub(lambda piece: " " if piece["comment"] else piece[0], statement).strip()


# --- what is next ----------------------------------------------------------------------------------------------------


def revision(applied: Sequence[Applied]) -> str:
    """The newest version that is applied, or ``base``."""
    return max((row.version for row in applied), key=_number, default=BASE)


def after(applied: Sequence[Applied], steps: Sequence[Step]) -> list[Applied]:
    """The history after these steps."""
    undone = {step.migration.version for step in steps if step.undo}
    added = [Applied(version=s.migration.version, checksum=s.migration.checksum) for s in steps if not s.undo]
    return [row for row in applied if row.version not in undone] + added


def steps_forward(migrations: Sequence[Migration], applied: Sequence[Applied], target: str | None) -> list[Step]:
    """What brings the database to ``target``, or to the newest migration.

    Raises ``CannotMigrate`` where the files are not the ones that were applied, or not in that order.
    """
    known = _known(migrations, applied)
    last = _number(revision(applied))
    wanted = (
        _number(_target(migrations, target).version) if target else max(map(_number, (m.version for m in migrations)))
    )
    if wanted < last:
        raise CannotMigrate(f"the schema is at {revision(applied)}, past {target}: state=reverted goes back")
    missing = [m for m in migrations if _number(m.version) not in known and _number(m.version) <= wanted]
    for migration in missing:
        if _number(migration.version) < last:
            raise CannotMigrate(
                f"{migration.path.name} is not applied, but {revision(applied)} is, which comes later: give it a "
                "number after that"
            )
    return [Step(migration) for migration in missing]


def steps_back(migrations: Sequence[Migration], applied: Sequence[Applied], target: str) -> list[Step]:
    """What takes the database back to ``target``; raises ``CannotMigrate`` unless every step of it can be undone."""
    known = _known(migrations, applied)
    floor = _number(target if target == BASE else _target(migrations, target).version)
    if target != BASE and floor not in known:
        raise CannotMigrate(
            f"the schema is at {revision(applied)}, and {target} is not applied: it cannot go back to it"
        )
    back = [migration for migration in reversed(migrations) if floor < _number(migration.version) in known]
    for migration in back:
        if migration.down_path is None:
            raise CannotMigrate(f"{migration.path.name} cannot be undone: there is no {migration.path.stem}.down.sql")
    return [Step(migration, undo=True) for migration in back]


def _known(migrations: Sequence[Migration], applied: Sequence[Applied]) -> set[int]:
    """The numbers that are applied; each must have its file, and the file must be what was applied."""
    files = {_number(migration.version): migration for migration in migrations}
    for row in applied:
        migration = files.get(_number(row.version))
        if migration is None:
            raise CannotMigrate(
                f"{row.version} is applied, and has no file here: these are not its migrations, or older ones"
            )
        if migration.checksum != row.checksum:
            raise CannotMigrate(
                f"{migration.path.name} was changed after it had been applied: restore it, and put the change into a "
                "new one"
            )
    return {_number(row.version) for row in applied}


def _target(migrations: Sequence[Migration], target: str) -> Migration:
    """The migration of that version, with or without leading zeros; raises ``CannotMigrate`` and lists them."""
    for migration in migrations:
        if target.isdecimal() and int(target) == _number(migration.version):
            return migration
    there_are = ", ".join(migration.version for migration in migrations)
    raise CannotMigrate(f"there is no migration {target}: there are {there_are}")


def _number(version: str) -> int:
    if version == BASE:
        return -1
    if not version.isdecimal():
        raise CannotMigrate(f"the history holds the version {version!r}, which is no number: another tool's?")
    return int(version)
