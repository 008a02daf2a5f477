# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at one PostgreSQL server with psycopg. Reads only, in bounded transactions that leave no trace in a session."""

from __future__ import annotations

import math
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg import IsolationLevel, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from .checks import CannotObserve, Known
from .judge_postgres import (
    Connections,
    Extension,
    FrozenAge,
    LoginAnswer,
    Logins,
    PostgresObservation,
    Replication,
    Session,
    Transaction,
    default_passwords,
    migration_name,
    migration_source,
)
from .judge_postgres_settings import Setting
from .pool import Deadline, Limits, look_at_all

T = TypeVar("T")
Options = Mapping[str, Any]
Rows = list[TupleRow]

# The superuser that almost every server has: what everybody tries first.
USUAL_SUPERUSER = "postgres"
# Logins that ought to be refused are tried side by side, but not so many that they crowd out anybody.
LOGIN_WORKERS = 2
MAX_WORDS = 1000
# No name, setting or revision is as long; what is comes from something else than PostgreSQL, or from the wrong column.
MAX_VALUE_CHARACTERS = 1024 * 1024
# As many heads of a branched schema as a report can hold: a table that is none of Alembic's may have millions of rows.
MAX_HEADS = 20

# libpq falls back to ~/.pgpass when no file is named, and warns about /dev/null. This path cannot exist.
NO_PASSFILE = "/dev/null/pgpass"
# The server's own words, told from the client's: libpq puts two spaces after the severity, whatever its language.
SERVER_WORDS = re.compile(r"\w+:  (?P<words>.+)", re.DOTALL)


def look_at_postgres(target: Options, deadline: Deadline) -> PostgresObservation:
    """Observe the server at ``target["address"]``; raises ``CannotObserve`` when it does not answer as PostgreSQL."""
    parameters = connection_parameters(target)
    try:
        seen = _as_somebody(parameters, target["expected"], deadline)
    except Refused as reason:
        seen = {"session": CannotObserve(str(reason))}
    if not {"refuses_unauthenticated", "default_passwords"}.isdisjoint(target["expected"]):
        seen["logins"] = attempt(lambda: _logins(parameters, target["expected"], deadline))
    return PostgresObservation(**seen)


def forget_environment() -> None:
    """Take the PG* variables of whoever runs this out of the process: libpq would let them overrule the inventory."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


# --- connecting ------------------------------------------------------------------------------------------------------


class Refused(CannotObserve):
    """The server answered, and let nobody in; the text is in its words."""

    def __init__(self, words: str, *, asked_for_password: bool) -> None:
        super().__init__(words)
        self.asked_for_password = asked_for_password


def connection_parameters(target: Options) -> dict[str, Any]:
    """What to connect with, as libpq names it; raises ``CannotObserve`` for an address that says more than where."""
    return {
        **_place(target["address"]),
        "user": target["user"],
        "password": target.get("password"),
        "passfile": target.get("passfile") or NO_PASSFILE,
        "sslmode": target["sslmode"],
        # libpq 16 and later know the system's certificates by this name, and then verify names without exception.
        "sslrootcert": target.get("ca_path") or ("system" if target["sslmode"] == "verify-full" else None),
        "gssencmode": "disable",
        "client_encoding": "UTF8",
        "application_name": "cutover",
    }


def _place(address: str) -> dict[str, Any]:
    """Host, port and database of ``postgresql://host:port/database``; ``?host=/run/postgresql`` names a socket."""
    if not address.startswith(("postgresql://", "postgres://")):
        raise CannotObserve("the address is not of the form postgresql://host:port/database")
    try:
        place = conninfo_to_dict(address)
    except (psycopg.Error, UnicodeError):
        # The reason may quote the address, and a password in it.
        raise CannotObserve("the address cannot be read: percent-encode what is special in it") from None
    if more := sorted(set(place) - {"host", "port", "dbname"}):
        raise CannotObserve(f"the address holds {', '.join(more)}: only host, port and database have their place in it")
    if not place.get("dbname") or not place.get("host") or "," in str(place["host"]):
        raise CannotObserve("the address must name one host and one database")
    return dict(place)


