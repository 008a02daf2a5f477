# SPDX-License-Identifier: GPL-3.0-or-later
"""postgres_backup against a real PostgreSQL: what it writes can be brought back, and nothing else bears its name."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import misbehaving
import postgres_backup
import psycopg
import pytest
import servers
from findings import findings, green, red

RunModule = Callable[..., dict[str, Any]]

PASSWORD = "correct-horse 'battery' \\staple"
ROLES = (
    f"CREATE ROLE backup LOGIN PASSWORD $${PASSWORD}$$ IN ROLE pg_read_all_data",
    f"CREATE ROLE visitor LOGIN PASSWORD $${PASSWORD}$$",
    "CREATE DATABASE shop",
    'CREATE DATABASE "it\'s empty"',
)
CONTENTS = (
    "CREATE TABLE customer (id integer PRIMARY KEY, name text NOT NULL)",
    "INSERT INTO customer SELECT number, 'customer ' || number FROM generate_series(1, 1000) AS number",
    "CREATE TABLE payment (id bigserial PRIMARY KEY, customer integer REFERENCES customer, amount numeric(12, 2))",
    "INSERT INTO payment (customer, amount) SELECT id, id * 1.05 FROM customer",
    'CREATE VIEW "old TABLE DATA report" AS SELECT count(*) FROM payment',
)


@pytest.fixture(scope="module")
def shop(postgres: servers.Postgres) -> Iterator[servers.Postgres]:
    """The server with a filled database, an empty one, a role that may read all and one that may not."""
    postgres.run(*ROLES)
    postgres.run(*CONTENTS, dbname="shop")
    yield postgres
    postgres.run(
        "DROP DATABASE shop", "DROP DATABASE \"it's empty\"", "DROP DATABASE IF EXISTS restored",
        "DROP ROLE backup", "DROP ROLE visitor",
    )  # fmt: skip


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    """Where the backup shall be."""
    return tmp_path / "shop.dump"


@pytest.fixture
def back_up(shop: servers.Postgres, dest: Path, run_module: RunModule) -> RunModule:
    """Run the module as a playbook would; keywords replace its arguments."""

    def run(database: str = "shop", **arguments: Any) -> dict[str, Any]:
        whole = {
            "name": "shop",
            "address": f"postgresql://127.0.0.1:{shop.port}/{database}",
            "user": "backup",
            "password": PASSWORD,
            "sslmode": "disable",
            "dest": str(dest),
            "program_dir": str(servers.postgres_binaries()),
        } | arguments
        return run_module(postgres_backup, **whole)

    return run


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_backup_brings_the_database_back(back_up: RunModule, shop: servers.Postgres, dest: Path) -> None:
    result = back_up()
    assert "failed" not in result
    assert result["changed"]
    assert red(result) == []
    assert green(result) == ["backup.tables", "reachable"]
    shop.run("CREATE DATABASE restored")
    argv = [servers.postgres_binaries() / "pg_restore", "--exit-on-error", "--no-owner", "-d", "restored", dest]
    where = {"PGHOST": "127.0.0.1", "PGPORT": str(shop.port), "PGUSER": "postgres", "PGPASSWORD": shop.password}
    subprocess.run(argv, env={"PATH": os.environ["PATH"], **where}, check=True, timeout=120)
    assert total(shop, "restored") == total(shop, "shop")


def total(server: servers.Postgres, database: str) -> tuple[Any, ...] | None:
    with server.connect(dbname=database) as connection:
        return connection.execute(
            "SELECT count(*), sum(amount), max(name) FROM payment JOIN customer c ON customer = c.id"
        ).fetchone()


def test_the_backup_is_described_and_only_its_owner_can_read_it(back_up: RunModule, dest: Path) -> None:
    result = back_up()
    assert result["backup"]["path"] == str(dest)
    assert result["backup"]["size_bytes"] == dest.stat().st_size
    assert result["backup"]["tables"] == 2
    assert result["verdicts"][0]["recorded"] == result["backup"]
    assert result["verdicts"][0]["component"] == "backup"
    assert dest.stat().st_mode & 0o777 == 0o600
    assert left_in(dest.parent) == ["shop.dump", "shop.dump.sha256"]
    assert [Path(command["argv"][0]).name for command in result["commands"]] == ["pg_dump", "pg_restore"]
    assert [command["exit_code"] for command in result["commands"]] == [0, 0]


def test_sha256sum_confirms_the_backup_and_notices_a_change(back_up: RunModule, dest: Path) -> None:
    assert back_up()["backup"]["sha256"] in dest.with_name("shop.dump.sha256").read_text(encoding="utf-8")
    check = ["sha256sum", "--check", "--strict", "shop.dump.sha256"]
    subprocess.run(check, cwd=dest.parent, check=True, timeout=60)
    with dest.open("r+b") as dump:
        dump.seek(100)
        dump.write(b"x")
    assert subprocess.run(check, cwd=dest.parent, check=False, timeout=60, capture_output=True).returncode == 1


def test_an_existing_file_is_never_overwritten(back_up: RunModule, dest: Path) -> None:
    dest.write_text("last week's backup")
    result = back_up()
    assert result["failed"]
    assert f"{dest} exists" in result["msg"]
    assert dest.read_text() == "last week's backup"
    assert left_in(dest.parent) == ["shop.dump"]


@pytest.mark.parametrize(
    ("database", "min_tables", "observed"),
    [
        pytest.param("it's empty", 1, 0, id="an empty database"),
        pytest.param("shop", 3, 2, id="fewer tables than declared"),
    ],
)
def test_a_backup_with_too_few_tables_is_red_and_fails(
    back_up: RunModule, database: str, min_tables: int, observed: int
) -> None:
    result = back_up(database, min_tables=min_tables)
    assert red(result) == ["backup.tables"]
    assert findings(result)["backup.tables"]["observed"] == observed
    assert result["failed"]
    assert f"holds {observed} tables" in result["msg"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"password": "wrong-s3cret"}, "password authentication failed", id="wrong password"),
        pytest.param({"password": None}, "no password supplied", id="no password"),
        pytest.param({"user": "nobody"}, "password authentication failed", id="no such role"),
        pytest.param({"user": "visitor"}, "permission denied for table", id="a role that may not read all"),
        pytest.param({"database": "absent"}, 'database "absent" does not exist', id="no such database"),
        pytest.param({"sslmode": "verify-full"}, "does not support SSL", id="a server without TLS"),
        pytest.param(
            {"program_dir": "/nowhere"}, "/nowhere/pg_dump could not be run: no such program", id="no program"
        ),
        pytest.param({"dest": "/nowhere/shop.dump"}, "No such file or directory", id="no such folder"),
        pytest.param(
            {"address": f"postgresql://127.0.0.1:{misbehaving.refusing_port()}/shop"},
            "Connection refused",
            id="nobody listens",
        ),
    ],
)
def test_what_goes_wrong_is_said_in_words_and_leaves_nothing_behind(
    back_up: RunModule, dest: Path, arguments: dict[str, Any], words: str
) -> None:
    result = back_up(**arguments)
    assert result["failed"]
    assert words in str(result)
    assert "s3cret" not in str(result)
    assert PASSWORD not in str(result)
    assert "correct-horse" not in str(result)
    assert left_in(dest.parent) == []


@pytest.mark.parametrize(
    ("address", "words"),
    [
        pytest.param("postgresql://backup:s3cret-word@127.0.0.1/shop", "the address holds a password", id="a password"),
        pytest.param("postgresql://127.0.0.1:5432", "names no database", id="no database"),
        pytest.param("postgresql://127.0.0.1:5432/", "names no database", id="a slash is no database"),
        pytest.param("127.0.0.1:5432/shop", "names no database", id="no scheme"),
        pytest.param("mysql://127.0.0.1/shop", "names no database", id="another database's"),
        pytest.param("postgresql://127.0.0.1:port/shop", "is no URL", id="no port"),
        pytest.param("postgresql://[::1/shop", "is no URL", id="half a bracket"),
        pytest.param("postgresql://backup:s3cret-word#1@127.0.0.1/shop", "is no URL", id="a password that ends it"),
    ],
)
def test_an_address_that_names_no_database_is_refused(back_up: RunModule, dest: Path, address: str, words: str) -> None:
    result = back_up(address=address)
    assert result["failed"]
    assert words in result["msg"]
    assert "s3cret-word" not in str(result)
    assert left_in(dest.parent) == []


@pytest.mark.parametrize("behaviour", [misbehaving.hangs, misbehaving.speaks_another_protocol, misbehaving.drips])
def test_a_server_that_is_none_of_postgresql_is_given_up(
    back_up: RunModule, dest: Path, behaviour: misbehaving.Behaviour
) -> None:
    with misbehaving.listening(behaviour) as port:
        result = back_up(address=f"postgresql://127.0.0.1:{port}/shop", timeout_s=2)
    assert result["failed"]
    assert "pg_dump" in result["msg"]
    assert left_in(dest.parent) == []


def test_check_mode_writes_nothing_and_asks_nobody(back_up: RunModule, dest: Path) -> None:
    result = back_up(address="postgresql://db.invalid:5432/shop", _ansible_check_mode=True)
    assert result["changed"]
    assert f"Would back postgresql://db.invalid:5432/shop up to {dest}" in result["msg"]
    assert left_in(dest.parent) == []


def programs(folder: Path, **scripts: str) -> str:
    """A folder with PostgreSQL's programs, some replaced by scripts in which ``real`` is the replaced one."""
    (folder / "bin").mkdir()
    for name in ("pg_dump", "pg_restore"):
        real = servers.postgres_binaries() / name
        (folder / "bin" / name).write_text(f'#!/bin/sh\nreal={real}\n{scripts.get(name, "exec $real")} "$@"\n')
        (folder / "bin" / name).chmod(0o755)
    return str(folder / "bin")


