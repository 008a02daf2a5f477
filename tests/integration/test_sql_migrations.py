# SPDX-License-Identifier: GPL-3.0-or-later
"""sql_migrations against a real PostgreSQL: applied once, in order, together with its record, and back again."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import misbehaving
import pytest
import servers
import sql_migrations
from cutover.apply_sql_migrations import LOCK_CLASS, History, connected
from cutover.sql_migrations import CannotMigrate

RunModule = Callable[..., dict[str, Any]]

FILES = {
    "001_vendors.sql": "CREATE TABLE vendors (id int PRIMARY KEY, name text); INSERT INTO vendors VALUES (1, '%s');",
    "001_vendors.down.sql": "DROP TABLE vendors;",
    "002_sites.sql": "DROP TABLE IF EXISTS old_sites;\nCREATE TABLE sites (id int);",
    "002_sites.down.sql": "DROP TABLE sites;",
}


class Database:
    """A database of the test's own, and a folder of migrations."""

    def __init__(self, server: servers.Postgres, name: str, folder: Path) -> None:
        self.server, self.name, self.folder = server, name, folder
        server.run(f"CREATE DATABASE {name}")
        self.write(FILES)

    def write(self, files: dict[str, str]) -> None:
        self.folder.mkdir(exist_ok=True)
        for name, text in files.items():
            (self.folder / name).write_text(text)

    def options(self, **other: Any) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "address": f"postgresql://127.0.0.1:{self.server.port}/{self.name}",
            "user": "postgres",
            "password": self.server.password,
            "sslmode": "disable",
            "lock_timeout_s": 1.0,
        } | other

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.server.connect(dbname=self.name) as connection:
            return connection.execute(query).fetchall()  # type: ignore[call-overload, no-any-return]

    def run(self, statement: str) -> None:
        self.server.run(statement, dbname=self.name)

    def tables(self) -> list[str]:
        return [name for (name,) in self.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")]

    def history(self, table: str = "schema_migrations") -> list[str]:
        return [version for (version,) in self.rows(f"SELECT version FROM {table} ORDER BY 1")]


@pytest.fixture
def database(postgres: servers.Postgres, tmp_path: Path) -> Database:
    return Database(postgres, f"m{secrets.token_hex(6)}", tmp_path / "migrations")


@pytest.fixture
def migrate(database: Database, run_module: RunModule) -> RunModule:
    def run(**options: Any) -> dict[str, Any]:
        return run_module(sql_migrations, **database.options(**options))

    return run


def test_all_files_are_applied_in_order_and_only_once(migrate: RunModule, database: Database) -> None:
    result = migrate()
    assert not result.get("failed")
    assert result["changed"] is True
    assert (result["revision_before"], result["revision_after"]) == ("base", "002")
    assert result["steps"] == ["001_vendors.sql", "002_sites.sql"]
    assert database.tables() == ["schema_migrations", "sites", "vendors"]
    assert database.history() == ["001", "002"]
    assert database.rows("SELECT name FROM vendors") == [("%s",)]
    again = migrate()
    assert again["changed"] is False
    assert (again["revision_before"], again["revision_after"]) == ("002", "002")
    assert (again["steps"], again["commands"]) == ([], [])


def test_each_file_is_kept_as_evidence(migrate: RunModule, database: Database) -> None:
    result = migrate()
    first, second = result["commands"]
    assert first["argv"] == ["sql_migrations", "apply", "001_vendors.sql"]
    assert first["host"] == database.options()["address"]
    assert first["exit_code"] == 0
    assert second["first_lines"] == ['NOTICE: table "old_sites" does not exist, skipping']
    assert second["line_count"] == 1
    assert database.server.password not in str(result)


def test_check_mode_tells_what_would_be_applied_and_applies_nothing(migrate: RunModule, database: Database) -> None:
    result = migrate(_ansible_check_mode=True)
    assert result["changed"] is True
    assert result["steps"] == ["001_vendors.sql", "002_sites.sql"]
    assert (result["revision_before"], result["revision_after"]) == ("base", "002")
    assert database.tables() == []


def test_a_target_is_gone_to_and_no_further(migrate: RunModule, database: Database) -> None:
    assert migrate(target="001")["steps"] == ["001_vendors.sql"]
    assert database.tables() == ["schema_migrations", "vendors"]
    assert migrate()["steps"] == ["002_sites.sql"]
    refused = migrate(target="001")
    assert refused["failed"]
    assert "past 001: state=reverted goes back" in refused["msg"]


def test_a_run_is_taken_back_to_what_it_found(migrate: RunModule, database: Database) -> None:
    migrate(target="001")
    result = migrate()
    back = migrate(state="reverted", target=result["revision_before"])
    assert back["steps"] == ["002_sites.down.sql"]
    assert (back["revision_before"], back["revision_after"]) == ("002", "001")
    assert back["commands"][0]["argv"] == ["sql_migrations", "undo", "002_sites.down.sql"]
    assert database.tables() == ["schema_migrations", "vendors"]
    assert migrate(state="reverted", target="base")["revision_after"] == "base"
    assert database.history() == []
    assert migrate(state="reverted", target="base")["changed"] is False
    assert migrate()["revision_after"] == "002"


def test_nothing_is_undone_unless_every_step_can_be(migrate: RunModule, database: Database) -> None:
    database.write({"003_x.sql": "SELECT 1"})
    migrate()
    result = migrate(state="reverted", target="base")
    assert result["failed"]
    assert "no 003_x.down.sql" in result["msg"]
    assert database.history() == ["001", "002", "003"]


def test_a_file_that_fails_leaves_nothing_of_itself_and_stops_the_rest(migrate: RunModule, database: Database) -> None:
    database.write(
        {
            "003_broken.sql": "CREATE TABLE half (id int);\n\nALTER TABLE absent ADD x int;\n",
            "004_after.sql": "CREATE TABLE later (id int);",
        }
    )
    result = migrate()
    assert result["failed"]
    assert result["msg"] == '003_broken.sql: relation "absent" does not exist (42P01).'
    assert result["changed"] is True
    assert (result["revision_before"], result["revision_after"]) == ("base", "002")
    assert [command["exit_code"] for command in result["commands"]] == [0, 0, 1]
    assert result["commands"][-1]["first_lines"] == ['ERROR: relation "absent" does not exist (42P01)']
    assert database.history() == ["001", "002"]
    assert database.tables() == ["schema_migrations", "sites", "vendors"]


def test_a_syntax_error_is_told_with_its_line(migrate: RunModule, database: Database) -> None:
    database.write({"003_typo.sql": "-- ä comment\nSELECT 1;\nCREAT TABLE x ();\n"})
    result = migrate()
    assert result["msg"] == '003_typo.sql, line 3: syntax error at or near "CREAT" (42601).'


def test_a_failed_constraint_is_told_with_its_detail(migrate: RunModule, database: Database) -> None:
    database.write({"003_data.sql": "INSERT INTO vendors VALUES (1, 'again');"})
    lines = migrate()["commands"][-1]["first_lines"]
    assert lines[1] == "DETAIL: Key (id)=(1) already exists."


@pytest.mark.parametrize(
    ("files", "words"),
    [
        pytest.param(
            {"001_vendors.sql": "SELECT 1"}, "001_vendors.sql was changed after it had been applied", id="changed"
        ),
        pytest.param({"0_late.sql": "SELECT 1"}, "0_late.sql is not applied, but 002 is", id="out of order"),
        pytest.param({"003_x.sql": "COMMIT; CREATE TABLE x ()"}, "003_x.sql holds COMMIT", id="ends its transaction"),
    ],
)
def test_what_is_not_safe_is_refused_before_anything_is_run(
    files: dict[str, str], words: str, migrate: RunModule, database: Database
) -> None:
    migrate()
    database.write(files | {"009_next.sql": "CREATE TABLE next (id int);"})
    for check_mode in (True, False):
        result = migrate(_ansible_check_mode=check_mode)
        assert result["failed"]
        assert words in result["msg"]
    assert "next" not in database.tables()


def test_an_older_release_s_folder_is_refused(migrate: RunModule, database: Database) -> None:
    migrate()
    for name in ("002_sites.sql", "002_sites.down.sql"):
        (database.folder / name).unlink()
    assert "002 is applied, and has no file here" in migrate()["msg"]


def test_a_file_that_is_no_transaction_may_build_an_index_beside_the_traffic(
    migrate: RunModule, database: Database
) -> None:
    database.write(
        {
            "003_index.sql": "-- cutover: no-transaction\n"
            "CREATE INDEX CONCURRENTLY vendors_name ON vendors (name);\n"
            "CREATE INDEX CONCURRENTLY vendors_both ON vendors (id, name); -- done\n"
        }
    )
    assert not migrate().get("failed")
    assert (
        len(database.rows("SELECT 1 FROM pg_indexes WHERE indexname LIKE 'vendors_%' AND indexname <> 'vendors_pkey'"))
        == 2
    )
    assert database.history() == ["001", "002", "003"]


def test_a_file_that_is_no_transaction_and_fails_says_that_it_has_happened_in_part(
    migrate: RunModule, database: Database
) -> None:
    migrate()
    database.write({"003_half.sql": "-- cutover: no-transaction\nCREATE TABLE half (id int);\nSELECT 1/0;"})
    result = migrate()
    assert "what came before the error in it has happened" in result["msg"]
    assert result["changed"] is True
    assert result["steps"] == []
    assert "half" in database.tables()
    assert database.history() == ["001", "002"]


@pytest.mark.parametrize("in_transaction", [True, False], ids=["a transaction", "no transaction"])
@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("SET search_path = ''; SET ROLE nobody_else;", id="search path and role"),
        pytest.param("SET SESSION AUTHORIZATION nobody_else;", id="session user"),
    ],
)
def test_what_a_file_sets_for_its_session_ends_with_it(
    in_transaction: bool, sql: str, migrate: RunModule, database: Database
) -> None:
    database.run("DO $$ BEGIN CREATE ROLE nobody_else; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    first_line = "" if in_transaction else "-- cutover: no-transaction\n"
    database.write({"003_set.sql": first_line + sql, "004_after.sql": "CREATE TABLE later (id int)"})
    result = migrate()
    assert not result.get("failed"), result
    assert "later" in database.tables()
    assert database.rows("SELECT tableowner FROM pg_tables WHERE tablename = 'later'") == [("postgres",)]
    assert database.history() == ["001", "002", "003", "004"]


def test_names_of_the_history_are_taken_literally(migrate: RunModule, database: Database) -> None:
    hostile = 'x"; DROP TABLE vendors; --'
    database.run('CREATE SCHEMA "Odd.Schema"')
    options = {"history_table": hostile, "history_schema": "Odd.Schema"}
    assert migrate(**options)["revision_after"] == "002"
    assert migrate(**options)["changed"] is False
    assert database.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'Odd.Schema'") == [(hostile,)]
    assert "vendors" in database.tables()


def test_another_tool_s_history_is_refused(migrate: RunModule, database: Database) -> None:
    database.run("CREATE TABLE schema_migrations (version text)")
    result = migrate()
    assert result["failed"]
    assert "is it another tool's?" in result["msg"]


def test_a_second_run_waits_and_finds_nothing_left(migrate: RunModule, database: Database) -> None:
    with database.server.connect(dbname=database.name) as other:
        key = (LOCK_CLASS, History(schema="public", table="schema_migrations").lock_key())
        other.execute("SELECT pg_advisory_lock(%s, %s)", key)
        refused = migrate()
        assert refused["failed"]
        assert f"another run is migrating this database (server process {other.info.backend_pid})" in refused["msg"]
        assert database.tables() == []
        threading.Timer(0.5, lambda: other.execute("SELECT pg_advisory_unlock(%s, %s)", key)).start()
        assert migrate(lock_timeout_s=10)["revision_after"] == "002"


def test_a_lock_that_the_traffic_holds_is_not_waited_for_long(migrate: RunModule, database: Database) -> None:
    migrate()
    database.write({"003_alter.sql": "ALTER TABLE vendors ADD since date;"})
    with database.server.connect(dbname=database.name, autocommit=False) as traffic:
        traffic.execute("SELECT * FROM vendors")
        begun = time.monotonic()
        result = migrate(lock_timeout_s=0.5)
        assert time.monotonic() - begun < 5
    assert "canceling statement due to lock timeout (55P03)" in result["msg"]
    assert database.history() == ["001", "002"]


def test_a_statement_that_takes_too_long_is_ended(migrate: RunModule, database: Database) -> None:
    database.write({"003_slow.sql": "SELECT pg_sleep(60);"})
    begun = time.monotonic()
    assert "statement timeout" in migrate(timeout_s=0.5)["msg"]
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        pytest.param("SELECT pg_terminate_backend(pg_backend_pid());", "terminating connection", id="connection lost"),
        pytest.param("DO $$ BEGIN EXECUTE 'COPY vendors FROM STDIN'; END $$", "COPY", id="copy in disguise"),
    ],
)
def test_a_file_that_cannot_be_run_is_a_failure_and_not_recorded(
    sql: str, words: str, migrate: RunModule, database: Database
) -> None:
    database.write({"003_x.sql": sql})
    result = migrate()
    assert result["failed"]
    assert words in result["msg"]
    assert "exception" not in result
    assert result["revision_after"] == "002"
    assert database.history() == ["001", "002"]