@contextmanager
def connected(parameters: Options, deadline: Deadline) -> Iterator[psycopg.Connection[TupleRow]]:
    """A connection that is closed at the end; raises ``Refused`` or ``CannotObserve``.

    psycopg counts whole seconds and waits for two at least; for a deadline before that, the pool cuts in.
    """
    if not all(_can_be_sent(value) for value in parameters.values() if isinstance(value, str)):
        raise CannotObserve("user, password or database holds a NUL: libpq would cut it off there")
    try:
        connection = psycopg.connect(
            **parameters,
            connect_timeout=math.ceil(deadline.left_s()),
            # A pooler may give each transaction to another session, which knows no statement prepared before.
            prepare_threshold=None,
        )
    except psycopg.Error as reason:
        raise _refusal(reason) from reason
    with closing(connection):
        yield connection


def _refusal(reason: psycopg.Error) -> CannotObserve:
    if reason.pgconn and reason.pgconn.needs_password:
        return Refused("the server asks for a password, and none was given", asked_for_password=True)
    if found := SERVER_WORDS.search(str(reason)):
        return Refused(_words(found["words"]), asked_for_password=bool(reason.pgconn and reason.pgconn.used_password))
    return CannotObserve(_words(str(reason)))


def _words(text: str) -> str:
    """One line, of a length that a report can hold."""
    return " ".join(text.split())[:MAX_WORDS]


def _can_be_sent(text: str) -> bool:
    """PostgreSQL and libpq end a text at its first NUL: no name in a catalogue and no password has one."""
    return "\0" not in text


# --- logins that ought to be refused ---------------------------------------------------------------------------------


def _logins(parameters: Options, expected: Options, deadline: Deadline) -> dict[str, Logins]:
    """Try them side by side, in half of the time that is left."""
    wanted = default_passwords(expected)
    usual = {parameters["user"], USUAL_SUPERUSER} if expected.get("refuses_unauthenticated") else set()
    users = sorted({*wanted, *usual})
    tried = [(user, password) for user in users for password in _passwords(wanted.get(user, []))]
    time_s = deadline.left_s() / 2
    limits = Limits(timeout_s=time_s, total_timeout_s=time_s, workers=LOGIN_WORKERS)
    outcomes = look_at_all(tried, partial(_answer, parameters), limits=limits)
    answers: dict[str, list[Known[LoginAnswer]]] = {user: [] for user in users}
    for (user, _), outcome in zip(tried, outcomes, strict=True):
        answers[user].append(outcome.observation)
    return {user: _as_logins(*answered) for user, answered in answers.items()}


def _passwords(known_ones: list[str]) -> list[str | None]:
    """None at all; then, where there are any to try, a random one to compare with, and each of them."""
    return [None, secrets.token_urlsafe(), *known_ones] if known_ones else [None]


def _as_logins(without: Known[LoginAnswer], *others: Known[LoginAnswer]) -> Logins:
    return (
        Logins(without_password=without, random_password=others[0], default_passwords=tuple(others[1:]))
        if others
        else Logins(without_password=without)
    )


def _answer(parameters: Options, login: tuple[str, str | None], deadline: Deadline) -> LoginAnswer:
    user, password = login
    try:
        with connected({**parameters, "user": user, "password": password, "passfile": NO_PASSFILE}, deadline):
            return LoginAnswer(let_in=True, asked_for_password=False)
    except Refused as reason:
        return LoginAnswer(let_in=False, asked_for_password=reason.asked_for_password, words=str(reason))


# --- one bounded, read-only conversation -----------------------------------------------------------------------------


