# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts of real servers: one change is one fact, nothing moves by itself, and the login could change nothing."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import certificate_facts
import hvac.exceptions
import postgres_facts
import psycopg
import pytest
import redis
import redis_facts
import servers
import vault_facts

RunModule = Callable[..., dict[str, Any]]
Take = Callable[[], dict[str, Any]]

SALT = "s" * 64
PASSWORD = "correct-horse-battery-staple"
READ_ONLY = (
    "-@all +ping +select +info +config|get +acl|list +acl|getuser +acl|whoami +module|list resetkeys resetchannels"
)
POLICY = """
path "sys/mounts" { capabilities = ["read"] }
path "sys/auth" { capabilities = ["read"] }
path "sys/audit" { capabilities = ["read", "sudo"] }
path "sys/policies/acl" { capabilities = ["list"] }
path "sys/policies/acl/*" { capabilities = ["read"] }
"""


def facts_of(result: dict[str, Any]) -> dict[str, Any]:
    """The facts of the only target; all of it must have been seen."""
    assert not result.get("failed"), result.get("msg")
    (observation,) = result["observations"]
    assert observation["unseen"] == []
    return {fact["key"]: fact["value"] for fact in observation["facts"]}


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]


# --- Redis and Valkey -------------------------------------------------------------------------------------------------


@pytest.fixture
def take_redis(redis_server: servers.Redis, run_module: RunModule) -> Iterator[Take]:
    """The facts, by a user who may only look."""
    admin = redis_server.client()
    admin.execute_command("ACL", "SETUSER", "looker", "on", f">{PASSWORD}", *READ_ONLY.split())
    target = {"name": "cache", "address": f"redis://127.0.0.1:{redis_server.port}/0"}
    login = {"username": "looker", "password": PASSWORD}
    yield lambda: facts_of(run_module(redis_facts, targets=[target | login], salt=SALT))
    admin.execute_command("ACL", "DELUSER", "looker")


@pytest.mark.parametrize(
    ("do", "undo", "keys"),
    [
        pytest.param("CONFIG SET hz 33", "CONFIG SET hz 10", ["config.hz"], id="a directive"),
        pytest.param("ACL SETUSER eve on ~* +@all", "ACL DELUSER eve", ["user.eve"], id="a user"),
        pytest.param("ACL SETUSER looker +get", "ACL SETUSER looker -get", ["user.looker"], id="a right"),
        pytest.param("SET key value", "DEL key", [], id="data"),
        pytest.param("GET key", "PING", [], id="use"),
    ],
)
def test_one_change_of_redis_is_one_fact(
    redis_server: servers.Redis, take_redis: Take, do: str, undo: str, keys: list[str]
) -> None:
    before = take_redis()
    redis_server.client().execute_command(*do.split())
    try:
        assert changed(before, take_redis()) == keys
    finally:
        redis_server.client().execute_command(*undo.split())


def test_no_password_of_redis_is_kept(redis_server: servers.Redis, take_redis: Take) -> None:
    facts = take_redis()
    assert facts["config.requirepass"].startswith("fingerprint ")
    assert redis_server.password not in str(facts)
    assert PASSWORD not in str(facts)


def test_the_login_that_takes_facts_can_write_nothing(redis_server: servers.Redis, take_redis: Take) -> None:
    take_redis()
    looker = redis.Redis(port=redis_server.port, username="looker", password=PASSWORD, socket_timeout=5)
    for command in (
        "SET a b",
        "GET a",
        "CONFIG SET hz 20",
        "ACL SETUSER x on",
        "FLUSHALL",
        "SHUTDOWN",
        "KEYS *",
    ):
        with pytest.raises(redis.exceptions.NoPermissionError):
            looker.execute_command(*command.split())


def test_what_the_login_may_not_see_is_unseen_and_the_rest_is_there(
    redis_server: servers.Redis, take_redis: Take, run_module: RunModule
) -> None:
    redis_server.client().execute_command("ACL", "SETUSER", "looker", "-config|get")
    target = {"name": "cache", "address": f"redis://127.0.0.1:{redis_server.port}/0"}
    result = run_module(redis_facts, targets=[target | {"username": "looker", "password": PASSWORD}], salt=SALT)
    (observation,) = result["observations"]
    assert [gap["part"] for gap in observation["unseen"]] == ["config"]
    assert "user.looker" in {fact["key"] for fact in observation["facts"]}


@pytest.mark.parametrize("login", [{"username": "looker", "password": "wrong"}, {"password": "wrong"}, {}], ids=str)
def test_a_refused_login_sees_nothing(
    redis_server: servers.Redis, take_redis: Take, run_module: RunModule, login: dict[str, str]
) -> None:
    target = {"name": "cache", "address": f"redis://127.0.0.1:{redis_server.port}/0"}
    (observation,) = run_module(redis_facts, targets=[target | login], salt=SALT)["observations"]
    assert observation["facts"] == []
    assert [gap["part"] for gap in observation["unseen"]] == [""]


