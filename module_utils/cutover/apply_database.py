# SPDX-License-Identifier: GPL-3.0-or-later
"""Make, close, mark and drop whole databases of a PostgreSQL server with psycopg, for those that bring one back."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from .checks import CannotObserve
from .observe_postgres import connection_parameters
from .observe_rows import unreadable_tables
from .restore import MARK, CannotRestore, Mark, Place, Stage, read_mark
from .ticks import ticks

Options = Mapping[str, Any]
Connection = psycopg.Connection[TupleRow]

CONNECT_TIMEOUT_S = 10
LOCK_WAIT_S = 15.0
EVERY_S = 0.1
# How long whoever has just ended may take to leave a database.
LEAVING_S = 5.0
# The first of the two numbers of our advisory locks; the second one is made from the database's name.
LOCK_CLASS = 0x63757431
# Settings whose value is a list of names: SET reads it otherwise than as one text.
LISTS = frozenset({"search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries"})


# --- a database as it is ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Database:
    """What a database is beside its contents. ``grants`` is nothing where they are the server's default."""

    oid: int
    name: str
    owner: str
    open: bool
    limit: int
    made: Mapping[str, Any]
    settings: frozenset[tuple[str | None, str]]
    grants: frozenset[tuple[str | None, str, bool]] | None
    comment: str | None

    @property
    def place(self) -> Place:
        """What decides what comes next."""
        return Place(oid=self.oid, mark=read_mark(self.comment))

    @property
    def dress(self) -> tuple[Any, ...]:
        """All that is not its name, its number, its contents or its comment."""
        return self.owner, self.limit, self.made, self.settings, self.grants


def read_database(admin: Connection, name: str) -> Database | None:
    """The database of this name, if there is one."""
    row = admin.execute(_DATABASE, (name,)).fetchone()
    if row is None:
        return None
    oid, owner, is_open, limit, made, settings, grants, comment = row
    return Database(
        oid=oid,
        name=name,
        owner=owner,
        open=is_open,
        limit=limit,
        made=made,
        settings=frozenset((role, setting) for role, setting in settings),
        grants=None if grants is None else frozenset((grantee, what, may) for grantee, what, may in grants),
        comment=comment,
    )


_DATABASE: LiteralString = """
    SELECT d.oid::bigint, pg_get_userbyid(datdba)::text, datallowconn, datconnlimit,
        jsonb_build_object('encoding', pg_encoding_to_char(encoding), 'tablespace', spcname) || (
            SELECT jsonb_object_agg(key, value) FROM jsonb_each_text(to_jsonb(d)) AS each
            WHERE key IN ('datcollate', 'datctype', 'datlocprovider', 'daticulocale', 'datlocale', 'daticurules')
                AND value IS NOT NULL
        ),
        (
            SELECT coalesce(jsonb_agg(jsonb_build_array(rolname, setting)), '[]')
            FROM pg_db_role_setting LEFT JOIN pg_roles ON pg_roles.oid = setrole, unnest(setconfig) AS setting
            WHERE setdatabase = d.oid
        ),
        CASE WHEN datacl IS NOT NULL THEN (
            SELECT coalesce(jsonb_agg(jsonb_build_array(
                CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee) END, privilege_type, is_grantable)), '[]')
            FROM aclexplode(datacl)
        ) END,
        shobj_description(d.oid, 'pg_database')
    FROM pg_database AS d JOIN pg_tablespace ON pg_tablespace.oid = dattablespace WHERE datname = %s::text
"""


def create_like(admin: Connection, model: Database, name: str) -> Database:
    """A new and empty database that is as ``model`` is, but for what ``dress_like`` does."""
    made = model.made
    parts = [
        sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)),
        sql.SQL("OWNER {}").format(sql.Identifier(model.owner)),
        *_tablespace(admin, made["tablespace"]),
        sql.SQL("ENCODING {}").format(sql.Literal(made["encoding"])),
        *(
            sql.SQL("{} {}").format(sql.SQL(option), sql.Literal(made[part]))
            for part, option in _LOCALE.items()
            if part in made
        ),
        *_provider(made),
    ]
    admin.execute(sql.SQL(" ").join(parts))
    return must_be_there(admin, name)


