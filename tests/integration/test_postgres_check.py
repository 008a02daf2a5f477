# SPDX-License-Identifier: GPL-3.0-or-later
"""postgres_check against real PostgreSQL servers: each finding green and red, and servers that do not behave."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import misbehaving
import postgres_check
import psycopg
import pytest
import servers
from cutover.checks import CannotObserve
from cutover.judge_postgres_settings import Setting, is_set_to
from cutover.observe_postgres import Reader
from cutover.pool import Deadline
from findings import findings, green, red
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

RunModule = Callable[..., dict[str, Any]]

PASSWORD = "correct-horse-battery-staple"
DEFAULTS = ["postgres", "password", "changeme"]

EXPECTED: dict[str, Any] = {
    "min_version": "15",
    "encoding": "UTF8",
    "standby": False,
    "tls": True,
    "refuses_unauthenticated": True,
    "default_passwords": {"postgres": DEFAULTS, "nobody": DEFAULTS},
    "extensions": {"pg_trgm": "1.6", "uuid-ossp": ""},
    "settings": {"max_connections": 40, "shared_buffers": "16MB", "FSYNC": False, "statement_timeout": "0"},
    "min_free_connections": 10,
    "min_free_connections_percent": 50,
    "tables": ["users", "billing.invoices", 'odd "table"', "parted"],
    "migrations": [
        {"kind": "alembic", "head": "0002"},
        {"kind": "django", "app": "billing", "head": "0010_later"},
        {"kind": "sql", "table": "billing.applied", "column": "version", "order_by": "at", "head": "10"},
    ],
    "min_standbys": 1,
    "max_replication_lag_s": 30,
    "max_replication_lag_bytes": 64 * 1024 * 1024,
    "max_transaction_age_s": 60,
    "max_xid_age": 1_000_000,
    "max_multixact_age": 1_000_000,
    "indexes_valid": True,
}

WITHOUT_STANDBY = {
    name: value for name, value in EXPECTED.items() if name != "min_standbys" and "replication" not in name
}

CONTENTS = [
    "CREATE EXTENSION pg_trgm",
    'CREATE EXTENSION "uuid-ossp"',
    "CREATE SCHEMA billing",
    "CREATE TABLE users (id int PRIMARY KEY, name text)",
    "INSERT INTO users VALUES (1, 'one'), (2, 'one')",
    "CREATE TABLE billing.invoices (id int)",
    'CREATE TABLE "odd ""table""" (id int)',
    "CREATE TABLE parted (id int) PARTITION BY RANGE (id)",
    "CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)",
    "INSERT INTO alembic_version VALUES ('0002')",
    "CREATE TABLE two_heads AS VALUES ('a'), ('b')",
    "CREATE TABLE many AS SELECT generate_series(1, 100000) AS version_num",
    "CREATE TABLE long AS SELECT repeat('x', 10 * 1024 * 1024) AS version_num",
    "CREATE TABLE never_migrated (version_num text)",
    "CREATE TABLE django_migrations (id serial, app text, name text)",
    "INSERT INTO django_migrations (app, name) VALUES ('billing', '0009_x'), ('billing', '0010_later'), ('auth', '9')",
    "CREATE TABLE billing.applied (version text, at timestamptz)",
    "INSERT INTO billing.applied VALUES ('10', '2026-02-01'), ('9', '2026-01-01')",
    "GRANT USAGE ON SCHEMA billing TO monitor, plain",
    "GRANT SELECT ON ALL TABLES IN SCHEMA public, billing TO monitor, plain",
]

ROLES = [
    f"CREATE ROLE monitor LOGIN PASSWORD '{PASSWORD}' IN ROLE pg_monitor",
    f"CREATE ROLE plain LOGIN PASSWORD '{PASSWORD}'",
    f"CREATE ROLE becomes_superuser LOGIN PASSWORD '{PASSWORD}' IN ROLE postgres",
    "CREATE ROLE careless LOGIN PASSWORD 'changeme'",
    "CREATE ROLE trusted LOGIN",
    "CREATE DATABASE shop ENCODING UTF8 TEMPLATE template0",
    # Nobody may log in to this one but by a rule of its own.
    "CREATE DATABASE trusting",
]

HOSTILE_NAMES = [
    pytest.param("'; DROP TABLE users; --", id="an SQL injection"),
    pytest.param('"; DROP TABLE users; --', id="an SQL injection through an identifier"),
    pytest.param("$$; DROP TABLE users; $$", id="dollar quotes"),
    pytest.param("users%s%(name)s%%", id="placeholders"),
    pytest.param("ünïcödé-表-🙂", id="letters of the world"),
    pytest.param("u" * 10_000, id="ten thousand letters"),
    pytest.param("users\0hidden", id="a NUL"),
    pytest.param("..", id="dots"),
    pytest.param(" ", id="a blank"),
    pytest.param("users\n\\x", id="a line break and a backslash"),
]


def give_to_server(*paths: Path) -> None:
    """A server that does not run as root must own its key, and find it."""
    if os.geteuid() == 0:
        for path in paths:
            shutil.chown(path, "postgres")


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return misbehaving.certificate(tmp_path_factory.mktemp("ca"), name="Test CA")


@pytest.fixture(scope="module")
def configuration(module_folder: Path, ca: tuple[Path, Path]) -> dict[str, str]:
    certificate = misbehaving.certificate(module_folder, ca=ca)
    give_to_server(*certificate, certificate[0].parent)
    return {
        "ssl": "on",
        "ssl_cert_file": str(certificate[0]),
        "ssl_key_file": str(certificate[1]),
        "max_connections": "40",
        "shared_buffers": "16MB",
        "max_prepared_transactions": "5",
        "autovacuum": "off",
    }


@pytest.fixture(scope="module")
def primary(module_folder: Path, configuration: dict[str, str]) -> Iterator[servers.Postgres]:
    """A server with TLS, filled as EXPECTED says; `standby` streams from it."""
    with servers.start_postgres(module_folder, configuration) as server:
        server.run(*ROLES)
        server.run(*CONTENTS, dbname="shop")
        yield server


@pytest.fixture(scope="module")
def standby(primary: servers.Postgres, configuration: dict[str, str]) -> Iterator[servers.Postgres]:
    with servers.start_postgres_standby(primary.data.parent, primary, configuration) as server:
        # Until the standby has first confirmed what it replayed, its lag is unknown, and rightly red.
        servers.wait_until(lambda: confirming_standbys(primary) == 1, what="replication")
        yield server


def confirming_standbys(server: servers.Postgres) -> int:
    query = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn IS NOT NULL"
    return int(asked(server, query))


