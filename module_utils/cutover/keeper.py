# SPDX-License-Identifier: GPL-3.0-or-later
"""Break something for a limited time: who breaks it is a process of its own, and undoes it at the deadline by itself.

``arm`` writes a state file, starts the keeper, and only then lets it break anything. The keeper has a session of its
own and no connection to whoever started it: neither the death of the controller nor that of the module that armed it
can keep it from undoing the fault. ``mend`` undoes it earlier, and works as well from another process, after the keeper
has died: it needs the state file alone, and what the inventory declares.

Secrets that an undo needs are in the keeper's memory, never in a file and never in argv.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from .journal import iso, utc_now
from .ticks import ticks

Memory = Mapping[str, Any]

POLL_S = 0.05
# A keeper that is not up by then is taken for one that never will be: nothing is broken.
STARTING_S = 10.0
# How long the keeper goes on trying to undo what will not be undone, and how long a person is kept waiting for it.
TRYING_S = 600.0
MENDING_S = 60.0
TRY_EVERY_S = 1.0
BY_KEEPER = "the keeper, at the deadline"


class FaultError(Exception):
    """A fault that could not be caused or undone. The text is ready for a person and free of credentials."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A way to break something. ``memory`` is what the undo needs to know of the time before, fit for a file.

    ``cause`` may add to it. ``undo`` may be called any number of times, raises as long as things are not as they were,
    and may say what it did.
    """

    what: str
    undo_said: str
    memory: Memory
    cause: Callable[[], Memory | None]
    undo: Callable[[], str | None]
    # Who ends it, where that is neither the keeper nor whoever mends it: a server that keeps a time limit itself.
    ended_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class State:
    """What is known of one fault; its file outlives everybody who has to do with it. Times are UTC."""

    id: str
    drill: str | None
    kind: str
    what: str
    undo: str
    armed_at: str
    deadline: str
    limit_s: float
    keeper_pid: int = 0
    memory: Memory = field(default_factory=dict)
    broken_at: str | None = None
    undone_at: str | None = None
    undone_by: str | None = None
    undone_how: str | None = None
    failure: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether something may still be broken."""
        return self.undone_at is None

    def told(self) -> dict[str, Any]:
        """What evidence holds of it."""
        return {name: value for name, value in asdict(self).items() if name != "memory"}


