# SPDX-License-Identifier: GPL-3.0-or-later
"""postgres_restore against a real PostgreSQL: the backup is back, nothing was destroyed, and what is lost was told."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import postgres_backup
import postgres_restore
import psycopg
import pytest
import servers
from ansible.module_utils.cutover import apply_database, apply_restore
from findings import findings, green, red
from psycopg import sql

RunModule = Callable[..., dict[str, Any]]

PASSWORD = "correct-horse 'battery' \\staple"
SUFFIX = "20260228T100833Z-rollback-k3x9"
CONTENTS = (
    "CREATE TABLE customer (id integer PRIMARY KEY, name text NOT NULL)",
    "INSERT INTO customer SELECT number, 'customer ' || number FROM generate_series(1, 1000) AS number",
    "CREATE TABLE payment (id bigserial PRIMARY KEY, customer integer REFERENCES customer, amount numeric(12, 2))",
    "INSERT INTO payment (customer, amount) SELECT id, id * 1.05 FROM customer",
    "CREATE TABLE visit (at timestamptz, note jsonb)",
    "CREATE VIEW report AS SELECT count(*) FROM payment",
)


class Shop:
    """A filled database of the test's own, its backup, and how it is brought back."""

    def __init__(self, server: servers.Postgres, name: str, folder: Path, run_module: RunModule) -> None:
        self.server, self.name, self.run_module = server, name, run_module
        self.dump = folder / "shop.dump"
        self.sha256 = ""

    def create(self, *options: str, contents: tuple[str, ...] = CONTENTS, owner: str = "shop_owner") -> None:
        self.execute("postgres", f"CREATE DATABASE {{}} OWNER {owner} {' '.join(options)}")
        self.run(f"SET ROLE {owner}", *contents)

    def execute(self, database: str, statement: str) -> None:
        with self.server.connect(dbname=database) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(self.name)))  # type: ignore[arg-type]

    def run(self, *statements: str, database: str | None = None) -> None:
        with self.server.connect(dbname=database or self.name) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[arg-type]

    def rows(self, query: str, database: str | None = None) -> list[tuple[Any, ...]]:
        with self.server.connect(dbname=database or self.name) as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]

    def options(self, **other: Any) -> dict[str, Any]:
        return {
            "name": "shop",
            "address": f"postgresql://127.0.0.1:{self.server.port}/{quote(self.name, safe='')}",
            "user": "postgres",
            "password": self.server.password,
            "sslmode": "disable",
            "program_dir": str(servers.postgres_binaries()),
        } | other

    def back_up(self) -> None:
        result = self.run_module(postgres_backup, **self.options(dest=str(self.dump)))
        assert "failed" not in result, result["msg"]
        self.sha256 = result["backup"]["sha256"]

    def how(self, **other: Any) -> dict[str, Any]:
        whole = {"src": str(self.dump), "sha256": self.sha256, "suffix": SUFFIX, "swap_timeout_s": 20} | other
        return self.options(**whole)

    def restore(self, *, without: str = "", **other: Any) -> dict[str, Any]:
        how = {name: value for name, value in self.how(**other).items() if name != without}
        return self.run_module(postgres_restore, **how)

    def databases(self) -> list[str]:
        """This database and all that were made of it."""
        like = [name for (name,) in self.rows("SELECT datname FROM pg_database ORDER BY 1", "postgres")]
        return [name for name in like if name.startswith(self.name[:20])]

    def dress(self) -> tuple[Any, ...]:
        with self.server.connect() as admin:
            found = apply_database.read_database(admin, self.name)
            assert found is not None
            return (*found.dress, found.open, found.comment)

    @property
    def restored(self) -> str:
        return f"{self.name}_restored_{SUFFIX}"

    @property
    def failed(self) -> str:
        return f"{self.name}_failed_{SUFFIX}"


ROLES = (
    "CREATE ROLE shop_owner LOGIN",
    "CREATE ROLE clerk LOGIN",
    f"CREATE ROLE administrator LOGIN CREATEDB PASSWORD $${PASSWORD}$$ IN ROLE shop_owner, pg_signal_backend",
    f"CREATE ROLE weakling LOGIN PASSWORD $${PASSWORD}$$",
)


@pytest.fixture(scope="module")
def server() -> Iterator[servers.Postgres]:
    """A server of these tests' own: it goes with all the databases that they leave in it."""
    with TemporaryDirectory(prefix="restore-") as folder:
        Path(folder).chmod(0o711)
        with servers.start_postgres(Path(folder), {"max_prepared_transactions": "2"}) as own:
            own.run(*ROLES)
            yield own


@pytest.fixture
def new_shop(server: servers.Postgres, tmp_path: Path, run_module: RunModule) -> Shop:
    """One that is not made yet."""
    return Shop(server, f"s_{secrets.token_hex(4)}", tmp_path, run_module)


@pytest.fixture
def shop(new_shop: Shop) -> Shop:
    """A filled database with its backup."""
    new_shop.create()
    new_shop.back_up()
    return new_shop


