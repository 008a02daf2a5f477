# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened, one line each, chained by hashes: nothing is taken out, changed or put in between without a trace.

A line is canonical JSON: ``{"data": {...}, "hash": ..., "kind": ..., "previous": ..., "run": ..., "seq": 1,
"time": "2026-01-31T12:00:00.000000Z"}``. ``hash`` is the SHA-256 of the same canonical record without ``hash``, and
``previous`` is the hash of the line before, so the last hash stands for everything.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

GENESIS = "0" * 64
FIELDS = frozenset({"seq", "time", "run", "kind", "data", "previous", "hash"})

Record = dict[str, Any]
Clock = Callable[[], datetime]


class JournalBroken(Exception):
    """A journal that cannot be believed. The text names the line and what is wrong with it."""


def utc_now() -> datetime:
    """The clock that everything uses unless it is given another one."""
    return datetime.now(UTC)


def iso(moment: datetime) -> str:
    """A moment as UTC with microseconds and ``Z``; one without a time zone is taken as UTC, as YAML does."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def canonical(value: Any) -> str:
    """The one way to write a value as JSON; raises ``ValueError`` for what JSON cannot hold."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(text: str | bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def write_once(path: Path, text: str) -> str:
    """Write a file of evidence that its owner alone reads, and return its SHA-256.

    Raises ``FileExistsError``: what is there is never changed.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
    return digest(text)


def plain(value: Any) -> Any:
    """The value as JSON can hold it: bytes as text, and numbers such as infinity as their name."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def chained(*, previous: str, seq: int, time: datetime, run: str, kind: str, data: Mapping[str, Any]) -> Record:
    """The record that comes after the one whose hash is ``previous``."""
    record: Record = {
        "seq": seq, "time": iso(time), "run": run, "kind": kind, "data": plain(data), "previous": previous,
    }  # fmt: skip
    return record | {"hash": digest(canonical(record))}


@dataclass(kw_only=True)
class Journal:
    """The one who writes: appends records, and notices when the file is no longer the one it wrote."""

    path: Path
    run: str
    clock: Clock = utc_now
    seq: int = field(default=0, init=False)
    head: str = field(default=GENESIS, init=False)
    _size: int = field(default=0, init=False)

    def append(self, kind: str, data: Mapping[str, Any]) -> Record:
        """Write one line and bring it to the disk. Raises ``OSError`` or ``JournalBroken``, and then wrote nothing."""
        record = chained(previous=self.head, seq=self.seq + 1, time=self.clock(), run=self.run, kind=kind, data=data)
        line = canonical(record).encode() + b"\n"
        flags = os.O_WRONLY | os.O_APPEND | (os.O_CREAT | os.O_EXCL if self.seq == 0 else 0) | os.O_NOFOLLOW
        descriptor = os.open(self.path, flags, 0o600)
        try:
            self._write(descriptor, line)
        finally:
            os.close(descriptor)
        self.seq, self.head, self._size = record["seq"], record["hash"], self._size + len(line)
        return record

    def go_on_after(self, records: Sequence[Record]) -> None:
        """Go on after these records, which are all that the file holds; a line that was cut short is cut off."""
        size = sum(len(canonical(record)) + 1 for record in records)
        os.truncate(self.path, size)
        self.seq, self.head, self._size = records[-1]["seq"], records[-1]["hash"], size

    def _write(self, descriptor: int, line: bytes) -> None:
        if (size := os.fstat(descriptor).st_size) != self._size:
            raise JournalBroken(
                f"{self.path} has {size} bytes where {self._size} were written: somebody else changed it"
            )
        try:
            if os.write(descriptor, line) != len(line):
                raise OSError(f"{self.path}: the line was written only in part")
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, self._size)
            raise


def hold(path: Path | str) -> int:
    """Mark a journal as being written, for as long as this process and its children have the descriptor that is
    returned: the kernel ends it when they are killed. Raises ``BlockingIOError`` when somebody else holds it."""
    return _locked(path, fcntl.LOCK_EX)


def is_held(path: Path | str) -> bool:
    """Whether somebody is still writing a journal. Raises ``OSError`` when that cannot be seen."""
    try:
        # Shared: two who ask at the same time must not take each other for the writer.
        os.close(_locked(path, fcntl.LOCK_SH))
    except BlockingIOError:
        return True
    return False


def _locked(path: Path | str, how: int) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_journal(path: Path | str, *, torn_end: bool = False) -> list[Record]:
    """Every record of a journal whose chain holds from the first line to the last.

    Raises ``JournalBroken``, naming the line, for anything else: a missing or empty file, a line that was changed,
    taken out, added, torn, or written in another way. With ``torn_end`` a last line that a loss of power has cut short
    is left out instead.
    """
    try:
        text = Path(path).read_bytes().decode("ascii")
    except OSError as fault:
        raise JournalBroken(f"{path} cannot be read: {fault.strerror or fault}") from fault
    except UnicodeDecodeError as fault:
        raise JournalBroken(f"{path} is not a journal: byte {fault.start} is not ASCII") from fault
    if not text:
        raise JournalBroken(f"{path} is empty: nothing was recorded")
    if torn_end:
        text = text[: text.rfind("\n") + 1]
    if not text.endswith("\n"):
        raise JournalBroken(f"{path} line {text.count(chr(10)) + 1}: torn, its end is missing")
    return verified(text.split("\n")[:-1], source=str(path))


def verified(lines: Iterable[str], *, source: str = "journal") -> list[Record]:
    """The records of these lines, or ``JournalBroken``. Pure, so that an auditor needs nothing but the text."""
    records: list[Record] = []
    previous = GENESIS
    for number, line in enumerate(lines, start=1):
        try:
            record = _verified(line, previous, number)
            if records and record["run"] != records[0]["run"]:
                raise JournalBroken(f"it belongs to run {record['run']}, the journal to {records[0]['run']}")
        except JournalBroken as fault:
            raise JournalBroken(f"{source} line {number}: {fault}") from None
        records.append(record)
        previous = record["hash"]
    return records


def _verified(line: str, previous: str, number: int) -> Record:
    try:
        record = json.loads(line)
        written = canonical(record)
    except (ValueError, RecursionError) as fault:
        raise JournalBroken(f"not JSON ({type(fault).__name__})") from fault
    if not isinstance(record, dict) or set(record) != FIELDS:
        raise JournalBroken(f"not a record: its fields must be {', '.join(sorted(FIELDS))}")
    if written != line:
        raise JournalBroken("not written by this project: the text is not the canonical form")
    if record["hash"] != digest(canonical({name: record[name] for name in FIELDS - {"hash"}})):
        raise JournalBroken("changed after it was written: its hash does not fit its content")
    if record["previous"] != previous:
        raise JournalBroken("does not follow the line before: one was taken out, added or moved")
    if record["seq"] != number or type(record["seq"]) is not int or not isinstance(record["data"], dict):
        raise JournalBroken(f"has number {record['seq']!r} where {number} is due, or holds no data")
    return record
