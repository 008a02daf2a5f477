# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups: what pg_dump is told, and what is read back of a dump."""

from __future__ import annotations

import hashlib
from pathlib import Path

import psycopg.conninfo
import pytest
from cutover.backup import Backup, backup_checks, describe, dump_command, list_command
from cutover.checks import judge
from cutover.command import Ran
from cutover.verdict import Finding
from hypothesis import given
from hypothesis import strategies as st

# Printed by pg_restore 15.
LISTED = """;
; Archive created at 2026-02-28 10:08:33 UTC
;     dbname: ledger
;     TOC Entries: 12
;     Compression: -1
;
;
; Selected TOC Entries:
;
5; 2615 2200 SCHEMA - public postgres
214; 1259 16389 TABLE public account ledger
215; 1259 16397 VIEW public old TABLE DATA report ledger
3345; 0 16389 TABLE DATA public account ledger
3347; 0 16401 TABLE DATA public payment ledger
3352; 0 0 SEQUENCE SET public payment_id_seq ledger
"""


def listing(stdout: str) -> Ran:
    return Ran(exit_code=0, took_ms=1, timed_out=False, first_lines=(), last_lines=(), line_count=0, stdout=stdout)


@given(
    st.dictionaries(
        st.sampled_from(["host", "dbname", "user", "sslrootcert"]),
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
    )
)
def test_libpq_reads_every_value_as_it_was_declared(conninfo: dict[str, str]) -> None:
    command = dump_command(program_dir=None, conninfo=conninfo, environment={}, to=Path("/b"), timeout_s=1)
    (connection,) = [argument for argument in command.argv if argument.startswith("--dbname=")]
    assert psycopg.conninfo.conninfo_to_dict(connection.removeprefix("--dbname=")) == conninfo


def test_the_password_is_in_no_argument_and_in_no_representation() -> None:
    command = dump_command(
        program_dir="/opt/pg/bin",
        conninfo={"host": "db.example", "user": "backup"},
        environment={"PGPASSWORD": "correct-horse"},
        to=Path("/var/backups/shop.dump"),
        timeout_s=60,
    )
    assert command.argv[0] == "/opt/pg/bin/pg_dump"
    assert "--no-password" in command.argv
    assert "correct-horse" not in repr(command)
    assert command.environment == {"PGPASSWORD": "correct-horse"}


def test_the_table_of_contents_is_read_whole() -> None:
    command = list_command(program_dir=None, of=Path("/var/backups/shop.dump"), timeout_s=60)
    assert list(command.argv) == ["pg_restore", "--list", "/var/backups/shop.dump"]
    assert command.keep_stdout


def test_a_dump_is_described_by_what_is_in_it(tmp_path: Path) -> None:
    dump = tmp_path / "shop.dump"
    dump.write_bytes(b"PGDMP" * 1000)
    assert describe(dump, listing(LISTED)).to_dict() == {
        "path": str(dump),
        "size_bytes": 5000,
        "sha256": hashlib.sha256(b"PGDMP" * 1000).hexdigest(),
        "entries": 6,
        "tables": 2,
    }


@pytest.mark.parametrize("stdout", ["", ";\n; Selected TOC Entries:\n;\n"], ids=["nothing printed", "nothing in it"])
def test_an_empty_dump_has_no_tables(tmp_path: Path, stdout: str) -> None:
    (tmp_path / "shop.dump").touch()
    backup = describe(tmp_path / "shop.dump", listing(stdout))
    assert (backup.entries, backup.tables) == (0, 0)


@pytest.mark.parametrize(
    ("tables", "least", "passed"),
    [
        pytest.param(9, 1, True, id="more than enough"),
        pytest.param(9, 9, True, id="just enough"),
        pytest.param(8, 9, False, id="one is missing"),
        pytest.param(0, 1, False, id="empty"),
    ],
)
def test_a_backup_with_too_few_tables_proves_nothing(tables: int, least: int, passed: bool) -> None:
    backup = Backup(path="/b", size_bytes=1, sha256="", entries=20, tables=tables)
    found: dict[str, Finding] = {
        finding.check: finding for finding in judge(backup_checks(least), backup, reachable_remedy="")
    }
    assert sorted(found) == ["backup.tables", "reachable"]
    assert found["backup.tables"].ok is passed
    assert found["backup.tables"].observed == tables
