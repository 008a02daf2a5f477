# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of processes and services: what each breaks, what it remembers, and an undo that may be tried again and again.

Needs nothing but Python, as every host does. All of it is imported before a keeper starts: a module's files are gone by
the time at which the fault is undone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .apply_supervisor import ALREADY_STARTED, NOT_RUNNING
from .command import CannotRun, Command, environment_of, explain, masker_for, run
from .drills import BY_ITSELF
from .keeper import Fault, FaultError, Memory
from .observe_service import SupervisorFault, call_supervisor
from .pool import Deadline
from .ticks import ticks

Options = Mapping[str, Any]

# What a process manager may take to stop or start something, in seconds.
MANAGER_S = 30.0
# How long a manager may take to notice that something died.
RESTART_S = 5.0
# How long an instance may take to end when it is asked to.
ENDING_S = 10.0
# Looked up before any keeper starts.
_LIBC, _PR_SET_PDEATHSIG = ctypes.CDLL(None, use_errno=True), 1


# Makes the declared fault. With the memory of one that was caused before, it is only there to be undone; without any,
# what is to be broken is looked at first, and ``FaultError`` or ``CannotObserve`` raised when it is not well.
Kind = Callable[[Options, Memory | None], Fault]

# --- processes --------------------------------------------------------------------------------------------------------


def _pause(options: Options, memory: Memory | None) -> Fault:
    """Stop processes as SIGSTOP does: their listeners take connections, and nobody answers."""
    remembered = memory or {"processes": list(_named_processes(options))}

    def pause() -> None:
        for process in remembered["processes"]:
            _signal(process, signal.SIGSTOP)

    def go_on() -> None:
        # Parents last: they must not find a child that answers nothing.
        for process in reversed(remembered["processes"]):
            with suppress(ProcessLookupError):
                _signal(process, signal.SIGCONT)

    return Fault(
        what=f"{_who(options)} is paused",
        undo_said="let its processes go on (SIGCONT)",
        memory=remembered,
        cause=pause,
        undo=go_on,
    )


def _kill(options: Options, memory: Memory | None) -> Fault:
    """End a process as a crash does. Whoever manages it starts it again, or else the undo does."""
    remembered = memory or {"processes": list(_named_processes(options))}

    def kill() -> None:
        for process in remembered["processes"]:
            _signal(process, signal.SIGKILL)

    def have_it_run() -> str:
        manager = _manager(options)
        for _ in ticks(total_s=RESTART_S, every_s=0.1):
            if manager.runs():
                return f"{manager.name} {BY_ITSELF}"
        manager.start()
        return f"{manager.name} had not started it again within {RESTART_S:g} s, so it was told to"

    return Fault(
        what=f"{_who(options)} is killed",
        undo_said="its process manager starts it again; where it does not, it is started",
        memory=remembered,
        cause=kill,
        undo=have_it_run,
    )


def _stop(options: Options, memory: Memory | None) -> Fault:
    """Stop a service by its process manager: connections are refused."""
    manager = _manager(options)
    if memory is None and not manager.runs():
        raise FaultError(f"{_who(options)} does not run, so it cannot be stopped: nothing was broken")
    return Fault(
        what=f"{_who(options)} is stopped", undo_said=f"start it by {manager.name}", memory={},
        cause=manager.stop, undo=manager.start,
    )  # fmt: skip


def _who(options: Options) -> str:
    return str(options.get("service") or options.get("pid_file"))


def _named_processes(options: Options) -> Iterator[dict[str, int]]:
    """The process that is meant, and with ``children`` all below it; each with the time at which it began."""
    pid = _pid_in(options["pid_file"]) if options.get("pid_file") else _manager(options).pid()
    if not pid or not _alive(pid):
        raise FaultError(f"{_who(options)} does not run, so nothing was broken")
    pids = [pid, *(_below(pid) if options.get("children") else ())]
    for each in pids:
        began = _began(each)
        if began is not None:
            yield {"pid": each, "began": began}


def _pid_in(path: str) -> int:
    try:
        return int(Path(path).read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError) as reason:
        raise FaultError(f"{path} names no process: {reason}") from reason


def _alive(pid: int) -> bool:
    return _began(pid) is not None


def _began(pid: int) -> int | None:
    """When a process began, in ticks since the machine did: a pid that another process got since has another one."""
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] != "Z" else None


def _stat(pid: int) -> list[str] | None:
    """What /proc/PID/stat says after the name, which may hold anything. Source: proc(5)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def _below(pid: int) -> list[int]:
    parents = {
        int(path.name): int(fields[1])
        for path in Path("/proc").iterdir()
        if path.name.isdigit() and (fields := _stat(int(path.name)))
    }
    found, fresh = [], [pid]
    while fresh:
        fresh = [child for child, parent in parents.items() if parent in fresh]
        found += fresh
    return found


def _signal(process: Mapping[str, int], number: signal.Signals) -> None:
    """Signal this very process: raises ``ProcessLookupError`` when it is gone, also where its pid is another's now."""
    descriptor = os.pidfd_open(process["pid"])
    try:
        # The descriptor holds on to whoever has the pid at this moment; is that still the one that was meant?
        if _began(process["pid"]) != process["began"]:
            raise ProcessLookupError(f"process {process['pid']} is another one by now")
        signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)


# --- process managers -------------------------------------------------------------------------------------------------


