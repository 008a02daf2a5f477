# SPDX-License-Identifier: GPL-3.0-or-later
"""service_check against a real supervisord, real commands and their logs: each finding green and red."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import misbehaving
import pytest
import servers
import service_check
import service_state
from cutover.checks import CannotObserve
from cutover.observe_service import ask_supervisor
from cutover.pool import Deadline
from findings import findings, green, red

RunModule = Callable[..., dict[str, Any]]
PASSWORD = "correct-horse-battery"

SUPERVISORD_CONF = """
[supervisord]
nodaemon = true
logfile = %(here)s/supervisord.log
pidfile = %(here)s/supervisord.pid
[unix_http_server]
file = %(here)s/s
[inet_http_server]
port = 127.0.0.1:{port}
username = observer
password = {password}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl = unix://%(here)s/s
[program:web]
command = sh %(here)s/service
startsecs = 0
stdout_logfile = %(here)s/web.log
redirect_stderr = true
[program:worker]
command = sleep 600
startsecs = 0
process_name = worker_%(process_num)d
numprocs = 2
[program:scheduler]
command = sleep 600
autostart = false
[program:broken]
command = sh -c "exit 3"
startretries = 0
[program:absent]
command = /nonexistent/program
startretries = 0
[program:loops]
command = sh -c "sleep 0.2; exit 3"
startsecs = 60
startretries = 600
"""
# What `sh service` logs is what the test has put beside it, by a process of this id.
SERVICE = 'sed "s/PID/$$/" "$(dirname "$0")/says"\nexec sleep 600\n'


class Supervisord:
    """A real supervisord with programs in all states."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.address = f"unix://{folder / 's'}"
        self.log = folder / "web.log"

    def target(self, **options: Any) -> dict[str, Any]:
        return {"name": "app1", "driver": "supervisor", "address": self.address} | options

    def states(self) -> dict[str, str]:
        answer = ask_supervisor(self.target(), Deadline(time.monotonic() + 5))
        return {program["name"]: program["statename"] for program in answer}

    def start_web(self, *, says: str, after: str = "") -> None:
        """Start web afresh and let it log these words, after those that its log holds already."""
        self.log.write_text(after)
        (self.folder / "says").write_text(says)
        program = Path(sys.executable).with_name("supervisorctl")
        argv = [program, "-c", self.folder / "supervisord.conf", "restart", "web"]
        subprocess.run(argv, check=True, capture_output=True, timeout=30)
        last = says.splitlines()[-1].replace("PID", "") if says else ""
        servers.wait_until(lambda: last in self.log.read_text() if last else True, what="web's log")


@pytest.fixture(scope="module")
def supervisord(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisord]:
    folder = tmp_path_factory.mktemp("sv")
    (folder / "service").write_text(SERVICE)
    (folder / "says").write_text("")
    running = Supervisord(folder, servers.free_port())
    configuration = folder / "supervisord.conf"
    configuration.write_text(SUPERVISORD_CONF.format(port=running.port, password=PASSWORD))
    program = str(Path(sys.executable).with_name("supervisord"))
    with servers.process([program, "-c", str(configuration)], log=folder / "log"):
        settled = {"FATAL", "RUNNING"}
        servers.wait_until(
            lambda: {running.states()[name] for name in ("web", "worker_0", "worker_1", "broken", "absent")} == settled,
            what="supervisord",
        )
        yield running


@pytest.fixture
def check(supervisord: Supervisord, run_module: RunModule) -> RunModule:
    def run(expected: dict[str, Any], **target: Any) -> dict[str, Any]:
        return run_module(service_check, targets=[supervisord.target(**target)], expected=expected, report_only=True)

    return run


