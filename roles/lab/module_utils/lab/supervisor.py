"""Speak with a supervisord over its unix socket (XML-RPC, http://supervisord.org/api.html)."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
import xmlrpc.client
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .trouble import Trouble

RUNNING = frozenset({"RUNNING", "STARTING"})
# It died a moment ago, and supervisord is about to start it again by itself: until then it refuses to be told to.
COMES_BACK = RUNNING | {"BACKOFF"}
DELIBERATE = frozenset({"STOPPED", "STOPPING"})
TIMEOUT_S = 30.0
NO_ONE = (OSError, http.client.HTTPException)


class Supervisor:
    """One supervisord."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rpc: Any = xmlrpc.client.ServerProxy("http://supervisor", transport=_UnixTransport(path)).supervisor

    def states(self) -> dict[str, str] | None:
        """The state of each program by name, or None when no supervisord answers."""
        try:
            return {program["name"]: program["statename"] for program in self._rpc.getAllProcessInfo()}
        except (*NO_ONE, xmlrpc.client.Error):
            return None

    def start(self, program: str) -> bool:
        """Start the program, without waiting for it; whether it was down."""
        with contextlib.suppress(xmlrpc.client.Fault):
            self._rpc.startProcess(program, False)
            return True
        if (self.states() or {}).get(program) in COMES_BACK:
            return False
        raise Trouble(f"{program} could not be started: see {self.path.parent.parent / 'log' / program}.log")

    def stop(self, programs: Iterable[str]) -> None:
        """Stop the programs side by side, and wait until they have ended."""
        named = list(programs)
        for program in named:
            # NOT_RUNNING is what we want.
            with contextlib.suppress(xmlrpc.client.Fault):
                self._rpc.stopProcess(program, False)
        deadline = time.monotonic() + TIMEOUT_S
        while any((self.states() or {}).get(program) in {*COMES_BACK, "STOPPING"} for program in named):
            if time.monotonic() > deadline:
                logs = self.path.parent.parent / "log"
                raise Trouble(f"{', '.join(named)} did not stop within {TIMEOUT_S:.0f} s: see {logs}.")
            time.sleep(0.05)

    def running(self) -> list[str]:
        """The programs that run, sorted."""
        return sorted(name for name, state in (self.states() or {}).items() if state in RUNNING)

    def shut_down(self) -> int | None:
        """Ask for an orderly end of all programs and of supervisord itself; its process id, None when it was down."""
        with contextlib.suppress(*NO_ONE, xmlrpc.client.Error):
            pid = int(self._rpc.getPID())
            self._rpc.shutdown()
            return pid
        return None


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _UnixConnection(self.path)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("supervisor", timeout=TIMEOUT_S)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))