def test_a_server_that_is_not_there_is_an_observation_of_nothing(run_module: RunModule) -> None:
    targets = [{"name": "gone", "address": f"redis://127.0.0.1:{servers.free_port()}/0"}]
    (observation,) = run_module(redis_facts, targets=targets, salt=SALT)["observations"]
    assert (observation["facts"], [gap["part"] for gap in observation["unseen"]]) == ([], [""])


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


@pytest.fixture
def database(postgres: servers.Postgres) -> Iterator[str]:
    """A database of its own with a little of everything, and a role that may only monitor."""
    name = f"facts_{secrets.token_hex(4)}"
    postgres.run(f"CREATE DATABASE {name}", f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}' IN ROLE pg_monitor")
    postgres.run(
        "CREATE TABLE users (id serial PRIMARY KEY, email text NOT NULL DEFAULT 'x', born date)",
        "CREATE TABLE events (at date, what text) PARTITION BY RANGE (at)",
        "CREATE INDEX users_born ON users (born)",
        "CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT 2 * n'",
        dbname=name,
    )
    yield name
    postgres.run(f"DROP DATABASE {name} WITH (FORCE)", f"DROP ROLE {name}")


@pytest.fixture
def take_postgres(postgres: servers.Postgres, database: str, run_module: RunModule) -> Take:
    target = {"name": "shop", "address": f"postgresql://127.0.0.1:{postgres.port}/{database}", "sslmode": "disable"}
    login = {"user": database, "password": PASSWORD}
    return lambda: facts_of(run_module(postgres_facts, targets=[target | login], salt=SALT))