class Store:
    """The faults of one host: a file each, readable by their owner alone."""

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)

    def create(self, state: State) -> None:
        """Keep a new one. Raises ``FaultError`` when there is one of that id."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            os.close(os.open(self._path(state.id), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        except FileExistsError:
            raise FaultError(f"the fault {state.id} was caused before: every fault has an id of its own") from None
        self.write(state)

    def read(self, name: str) -> State | None:
        """The state of a fault; None when nothing is known of it. Raises ``FaultError`` for a file that is broken."""
        try:
            return State(**json.loads(self._path(name).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as reason:
            raise FaultError(f"{self._path(name)} cannot be understood: {reason}") from reason

    def write(self, state: State) -> None:
        """Replace a state as a whole, and bring it to the disk."""
        new = self._path(state.id).with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(state), file, indent=2, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        new.rename(self._path(state.id))

    def all(self) -> list[State]:
        """Every fault that is known here, oldest first."""
        states = [self.read(path.stem) for path in self.directory.glob("*.json")] if self.directory.is_dir() else []
        return sorted((state for state in states if state), key=lambda state: state.armed_at)

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Have a fault to oneself: who undoes it, and who causes it, come one after the other."""
        descriptor = os.open(self._path(name).with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _path(self, name: str) -> Path:
        if Path(name).name != name or name.startswith("."):
            raise FaultError(f"{name!r} cannot be the id of a fault")
        return self.directory / f"{name}.json"


# --- causing ----------------------------------------------------------------------------------------------------------


def arm(
    store: Store, fault: Fault, *, id: str, drill: str | None, kind: str, limit_s: float, after_s: float = 0.0
) -> State:
    """Have ``fault`` caused, ``after_s`` from now, and undone ``limit_s`` after that at the latest.

    Returns when it is caused; with ``after_s``, when its keeper is up. Raises ``FaultError`` when something else is
    broken here, and when it could not be caused: then it is undone.
    """
    if limit_s <= 0:
        raise FaultError("limit_s must be more than 0: a fault without a limit has no certain end")
    if left := [state.id for state in store.all() if state.is_open]:
        raise FaultError(f"{', '.join(left)}: not undone yet. One fault at a time; mend that first")
    now = utc_now()
    state = State(
        id=id,
        drill=drill,
        kind=kind,
        what=fault.what,
        undo=f"{fault.undo_said}; by {fault.ended_by or BY_KEEPER}",
        armed_at=iso(now),
        deadline=iso(now + timedelta(seconds=after_s + limit_s)),
        limit_s=limit_s,
        memory=fault.memory,
    )
    store.create(state)
    _start_keeper(store, state, fault, after_s=after_s)
    if after_s:
        return store.read(id) or state
    for _ in ticks(total_s=limit_s + MENDING_S, every_s=POLL_S):
        known = store.read(id)
        if known and known.failure and not known.is_open:
            raise FaultError(f"{known.what}: this did not come about: {known.failure}. It was undone")
        if known and known.broken_at:
            return known
    raise FaultError(f"{fault.what}: whether this came about is not known; its keeper goes on undoing it")


def _start_keeper(store: Store, state: State, fault: Fault, *, after_s: float) -> None:
    """Start the keeper and wait until it is on its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _become_keeper(store, state, fault, after_s=after_s, ready=writer)
    os.close(writer)
    os.waitpid(child, 0)
    answered, _, _ = select.select([reader], [], [], STARTING_S)
    is_up = bool(answered and os.read(reader, 1))
    os.close(reader)
    if not is_up:
        store.write(replace(state, undone_at=iso(utc_now()), undone_by="nobody: nothing was broken"))
        raise FaultError("the process that undoes the fault did not start, so nothing was broken")


def _become_keeper(store: Store, state: State, fault: Fault, *, after_s: float, ready: int) -> NoReturn:
    """In a child: leave the parent for good, and keep the fault. Nothing of the parent's end is ever run here."""
    code = 1
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            # Whoever ends a session must not end the undo. A handler, for what is started would inherit an ignored one.
            signal.signal(number, lambda *_: None)
        os.chdir("/")
        _let_go_of_everything(besides=ready)
        keep(store, state, fault, after_s=after_s, ready=lambda: _say_ready(ready))
        code = 0
    except BaseException:  # noqa: BLE001 - there is nobody left to tell, and the state file says what is open
        code = 1
    finally:
        os._exit(code)


def _say_ready(descriptor: int) -> None:
    with suppress(OSError):
        os.write(descriptor, b".")
    os.close(descriptor)


def _let_go_of_everything(*, besides: int) -> None:
    """Close what was inherited: whoever waits for its end, as Ansible does, must not wait for us."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.closerange(3, besides)
    os.closerange(besides + 1, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") < 65536 else 65536)
    with suppress(OSError):
        Path("/proc/self/comm").write_text("cutover-keeper", encoding="ascii")


def keep(
    store: Store,
    state: State,
    fault: Fault,
    *,
    after_s: float,
    ready: Callable[[], None],
    clock: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Cause the fault, wait for its deadline or for somebody who mends it earlier, and undo it.

    The clock goes on while the machine sleeps.
    """
    ends = clock() + after_s + state.limit_s
    by = "the keeper, because it did not come about"
    store.write(replace(state, keeper_pid=os.getpid()))
    ready()
    # Whatever befalls the state file, such as a full disk: what was caused is undone.
    with suppress(OSError, FaultError):
        if _stood_down(store, state.id, clock() + after_s, clock, sleep):
            return
        if _cause(store, state.id, fault):
            by = BY_KEEPER
            if _stood_down(store, state.id, ends, clock, sleep):
                return
    undo(store, state, lambda _: fault, by=by, trying_s=TRYING_S, clock=clock, sleep=sleep)


def _stood_down(
    store: Store, name: str, until: float, clock: Callable[[], float], sleep: Callable[[float], None]
) -> bool:
    """Whether somebody mended it before the time was up. A state that cannot be read says nothing."""
    for _ in ticks(total_s=until - clock(), every_s=POLL_S, clock=clock, sleep=sleep):
        with suppress(FaultError):
            known = store.read(name)
            if known and not known.is_open:
                return True
    return False


def _cause(store: Store, name: str, fault: Fault) -> bool:
    with store.alone(name):
        known = store.read(name)
        if known is None:
            raise FaultError(f"the state of {name} is gone: nothing was broken")
        if not known.is_open:
            return True
        try:
            more = fault.cause() or {}
        except Exception as reason:  # noqa: BLE001 - whatever it was, what came about of it is undone
            store.write(replace(known, failure=f"{reason}" or type(reason).__name__))
            return False
        store.write(replace(known, broken_at=iso(utc_now()), memory={**known.memory, **more}))
        return True


# --- undoing ----------------------------------------------------------------------------------------------------------


def mend(store: Store, name: str, fault_of: Callable[[State], Fault], *, by: str, trying_s: float = MENDING_S) -> State:
    """Undo a fault now, and stand its keeper down. One that is undone already stays as it is.

    Raises ``FaultError`` when nothing is known of it, and when it cannot be undone.
    """
    state = store.read(name)
    if state is None:
        raise FaultError(f"nothing is known of a fault {name} in {store.directory}")
    if not state.is_open:
        return state
    return undo(store, state, fault_of, by=by, trying_s=trying_s)


def undo(
    store: Store,
    state: State,
    fault_of: Callable[[State], Fault],
    *,
    by: str,
    trying_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> State:
    """Undo it, again and again until it succeeds or ``trying_s`` are over; then ``FaultError`` says why it did not."""
    reason: Exception | None = None
    for _ in ticks(total_s=trying_s, every_s=TRY_EVERY_S, clock=clock, sleep=sleep):
        try:
            return _undone(store, state, fault_of, by)
        except Exception as why_not:  # noqa: BLE001 - the next try may succeed
            reason = why_not
    raise FaultError(f"{state.what}: this could not be undone ({state.undo}) within {trying_s:g} s: {reason}")


def _undone(store: Store, state: State, fault_of: Callable[[State], Fault], by: str) -> State:
    """Undo it, unless that has been done, and write it down; raises what the undo raises.

    A state that is lost, or cannot be written, keeps nothing from being undone.
    """
    with ExitStack() as alone:
        with suppress(OSError):
            alone.enter_context(store.alone(state.id))
        with suppress(FaultError):
            state = store.read(state.id) or state
        if not state.is_open:
            return state
        try:
            fault = fault_of(state)
            how = fault.undo()
        except Exception as reason:
            with suppress(OSError):
                store.write(replace(state, failure=f"undo: {reason}"))
            raise
        state = replace(
            state, undone_at=iso(utc_now()), undone_by=fault.ended_by or by, undone_how=how or fault.undo_said
        )
        with suppress(OSError):
            store.write(state)
        return state
