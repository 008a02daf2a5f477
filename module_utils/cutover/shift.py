# SPDX-License-Identifier: GPL-3.0-or-later
"""Move a backend's traffic between servers: who shall serve is up first, who shall not is drained, never cut off."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .checks import CannotObserve
from .haproxy import Server, Wanted, commands, order, save_state, servers_of
from .pool import Clock, Deadline
from .ticks import Sleep, ticks

ASK_S = 5.0
POLL_S = 0.05
# How long all servers are waited for where fewer would do.
GRACE_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Shift:
    """What is wanted of a backend; times in seconds."""

    address: str
    backend: str
    servers: Mapping[str, Wanted]
    pools: Mapping[str, Sequence[str]]
    state_file: str | None
    up_timeout_s: float
    drain_timeout_s: float
    min_up: int | None = None


@dataclass(frozen=True, kw_only=True)
class Shifted:
    """How a backend is at the end, which pools serve then, and the commands that led there."""

    servers: Mapping[str, Server]
    serving_pools: Sequence[str]
    commands: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """The outcome as plain data."""
        return {
            "changed": bool(self.commands),
            "servers": {name: server.to_dict() for name, server in self.servers.items()},
            "serving_pools": list(self.serving_pools),
            "drained": all(server.sessions == 0 for server in self.servers.values() if server.state == "drain"),
            "runtime_commands": list(self.commands),
        }


def serving_pools(servers: Mapping[str, Server], pools: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Names of the pools with a server that takes new requests; raises ``ValueError`` for a server nobody knows."""
    for pool, members in pools.items():
        unknown = [name for name in members if name not in servers]
        if unknown:
            raise ValueError(f"pool {pool!r} names {', '.join(unknown)}: the backend has {', '.join(sorted(servers))}")
        if any(servers[name].serving for name in members):
            yield pool


def shift(wanted: Shift, *, dry_run: bool = False, clock: Clock = time.monotonic, sleep: Sleep = time.sleep) -> Shifted:
    """Carry ``wanted`` out, or with ``dry_run`` only say which commands would.

    The state is saved when nothing had to be changed too: an earlier run may have come to its end before it was.
    Raises ``ValueError`` for servers and pools that are not the backend's, before anything is done; ``CannotObserve``
    when HAProxy cannot be asked or refuses, and when a server that shall serve is not up in time: then no other server
    has been drained.
    """
    backend = _Backend(wanted, clock, sleep)
    servers = backend.look()
    serving = sorted(serving_pools(servers, wanted.pools))
    planned = list(commands(wanted.backend, wanted.servers, servers))
    if wanted.servers and not dry_run:
        arriving = [name for name, want in wanted.servers.items() if want.serves(servers[name])]
        first = [line for line in planned if line.split()[2].partition("/")[2] in arriving]
        backend.order(first)
        backend.wait_until_up(arriving)
        backend.order([line for line in planned if line not in first])
        backend.save()
        servers = backend.wait_until_drained()
        serving = sorted(serving_pools(servers, wanted.pools))
    return Shifted(servers=servers, serving_pools=serving, commands=planned)


class _Backend:
    def __init__(self, wanted: Shift, clock: Clock, sleep: Sleep) -> None:
        self._wanted, self._clock, self._sleep = wanted, clock, sleep

    def _soon(self) -> Deadline:
        return Deadline(self._clock() + ASK_S, self._clock)

    def _ticks(self, total_s: float) -> Iterator[float]:
        return ticks(total_s=total_s, every_s=POLL_S, clock=self._clock, sleep=self._sleep)

    def look(self) -> dict[str, Server]:
        return servers_of(self._wanted.address, self._wanted.backend, self._soon())

    def order(self, lines: Sequence[str]) -> None:
        order(self._wanted.address, lines, self._soon())

    def save(self) -> None:
        if self._wanted.state_file:
            save_state(self._wanted.address, Path(self._wanted.state_file), self._soon())

    def wait_until_up(self, names: Sequence[str]) -> None:
        for gone_s in self._ticks(self._wanted.up_timeout_s):
            servers = self.look()
            down = [
                f"{name} {servers[name].status} ({servers[name].last_check})"
                for name in names
                if not servers[name].proven
            ]
            if not down or (gone_s >= GRACE_S and self._enough(len(names) - len(down))):
                return
        raise CannotObserve(f"HAProxy holds {', '.join(down)}: no other server was taken out of service")

    def _enough(self, up: int) -> bool:
        return self._wanted.min_up is not None and up >= self._wanted.min_up

    def wait_until_drained(self) -> dict[str, Server]:
        for _ in self._ticks(self._wanted.drain_timeout_s):
            servers = self.look()
            if not any(server.sessions for server in servers.values() if server.state == "drain"):
                break
        return servers
