# SPDX-License-Identifier: GPL-3.0-or-later
"""recorded_command with real programs: how each ended, what is kept of its output, and what never is."""

from __future__ import annotations

import os
import resource
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import recorded_command
from cutover.command import Command, run
from servers import wait_until

RunModule = Callable[..., dict[str, Any]]
PASSWORD = "correct-horse/battery staple"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def assert_dies(pid: int) -> None:
    """A signal is sent at once, and heeded when the system comes to it."""
    wait_until(lambda: not alive(pid), what=f"the end of process {pid}")


def test_a_command_is_kept_with_who_where_how_and_what_it_said(run_module: RunModule, tmp_path: Path) -> None:
    result = run_module(recorded_command, argv=["sh", "-c", "echo one; echo two >&2; echo three"], chdir=str(tmp_path))
    (command,) = result["commands"]
    assert command["argv"] == ["sh", "-c", "echo one; echo two >&2; echo three"]
    assert command["chdir"] == str(tmp_path)
    assert command["host"] == os.uname().nodename
    assert command["exit_code"] == result["rc"] == 0
    assert 0 <= command["took_ms"] < 5000
    assert command["first_lines"] == ["one", "two", "three"]
    assert command["last_lines"] == []
    assert command["line_count"] == 3
    assert result["changed"] is True
    assert "stdout_lines" not in result


def test_first_and_last_lines_overlap_in_none(run_module: RunModule) -> None:
    (command,) = run_module(recorded_command, argv=["seq", "15"])["commands"]
    assert command["first_lines"] == [str(number) for number in range(1, 11)]
    assert command["last_lines"] == [str(number) for number in range(11, 16)]
    (command,) = run_module(recorded_command, argv=["seq", "1000"])["commands"]
    assert command["last_lines"] == [str(number) for number in range(991, 1001)]
    assert command["line_count"] == 1000


def test_a_last_line_without_a_newline_counts(run_module: RunModule) -> None:
    (command,) = run_module(recorded_command, argv=["printf", r"a\r\nb"])["commands"]
    assert (command["first_lines"], command["line_count"]) == (["a", "b"], 2)


def test_bytes_that_are_no_text_are_shown_as_what_they_are(run_module: RunModule) -> None:
    (command,) = run_module(recorded_command, argv=["printf", r"\377\0x"])["commands"]
    assert command["first_lines"] == ["\\xff\0x"]


def test_a_failure_names_program_code_and_last_line(run_module: RunModule) -> None:
    result = run_module(recorded_command, argv=["sh", "-c", "echo trying; echo no such revision >&2; exit 3"])
    assert result["failed"]
    assert result["msg"] == "sh ended with exit code 3. Its last line: no such revision"
    assert result["rc"] == 3
    assert result["commands"][0]["first_lines"] == ["trying", "no such revision"]
    assert result["changed"] is True


@pytest.mark.parametrize(
    ("code", "failed"), [pytest.param(2, False, id="declared"), pytest.param(0, True, id="not declared")]
)
def test_which_exit_codes_mean_success_is_declared(code: int, failed: bool, run_module: RunModule) -> None:
    result = run_module(recorded_command, argv=["sh", "-c", f"exit {code}"], success_codes=[2, 4])
    assert result.get("failed", False) is failed


def test_a_signal_is_told_from_an_exit_code(run_module: RunModule) -> None:
    result = run_module(recorded_command, argv=["sh", "-c", "kill -9 $$"])
    assert result["failed"]
    assert result["rc"] == -9
    assert "was ended by signal 9 (Killed). It printed nothing." in result["msg"]


