# SPDX-License-Identifier: GPL-3.0-or-later
"""restore_check against a real PostgreSQL: the newest backup is tried out, and nothing but the scratch is dropped."""

from __future__ import annotations

import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import postgres_backup
import psycopg
import pytest
import restore_check
import servers
from ansible.module_utils.cutover import apply_database, observe_restore
from ansible.module_utils.cutover.restore import CannotRestore, Mark, Stage
from findings import findings, green, red

RunModule = Callable[..., dict[str, Any]]

CONTENTS = (
    "CREATE TABLE country (code text PRIMARY KEY)",
    "INSERT INTO country VALUES ('de'), ('fr')",
    "CREATE TABLE visit (id int PRIMARY KEY, at timestamptz)",
    "INSERT INTO visit SELECT n, now() FROM generate_series(1, 500) AS n",
)


class Shop:
    """A database of the test's own with a backup, and how that is tried out."""

    def __init__(self, server: servers.Postgres, folder: Path, run_module: RunModule) -> None:
        self.server, self.folder, self.run_module = server, folder, run_module
        self.name = f"s_{secrets.token_hex(4)}"
        server.run(f"CREATE DATABASE {self.name}")
        self.run(*CONTENTS)
        self.back_up("2026-1")

    def run(self, *statements: str) -> None:
        self.server.run(*statements, dbname=self.name)

    def target(self, **other: Any) -> dict[str, Any]:
        return {
            "name": "shop",
            "address": f"postgresql://127.0.0.1:{self.server.port}/{self.name}",
            "user": "postgres",
            "password": self.server.password,
            "sslmode": "disable",
            "program_dir": str(servers.postgres_binaries()),
        } | other

    def dump(self, suffix: str) -> Path:
        return self.folder / f"shop-{suffix}.dump"

    def back_up(self, suffix: str) -> None:
        result = self.run_module(postgres_backup, **self.target(dest=str(self.dump(suffix))))
        assert "failed" not in result, result["msg"]

    def try_out(
        self, *, expected: dict[str, Any] | None = None, check_mode: bool = False, **other: Any
    ) -> dict[str, Any]:
        target = self.target(**{"backup_dir": str(self.folder), **other})
        ansible = {"_ansible_check_mode": check_mode}
        return self.run_module(
            restore_check, targets=[target], expected=expected or {}, report_only=True, timeout_s=90, **ansible
        )

    def databases(self) -> list[str]:
        with self.server.connect() as connection:
            rows = connection.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (self.name,))
            return sorted(name for (name,) in rows)


@pytest.fixture(scope="module")
def server() -> Iterator[servers.Postgres]:
    """A server of these tests' own: it goes with all the databases that they leave in it."""
    with TemporaryDirectory(prefix="trial-") as folder:
        Path(folder).chmod(0o711)
        with servers.start_postgres(Path(folder)) as own:
            own.run("CREATE ROLE weakling LOGIN PASSWORD 'w3akling-word'")
            own.run("CREATE ROLE restorer LOGIN CREATEDB PASSWORD 'r3storer-word'")
            yield own


@pytest.fixture
def shop(server: servers.Postgres, tmp_path: Path, run_module: RunModule) -> Shop:
    return Shop(server, tmp_path, run_module)


EXPECTED = {
    "max_age_s": 600,
    "max_restore_s": 60,
    "min_tables": 2,
    "same_tables": ["public.country"],
    "amcheck": True,
}


def test_a_backup_that_can_be_brought_back_is_green_and_the_scratch_is_gone(shop: Shop) -> None:
    shop.run("INSERT INTO visit VALUES (1000, now()), (1001, now())", "DELETE FROM visit WHERE id = 1")
    result = shop.try_out(expected=EXPECTED)
    assert red(result) == []
    assert green(result) == [
        "backup.age_s", "backup.sha256", "reachable", "restore.amcheck", "restore.left_behind", "restore.restore_s",
        "restore.rows", "restore.same.public.country", "restore.tables",
    ]  # fmt: skip
    recorded = result["verdicts"][0]["recorded"]
    assert recorded["backup"] == str(shop.dump("2026-1"))
    assert (recorded["tables"], recorded["rows"]) == (2, 502)
    assert recorded["changed_since"] == {"public.visit": [2, 1]}
    assert 0 <= recorded["age_s"] < 60
    assert 0 < recorded["restore_s"] < 60
    assert not result["changed"]
    assert shop.databases() == [shop.name]
    programs = [Path(command["argv"][0]).name for command in result["commands"]]
    assert programs == ["pg_restore", "pg_restore", "pg_restore", "pg_amcheck"]
    assert shop.server.password not in str(result)


