# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one command within bounds of time and memory, and keep what it said as evidence (checklist rows B2, B7)."""

from __future__ import annotations

import errno
import os
import platform
import re
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from .env_file import read_env_file
from .masking import SHORTEST_ANYWHERE, Masker, find_secrets, is_sensitive

T = TypeVar("T")
Clock = Callable[[], float]

KEPT_LINES = 10
MAX_STDOUT_BYTES = 1024 * 1024
# A line is masked before it is cut to what is shown: much more is read than shown, so that no secret is cut in half.
MAX_LINE_BYTES = 16 * 1024
MAX_SHOWN_CHARACTERS = 1000

# Lines that say nothing, and what PostgreSQL and SQLAlchemy, and so Alembic, add to the line that names the error.
AFTERWORD = re.compile(r"\^?$|LINE \d+: |\[SQL: |\[parameters: |\(Background on this error at: ")

TERMINATION_GRACE_S = 5.0
# What a program left behind still holds open is not waited for longer than this.
DRAIN_S = 0.5
POLL_S = 0.05
_CHUNK_BYTES = 64 * 1024


class CannotRun(Exception):
    """A command could not be started. The text is ready for a person and free of credentials."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to run: no shell is involved. ``environment`` adds to what this process inherited."""

    argv: Sequence[str]
    chdir: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = 600.0
    grace_s: float = TERMINATION_GRACE_S
    keep_stdout: bool = False


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What became of a command. The lines of stdout and stderr are merged, raw and not masked.

    ``exit_code`` is negative for a command that a signal ended. ``last_lines`` repeats none of ``first_lines``.
    ``stdout`` is empty unless the command asked for it to be kept, and is cut where ``stdout_complete`` is false.
    """

    exit_code: int
    took_ms: int
    timed_out: bool
    first_lines: tuple[str, ...]
    last_lines: tuple[str, ...]
    line_count: int
    stdout: str = ""
    stdout_complete: bool = True


def environment_of(env_file: str | None, environment: Mapping[str, Any] | None) -> dict[str, str]:
    """The variables that a file and a declaration set, the declaration having the last word."""
    declared = {str(name): str(value) for name, value in (environment or {}).items()}
    return (read_env_file(env_file) if env_file else {}) | declared


def harmless_values(environment: Mapping[str, Any] | None) -> set[str]:
    """Values of an environment that hide nothing and that hiding would shred every result: ``PORT: "80"`` is no secret.

    Ansible takes each value of a ``no_log`` dictionary for a secret, and even a count that contains it is then hidden.
    """
    declared = {name: str(value) for name, value in (environment or {}).items()}
    return {
        value for name, value in declared.items() if len(value) < SHORTEST_ANYWHERE and not is_sensitive(name)
    } - find_secrets(declared)


def masker_for(command: Command, secrets: Sequence[str] | frozenset[str] | set[str] = frozenset()) -> Masker:
    """A masker that knows ``secrets`` and whatever in the command's environment is one, by its name or as a URL's."""
    return Masker(frozenset(secrets) | find_secrets(dict(command.environment)))


def run(command: Command, *, clock: Clock = time.monotonic) -> Ran:
    """Run to the end, or to ``timeout_s``: then its process group is terminated, and killed ``grace_s`` later.

    Raises ``CannotRun`` for a command that cannot be started.
    """
    started = clock()
    process = _start(command)
    output = _Output(process, keep_stdout=command.keep_stdout)
    try:
        output.follow(until=started + command.timeout_s, clock=clock)
        timed_out = process.poll() is None
        if timed_out:
            _signal_group(process, signal.SIGTERM)
            output.follow(until=clock() + command.grace_s, clock=clock)
            _signal_group(process, signal.SIGKILL)
        process.wait()
        output.drain(until=clock() + DRAIN_S, clock=clock)
    finally:
        if process.poll() is None:
            _signal_group(process, signal.SIGKILL)
            process.wait()
        output.close()
    took_ms = round((clock() - started) * 1000)
    return Ran(exit_code=process.returncode, took_ms=took_ms, timed_out=timed_out, **output.result())


def record(command: Command, ran: Ran, masker: Masker) -> dict[str, Any]:
    """The evidence of one command, masked: an element of a module's ``commands``."""
    return {
        "argv": masker.mask(list(command.argv)),
        "chdir": command.chdir or str(Path.cwd()),
        "host": platform.node(),
        "exit_code": ran.exit_code,
        "took_ms": ran.took_ms,
        "first_lines": shown(ran.first_lines, masker),
        "last_lines": shown(ran.last_lines, masker),
        "line_count": ran.line_count,
    }


def shown(lines: Sequence[str], masker: Masker) -> list[str]:
    """The lines masked, and only then cut to a length that a report can hold."""
    masked: list[str] = masker.mask(list(lines))
    return [line if len(line) <= MAX_SHOWN_CHARACTERS else f"{line[:MAX_SHOWN_CHARACTERS]}..." for line in masked]


def explain(command: Command, ran: Ran, masker: Masker) -> str:
    """One sentence on how the command ended, with the last thing that it said."""
    lines = [line for line in shown([*ran.first_lines, *ran.last_lines], masker) if not AFTERWORD.match(line.strip())]
    said = f"Its last line: {lines[-1].strip()}" if lines else "It printed nothing."
    program = masker.mask(str(command.argv[0]))
    if ran.timed_out:
        return f"{program} was ended because it had not finished after {command.timeout_s:g} s. {said}"
    if ran.exit_code < 0:
        return f"{program} was ended by signal {-ran.exit_code} ({signal.strsignal(-ran.exit_code)}). {said}"
    return f"{program} ended with exit code {ran.exit_code}. {said}"


