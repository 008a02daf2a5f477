# SPDX-License-Identifier: GPL-3.0-or-later
"""Which lines of a log were written since a process started, and which of those are errors (checklist row C13).

Nobody tells where in a file a process began to write. Two ways to know are sound:

- a line that the process itself writes when it starts, declared as a pattern in which ``{pid}`` is its process id;
- times that the lines bear. One without a zone may be in any zone, so the zone is measured, not assumed: the last line
  was written when the file was last modified. A mistake there makes old lines look newer, and so counts too many.

Where neither works, nothing is known, and that is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .checks import CannotObserve

ERROR_PATTERNS = (r"\bERROR\b", r"\bCRITICAL\b", "Traceback")

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,]\d+)? ?(Z|UTC|[+-]\d\d:?\d\d)?")
_TIME_STANDS_WITHIN = 200
# All zones are whole quarters of an hour away from UTC; what is left over is the age of the file's last line.
_ZONE_STEP = timedelta(minutes=15)
_LAST_LINE_MAX_AGE = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Log:
    """The end of a log file. ``whole`` tells whether these are all its lines."""

    lines: Sequence[str]
    whole: bool
    modified_at: datetime


@dataclass(frozen=True, kw_only=True)
class ErrorLines:
    """How many lines match an error pattern, and the first of them."""

    count: int
    first: str | None


def error_lines(lines: Sequence[str], patterns: Sequence[str]) -> ErrorLines:
    """The lines that match any of the patterns."""
    wanted = [re.compile(pattern) for pattern in patterns]
    found = [line for line in lines if any(pattern.search(line) for pattern in wanted)]
    return ErrorLines(count=len(found), first=found[0] if found else None)


def lines_since_marker(log: Log, marker: str, pid: int | None) -> Sequence[str]:
    """The lines from the last one that matches ``marker`` on; raises ``CannotObserve`` when there is none."""
    if "{pid}" in marker and not pid:
        raise CannotObserve("log_since names {pid}, and the process manager tells no process id")
    pattern = re.compile(marker.replace("{pid}", str(pid)))
    for index in range(len(log.lines) - 1, -1, -1):
        if pattern.search(log.lines[index]):
            return log.lines[index:]
    where = "in the log" if log.whole else "in the part of the log that was read"
    raise CannotObserve(f"no line that matches {pattern.pattern} is {where}: where the process started is not known")


def lines_since_start(log: Log, started_at: datetime | None) -> Sequence[str]:
    """The lines whose own times, or the time of the line above, are not before the start.

    Raises ``CannotObserve`` when the lines do not tell, or when not all of those lines were read.
    """
    if not log.lines:
        return []
    if started_at is None:
        raise CannotObserve("the process manager does not tell when it started: declare log_since")
    # Times in a log, and a manager's, may be cut to whole seconds.
    begin = started_at.replace(microsecond=0)
    for index, written_at in _times(log):
        if written_at >= begin:
            if index == 0 and not log.whole:
                raise CannotObserve("more was logged since the start than can be read")
            return log.lines[index:]
    return []


def _times(log: Log) -> Iterator[tuple[int, datetime]]:
    """The index and the moment of each line that bears a time, in the form in which the last such line does."""
    starts = ((index, _TIME.search(line[:_TIME_STANDS_WITHIN])) for index, line in enumerate(log.lines))
    found = [(index, match) for index, match in starts if match]
    if not found:
        raise CannotObserve("no line of the log bears a time such as 2030-12-31 23:59:59: declare log_since")
    zoned = bool(found[-1][1][3])
    shift = timedelta(0) if zoned else _distance_to_utc(_moment(found[-1][1]), log.modified_at)
    for index, match in found:
        if bool(match[3]) is zoned:
            yield index, _moment(match) + shift


def _moment(match: re.Match[str]) -> datetime:
    """What a line says, taken for UTC where it names no zone."""
    zone = (match[3] or "").replace("UTC", "").replace("Z", "")
    try:
        return datetime.fromisoformat(f"{match[1]}T{match[2]}{zone or '+00:00'}")
    except ValueError:
        raise CannotObserve(f"{match[0]} in the log is no time: declare log_since") from None


def _distance_to_utc(last_line: datetime, modified_at: datetime) -> timedelta:
    steps = round((modified_at - last_line) / _ZONE_STEP)
    if abs(modified_at - last_line - steps * _ZONE_STEP) > _LAST_LINE_MAX_AGE:
        raise CannotObserve("times in the log name no zone, and none fits when it was last written: declare log_since")
    return steps * _ZONE_STEP


def parse_log(data: bytes, *, whole: bool, modified_s: float, max_line: int) -> Log:
    """A log's end as lines; the first is left out where it may be half a line.

    ``modified_s`` is in seconds since 1970, ``max_line`` in characters.
    """
    lines = data.decode("utf-8", "backslashreplace").splitlines()
    kept = lines if whole else lines[1:]
    return Log(
        lines=[line[:max_line] for line in kept], whole=whole, modified_at=datetime.fromtimestamp(modified_s, tz=UTC)
    )