def _tablespace(admin: Connection, name: str) -> Iterator[sql.Composable]:
    """Naming the one that it would get by itself needs a right that nobody has by itself."""
    (usual,) = one_row(
        admin,
        """
        SELECT spcname FROM pg_database JOIN pg_tablespace ON pg_tablespace.oid = dattablespace
        WHERE datname = 'template0'
        """,
    )
    if name != usual:
        yield sql.SQL("TABLESPACE {}").format(sql.Identifier(name))


_LOCALE: dict[str, LiteralString] = {
    "datcollate": "LC_COLLATE",
    "datctype": "LC_CTYPE",
    "daticulocale": "ICU_LOCALE",
    "daticurules": "ICU_RULES",
}


def _provider(made: Mapping[str, Any]) -> Iterator[sql.Composable]:
    provider = made.get("datlocprovider", "c")
    if provider == "i":
        yield sql.SQL("LOCALE_PROVIDER icu")
    if provider == "b":
        yield sql.SQL("LOCALE_PROVIDER builtin")
    if "datlocale" in made:
        option = sql.SQL("ICU_LOCALE") if provider == "i" else sql.SQL("BUILTIN_LOCALE")
        yield sql.SQL("{} {}").format(option, sql.Literal(made["datlocale"]))


def dress_like(admin: Connection, model: Database, name: str) -> None:
    """Give a new database the settings, limits and grants of ``model``. Within a transaction of the caller's."""
    database = sql.Identifier(name)
    admin.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(database, sql.Literal(model.limit)))
    if model.grants is not None:
        for whom in (sql.SQL("PUBLIC"), sql.Identifier(model.owner)):
            admin.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM {}").format(database, whom))
        for grantee, privilege, may_grant in sorted(model.grants, key=str):
            _grant(admin, database, grantee, privilege, may_grant=may_grant)
    for role, setting in sorted(model.settings, key=str):
        set_setting(admin, database, role, *setting.split("=", 1))


def _grant(
    admin: Connection, database: sql.Identifier, grantee: str | None, privilege: str, *, may_grant: bool
) -> None:
    whom = sql.SQL("PUBLIC") if grantee is None else sql.Identifier(grantee)
    option = sql.SQL("WITH GRANT OPTION" if may_grant else "")
    statement = sql.SQL("GRANT {} ON DATABASE {} TO {} {}")
    # A privilege is one of the server's own words.
    admin.execute(statement.format(sql.SQL(privilege), database, whom, option))


def set_setting(admin: Connection, database: sql.Identifier, role: str | None, setting: str, value: str) -> None:
    """Set something for a database, or for a role in it. A list of names needs a transaction of the caller's."""
    whose = sql.SQL("DATABASE {}").format(database)
    if role is not None:
        whose = sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(role), database)
    named = sql.SQL(".").join(map(sql.Identifier, setting.split(".")))
    if setting in LISTS:
        admin.execute("SELECT pg_catalog.set_config(%s, %s, true)", (setting, value))
        admin.execute(sql.SQL("ALTER {} SET {} FROM CURRENT").format(whose, named))
    else:
        admin.execute(sql.SQL("ALTER {} SET {} TO {}").format(whose, named, sql.Literal(value)))


def mark(admin: Connection, name: str, comment: str | None) -> None:
    """Write the comment on a database."""
    admin.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(comment)))


def marked(admin: Connection) -> dict[str, Mark]:
    """All databases that bear a mark, by name."""
    marks = {name: read_mark(comment) for name, comment in admin.execute(_MARKED, (MARK,)).fetchall()}
    return {name: found for name, found in marks.items() if found}


_MARKED: LiteralString = """
    SELECT datname::text, shobj_description(oid, 'pg_database') FROM pg_database
    WHERE starts_with(shobj_description(oid, 'pg_database'), %s)
"""


