"""Who runs and who listens, read from /proc."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

PROC = Path("/proc")
LISTEN = "0A"  # the state column of /proc/net/tcp, see proc(5)


def may_bind(address: str) -> bool:
    """Whether this machine has the address: Linux has all of 127.0.0.0/8, other systems only declared aliases."""
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def listening_inode(address: str, port: int) -> str | None:
    """The socket that a server on this address and port would collide with, or None."""
    # The kernel prints the address as a little-endian word.
    ours = socket.inet_aton(address)[::-1].hex().upper()
    for table, addresses in (("tcp", {ours, "0" * 8}), ("tcp6", {"0" * 32})):
        for line in _lines(PROC / "net" / table):
            fields = line.split()
            local, _, local_port = fields[1].partition(":")
            if fields[3] == LISTEN and local in addresses and int(local_port, 16) == port:
                return fields[9]
    return None


def holder(inode: str) -> int | None:
    """The process that holds the socket; None when it belongs to somebody whose files we may not see."""
    wanted = f"socket:[{inode}]"
    for pid in pids():
        with contextlib.suppress(OSError):
            for handle in (PROC / str(pid) / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(handle) == wanted:
                        return pid
    return None


def name_of(pid: int) -> str:
    """A process as a person would name it: its short name and id (never its arguments, which may hold a secret)."""
    try:
        return f"{(PROC / str(pid) / 'comm').read_text().strip()} (process {pid})"
    except OSError:
        return f"process {pid}"


def pids() -> Iterator[int]:
    """Every process there is."""
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())


def of_state(state_dir: Path) -> list[int]:
    """The lab's own processes, whoever their parent is now."""
    return [pid for pid in pids() if pid != os.getpid() and (_is_marked(pid, state_dir) or _works_for(pid, state_dir))]


def end(victims: Iterable[int], *, patience_s: float = 8) -> None:
    """Ask the processes to end, wait, then make the rest end."""
    remaining = set(victims)
    for signum, wait_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, 2.0)):
        for pid in remaining:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signum)
        remaining = wait_gone(remaining, wait_s)


def wait_gone(victims: Iterable[int], patience_s: float) -> set[int]:
    """Wait until the processes are gone; those that are not, after so many seconds."""
    remaining, deadline = set(victims), time.monotonic() + patience_s
    while (remaining := {pid for pid in remaining if _alive(pid)}) and time.monotonic() < deadline:
        time.sleep(0.05)
    return remaining


def _alive(pid: int) -> bool:
    # A zombie has ended; that its parent has not noticed is not our concern.
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _is_marked(pid: int, state_dir: Path) -> bool:
    """Started by one of the lab's process managers: they put this variable into every environment."""
    mark = f"CUTOVER_LAB_PROCESS={state_dir}".encode()
    with contextlib.suppress(OSError):
        environment = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
        return any(entry == mark or entry.startswith(mark + b"/") for entry in environment)
    return False


def _works_for(pid: int, folder: Path) -> bool:
    """For PostgreSQL and Redis, which write a title over their environment: they work in the folder and say so.

    A shell that merely stands in the folder does neither, and is left alone.
    """
    with contextlib.suppress(OSError):
        if Path(os.readlink(PROC / str(pid) / "cwd")).is_relative_to(folder):
            title = (PROC / str(pid) / "cmdline").read_bytes()
            return os.fsencode(folder) in title or title.startswith(b"postgres:")
    return False


def _lines(table: Path) -> list[str]:
    try:
        return table.read_text().splitlines()[1:]
    except OSError:
        return []