def at(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S,000")


def soon() -> datetime:
    """A time that a process will not log before it has started, in the zone of this machine, as loggers write it."""
    return datetime.now() + timedelta(seconds=120)


# --- supervisord -----------------------------------------------------------------------------------------------------


def test_processes_as_declared_are_green_in_every_finding(check: RunModule, supervisord: Supervisord) -> None:
    supervisord.start_web(says=f"{at(soon())} INFO up\n")
    result = check(
        {
            "running": ["web", "worker"],
            "stopped": ["scheduler", "broken"],
            "min_uptime_s": 0,
            "log_files": {"web": str(supervisord.log)},
        }
    )
    assert red(result) == []
    assert green(result) == [
        "errors.web",
        "reachable",
        "running.web",
        "running.worker",
        "stopped.broken",
        "stopped.scheduler",
        "uptime.web",
        "uptime.worker",
    ]
    assert result["changed"] is False
    assert result["commands"] == []
    assert result["verdicts"][0]["component"] == "services"


def test_a_role_speaks_in_its_own_name(supervisord: Supervisord, run_module: RunModule) -> None:
    result = run_module(
        service_check, targets=[supervisord.target()], expected={"running": ["web"]}, component="release"
    )
    assert result["verdicts"][0]["component"] == "release"
    assert result["verdicts"][0]["address"] == supervisord.address


@pytest.mark.parametrize(
    ("expected", "only", "observed"),
    [
        pytest.param({"running": ["web", "scheduler"]}, "running.scheduler", "STOPPED", id="not started"),
        pytest.param({"running": ["broken"]}, "running.broken", "FATAL", id="dies at once"),
        pytest.param({"running": ["absent"]}, "running.absent", "can't find command", id="no such program there"),
        pytest.param({"running": ["loops"]}, "running.loops", "", id="dies again and again"),
        pytest.param({"running": ["typo"]}, "running.typo", "no such process", id="a wrong name does not run"),
        pytest.param({"stopped": ["typo"]}, "stopped.typo", "no such process", id="a wrong name has not stopped"),
        pytest.param({"stopped": ["web"]}, "stopped.web", "RUNNING", id="runs"),
        pytest.param({"stopped": ["loops"]}, "stopped.loops", "", id="comes back by itself"),
        pytest.param({"stopped": ["worker"]}, "stopped.worker", "RUNNING", id="a group that runs"),
    ],
)
def test_each_deviation_is_red_in_just_its_own_finding(
    expected: dict[str, Any], only: str, observed: str, check: RunModule
) -> None:
    result = check(expected)
    assert red(result) == [only]
    assert observed in findings(result)[only]["observed"]


def test_a_young_process_is_red(check: RunModule) -> None:
    assert red(check({"running": ["web"], "min_uptime_s": 86_400})) == ["uptime.web"]


def test_an_error_logged_since_the_start_is_red_and_one_from_before_is_not(
    check: RunModule, supervisord: Supervisord
) -> None:
    expected = {"running": ["web"], "log_files": {"web": str(supervisord.log)}}
    before = at(datetime.now() - timedelta(minutes=10))
    old = f"{before} ERROR long ago\nTraceback of long ago\n"
    supervisord.start_web(says=f"{at(soon())} INFO up\n", after=old)
    assert red(check(expected)) == []
    supervisord.start_web(says=f"{at(soon())} ERROR no database at postgresql://app:{PASSWORD}@db/app\n")
    result = check(expected)
    assert red(result) == ["errors.web"]
    observed = findings(result)["errors.web"]["observed"]
    assert observed["lines"] == 1
    assert "ERROR no database at postgresql://app:***@db/app" in observed["first"]
    assert PASSWORD not in str(result)


def test_a_marker_with_the_process_id_tells_where_the_process_began(check: RunModule, supervisord: Supervisord) -> None:
    expected = {
        "running": ["web"],
        "log_files": {"web": str(supervisord.log)},
        "log_since": r"started \[{pid}\]",
    }
    supervisord.start_web(says="ERROR of the last one\nstarted [PID]\nINFO fine\n")
    assert red(check(expected)) == []
    supervisord.start_web(says="started [PID]\nCRITICAL of this one\n")
    assert red(check(expected)) == ["errors.web"]
    supervisord.start_web(says="INFO no marker this time\n")
    result = check(expected)
    assert red(result) == ["errors.web"]
    assert findings(result)["errors.web"]["status"] == "error"
    assert "where the process started is not known" in findings(result)["errors.web"]["cause"]


def test_patterns_are_declared(check: RunModule, supervisord: Supervisord) -> None:
    supervisord.start_web(says=f"{at(soon())} WARNING soon\n")
    expected = {"running": ["web"], "log_files": {"web": str(supervisord.log)}}
    assert red(check(expected)) == []
    assert red(check(expected | {"error_patterns": ["WARNING"]})) == ["errors.web"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        pytest.param("/nonexistent.log", "cannot be read: No such file", id="no such file"),
        pytest.param("/dev/zero", "not a regular file", id="a device"),
        pytest.param("/etc", "not a regular file", id="a folder"),
        pytest.param("/etc/hostname", "bears a time", id="no times in it"),
    ],
)
def test_a_log_that_does_not_tell_is_an_error(path: str, words: str, check: RunModule) -> None:
    result = check({"running": ["web"], "log_files": {"web": path}})
    assert red(result) == ["errors.web"]
    assert words in findings(result)["errors.web"]["cause"]