# --- bringing back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["postgres", "administrator"])
def test_the_backup_takes_the_place_of_the_database_which_is_kept(shop: Shop, user: str) -> None:
    shop.run(
        "ALTER TABLE customer DROP COLUMN name", "DROP VIEW report", "SET ROLE shop_owner; CREATE TABLE tried (id int)"
    )
    password = {"postgres": shop.server.password, "administrator": PASSWORD}[user]
    result = shop.restore(user=user, password=password)
    assert "failed" not in result, result["msg"]
    assert result["changed"]
    assert (result["lost"], result["only_present"], result["only_restored"]) == ([], ["public.tried"], [])
    assert (result["kept_as"], result["restored_as"]) == (shop.failed, None)
    assert shop.databases() == [shop.name, shop.failed]
    assert shop.rows("SELECT count(*), max(name) FROM customer") == [(1000, "customer 999")]
    assert shop.rows("SELECT count(*) FROM tried", shop.failed) == [(0,)]
    assert green(result) == ["reachable", "restore.rows", "restore.tables"]
    assert result["verdicts"][0]["recorded"]["amcheck"] == "not run: the database has no extension amcheck"
    assert result["verdicts"][0]["recorded"]["rows"] == 2000
    assert [Path(command["argv"][0]).name for command in result["commands"]] == ["pg_restore"] * 3
    assert PASSWORD not in str(result)
    assert shop.server.password not in str(result)


def test_the_new_database_is_what_the_present_one_is_beside_its_contents(new_shop: Shop) -> None:
    new_shop.create("ENCODING 'LATIN1'", "TEMPLATE template0", "LC_COLLATE 'C'", "LC_CTYPE 'C'", "CONNECTION LIMIT 42")
    for statement in (
        'ALTER DATABASE {} SET search_path TO "$user", public, "it\'s, odd"',
        "ALTER DATABASE {} SET statement_timeout TO '7s'",
        "ALTER DATABASE {} SET default_transaction_read_only TO off",
        "ALTER DATABASE {} SET \"shop.Motto\" TO 'it''s = \\ \"fine\"'",
        "ALTER ROLE clerk IN DATABASE {} SET search_path TO a, b",
        "ALTER ROLE clerk IN DATABASE {} SET work_mem TO '5MB'",
        "REVOKE ALL ON DATABASE {} FROM PUBLIC",
        "REVOKE TEMPORARY ON DATABASE {} FROM shop_owner",
        "GRANT CONNECT ON DATABASE {} TO clerk WITH GRANT OPTION",
        "COMMENT ON DATABASE {} IS 'it''s the \"shop\"'",
    ):
        new_shop.execute("postgres", statement)
    new_shop.back_up()
    before = new_shop.dress()
    assert "failed" not in new_shop.restore()
    assert new_shop.dress() == before
    assert new_shop.rows("SHOW search_path") == [('"$user", public, "it\'s, odd"',)]


def test_the_kept_database_can_be_read_and_is_not_written_to_by_accident(shop: Shop) -> None:
    assert "failed" not in shop.restore()
    assert shop.rows("SELECT count(*) FROM payment", shop.failed) == [(1000,)]
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        shop.run("DELETE FROM payment", database=shop.failed)


def test_a_second_call_changes_nothing_and_one_with_another_dump_is_refused(shop: Shop, tmp_path: Path) -> None:
    assert shop.restore()["changed"]
    shop.run("INSERT INTO visit VALUES (now(), '{}')")
    again = shop.restore()
    assert ("failed" in again, again["changed"], again["kept_as"]) == (False, False, shop.failed)
    assert again["lost"] is None
    assert shop.rows("SELECT count(*) FROM visit") == [(1,)]
    shop.dump = tmp_path / "second.dump"
    shop.back_up()
    refused = shop.restore()
    assert refused["failed"]
    assert "this suffix was used with another dump" in refused["msg"]
    assert "failed" not in shop.restore(suffix="second")
    assert len(shop.databases()) == 3


def test_a_finished_call_is_not_taken_for_done_when_the_database_was_replaced_since(shop: Shop) -> None:
    assert "failed" not in shop.restore()
    shop.dump.with_name("shop.dump").rename(shop.dump.with_name("first.dump"))
    shop.back_up()
    assert "failed" not in shop.restore(suffix="second")
    first = shop.dump.with_name("first.dump")
    result = shop.restore(src=str(first), sha256=hashlib.sha256(first.read_bytes()).hexdigest())
    assert result["failed"]
    assert "has been replaced since" in result["msg"]


# --- what is lost ----------------------------------------------------------------------------------------------------

