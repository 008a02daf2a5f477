# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring programs of supervisord into a state, side by side, and wait until they are in it.

Source: http://supervisord.org/api.html and http://supervisord.org/subprocess.html#process-states
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from .judge_service import SUPERVISOR_COMES_BACK
from .observe_service import SupervisorFault, ask_supervisor, call_supervisor, is_named, settled
from .pool import Deadline
from .ticks import ticks

Options: TypeAlias = Mapping[str, Any]
Program: TypeAlias = Mapping[str, Any]

# supervisord's own numbers (supervisor.xmlrpc.Faults).
ALREADY_STARTED, NOT_RUNNING = 60, 70
UP = frozenset({"STARTING", "RUNNING"})
POLL_S = 0.1


class ProgramError(Exception):
    """A program that could not be brought into its state. The text is ready for a person and free of credentials."""


def bring(
    target: Options, names: Sequence[str], state: str, *, deadline: Deadline, check_mode: bool = False
) -> list[str]:
    """Have ``names`` ``started``, ``stopped`` or ``restarted``; the names (group:program) of those that it changed.

    A name is a program's, a group's, or ``group:program``. What is on its way up counts as started. What supervisord
    starts again by itself does not count as stopped, though it may not run just now. ``restarted`` takes over
    what was changed in the configuration of these programs, and leaves all others alone.

    Raises ``ProgramError`` for a name that supervisord does not know and a program that does not get there, and
    ``CannotObserve`` when supervisord does not answer.
    """
    if state == "restarted":
        if not check_mode:
            _take_over_configuration(target, names, deadline)
        to_stop = to_start = _programs(target, names, deadline)
    else:
        programs = settled(lambda: _programs(target, names, deadline))
        to_stop = [each for each in programs if state == "stopped" and each["statename"] in SUPERVISOR_COMES_BACK]
        to_start = [each for each in programs if state == "started" and each["statename"] not in UP]
    if not check_mode:
        _stop(target, to_stop, deadline)
        _change(target, to_start, "startProcess", ALREADY_STARTED, deadline)
        _wait(target, to_start, deadline, over=lambda now: now == "RUNNING", lost=lambda now: now not in UP)
    return sorted({_full_name(each) for each in [*to_stop, *to_start]})


def _full_name(program: Program) -> str:
    return f"{program['group']}:{program['name']}"


def _programs(target: Options, names: Sequence[str], deadline: Deadline) -> list[dict[str, Any]]:
    answer = ask_supervisor(target, deadline)
    for name in names:
        if not any(is_named(info, name) for info in answer):
            known = ", ".join(sorted(str(info["name"]) for info in answer)) or "none"
            raise ProgramError(f"supervisord at {target['address']} has no program {name}. It has: {known}")
    return [info for info in answer if any(is_named(info, name) for name in names)]


def _stop(target: Options, programs: Sequence[Program], deadline: Deadline) -> None:
    """Stop them, and again whatever had just ended by itself then, because supervisord has started it since."""
    left, stopped = programs, {_full_name(program) for program in programs}
    while left:
        _change(target, left, "stopProcess", NOT_RUNNING, deadline)
        _wait(target, left, deadline, over=lambda now: now not in SUPERVISOR_COMES_BACK)

        now = settled(lambda: [info for info in ask_supervisor(target, deadline) if _full_name(info) in stopped])
        left = [info for info in now if info["statename"] in SUPERVISOR_COMES_BACK]


def _change(target: Options, programs: Sequence[Program], method: str, harmless: int, deadline: Deadline) -> None:
    for program in programs:
        try:
            call_supervisor(target, deadline, f"supervisor.{method}", _full_name(program), False)
        except SupervisorFault as refused:
            if refused.code != harmless:
                raise ProgramError(f"{_full_name(program)}: {refused}") from refused


def _wait(
    target: Options,
    programs: Sequence[Program],
    deadline: Deadline,
    *,
    over: Callable[[str], bool],
    lost: Callable[[str], bool] = lambda now: False,
) -> None:
    waited_for = {_full_name(program) for program in programs}
    if not waited_for:
        return
    left: list[Program] = []
    for _ in ticks(total_s=deadline.left_s(), every_s=POLL_S):
        now = [info for info in ask_supervisor(target, deadline.at_most(30)) if _full_name(info) in waited_for]
        left = [info for info in now if not over(info["statename"])]
        if not left:
            return
        if gone := [info for info in left if lost(info["statename"])]:
            raise ProgramError("; ".join(map(_told, gone)))
    raise ProgramError("; ".join(f"{_full_name(info)} is still {info['statename']}" for info in left))


def _told(program: Program) -> str:
    """What became of a program, in supervisord's words."""
    why = program.get("spawnerr") or program.get("description") or "supervisord does not say why"
    return f"{_full_name(program)} is {program['statename']}: {why}"


def _take_over_configuration(target: Options, names: Sequence[str], deadline: Deadline) -> None:
    """Replace the groups of these programs whose configuration was changed, and add those that are new."""
    added, changed, _removed = call_supervisor(target, deadline, "supervisor.reloadConfig")[0]
    groups = {name.partition(":")[0] for name in names}
    groups |= {
        info["group"] for info in ask_supervisor(target, deadline) if any(is_named(info, name) for name in names)
    }
    for group in groups & set(changed):
        call_supervisor(target, deadline, "supervisor.stopProcessGroup", group)
        call_supervisor(target, deadline, "supervisor.removeProcessGroup", group)
    for group in groups & {*changed, *added}:
        call_supervisor(target, deadline, "supervisor.addProcessGroup", group)