class Reader:
    """Asks questions in read-only transactions with time-outs of their own.

    All of that is set for a transaction alone, so that the next client of a pooler inherits nothing. Nothing but
    ``pg_catalog`` is searched, so that nobody's functions of the same names are run; ``search_path`` is the one before.
    """

    def __init__(self, connection: psycopg.Connection[TupleRow], deadline: Deadline) -> None:
        connection.read_only = True
        # A standby knows no serializable transactions, whatever the role's default is.
        connection.isolation_level = IsolationLevel.READ_COMMITTED
        self.connection = connection
        self.search_path: list[str] = []
        self._deadline = deadline

    def rows(self, query: LiteralString | sql.Composed, *values: Any) -> list[TupleRow]:
        """All rows; raises ``CannotObserve`` in the server's words, after which the next question is asked afresh."""
        left_s = self._deadline.left_s()
        try:
            if self.connection.info.transaction_status == TransactionStatus.IDLE:
                self._begin(left_s)
            rows = self.connection.execute(query, values or None).fetchall()
        except (psycopg.Error, UnicodeError) as reason:
            self.end()
            raise CannotObserve(_words(str(reason))) from reason
        if any(len(str(value)) > MAX_VALUE_CHARACTERS for row in rows for value in row):
            raise CannotObserve(f"a value in the answer is longer than {MAX_VALUE_CHARACTERS} characters")
        return rows

    def row(self, query: LiteralString, *values: Any) -> TupleRow:
        """The only row."""
        return self.rows(query, *values)[0]

    def end(self) -> None:
        """Undo what was set, if there still is a connection."""
        with suppress(psycopg.Error):
            self.connection.rollback()

    def _begin(self, left_s: float) -> None:
        """What waits for a lock, as a question to a table that is being migrated does, leaves time for the others."""
        begun = self.connection.execute(
            """
            SELECT pg_catalog.current_schemas(false), pg_catalog.set_config('search_path', 'pg_catalog', true),
                pg_catalog.set_config('statement_timeout', %s, true), pg_catalog.set_config('lock_timeout', %s, true)
            """,
            (f"{math.ceil(left_s * 500)}ms", f"{math.ceil(left_s * 250)}ms"),
        ).fetchall()
        self.search_path = begun[0][0]


def attempt(look: Callable[[], T]) -> Known[T]:
    """A part of an observation, or why it could not be seen."""
    try:
        return look()
    except CannotObserve as reason:
        return reason
    except (IndexError, TypeError, ValueError) as strange:
        return CannotObserve(f"the server's answer has another shape than PostgreSQL's: {type(strange).__name__}")


# --- what is asked ---------------------------------------------------------------------------------------------------


def _as_somebody(parameters: Options, expected: Options, deadline: Deadline) -> dict[str, Any]:
    """What a login can see, as far as it is asked for."""
    with connected(parameters, deadline) as connection:
        reader = Reader(connection, deadline)
        session = attempt(lambda: _session(reader))
        seen: dict[str, Any] = {"session": session}
        if isinstance(session, Session):
            looks = _looks(reader, expected, session)
            seen |= {part: attempt(look) for part, (options, look) in looks.items() if options & set(expected)}
            seen["migrations"] = _migrations(reader, expected.get("migrations", []))
        reader.end()
        return seen


def _looks(reader: Reader, expected: Options, session: Session) -> dict[str, tuple[set[str], Callable[[], Any]]]:
    """How each part is seen, by the expectations that ask for it."""
    replication = _own_delay if session.standby else _delay_of_standbys
    return {
        "connections": ({"min_free_connections", "min_free_connections_percent"}, partial(_connections, reader)),
        "extensions": ({"extensions"}, partial(_extensions, reader)),
        "settings": ({"settings"}, lambda: _settings(reader, expected["settings"])),
        "tables": ({"tables"}, lambda: frozenset(_relations(reader, expected["tables"]))),
        "replication": (
            {"min_standbys", "max_replication_lag_s", "max_replication_lag_bytes"},
            partial(replication, reader),
        ),
        "transactions": ({"max_transaction_age_s"}, partial(_transactions, reader)),
        "frozen_age": ({"max_xid_age", "max_multixact_age"}, partial(_frozen_age, reader)),
        "invalid_indexes": ({"indexes_valid"}, partial(_invalid_indexes, reader)),
    }


