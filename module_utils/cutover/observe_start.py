# SPDX-License-Identifier: GPL-3.0-or-later
"""Start something that must not start, and see whether anybody listens meanwhile."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .checks import CannotObserve
from .command import CannotRun, Command, environment_of, masker_for, record, run, shown
from .env_file import EnvFileError
from .judge_start import StartObservation
from .pool import Deadline

Options = Mapping[str, Any]
Keep = Callable[[dict[str, Any]], object]

PROBE_EVERY_S = 0.05
GRACE_S = 1.0


def look_at_start(
    target: Options, deadline: Deadline, *, keep: Keep, secrets: Collection[str] = ()
) -> StartObservation:
    """Start ``target["argv"]`` with its environment, and end it when it does not end by itself in its time.

    Raises ``CannotObserve`` when it cannot be started, and when somebody listens at its port already.
    """
    try:
        environment = environment_of(target.get("env_file"), target.get("environment"))
    except EnvFileError as reason:
        raise CannotObserve(str(reason)) from reason
    command = Command(
        argv=target["argv"],
        chdir=target.get("chdir"),
        environment={name: value for name, value in environment.items() if name not in (target.get("unset") or ())},
        timeout_s=min(target["expected"]["refuses_within_s"], deadline.left_s()),
        grace_s=GRACE_S,
    )
    masker = masker_for(command, frozenset(secrets))
    with _probing(target) as probe:
        try:
            ran = run(command)
        except CannotRun as reason:
            raise CannotObserve(str(reason)) from reason
    keep(record(command, ran, masker))
    return StartObservation(
        exit_code=None if ran.timed_out else ran.exit_code,
        took_s=ran.took_ms / 1000,
        lines=[line for line in shown([*ran.first_lines, *ran.last_lines], masker) if line.strip()],
        listened=probe.reached if target.get("port") else None,
    )


@dataclass
class _Probe:
    """Whether anybody was reached so far."""

    reached: bool = False


@contextmanager
def _probing(target: Options) -> Iterator[_Probe]:
    """Try its port again and again until the block ends; before it begins, nobody may be there."""
    probe, over = _Probe(), threading.Event()
    if not target.get("port"):
        yield probe
        return
    place = (target.get("host") or "127.0.0.1", target["port"])
    if _is_reached(place):
        raise CannotObserve(f"somebody listens at {place[0]}:{place[1]} already: declare a port that is free")

    def go_on() -> None:
        while not over.wait(PROBE_EVERY_S):
            probe.reached = probe.reached or _is_reached(place)

    prober = threading.Thread(target=go_on, daemon=True)
    prober.start()
    try:
        yield probe
    finally:
        over.set()
        prober.join()


def _is_reached(place: tuple[str, int]) -> bool:
    try:
        socket.create_connection(place, timeout=0.5).close()
    except OSError:
        return False
    return True