# --- starting and ending ---------------------------------------------------------------------------------------------


def _start(command: Command) -> subprocess.Popen[bytes]:
    if not command.argv or not command.argv[0]:
        raise CannotRun("argv is empty: name a program to run")
    if command.chdir and not Path(command.chdir).is_dir():
        raise CannotRun(f"{command.argv[0]} was not run: its working directory {command.chdir} is not a directory here")
    try:
        return subprocess.Popen(
            list(command.argv),
            cwd=command.chdir,
            env={**os.environ, **command.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # One pipe for both keeps their order. Two are needed only where stdout must be told apart.
            stderr=subprocess.PIPE if command.keep_stdout else subprocess.STDOUT,
            # Its own session: its children are ended with it, and it finds no terminal to ask for a password.
            start_new_session=True,
        )
    except (OSError, ValueError) as reason:
        raise CannotRun(f"{command.argv[0]} could not be run: {_why_not(command, reason)}") from reason


def _why_not(command: Command, reason: OSError | ValueError) -> str:
    code = getattr(reason, "errno", None)
    program = Path(command.chdir or ".", command.argv[0])
    if code == errno.EACCES and not os.access(command.chdir or ".", os.X_OK):
        return f"permission denied for its working directory {command.chdir}"
    if code == errno.EACCES:
        return "permission denied: is the file executable for this user?"
    if code == errno.ENOENT and os.sep in command.argv[0] and program.exists():
        return "the file is there, but the interpreter that its first line names is not"
    if code == errno.ENOENT:
        return "no such program" + ("" if os.sep in command.argv[0] else " in PATH")
    if code == errno.ENOEXEC:
        return "it is neither a program nor a script that names its interpreter in the first line"
    return (getattr(reason, "strerror", None) or str(reason)).lower()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


# --- output ----------------------------------------------------------------------------------------------------------


class _Output:
    """Reads what a process prints as it comes, and keeps no more of it than the evidence needs."""

    def __init__(self, process: subprocess.Popen[bytes], *, keep_stdout: bool) -> None:
        self._process = process
        self._selector = selectors.DefaultSelector()
        self._lines: Ends[bytes] = Ends()
        self._partial: dict[IO[bytes], bytearray] = {}
        self._stdout = bytearray() if keep_stdout else None
        self._stdout_bytes = 0
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                self._partial[pipe] = bytearray()
                self._selector.register(pipe, selectors.EVENT_READ)

    def follow(self, *, until: float, clock: Clock) -> None:
        """Read until the process has ended or the time is up."""
        while self._process.poll() is None and (left_s := until - clock()) > 0:
            if self._selector.get_map():
                self._read(min(left_s, POLL_S))
            else:
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(left_s)

    def drain(self, *, until: float, clock: Clock) -> None:
        """Read what is there already. A program left behind may hold the pipe open, or fill it, without end."""
        while self._selector.get_map() and clock() < until and self._read(0):
            pass

    def close(self) -> None:
        for pipe, partial in self._partial.items():
            if partial:
                self._lines.add(bytes(partial))
            pipe.close()
        self._selector.close()

    def result(self) -> dict[str, Any]:
        stdout = bytes(self._stdout or b"")
        return {
            "first_lines": tuple(map(_line, self._lines.first)),
            "last_lines": tuple(map(_line, self._lines.last)),
            "line_count": self._lines.count,
            "stdout": _text(stdout),
            "stdout_complete": self._stdout is None or self._stdout_bytes == len(stdout),
        }

    def _read(self, timeout_s: float) -> bool:
        """Read once from each pipe that has something; false when none had."""
        ready = self._selector.select(timeout_s)
        for key, _events in ready:
            pipe: Any = key.fileobj
            chunk = os.read(key.fd, _CHUNK_BYTES)
            if chunk:
                self._take(pipe, chunk)
            else:
                self._selector.unregister(pipe)
        return bool(ready)

    def _take(self, pipe: IO[bytes], chunk: bytes) -> None:
        if self._stdout is not None and pipe is self._process.stdout:
            self._stdout += chunk[: MAX_STDOUT_BYTES - len(self._stdout)]
            self._stdout_bytes += len(chunk)
        partial = self._partial[pipe]
        *ended, rest = chunk.split(b"\n")
        for end in ended:
            self._lines.add(bytes(partial) + end[: MAX_LINE_BYTES - len(partial)])
            partial.clear()
        partial += rest[: MAX_LINE_BYTES - len(partial)]


class Ends(Generic[T]):
    """The first and the last few of many, and their number; ``last`` repeats none of ``first``."""

    def __init__(self) -> None:
        self.first: list[T] = []
        self.last: deque[T] = deque(maxlen=KEPT_LINES)
        self.count = 0

    def add(self, line: T) -> None:
        """Take note of one more."""
        self.count += 1
        if len(self.first) < KEPT_LINES:
            self.first.append(line)
        else:
            self.last.append(line)


def _line(line: bytes) -> str:
    return _text(line.rstrip(b"\r"))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
