# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true of a PostgreSQL server (checklist rows C5, C8, C9, C12, E4, E7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from operator import ge, le
from typing import Any

from .checks import CannotObserve, Check, ExpectationError, Known, known
from .judge_postgres_settings import Setting, is_set_to
from .versions import at_least

NOBODY = CannotObserve("nobody logged in")
UNSEEN = CannotObserve("it was not looked at")

# Where each migration tool keeps what is applied. Alembic's table has a row for each head, the others one for each
# revision ever applied: the last one in their order counts.
MIGRATION_TABLES: Mapping[str, Mapping[str, str]] = {
    "alembic": {"table": "alembic_version", "column": "version_num"},
    "django": {"table": "django_migrations", "column": "name", "order_by": "id"},
    "sql": {"table": "schema_migrations", "column": "version"},
}


@dataclass(frozen=True, kw_only=True)
class Session:
    """What the server says of the session that looks. ``tls`` is the protocol's version, ``None`` without TLS."""

    version: str
    encoding: str
    standby: bool
    superuser: bool
    tls: str | None


@dataclass(frozen=True, kw_only=True)
class Connections:
    """How many connections ordinary roles may have, and how many there are."""

    usable: int
    in_use: int

    @property
    def free(self) -> int:
        """How many more fit."""
        return self.usable - self.in_use

    @property
    def free_percent(self) -> float:
        """How many more fit, of all that are usable."""
        return round(100 * self.free / self.usable, 1) if self.usable > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class Extension:
    """The version that is created in this database, and the one that the server could create."""

    installed: str | None
    available: str | None


@dataclass(frozen=True, kw_only=True)
class Replication:
    """Streaming standbys seen from a primary, or a standby's own delay; ``None`` where nothing is replicated."""

    standbys: int
    lag_s: float | None
    lag_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """The oldest transaction of its kind: its age, and who holds it."""

    age_s: float
    held_by: str


@dataclass(frozen=True, kw_only=True)
class FrozenAge:
    """Transactions and multixacts since the oldest row that is not frozen, over all databases."""

    xid: int
    multixact: int


@dataclass(frozen=True, kw_only=True)
class LoginAnswer:
    """What the server said to a login: whether it let in, whether it asked for a password, and its words if not."""

    let_in: bool
    asked_for_password: bool
    words: str = ""


@dataclass(frozen=True, kw_only=True)
class Logins:
    """Answers to one user's logins: with no password, with a random one, and with each of the known defaults."""

    without_password: Known[LoginAnswer]
    random_password: Known[LoginAnswer] = UNSEEN
    default_passwords: tuple[Known[LoginAnswer], ...] = ()


@dataclass(frozen=True, kw_only=True)
class PostgresObservation:
    """Everything seen of one server. What could not be seen is a ``CannotObserve`` in its place.

    ``tables`` holds those of the asked names that exist; ``migrations`` has the recorded revisions, oldest first, by
    ``migration_name``; ``invalid_indexes`` are schema-qualified.
    """

    session: Known[Session]
    connections: Known[Connections] = NOBODY
    extensions: Known[Mapping[str, Extension]] = NOBODY
    settings: Known[Mapping[str, Known[Setting]]] = NOBODY
    tables: Known[frozenset[str]] = NOBODY
    migrations: Mapping[str, Known[Sequence[str]]] = field(default_factory=dict)
    replication: Known[Replication] = NOBODY
    transactions: Known[Mapping[str, Transaction]] = NOBODY
    frozen_age: Known[FrozenAge] = NOBODY
    invalid_indexes: Known[Sequence[str]] = NOBODY
    logins: Known[Mapping[str, Logins]] = UNSEEN


PostgresCheck = Check[PostgresObservation]


def postgres_checks(expected: Mapping[str, Any]) -> Iterator[PostgresCheck]:
    """Every check that ``expected`` implies; the keys are those of postgres_check's ``expected`` option.

    Raises ``ExpectationError`` for an expectation that cannot be understood.
    Source: https://www.postgresql.org/docs/current/monitoring-stats.html and the pages beside it.
    """
    yield from _session_checks(expected)
    yield from _access_checks(expected)
    yield from _extension_checks(expected.get("extensions", {}))
    yield from _setting_checks(expected.get("settings", {}))
    yield from _connection_checks(expected)
    yield from _table_checks(expected.get("tables", []))
    for migration in expected.get("migrations", []):
        yield from _migration_checks(migration)
    yield from _replication_checks(expected)
    yield from _transaction_checks(expected)
    yield from _maintenance_checks(expected)