def test_the_newest_backup_is_tried(shop: Shop) -> None:
    (shop.folder / "shop-eu-9999.dump").write_text("another target's")
    shop.run("UPDATE country SET code = 'it' WHERE code = 'fr'")
    assert red(shop.try_out(expected=EXPECTED)) == ["restore.same.public.country"]
    shop.back_up("2026-0")
    assert red(shop.try_out(expected=EXPECTED)) == []


@pytest.mark.parametrize(
    ("expected", "wrong"),
    [
        pytest.param({"max_restore_s": 0.0001}, "restore.restore_s", id="too slow"),
        pytest.param({"min_tables": 3}, "restore.tables", id="too few tables"),
        pytest.param({"same_tables": ["public.absent"]}, "restore.same.public.absent", id="no such table"),
        pytest.param({"same_tables": ["public.visit"]}, "restore.same.public.visit", id="a table that changed"),
    ],
)
def test_what_is_not_as_declared_is_red(shop: Shop, expected: dict[str, Any], wrong: str) -> None:
    shop.run("DELETE FROM visit")
    assert red(shop.try_out(expected=expected)) == [wrong]
    assert shop.databases() == [shop.name]


def test_an_old_backup_is_red(shop: Shop) -> None:
    os.utime(shop.dump("2026-1"), (time.time() - 7200, time.time() - 7200))
    result = shop.try_out(expected={"max_age_s": 3600})
    assert red(result) == ["backup.age_s"]
    assert 7100 < findings(result)["backup.age_s"]["observed"] < 7300


def test_a_backup_that_was_changed_is_red_and_what_it_shows_is_not_looked_at(shop: Shop) -> None:
    sha256 = shop.dump("2026-1").with_name("shop-2026-1.dump.sha256")
    sha256.write_text("0" * 64 + "  shop-2026-1.dump\n")
    result = shop.try_out(expected=EXPECTED)
    assert red(result) == ["backup.sha256"]
    assert findings(result)["restore.rows"]["status"] == "skipped"
    sha256.unlink()
    assert red(shop.try_out(expected=EXPECTED)) == ["backup.sha256"]


def test_a_damaged_backup_is_red_and_leaves_nothing_behind(shop: Shop) -> None:
    dump = shop.dump("2026-1")
    dump.write_bytes(dump.read_bytes()[:-100])
    result = shop.try_out(expected={"min_tables": 1})
    assert red(result) == ["backup.sha256"]
    dump.with_name(f"{dump.name}.sha256").write_text(observe_restore.sha256_of(dump))
    again = shop.try_out(expected={"min_tables": 1})
    assert red(again) == ["restore.rows", "restore.tables"]
    assert "pg_restore ended with exit code 1" in findings(again)["restore.rows"]["cause"]
    assert shop.databases() == [shop.name]


def test_the_scratch_of_a_killed_trial_is_dropped_by_the_next_and_no_other(
    shop: Shop, server: servers.Postgres
) -> None:
    with server.connect() as admin:
        source = apply_database.read_database(admin, shop.name)
        assert source is not None
        for end, stage in (("_scratch_1", Stage.SCRATCH), ("_restored_2", Stage.RESTORED)):
            made = apply_database.create_like(admin, source, shop.name + end)
            own = Mark(stage=stage, suffix="", sha256="", present_oid=source.oid, restored_oid=made.oid)
            apply_database.mark(admin, made.name, own.to_text())
        server.run(f"CREATE DATABASE {shop.name}_scratch_3")
    assert red(shop.try_out()) == []
    assert shop.databases() == [shop.name, f"{shop.name}_restored_2", f"{shop.name}_scratch_3"]


def test_a_scratch_that_cannot_be_dropped_is_told_and_what_was_seen_in_it_counts(
    shop: Shop, server: servers.Postgres
) -> None:
    held = shop.folder / "held"

    def hold() -> None:
        """Somebody takes the scratch for a template as soon as it is there: then nobody may drop it."""
        servers.wait_until(lambda: scratches(shop), what="a scratch")
        server.run(f"ALTER DATABASE {scratches(shop)[0]} IS_TEMPLATE true")
        held.touch()

    somebody = threading.Thread(target=hold)
    somebody.start()
    result = shop.try_out(expected={"min_tables": 2}, program_dir=str(patient_programs(shop.folder, held)))
    somebody.join()
    assert red(result) == ["restore.left_behind"]
    assert findings(result)["restore.left_behind"]["observed"] == scratches(shop) != []
    server.run(f"ALTER DATABASE {scratches(shop)[0]} IS_TEMPLATE false")
    assert red(shop.try_out()) == []
    assert scratches(shop) == []


