# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask supervisord, systemd or a declared command about processes, and read the ends of their logs. Reads only."""

from __future__ import annotations

import base64
import http.client
import socket
import stat
import time
import xmlrpc.client
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from xml.parsers.expat import ExpatError

from .checks import CannotObserve, Known
from .command import MAX_LINE_BYTES, CannotRun, Command, Ran, explain, record, run, shown
from .judge_log import ErrorLines, Log, error_lines, lines_since_marker, lines_since_start, parse_log
from .judge_service import (
    SUPERVISOR_COMES_BACK,
    UNKNOWN,
    Process,
    ServiceObservation,
    asked_names,
    error_patterns,
)
from .masking import Masker
from .pool import Deadline
from .ticks import ticks

T = TypeVar("T")
Options = Mapping[str, Any]
Processes = Mapping[str, Known[Process]]
Keep = Callable[[dict[str, Any]], object]

MAX_LOG_BYTES = 10 * 1024 * 1024
MAX_ANSWER_BYTES = 4 * 1024 * 1024
_ENDING_S = 0.5
_GRACE_S = 0.2
# supervisord takes a turn every second at least.
SETTLED_S = 2.0

SYSTEMD_PROPERTIES = ("LoadState", "ActiveState", "SubState", "MainPID", "ActiveEnterTimestampMonotonic")


def look_at_services(
    target: Options, deadline: Deadline, *, keep: Keep, secrets: Collection[str] = ()
) -> ServiceObservation:
    """Observe the processes that ``target["expected"]`` is about; evidence of commands is given to ``keep``.

    Raises ``CannotObserve`` when the process manager does not answer.
    """
    expected = target["expected"]
    masker = Masker(frozenset(secrets))
    processes = DRIVERS[target["driver"]](target, asked_names(expected), _Asker(deadline, keep, masker))
    errors = {
        name: _attempt(partial(_errors, path, expected, processes[name], masker))
        for name, path in expected.get("log_files", {}).items()
    }
    return ServiceObservation(processes=processes, errors=errors)


# --- supervisord -----------------------------------------------------------------------------------------------------


def supervisor_processes(answer: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Known[Process]]:
    """The named processes out of what ``supervisor.getAllProcessInfo`` answers.

    A name is a program's, ``group:program``, or that of a group: then all of the group count as one. Source: http://supervisord.org/api.html#process-control
    """
    return {name: _together([_supervised(info) for info in answer if is_named(info, name)]) for name in names}


def is_named(info: Mapping[str, Any], name: str) -> bool:
    """Whether a process is meant by a name: its own, its group's, or both with a colon between them."""
    group, program = info["group"], info["name"]
    return name in (program, f"{group}:{program}", group, f"{group}:*")


def _supervised(info: Mapping[str, Any]) -> Process:
    state, pid = info["statename"], info["pid"] or None
    running = state == "RUNNING"
    why = info.get("spawnerr") or (info.get("description") if state in ("BACKOFF", "FATAL", "EXITED") else "")
    return Process(
        state=f"{state} ({why})" if why and not running else state,
        running=running,
        stopped=state not in SUPERVISOR_COMES_BACK and state != "UNKNOWN",
        pid=pid,
        started_at=datetime.fromtimestamp(info["start"], tz=UTC) if info["start"] else None,
        uptime_s=float(info["now"] - info["start"]) if running else None,
    )


def _together(processes: Sequence[Process]) -> Process:
    """Several as one: it runs when all run, has stopped when all have, and is as old as the youngest."""
    if not processes:
        return UNKNOWN
    if len(processes) == 1:
        return processes[0]
    return Process(
        state=", ".join(sorted({process.state for process in processes})),
        running=all(process.running for process in processes),
        stopped=all(process.stopped for process in processes),
        started_at=min((process.started_at for process in processes if process.started_at), default=None),
        uptime_s=min((process.uptime_s for process in processes if process.uptime_s is not None), default=None),
    )