def _session_checks(expected: Mapping[str, Any]) -> Iterator[PostgresCheck]:
    yield Check(
        name="login",
        expected=True,
        look=lambda seen: known(seen.session) is not None,
        remedy="give this target the user, password and database that the server knows, and let pg_hba.conf admit them",
    )
    yield Check(
        name="role.superuser",
        expected=False,
        look=lambda seen: known(seen.session).superuser,
        needs="login",
        remedy="use a role that neither is nor may become a superuser; what the checks read, pg_monitor grants",
    )
    if "min_version" in expected:
        yield Check(
            name="version",
            expected=f">= {expected['min_version']}",
            look=lambda seen: known(seen.session).version,
            holds=lambda version: at_least(version, expected["min_version"]),
            needs="login",
            remedy="upgrade the server: pg_upgrade, or a dump into a new one",
        )
    if "encoding" in expected:
        yield Check(
            name="database.encoding",
            expected=expected["encoding"],
            look=lambda seen: known(seen.session).encoding,
            needs="login",
            remedy="create the database anew with this encoding, and restore a dump into it",
        )
    if "standby" in expected:
        yield Check(
            name="standby",
            expected=expected["standby"],
            look=lambda seen: known(seen.session).standby,
            needs="login",
            remedy="address the declared server, or promote the standby: SELECT pg_promote()",
        )


def _access_checks(expected: Mapping[str, Any]) -> Iterator[PostgresCheck]:
    if "tls" in expected:
        yield Check(
            name="tls",
            expected="in use" if expected["tls"] else "not in use",
            look=lambda seen: known(seen.session).tls or "not in use",
            holds=lambda tls: (tls != "not in use") is expected["tls"],
            needs="login",
            remedy="switch ssl on, give the server a certificate, and admit only hostssl in pg_hba.conf",
        )
    if expected.get("refuses_unauthenticated"):
        yield Check(
            name="unauthenticated",
            expected="refused",
            look=_let_in_without_password,
            remedy="replace trust by scram-sha-256 in pg_hba.conf, and reload it: SELECT pg_reload_conf()",
        )
    for user, passwords in sorted(default_passwords(expected).items()):
        yield Check(
            name=f"default_password.{user}",
            expected="refused",
            look=partial(_default_password, user, len(passwords)),
            # Where no password is needed, none can be refused.
            needs="unauthenticated" if expected.get("refuses_unauthenticated") else None,
            remedy=f"give it a strong password: \\password {quoted(user)}",
        )


def default_passwords(expected: Mapping[str, Any]) -> dict[str, list[str]]:
    """The known passwords by user; raises ``ExpectationError`` for a user without any."""
    declared = expected.get("default_passwords", {})
    for user, passwords in declared.items():
        if not isinstance(passwords, list) or not passwords or not all(map(str, passwords)):
            raise ExpectationError(f"default_passwords of {user!r} is not a list of passwords: nothing would be tried")
    return {str(user): [str(password) for password in passwords] for user, passwords in declared.items()}


def _let_in_without_password(seen: PostgresObservation) -> str:
    answers = {user: logins.without_password for user, logins in known(seen.logins).items()}
    let_in = [user for user, answer in sorted(answers.items()) if isinstance(answer, LoginAnswer) and answer.let_in]
    if let_in:
        return "let in without a password: " + ", ".join(let_in)
    for answer in answers.values():
        if not known(answer).asked_for_password:
            _must_be_refused_by_rule(known(answer))
    return "refused"


def _default_password(user: str, passwords: int, seen: PostgresObservation) -> str:
    """Whether one of the passwords is the right one; which one it is stays unsaid."""
    logins = known(seen.logins)[user]
    if any(isinstance(answer, LoginAnswer) and answer.let_in for answer in logins.default_passwords):
        return "accepted"
    answers = [known(answer) for answer in logins.default_passwords]
    if len(answers) != passwords:
        raise CannotObserve(f"only {len(answers)} of {passwords} passwords were tried")
    return "accepted" if any(_is_right(answer, known(logins.random_password)) for answer in answers) else "refused"


