# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's own programs, for those that bring a database back: each is run, judged, and kept as evidence."""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from .backup import connection_string, program
from .command import CannotRun, Command, Ran, explain, masker_for, record, run, shown
from .restore import CannotRestore, TableName, rows_in_script

MAX_SAID_BYTES = 64 * 1024
COMPLAINT_LINES = 3


@dataclass(kw_only=True)
class Programs:
    """Runs PostgreSQL's programs, and remembers each as evidence. The password is in their environment alone."""

    program_dir: str | None
    timeout_s: float
    password: str | None
    secrets: frozenset[str] = frozenset()
    done: list[dict[str, Any]] = field(default_factory=list)

    def listing(self, dump: Path) -> str:
        """The dump's table of contents; raises ``CannotRestore`` for a file that is no dump."""
        return self._must_succeed(self._command("pg_restore", "--list", str(dump), keep_stdout=True)).stdout

    def rows(self, dump: Path) -> dict[TableName, int]:
        """Rows of each table in the dump; raises ``CannotRestore``."""
        command = self._command("pg_restore", "--data-only", "--file=-", str(dump))
        counts, ran = _stream(command)
        self._judge(command, ran)
        return counts

    def restore(self, dump: Path, into: Mapping[str, Any], *, jobs: int) -> None:
        """``pg_restore`` into a new database, up to the first error; raises ``CannotRestore``."""
        where = f"--dbname={connection_string(into)}"
        options = ["--exit-on-error", "--no-password", f"--jobs={jobs}", where, str(dump)]
        self._must_succeed(self._command("pg_restore", *options, secret=True))

    def schema(self, database: Mapping[str, Any]) -> list[str]:
        """The statements that make a database's schema, without what differs each time; raises ``CannotRestore``."""
        options = ["--schema-only", "--no-password", f"--dbname={connection_string(database)}"]
        told = self._must_succeed(self._command("pg_dump", *options, secret=True, keep_stdout=True)).stdout
        return [line for line in told.splitlines() if line.strip() and not line.startswith(("--", "\\"))]

    def amcheck(self, database: Mapping[str, Any]) -> tuple[bool, str]:
        """Whether ``pg_amcheck`` finds nothing wrong, and its complaint; raises ``CannotRun`` where there is none."""
        command = self._command("pg_amcheck", "--no-password", connection_string(database), secret=True)
        ran = run(command)
        self._note(command, ran)
        masker = masker_for(command, self.secrets)
        # Of each thing that is wrong it says first which it is.
        complaint = " ".join(line.strip() for line in shown(ran.first_lines, masker)[:COMPLAINT_LINES])
        how = explain(command, ran, masker) if ran.timed_out or not complaint else complaint
        return not (ran.timed_out or ran.exit_code), how

    def _command(self, name: str, *options: str, secret: bool = False, keep_stdout: bool = False) -> Command:
        environment = {"PGPASSWORD": self.password} if secret and self.password else {}
        argv = [program(name, self.program_dir), *options]
        return Command(argv=argv, environment=environment, timeout_s=self.timeout_s, keep_stdout=keep_stdout)

    def _must_succeed(self, command: Command) -> Ran:
        try:
            ran = run(command)
        except CannotRun as reason:
            raise CannotRestore(str(reason)) from None
        self._judge(command, ran)
        return ran

    def _judge(self, command: Command, ran: Ran) -> None:
        self._note(command, ran)
        if ran.timed_out or ran.exit_code:
            raise CannotRestore(explain(command, ran, masker_for(command, self.secrets)))

    def _note(self, command: Command, ran: Ran) -> None:
        self.done.append(record(command, ran, masker_for(command, self.secrets)))


def _stream(command: Command) -> tuple[dict[TableName, int], Ran]:
    """Run a program whose output is counted while it is printed, however long it is."""
    started, timed_out = time.monotonic(), threading.Event()
    with tempfile.TemporaryFile() as said:
        process = _start(command, said)

        def end() -> None:
            timed_out.set()
            process.kill()

        timer = threading.Timer(command.timeout_s, end)
        timer.start()
        try:
            assert process.stdout is not None
            counts = rows_in_script(process.stdout)
            process.wait()
        finally:
            timer.cancel()
            process.kill()
            process.wait()
            process.stdout.close()  # type: ignore[union-attr]
        said.seek(0)
        lines = said.read(MAX_SAID_BYTES).decode("utf-8", "backslashreplace").splitlines()
    return counts, Ran(
        exit_code=process.returncode,
        took_ms=round((time.monotonic() - started) * 1000),
        timed_out=timed_out.is_set(),
        first_lines=tuple(lines[:10]),
        last_lines=tuple(lines[10:][-10:]),
        line_count=len(lines),
    )


def _start(command: Command, said: IO[bytes]) -> subprocess.Popen[bytes]:
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": said, "start_new_session": True}
    try:
        return subprocess.Popen(list(command.argv), **options)  # type: ignore[call-overload, no-any-return]
    except OSError as reason:
        raise CannotRestore(f"{command.argv[0]} could not be run: {reason.strerror}") from None