def settled(ask: Callable[[], Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What supervisord says of processes, once none of them has just ended.

    It starts such a one again at its next turn, or never; until then both look the same, because nothing in its answers
    tells whether a program is to be started again. One that has ended anew by then is told as on its way up.
    """
    answer = list(ask())
    ended: dict[tuple[str, str], Any] = {}
    for gone_s in ticks(total_s=SETTLED_S, every_s=SETTLED_S / 4):
        ended = {_which(info): ended.get(_which(info), info["start"]) for info in answer if _has_ended(info)}
        if not ended or gone_s >= SETTLED_S:
            break
        answer = list(ask())
    anew = {which for which, began in ended.items() if began != {_which(i): i["start"] for i in answer}[which]}
    return [info | {"statename": "STARTING"} if _which(info) in anew else info for info in answer]


def _which(info: Mapping[str, Any]) -> tuple[str, str]:
    return info["group"], info["name"]


def _has_ended(info: Mapping[str, Any]) -> bool:
    return bool(info["statename"] == "EXITED")


def _supervisor(target: Options, names: Sequence[str], asker: _Asker) -> Processes:
    def ask() -> list[dict[str, Any]]:
        return [info for info in ask_supervisor(target, asker.deadline) if any(is_named(info, name) for name in names)]

    return supervisor_processes(settled(ask), names)


def ask_supervisor(
    target: Options, deadline: Deadline, *, question: str = "getAllProcessInfo", answers: str = "statename"
) -> list[dict[str, Any]]:
    """What supervisord says of all its processes; raises ``CannotObserve`` with the cause.

    ``question`` is one of its methods without parameters, ``answers`` a field that each process has in the answer.
    """
    processes = call_supervisor(target, deadline, f"supervisor.{question}")
    if not isinstance(processes, list) or any(not isinstance(each, dict) or answers not in each for each in processes):
        raise CannotObserve(f"{target['address']} answered, but not as supervisord does")
    return processes


def call_supervisor(target: Options, deadline: Deadline, method: str, *parameters: Any) -> Any:
    """What supervisord answers to a method; raises ``CannotObserve``, as ``SupervisorFault`` where it refuses.

    Source: http://supervisord.org/api.html
    """
    address = target["address"]
    connection = _connection(address, deadline)
    headers = {"Content-Type": "text/xml"}
    if target.get("username"):
        login = f"{target['username']}:{target.get('password') or ''}"
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    try:
        connection.request("POST", "/RPC2", xmlrpc.client.dumps(parameters, method), headers)
        answer = connection.getresponse()
        return _understood(address, answer.status, _body(answer, deadline))
    except (OSError, http.client.HTTPException) as reason:
        words = str(getattr(reason, "strerror", None) or reason) or type(reason).__name__
        raise CannotObserve(f"no supervisord answered at {address}: {words}") from reason
    finally:
        connection.close()


class SupervisorFault(CannotObserve):
    """A request that supervisord refused; ``code`` is its own, such as 60 for a process that runs already."""

    def __init__(self, address: str, fault: xmlrpc.client.Fault) -> None:
        super().__init__(f"supervisord at {address} refused: {fault.faultString}")
        self.code = fault.faultCode


def _connection(address: str, deadline: Deadline) -> http.client.HTTPConnection:
    parts = urlsplit(address)
    if parts.scheme == "unix" and parts.path:
        return _UnixConnection(parts.path, deadline.left_s())
    if parts.scheme == "http" and parts.hostname:
        return http.client.HTTPConnection(parts.hostname, parts.port or 9001, timeout=deadline.left_s())
    raise CannotObserve(f"{address} is neither unix:///path/of/supervisor.sock nor http://host:port")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _body(answer: http.client.HTTPResponse, deadline: Deadline) -> bytes:
    body = b""
    while chunk := answer.read1(64 * 1024):
        body += chunk
        deadline.left_s()
        if len(body) > MAX_ANSWER_BYTES:
            raise CannotObserve(f"the answer is larger than {MAX_ANSWER_BYTES} bytes: not read to its end")
    return body


def _understood(address: str, status: int, body: bytes) -> Any:
    if status == 401:
        raise CannotObserve(f"supervisord at {address} refused the login (401): give username and password")
    if status != 200:
        raise CannotObserve(f"{address} answered with HTTP status {status}: is this supervisord?")
    try:
        return xmlrpc.client.loads(body)[0][0]
    except xmlrpc.client.Fault as fault:
        raise SupervisorFault(address, fault) from fault
    except (ExpatError, xmlrpc.client.Error, LookupError, TypeError, ValueError) as strange:
        raise CannotObserve(f"{address} answered, but not as supervisord does") from strange


# --- commands --------------------------------------------------------------------------------------------------------


class _Asker:
    """Runs commands that only read, within the deadline, and keeps each as evidence."""

    def __init__(self, deadline: Deadline, keep: Keep, masker: Masker) -> None:
        self.deadline, self._keep, self._masker = deadline, keep, masker

    def ask(self, argv: Sequence[str], chdir: str | None = None) -> Ran:
        timeout_s = max(0.1, self.deadline.left_s() - _ENDING_S)
        command = Command(argv=argv, chdir=chdir, timeout_s=timeout_s, grace_s=_GRACE_S, keep_stdout=True)
        try:
            ran = run(command)
        except CannotRun as reason:
            raise CannotObserve(str(reason)) from reason
        self._keep(record(command, ran, self._masker))
        if ran.timed_out:
            raise CannotObserve(explain(command, ran, self._masker))
        return ran

    def refusal(self, argv: Sequence[str], ran: Ran) -> CannotObserve:
        return CannotObserve(explain(Command(argv=argv), ran, self._masker))


def _systemd(target: Options, names: Sequence[str], asker: _Asker) -> Processes:
    argv = [target["systemctl"], f"--{target['scope']}", "show", "--no-pager"]
    argv += [f"--property={','.join(SYSTEMD_PROPERTIES)}", "--", *names]
    ran = asker.ask(argv)
    if ran.exit_code != 0:
        raise asker.refusal(argv, ran)
    return systemd_processes(ran.stdout, names, monotonic_s=time.clock_gettime(time.CLOCK_MONOTONIC), now_s=time.time())


def systemd_processes(stdout: str, names: Sequence[str], *, monotonic_s: float, now_s: float) -> dict[str, Process]:
    """The named units out of what ``systemctl show`` prints: one paragraph each, in the order in which they were asked.

    ``monotonic_s`` is CLOCK_MONOTONIC, in which systemd tells since when a unit is active; ``now_s`` is in seconds
    since 1970. Source: systemd's manual, systemctl(1) and org.freedesktop.systemd1(5).
    """
    paragraphs = [paragraph for paragraph in stdout.strip().split("\n\n") if paragraph.strip()]
    if len(paragraphs) != len(names):
        raise CannotObserve(f"systemctl told of {len(paragraphs)} units where {len(names)} were asked for")
    units = [dict(line.split("=", 1) for line in text.splitlines() if "=" in line) for text in paragraphs]
    return {name: _unit(unit, monotonic_s, now_s) for name, unit in zip(names, units, strict=True)}


def _unit(unit: Mapping[str, str], monotonic_s: float, now_s: float) -> Process:
    try:
        load, active, sub = unit["LoadState"], unit["ActiveState"], unit["SubState"]
        entered_s = int(unit["ActiveEnterTimestampMonotonic"]) / 1_000_000
        pid = int(unit.get("MainPID", 0)) or None
    except (KeyError, ValueError):
        raise CannotObserve("systemctl's answer has another shape than that of systemd") from None
    if load in ("not-found", "bad-setting", "error"):
        return Process(state=f"no such unit ({load})", running=False, stopped=False)
    # A unit whose process has ended well stays active with RemainAfterExit: nothing runs there.
    running = active == "active" and sub != "exited"
    return Process(
        state=f"{active} ({sub})",
        running=running,
        stopped=active in ("inactive", "failed"),
        pid=pid,
        started_at=datetime.fromtimestamp(now_s - (monotonic_s - entered_s), tz=UTC) if entered_s else None,
        uptime_s=monotonic_s - entered_s if running and entered_s else None,
    )


def _by_command(target: Options, names: Sequence[str], asker: _Asker) -> Processes:
    def ask(name: str) -> Process:
        argv = [*target["status_argv"], name]
        ran = asker.ask(argv, target.get("chdir"))
        running, stopped = ran.exit_code == 0, ran.exit_code in target["stopped_codes"]
        if not running and not stopped:
            raise asker.refusal(argv, ran)
        return Process(state="running" if running else f"exit code {ran.exit_code}", running=running, stopped=stopped)

    return {name: _attempt(partial(ask, name)) for name in names}


DRIVERS: Mapping[str, Callable[[Options, Sequence[str], _Asker], Processes]] = {
    "supervisor": _supervisor,
    "systemd": _systemd,
    "command": _by_command,
}


# --- logs ------------------------------------------------------------------------------------------------------------


def _errors(path: str, expected: Options, process: Known[Process], masker: Masker) -> ErrorLines:
    if isinstance(process, CannotObserve):
        raise process
    log = read_log(path)
    marker = expected.get("log_since")
    lines = lines_since_marker(log, marker, process.pid) if marker else lines_since_start(log, process.started_at)
    found = error_lines(lines, error_patterns(expected))
    return ErrorLines(count=found.count, first=shown([found.first], masker)[0] if found.first is not None else None)


def read_log(path: str) -> Log:
    """The end of a log file; raises ``CannotObserve`` when it cannot be read."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise CannotObserve(f"{path} is not a regular file: what was written to it is gone")
        with Path(path).open("rb") as file:
            status = Path(path).stat()
            skipped = max(0, status.st_size - MAX_LOG_BYTES)
            file.seek(skipped)
            data = file.read(MAX_LOG_BYTES)
    except OSError as reason:
        raise CannotObserve(f"the log {path} cannot be read: {reason.strerror}") from reason
    return parse_log(data, whole=skipped == 0, modified_s=status.st_mtime, max_line=MAX_LINE_BYTES)


def _attempt(look: Callable[[], T]) -> Known[T]:
    try:
        return look()
    except CannotObserve as reason:
        return reason