def _is_right(answer: LoginAnswer, at_random: LoginAnswer) -> bool:
    """Whether the password of a refused login was right all the same.

    To a wrong one the server says the same as to a random one, in whatever language. Other words, such as that the
    database does not exist, come only after the password was found right.
    """
    if not answer.asked_for_password:
        _must_be_refused_by_rule(answer)
        return False
    if not at_random.asked_for_password:
        raise CannotObserve(f"a random password was answered in another way: {at_random.words or 'it was let in'}")
    return answer.words != at_random.words


def _must_be_refused_by_rule(answer: LoginAnswer) -> None:
    """Refused before a password was asked for: only a rule of pg_hba.conf says that it always will be.

    "Too many clients" says nothing of the kind. The file's name is what no translation of these messages changes.
    """
    if "pg_hba.conf" not in answer.words:
        raise CannotObserve(f"refused before a password was asked for: {answer.words}")


def _extension_checks(extensions: Mapping[str, Any]) -> Iterator[PostgresCheck]:
    for name, version in sorted(extensions.items()):
        yield Check(
            name=f"extension.{name}",
            expected=f">= {version}" if version else "created",
            look=partial(_extension, name),
            holds=partial(_is_created, str(version) if version else None),
            needs="login",
            remedy=f"CREATE EXTENSION {quoted(name)}, or ALTER EXTENSION {quoted(name)} UPDATE; "
            "one that is not available comes with a package such as postgresql-contrib",
        )


def _extension(name: str, seen: PostgresObservation) -> str:
    extension = known(seen.extensions).get(name)
    if extension is None:
        return "not available on this server"
    return extension.installed or f"not created, available in {extension.available}"


def _is_created(version: str | None, observed: str) -> bool:
    return not observed.startswith("not ") and (version is None or at_least(observed, version))


def _setting_checks(settings: Mapping[str, Any]) -> Iterator[PostgresCheck]:
    for name, value in sorted(settings.items()):
        if value is None:
            raise ExpectationError(f"settings.{name} declares no value")
        yield Check(
            name=f"config.{name}",
            expected=value,
            look=partial(_setting, name, value),
            needs="login",
            remedy=f"ALTER SYSTEM SET {quoted(name)}, then SELECT pg_reload_conf(), or a restart where it needs one",
        )


def _setting(name: str, declared: Any, seen: PostgresObservation) -> Any:
    """The declared value where the server's means the same, else the server's as it shows it."""
    setting = known(known(seen.settings)[name.lower()])
    return declared if is_set_to(setting, declared) else setting.shown()


def _connection_checks(expected: Mapping[str, Any]) -> Iterator[PostgresCheck]:
    for name, option in (("free", "min_free_connections"), ("free_percent", "min_free_connections_percent")):
        if option in expected:
            yield Check(
                name=f"connections.{name}",
                expected=f">= {expected[option]}",
                look=partial(_part, "connections", name),
                holds=partial(le, expected[option]),
                needs="login",
                remedy="close what is idle, pool connections, or raise max_connections and restart",
            )


def _table_checks(tables: Sequence[str]) -> Iterator[PostgresCheck]:
    for table in tables:
        yield Check(
            name=f"table.{table}",
            expected="present",
            look=partial(_table, table),
            needs="login",
            remedy="apply the migration that creates it; a table outside the search path is declared as schema.table",
        )


def _table(name: str, seen: PostgresObservation) -> str:
    return "present" if name in known(seen.tables) else "absent"


def migration_source(declared: Mapping[str, Any]) -> dict[str, Any]:
    """Where a migration tool records revisions: the declared table and columns, else those that its kind uses."""
    return dict(MIGRATION_TABLES[declared["kind"]]) | {
        name: value for name, value in declared.items() if value is not None
    }


def migration_name(declared: Mapping[str, Any]) -> str:
    """What tells one declared migration table from another: the table, and the app where Django's holds several."""
    source = migration_source(declared)
    return ".".join(filter(None, (source["table"], source.get("app"))))


def _migration_checks(declared: Mapping[str, Any]) -> Iterator[PostgresCheck]:
    name, head, has_heads = migration_name(declared), declared.get("head"), declared["kind"] == "alembic"
    _refuse_vague(declared, name)
    if has_heads:
        yield Check(
            name=f"migration.{name}.heads",
            expected="one",
            look=lambda seen: list(known(seen.migrations[name])),
            holds=lambda revisions: len(revisions) == 1,
            needs="login",
            remedy="join the branches by a merge revision, or apply the first revision",
        )
    if head is not None:
        yield Check(
            name=f"migration.{name}",
            expected=head,
            look=lambda seen: next(reversed(known(seen.migrations[name])), None),
            needs=f"migration.{name}.heads" if has_heads else "login",
            remedy=f"migrate the schema to {head}, or declare the revision that is meant",
        )


