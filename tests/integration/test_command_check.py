# SPDX-License-Identifier: GPL-3.0-or-later
"""command_check with real commands: each finding green and red, and commands that do not end or do not start."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import command_check
import pytest
from findings import findings, green, red

RunModule = Callable[..., dict[str, Any]]
PASSWORD = "correct-horse-battery-staple"


@pytest.fixture
def check(run_module: RunModule) -> RunModule:
    """Run the module on one target, as a playbook would; keywords are what is expected."""

    def run(argv: list[str], target: dict[str, Any] | None = None, **expected: Any) -> dict[str, Any]:
        whole = {"name": "edge", "argv": argv} | (target or {})
        return run_module(
            command_check, component="traffic", targets=[whole], expected=expected, timeout_s=60, report_only=True
        )

    return run


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


def test_a_command_as_declared_is_green_in_every_finding(check: RunModule) -> None:
    result = check(["printf", "blue\\n"], stdout_matches="^(blue|green)$")
    assert red(result) == []
    assert green(result) == ["exit_code", "reachable", "stdout"]
    assert result["changed"] is False
    assert result["verdicts"][0]["component"] == "traffic"


@pytest.mark.parametrize(
    ("script", "expected", "only", "observed"),
    [
        pytest.param("exit 3", {}, "exit_code", 3, id="a failure"),
        pytest.param("exit 0", {"exit_codes": [1, 2]}, "exit_code", 0, id="a success that is none"),
        pytest.param("kill -9 $$", {}, "exit_code", -9, id="a signal"),
        pytest.param("echo yellow", {"stdout_matches": "^(blue|green)$"}, "stdout", "yellow", id="other words"),
        pytest.param("true", {"stdout_matches": "."}, "stdout", "", id="no words"),
        pytest.param("echo blue >&2", {"stdout_matches": "blue"}, "stdout", "", id="the right words on stderr"),
    ],
)
def test_each_deviation_is_red_in_just_its_own_finding(
    check: RunModule, script: str, expected: dict[str, Any], only: str, observed: object
) -> None:
    result = check(sh(script), **expected)
    assert red(result) == [only]
    assert findings(result)[only]["observed"] == observed


def test_exit_codes_that_are_declared_are_right(check: RunModule) -> None:
    assert red(check(sh("echo blue; exit 3"), exit_codes=[0, 3], stdout_matches="blue")) == []


def test_a_failed_commands_words_mean_nothing(check: RunModule) -> None:
    result = check(sh("echo blue; exit 1"), stdout_matches="blue")
    assert red(result) == ["exit_code"]
    assert findings(result)["stdout"]["status"] == "skipped"


def test_what_is_far_into_the_output_is_judged_too(check: RunModule) -> None:
    script = "yes fine | head -n 5000; echo ERROR"
    result = check(sh(script), stdout_matches=r"\A(?!(?s:.*)ERROR)")
    assert red(result) == ["stdout"]
    assert len(findings(result)["stdout"]["observed"]) == 1000


def test_more_output_than_can_be_read_is_not_judged(check: RunModule) -> None:
    result = check(sh("yes fine | head -c 3000000"), stdout_matches="fine")
    assert red(result) == ["stdout"]
    assert "more than can be read" in findings(result)["stdout"]["cause"]


@pytest.mark.parametrize(
    ("argv", "target", "words"),
    [
        pytest.param(
            ["no-such-program"], {}, "no-such-program could not be run: no such program in PATH", id="no program"
        ),
        pytest.param(["/etc/passwd"], {}, "permission denied", id="no program, but a file"),
        pytest.param(["true"], {"chdir": "/nowhere"}, "working directory /nowhere is not a directory", id="no folder"),
        pytest.param(["true"], {"env_file": "/nowhere/env"}, "/nowhere/env cannot be read", id="no environment file"),
        pytest.param([], {}, "argv is empty", id="no command"),
    ],
)
def test_a_command_that_cannot_be_started_is_one_finding_with_a_cause(
    check: RunModule, argv: list[str], target: dict[str, Any], words: str
) -> None:
    result = check(argv, target, stdout_matches=".")
    assert red(result) == ["reachable"]
    assert words in findings(result)["reachable"]["cause"]


@pytest.mark.parametrize("heed", ["", "trap '' TERM; "], ids=["asked to end", "deaf to that"])
def test_a_command_that_does_not_end_is_ended_with_its_children(
    run_module: RunModule, tmp_path: Path, heed: str
) -> None:
    script = f"{heed}echo waiting; (while :; do date >>{tmp_path}/alive; sleep 0.05; done) & wait; sleep 60"
    targets = [{"name": "hangs", "argv": sh(script)}, {"name": "fine", "argv": ["true"]}]
    result = run_module(command_check, targets=targets, timeout_s=3, report_only=True)
    assert red(result, "hangs") == ["reachable"]
    assert "ended because it had not finished after" in findings(result, "hangs")["reachable"]["cause"]
    assert "waiting" in findings(result, "hangs")["reachable"]["cause"]
    assert red(result, "fine") == []
    size = (tmp_path / "alive").stat().st_size
    time.sleep(0.5)
    assert (tmp_path / "alive").stat().st_size == size


def test_the_record_tells_what_was_run_and_what_it_said(check: RunModule, tmp_path: Path) -> None:
    recorded = check(sh("echo one; echo two >&2"), {"chdir": str(tmp_path)})["verdicts"][0]["recorded"]
    assert recorded["argv"] == sh("echo one; echo two >&2")
    assert recorded["chdir"] == str(tmp_path)
    assert sorted(recorded["first_lines"]) == ["one", "two"]
    assert recorded["exit_code"] == 0


def test_secrets_of_the_environment_are_masked_wherever_they_are_printed(check: RunModule, tmp_path: Path) -> None:
    (tmp_path / "shop.env").write_text(f"DATABASE_URL=postgresql://shop:{PASSWORD}@db/shop\nPORT=8000\n")
    script = 'echo "$DATABASE_URL $API_TOKEN" >&2; alone=${DATABASE_URL#*shop:}; echo "${alone%@*}"; echo "port $PORT"'
    target = {"env_file": str(tmp_path / "shop.env"), "environment": {"API_TOKEN": "tok-9f8e7d6c5b4a"}}
    result = check(sh(script), target, stdout_matches="port 8000")
    assert red(result) == []
    assert PASSWORD not in str(result)
    assert "tok-9f8e7d6c5b4a" not in str(result)
    assert "port 8000" in findings(result)["stdout"]["observed"]


def test_secrets_are_masked_in_causes_too(run_module: RunModule) -> None:
    target = {"name": "edge", "argv": sh("echo $API_TOKEN; sleep 60"), "environment": {"API_TOKEN": PASSWORD}}
    result = run_module(command_check, targets=[target], timeout_s=3, report_only=True)
    assert red(result) == ["reachable"]
    assert "Its last line: " in findings(result)["reachable"]["cause"]
    assert PASSWORD not in str(result)


def test_commands_run_side_by_side_and_each_has_its_own_verdict(run_module: RunModule, tmp_path: Path) -> None:
    script = (
        'touch "$0/$1"; until [ -e "$0/one" ] && [ -e "$0/two" ] && [ -e "$0/three" ]; do sleep 0.05; done; echo $1'
    )
    targets = [{"name": name, "argv": [*sh(script), str(tmp_path), name]} for name in ("one", "two", "three")]
    result = run_module(command_check, targets=targets, timeout_s=60, report_only=True)
    assert [verdict["subject"] for verdict in result["verdicts"] if verdict["ok"]] == ["one", "two", "three"]


def test_a_command_finds_no_shell_and_no_terminal(check: RunModule) -> None:
    code = "import sys; print(sys.argv[1], sys.stdin.read() == '', sys.stdin.isatty())"
    result = check([sys.executable, "-c", code, "$HOME;`id`"], stdout_matches=".")
    assert findings(result)["stdout"]["observed"] == "$HOME;`id` True False"


def test_it_looks_in_check_mode_too_and_a_red_finding_fails_the_task(run_module: RunModule) -> None:
    result = run_module(command_check, targets=[{"name": "edge", "argv": sh("exit 3")}], _ansible_check_mode=True)
    assert result["failed"]
    assert "exit_code: expected [0], observed 3" in result["msg"]


def test_a_pattern_that_is_none_is_refused_before_anything_runs(check: RunModule, tmp_path: Path) -> None:
    result = check(["touch", str(tmp_path / "ran")], stdout_matches="(")
    assert result["failed"]
    assert "is no regular expression" in result["msg"]
    assert not (tmp_path / "ran").exists()