def test_the_password_is_in_no_command_line(back_up: RunModule, folder: Path) -> None:
    watch = f'tr "\\0" "\\n" </proc/$$/cmdline >{folder}/cmdline; printenv PGPASSWORD >{folder}/password; exec $real'
    result = back_up(program_dir=programs(folder, pg_dump=watch))
    assert "failed" not in result
    assert (folder / "password").read_text() == f"{PASSWORD}\n"
    command_line = (folder / "cmdline").read_text()
    assert "--no-password" in command_line
    assert "horse" not in command_line
    assert "horse" not in str(result)


def test_a_dump_that_cannot_be_read_back_is_none(back_up: RunModule, folder: Path, dest: Path) -> None:
    broken = 'for argument; do case $argument in --file=*) echo broken >"${argument#--file=}";; esac; done; true'
    result = back_up(program_dir=programs(folder, pg_dump=broken))
    assert result["failed"]
    assert "pg_restore ended with exit code 1" in result["msg"]
    assert "not appear to be a valid archive" in result["msg"] or "too short" in result["msg"]
    assert [command["exit_code"] for command in result["commands"]] == [0, 1]
    assert left_in(dest.parent) == []


def test_what_an_earlier_run_left_behind_does_not_decide_who_can_read(back_up: RunModule, dest: Path) -> None:
    partial = dest.with_name("shop.dump.partial")
    partial.write_text("half a backup")
    partial.chmod(0o644)
    assert "failed" not in back_up()
    assert dest.stat().st_mode & 0o777 == 0o600
    assert left_in(dest.parent) == ["shop.dump", "shop.dump.sha256"]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[servers.Postgres, Path]]:
    """A server with TLS, and the CA that it has its certificate from."""
    with_ca = tmp_path_factory.mktemp("ca")
    ca = misbehaving.certificate(with_ca, name="Test CA")
    with TemporaryDirectory(prefix="secured-") as folder:
        certificate, key = misbehaving.certificate(Path(folder), ca=ca)
        if os.geteuid() == 0:
            shutil.chown(key, "postgres")
            shutil.chown(certificate, "postgres")
        settings = {"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(key)}
        with servers.start_postgres(Path(folder), settings) as server:
            server.run("CREATE TABLE customer (id integer)")
            yield server, ca[0]


def test_a_server_with_tls_is_known_by_its_certificate(
    back_up: RunModule, secured: tuple[servers.Postgres, Path]
) -> None:
    server, ca = secured
    login = {"user": "postgres", "password": server.password, "sslmode": "verify-full"}
    result = back_up(address=f"postgresql://127.0.0.1:{server.port}/postgres", ca_path=str(ca), **login)
    assert red(result) == []


def test_a_server_with_a_strangers_certificate_is_refused(
    back_up: RunModule, secured: tuple[servers.Postgres, Path], tmp_path_factory: pytest.TempPathFactory, dest: Path
) -> None:
    stranger, _ = misbehaving.certificate(tmp_path_factory.mktemp("stranger"), name="Another CA")
    login = {"user": "postgres", "password": secured[0].password, "sslmode": "verify-full"}
    address = f"postgresql://127.0.0.1:{secured[0].port}/postgres"
    result = back_up(address=address, ca_path=str(stranger), **login)
    assert result["failed"]
    assert "certificate verify failed" in str(result)
    assert left_in(dest.parent) == []


def test_two_backups_of_a_database_in_use_do_not_disturb_it(
    back_up: RunModule, shop: servers.Postgres, dest: Path
) -> None:
    with psycopg.connect(f"host=127.0.0.1 port={shop.port} user=postgres dbname=shop", password=shop.password) as busy:
        busy.execute("INSERT INTO customer VALUES (100000, 'not committed yet')")
        assert "failed" not in back_up()
        assert "failed" not in back_up(dest=str(dest.with_name("second.dump")))
        busy.rollback()
