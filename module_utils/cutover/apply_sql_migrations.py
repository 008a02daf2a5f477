# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply plain SQL migrations with psycopg: one at a time, each with its row in the history, by one run at a time."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from .checks import CannotObserve
from .command import Ends, shown
from .masking import Masker
from .observe_postgres import connection_parameters
from .sql_migrations import Applied, CannotMigrate, Migrated, Step, after, revision, statements

Options = Mapping[str, Any]
Plan = Callable[[list[Applied]], list[Step]]
Connection = psycopg.Connection[TupleRow]

CONNECT_TIMEOUT_S = 10.0
LOCK_EVERY_S = 0.2
# The first of the two numbers of our advisory locks; the second one is made from the history's name.
LOCK_CLASS = 0x63757430


@dataclass(frozen=True, kw_only=True)
class History:
    """The table that says what is applied. Its schema is always named: a migration may change the search path."""

    schema: str
    table: str

    def identifier(self) -> sql.Identifier:
        """The table's name for a statement, whatever is in it."""
        return sql.Identifier(self.schema, self.table)

    def lock_key(self) -> int:
        """A number of 32 bits with a sign."""
        return zlib.crc32(f"{self.schema}.{self.table}".encode()) - 2**31


class StepFailed(Exception):
    """A file could not be run; the text is for a person."""


@contextmanager
def connected(
    options: Options,
    *,
    timeout_s: float,
    lock_timeout_s: float,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    read_only: bool = False,
) -> Iterator[Connection]:
    """A connection in autocommit mode. Its statements end after ``timeout_s``, and wait ``lock_timeout_s`` for a lock.

    Raises ``CannotMigrate``.
    """
    settings = {
        "statement_timeout": str(round(timeout_s * 1000)),
        "lock_timeout": str(round(lock_timeout_s * 1000)),
        "default_transaction_read_only": "on" if read_only else "off",
    }
    try:
        connection = psycopg.connect(
            **connection_parameters(options),
            options=" ".join(f"-c {name}={value}" for name, value in settings.items()),
            # libpq counts whole seconds, and takes zero for no limit.
            connect_timeout=max(1, round(connect_timeout_s)),
            autocommit=True,
            prepare_threshold=None,
        )
    except (CannotObserve, psycopg.Error) as reason:
        raise CannotMigrate(f"{options['address']} could not be connected to: {str(reason).strip()}") from None
    try:
        with connection:
            yield connection
    except psycopg.Error as reason:
        raise CannotMigrate(f"{options['address']} refused, or is gone: {_primary(reason)}") from None