WRITTEN = (
    "INSERT INTO customer VALUES (5000, 'new'), (5001, 'new')",
    "UPDATE payment SET amount = 0 WHERE id IN (7, 8, 9)",
    "DELETE FROM payment WHERE id = 10",
    "INSERT INTO visit SELECT '2026-01-01', '{}' FROM generate_series(1, 4)",
    "ALTER TABLE customer ADD COLUMN level text DEFAULT 'basic', ADD COLUMN born date",
    "UPDATE customer SET level = 'gold' WHERE id < 6",
    "CREATE TABLE alembic_version (version_num text)",
    "INSERT INTO alembic_version VALUES ('0002')",
    "CREATE TABLE basket (id int)",
    "INSERT INTO basket SELECT generate_series(1, 6)",
    "CREATE TABLE nothing (id int)",
)
LOST = [
    {"table": "public.basket", "rows": 6, "returning": 0, "columns": {}},
    {"table": "public.customer", "rows": 2, "returning": 0, "columns": {"born": 0, "level": 5}},
    {"table": "public.payment", "rows": 3, "returning": 4, "columns": {}},
    {"table": "public.visit", "rows": 4, "returning": 0, "columns": {}},
]


def test_what_was_written_since_is_told_and_refused_and_when_accepted_it_is_kept(shop: Shop) -> None:
    shop.run(*WRITTEN)
    ignore = {"ignore_tables": ["public.alembic_version"]}
    refused = shop.restore(**ignore)
    assert refused["failed"]
    assert refused["lost"] == LOST
    assert refused["ignored"] == [{"table": "public.alembic_version", "rows": 1, "returning": 0, "columns": {}}]
    assert refused["only_present"] == ["public.alembic_version", "public.basket", "public.nothing"]
    assert "-e rollback_accept_data_loss=true" in refused["msg"]
    assert "public.payment: 3 rows, 4 deleted or changed since that would return" in refused["msg"]
    assert "public.customer: 2 rows, 5 rows with a value in its new column level" in refused["msg"]
    assert (refused["kept_as"], refused["restored_as"]) == (None, shop.restored)
    assert shop.databases() == [shop.name, shop.restored]
    assert shop.rows("SELECT count(*) FROM basket") == [(6,)]
    accepted = shop.restore(**ignore, accept_data_loss=True)
    assert "failed" not in accepted, accepted["msg"]
    assert accepted["lost"] == LOST
    # What the first call had restored was there.
    assert [command["argv"][1] for command in accepted["commands"]] == ["--list"]
    assert shop.databases() == [shop.name, shop.failed]
    assert shop.rows("SELECT count(*) FROM basket", shop.failed) == [(6,)]
    assert shop.rows("SELECT amount::text FROM payment WHERE id IN (7, 10) ORDER BY id") == [("7.35",), ("10.50",)]


@pytest.mark.parametrize(
    ("contents", "written", "lost"),
    [
        pytest.param(
            ("CREATE TABLE t (a int, b text)", "INSERT INTO t VALUES (1, 'x'), (1, 'x'), (1, 'x')"),
            ("INSERT INTO t VALUES (1, 'x')",),
            {"public.t": (1, 0)},
            id="one more of rows that are alike",
        ),
        pytest.param(
            ("CREATE TABLE t (a int, b text)", "INSERT INTO t VALUES (1, NULL)"),
            ("UPDATE t SET b = ''",),
            {"public.t": (1, 1)},
            id="an empty text is not null",
        ),
        pytest.param(
            ("CREATE TABLE t (a text, b text)", "INSERT INTO t VALUES ('x,y', 'z')"),
            ("UPDATE t SET a = 'x', b = 'y,z'",),
            {"public.t": (1, 1)},
            id="a comma moved from one column to the next",
        ),
        pytest.param(
            ("CREATE TABLE t (a float8, b timestamptz, c bytea)", "INSERT INTO t VALUES (0.1, '2026-01-01', '\\x01')"),
            ("UPDATE t SET a = 0.1::float8 + 1e-17", "UPDATE t SET a = 0.30000000000000004::float8 - 0.2::float8"),
            {"public.t": (1, 1)},
            id="the last digit of a float",
        ),
        pytest.param(
            (
                "CREATE TABLE t (a int) PARTITION BY RANGE (a)",
                "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (9)",
            ),
            ("INSERT INTO t VALUES (3)",),
            {"public.t1": (1, 0)},
            id="a partition",
        ),
        pytest.param(
            ("CREATE TABLE p (a int)", "CREATE TABLE c () INHERITS (p)"),
            ("INSERT INTO c VALUES (3)",),
            {"public.c": (1, 0)},
            id="a table that inherits",
        ),
        pytest.param(
            ("SELECT lo_from_bytea(1000, 'x')", "CREATE TABLE t (a int)"),
            ("SELECT lo_put(1000, 1, 'y')", "SELECT lo_from_bytea(1001, 'z')"),
            {"(large objects)": (2, 1)},
            id="large objects",
        ),
        pytest.param(
            ("CREATE TABLE t (a int)", "CREATE TABLE gone (a int)", "INSERT INTO gone VALUES (1)"),
            ("DROP TABLE gone",),
            {},
            id="a dropped table comes back and is named",
        ),
        pytest.param(("CREATE TABLE t ()",), ("INSERT INTO t DEFAULT VALUES",), {"public.t": (1, 0)}, id="no columns"),
    ],
)
def test_every_kind_of_write_is_counted(
    new_shop: Shop, contents: tuple[str, ...], written: tuple[str, ...], lost: dict[str, tuple[int, int]]
) -> None:
    new_shop.create(contents=contents)
    new_shop.back_up()
    new_shop.run(*written)
    result = new_shop.restore(min_tables=0)
    assert {each["table"]: (each["rows"], each["returning"]) for each in result["lost"]} == lost
    assert bool(result.get("failed")) is bool(lost)
    assert (result["only_restored"] == ["public.gone"]) is (not lost)