def test_of_a_long_log_only_the_end_is_read(check: RunModule, supervisord: Supervisord, tmp_path: Path) -> None:
    log = tmp_path / "long.log"
    old = f"{at(datetime.now() - timedelta(days=1))} ERROR {'x' * 1000}\n"
    log.write_text(old * 20_000 + f"{at(datetime.now() + timedelta(minutes=1))} INFO new\n")
    expected = {"running": ["web"], "log_files": {"web": str(log)}}
    assert red(check(expected)) == []
    log.write_text(f"{at(datetime.now() + timedelta(minutes=1))} INFO {'x' * 1000}\n" * 20_000)
    result = check(expected)
    assert findings(result)["errors.web"]["status"] == "error"
    assert "more was logged since the start" in findings(result)["errors.web"]["cause"]


def test_a_login_is_used_where_one_is_asked_for(check: RunModule, supervisord: Supervisord) -> None:
    address = f"http://127.0.0.1:{supervisord.port}"
    login = {"username": "observer", "password": PASSWORD}
    result = check({"running": ["web"]}, address=address, **login)
    assert red(result) == []
    assert PASSWORD not in str(result)
    for wrong in ({}, {"username": "observer", "password": "wrong-password"}):
        result = check({"running": ["web"]}, address=address, **wrong)
        assert red(result) == ["reachable"]
        assert "refused the login (401)" in findings(result)["reachable"]["cause"]


# --- a supervisord that is not there, or is none ---------------------------------------------------------------------


@pytest.mark.parametrize("name", misbehaving.BEHAVIOURS)
def test_what_is_no_supervisord_is_one_finding_with_a_cause(name: str, check: RunModule, run_module: RunModule) -> None:
    with misbehaving.listening(misbehaving.BEHAVIOURS[name]) as port:
        target = {"name": "app1", "driver": "supervisor", "address": f"http://127.0.0.1:{port}"}
        result = run_module(
            service_check, targets=[target], expected={"stopped": ["web"]}, timeout_s=1.0, report_only=True
        )
    assert red(result) == ["reachable"]
    assert findings(result)["reachable"]["cause"]
    assert result["verdicts"][0]["took_ms"] < 20_000