def test_many_notices_do_not_fill_the_result(migrate: RunModule, database: Database) -> None:
    database.write({"003_loud.sql": "DO $$ BEGIN FOR i IN 1..20000 LOOP RAISE NOTICE 'n %', i; END LOOP; END $$"})
    command = migrate()["commands"][-1]
    assert command["line_count"] == 20000
    assert command["first_lines"][0] == "NOTICE: n 1"
    assert command["last_lines"][-1] == "NOTICE: n 20000"


def test_a_secret_that_the_server_repeats_is_masked(migrate: RunModule, database: Database) -> None:
    password = database.server.password
    database.write({"003_loud.sql": f"DO $$ BEGIN RAISE NOTICE 'with {password}'; RAISE '{password}'; END $$"})
    assert password not in str(migrate())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param({"password": "wrong-password"}, "password authentication failed", id="wrong password"),
        pytest.param({"address": "postgresql://127.0.0.1:1/x"}, "refused", id="closed port"),
        pytest.param({"address": "postgresql://u:s3cret-word@h/x"}, "holds a password", id="password in the address"),
        pytest.param({"address": "mysql://h/x"}, "not of the form postgresql://", id="another server's address"),
        pytest.param({"folder": "/nonexistent"}, "/nonexistent cannot be read", id="no folder"),
        pytest.param({"state": "reverted"}, "target", id="back to nowhere"),
        pytest.param({"target": "base"}, "there is no migration base", id="forward to base"),
        pytest.param({"sslmode": "require"}, "SSL", id="a server without TLS"),
    ],
)
def test_what_cannot_be_done_is_one_clear_message(options: dict[str, Any], words: str, migrate: RunModule) -> None:
    result = migrate(**options)
    assert result["failed"]
    assert words in result["msg"]
    assert "exception" not in result
    assert "s3cret-word" not in str(result)


def test_a_server_that_hangs_is_given_up(database: Database) -> None:
    with misbehaving.listening(misbehaving.hangs) as port:
        options = database.options(address=f"postgresql://127.0.0.1:{port}/x")
        limits = {"timeout_s": 1.0, "lock_timeout_s": 1.0, "connect_timeout_s": 2.0}
        with pytest.raises(CannotMigrate, match="timeout"), connected(options, **limits):
            pass