def asked(server: servers.Postgres, query: str, **options: Any) -> Any:
    """One value, as the superuser sees it."""
    with server.connect(**options) as connection:
        return connection.execute(query).fetchone()[0]  # type: ignore[arg-type, index]


@pytest.fixture
def check(primary: servers.Postgres, ca: tuple[Path, Path], run_module: RunModule) -> RunModule:
    """Run the module as a playbook would; keywords are what is expected, else all that EXPECTED says."""

    def run(target: dict[str, Any] | None = None, *, database: str = "shop", **expected: Any) -> dict[str, Any]:
        address = f"postgresql://127.0.0.1:{primary.port}/{database}"
        own = {"name": "db", "address": address, "user": "monitor", "password": PASSWORD, "ca_path": str(ca[0])}
        given = own | (target or {})
        targets = [{option: value for option, value in given.items() if value is not None}]
        return run_module(
            postgres_check, targets=targets, expected=expected or EXPECTED, timeout_s=10.0, report_only=True
        )

    return run


# --- as declared, and each deviation ---------------------------------------------------------------------------------


def test_a_server_as_declared_is_green_in_every_finding(check: RunModule, standby: servers.Postgres) -> None:
    result = check()
    assert red(result) == []
    assert green(result) == sorted(
        [
            "reachable",
            "login",
            "role.superuser",
            "version",
            "database.encoding",
            "standby",
            "tls",
            "unauthenticated",
            "default_password.postgres",
            "default_password.nobody",
            "extension.pg_trgm",
            "extension.uuid-ossp",
            "config.max_connections",
            "config.shared_buffers",
            "config.FSYNC",
            "config.statement_timeout",
            "connections.free",
            "connections.free_percent",
            "table.users",
            "table.billing.invoices",
            'table.odd "table"',
            "table.parted",
            "migration.alembic_version.heads",
            "migration.alembic_version",
            "migration.django_migrations.billing",
            "migration.billing.applied",
            "replication.standbys",
            "replication.lag_s",
            "replication.lag_bytes",
            "transaction.active",
            "transaction.idle",
            "transaction.prepared",
            "wraparound.xid_age",
            "wraparound.multixact_age",
            "indexes.invalid",
        ]
    )
    assert result["changed"] is False


def test_it_looks_in_check_mode_too(primary: servers.Postgres, ca: tuple[Path, Path], run_module: RunModule) -> None:
    target = {
        "name": "db",
        "address": f"postgresql://127.0.0.1:{primary.port}/shop",
        "user": "monitor",
        "password": PASSWORD,
        "ca_path": str(ca[0]),
    }
    result = run_module(postgres_check, targets=[target], expected={"min_version": "99"}, _ansible_check_mode=True)
    assert red(result) == ["version"]


@pytest.mark.parametrize(
    ("expected", "only", "observed"),
    [
        pytest.param({"min_version": "99"}, "version", None, id="too old a server"),
        pytest.param({"encoding": "LATIN1"}, "database.encoding", "UTF8", id="another encoding"),
        pytest.param({"standby": True}, "standby", False, id="a primary, not a standby"),
        pytest.param({"tls": False}, "tls", "TLSv1.3", id="TLS where none is declared"),
        pytest.param({"extensions": {"pg_trgm": "99.0"}}, "extension.pg_trgm", "1.6", id="too old an extension"),
        pytest.param(
            {"extensions": {"btree_gin": ""}},
            "extension.btree_gin",
            "not created, available in 1.3",
            id="an extension that is available, and not created",
        ),
        pytest.param(
            {"extensions": {"postgis": None}},
            "extension.postgis",
            "not available on this server",
            id="an extension that is not available",
        ),
        pytest.param({"settings": {"shared_buffers": "32MB"}}, "config.shared_buffers", "16MB", id="a setting"),
        pytest.param({"settings": {"fsync": "on"}}, "config.fsync", "off", id="a boolean setting"),
        pytest.param({"settings": {"no_such": 1}}, "config.no_such", None, id="a setting that nobody knows"),
        pytest.param({"settings": {"work_mem": "4 apples"}}, "config.work_mem", None, id="a value that is none"),
        pytest.param({"min_free_connections": 1000}, "connections.free", None, id="too few free connections"),
        pytest.param(
            {"min_free_connections_percent": 100}, "connections.free_percent", None, id="too small a free share"
        ),
        pytest.param({"tables": ["absent"]}, "table.absent", "absent", id="no such table"),
        pytest.param({"tables": ["invoices"]}, "table.invoices", "absent", id="a table outside the search path"),
        pytest.param({"tables": ["public.invoices"]}, "table.public.invoices", "absent", id="a table elsewhere"),
        pytest.param({"tables": ["Users"]}, "table.Users", "absent", id="a table in another case"),
        pytest.param(
            {"migrations": [{"kind": "alembic", "head": "0003"}]},
            "migration.alembic_version",
            "0002",
            id="another Alembic revision",
        ),
        pytest.param(
            {"migrations": [{"kind": "alembic", "head": "a", "table": "two_heads", "column": "column1"}]},
            "migration.two_heads.heads",
            ["a", "b"],
            id="two heads",
        ),
        pytest.param(
            {"migrations": [{"kind": "alembic", "head": "a", "table": "never_migrated"}]},
            "migration.never_migrated.heads",
            [],
            id="never migrated",
        ),
        pytest.param(
            {"migrations": [{"kind": "alembic", "head": "a", "table": "absent"}]},
            "migration.absent.heads",
            None,
            id="no table of migrations",
        ),
        pytest.param(
            {"migrations": [{"kind": "alembic", "table": "users"}]},
            "migration.users.heads",
            None,
            id="no column with revisions",
        ),
        pytest.param(
            {"migrations": [{"kind": "django", "app": "billing", "head": "0009_x"}]},
            "migration.django_migrations.billing",
            "0010_later",
            id="another migration of a Django app",
        ),
        pytest.param(
            {"migrations": [{"kind": "django", "app": "nowhere", "head": "0009_x"}]},
            "migration.django_migrations.nowhere",
            None,
            id="a Django app without migrations",
        ),
        pytest.param(
            {"migrations": [{"kind": "sql", "table": "billing.applied", "order_by": "at", "head": "9"}]},
            "migration.billing.applied",
            "10",
            id="another SQL migration, in the order of its times",
        ),
        pytest.param({"min_standbys": 2}, "replication.standbys", None, id="too few standbys"),
        pytest.param({"max_xid_age": 0}, "wraparound.xid_age", None, id="transactions not frozen"),
    ],
)
def test_each_deviation_is_red_in_just_its_own_finding(
    check: RunModule, expected: dict[str, Any], only: str, observed: Any
) -> None:
    result = check(**expected)
    assert red(result) == [only]
    if observed is not None:
        assert findings(result)[only]["observed"] == observed