def _refuse_vague(declared: Mapping[str, Any], name: str) -> None:
    if declared["kind"] == "django" and not declared.get("app"):
        raise ExpectationError(f"migrations in {name} name no app: Django's table holds those of every app")
    if declared["kind"] == "alembic" and declared.get("order_by"):
        raise ExpectationError(f"migrations in {name} name an order_by: each row of Alembic's table is a head")
    if declared["kind"] == "sql" and not declared.get("order_by"):
        raise ExpectationError(f"migrations in {name} name no order_by: which revision is the last one?")
    if declared["kind"] != "alembic" and declared.get("head") is None:
        raise ExpectationError(f"migrations in {name} name no head: nothing would be compared")


def _replication_checks(expected: Mapping[str, Any]) -> Iterator[PostgresCheck]:
    if "min_standbys" in expected:
        yield Check(
            name="replication.standbys",
            expected=f">= {expected['min_standbys']}",
            look=partial(_part, "replication", "standbys"),
            holds=partial(le, expected["min_standbys"]),
            needs="login",
            remedy="start the missing standbys, and see in their logs why they do not stream",
        )
    for name in ("lag_s", "lag_bytes"):
        if (most := expected.get(f"max_replication_{name}")) is not None:
            yield Check(
                name=f"replication.{name}",
                expected=f"<= {most}",
                look=partial(_lag, name),
                holds=partial(ge, most),
                needs="replication.standbys" if "min_standbys" in expected else "login",
                remedy="wait until the standby has caught up, and see what slows it: network, disk or a paused replay",
            )


def _lag(name: str, seen: PostgresObservation) -> float:
    lag: float | None = _part("replication", name, seen)
    if lag is None:
        raise CannotObserve("no standby streams from this primary, or this standby has replayed nothing yet")
    return lag


# What must be over soon: statements at work, sessions that sit in a transaction, and what waits for a second phase.
TRANSACTIONS = {
    "active": "SELECT pg_cancel_backend(pid), or wait until it is done",
    "idle": "SELECT pg_terminate_backend(pid), and set idle_in_transaction_session_timeout",
    "prepared": "COMMIT PREPARED or ROLLBACK PREPARED, as its transaction manager says",
}


def _transaction_checks(expected: Mapping[str, Any]) -> Iterator[PostgresCheck]:
    most = expected.get("max_transaction_age_s")
    if most is None:
        return
    for kind, remedy in TRANSACTIONS.items():
        yield Check(
            name=f"transaction.{kind}",
            expected=f"<= {most:g} s",
            look=partial(_oldest, kind),
            holds=lambda oldest: oldest is None or oldest["age_s"] <= most,
            needs="login",
            remedy=remedy,
        )


def _oldest(kind: str, seen: PostgresObservation) -> dict[str, Any] | None:
    oldest = known(seen.transactions).get(kind)
    return asdict(oldest) if oldest else None


def _maintenance_checks(expected: Mapping[str, Any]) -> Iterator[PostgresCheck]:
    for name in ("xid", "multixact"):
        if (most := expected.get(f"max_{name}_age")) is not None:
            yield Check(
                name=f"wraparound.{name}_age",
                expected=f"<= {most}",
                look=partial(_part, "frozen_age", name),
                holds=partial(ge, most),
                needs="login",
                remedy="VACUUM (FREEZE) the oldest tables, and see what holds back the horizon",
            )
    if expected.get("indexes_valid"):
        yield Check(
            name="indexes.invalid",
            expected=[],
            look=lambda seen: list(known(seen.invalid_indexes)),
            needs="login",
            remedy="REINDEX INDEX CONCURRENTLY, or drop the index and create it again",
        )


def _part(observed: str, name: str, seen: PostgresObservation) -> Any:
    """One number of a part of the observation, such as how many connections are free."""
    return getattr(known(getattr(seen, observed)), name)


def quoted(identifier: str) -> str:
    """An SQL identifier for a person to copy."""
    return '"' + identifier.replace('"', '""') + '"'
