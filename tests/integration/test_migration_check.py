# SPDX-License-Identifier: GPL-3.0-or-later
"""migration_check against real Alembic projects: each finding green and red, and tools that do not behave."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import migration_check
import misbehaving
import pytest
import servers
import sql_migrations
from alembic import command
from alembic.config import Config
from findings import findings, green, red

RunModule = Callable[..., dict[str, Any]]
EXPECTED = {"single_head": True, "at_head": True, "revision": "0002"}
PASSWORD = "correct-horse-battery"

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
import sqlalchemy as sa
revision, down_revision = {revision!r}, {down!r}
def upgrade(): op.create_table("t" + revision, sa.Column("id", sa.Integer, primary_key=True))
def downgrade(): op.drop_table("t" + revision)
"""


class Project:
    """An Alembic project with a database in SQLite."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder = folder
        self.url = url or f"sqlite:///{folder / 'ledger.db'}"
        (folder / "migrations/versions").mkdir(parents=True)
        (folder / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
        (folder / "migrations/env.py").write_text(ENV_PY)
        (folder / "application.env").write_text(f"DATABASE_URL={self.url}\n")
        self.add("0001", None)
        self.add("0002", "0001")

    def add(self, revision: str, down: str | None) -> None:
        text = REVISION_PY.format(revision=revision, down=down)
        (self.folder / f"migrations/versions/{revision}.py").write_text(text)

    def upgrade(self, revision: str) -> None:
        os.environ["DATABASE_URL"] = self.url
        try:
            command.upgrade(Config(self.folder / "alembic.ini"), revision)
        finally:
            del os.environ["DATABASE_URL"]

    def target(self, **options: Any) -> dict[str, Any]:
        alembic = [sys.executable, "-P", "-m", "alembic"]
        return {
            "name": "ledger",
            "current_argv": [*alembic, "current"],
            "heads_argv": [*alembic, "heads"],
            "chdir": str(self.folder),
            "env_file": str(self.folder / "application.env"),
        } | options


@pytest.fixture
def application(tmp_path: Path) -> Project:
    return Project(tmp_path / "application")


@pytest.fixture
def check(application: Project, run_module: RunModule) -> RunModule:
    def run(expected: dict[str, Any] | None = None, **target: Any) -> dict[str, Any]:
        return run_module(
            migration_check, targets=[application.target(**target)], expected=expected or EXPECTED, report_only=True
        )

    return run


def test_a_schema_at_its_one_head_is_green_in_every_finding(check: RunModule, application: Project) -> None:
    application.upgrade("head")
    result = check(EXPECTED | {"reachable": True})
    assert red(result) == []
    assert green(result) == ["heads.single", "reachable", "revision", "revision.at_head", "revision.reachable"]
    assert result["changed"] is False


def test_a_downgrade_cannot_come_back_to_two_revisions_nor_to_one_that_nobody_knows(
    check: RunModule, application: Project
) -> None:
    two = check({"reachable": True}, current_argv=["printf", "0001\n0002\n"])
    assert red(two) == ["revision.reachable"]
    assert findings(two)["revision.reachable"]["observed"] == ["0001", "0002"]
    application.upgrade("head")
    (application.folder / "migrations/versions/0002.py").unlink()
    unknown = findings(check({"reachable": True}))["revision.reachable"]
    assert unknown["status"] == "error"
    assert "Can't locate revision identified by '0002'" in unknown["cause"]


def test_both_commands_are_kept_as_evidence_also_in_check_mode(application: Project, run_module: RunModule) -> None:
    application.upgrade("head")
    result = run_module(
        migration_check,
        targets=[application.target()],
        expected=EXPECTED,
        report_only=True,
        _ansible_check_mode=True,
    )
    current, heads = result["commands"]
    assert (current["argv"][-1], heads["argv"][-1]) == ("current", "heads")
    assert current["exit_code"] == heads["exit_code"] == 0
    assert "0002 (head)" in current["first_lines"]
    assert current["chdir"] == str(application.folder)


def test_a_schema_that_lags_behind_is_red(check: RunModule, application: Project) -> None:
    application.upgrade("0001")
    result = check()
    assert red(result) == ["revision", "revision.at_head"]
    assert findings(result)["revision.at_head"]["observed"] == {"applied": ["0001"], "heads": ["0002"]}


def test_an_empty_schema_is_a_failure_and_not_an_error(check: RunModule) -> None:
    result = check()
    assert findings(result)["revision.at_head"]["status"] == "fail"
    assert findings(result)["revision.at_head"]["observed"] == {"applied": [], "heads": ["0002"]}


def test_a_second_head_is_red(check: RunModule, application: Project) -> None:
    application.upgrade("head")
    application.add("0003", "0001")
    result = check({"single_head": True})
    assert red(result) == ["heads.single"]
    assert sorted(findings(result)["heads.single"]["observed"]) == ["0002", "0003"]


def test_a_database_that_does_not_answer_is_an_error_in_the_tool_s_words_and_heads_are_still_judged(
    application: Project, check: RunModule
) -> None:
    url = f"postgresql+psycopg://app:{PASSWORD}@127.0.0.1:{servers.free_port()}/ledger"
    result = check(environment={"DATABASE_URL": url})
    assert red(result) == ["revision", "revision.at_head"]
    assert findings(result)["revision.at_head"]["status"] == "error"
    assert "ended with exit code 1" in findings(result)["revision.at_head"]["cause"]
    assert green(result) == ["heads.single", "reachable"]
    assert PASSWORD not in str(result)


def test_a_release_whose_migrations_are_broken_is_an_error(check: RunModule, application: Project) -> None:
    application.upgrade("head")
    application.add("0003", "no-such-parent")
    result = check()
    assert {finding["status"] for finding in findings(result).values()} == {"pass", "error"}
    assert red(result) == ["heads.single", "revision", "revision.at_head"]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        pytest.param({"current_argv": ["no-such-tool"]}, "no-such-tool could not be run", id="no such program"),
        pytest.param({"chdir": "/nonexistent"}, "/nonexistent is not a directory", id="no such directory"),
        pytest.param({"env_file": "/nonexistent"}, "/nonexistent cannot be read", id="no such environment file"),
    ],
)
def test_a_tool_that_cannot_be_started_is_one_finding(target: dict[str, Any], words: str, check: RunModule) -> None:
    result = check(**target)
    assert red(result) == ["reachable"]
    assert words in findings(result)["reachable"]["cause"]


@pytest.mark.parametrize(
    ("current", "words"),
    [
        pytest.param("echo Warning: nothing here", "takes for a revision", id="no revision in what it says"),
        pytest.param("yes '0002 (head)' | head -n 200000", "more than can be read", id="endless"),
        pytest.param("echo '0002 (head)'; exit 1", "exit code 1", id="right words, wrong exit code"),
        pytest.param("kill -9 $$", "signal 9", id="killed"),
    ],
)
def test_a_tool_that_misbehaves_is_an_error_with_a_cause(current: str, words: str, check: RunModule) -> None:
    result = check({"revision": "0002"}, current_argv=["sh", "-c", current], heads_argv=["true"])
    assert red(result) == ["revision"]
    assert findings(result)["revision"]["status"] == "error"
    assert words in findings(result)["revision"]["cause"]


def test_tools_that_hang_are_ended_within_the_deadline_and_hold_up_no_other(
    application: Project, run_module: RunModule
) -> None:
    hangs = {"current_argv": ["sh", "-c", "trap '' TERM; sleep 60"], "heads_argv": ["true"]}
    quick = {"current_argv": ["echo", "0002"], "heads_argv": ["echo", "0002 (head)"]}
    targets: list[dict[str, Any]] = [{"name": f"app-{number}", **quick} for number in range(20)]
    targets[3] = {"name": "hangs", **hangs}
    begun = time.monotonic()
    result = run_module(migration_check, targets=targets, expected={"at_head": True}, timeout_s=2.0, report_only=True)
    assert time.monotonic() - begun < 20
    assert [verdict["subject"] for verdict in result["verdicts"] if not verdict["ok"]] == ["hangs"]
    assert "had not finished" in findings(result, "hangs")["revision.at_head"]["cause"]


def test_secrets_in_the_environment_are_masked_even_as_revisions(check: RunModule) -> None:
    echo = ["sh", "-c", 'echo "$DB_PASSWORD"']
    result = check({"revision": "x"}, current_argv=echo, heads_argv=echo, environment={"DB_PASSWORD": "Tr0ub4dor3xyz"})
    assert "Tr0ub4dor3xyz" not in str(result)


def test_without_report_only_a_red_finding_fails_the_task(application: Project, run_module: RunModule) -> None:
    result = run_module(migration_check, targets=[application.target()], expected={"revision": "0002"})
    assert result["failed"]
    assert "migrations ledger" in result["msg"]
    assert "expected '0002', observed None" in result["msg"]
    assert len(result["commands"]) == 2


@pytest.mark.parametrize(
    ("targets", "expected", "words"),
    [
        pytest.param([{}], {"at_head": False}, "implies no check", id="nothing asked"),
        pytest.param([{}, {}], EXPECTED, "two targets are named 'ledger'", id="a name twice"),
        pytest.param([], EXPECTED, "targets is empty", id="no target"),
        pytest.param([{"revision_pattern": "("}], EXPECTED, "not a regular expression", id="broken pattern"),
        pytest.param([{"heads_pattern": "x"}], EXPECTED, "no group", id="pattern without a group"),
    ],
)
def test_a_wrong_inventory_is_refused_before_anything_is_run(
    targets: list[dict[str, Any]],
    expected: dict[str, Any],
    words: str,
    application: Project,
    run_module: RunModule,
    tmp_path: Path,
) -> None:
    touch = ["touch", str(tmp_path / "was-run")]
    wanted = [application.target(current_argv=touch, heads_argv=touch, **target) for target in targets]
    result = run_module(migration_check, targets=wanted, expected=expected, report_only=True)
    assert result["failed"]
    assert words in result["msg"]
    assert not (tmp_path / "was-run").exists()


def test_migrations_in_postgresql_are_seen(postgres: servers.Postgres, tmp_path: Path, run_module: RunModule) -> None:
    postgres.run("CREATE DATABASE migration_check")
    url = f"postgresql+psycopg://postgres:{postgres.password}@127.0.0.1:{postgres.port}/migration_check"
    application = Project(tmp_path / "application", url)
    application.upgrade("head")
    result = run_module(migration_check, targets=[application.target()], expected=EXPECTED, report_only=True)
    assert red(result) == []
    assert postgres.password not in str(result)


# --- plain SQL migrations --------------------------------------------------------------------------------------------


@pytest.fixture
def plain(postgres: servers.Postgres, tmp_path: Path, run_module: RunModule) -> dict[str, Any]:
    """A database to which both migrations of a folder are applied."""
    name = f"p{secrets.token_hex(6)}"
    postgres.run(f"CREATE DATABASE {name}")
    for file in ("001_a.sql", "002_b.sql"):
        (tmp_path / file).write_text("SELECT 1;")
    target = {
        "folder": str(tmp_path),
        "address": f"postgresql://127.0.0.1:{postgres.port}/{name}",
        "user": "postgres",
        "password": postgres.password,
        "sslmode": "disable",
    }
    assert run_module(sql_migrations, **target)["revision_after"] == "002"
    return {"name": "ledger", "driver": "sql", **target}


def test_plain_sql_migrations_as_declared_are_green(plain: dict[str, Any], run_module: RunModule) -> None:
    expected = EXPECTED | {"revision": "002"}
    result = run_module(migration_check, targets=[plain], expected=expected, report_only=True)
    assert red(result) == []
    assert green(result) == ["heads.single", "reachable", "revision", "revision.at_head"]
    assert plain["password"] not in str(result)


@pytest.mark.parametrize(
    ("files", "status", "words"),
    [
        pytest.param({"003_c.sql": "SELECT 1"}, "fail", "", id="a file that is not applied"),
        pytest.param({"002_b.sql": "SELECT 2"}, "error", "002_b.sql was changed", id="a changed file"),
        pytest.param({"000_z.sql": "SELECT 1"}, "error", "000_z.sql is not applied", id="a file before an applied one"),
    ],
)
def test_plain_sql_migrations_that_deviate_are_red(
    files: dict[str, str], status: str, words: str, plain: dict[str, Any], run_module: RunModule
) -> None:
    for name, text in files.items():
        Path(plain["folder"], name).write_text(text)
    result = run_module(migration_check, targets=[plain], expected={"at_head": True}, report_only=True)
    assert red(result) == ["revision.at_head"]
    assert findings(result)["revision.at_head"]["status"] == status
    assert words in (findings(result)["revision.at_head"]["cause"] or "")


def test_a_database_without_a_history_is_a_failure(plain: dict[str, Any], run_module: RunModule) -> None:
    target = plain | {"history_table": "another"}
    result = run_module(migration_check, targets=[target], expected={"at_head": True}, report_only=True)
    assert findings(result)["revision.at_head"]["observed"] == {"applied": [], "heads": ["002"]}


@pytest.mark.parametrize(
    ("target", "only", "words"),
    [
        pytest.param({"password": "wrong-password"}, "reachable", "authentication failed", id="wrong password"),
        pytest.param({"address": "postgresql://127.0.0.1:1/x"}, "reachable", "refused", id="closed port"),
        pytest.param({"folder": "/nonexistent"}, "heads.single", "cannot be read", id="no folder"),
    ],
)
def test_a_history_that_cannot_be_read_is_an_error(
    target: dict[str, Any], only: str, words: str, plain: dict[str, Any], run_module: RunModule
) -> None:
    result = run_module(migration_check, targets=[plain | target], expected={"single_head": True}, report_only=True)
    assert red(result) == [only]
    assert words in findings(result)[only]["cause"]


def test_a_database_that_hangs_is_given_up_within_the_deadline(plain: dict[str, Any], run_module: RunModule) -> None:
    with misbehaving.listening(misbehaving.hangs) as port:
        target = plain | {"address": f"postgresql://127.0.0.1:{port}/x"}
        begun = time.monotonic()
        result = run_module(
            migration_check, targets=[target], expected={"at_head": True}, timeout_s=2.0, report_only=True
        )
        assert time.monotonic() - begun < 20
    assert red(result) == ["reachable"]