def patient_programs(folder: Path, held: Path) -> Path:
    """PostgreSQL's programs, but that what is restored into a database waits until ``held`` is there."""
    programs = folder / "programs"
    programs.mkdir()
    for program in servers.postgres_binaries().iterdir():
        (programs / program.name).symlink_to(program)
    (programs / "pg_restore").unlink()
    wait = f'case " $* " in *" --list "*) ;; *) until [ -e "{held}" ]; do sleep 0.05; done ;; esac'
    real = servers.postgres_binaries() / "pg_restore"
    (programs / "pg_restore").write_text(f'#!/bin/sh\n{wait}\nexec "{real}" "$@"\n')
    (programs / "pg_restore").chmod(0o755)
    return programs


def scratches(shop: Shop) -> list[str]:
    return [name for name in shop.databases() if "scratch" in name]


def test_an_index_that_is_not_in_its_order_is_red(shop: Shop) -> None:
    shop.run(*servers.INDEX_OUT_OF_ORDER)
    shop.back_up("2026-2")
    result = shop.try_out(expected={"amcheck": True, "min_tables": 3})
    assert red(result) == ["restore.amcheck"]
    assert "item order invariant violated" in findings(result)["restore.amcheck"]["observed"]


def test_who_restores_needs_not_be_the_one_who_checks(shop: Shop, server: servers.Postgres) -> None:
    server.run(f"ALTER DATABASE {shop.name} OWNER TO restorer")
    shop.run(*(f"ALTER TABLE {table} OWNER TO restorer" for table in ("country", "visit")))
    shop.back_up("2026-3")
    restorer = {"user": "restorer", "password": "r3storer-word"}
    alone = shop.try_out(expected={"amcheck": True}, **restorer)
    assert red(alone) == ["restore.amcheck"]
    assert "permission denied to create extension" in findings(alone)["restore.amcheck"]["cause"]
    checker = {"amcheck_user": "postgres", "amcheck_password": shop.server.password}
    together = shop.try_out(expected={"amcheck": True}, **restorer, **checker)
    assert red(together) == []
    assert "restore.amcheck" in green(together)
    assert shop.server.password not in str(together)
    assert shop.databases() == [shop.name]


@pytest.mark.parametrize("leaves_after_s", [1.0, None])
def test_a_stronger_login_keeps_a_scratch_only_while_it_is_there(
    server: servers.Postgres, leaves_after_s: float | None
) -> None:
    name = f"leaving_scratch_{leaves_after_s is None}".lower()
    own: dict[str, Any] = {"host": "127.0.0.1", "port": server.port, "user": "restorer", "password": "r3storer-word"}
    with psycopg.connect(**own, dbname="postgres", autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        [oid] = admin.execute("SELECT oid::int FROM pg_database WHERE datname = %s", (name,)).fetchone() or [0]
        made = Mark(stage=Stage.SCRATCH, suffix="", sha256="", present_oid=1, restored_oid=oid, facts={})
        apply_database.mark(admin, name, made.to_text())
        stronger = psycopg.connect(**{**own, "user": "postgres", "password": server.password}, dbname=name)
        if leaves_after_s is None:
            with pytest.raises(CannotRestore, match="42501"):
                apply_database.drop_own(admin, name)
            stronger.close()
        else:
            leaving = threading.Timer(leaves_after_s, stronger.close)
            leaving.start()
        apply_database.drop_own(admin, name)
        assert admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is None


def test_missing_rights_are_said_in_the_servers_words(shop: Shop) -> None:
    result = shop.try_out(user="weakling", password="w3akling-word")
    assert red(result) == ["restore.rows"]
    assert "permission denied" in findings(result)["restore.rows"]["cause"]
    assert "w3akling" not in str(result)
    assert shop.databases() == [shop.name]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param({"backup_pattern": "nothing-*"}, "there is no backup nothing-*", id="no backup"),
        pytest.param({"backup_dir": "/nowhere"}, "there is no backup shop-", id="no folder"),
        pytest.param({"program_dir": "/nowhere"}, "/nowhere/pg_restore could not be run", id="no program"),
    ],
)
def test_a_backup_that_cannot_be_looked_at_is_not_reachable(shop: Shop, options: dict[str, Any], words: str) -> None:
    result = shop.try_out(**options)
    assert red(result) == ["reachable"]
    assert words in findings(result)["reachable"]["cause"]


def test_a_backup_of_another_database_is_red(shop: Shop, server: servers.Postgres) -> None:
    result = shop.try_out(address=f"postgresql://127.0.0.1:{server.port}/template1")
    assert red(result) == ["restore.rows"]
    assert "and not of 'template1'" in findings(result)["restore.rows"]["cause"]


def test_check_mode_makes_no_scratch_and_does_not_pass_what_it_has_not_seen(shop: Shop) -> None:
    result = shop.try_out(expected=EXPECTED, check_mode=True)
    assert green(result) == ["backup.age_s", "backup.sha256", "reachable", "restore.left_behind"]
    assert "check mode makes no scratch database" in findings(result)["restore.rows"]["cause"]
    assert shop.databases() == [shop.name]


