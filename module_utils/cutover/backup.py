# SPDX-License-Identifier: GPL-3.0-or-later
"""Back a PostgreSQL database up, and prove that what was written can be read back (checklist rows C9, C21)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .checks import Check
from .command import Command, Ran


@dataclass(frozen=True, kw_only=True)
class Backup:
    """A finished dump: where it is, its size and SHA-256, and what its table of contents holds."""

    path: str
    size_bytes: int
    sha256: str
    entries: int
    tables: int

    def to_dict(self) -> dict[str, Any]:
        """What evidence keeps of it."""
        return dict(self.__dict__)


# "3345; 0 16386 TABLE DATA public payment shop": its number, two object ids and its kind come before any name.
_TABLE_DATA = re.compile(r"\d+; \d+ \d+ TABLE DATA ")


def dump_command(
    *, program_dir: str | None, conninfo: Mapping[str, str], environment: Mapping[str, str], to: Path, timeout_s: float
) -> Command:
    """``pg_dump`` in its custom format. The password is in ``environment``, never in the arguments."""
    argv = [
        program("pg_dump", program_dir),
        "--format=custom",
        "--no-password",
        f"--file={to}",
        f"--dbname={connection_string(conninfo)}",
    ]
    return Command(argv=argv, environment=environment, timeout_s=timeout_s)


def list_command(*, program_dir: str | None, of: Path, timeout_s: float) -> Command:
    """``pg_restore --list``: reads the dump's table of contents back."""
    return Command(argv=[program("pg_restore", program_dir), "--list", str(of)], timeout_s=timeout_s, keep_stdout=True)


def program(name: str, folder: str | None) -> str:
    """A PostgreSQL program: from ``folder`` where one is declared, else from PATH."""
    return f"{folder}/{name}" if folder else name


def connection_string(conninfo: Mapping[str, str]) -> str:
    """What libpq is told, as one argument."""
    return " ".join(f"{name}={_quoted(value)}" for name, value in conninfo.items())


def _quoted(value: str) -> str:
    """A value as libpq reads it in a connection string.

    Source: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-KEYWORD-VALUE
    """
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def describe(path: Path, listed: Ran) -> Backup:
    """The facts on a dump and its table of contents, as ``pg_restore --list`` printed it."""
    entries = [line for line in listed.stdout.splitlines() if line and not line.startswith(";")]
    tables = sum(_TABLE_DATA.match(line) is not None for line in entries)
    return Backup(
        path=str(path), size_bytes=path.stat().st_size, sha256=sha256_of(path), entries=len(entries), tables=tables
    )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def backup_checks(min_tables: int) -> Iterator[Check[Backup]]:
    """What must be true of a backup before anything is changed that it is there to bring back."""
    yield Check(
        name="backup.tables",
        expected=f">= {min_tables}",
        look=lambda seen: seen.tables,
        holds=lambda tables: tables >= min_tables,
        remedy="see that the declared database is the one in use, and that the role may read all of its tables",
    )
