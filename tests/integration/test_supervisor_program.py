# SPDX-License-Identifier: GPL-3.0-or-later
"""supervisor_program with a real supervisord: programs that come up, go down, keep crashing, or are not there."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
import supervisor_program
from cutover.observe_service import ask_supervisor
from cutover.pool import Deadline

RunModule = Callable[..., dict[str, Any]]

CONF = """
[supervisord]
nodaemon = true
logfile = %(here)s/supervisord.log
pidfile = %(here)s/supervisord.pid
[unix_http_server]
file = %(here)s/s
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
PROGRAM = """
[program:{name}]
command = sh -c "{command}"
autostart = false
startsecs = {startsecs}
startretries = 1000
stdout_logfile = NONE
stderr_logfile = NONE
"""


class Supervisord:
    """A real supervisord; ``programs`` are their names, commands, and after how long each counts as running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"unix://{folder / 's'}"

    def declare(self, **programs: tuple[str, float]) -> None:
        texts = [
            PROGRAM.format(name=name, command=command, startsecs=startsecs)
            for name, (command, startsecs) in programs.items()
        ]
        (self.folder / "conf").write_text(CONF + "".join(texts))

    def told(self, name: str) -> dict[str, Any]:
        answer = ask_supervisor({"address": self.address}, Deadline(time.monotonic() + 5))
        return next(info for info in answer if info["name"] == name)

    def state(self, name: str) -> str:
        return str(self.told(name)["statename"])


SLEEPS, CRASHES = ("exec sleep 600", 1), ("sleep 0.1; exit 3", 60)


@pytest.fixture
def supervisord(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisord]:
    running = Supervisord(tmp_path_factory.mktemp("sp"))
    running.declare(web=SLEEPS, worker=SLEEPS, scheduler=CRASHES, stubborn=("trap : TERM; sleep 1; exec sleep 600", 0))
    program = str(Path(sys.executable).with_name("supervisord"))
    with servers.process([program, "-c", str(running.folder / "conf")], log=running.folder / "log"):
        servers.wait_until(lambda: (running.folder / "s").exists() and running.state("web"), what="supervisord")
        yield running


@pytest.fixture
def bring(supervisord: Supervisord, run_module: RunModule) -> RunModule:
    def run(state: str, *names: str, **options: Any) -> dict[str, Any]:
        return run_module(
            supervisor_program, names=list(names), state=state, address=supervisord.address, timeout_s=20, **options
        )

    return run


def test_programs_come_up_side_by_side_and_a_second_time_nothing_is_done(
    bring: RunModule, supervisord: Supervisord
) -> None:
    began = time.monotonic()
    result = bring("started", "web", "worker")

    assert result["programs"] == ["web:web", "worker:worker"]
    assert {supervisord.state(name) for name in ("web", "worker")} == {"RUNNING"}
    # Each counts as running after a second.
    assert 1 <= time.monotonic() - began < 10
    again = bring("started", "web", "worker")
    assert (again["changed"], again["programs"]) == (False, [])


def test_a_program_that_keeps_crashing_is_stopped_and_does_not_come_back(
    bring: RunModule, supervisord: Supervisord
) -> None:
    started = bring("started", "scheduler")
    servers.wait_until(lambda: supervisord.state("scheduler") == "BACKOFF", what="a scheduler between two starts")
    result = bring("stopped", "scheduler")

    assert started["failed"]
    assert "scheduler:scheduler is BACKOFF" in started["msg"]
    assert result["changed"]
    assert supervisord.state("scheduler") in ("STOPPED", "EXITED", "FATAL")
    time.sleep(2.5)
    assert supervisord.state("scheduler") in ("STOPPED", "EXITED", "FATAL")
    assert not bring("stopped", "scheduler")["changed"]


@pytest.mark.parametrize("after_s", [0.0, 0.2, 0.5, 0.9, 1.2])
def test_a_program_that_has_just_ended_by_itself_does_not_come_back_either(
    bring: RunModule, supervisord: Supervisord, run_module: RunModule, after_s: float
) -> None:
    supervisord.declare(scheduler=("sleep 0.3; exit 3", 0))
    bring("restarted", "scheduler")
    # Nobody asks meanwhile: to answer, supervisord would take its next turn, and start it.
    time.sleep(after_s)
    bring("stopped", "scheduler")
    time.sleep(1.5)

    assert supervisord.state("scheduler") in ("STOPPED", "FATAL")
    assert supervisord.told("scheduler")["pid"] == 0


def test_a_program_that_has_ended_for_good_is_left_alone(bring: RunModule, supervisord: Supervisord) -> None:
    supervisord.declare(web=("exit 0", 0))
    bring("restarted", "web")
    time.sleep(0.5)

    assert not bring("stopped", "web")["changed"]
    assert supervisord.state("web") == "EXITED"


def test_a_restart_is_another_process(bring: RunModule, supervisord: Supervisord) -> None:
    bring("started", "web")
    before = supervisord.told("web")["pid"]
    result = bring("restarted", "web")

    assert result["changed"]
    assert supervisord.state("web") == "RUNNING"
    assert supervisord.told("web")["pid"] not in (0, before)


def test_a_restart_takes_over_what_was_changed_of_the_program_and_of_no_other(
    bring: RunModule, supervisord: Supervisord
) -> None:
    bring("started", "web", "worker")
    worker = supervisord.told("worker")["pid"]
    supervisord.declare(web=("exec sleep 601", 0), worker=("exec sleep 601", 0), scheduler=CRASHES, fresh=SLEEPS)
    bring("restarted", "web")

    def argv(name: str) -> bytes:
        return Path(f"/proc/{supervisord.told(name)['pid']}/cmdline").read_bytes()

    servers.wait_until(lambda: b"601" in argv("web"), what="web's new command")
    assert supervisord.told("worker")["pid"] == worker
    assert bring("started", "fresh")["failed"], "a program that nobody has restarted is not taken over"
    assert bring("restarted", "fresh")["programs"] == ["fresh:fresh"]


def test_one_that_takes_its_time_to_end_is_waited_for(bring: RunModule, supervisord: Supervisord) -> None:
    bring("started", "stubborn")
    bring("stopped", "stubborn")

    assert supervisord.state("stubborn") == "STOPPED"


def test_check_mode_says_what_would_be_done_and_does_nothing(bring: RunModule, supervisord: Supervisord) -> None:
    assert bring("started", "web", _ansible_check_mode=True)["programs"] == ["web:web"]
    assert supervisord.state("web") == "STOPPED"
    assert bring("restarted", "web", _ansible_check_mode=True)["programs"] == ["web:web"]
    assert not bring("stopped", "web", _ansible_check_mode=True)["changed"]


def test_a_program_that_is_not_there_is_named_and_nothing_else_is_touched(
    bring: RunModule, supervisord: Supervisord
) -> None:
    result = bring("started", "web", "webb")

    assert result["failed"]
    assert "has no program webb. It has: scheduler, stubborn, web, worker" in result["msg"]
    assert supervisord.state("web") == "STOPPED"


def test_without_a_supervisord_nothing_is_said_to_be_done(run_module: RunModule, tmp_path: Path) -> None:
    result = run_module(supervisor_program, names=["web"], state="stopped", address=f"unix://{tmp_path}/s")

    assert result["failed"]
    assert "no supervisord answered" in result["msg"]