@pytest.mark.parametrize(
    ("address", "words"),
    [
        pytest.param("unix:///nonexistent.sock", "No such file", id="no socket"),
        pytest.param(f"unix://{__file__}", "refused", id="no socket but a file"),
        pytest.param("http://127.0.0.1:1", "refused", id="closed port"),
        pytest.param("https://127.0.0.1:1", "neither unix:", id="another scheme"),
        pytest.param("unix://" + "x" * 200, "neither unix:", id="not a path"),
        pytest.param("unix:///" + "x" * 200, "too long", id="too long a path"),
        pytest.param("http://127.0.0.1:99999999", "", id="no such port"),
    ],
)
def test_an_address_without_supervisord_is_one_finding(address: str, words: str, check: RunModule) -> None:
    result = check({"stopped": ["web"]}, address=address)
    assert red(result) == ["reachable"]
    assert words in findings(result)["reachable"]["cause"]


@contextmanager
def unix_listener(path: Path) -> Iterator[None]:
    """Accepts on a unix socket and never answers."""
    stop = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield
        stop.set()


def test_many_hosts_are_looked_at_together_and_one_that_hangs_holds_up_none(
    supervisord: Supervisord, run_module: RunModule, tmp_path: Path
) -> None:
    with unix_listener(tmp_path / "s"):
        targets = [supervisord.target(name=f"app{number}") for number in range(20)]
        targets[3] = supervisord.target(name="hangs", address=f"unix://{tmp_path / 's'}")
        result = run_module(
            service_check, targets=targets, expected={"running": ["web"]}, timeout_s=2.0, report_only=True
        )
    assert [verdict["subject"] for verdict in result["verdicts"] if not verdict["ok"]] == ["hangs"]


# --- a declared command ----------------------------------------------------------------------------------------------


@pytest.fixture
def status(tmp_path: Path) -> list[str]:
    """A status command as an init script's: the name of a process is how it exits."""
    script = tmp_path / "status"
    script.write_text('#!/bin/sh\necho "$1 asked for"\ncase $1 in hangs) sleep 60;; *) exit "$1";; esac\n')
    script.chmod(0o755)
    return [str(script)]


def test_a_command_tells_by_its_exit_code(status: list[str], run_module: RunModule) -> None:
    target = {"name": "app1", "driver": "command", "status_argv": status}
    expected = {"running": ["0"], "stopped": ["3"]}
    result = run_module(service_check, targets=[target], expected=expected, _ansible_check_mode=True)
    assert red(result) == []
    assert [command["argv"] for command in result["commands"]] == [[*status, "0"], [*status, "3"]]
    assert [command["exit_code"] for command in result["commands"]] == [0, 3]


def test_what_runs_is_said_without_judging_it_and_what_cannot_be_told_fails(
    status: list[str], supervisord: Supervisord, run_module: RunModule
) -> None:
    target = {"driver": "command", "status_argv": status}
    told = run_module(service_state, names=["0", "3"], target=target, _ansible_check_mode=True)
    assert (told["running"], told["changed"], len(told["commands"])) == (["0"], False, 2)
    lost = run_module(service_state, names=["0", "4"], target=target)
    assert lost["failed"]
    assert "Nobody can say what runs" in lost["msg"]
    supervisord.start_web(says="up\n")
    own = {"driver": "supervisor", "address": supervisord.address}
    assert run_module(service_state, names=["web", "scheduler"], target=own)["running"] == ["web"]


@pytest.mark.parametrize(
    ("expected", "only", "kind"),
    [
        pytest.param({"running": ["3"]}, "running.3", "fail", id="stopped"),
        pytest.param({"stopped": ["0"]}, "stopped.0", "fail", id="running"),
        pytest.param({"running": ["4"]}, "running.4", "error", id="an exit code that tells nothing"),
        pytest.param({"stopped": ["127"]}, "stopped.127", "error", id="a failure is no proof of a stop"),
        pytest.param({"running": ["0"], "min_uptime_s": 1}, "uptime.0", "error", id="no uptime to be had"),
        pytest.param({"running": ["hangs"]}, "running.hangs", "error", id="hangs"),
        pytest.param({"log_files": {"0": __file__}}, "errors.0", "error", id="no start to be had"),
    ],
)
def test_each_deviation_of_a_command_is_red_in_just_its_own_finding(
    expected: dict[str, Any], only: str, kind: str, status: list[str], run_module: RunModule
) -> None:
    target = {"name": "app1", "driver": "command", "status_argv": status}
    result = run_module(service_check, targets=[target], expected=expected, timeout_s=1.5, report_only=True)
    assert red(result) == [only]
    assert findings(result)[only]["status"] == kind