def test_many_rows_are_told_apart_to_the_last_one(new_shop: Shop) -> None:
    many = "INSERT INTO t SELECT n, md5(n::text) FROM generate_series(1, 200000) AS n"
    new_shop.create(contents=("CREATE TABLE t (a int, b text)", many))
    new_shop.back_up()
    new_shop.run("DELETE FROM t WHERE a % 20000 = 1", "INSERT INTO t SELECT 7, 'x' FROM generate_series(1, 3)")
    assert new_shop.restore()["lost"] == [{"table": "public.t", "rows": 3, "returning": 10, "columns": {}}]


def test_rows_that_a_policy_hides_are_not_taken_for_absent(shop: Shop) -> None:
    shop.run("ALTER TABLE payment ENABLE ROW LEVEL SECURITY", "ALTER TABLE payment FORCE ROW LEVEL SECURITY")
    result = shop.restore(user="administrator", password=PASSWORD)
    assert result["failed"]
    assert "row-level security" in result["msg"]
    assert shop.rows("SELECT count(*) FROM payment") == [(1000,)]


class Writer:
    """A client that writes all the time, connects anew whenever it is cut off, and remembers what was acknowledged."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.acknowledged, self.stopped = shop, list[int](), threading.Event()
        self.thread = threading.Thread(target=self._write)

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        self.thread.start()
        servers.wait_until(lambda: len(self.acknowledged) > 20, what="the writer")
        try:
            yield self
        finally:
            self.stopped.set()
            self.thread.join(30)

    def _write(self) -> None:
        number = 10_000
        while not self.stopped.is_set():
            with suppress(psycopg.Error), self.shop.server.connect(dbname=self.shop.name) as connection:
                while not self.stopped.is_set():
                    number += 1
                    connection.execute("INSERT INTO customer VALUES (%s, 'writer')", (number,))
                    self.acknowledged.append(number)
                    time.sleep(0.002)


def written(shop: Shop, database: str) -> set[int]:
    return {number for (number,) in shop.rows("SELECT id FROM customer WHERE id > 10000", database)}


def test_every_acknowledged_write_of_clients_that_come_back_is_in_the_count_and_in_the_kept_database(
    new_shop: Shop,
) -> None:
    new_shop.create()
    writers = [Writer(new_shop), Writer(new_shop)]
    writers[1]._write = lambda: None  # type: ignore[method-assign]
    with writers[0].writing() as writer:
        new_shop.back_up()
        refused = new_shop.restore()
        assert refused["failed"]
        assert refused["lost"][0]["rows"] > 0
        result = new_shop.restore(accept_data_loss=True)
        assert "failed" not in result, result["msg"]
        swapped_at = len(writer.acknowledged)
        servers.wait_until(lambda: len(writer.acknowledged) > swapped_at + 20, what="writes after the swap")
    kept, now = written(new_shop, new_shop.failed), written(new_shop, new_shop.name)
    assert set(writer.acknowledged) <= kept | now
    assert result["lost"] == [{"table": "public.customer", "rows": len(kept - now), "returning": 0, "columns": {}}]
    # Nothing that came after the swap is in the kept one, and nothing in both but what was in the backup.
    assert max(kept) < max(now)


def test_a_write_between_the_first_count_and_the_closing_is_found_and_the_database_opened_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = apply_restore.set_open

    def late(admin: Any, name: str, *, to_clients: bool) -> None:
        if not to_clients:
            shop.run("INSERT INTO customer VALUES (7777, 'just now')")
        close(admin, name, to_clients=to_clients)

    monkeypatch.setattr(apply_restore, "set_open", late)
    result = shop.restore()
    assert result["failed"]
    assert result["lost"] == [{"table": "public.customer", "rows": 1, "returning": 0, "columns": {}}]
    assert shop.databases() == [shop.name, shop.restored]
    assert shop.rows("SELECT name FROM customer WHERE id = 7777") == [("just now",)]


def test_a_session_that_cannot_be_ended_leaves_everything_as_it_was(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply_database, "_END", apply_database._END.replace("pg_terminate_backend(pid)", "true"))
    with shop.server.connect(dbname=shop.name):
        result = shop.restore(swap_timeout_s=1)
    assert result["failed"]
    assert "still has sessions: postgres (process" in result["msg"]
    assert shop.rows("SELECT count(*) FROM customer") == [(1000,)]
    assert "failed" not in shop.restore()


# --- what is refused -------------------------------------------------------------------------------------------------


def test_a_dump_that_changes_while_it_is_restored_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    real = apply_restore.Programs.restore

    def restore_and_touch(programs: Any, dump: Path, into: Any, *, jobs: int) -> None:
        real(programs, dump, into, jobs=jobs)
        dump.touch()

    monkeypatch.setattr(apply_restore.Programs, "restore", restore_and_touch)
    result = shop.restore()
    assert "was changed while it was restored" in result["msg"]
    assert shop.databases() == [shop.name]


def test_a_dump_that_is_not_the_recorded_one_is_refused(shop: Shop) -> None:
    with shop.dump.open("r+b") as dump:
        dump.seek(2000)
        dump.write(b"x")
    result = shop.restore()
    assert result["failed"]
    assert "was recorded: it is damaged" in result["msg"]
    assert shop.databases() == [shop.name]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(lambda whole: whole[: len(whole) * 2 // 3], "pg_restore", id="cut off"),
        pytest.param(lambda whole: whole[:-3000] + bytes(3000), "pg_restore", id="zeros at its end"),
        pytest.param(lambda whole: b"", "pg_restore", id="empty"),
        pytest.param(lambda whole: b"CREATE TABLE t ();\n" * 100, "pg_restore", id="no archive"),
    ],
)
def test_a_dump_that_was_recorded_damaged_leaves_nothing_behind(
    shop: Shop, content: Callable[[bytes], bytes], words: str
) -> None:
    shop.dump.write_bytes(content(shop.dump.read_bytes()))
    shop.sha256 = hashlib.sha256(shop.dump.read_bytes()).hexdigest()
    result = shop.restore()
    assert result["failed"]
    assert words in result["msg"]
    assert shop.databases() == [shop.name]
    assert not result["changed"]


def test_a_dump_of_another_database_is_refused(shop: Shop, server: servers.Postgres, run_module: RunModule) -> None:
    other = Shop(server, f"s_{secrets.token_hex(4)}", shop.dump.parent, run_module)
    other.create()
    other.dump, other.sha256 = shop.dump, shop.sha256
    result = other.restore()
    assert result["failed"]
    assert f"the dump is one of the database '{shop.name}', and not of '{other.name}'" in result["msg"]
    assert other.databases() == [other.name]


def test_a_dump_with_too_few_tables_is_red(shop: Shop) -> None:
    result = shop.restore(min_tables=4)
    assert result["failed"]
    assert red(result) == ["restore.tables"]
    assert "which was made for it, was dropped" in result["msg"]
    assert shop.databases() == [shop.name]


def test_a_restored_database_that_lacks_rows_is_red(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def restore_and_lose(programs: Any, dump: Path, into: Any, *, jobs: int) -> None:
        real(programs, dump, into, jobs=jobs)
        shop.run("DELETE FROM visit", "DELETE FROM payment WHERE id < 4", database=shop.restored)

    real = apply_restore.Programs.restore
    monkeypatch.setattr(apply_restore.Programs, "restore", restore_and_lose)
    result = shop.restore()
    assert red(result) == ["restore.rows"]
    assert findings(result)["restore.rows"]["observed"] == {"public.payment": [1000, 997]}
    assert shop.databases() == [shop.name]


def test_pg_amcheck_is_asked_where_the_database_has_its_extension(shop: Shop, tmp_path: Path) -> None:
    shop.run("CREATE EXTENSION amcheck")
    shop.dump = tmp_path / "with-amcheck.dump"
    shop.back_up()
    result = shop.restore()
    assert "failed" not in result, result["msg"]
    assert red(result) == []
    assert "restore.amcheck" in green(result)
    assert Path(result["commands"][-1]["argv"][0]).name == "pg_amcheck"


def test_a_restored_database_with_an_index_out_of_order_is_red_and_not_swapped_in(shop: Shop, tmp_path: Path) -> None:
    shop.run("CREATE EXTENSION amcheck", *servers.INDEX_OUT_OF_ORDER)
    shop.dump = tmp_path / "out-of-order.dump"
    shop.back_up()
    result = shop.restore()
    assert red(result) == ["restore.amcheck"]
    assert "item order invariant violated" in str(findings(result)["restore.amcheck"]["observed"])
    assert result["failed"]


@pytest.mark.parametrize(
    ("user", "grants", "words"),
    [
        pytest.param("weakling", (), "lacks: CREATEDB", id="nothing"),
        pytest.param("weakling", (), "membership in 'shop_owner'", id="not the owner"),
        pytest.param("weakling", (), "pg_signal_backend, to end sessions", id="no signals"),
        pytest.param("weakling", (), "SELECT on public.customer, public.payment, public.visit", id="no reading"),
    ],
)
def test_missing_rights_are_all_told_before_anything_is_made(
    shop: Shop, user: str, grants: tuple[str, ...], words: str
) -> None:
    result = shop.restore(user=user, password=PASSWORD)
    assert result["failed"]
    assert words in result["msg"]
    assert "nothing was begun" in result["msg"]
    assert PASSWORD not in str(result)
    assert shop.databases() == [shop.name]


def test_sessions_of_a_superuser_are_told_to_who_cannot_end_them(shop: Shop) -> None:
    with shop.server.connect(dbname=shop.name, application_name="psql of a friend"):
        result = shop.restore(user="administrator", password=PASSWORD)
    assert result["failed"]
    assert "to end the sessions of superusers: postgres (psql of a friend)" in result["msg"]


def test_a_setting_that_cannot_be_made_again_is_refused_before_the_restore(shop: Shop) -> None:
    shop.execute("postgres", "ALTER DATABASE {} SET log_statement TO 'all'")
    result = shop.restore(user="administrator", password=PASSWORD)
    assert result["failed"]
    assert 'permission denied to set parameter "log_statement"' in result["msg"]
    assert [command["argv"][1] for command in result["commands"]] == ["--list"]
    assert shop.databases() == [shop.name]


@pytest.mark.parametrize("which", ["restored", "failed"])
def test_a_database_of_somebody_else_with_our_name_is_refused_and_not_dropped(shop: Shop, which: str) -> None:
    name = getattr(shop, which)
    shop.server.run(f'CREATE DATABASE "{name}"')
    shop.run("CREATE TABLE precious (id int)", database=name)
    result = shop.restore()
    assert result["failed"]
    assert "name another suffix" in result["msg"]
    assert shop.rows("SELECT count(*) FROM precious", name) == [(0,)]
    assert shop.rows("SELECT count(*) FROM customer") == [(1000,)]


def test_nothing_but_an_unfinished_restore_of_ours_can_be_dropped(shop: Shop) -> None:
    assert "failed" not in shop.restore()
    with shop.server.connect() as admin:
        for name in (shop.name, shop.failed, "no such database"):
            with pytest.raises(apply_restore.CannotRestore, match="is not dropped"):
                apply_database.drop_own(admin, name)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param({"suffix": "no such/suffix"}, "cannot be part of a database's name", id="suffix"),
        pytest.param({"suffix": "x" * 41}, "cannot be part of a database's name", id="long suffix"),
        pytest.param({"src": "/nowhere/x.dump"}, "No such file or directory", id="no dump"),
        pytest.param({"password": "wrong-s3cret"}, "password authentication failed", id="wrong password"),
        pytest.param({"maintenance_database": "absent"}, 'database "absent" does not exist', id="no such database"),
        pytest.param({"program_dir": "/nowhere"}, "/nowhere/pg_restore could not be run", id="no program"),
        pytest.param({"address": "postgresql://u:s3cret@127.0.0.1/x"}, "holds a password", id="a password in it"),
        pytest.param({"address": "postgresql://[::1/x?password=s3cret"}, "is no URL", id="no address"),
        pytest.param({"address": "postgresql://127.0.0.1"}, "one host and one database", id="no database"),
    ],
)
def test_what_is_declared_wrongly_is_said_in_words(shop: Shop, options: dict[str, Any], words: str) -> None:
    result = shop.restore(**options)
    assert result["failed"]
    assert words in result["msg"]
    assert "s3cret" not in str(result)
    assert shop.databases() == [shop.name]


def test_the_maintenance_database_and_a_database_that_is_not_there_cannot_be_brought_back(shop: Shop) -> None:
    same = shop.restore(maintenance_database=shop.name)
    assert "maintenance_database is the database to bring back" in same["msg"]
    shop.name = "s_absent"
    absent = shop.restore()
    assert "there is no database 's_absent'" in absent["msg"]


def test_only_one_call_at_a_time(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply_database, "LOCK_WAIT_S", 0.5)
    with shop.server.connect() as admin, apply_database.alone(admin, shop.name):
        result = shop.restore()
    assert "another call is bringing" in result["msg"]
    assert "failed" not in shop.restore()


def test_a_database_that_somebody_else_has_closed_is_not_opened(shop: Shop) -> None:
    shop.execute("postgres", "ALTER DATABASE {} ALLOW_CONNECTIONS false")
    result = shop.restore()
    assert "this module has not closed it" in result["msg"]
    assert shop.dress()[-2] is False


def test_prepared_transactions_are_told(shop: Shop) -> None:
    shop.run("BEGIN", "INSERT INTO visit VALUES (now())", f"PREPARE TRANSACTION 'half done {shop.name}'")
    result = shop.restore()
    assert result["failed"]
    assert f"an end of the prepared transactions half done {shop.name}" in result["msg"]


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        pytest.param('it\'s "quoted" \\ %s {} ; --', id="quotes"),
        pytest.param("host=evil dbname=other", id="a connection string"),
        pytest.param("größer als früher und 日本語", id="more than ASCII"),
        pytest.param("n" * 63, id="as long as can be"),
        pytest.param("a\nb", id="two lines"),
        pytest.param("-rf", id="an option"),
    ],
)
def test_names_of_databases_are_taken_as_they_are(new_shop: Shop, name: str) -> None:
    new_shop.name = name
    table = 'CREATE TABLE "it\'s ""odd"" %s\n(COPY x (y) FROM stdin;" ("a ""b"" %d" int, "{}" text)'
    new_shop.create(contents=(table, 'CREATE SCHEMA "S.1"', 'CREATE TABLE "S.1"."T.2" ("select" int)'))
    odd = 'INSERT INTO "it\'s ""odd"" %s\n(COPY x (y) FROM stdin;" VALUES (1, \'\\.\'), (2, E\'a\\nCOPY b\')'
    new_shop.run(odd, 'INSERT INTO "S.1"."T.2" VALUES (1)')
    new_shop.back_up()
    assert "failed" not in (first := new_shop.restore()), first["msg"]
    assert first["lost"] == []
    assert len(first["kept_as"].encode()) <= 63
    new_shop.run(odd)
    refused = new_shop.restore(suffix="2")
    assert [(each["rows"], each["returning"]) for each in refused["lost"]] == [(2, 0)]
    assert "failed" not in new_shop.restore(suffix="2", accept_data_loss=True)
    assert new_shop.rows('SELECT * FROM "S.1"."T.2"') == [(1,)]


# --- check mode ------------------------------------------------------------------------------------------------------


def test_check_mode_restores_nothing_and_says_what_it_cannot_know(shop: Shop) -> None:
    shop.run(*WRITTEN)
    result = shop.restore(_ansible_check_mode=True)
    assert "failed" not in result
    assert result["changed"]
    assert f"keep '{shop.name}' as '{shop.failed}'" in result["msg"]
    assert "What would be lost is not known before" in result["msg"]
    assert (result["lost"], result["kept_as"], result["restored_as"]) == (None, None, None)
    assert shop.databases() == [shop.name]
    with shop.dump.open("ab") as dump:
        dump.write(b"x")
    assert "it is damaged" in shop.restore(_ansible_check_mode=True)["msg"]


def test_check_mode_after_a_restore_says_that_there_is_nothing_to_do(shop: Shop) -> None:
    assert "failed" not in shop.restore()
    result = shop.restore(_ansible_check_mode=True)
    assert ("failed" in result, result["changed"]) == (False, False)


# --- killed ----------------------------------------------------------------------------------------------------------

# Runs the module as a process of its own, and sends it a signal before or after it calls a function for the nth time.
KILLED = """
import os, sys, json, signal
sys.path[:0] = {path!r}
import ansible.module_utils
ansible.module_utils.__path__.append({utils!r})
from ansible.module_utils.testing import patch_module_args
from ansible.module_utils.cutover import apply_restore
import postgres_restore
where, name, moment, number = {where!r}, {name!r}, {moment!r}, {number!r}
holder = {{"apply": apply_restore, "programs": apply_restore.Programs, "restorer": apply_restore.Restorer}}[where]
real = getattr(holder, name)
def killing(*args, **kwargs):
    if moment == "before":
        os.kill(os.getpid(), number)
    result = real(*args, **kwargs)
    os.kill(os.getpid(), number)
    return result