def drop_own(admin: Connection, name: str) -> None:
    """Drop a database that this module has made and not swapped in; raises ``CannotRestore`` for any other."""
    found = read_database(admin, name)
    own = found.place.mark if found else None
    if found is None or own is None or own.stage is Stage.KEPT or own.restored_oid != found.oid:
        raise CannotRestore(f"{name!r} is not dropped: it is no database that this module has made and not swapped in")
    why_not = ""
    for _ in ticks(total_s=LEAVING_S, every_s=EVERY_S):
        try:
            # What an earlier call has left behind may still write into it.
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        except psycopg.errors.InsufficientPrivilege as reason:
            # A login that is stronger, such as pg_amcheck's, cannot be thrown out, and may just be leaving.
            why_not = in_words(reason)
        except psycopg.Error as reason:
            raise CannotRestore(f"{name!r} is not dropped: {in_words(reason)}") from None
        else:
            return
    raise CannotRestore(f"{name!r} is not dropped: {why_not}")


def must_be_there(admin: Connection, name: str) -> Database:
    """The database of this name; raises ``CannotRestore`` when it is gone."""
    found = read_database(admin, name)
    if found is None:
        raise CannotRestore(f"the database {name!r} is gone")
    return found


# --- connections -----------------------------------------------------------------------------------------------------


@contextmanager
def connected(options: Options, database: str, *, autocommit: bool = False) -> Iterator[Connection]:
    """A connection to ``database`` on the server that ``options`` name. Statements end after ``options["timeout_s"]``.

    Raises ``CannotRestore`` in the server's words, also for what fails within.
    """
    settings = {
        "statement_timeout": math.ceil(options["timeout_s"] * 1000),
        "lock_timeout": math.ceil(options["swap_timeout_s"] * 1000),
        "default_transaction_read_only": "off",
    }
    bounds = " ".join(f"-c {name}={value}" for name, value in settings.items())
    try:
        connection = psycopg.connect(
            **connection_parameters(options) | {"dbname": database, "options": bounds},
            connect_timeout=CONNECT_TIMEOUT_S,
            autocommit=autocommit,
            prepare_threshold=None,
        )
    except (CannotObserve, psycopg.Error) as reason:
        raise CannotRestore(f"{database!r} could not be connected to: {str(reason).strip()}") from None
    with closing(connection):
        try:
            yield connection
        except psycopg.Error as reason:
            raise CannotRestore(f"{database!r}: {in_words(reason)}") from None


def for_programs(parameters: Options, database: str) -> dict[str, str]:
    """How PostgreSQL's programs connect: as we do, but for what only a newer libpq knows."""
    told = {"host", "port", "user", "passfile", "sslmode", "sslrootcert", "gssencmode", "application_name"}
    where = {name: str(value) for name, value in parameters.items() if name in told and value is not None}
    if where.get("sslrootcert") == "system":
        del where["sslrootcert"]
    return {**where, "dbname": database}


def in_words(reason: psycopg.Error) -> str:
    """The server's message, with its detail and its code."""
    words = (reason.diag.message_primary or str(reason)).strip()
    detail = f" {reason.diag.message_detail}" if reason.diag.message_detail else ""
    return f"{words}.{detail} ({reason.sqlstate})" if reason.sqlstate else words


@contextmanager
def alone(admin: Connection, database: str) -> Iterator[None]:
    """Keep every other call for the same database out; raises ``CannotRestore`` when one does not end.

    The server ends the lock of a killed one when it has noticed, so that one is waited for.
    """
    key = (LOCK_CLASS, zlib.crc32(database.encode()) - 2**31)
    for _ in ticks(total_s=LOCK_WAIT_S, every_s=EVERY_S):
        if one_row(admin, "SELECT pg_try_advisory_lock(%s, %s)", key)[0]:
            break
    else:
        raise CannotRestore(f"another call is bringing {database!r} back, still after {LOCK_WAIT_S:g} s")
    try:
        yield
    finally:
        with suppress(psycopg.Error):
            admin.execute("SELECT pg_advisory_unlock(%s, %s)", key)