# --- migrations, up and down ------------------------------------------------------------------------------------------

ENV_PY = """
import os
from alembic import context
from sqlalchemy import create_engine
with create_engine(os.environ["DATABASE_URL"]).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION_PY = """
from alembic import op
revision, down_revision = {revision!r}, {after!r}
def upgrade(): op.execute({up!r})
def downgrade(): op.execute({down!r})
"""
UP, DOWN = "CREATE TABLE bonus (a int, b int)", "DROP TABLE bonus"


def migrations(shop: Shop, *, up: str = UP, down: str = DOWN, second_head: bool = False, env: str = ENV_PY) -> Path:
    """An Alembic project whose last migration of two is as given; the shop's database has the first."""
    folder = shop.folder / "release"
    (folder / "migrations/versions").mkdir(parents=True)
    (folder / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
    (folder / "migrations/env.py").write_text(env)
    url = f"postgresql+psycopg://postgres:{shop.server.password}@127.0.0.1:{shop.server.port}/{shop.name}"
    (folder / "environment").write_text(f"DATABASE_URL={url}\n")
    revisions = [("0001", None, "SELECT 1", "SELECT 1"), ("0002", "0001", up, down)]
    revisions += [("0003", "0001", "SELECT 1", "SELECT 1")] if second_head else []
    for revision, after, forth, back in revisions:
        text = REVISION_PY.format(revision=revision, after=after, up=forth, down=back)
        (folder / f"migrations/versions/{revision}.py").write_text(text)
    shop.run(
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
        "INSERT INTO alembic_version VALUES ('0001')",
    )
    shop.back_up("2026-2")
    return folder


def round_trip(shop: Shop, folder: Path) -> dict[str, Any]:
    alembic = [sys.executable, "-P", "-m", "alembic"]
    trip = {"argv": alembic, "chdir": str(folder), "env_file": str(folder / "environment")}
    return shop.try_out(expected={"round_trip": True}, round_trip=trip)


def test_migrations_that_go_up_down_and_up_again_are_green_and_touch_the_scratch_alone(shop: Shop) -> None:
    result = round_trip(shop, migrations(shop))
    assert red(result) == []
    assert [check for check in green(result) if check.startswith("round_trip.")] == [
        "round_trip.at_head", "round_trip.down", "round_trip.schema", "round_trip.single_head", "round_trip.up",
        "round_trip.up_again",
    ]  # fmt: skip
    with shop.server.connect(dbname=shop.name) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
        assert connection.execute("SELECT to_regclass('bonus')").fetchall() == [(None,)]
    assert shop.databases() == [shop.name]
    assert shop.server.password not in str(result)


@pytest.mark.parametrize(
    ("project", "only", "words"),
    [
        pytest.param({"up": "SELECT nonsense"}, "up", "nonsense", id="it does not go up"),
        pytest.param({"second_head": True}, "single_head", "2", id="two heads"),
        pytest.param({"env": "print('nothing to do')"}, "at_head", "False", id="it goes up nowhere"),
        pytest.param({"down": "SELECT nonsense"}, "down", "nonsense", id="it does not go down"),
        pytest.param({"down": "SELECT 1"}, "up_again", "already exists", id="the downgrade leaves its table there"),
        pytest.param(
            {"up": "CREATE TABLE IF NOT EXISTS bonus (a int, b int)", "down": "ALTER TABLE bonus DROP COLUMN b"},
            "schema", "-    b integer", id="the downgrade is none",
        ),
    ],
)  # fmt: skip
def test_each_leg_that_fails_is_red_alone(shop: Shop, project: dict[str, Any], only: str, words: str) -> None:
    result = round_trip(shop, migrations(shop, **project))
    assert red(result) == [f"round_trip.{only}"]
    assert words in str(findings(result)[f"round_trip.{only}"]["observed"])
    assert shop.databases() == [shop.name]


def test_a_round_trip_that_nobody_declared_how_to_take_is_no_pass(shop: Shop, tmp_path: Path) -> None:
    undeclared = shop.try_out(expected={"round_trip": True})
    assert red(undeclared) == ["round_trip.up"]
    assert "the target lacks round_trip" in findings(undeclared)["round_trip.up"]["cause"]
    (tmp_path / "environment").write_text("PORT=1\n")
    trip = {"argv": ["alembic"], "env_file": str(tmp_path / "environment")}
    blind = shop.try_out(expected={"round_trip": True}, round_trip=trip)
    assert "sets no DATABASE_URL" in findings(blind)["round_trip.up"]["cause"]