# --- systemd, which does not run on every machine --------------------------------------------------------------------


def test_a_host_without_systemd_is_one_finding_in_its_words(run_module: RunModule) -> None:
    if Path("/run/systemd/system").exists():
        pytest.skip("systemd runs here")
    target = {"name": "app1", "driver": "systemd", "scope": "system"}
    result = run_module(service_check, targets=[target], expected={"stopped": ["web"]}, report_only=True)
    assert red(result) == ["reachable"]
    cause = findings(result)["reachable"]["cause"]
    assert "systemctl could not be run" in cause or "ended with exit code 1" in cause


def test_systemd_is_asked_about_all_units_at_once(run_module: RunModule, tmp_path: Path) -> None:
    systemctl = tmp_path / "systemctl"
    answer = (
        "MainPID={pid}\nLoadState=loaded\nActiveState={state}\nSubState={sub}\nActiveEnterTimestampMonotonic={at}\n"
    )
    up = answer.format(pid=os.getpid(), state="active", sub="running", at=1)
    down = answer.format(pid=0, state="inactive", sub="dead", at=0)
    systemctl.write_text(f"#!/bin/sh\ncat <<'END'\n{up}\n{down}END\n")
    systemctl.chmod(0o755)
    log = tmp_path / "log"
    log.write_text(f"{at(datetime.now(UTC) + timedelta(days=1))} ERROR in this run\n")
    target = {"name": "app1", "driver": "systemd", "systemctl": str(systemctl), "scope": "user"}
    result = run_module(
        service_check,
        targets=[target],
        expected={"running": ["web"], "stopped": ["jobs.timer"], "min_uptime_s": 1, "log_files": {"web": str(log)}},
        report_only=True,
    )
    assert red(result) == ["errors.web"]
    (command,) = result["commands"]
    assert command["argv"][1:4] == ["--user", "show", "--no-pager"]
    assert command["argv"][-3:] == ["--", "web", "jobs.timer"]


# --- the inventory ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "expected", "words"),
    [
        pytest.param({"address": None}, {"running": ["web"]}, "address", id="supervisor without an address"),
        pytest.param({"driver": "command"}, {"running": ["web"]}, "status_argv", id="command without one"),
        pytest.param({"driver": "runit"}, {"running": ["web"]}, "driver", id="unknown driver"),
        pytest.param({}, {}, "implies no check", id="nothing asked"),
        pytest.param({}, {"running": ["a"], "stopped": ["a"]}, "cannot be both", id="contradiction"),
        pytest.param({"address": f"http://u:{PASSWORD}@h:9001"}, {"running": ["a"]}, "holds a password", id="password"),
    ],
)
def test_a_wrong_inventory_is_refused(
    target: dict[str, Any], expected: dict[str, Any], words: str, supervisord: Supervisord, run_module: RunModule
) -> None:
    wanted = {name: value for name, value in supervisord.target(**target).items() if value is not None}
    result = run_module(service_check, targets=[wanted], expected=expected, report_only=True)
    assert result["failed"]
    assert words in result["msg"]
    assert PASSWORD not in str(result)


def answers_404(connection: socket.socket, _stop: threading.Event) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


def test_another_web_server_is_told_by_its_status() -> None:
    with misbehaving.listening(answers_404) as port, pytest.raises(CannotObserve, match="HTTP status 404"):
        ask_supervisor({"address": f"http://127.0.0.1:{port}"}, Deadline(time.monotonic() + 2))