class _Supervisor:
    """A program of supervisord."""

    name = "supervisord"

    def __init__(self, manager: Options, service: str) -> None:
        self._manager, self._service = manager, service

    def pid(self) -> int:
        return int(self._ask("getProcessInfo")["pid"])

    def runs(self) -> bool:
        return bool(self._ask("getProcessInfo")["statename"] in ("RUNNING", "STARTING"))

    def stop(self) -> None:
        self._change("stopProcess", NOT_RUNNING)

    def start(self) -> None:
        self._change("startProcess", ALREADY_STARTED)

    def _change(self, method: str, harmless: int) -> None:
        try:
            self._ask(method)
        except SupervisorFault as refused:
            if refused.code != harmless:
                raise

    def _ask(self, method: str) -> Any:
        return call_supervisor(
            self._manager, Deadline(time.monotonic() + MANAGER_S), f"supervisor.{method}", self._service
        )


class _Systemd:
    """A unit of systemd."""

    name = "systemd"

    def __init__(self, manager: Options, service: str) -> None:
        self._argv = [manager["systemctl"], f"--{manager['scope']}", "--no-pager"]
        self._service = service

    def pid(self) -> int:
        return int(self._show("MainPID") or 0)

    def runs(self) -> bool:
        return self._show("ActiveState") in ("active", "activating", "reloading")

    def stop(self) -> None:
        _run([*self._argv, "stop", "--", self._service])

    def start(self) -> None:
        _run([*self._argv, "start", "--", self._service])

    def _show(self, name: str) -> str:
        return _run([*self._argv, "show", f"--property={name}", "--value", "--", self._service]).strip()


class _ByCommand:
    """A service that is managed by commands: they get the state, or nothing, and its name as their last arguments."""

    name = "its command"

    def __init__(self, manager: Options, service: str) -> None:
        self._manager, self._service = manager, service

    def pid(self) -> int:
        raise FaultError(
            f"a process manager that is reached by commands tells no pid: declare pid_file for {self._service}"
        )

    def runs(self) -> bool:
        return _ends([*self._manager["status_argv"], self._service]) == 0

    def stop(self) -> None:
        _run([*self._manager["set_argv"], "stopped", self._service])

    def start(self) -> None:
        _run([*self._manager["set_argv"], "started", self._service])


_Manager = _Supervisor | _Systemd | _ByCommand
_MANAGERS: Mapping[str, Callable[[Options, str], _Manager]] = {
    "supervisor": _Supervisor,
    "systemd": _Systemd,
    "command": _ByCommand,
}


def _manager(options: Options) -> _Manager:
    manager, service = options.get("manager"), options.get("service")
    if not manager or not service:
        raise FaultError("service and manager are missing: they say what is broken, and who runs it")
    return _MANAGERS[manager["driver"]](manager, service)


def _run(argv: Sequence[str], timeout_s: float = MANAGER_S) -> str:
    command = Command(argv=argv, timeout_s=timeout_s, keep_stdout=True)
    try:
        ran = run(command)
    except CannotRun as reason:
        raise FaultError(str(reason)) from reason
    if ran.timed_out or ran.exit_code != 0:
        raise FaultError(explain(command, ran, masker_for(command)))
    return ran.stdout


def _ends(argv: Sequence[str]) -> int:
    try:
        return run(Command(argv=argv, timeout_s=MANAGER_S)).exit_code
    except CannotRun as reason:
        raise FaultError(str(reason)) from reason


# --- commands ---------------------------------------------------------------------------------------------------------


def _command(options: Options, memory: Memory | None) -> Fault:
    """Break by a declared command, and undo by another one."""
    if not options.get("break_argv") or not options.get("undo_argv"):
        raise FaultError("break_argv and undo_argv are missing: a fault by command needs both")
    return Fault(
        what=f"{' '.join(options['break_argv'])} is in effect", undo_said=" ".join(options["undo_argv"]), memory={},
        cause=lambda: _done(options["break_argv"]), undo=lambda: _done(options["undo_argv"]),
    )  # fmt: skip


def _done(argv: Sequence[str]) -> None:
    _run(argv)


# --- an instance beside the others ------------------------------------------------------------------------------------


def _instance(options: Options, memory: Memory | None) -> Fault:
    """Run one more instance of something, with settings that are wrong: nobody is sent to it, and it can be asked."""
    if not options.get("argv"):
        raise FaultError("argv is missing: it says what is run")
    if memory is None:
        environment = environment_of(options.get("env_file"), options.get("environment"))
    started: list[subprocess.Popen[bytes]] = []

    def run_it() -> Memory:
        process = subprocess.Popen(
            options["argv"],
            cwd=options.get("chdir"),
            env={"PATH": os.environ.get("PATH", os.defpath), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_die_with_the_keeper,
        )
        started.append(process)
        began = _began(process.pid)
        return {"processes": [{"pid": process.pid, "began": began}] if began is not None else []}

    def end_it() -> str:
        for process in (memory or {}).get("processes", []):
            with suppress(ProcessLookupError):
                _signal(process, signal.SIGTERM)
                _wait_for_the_end(process)
        for own in started:
            own.terminate()
            with suppress(subprocess.TimeoutExpired):
                own.wait(ENDING_S)
            own.kill()
            own.wait()
        return "it was ended"

    return Fault(
        what=f"one more instance runs, {options['argv'][0]}", undo_said="end it", memory=memory or {},
        cause=run_it, undo=end_it,
    )  # fmt: skip


def _die_with_the_keeper() -> None:
    """In the child: have the kernel end it when its parent ends. Source: prctl(2)."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_for_the_end(process: Mapping[str, int]) -> None:
    """Wait for somebody else's child, and kill it when it takes too long."""
    for _ in ticks(total_s=ENDING_S, every_s=0.1):
        if _began(process["pid"]) != process["began"]:
            return
    _signal(process, signal.SIGKILL)


PROCESS_KINDS: Mapping[str, Kind] = {
    "pause": _pause,
    "kill": _kill,
    "stop": _stop,
    "command": _command,
    "instance": _instance,
}