@pytest.mark.parametrize(
    "target",
    [
        pytest.param({"password": "wrong"}, id="wrong password"),
        pytest.param({"password": None}, id="no password"),
        pytest.param({"user": "nobody"}, id="no such role"),
        pytest.param({"database": "absent"}, id="no such database"),
    ],
)
def test_a_login_that_fails_skips_what_needs_it(check: RunModule, target: dict[str, Any]) -> None:
    database = target.pop("database", "shop")
    result = check(target, database=database)
    assert red(result) == ["login"]
    assert findings(result)["login"]["cause"]
    assert {"reachable", "unauthenticated", "default_password.postgres"} <= set(green(result))


def test_a_superuser_is_refused(check: RunModule, primary: servers.Postgres) -> None:
    assert red(check({"user": "postgres", "password": primary.password}, min_version="15")) == ["role.superuser"]


def test_a_role_that_may_become_superuser_is_refused_too(check: RunModule) -> None:
    assert red(check({"user": "becomes_superuser"}, min_version="15")) == ["role.superuser"]


# --- who gets in -----------------------------------------------------------------------------------------------------


def test_a_known_password_that_is_accepted_is_found(check: RunModule) -> None:
    result = check(default_passwords={"careless": DEFAULTS, "postgres": DEFAULTS})
    assert red(result) == ["default_password.careless"]
    assert findings(result)["default_password.careless"]["observed"] == "accepted"


def test_a_known_password_is_found_even_where_the_database_refuses_its_role(
    check: RunModule, primary: servers.Postgres
) -> None:
    result = check(database="absent", default_passwords={"careless": DEFAULTS, "postgres": DEFAULTS})
    assert red(result) == ["default_password.careless", "login"]
    primary.run("REVOKE CONNECT ON DATABASE shop FROM PUBLIC", "GRANT CONNECT ON DATABASE shop TO monitor")
    try:
        assert red(check(default_passwords={"careless": DEFAULTS})) == ["default_password.careless"]
    finally:
        primary.run("GRANT CONNECT ON DATABASE shop TO PUBLIC")


@contextmanager
def rule(server: servers.Postgres, line: str, in_force: Callable[[], bool]) -> Iterator[None]:
    """Put a line before all others of pg_hba.conf."""
    rules = server.data / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"{line}\n{before}")
    os.kill(server.pid, signal.SIGHUP)
    try:
        servers.wait_until(in_force, what="the rule")
        yield
    finally:
        rules.write_text(before)
        os.kill(server.pid, signal.SIGHUP)


@pytest.mark.parametrize("role", ["monitor", "postgres"])
def test_a_role_that_needs_no_password_is_found(check: RunModule, primary: servers.Postgres, role: str) -> None:
    def let_in() -> bool:
        primary.connect(user=role, password=None, dbname="trusting").close()
        return True

    with rule(primary, f"host trusting {role} 127.0.0.1/32 trust", let_in):
        result = check(
            database="trusting", refuses_unauthenticated=True, default_passwords={role: DEFAULTS, "nobody": DEFAULTS}
        )
        assert red(result) == ["unauthenticated"]
        assert findings(result)["unauthenticated"]["observed"] == f"let in without a password: {role}"
        # Asked for alone, it is said just so: any password is accepted.
        assert red(check(database="trusting", default_passwords={role: DEFAULTS})) == [f"default_password.{role}"]


def test_a_role_that_no_rule_admits_is_refused(check: RunModule, primary: servers.Postgres) -> None:
    def rejected() -> bool:
        with pytest.raises(psycopg.OperationalError, match=r"pg_hba\.conf"):
            primary.connect(user="careless", password="changeme", dbname="shop")
        return True

    with rule(primary, "host shop careless 127.0.0.1/32 reject", rejected):
        assert red(check(refuses_unauthenticated=True, default_passwords={"careless": DEFAULTS})) == []


def test_a_server_that_is_full_proves_nothing_about_passwords(folder: Path, run_module: RunModule) -> None:
    configuration = {"max_connections": "10", "superuser_reserved_connections": "6", "max_wal_senders": "0"}
    with servers.start_postgres(folder, configuration) as own, ExitStack() as held:
        own.run(f"CREATE ROLE monitor LOGIN PASSWORD '{PASSWORD}' IN ROLE pg_monitor")
        address = f"postgresql://127.0.0.1:{own.port}/postgres"
        target = {"name": "db", "address": address, "user": "monitor", "password": PASSWORD, "sslmode": "disable"}
        expected = {
            "refuses_unauthenticated": True,
            "default_passwords": {"postgres": DEFAULTS},
            "min_free_connections": 1,
            "min_free_connections_percent": 1,
        }

        def run() -> dict[str, Any]:
            return run_module(postgres_check, targets=[target], expected=expected, report_only=True)

        for _ in range(3):
            held.enter_context(own.connect())
        result = run()
        assert red(result) == ["connections.free", "connections.free_percent"]
        assert findings(result)["connections.free"]["observed"] == 0
        for _ in range(7):
            held.enter_context(own.connect())
        result = run()
        del expected["refuses_unauthenticated"]
        passwords_alone = run()
    assert red(result) == ["login", "unauthenticated"]
    assert "too many clients" in findings(result)["unauthenticated"]["cause"]
    assert red(passwords_alone) == ["default_password.postgres", "login"]
    assert "too many clients" in findings(passwords_alone)["default_password.postgres"]["cause"]


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sslmode", ["disable", "prefer", "require", "verify-ca", "verify-full"])
def test_tls_is_judged_by_the_connection_itself(check: RunModule, sslmode: str) -> None:
    assert red(check({"sslmode": sslmode}, tls=True)) == (["tls"] if sslmode == "disable" else [])


def test_without_tls_there_is_none(postgres: servers.Postgres, run_module: RunModule) -> None:
    target = {
        "name": "db",
        "address": f"postgresql://127.0.0.1:{postgres.port}/postgres",
        "user": "postgres",
        "password": postgres.password,
    }
    prefers = run_module(postgres_check, targets=[target | {"sslmode": "prefer"}], expected={"tls": True})
    assert red(prefers) == ["role.superuser", "tls"]
    requires = run_module(postgres_check, targets=[target | {"sslmode": "require"}], expected={"tls": True})
    assert red(requires) == ["reachable"]
    assert "does not support SSL" in findings(requires)["reachable"]["cause"]