setattr(holder, name, killing)
with patch_module_args(json.loads(sys.stdin.read())):
    postgres_restore.main()
"""

POINTS = [
    ("apply", "create_like", "before"),
    ("apply", "create_like", "after"),
    ("apply", "dress_like", "before"),
    ("programs", "restore", "before"),
    ("programs", "restore", "after"),
    ("restorer", "_check", "after"),
    ("apply", "digests", "before"),
    ("apply", "set_open", "before"),
    ("apply", "set_open", "after"),
    ("apply", "end_sessions", "after"),
    ("restorer", "_rename", "before"),
    ("restorer", "_rename_both", "before"),
    ("restorer", "_rename_both", "after"),
    ("restorer", "_rename", "after"),
]


def signalling(point: tuple[str, str, str], number: int) -> str:
    project = Path(postgres_restore.__file__).resolve().parent.parent
    path, utils = [str(project / "library")], str(project / "module_utils")
    where, name, moment = point
    return KILLED.format(path=path, utils=utils, where=where, name=name, moment=moment, number=int(number))


def run_and_signal(shop: Shop, point: tuple[str, str, str], number: int) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", signalling(point, number)]
    arguments = json.dumps(shop.how())
    return subprocess.run(argv, input=arguments, text=True, capture_output=True, timeout=120, check=False)


@pytest.mark.parametrize("point", POINTS, ids=" ".join)
def test_a_call_that_is_killed_anywhere_is_taken_up_by_the_next(shop: Shop, point: tuple[str, str, str]) -> None:
    killed = run_and_signal(shop, point, signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    assert shop.name in shop.databases()
    result = shop.restore()
    assert "failed" not in result, result["msg"]
    assert result["changed"] is (point != ("restorer", "_rename", "after"))
    assert shop.databases() == [shop.name, shop.failed]
    assert shop.rows("SELECT count(*), max(name) FROM customer") == [(1000, "customer 999")]
    assert shop.rows("SELECT count(*) FROM customer", shop.failed) == [(1000,)]
    assert shop.dress()[-2:] == (True, None)
    assert not shop.restore()["changed"]


def test_pg_restore_of_a_killed_call_writes_nothing_into_what_the_next_one_makes(shop: Shop, tmp_path: Path) -> None:
    script = tmp_path / "pg_restore"
    real = servers.postgres_binaries() / "pg_restore"
    script.write_text(
        f'#!/bin/sh\ncase "$*" in *--exit-on-error*) touch {tmp_path}/begun; sleep 3;; esac\nexec {real} "$@"\n'
    )
    script.chmod(0o755)
    argv = [sys.executable, "-c", signalling(("apply", "in_words", "before"), 0)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as running:
        assert running.stdin is not None
        running.stdin.write(json.dumps(shop.how(program_dir=str(tmp_path))))
        running.stdin.close()
        servers.wait_until((tmp_path / "begun").exists, what="pg_restore")
        running.kill()
    result = shop.restore()
    assert "failed" not in result, result["msg"]
    time.sleep(3.5)
    assert shop.databases() == [shop.name, shop.failed]
    assert shop.rows("SELECT count(*) FROM customer") == [(1000,)]


@pytest.mark.parametrize("point", [("apply", "one_row", "after"), ("restorer", "_rename_both", "after")], ids=" ".join)
def test_a_call_that_is_ended_while_it_asks_the_server_leaves_it_open(shop: Shop, point: tuple[str, str, str]) -> None:
    ended = run_and_signal(shop, point, signal.SIGTERM)
    assert ended.returncode == 1, ended.stderr
    assert shop.dress()[-2] is True
    assert shop.name in shop.databases()
    assert shop.failed not in shop.databases()
    assert "failed" not in shop.restore()


def test_what_cannot_be_opened_again_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_the_server(restorer: Any, *_: Any) -> None:
        monkeypatch.setattr(apply_restore.Restorer, "_open", lose_the_server)
        raise apply_restore.CannotRestore("the server is gone")

    monkeypatch.setattr(apply_restore.Restorer, "_rename", lose_the_server)
    result = shop.restore()
    assert "may still be closed to its clients: the server is gone" in result["msg"]
    assert shop.dress()[-2] is False
    monkeypatch.undo()
    assert "failed" not in shop.restore()


def test_check_mode_tells_that_a_killed_call_has_left_the_database_closed(shop: Shop) -> None:
    run_and_signal(shop, ("apply", "end_sessions", "after"), signal.SIGKILL)
    assert shop.dress()[-2] is False
    result = shop.restore(_ansible_check_mode=True)
    assert result["failed"]
    assert "left" in result["msg"]
    assert "closed to its clients" in result["msg"]
    assert shop.dress()[-2] is False


@pytest.mark.parametrize(
    ("other", "words"),
    [
        pytest.param({"suffix": "another"}, "", id="another suffix"),
        pytest.param({"sha256": "0" * 64}, "this suffix was used with another dump", id="another dump"),
        pytest.param({"src": "/nowhere"}, "No such file", id="no dump"),
    ],
)
def test_what_a_killed_call_has_left_closed_is_opened_by_the_next_even_if_that_is_refused(
    shop: Shop, other: dict[str, Any], words: str
) -> None:
    run_and_signal(shop, ("apply", "end_sessions", "after"), signal.SIGKILL)
    assert shop.dress()[-2] is False
    result = shop.restore(**other)
    assert bool(result.get("failed")) is bool(words)
    assert words in result["msg"]
    assert shop.dress()[-2] is True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_call_that_is_ended_opens_what_it_has_closed(shop: Shop, number: int) -> None:
    ended = run_and_signal(shop, ("apply", "end_sessions", "after"), number)
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["msg"].endswith(f"ended by signal {int(number)}")
    assert shop.dress()[-2] is True
    assert shop.databases() == [shop.name, shop.restored]
    assert "failed" not in shop.restore()


# --- secrets ---------------------------------------------------------------------------------------------------------


def command_lines() -> str:
    """The command lines of all processes there are."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes().decode(errors="replace"))
    return "\n".join(found)