def _session(reader: Reader) -> Session:
    version, encoding, standby, superuser, tls = reader.row("""
        SELECT current_setting('server_version'), getdatabaseencoding(), pg_is_in_recovery(),
            (SELECT bool_or(rolsuper) FROM pg_roles WHERE pg_has_role(session_user, oid, 'MEMBER')),
            (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl)
        """)
    # A pooler may speak TLS with the server, and none with us.
    own_tls = tls if reader.connection.pgconn.ssl_in_use else None
    return Session(version=version, encoding=encoding, standby=standby, superuser=superuser, tls=own_tls)


def _connections(reader: Reader) -> Connections:
    # Without pg_monitor other roles' kinds of backend are hidden; those that belong to a role are counted then.
    usable, in_use = reader.row("""
        SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
                - coalesce(current_setting('reserved_connections', true)::int, 0),
            (SELECT count(*) FROM pg_stat_activity
                WHERE backend_type = 'client backend' OR backend_type IS NULL AND usesysid IS NOT NULL)
        """)
    return Connections(usable=usable, in_use=in_use)


def _extensions(reader: Reader) -> dict[str, Extension]:
    rows = reader.rows("""
        SELECT coalesce(extname, name)::text, extversion, default_version
        FROM pg_extension FULL JOIN pg_available_extensions() ON name = extname
        """)
    return {name: Extension(installed=installed, available=available) for name, installed, available in rows}


def _settings(reader: Reader, declared: Iterable[str]) -> dict[str, Known[Setting]]:
    """The declared ones by lower-case name. What this session sets for itself is read as it would be without that."""
    names = [name.lower() for name in declared]
    rows = reader.rows(
        """
        SELECT lower(name), vartype, unit, enumvals,
            CASE WHEN name IN ('statement_timeout', 'lock_timeout', 'search_path') THEN reset_val ELSE setting END
        FROM pg_settings WHERE lower(name) = ANY(%s::text[])
        """,
        [name for name in names if _can_be_sent(name)],
    )
    (sees_all,) = reader.row("SELECT pg_has_role(current_user, 'pg_read_all_settings', 'USAGE')")
    absent = "the server knows no such setting"
    hidden = "the server knows no such setting, or hides it from this role: GRANT pg_read_all_settings"
    found = {
        name: Setting(value=value or "", vartype=vartype, unit=unit, enumvals=tuple(enumvals or ()))
        for name, vartype, unit, enumvals, value in rows
    }
    return {name: found.get(name) or CannotObserve(absent if sees_all else hidden) for name in names}