@pytest.mark.parametrize(
    ("statement", "keys"),
    [
        ("ALTER TABLE users ADD COLUMN note text", ["table.public.users/column.note"]),
        ("ALTER TABLE users ALTER COLUMN born SET NOT NULL", ["table.public.users/column.born"]),
        ("CREATE INDEX again ON users (email)", ["table.public.users/index.again"]),
        ("ALTER TABLE users ADD UNIQUE (email)", ["table.public.users/constraint.users_email_key"]),
        ("ALTER TABLE users DROP CONSTRAINT users_pkey", ["table.public.users/constraint.users_pkey"]),
        ("GRANT SELECT ON users TO PUBLIC", ["table.public.users/grant."]),
        ("ALTER TABLE users ENABLE ROW LEVEL SECURITY", ["table.public.users"]),
        ("CREATE POLICY p ON users USING (true)", ["table.public.users/policy.p"]),
        ("CREATE OR REPLACE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT 3 * n'",
         ["function.public.twice(n integer)"]),
        ("CREATE EXTENSION pg_trgm", ["extension.pg_trgm"]),
        ("CREATE SCHEMA stray", ["schema.stray"]),
        ("ALTER SCHEMA public OWNER TO postgres", ["schema.public"]),
        ("CREATE VIEW v AS SELECT 1 AS one",
         ["table.public.v", "table.public.v/column.one", "table.public.v/grant.postgres"]),
        # What moves by itself, or by the application.
        ("INSERT INTO users DEFAULT VALUES", []),
        ("SELECT nextval('users_id_seq')", []),
        ("CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-01-02')", []),
        ("CREATE TEMPORARY TABLE t (id int)", []),
        ("ANALYZE users", []),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)  # fmt: skip
def test_one_change_of_a_database_is_one_fact(
    postgres: servers.Postgres, database: str, take_postgres: Take, statement: str, keys: list[str]
) -> None:
    before = take_postgres()
    postgres.run(statement, dbname=database)
    assert changed(before, take_postgres()) == keys


def test_roles_and_settings_are_facts_of_the_server(
    postgres: servers.Postgres, database: str, take_postgres: Take
) -> None:
    before = take_postgres()
    eve = f"eve_{database}"
    postgres.run(f"CREATE ROLE {eve} SUPERUSER LOGIN", f"ALTER ROLE {eve} SET lock_timeout = '5s'",
                 "ALTER SYSTEM SET work_mem = '9MB'", "SELECT pg_reload_conf()")  # fmt: skip
    try:
        servers.wait_until(lambda: changed(before, take_postgres()) == [
            "config.work_mem", f"role.{eve}", f"role_setting.{eve}@*/lock_timeout",
        ], what="the reload", timeout_s=20)  # fmt: skip
        assert take_postgres()[f"role.{eve}"]["superuser"] is True
    finally:
        postgres.run(f"DROP ROLE {eve}", "ALTER SYSTEM RESET work_mem", "SELECT pg_reload_conf()")


def test_the_session_is_read_only_and_says_so(postgres: servers.Postgres, database: str, take_postgres: Take) -> None:
    assert take_postgres()["session.transaction_read_only"] == "on"
    with postgres.connect(user=database, password=PASSWORD, dbname=database) as looker:
        for statement in ("INSERT INTO users DEFAULT VALUES", "CREATE TABLE x ()", "ALTER SYSTEM SET work_mem = '1MB'"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                looker.execute(statement)


def test_a_role_from_which_settings_are_hidden_does_not_see_them_as_gone(
    postgres: servers.Postgres, database: str, run_module: RunModule
) -> None:
    postgres.run(f"REVOKE pg_monitor FROM {database}")
    target = {"name": "shop", "address": f"postgresql://127.0.0.1:{postgres.port}/{database}", "sslmode": "disable"}
    login = {"user": database, "password": PASSWORD}
    (observation,) = run_module(postgres_facts, targets=[target | login], salt=SALT)["observations"]
    assert [gap["part"] for gap in observation["unseen"]] == ["config"]
    assert len(observation["facts"]) > 20


# --- Vault ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def take_vault(openbao: servers.OpenBao, run_module: RunModule) -> Take:
    client = openbao.client()
    client.sys.create_or_update_policy("looker", POLICY)
    token = client.auth.token.create(policies=["looker"], ttl="10m")["auth"]["client_token"]
    target = {"name": "vault", "address": openbao.address, "token": token}
    return lambda: facts_of(run_module(vault_facts, targets=[target], salt=SALT))


def test_one_change_of_vault_is_one_fact(openbao: servers.OpenBao, take_vault: Take) -> None:
    client = openbao.client()
    before = take_vault()
    assert {"audit.file", "mount.cubbyhole", "auth.token", "policy.default", "version"} <= set(before)
    client.sys.enable_secrets_engine("kv", path="stray")
    client.sys.enable_auth_method("userpass", path="door")
    client.sys.create_or_update_policy("stray", 'path "x/*" { capabilities = ["read"] }')
    try:
        after = take_vault()
        assert changed(before, after) == ["auth.door", "mount.stray", "policy.stray"]
        client.sys.create_or_update_policy("stray", 'path "y/*" { capabilities = ["read"] }')
        client.sys.disable_secrets_engine("stray")
        client.sys.enable_secrets_engine("kv", path="stray")
        assert changed(after, take_vault()) == ["mount.stray", "policy.stray"]
    finally:
        client.sys.disable_secrets_engine("stray")
        client.sys.disable_auth_method("door")
        client.sys.delete_policy("stray")


def test_the_token_that_takes_facts_can_write_nothing(openbao: servers.OpenBao, take_vault: Take) -> None:
    take_vault()
    token = openbao.client().auth.token.create(policies=["looker"], ttl="1m")["auth"]["client_token"]
    looker = openbao.client(token)
    for act in (
        lambda: looker.sys.enable_secrets_engine("kv", path="x"),
        lambda: looker.sys.enable_auth_method("userpass", path="x"),
        lambda: looker.sys.create_or_update_policy("looker", 'path "*" { capabilities = ["sudo"] }'),
        lambda: looker.sys.disable_audit_device("file"),
        lambda: looker.sys.seal(),
    ):
        with pytest.raises(hvac.exceptions.Forbidden):
            act()


def test_a_token_that_sees_less_says_what_it_does_not_see(openbao: servers.OpenBao, run_module: RunModule) -> None:
    token = openbao.client().auth.token.create(policies=["default"], ttl="1m")["auth"]["client_token"]
    targets = [{"name": "vault", "address": openbao.address, "token": token}]
    (observation,) = run_module(vault_facts, targets=targets, salt=SALT)["observations"]
    assert [gap["part"] for gap in observation["unseen"]] == ["audit", "auth", "mount", "policy"]


def test_a_sealed_server_shows_nothing(tmp_path: Path, run_module: RunModule) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(servers.start_openbao(tmp_path))
        server.client().sys.seal()
        targets = [{"name": "vault", "address": server.address, "token": server.root_token}]
        (observation,) = run_module(vault_facts, targets=targets, salt=SALT)["observations"]
    assert (observation["facts"], [gap["part"] for gap in observation["unseen"]]) == ([], [""])


# --- certificates -----------------------------------------------------------------------------------------------------


def test_a_server_without_tls_has_no_certificate_to_take(openbao: servers.OpenBao, run_module: RunModule) -> None:
    targets = [{"name": "door", "address": openbao.address.replace("http:", "https:")}]
    (observation,) = run_module(certificate_facts, targets=targets)["observations"]
    assert (observation["facts"], [gap["part"] for gap in observation["unseen"]]) == ([], [""])


def test_modules_refuse_a_salt_that_could_be_guessed(run_module: RunModule) -> None:
    targets = [{"name": "cache", "address": "redis://127.0.0.1:1/0"}]
    result = run_module(redis_facts, targets=targets, salt="short")
    assert result["failed"]
    assert "32 characters" in result["msg"]