@pytest.mark.parametrize(
    ("name", "days", "trusted", "words"),
    [
        pytest.param("127.0.0.1", 30, False, "certificate verify failed", id="a CA that nobody trusts"),
        pytest.param("127.0.0.1", -1, True, "certificate verify failed", id="expired"),
        pytest.param("db.example", 30, True, "does not match host name", id="another server's name"),
    ],
)
def test_a_bad_certificate_is_one_finding_with_a_cause(
    name: str, days: float, trusted: bool, words: str, ca: tuple[Path, Path], folder: Path, run_module: RunModule
) -> None:
    certificate = misbehaving.certificate(folder, name=name, days=days, ca=ca if trusted else None)
    context = misbehaving.tls_server(*certificate)

    def accepts_tls(connection: socket.socket, stop: threading.Event) -> None:
        connection.recv(8)
        connection.sendall(b"S")
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(4096)

    with misbehaving.listening(accepts_tls) as port:
        target = {"name": "db", "address": f"postgresql://127.0.0.1:{port}/shop", "user": "u", "ca_path": str(ca[0])}
        result = run_module(postgres_check, targets=[target], expected={"tls": True}, report_only=True)
    assert red(result) == ["reachable"]
    assert words in findings(result)["reachable"]["cause"]


def test_without_a_ca_the_systems_certificates_are_trusted(
    check: RunModule, ca: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert red(check({"ca_path": None}, tls=True)) == ["reachable"]
    monkeypatch.setenv("SSL_CERT_FILE", str(ca[0]))
    assert red(check({"ca_path": None}, tls=True)) == []


# --- settings --------------------------------------------------------------------------------------------------------


def test_what_the_session_sets_for_itself_is_not_taken_for_the_servers(
    check: RunModule, primary: servers.Postgres
) -> None:
    primary.run("ALTER ROLE monitor SET statement_timeout = '7s'")
    try:
        expected = {"statement_timeout": "7s", "lock_timeout": 0, "search_path": ["$user", "public"]}
        assert red(check(settings=expected)) == []
    finally:
        primary.run("ALTER ROLE monitor RESET statement_timeout")


def test_a_setting_that_is_hidden_from_the_role_is_told_from_an_unknown_one(check: RunModule) -> None:
    expected = {"settings": {"data_directory_mode": "0700", "data_directory": "/", "fsync": False}}
    assert red(check({"user": "plain"}, **expected)) == ["config.data_directory"]
    hidden = findings(check({"user": "plain"}, **expected))["config.data_directory"]["cause"]
    assert "pg_read_all_settings" in hidden
    assert findings(check(settings={"nobody": 1}))["config.nobody"]["cause"] == "the server knows no such setting"


SPELT = {
    "work_mem": ["64kB", "1MB", "0.5GB", "4096", "1.5MB", "64 kB", "1mb", "-1", "100000B", "1e3kB", "0x100", "12days"],
    "temp_buffers": ["800kB", "100", "1MB", "1.3MB", "8193kB", "0.0001TB", "12"],
    "lock_timeout": ["0", "30s", "1.5min", "100us", "2500us", "0.1ms", "1d", "25d", " 5 s ", "5S", "1h30", "-1"],
    "tcp_keepalives_idle": ["60", "1min", "1.5min", "90500ms", "1.5s", "2h"],
    "log_min_duration_statement": ["-1", "0", "250ms", "1s"],
    "seq_page_cost": ["1", "1.5", "1e-1", ".5", "5.", "0x10", "1MB"],
    "vacuum_cost_delay": ["0", "1.5", "2ms", "2500us", "0.01s", "1s"],
    "enable_seqscan": ["on", "OFF", "t", "fal", "1", "0", "y", "no", "o", "of", "maybe", ""],
    "client_min_messages": ["notice", "WARNING", "error", "loud"],
    "synchronous_commit": ["on", "off", "true", "no", "1", "remote_apply", "LOCAL", "sometimes"],
    "bytea_output": ["hex", "Escape"],
    "application_name": ["cutover", "a b"],
}


@pytest.mark.parametrize("name", SPELT)
def test_values_are_read_as_the_server_reads_them(primary: servers.Postgres, name: str) -> None:
    with primary.connect() as connection:
        for declared in SPELT[name]:
            assert_read_alike(connection, name, declared)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["work_mem", "temp_buffers", "lock_timeout", "vacuum_cost_delay"]),
    number=st.integers(0, 10**6) | st.decimals("0", "1000", places=2),
    unit=st.sampled_from(["", "B", "kB", "MB", "GB", "TB", "us", "ms", "s", "min", "h", "d"]),
)
def test_any_number_is_read_as_the_server_reads_it(connection: Any, name: str, number: Any, unit: str) -> None:
    assert_read_alike(connection, name, f"{number}{unit}")


@pytest.fixture(scope="module")
def connection(primary: servers.Postgres) -> Iterator[psycopg.Connection[Any]]:
    with primary.connect() as open_connection:
        yield open_connection


def assert_read_alike(connection: psycopg.Connection[Any], name: str, declared: str) -> None:
    """What the server accepts we call the same; what it cannot read, we do not either."""
    try:
        connection.execute("SELECT set_config(%s, %s, false)", (name, declared))
        accepted = True
    except psycopg.errors.InvalidParameterValue as reason:
        if "outside the valid range" in str(reason) or "exceeds" in str(reason.diag.message_hint):
            return
        accepted = False
    row = connection.execute("SELECT setting, vartype, unit, enumvals FROM pg_settings WHERE name = %s", (name,))
    value, vartype, unit, enumvals = row.fetchone()  # type: ignore[misc]
    setting = Setting(value=value, vartype=vartype, unit=unit, enumvals=tuple(enumvals or ()))
    if accepted:
        assert is_set_to(setting, declared), f"{name} = {declared!r} is {value!r}"
    else:
        with pytest.raises(CannotObserve):
            is_set_to(setting, declared)
    if unit:
        shown = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
        assert shown is not None
        assert is_set_to(setting, shown[0])


# --- replication -----------------------------------------------------------------------------------------------------


def target_of(server: servers.Postgres, **options: Any) -> dict[str, Any]:
    address = f"postgresql://127.0.0.1:{server.port}/shop"
    return {"address": address, "sslmode": "require", "ca_path": None} | options


def test_a_standby_is_green_as_one(check: RunModule, standby: servers.Postgres) -> None:
    expected = {"standby": True, "max_replication_lag_s": 30, "max_replication_lag_bytes": 0, "tables": ["users"]}
    servers.wait_until(lambda: red(check(target_of(standby), **expected)) == [], what="the standby's catching up")
    assert red(check(target_of(standby), standby=False)) == ["standby"]


