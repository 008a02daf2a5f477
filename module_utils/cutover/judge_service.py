# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true of processes under a process manager (checklist row C13)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from .checks import CannotObserve, Check, ExpectationError, Known, known
from .judge_log import ERROR_PATTERNS, ErrorLines

# supervisord starts a program in these states by itself; http://supervisord.org/subprocess.html#process-states
SUPERVISOR_COMES_BACK = frozenset({"STARTING", "BACKOFF", "RUNNING", "STOPPING"})


@dataclass(frozen=True, kw_only=True)
class Process:
    """What the process manager says of one process. ``state`` is in its own words.

    ``stopped`` means that there is no process and that none will come by itself: neither holds while it is starting.
    """

    state: str
    running: bool
    stopped: bool
    pid: int | None = None
    started_at: datetime | None = None
    uptime_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class ServiceObservation:
    """The processes that were asked for, and the error lines in their logs since they started."""

    processes: Mapping[str, Known[Process]]
    errors: Mapping[str, Known[ErrorLines]] = field(default_factory=dict)


ServiceCheck = Check[ServiceObservation]
UNKNOWN = Process(state="no such process", running=False, stopped=False)


def asked_names(expected: Mapping[str, Any]) -> list[str]:
    """All processes that the expectation is about, each once."""
    names = [*expected.get("running", []), *expected.get("stopped", []), *expected.get("log_files", {})]
    return list(dict.fromkeys(names))


def service_checks(expected: Mapping[str, Any]) -> Iterator[ServiceCheck]:
    """Every check that ``expected`` implies; the keys are those of service_check's ``expected`` option."""
    running = list(expected.get("running", []))
    both = sorted({*running} & {*expected.get("stopped", [])})
    if both:
        raise ExpectationError(f"{', '.join(both)} cannot be both running and stopped: declare one of them")
    for name in running:
        yield from _running_checks(name, expected.get("min_uptime_s"))
    for name in expected.get("stopped", []):
        yield Check(
            name=f"stopped.{name}",
            expected="stopped",
            look=partial(_state_if, "stopped", name),
            holds=lambda state: state == "stopped",
            remedy=f"stop {name}, and see that nothing starts it again",
        )
    patterns = error_patterns(expected)
    for name, path in sorted(expected.get("log_files", {}).items()):
        yield Check(
            name=f"errors.{name}",
            expected={"lines": 0, "that match": patterns},
            look=partial(_errors, name),
            holds=lambda found: found["lines"] == 0,
            needs=f"running.{name}" if name in running else None,
            remedy=f"read {path} from that line on, mend the cause, and start {name} again",
        )


def _running_checks(name: str, min_uptime_s: float | None) -> Iterator[ServiceCheck]:
    yield Check(
        name=f"running.{name}",
        expected="running",
        look=partial(_state_if, "running", name),
        holds=lambda state: state == "running",
        remedy=f"start {name}; when it does not stay up, its log says why",
    )
    if min_uptime_s is not None:
        yield Check(
            name=f"uptime.{name}",
            expected=f">= {min_uptime_s:g} s",
            look=partial(_uptime_s, name),
            holds=lambda uptime_s: uptime_s >= min_uptime_s,
            needs=f"running.{name}",
            remedy=f"see in the log of {name} whether it was started again because it had died",
        )


def error_patterns(expected: Mapping[str, Any]) -> list[str]:
    """What makes a line an error; raises ``ExpectationError`` for what is no regular expression."""
    patterns = list(expected.get("error_patterns") or ERROR_PATTERNS)
    for pattern in [*patterns, expected.get("log_since") or ""]:
        try:
            re.compile(pattern.replace("{pid}", "1"))
        except re.error as reason:
            raise ExpectationError(f"{pattern!r} is not a regular expression: {reason}") from None
    return patterns


def _state_if(wanted: str, name: str, seen: ServiceObservation) -> str:
    process = known(seen.processes[name])
    return wanted if getattr(process, wanted) else process.state


def _uptime_s(name: str, seen: ServiceObservation) -> float:
    uptime_s = known(seen.processes[name]).uptime_s
    if uptime_s is None:
        raise CannotObserve("the process manager does not tell since when it runs")
    return round(uptime_s, 1)


def _errors(name: str, seen: ServiceObservation) -> dict[str, Any]:
    found = known(seen.errors[name])
    return {"lines": found.count} | ({"first": found.first} if found.first is not None else {})