def one_row(connection: Connection, query: LiteralString, values: Sequence[Any] | Mapping[str, Any] = ()) -> TupleRow:
    """The only row."""
    row = connection.execute(query, values or None).fetchone()
    assert row is not None
    return row


# --- what is asked before anything is made ---------------------------------------------------------------------------


def refuse_missing_rights(admin: Connection, inside: Connection, present: Database) -> None:
    """Raise ``CannotRestore`` that lists all that would fail later, each with what mends it."""
    missing = [what for what, has in _rights(admin, present).items() if not has]
    if unreadable := unreadable_tables(inside):
        missing.append(f"SELECT on {', '.join(unreadable)} (GRANT pg_read_all_data), to count what was written")
    if missing:
        (user,) = one_row(admin, "SELECT current_user::text")
        raise CannotRestore(f"nothing was begun. The role {user!r} lacks: " + "; ".join(missing))


def _rights(admin: Connection, present: Database) -> dict[str, bool]:
    superuser, creates, owns, signals, others, prepared, standby = one_row(
        admin, _RIGHTS, {"owner": present.owner, "oid": present.oid, "name": present.name}
    )
    return {
        "a server that can be written to: this one is a standby": not standby,
        "CREATEDB, to make and to rename databases (ALTER ROLE ... CREATEDB)": superuser or creates,
        f"membership in {present.owner!r}, the owner of {present.name!r}": superuser or owns,
        "pg_signal_backend, to end sessions (GRANT pg_signal_backend)": superuser or signals,
        f"the rights of a superuser, to end the sessions of superusers: {', '.join(others or [])}": superuser
        or not others,
        f"an end of the prepared transactions {', '.join(prepared or [])}: no one can end them but COMMIT PREPARED or "
        "ROLLBACK PREPARED": not prepared,
    }


_RIGHTS: LiteralString = """
    SELECT rolsuper, rolcreatedb, pg_has_role(oid, %(owner)s::text::name, 'USAGE'),
        pg_has_role(oid, 'pg_signal_backend', 'USAGE'),
        (SELECT array_agg(DISTINCT format('%%s (%%s)', usename, application_name)) FROM pg_stat_activity
            WHERE datid = %(oid)s AND usesysid IN (SELECT oid FROM pg_roles WHERE rolsuper)),
        (SELECT array_agg(gid) FROM pg_prepared_xacts WHERE database = %(name)s::text),
        pg_is_in_recovery()
    FROM pg_roles WHERE rolname = current_user
"""


# --- closing the present database ------------------------------------------------------------------------------------


def set_open(admin: Connection, name: str, *, to_clients: bool) -> None:
    """Let clients connect to a database, or nobody from now on."""
    statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    admin.execute(statement.format(sql.Identifier(name), sql.Literal(to_clients)))


def end_sessions(admin: Connection, database: Database, *, but: Sequence[int], within_s: float) -> None:
    """End all sessions of a closed database but those of these processes; raises ``CannotRestore`` for one that stays.

    Who was connecting when the database was closed holds a lock on it until it can be seen as a session. So when first
    no such lock and then no session is left, nobody is in it any more, and nobody can come.
    """
    left: list[TupleRow] = []
    for _ in ticks(total_s=within_s, every_s=EVERY_S):
        connecting = admin.execute(_CONNECTING, (database.oid, list(but))).fetchall()
        left = admin.execute(_END, (database.oid, list(but))).fetchall()
        if not connecting and not left:
            return
    who = "; ".join(f"{user} (process {pid}, {application})" for pid, user, application, _ in left)
    raise CannotRestore(f"after {within_s:g} s {database.name!r} still has sessions: {who or 'some are being made'}")


_CONNECTING: LiteralString = """
    SELECT FROM pg_locks
    WHERE locktype = 'object' AND classid = 'pg_database'::regclass AND objid = %s AND pid <> ALL (%s::int[])
"""
# Without a role it is the server's own process, such as autovacuum: it writes nothing, and the rename ends it.
_END: LiteralString = """
    SELECT pid, usename::text, application_name, pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datid = %s AND usesysid IS NOT NULL AND pid <> ALL (%s::int[])
"""