@contextmanager
def alone(
    connection: Connection,
    history: History,
    *,
    wait_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Keep all other runs on the same history out; raises ``CannotMigrate`` when one does not end within ``wait_s``."""
    key, end = (LOCK_CLASS, history.lock_key()), clock() + wait_s
    while not _scalar(connection, "SELECT pg_try_advisory_lock(%s, %s)", key):
        if clock() >= end:
            holders = connection.execute(_HOLDERS, (key[0], key[1] % 2**32)).fetchall()
            pids = ", ".join(str(pid) for (pid,) in holders) or "unknown"
            raise CannotMigrate(
                f"another run is migrating this database (server process {pids}), still after {wait_s:g} s"
            )
        sleep(LOCK_EVERY_S)
    try:
        yield
    finally:
        # The lock ends with the connection at the latest.
        with suppress(psycopg.Error):
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", key)


_HOLDERS: LiteralString = """
    SELECT pid FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND classid::bigint = %s AND objid::bigint = %s
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def find_history(connection: Connection, table: str, schema: str | None) -> History:
    """The history in ``schema``, or where this role makes its tables; raises ``CannotMigrate`` when that is nowhere."""
    found = schema or _scalar(connection, "SELECT current_schema()", ())
    if not found:
        raise CannotMigrate("this role's search path names no schema that exists: name one for the history")
    return History(schema=found, table=table)


def read_history(connection: Connection, history: History) -> list[Applied]:
    """What is applied; nothing where there is no history yet. Raises ``CannotMigrate`` for a table of another form."""
    name = history.identifier().as_string(connection)
    if _scalar(connection, "SELECT to_regclass(%s)", (name,)) is None:
        return []
    query = sql.SQL("SELECT version::text, checksum::text FROM {}").format(history.identifier())
    try:
        rows = connection.execute(query).fetchall()
    except psycopg.Error as reason:
        raise CannotMigrate(f"the history {name} cannot be read: {_primary(reason)}; is it another tool's?") from None
    return [Applied(version=version, checksum=checksum) for version, checksum in rows]


_CREATE: LiteralString = """
    CREATE TABLE IF NOT EXISTS {} (
        version text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
    )
"""


def create_history(connection: Connection, history: History) -> None:
    """Make the table unless it is there; raises ``CannotMigrate``."""
    try:
        connection.execute(sql.SQL(_CREATE).format(history.identifier()))
    except psycopg.Error as reason:
        raise CannotMigrate(f"the history {history.table} cannot be made: {_primary(reason)}") from None


def run_step(connection: Connection, history: History, step: Step, said: Ends[str]) -> None:
    """Run one file and write it into the history, together unless the file says otherwise.

    What the server says is added to ``said``. Raises ``StepFailed``; a file that is no transaction may then have been
    run in part.
    """

    def listen(diagnostic: psycopg.errors.Diagnostic) -> None:
        said.add(f"{diagnostic.severity}: {diagnostic.message_primary}")

    connection.add_notice_handler(listen)
    try:
        if step.in_transaction:
            with connection.transaction():
                _run_as_one(connection, step)
                _write_down(connection, history, step)
        else:
            for statement in statements(step.sql):
                connection.execute(statement)
            _write_down(connection, history, step)
    except psycopg.Error as reason:
        for line in _lines(reason):
            said.add(line)
        if connection.info.transaction_status == TransactionStatus.ACTIVE:
            # The server still waits for something that never comes.
            connection.close()
        raise StepFailed(_explained(step, reason)) from None
    finally:
        connection.remove_notice_handler(listen)


def _run_as_one(connection: Connection, step: Step) -> None:
    # Without parameters, psycopg sends the whole file as it is: it may hold many statements, and % means nothing.
    connection.execute(step.sql)
    if connection.info.transaction_status != TransactionStatus.INTRANS:
        raise psycopg.ProgrammingError("the file ended the transaction in which it is run")


def _write_down(connection: Connection, history: History, step: Step) -> None:
    # What the file set for its session must reach neither into the history nor into the next file.
    connection.execute("RESET SESSION AUTHORIZATION; RESET ALL")
    migration = step.migration
    if step.undo:
        query = sql.SQL("DELETE FROM {} WHERE version = %s").format(history.identifier())
        connection.execute(query, (migration.version,))
    else:
        query = sql.SQL("INSERT INTO {} (version, checksum) VALUES (%s, %s)").format(history.identifier())
        connection.execute(query, (migration.version, migration.checksum))


# --- what the server says --------------------------------------------------------------------------------------------


def _explained(step: Step, reason: psycopg.Error) -> str:
    """The server's words, and the line of the file that they are about."""
    position = reason.diag.statement_position
    # A position counts characters in what was sent; that is the file only where it is sent whole.
    line = f", line {step.sql.count(chr(10), 0, int(position) - 1) + 1}" if position and step.in_transaction else ""
    kept = "" if step.in_transaction else " It is no transaction: what came before the error in it has happened."
    return f"{step.path.name}{line}: {_primary(reason)}.{kept}"


def _lines(reason: psycopg.Error) -> list[str]:
    diagnostic = reason.diag
    parts = {"ERROR": _primary(reason), "DETAIL": diagnostic.message_detail, "HINT": diagnostic.message_hint}
    return [f"{kind}: {line}" for kind, text in parts.items() if text for line in text.splitlines()]


def _primary(reason: psycopg.Error) -> str:
    words = (reason.diag.message_primary or str(reason)).strip()
    return f"{words} ({reason.sqlstate})" if reason.sqlstate else words


def _scalar(connection: Connection, query: LiteralString, parameters: tuple[Any, ...]) -> Any:
    row = connection.execute(query, parameters).fetchone()
    return row[0] if row else None


# --- a run -----------------------------------------------------------------------------------------------------------


def foresee(connection: Connection, history: History, plan: Plan) -> Migrated:
    """What ``migrate`` would do; changes nothing."""
    before = read_history(connection, history)
    steps = plan(before)
    return Migrated(revision_before=revision(before), revision_after=revision(after(before, steps)), steps=tuple(steps))


def migrate(
    connection: Connection,
    history: History,
    plan: Plan,
    *,
    wait_s: float,
    masker: Masker,
    where: Mapping[str, str],
) -> Migrated:
    """Do what ``plan`` says of the history, step by step until one fails; the steps before that one stay.

    ``where`` is what each step's evidence says of the place: ``chdir`` and ``host``.
    """
    with alone(connection, history, wait_s=wait_s):
        before = read_history(connection, history)
        steps = plan(before)
        if steps:
            create_history(connection, history)
        done: list[Step] = []
        commands: list[dict[str, Any]] = []
        failure = ""
        for step in steps:
            failure, evidence = _run_on_record(connection, history, step, masker)
            commands.append({**evidence, **where})
            if failure:
                break
            done.append(step)
    return Migrated(
        revision_before=revision(before),
        revision_after=revision(after(before, done)),
        steps=tuple(done),
        commands=tuple(commands),
        failure=failure,
        partly=bool(failure) and not step.in_transaction,
    )


def _run_on_record(connection: Connection, history: History, step: Step, masker: Masker) -> tuple[str, dict[str, Any]]:
    """Why the step failed, empty where it did not, and its evidence."""
    said: Ends[str] = Ends()
    started, failure = time.monotonic(), ""
    try:
        run_step(connection, history, step, said)
    except StepFailed as reason:
        failure = masker.text(str(reason))
    return failure, {
        "argv": ["sql_migrations", "undo" if step.undo else "apply", step.path.name],
        "exit_code": 1 if failure else 0,
        "took_ms": round((time.monotonic() - started) * 1000),
        "first_lines": shown(said.first, masker),
        "last_lines": shown(list(said.last), masker),
        "line_count": said.count,
    }