def test_a_command_that_does_not_end_is_ended_with_its_children_and_what_it_said_is_kept(
    run_module: RunModule, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    script = f"echo begun; sleep 60 & echo $! > {pids}; trap 'echo asked to stop; exit 9' TERM; wait"
    begun = time.monotonic()
    result = run_module(recorded_command, argv=["bash", "-c", script], timeout_s=0.5)
    assert time.monotonic() - begun < 30
    assert result["failed"]
    assert "bash was ended because it had not finished after 0.5 s. Its last line: asked to stop" in result["msg"]
    assert result["commands"][0]["first_lines"] == ["begun", "asked to stop"]
    assert_dies(int(pids.read_text()))


def test_a_command_that_ignores_being_asked_is_killed() -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    ran = run(Command(argv=python(code), timeout_s=0.7, grace_s=0.3))
    assert ran.timed_out
    assert ran.exit_code == -9
    assert ran.first_lines == ("deaf",)


def test_success_within_the_grace_after_the_deadline_is_still_a_failure(run_module: RunModule) -> None:
    result = run_module(recorded_command, argv=["bash", "-c", "trap 'exit 0' TERM; sleep 60 & wait"], timeout_s=0.3)
    assert result["rc"] == 0
    assert result["failed"]


@pytest.mark.parametrize("noise", ["", " | cat"], ids=["silent", "through a pipe"])
def test_a_program_left_behind_is_neither_waited_for_nor_ended(
    noise: str, run_module: RunModule, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    begun = time.monotonic()
    result = run_module(recorded_command, argv=["sh", "-c", f"sleep 30 & echo $! > {pids}; echo started{noise}"])
    assert time.monotonic() - begun < 20
    assert not result.get("failed")
    assert result["commands"][0]["first_lines"] == ["started"]
    pid = int(pids.read_text())
    try:
        assert alive(pid)
    finally:
        os.kill(pid, 9)


def test_a_chatty_program_left_behind_does_not_hold_up_either(run_module: RunModule, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    begun = time.monotonic()
    result = run_module(recorded_command, argv=["sh", "-c", f"yes & echo $! > {pids}; sleep 0.2"], timeout_s=30)
    assert time.monotonic() - begun < 20
    assert not result.get("failed")
    assert_dies(int(pids.read_text()))  # it writes into a closed pipe


def test_gigabytes_of_output_fill_neither_memory_nor_result(run_module: RunModule) -> None:
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    script = "echo first; head -c 1000000000 /dev/zero; echo; yes | head -n 3000000; echo last"
    result = run_module(recorded_command, argv=["sh", "-c", script], read_stdout=True)
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
    (command,) = result["commands"]
    assert command["line_count"] == 3_000_003
    assert command["first_lines"][0] == "first"
    assert len(command["first_lines"][1]) < 1100
    assert command["last_lines"][-1] == "last"
    assert result["stdout_complete"] is False
    assert grown_mib < 100


@pytest.mark.parametrize(
    ("argv", "options", "words"),
    [
        pytest.param(["no-such-program-anywhere"], {}, "no such program in PATH", id="not in PATH"),
        pytest.param(["./absent"], {}, "./absent could not be run: no such program", id="no such file"),
        pytest.param(["true"], {"chdir": "/nonexistent"}, "/nonexistent is not a directory", id="no such directory"),
        pytest.param(["true"], {"chdir": "/etc/passwd"}, "/etc/passwd is not a directory", id="a file as directory"),
        pytest.param(["/etc/passwd"], {}, "permission denied: is the file executable", id="not executable"),
        pytest.param(["./no-interpreter"], {}, "the interpreter that its first line names is not", id="no interpreter"),
        pytest.param(["./no-shebang"], {}, "neither a program nor a script", id="no shebang"),
        pytest.param([], {}, "argv is empty", id="nothing to run"),
        pytest.param(["true", "a\0b"], {}, "embedded null byte", id="null byte"),
        pytest.param(["true", "x" * 3_000_000], {}, "argument list too long", id="argument too long"),
        pytest.param(["true"], {"env_file": "/nonexistent.env"}, "/nonexistent.env cannot be read", id="no env file"),
    ],
)
def test_what_cannot_be_run_is_named_with_the_reason(
    argv: list[str],
    options: dict[str, Any],
    words: str,
    run_module: RunModule,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in {"no-interpreter": "#!/nonexistent/sh\n", "no-shebang": "echo hello\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    result = run_module(recorded_command, argv=argv, **options)
    assert result["failed"]
    assert words in result["msg"]
    assert "exception" not in result
    assert result["commands"] == []


def test_a_relative_program_is_looked_for_from_chdir(run_module: RunModule, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/migrate").write_text("#!/bin/sh\necho here\n")
    (tmp_path / "bin/migrate").chmod(0o755)
    result = run_module(recorded_command, argv=["bin/migrate"], chdir=str(tmp_path), read_stdout=True)
    assert result["stdout_lines"] == ["here"]


def test_the_environment_is_inherited_and_added_to_the_declaration_last(
    run_module: RunModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INHERITED", "kept")
    (tmp_path / "env").write_text("FROM_FILE='a b'\nBOTH=file\n")
    result = run_module(
        recorded_command,
        argv=["sh", "-c", 'echo "$INHERITED|$FROM_FILE|$BOTH|$NUMBER"'],
        env_file=str(tmp_path / "env"),
        environment={"BOTH": "own", "NUMBER": 0},
        read_stdout=True,
    )
    assert result["stdout_lines"] == ["kept|a b|own|0"]
    assert result["rc"] == 0


def test_secrets_of_the_environment_are_masked_whatever_prints_them(run_module: RunModule, tmp_path: Path) -> None:
    env = {"DB_PASSWORD": PASSWORD, "DATABASE_URL": "postgresql://app:url-p4ssword@db:5432/app", "MODE": "production"}
    (tmp_path / "env").write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in env.items()))
    script = (
        'printenv; printf %s "$DB_PASSWORD" | base64; echo "mode $MODE"; echo "failed: $OWN $DB_PASSWORD" >&2; exit 1'
    )
    result = run_module(
        recorded_command,
        argv=["sh", "-c", script],
        env_file=str(tmp_path / "env"),
        environment={"OWN": "declared-in-inventory"},
        read_stdout=True,
    )
    text = str(result)
    for secret in (PASSWORD, "url-p4ssword", "declared-in-inventory", "Y29ycmVjdC1ob3JzZS9iYXR0ZXJ5"):
        assert secret not in text
    assert "mode production" in text
    assert "postgresql://app:***@db:5432/app" in text
    assert "Its last line: failed: *** ***" in result["msg"]


def test_a_secret_at_the_edge_of_what_is_shown_is_not_cut_in_half(run_module: RunModule) -> None:
    script = 'head -c 990 /dev/zero | tr "\\0" x; echo "$TOKEN"'
    result = run_module(recorded_command, argv=["sh", "-c", script], environment={"TOKEN": "tok-0123456789abcdef"})
    assert "tok-" not in str(result)


def test_a_command_that_only_reads_changes_nothing_and_runs_in_check_mode(run_module: RunModule) -> None:
    result = run_module(recorded_command, argv=["echo", "seen"], changed=False, _ansible_check_mode=True)
    assert result["changed"] is False
    assert result["commands"][0]["first_lines"] == ["seen"]


def test_a_command_that_changes_is_only_announced_in_check_mode(run_module: RunModule, tmp_path: Path) -> None:
    result = run_module(recorded_command, argv=["touch", str(tmp_path / "made")], _ansible_check_mode=True)
    assert result["changed"] is True
    assert result["msg"] == f"Would run: touch {tmp_path / 'made'}"
    assert result["commands"] == []
    assert not (tmp_path / "made").exists()


def test_what_exists_already_is_not_made_again(run_module: RunModule, tmp_path: Path) -> None:
    made = tmp_path / "made"
    options = {"argv": ["sh", "-c", f"echo x >> {made}"], "creates": str(made)}
    assert run_module(recorded_command, **options)["changed"] is True
    again = run_module(recorded_command, **options)
    assert again["changed"] is False
    assert again["msg"] == f"Not run: {made} exists."
    assert made.read_text() == "x\n"


def test_stdout_is_read_apart_from_stderr(run_module: RunModule) -> None:
    result = run_module(recorded_command, argv=["sh", "-c", "echo noise >&2; echo data"], read_stdout=True)
    assert result["stdout_lines"] == ["data"]
    assert result["stdout_complete"] is True
    assert result["commands"][0]["line_count"] == 2


def test_it_gets_no_input_and_no_terminal(run_module: RunModule) -> None:
    code = "import sys, os; print(repr(sys.stdin.read()), os.isatty(0), flush=True); open('/dev/tty')"
    result = run_module(recorded_command, argv=python(code))
    assert result["commands"][0]["first_lines"][0] == "'' False"
    assert result["failed"]
    assert "No such device" in result["msg"]