def test_the_password_is_in_no_command_line_and_in_no_result(shop: Shop) -> None:
    shop.run("INSERT INTO customer SELECT n, 'x' FROM generate_series(2000, 40000) AS n")
    shop.dump = shop.dump.with_name("larger.dump")
    shop.back_up()
    seen, stop = list[str](), threading.Event()

    def sample() -> None:
        while not stop.is_set():
            seen.append(command_lines())

    sampling = threading.Thread(target=sample)
    sampling.start()
    try:
        result = shop.restore(user="administrator", password=PASSWORD)
    finally:
        stop.set()
        sampling.join(10)
    assert "failed" not in result, result["msg"]
    assert any("--exit-on-error" in lines for lines in seen)
    assert not any("horse" in lines for lines in seen)
    assert "horse" not in str(result)


def test_a_passfile_will_do(shop: Shop, tmp_path: Path) -> None:
    passfile = tmp_path / "pgpass"
    passfile.touch(mode=0o600)
    passfile.write_text(f"*:*:*:postgres:{shop.server.password}\n")
    result = shop.restore(without="password", passfile=str(passfile))
    assert "failed" not in result, result["msg"]


def test_what_stands_in_the_environment_overrules_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGHOST": "db.invalid", "PGOPTIONS": "-c nonsense=1", "PGDATABASE": "x"}.items():
        monkeypatch.setenv(name, value)
    assert "failed" not in shop.restore()
    assert "PGHOST" not in os.environ