def test_a_standby_that_is_late_is_seen_from_both_sides(
    check: RunModule, primary: servers.Postgres, standby: servers.Postgres
) -> None:
    primary.run("CREATE TABLE replicated (id int)", dbname="shop")
    servers.wait_until(lambda: asked(standby, "SELECT to_regclass('replicated')", dbname="shop") is not None, what="it")
    asked(standby, "SELECT 1 FROM pg_wal_replay_pause()")
    try:
        servers.wait_until(lambda: asked(standby, "SELECT pg_get_wal_replay_pause_state()") == "paused", what="a pause")
        for _ in range(3):
            primary.run("CREATE TABLE late (id int)", "DROP TABLE late", dbname="shop")
            time.sleep(0.4)
        for late in (None, target_of(standby)):
            assert red(check(late, max_replication_lag_s=0.3)) == ["replication.lag_s"]
            assert red(check(late, max_replication_lag_bytes=100)) == ["replication.lag_bytes"]
            assert red(check(late, max_replication_lag_s=300, max_replication_lag_bytes=10**9)) == []
    finally:
        asked(standby, "SELECT 1 FROM pg_wal_replay_resume()")


def test_a_standby_that_is_cut_off_is_not_up_to_date(check: RunModule, folder: Path, run_module: RunModule) -> None:
    with servers.start_postgres(folder) as own, servers.start_postgres_standby(folder, own) as cut_off:
        own.run("CREATE TABLE replicated (id int)")
        servers.wait_until(lambda: asked(cut_off, "SELECT to_regclass('replicated')") is not None, what="replication")
        own.run("ALTER SYSTEM SET max_wal_senders = 4")
        target = {
            "name": "db",
            "address": f"postgresql://127.0.0.1:{cut_off.port}/postgres",
            "user": "postgres",
            "password": own.password,
            "sslmode": "disable",
        }
        expected = {"max_replication_lag_s": 1, "max_replication_lag_bytes": 0}

        def run() -> dict[str, Any]:
            return run_module(postgres_check, targets=[target], expected=expected, report_only=True)

        servers.wait_until(lambda: red(run()) == ["role.superuser"], what="the standby's catching up")
        cut_off.run("ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
        time.sleep(1.2)
        servers.wait_until(
            lambda: red(run()) == ["replication.lag_bytes", "replication.lag_s", "role.superuser"], what="the red"
        )


def test_a_primary_without_standbys_has_no_delay_to_tell(postgres: servers.Postgres, run_module: RunModule) -> None:
    target = {
        "name": "db",
        "address": f"postgresql://127.0.0.1:{postgres.port}/postgres",
        "user": "postgres",
        "password": postgres.password,
        "sslmode": "disable",
    }
    expected = {"max_replication_lag_s": 30}
    result = run_module(postgres_check, targets=[target], expected=expected, report_only=True)
    assert red(result) == ["replication.lag_s", "role.superuser"]
    result = run_module(postgres_check, targets=[target], expected=expected | {"min_standbys": 1}, report_only=True)
    assert red(result) == ["replication.standbys", "role.superuser"]


# --- transactions, wraparound, indexes -------------------------------------------------------------------------------


def test_an_idle_transaction_is_found(check: RunModule, primary: servers.Postgres) -> None:
    with primary.connect(autocommit=False, application_name="forgotten") as held:
        held.execute("SELECT 1")
        result = check(max_transaction_age_s=0)
        assert red(result) == ["transaction.idle"]
        assert "forgotten" in findings(result)["transaction.idle"]["observed"]["held_by"]


def test_a_long_statement_is_found(check: RunModule, primary: servers.Postgres) -> None:
    with primary.connect() as busy:
        sleeper = threading.Thread(target=lambda: busy.execute("SELECT pg_sleep(30)"), daemon=True)
        with suppress_cancel(sleeper, busy):
            servers.wait_until(
                lambda: bool(asked(primary, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%sleep(30)'")) > 0,
                what="the statement",
            )
            assert red(check(max_transaction_age_s=0)) == ["transaction.active"]
            assert red(check(max_transaction_age_s=60)) == []


@contextmanager
def suppress_cancel(thread: threading.Thread, connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Run a statement in the background, and cancel it at the end."""

    def run() -> None:
        with suppress(psycopg.errors.QueryCanceled):
            original()

    original, thread._target = thread._target, run  # type: ignore[attr-defined]
    thread.start()
    try:
        yield
    finally:
        connection.cancel()
        thread.join(5)


def test_a_prepared_transaction_is_found(check: RunModule, primary: servers.Postgres) -> None:
    with primary.connect(autocommit=True) as two_phase:
        two_phase.execute("BEGIN")
        two_phase.execute("SELECT txid_current()")
        two_phase.execute("PREPARE TRANSACTION 'half-done'")
        try:
            result = check(max_transaction_age_s=0)
        finally:
            two_phase.execute("ROLLBACK PREPARED 'half-done'")
    assert red(result) == ["transaction.prepared"]
    assert "half-done" in findings(result)["transaction.prepared"]["observed"]["held_by"]


def test_consumed_transactions_are_counted(check: RunModule, primary: servers.Postgres) -> None:
    before = findings(check(max_xid_age=0))["wraparound.xid_age"]["observed"]
    primary.run(*["SELECT txid_current()"] * 50)
    assert findings(check(max_xid_age=0))["wraparound.xid_age"]["observed"] >= before + 50


def test_consumed_multixacts_are_counted(check: RunModule, primary: servers.Postgres) -> None:
    assert red(check(max_multixact_age=0)) == []
    share = "SELECT * FROM users FOR SHARE"
    with primary.connect(dbname="shop", autocommit=False) as one, primary.connect(dbname="shop") as other:
        one.execute(share)
        other.execute(share)
    assert red(check(max_multixact_age=0)) == ["wraparound.multixact_age"]


def test_an_invalid_index_is_found(check: RunModule, primary: servers.Postgres) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation):
        primary.run("CREATE UNIQUE INDEX CONCURRENTLY names ON users (name)", dbname="shop")
    try:
        result = check(indexes_valid=True)
    finally:
        primary.run("DROP INDEX names", dbname="shop")
    assert red(result) == ["indexes.invalid"]
    assert findings(result)["indexes.invalid"]["observed"] == ["public.names"]


def test_what_is_hidden_from_the_role_is_an_error_with_a_remedy(check: RunModule, standby: servers.Postgres) -> None:
    parts = {"max_transaction_age_s": 60, "min_standbys": 1, "max_replication_lag_s": 30}
    result = check({"user": "plain"}, **parts, min_free_connections=1, max_xid_age=10**6, indexes_valid=True)
    assert red(result) == ["replication.standbys", "transaction.active", "transaction.idle", "transaction.prepared"]
    assert "pg_monitor" in findings(result)["transaction.idle"]["cause"]
    assert red(check(target_of(standby, user="plain"), max_replication_lag_s=30)) == ["replication.lag_s"]


def test_a_table_that_may_not_be_read_is_an_error_in_the_servers_words(
    check: RunModule, primary: servers.Postgres
) -> None:
    primary.run("REVOKE SELECT ON alembic_version FROM plain", dbname="shop")
    try:
        result = check({"user": "plain"}, migrations=[{"kind": "alembic"}], tables=["alembic_version"])
    finally:
        primary.run("GRANT SELECT ON alembic_version TO plain", dbname="shop")
    assert red(result) == ["migration.alembic_version.heads"]
    assert "permission denied" in findings(result)["migration.alembic_version.heads"]["cause"]


def test_a_locked_table_holds_up_nothing_but_its_own_finding(check: RunModule, primary: servers.Postgres) -> None:
    with primary.connect(dbname="shop", autocommit=False) as migrating:
        migrating.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        result = check(**WITHOUT_STANDBY)
    assert red(result) == ["migration.alembic_version.heads"]
    assert "lock timeout" in findings(result)["migration.alembic_version.heads"]["cause"]
    assert result["verdicts"][0]["took_ms"] < 10_000


# --- names and sessions ----------------------------------------------------------------------------------------------


def test_of_a_large_table_that_is_not_alembics_little_is_read(check: RunModule) -> None:
    result = check(migrations=[{"kind": "alembic", "table": "many"}])
    assert red(result) == ["migration.many.heads"]
    assert len(findings(result)["migration.many.heads"]["observed"]) == 20


def test_a_value_that_is_too_long_is_not_shown(check: RunModule) -> None:
    result = check(migrations=[{"kind": "alembic", "table": "long"}])
    assert red(result) == ["migration.long.heads"]
    assert "longer than 1048576 characters" in findings(result)["migration.long.heads"]["cause"]
    assert len(str(result)) < 10_000


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_just_a_name(check: RunModule, primary: servers.Postgres, name: str) -> None:
    before = asked(primary, "SELECT count(*) FROM pg_class", dbname="shop")
    result = check(
        extensions={name: "", "pg_trgm": ""},
        settings={name: 1, "fsync": False},
        tables=[name, f"public.{name}", f"{name}.users", "users"],
        migrations=[
            {"kind": "alembic", "table": name},
            {"kind": "alembic", "table": "public.alembic_version", "column": name},
            {"kind": "sql", "table": "billing.applied", "order_by": name, "head": "10"},
            {"kind": "django", "app": name, "head": name},
            {"kind": "alembic"},
        ],
        default_passwords={name: [name], "postgres": [name]},
    )
    found = findings(result)
    there = {"extension.pg_trgm", "config.fsync", "table.users", "migration.alembic_version.heads"}
    assert there <= set(green(result))
    hostile = [found[check]["status"] for check in found if name.lower() in check.lower() and "default" not in check]
    assert len(hostile) == 7
    assert set(hostile) <= {"fail", "error"}
    assert {"migration.public.alembic_version.heads", "migration.billing.applied"} <= set(red(result))
    assert found["default_password.postgres"]["status"] in ("pass", "error")
    assert asked(primary, "SELECT count(*) FROM pg_class", dbname="shop") == before


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_database_role_or_password_is_just_not_let_in(check: RunModule, name: str) -> None:
    quoted = "".join(f"%{byte:02x}" for byte in name.encode())
    for result in (
        check(database=quoted, tls=True),
        check({"user": name}, tls=True),
        check({"password": name}, tls=True),
    ):
        assert not result["verdicts"][0]["ok"]
        assert red(result) in (["login"], ["reachable"])


def test_functions_of_the_same_names_are_not_run(check: RunModule, primary: servers.Postgres) -> None:
    trap = "CREATE FUNCTION trap.current_setting(text) RETURNS text LANGUAGE sql AS $$ SELECT '99.0' $$"
    primary.run("CREATE SCHEMA trap", trap, "GRANT USAGE ON SCHEMA trap TO monitor", dbname="shop")
    primary.run("CREATE TABLE trap.bait (id int)", dbname="shop")
    primary.run("ALTER ROLE monitor SET search_path = trap, pg_catalog")
    try:
        assert (
            asked(primary, "SELECT current_setting('server_version')", user="monitor", password=PASSWORD, dbname="shop")
            == "99.0"
        )
        result = check(min_version="99", tables=["bait", "users"])
    finally:
        primary.run("ALTER ROLE monitor RESET search_path")
        primary.run("DROP SCHEMA trap CASCADE", dbname="shop")
    assert red(result) == ["table.users", "version"]


def test_a_session_reads_only_and_is_left_as_it_was(primary: servers.Postgres) -> None:
    with primary.connect(dbname="shop", autocommit=False) as session:
        reader = Reader(session, Deadline(time.monotonic() + 5))
        assert 0 < timeout_ms(reader.row("SHOW statement_timeout")[0]) <= 2500
        assert 0 < timeout_ms(reader.row("SHOW lock_timeout")[0]) <= 1250
        for statement in ("CREATE TABLE public.written (id int)", "DELETE FROM public.users"):
            with pytest.raises(CannotObserve, match="read-only transaction"):
                reader.rows(statement)
        assert reader.row("SHOW search_path") == ("pg_catalog",)
        reader.end()
        session.read_only = None
        shown = [session.execute(f"SHOW {name}").fetchone() for name in ("statement_timeout", "lock_timeout")]  # type: ignore[arg-type]
        assert shown == [("0",), ("0",)]
        assert session.execute("SHOW search_path").fetchone() == ('"$user", public',)
        assert session.execute("SHOW transaction_read_only").fetchone() == ("off",)


def timeout_ms(shown: str) -> int:
    return int(shown.removesuffix("ms")) if shown.endswith("ms") else int(shown.removesuffix("s")) * 1000


def test_a_slow_question_ends_before_the_deadline(primary: servers.Postgres) -> None:
    with primary.connect(autocommit=False) as session:
        reader = Reader(session, Deadline(time.monotonic() + 1))
        with pytest.raises(CannotObserve, match="statement timeout"):
            reader.rows("SELECT pg_sleep(10)")
        assert reader.row("SELECT 1") == (1,)


def test_the_inventory_alone_says_where_and_as_whom(
    check: RunModule, primary: servers.Postgres, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".pgpass").write_text(f"*:*:*:*:{PASSWORD}\n")
    (folder / ".pgpass").chmod(0o600)
    monkeypatch.setenv("HOME", str(folder))
    for name, value in {
        "PGHOSTADDR": "192.0.2.1",
        "PGPASSWORD": PASSWORD,
        "PGPASSFILE": str(folder / ".pgpass"),
        "PGSERVICE": "elsewhere",
        "PGOPTIONS": "-c nothing=1",
        "PGSSLMODE": "disable",
    }.items():
        monkeypatch.setenv(name, value)
    assert red(check(**WITHOUT_STANDBY)) == []
    assert red(check({"password": None}, tls=True)) == ["login"]


def test_a_file_may_hold_the_password(check: RunModule, folder: Path) -> None:
    passfile = folder / "pass file"
    passfile.write_text(f"127.0.0.1:*:shop:monitor:{PASSWORD}\n")
    passfile.chmod(0o600)
    assert red(check({"password": None, "passfile": str(passfile)}, tls=True, refuses_unauthenticated=True)) == []
    passfile.write_text("127.0.0.1:*:shop:monitor:wrong\n")
    assert red(check({"password": None, "passfile": str(passfile)}, tls=True)) == ["login"]


def test_no_password_leaves_the_module(check: RunModule, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="psycopg")
    said = str([check(), check({"user": "nobody"}), check({"sslmode": "disable"}, database="absent")])
    assert "psycopg" in caplog.text
    assert PASSWORD not in said + caplog.text


# --- servers that do not behave --------------------------------------------------------------------------------------


def message(kind: bytes, body: bytes) -> bytes:
    """One message of PostgreSQL's protocol."""
    return kind + struct.pack("!I", len(body) + 4) + body


READY = message(b"R", struct.pack("!I", 0)) + message(b"S", b"server_version\x0016.0\0") + message(b"Z", b"I")


def closes_after_the_greeting(connection: socket.socket, stop: threading.Event) -> None:
    connection.recv(4096)


def closes_after_the_login(connection: socket.socket, stop: threading.Event) -> None:
    connection.recv(4096)
    connection.sendall(READY)
    connection.recv(4096)


def hangs_after_the_login(connection: socket.socket, stop: threading.Event) -> None:
    connection.recv(4096)
    connection.sendall(READY)
    stop.wait(60)


def answers_nonsense_after_the_login(connection: socket.socket, stop: threading.Event) -> None:
    connection.recv(4096)
    connection.sendall(READY)
    while connection.recv(4096):
        connection.sendall(b"\xff" * 4096)


def answers_no_rows(connection: socket.socket, stop: threading.Event) -> None:
    connection.recv(4096)
    connection.sendall(READY)
    while connection.recv(4096):
        connection.sendall(message(b"C", b"SELECT 0\0") + message(b"Z", b"T"))


def drips_parameters(connection: socket.socket, stop: threading.Event) -> None:
    connection.recv(4096)
    connection.sendall(message(b"R", struct.pack("!I", 0)))
    while not stop.wait(0.1):
        connection.sendall(message(b"S", b"a\0b\0"))


def announces_a_gigabyte(connection: socket.socket, stop: threading.Event) -> None:
    connection.recv(4096)
    connection.sendall(READY)
    connection.recv(4096)
    connection.sendall(b"D" + struct.pack("!I", 2**30) + b"x" * 4096)
    stop.wait(60)


def closes_mid_row(connection: socket.socket, stop: threading.Event) -> None:
    connection.recv(4096)
    connection.sendall(READY)
    connection.recv(4096)
    connection.sendall(b"D" + struct.pack("!I", 1000) + b"x" * 10)


def refuses_at_length(connection: socket.socket, stop: threading.Event) -> None:
    connection.recv(4096)
    connection.sendall(message(b"E", b"SFATAL\0C28P01\0M" + b"no " * 5000 + b"\0\0"))


WITHOUT_POSTGRES = {name: misbehaving.BEHAVIOURS[name] for name in misbehaving.BEHAVIOURS} | {
    behaviour.__name__: behaviour
    for behaviour in (
        closes_after_the_greeting,
        drips_parameters,
        hangs_after_the_login,
        announces_a_gigabyte,
    )
}
WITHOUT_ANSWERS = (
    closes_after_the_login,
    closes_mid_row,
    answers_nonsense_after_the_login,
    answers_no_rows,
    refuses_at_length,
)


def misbehaved(behaviour: misbehaving.Behaviour, run_module: RunModule, **options: Any) -> dict[str, Any]:
    with misbehaving.listening(behaviour) as port:
        target = {
            "name": "db",
            "address": f"postgresql://127.0.0.1:{port}/shop",
            "user": "monitor",
            "password": PASSWORD,
            "sslmode": "disable",
        }
        started = time.monotonic()
        expected = {"min_version": "15"} | options
        result = run_module(postgres_check, targets=[target], expected=expected, timeout_s=1.0, report_only=True)
    assert time.monotonic() - started < 20
    assert not result.get("failed")
    return result


@pytest.mark.parametrize("name", WITHOUT_POSTGRES)
def test_a_server_that_misbehaves_is_one_finding_with_a_cause(name: str, run_module: RunModule) -> None:
    result = misbehaved(WITHOUT_POSTGRES[name], run_module)
    assert red(result) == ["reachable"]
    assert findings(result)["reachable"]["cause"]


@pytest.mark.parametrize("behaviour", WITHOUT_ANSWERS, ids=lambda behaviour: behaviour.__name__)
def test_a_server_that_stops_making_sense_lets_nobody_in(
    behaviour: misbehaving.Behaviour, run_module: RunModule
) -> None:
    result = misbehaved(behaviour, run_module)
    assert red(result) == ["login"]
    assert 0 < len(findings(result)["login"]["cause"]) <= 1000


@pytest.mark.parametrize("name", [*WITHOUT_POSTGRES, *[each.__name__ for each in WITHOUT_ANSWERS]])
def test_no_misbehaviour_looks_like_a_refused_login(name: str, run_module: RunModule) -> None:
    behaviour = WITHOUT_POSTGRES.get(name) or globals()[name]
    result = misbehaved(behaviour, run_module, refuses_unauthenticated=True, default_passwords={"x": ["y"]})
    assert not {"unauthenticated", "default_password.x", "login", "version"} & set(green(result))


def test_a_password_that_a_server_sends_back_is_masked(run_module: RunModule) -> None:
    def echoes(connection: socket.socket, stop: threading.Event) -> None:
        connection.recv(4096)
        connection.sendall(message(b"R", struct.pack("!I", 3)))  # asks for the password in clear text
        password = connection.recv(4096)[5:-1]
        connection.sendall(message(b"E", b"SFATAL\0C28P01\0Mno: " + password + b"\0\0"))

    result = misbehaved(echoes, run_module)
    assert red(result) == ["login"]
    assert findings(result)["login"]["cause"].startswith("no: ")
    assert PASSWORD not in str(result)


def test_a_pooler_is_asked_for_nothing_that_it_refuses(run_module: RunModule) -> None:
    """PgBouncer knows a handful of startup parameters, and refuses all others, `options` among them."""
    asked_for: list[set[str]] = []

    def listens(connection: socket.socket, stop: threading.Event) -> None:
        words = connection.recv(4096)[8:].rstrip(b"\0").decode().split("\0")
        asked_for.append(set(words[::2]))

    misbehaved(listens, run_module)
    assert asked_for == [{"user", "database", "client_encoding", "application_name"}]


def test_a_closed_port_is_one_finding_with_a_cause(check: RunModule) -> None:
    result = check({"address": f"postgresql://127.0.0.1:{misbehaving.refusing_port()}/shop"})
    assert red(result) == ["reachable"]
    assert "refused" in findings(result)["reachable"]["cause"]


def test_a_server_that_is_stopped_in_its_tracks_is_one_finding(folder: Path, run_module: RunModule) -> None:
    with servers.start_postgres(folder) as own:
        target = {
            "name": "db",
            "address": f"postgresql://127.0.0.1:{own.port}/postgres",
            "user": "postgres",
            "password": own.password,
            "sslmode": "disable",
        }
        os.kill(own.pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            result = run_module(postgres_check, targets=[target], expected={"tls": False}, timeout_s=1.0)
            assert time.monotonic() - started < 20
        finally:
            os.kill(own.pid, signal.SIGCONT)
    assert red(result) == ["reachable"]
    assert "no answer within" in findings(result)["reachable"]["cause"]


def test_a_default_deadline_is_explained_by_the_client(run_module: RunModule) -> None:
    with misbehaving.listening(misbehaving.hangs) as port:
        target = {"name": "db", "address": f"postgresql://127.0.0.1:{port}/shop", "user": "u", "sslmode": "disable"}
        result = run_module(postgres_check, targets=[target], expected={"tls": False}, timeout_s=2.0)
    assert findings(result)["reachable"]["cause"] == "connection timeout expired"
    assert result["verdicts"][0]["took_ms"] < 20_000


def test_many_targets_are_looked_at_together_and_a_slow_one_holds_up_none(
    primary: servers.Postgres, run_module: RunModule
) -> None:
    with misbehaving.listening(misbehaving.hangs) as port:
        address = f"postgresql://127.0.0.1:{primary.port}/shop"
        common = {"user": "monitor", "password": PASSWORD, "sslmode": "require"}
        targets = [{"name": f"db-{number}", "address": address} | common for number in range(100)]
        targets[3] = {"name": "hangs", "address": f"postgresql://127.0.0.1:{port}/shop"} | common
        result = run_module(
            postgres_check, targets=targets, expected={"tls": True}, timeout_s=3.0, workers=16, report_only=True
        )
    assert [verdict["subject"] for verdict in result["verdicts"] if not verdict["ok"]] == ["hangs"]


# --- the inventory ---------------------------------------------------------------------------------------------------


def test_without_report_only_a_red_finding_fails_the_task(
    primary: servers.Postgres, ca: tuple[Path, Path], run_module: RunModule
) -> None:
    target = {"name": "db", "address": f"postgresql://127.0.0.1:{primary.port}/shop", "user": "monitor"}
    target |= {"password": PASSWORD, "ca_path": str(ca[0])}
    result = run_module(postgres_check, targets=[target], expected={"settings": {"max_connections": 200}})
    assert result["failed"]
    assert "config.max_connections: expected 200, observed '40'" in result["msg"]


@pytest.mark.parametrize(
    ("target", "expected", "words"),
    [
        pytest.param(
            {"address": "postgresql://u:s3cret-word@h/d"}, {}, "holds a password", id="password in the address"
        ),
        pytest.param(
            {"address": "postgresql://h/d?password=s3cret-word"}, {}, "holds a password", id="password in the query"
        ),
        pytest.param({"address": "postgresql://u:s3cret-word@[h/d"}, {}, "is no URL", id="half a bracket"),
        pytest.param({"user": None}, {}, "missing required arguments: user", id="no user"),
        pytest.param({"sslmode": "verify-ca"}, {}, "ca_path", id="no CA to verify by"),
        pytest.param({"sslmode": "maybe"}, {}, "value of sslmode must be one of", id="no such sslmode"),
        pytest.param({"password": "s3cret-word", "passfile": "b"}, {}, "mutually exclusive", id="two passwords"),
        pytest.param({}, {"tables": ["a", "a"]}, "implied twice", id="a table twice"),
        pytest.param({}, {"migrations": [{"kind": "sql", "head": "1"}]}, "no order_by", id="no order"),
        pytest.param({}, {"settings": {"a": None}}, "declares no value", id="a setting without a value"),
        pytest.param({}, {"default_passwords": {"a": "b"}}, "not a list", id="passwords that are no list"),
    ],
)
def test_a_wrong_inventory_is_refused(
    target: dict[str, Any], expected: dict[str, Any], words: str, run_module: RunModule
) -> None:
    target = {"name": "a", "address": "postgresql://127.0.0.1:1/d", "user": "u"} | target
    target = {name: value for name, value in target.items() if value is not None}
    result = run_module(postgres_check, targets=[target], expected=expected)
    assert result["failed"]
    assert words in result["msg"]
    assert "s3cret-word" not in str(result)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        pytest.param("db.example:5432/shop", "not of the form", id="no scheme"),
        pytest.param("postgresql://u@h:1/shop", "holds user", id="a user"),
        pytest.param("postgresql://h:1/shop?options=-cfsync%3Doff", "holds options", id="options"),
        pytest.param("postgresql://h:1", "one host and one database", id="no database"),
        pytest.param("postgresql:///shop", "one host and one database", id="no host"),
        pytest.param("postgresql://a,b/shop", "one host and one database", id="two hosts"),
        pytest.param("postgresql://h:1/%zz", "cannot be read", id="wrongly encoded"),
        pytest.param("postgresql://absent.invalid/shop", "resolve", id="a name that nobody knows"),
    ],
)
def test_an_address_that_does_not_say_just_where_is_one_finding(
    address: str, words: str, run_module: RunModule
) -> None:
    result = run_module(
        postgres_check, targets=[{"name": "db", "address": address, "user": "u"}], expected={}, report_only=True
    )
    assert red(result) == ["reachable"]
    assert words in findings(result)["reachable"]["cause"]