def _relations(reader: Reader, declared: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Schema and name of those declared tables that exist.

    ``schema.table`` is split at the first dot, a mere ``table`` is found through the search path; both are taken
    literally. Names are compared as text: a cast to the type of a name would cut them, and find another one.
    """
    split = {name: name.split(".", 1) for name in declared if _can_be_sent(name)}
    rows = reader.rows(
        """
        SELECT nspname::text, relname::text FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE relkind IN ('r', 'p', 'f', 'v', 'm') AND relname = ANY(%s::text[])
        """,
        [parts[-1] for parts in split.values()],
    )
    there = {(schema, table) for schema, table in rows}
    found = {}
    for name, parts in split.items():
        schemas = parts[:1] if len(parts) == 2 else reader.search_path
        places = [(schema, parts[-1]) for schema in schemas if (schema, parts[-1]) in there]
        if places:
            found[name] = places[0]
    return found


def _migrations(reader: Reader, declared: Iterable[Options]) -> dict[str, Known[list[str]]]:
    return {migration_name(each): attempt(partial(_revisions, reader, migration_source(each))) for each in declared}


def _revisions(reader: Reader, source: Options) -> list[str]:
    """The revisions of a table without an order, of many the first; the last one of a table that has an order."""
    if not all(_can_be_sent(name) for name in source.values()):
        raise CannotObserve("a declared name holds a NUL: nothing is named so")
    relation = _relations(reader, [source["table"]]).get(source["table"])
    if relation is None:
        raise CannotObserve(f"there is no table {source['table']}: nothing was ever migrated, or it has another name")
    column, order = sql.Identifier(source["column"]), source.get("order_by")
    query = sql.SQL("SELECT {}::text FROM {}").format(column, sql.Identifier(*relation))
    if source.get("app"):
        query += sql.SQL(" WHERE app = %s")
    if order:
        query += sql.SQL(" ORDER BY {} DESC, {} DESC LIMIT 1").format(sql.Identifier(order), column)
    else:
        query += sql.SQL(" LIMIT {}").format(MAX_HEADS)
    rows = reader.rows(query, *filter(None, [source.get("app")]))
    return [str(revision) for (revision,) in rows]


def _delay_of_standbys(reader: Reader) -> Replication:
    # replay_lag stands still while a standby says nothing: what it has not confirmed is as old as its last word.
    standbys, hidden, lag_s, lag_bytes = reader.row("""
        SELECT count(*) FILTER (WHERE state = 'streaming'), count(*) FILTER (WHERE state IS NULL),
            max(CASE WHEN replay_lsn IS NOT NULL THEN extract(epoch FROM greatest(replay_lag, '0',
                CASE WHEN replay_lsn < pg_current_wal_lsn() THEN clock_timestamp() - reply_time END)) END)::float8,
            max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn))::bigint
        FROM pg_stat_replication
        """)
    _must_not_hide(hidden, "standbys")
    return Replication(standbys=standbys, lag_s=_rounded(lag_s), lag_bytes=lag_bytes)


def _own_delay(reader: Reader) -> Replication:
    """A standby that does not stream has no delay to tell but the age of what it last replayed."""
    standbys, hidden, lag_s, lag_bytes = reader.row("""
        SELECT (SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'),
            (SELECT count(*) FROM pg_stat_wal_receiver WHERE status IS NULL),
            CASE WHEN streams AND pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
                ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END::float8,
            CASE WHEN streams THEN pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) END::bigint
        FROM (SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming') AS streams) AS receiver
        """)
    _must_not_hide(hidden, "the replication's state")
    return Replication(standbys=standbys, lag_s=_rounded(lag_s), lag_bytes=lag_bytes)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _transactions(reader: Reader) -> dict[str, Transaction]:
    (hidden,) = reader.row("SELECT count(*) FROM pg_stat_activity WHERE backend_type IS NULL AND usesysid IS NOT NULL")
    _must_not_hide(hidden, "other roles' transactions")
    rows = reader.rows("""
        WITH held AS (
            SELECT CASE WHEN state LIKE 'idle in transaction%' THEN 'idle' ELSE 'active' END AS kind,
                xact_start AS since,
                format('process %s of %s in %s (%s)', pid, usename, datname, application_name) AS held_by
            FROM pg_stat_activity
            WHERE backend_type = 'client backend' AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
            UNION ALL
            SELECT 'prepared', prepared, format('%s of %s in %s', gid, owner, database) FROM pg_prepared_xacts
        )
        SELECT DISTINCT ON (kind) kind, extract(epoch FROM clock_timestamp() - since)::float8, held_by
        FROM held ORDER BY kind, since
        """)
    return {kind: Transaction(age_s=round(age_s, 3), held_by=held_by) for kind, age_s, held_by in rows}


def _frozen_age(reader: Reader) -> FrozenAge:
    xid, multixact = reader.row("SELECT max(age(datfrozenxid)), max(mxid_age(datminmxid)) FROM pg_database")
    return FrozenAge(xid=xid, multixact=multixact)


def _invalid_indexes(reader: Reader) -> list[str]:
    rows = reader.rows("""
        SELECT format('%I.%I', nspname, relname)
        FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE NOT (indisvalid AND indisready AND indislive) ORDER BY 1 LIMIT 100
        """)
    return [name for (name,) in rows]


def _must_not_hide(hidden: int, what: str) -> None:
    if hidden:
        raise CannotObserve(f"the server hides {what} from this role: GRANT pg_monitor")
