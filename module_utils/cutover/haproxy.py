# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy's runtime interface: its commands, and what its answers mean.

Source: https://docs.haproxy.org/2.6/management.html#9.3
"""

from __future__ import annotations

import csv
import io
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .checks import CannotObserve
from .pool import Deadline

MAX_WEIGHT = 256
MAX_ANSWER_BYTES = 8 * 1024 * 1024
# HAProxy's mean times are over all answers up to this many, and moving means of so many from then on (its
# TIME_STATS_SAMPLES; `swrate_add_dynamic` in freq_ctr.h).
WINDOW = 512


@dataclass(frozen=True, kw_only=True)
class Server:
    """One server of a backend. ``state`` is what an administrator asked for, ``status`` what HAProxy makes of it."""

    name: str
    state: str  # ready | drain | maint
    weight: int
    status: str  # UP, DOWN, DRAIN, MAINT, no check ...
    sessions: int
    requests: int
    errors: int
    answers: int
    counted: int  # HTTP requests as HAProxy counts them for its mean
    mean_ms: int  # of the last ones, whoever served them: see mean_since
    last_check: str

    @property
    def up(self) -> bool:
        """Whether HAProxy holds it able to serve. Without health checks it has to believe so."""
        return self.status.startswith("UP") or self.status == "no check"

    @property
    def proven(self) -> bool:
        """Whether health checks say that it is up: one that leaves maintenance is held so before it was asked."""
        return self.status in ("UP", "no check") and not self.last_check.startswith("INI")

    @property
    def serving(self) -> bool:
        """Whether new requests are sent to it."""
        return self.state == "ready" and self.weight > 0 and self.up

    def to_dict(self) -> dict[str, Any]:
        """What a playbook sees of a server."""
        return {
            "state": self.state,
            "weight": self.weight,
            "status": self.status,
            "sessions": self.sessions,
            "serving": self.serving,
        }


# Bits of srv_admin_state: forced and inherited maintenance, by DNS and by name; forced and inherited drain. 0x04 says
# only that the configuration has the server `disabled`, and stays when it is made ready. `show stat` shows DOWN for a
# drained server that is down, so only these tell.
_MAINT_BITS, _DRAIN_BITS = 0x01 | 0x02 | 0x20 | 0x40, 0x08 | 0x10

# Stands before the last check's status while the next check is under way.
_CHECKING = "* "

_STAT, _STATE = "# pxname,svname,", "1\n# be_id be_name "


def parse_servers(stat: str, state: str, backend: str) -> dict[str, Server]:
    """The servers of ``backend`` by name, from the answers to ``show stat`` and ``show servers state``.

    Raises ``CannotObserve`` when these are not such answers, or name no server of the backend.
    """
    for answer, beginning in ((stat, _STAT), (state, _STATE)):
        _must_be_whole(answer, beginning)
    try:
        administered = _states(state, backend)
        rows = [row for row in _rows(stat, ",") if row["pxname"] == backend]
        servers = {row["svname"]: _server(row, administered) for row in rows if row["svname"] in administered}
    except (KeyError, TypeError, ValueError, csv.Error) as strange:
        raise CannotObserve(f"HAProxy's answer has another shape than expected: {strange!r}") from strange
    if not servers:
        raise CannotObserve(f"HAProxy knows no backend {backend!r} with servers in it")
    return servers


def _must_be_whole(answer: str, beginning: str) -> None:
    """An answer begins with the columns' names and ends with an empty line; one cut off would say too little."""
    if not answer.startswith(beginning):
        raise CannotObserve(f"the answer is not HAProxy's: {answer.strip()[:80]!r}")
    if not answer.endswith("\n\n"):
        raise CannotObserve("HAProxy's answer was cut off before its end")


def mean_since(first: Server, now: Server) -> int | None:
    """Mean milliseconds of the answers between two looks at a server; ``None`` where there was none.

    HAProxy tells a moving mean, in which many an answer of the release before is left. Its weights are known, so what
    must have come in since can be told: to within some ``WINDOW`` ms divided by the number of answers, because HAProxy
    rounds to whole milliseconds.
    """
    answers = now.answers - first.answers
    if answers <= 0:
        return None
    if answers > 8 * WINDOW:
        return now.mean_ms
    left, weight = _sum(first), 0.0
    for number in range(first.counted + 1, first.counted + answers + 1):
        if number > WINDOW:
            left, weight = left * (1 - 1 / WINDOW), weight * (1 - 1 / WINDOW)
        weight += 1
    return max(0, round((_sum(now) - left) / weight))


def _sum(server: Server) -> float:
    """What HAProxy divides to tell its mean, which it rounds up."""
    return max(0.0, server.mean_ms - 0.5) * min(server.counted, WINDOW)


def _rows(answer: str, delimiter: str) -> Iterator[dict[str, str]]:
    """The rows below the line of columns. Only a newline ends one: a server's own words may hold other line ends."""
    _, _, table = answer.partition("# ")
    for row in csv.DictReader(io.StringIO(table), delimiter=delimiter, strict=True):
        if None in row.values():
            raise ValueError("a row has fewer columns than the first line names")
        yield row


def _states(text: str, backend: str) -> dict[str, str]:
    """Each server's state as an administrator set it."""
    rows = (row for row in _rows(text, " ") if row["be_name"] == backend)
    return {row["srv_name"]: _state(int(row["srv_admin_state"])) for row in rows}


def _state(bits: int) -> str:
    return "maint" if bits & _MAINT_BITS else "drain" if bits & _DRAIN_BITS else "ready"


def _server(row: Mapping[str, str], administered: Mapping[str, str]) -> Server:
    answers = sum(_number(row[f"hrsp_{kind}"]) for kind in ("1xx", "2xx", "3xx", "4xx", "5xx", "other"))
    # Failed connections and broken answers leave no status: left out, a dead server would look idle.
    failures = _number(row["econ"]) + _number(row["eresp"])
    return Server(
        name=row["svname"],
        state=administered[row["svname"]],
        # `weight` is what slowstart has reached so far.
        weight=_number(row.get("uweight") or row["weight"]),
        status=row["status"],
        sessions=_number(row["scur"]) + _number(row["qcur"]),
        requests=answers + failures,
        errors=_number(row["hrsp_5xx"]) + failures,
        answers=answers,
        counted=_number(row.get("req_tot")) or answers,
        mean_ms=_number(row["rtime"]),
        last_check=" ".join(filter(None, (row["check_status"].removeprefix(_CHECKING), row["last_chk"]))),
    )


def _number(text: str | None) -> int:
    return int(text) if text else 0


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a server shall become; ``None`` leaves that side as it is."""

    state: str | None = None
    weight: int | None = None

    @classmethod
    def parse(cls, name: str, sides: object) -> Wanted:
        """From plain data such as ``{state: ready, weight: 100}``; raises ``ValueError`` that names what is wrong."""
        if not isinstance(sides, Mapping) or not sides or set(sides) - {"state", "weight"}:
            raise ValueError(f"server {name!r} takes state and weight, not {sides!r}")
        state, weight = sides.get("state"), sides.get("weight")
        if state not in (None, "ready", "drain", "maint"):
            raise ValueError(f"server {name!r}: state is ready, drain or maint, not {state!r}")
        # Text may come from the command line; a share of a weight would be cut off in silence.
        if weight is not None and not (str(weight).isdecimal() and int(weight) <= MAX_WEIGHT):
            raise ValueError(f"server {name!r}: weight is a whole number, 0 to {MAX_WEIGHT}, not {weight!r}")
        return cls(state=state, weight=None if weight is None else int(weight))

    def serves(self, now: Server) -> bool:
        """Whether the server shall take new requests, as far as an administrator can say."""
        state, weight = self.state or now.state, now.weight if self.weight is None else self.weight
        return state == "ready" and weight > 0


def commands(backend: str, wanted: Mapping[str, Wanted], servers: Mapping[str, Server]) -> Iterator[str]:
    """The commands that lead from ``servers`` to ``wanted``: who shall serve comes first, so that somebody always does.

    Raises ``ValueError`` for a server that the backend does not have.
    """
    unknown = sorted(set(wanted) - set(servers))
    if unknown:
        raise ValueError(f"backend {backend!r} has no server {', '.join(unknown)}: it has {', '.join(sorted(servers))}")
    for name in sorted(wanted, key=lambda name: not wanted[name].serves(servers[name])):
        want, now = wanted[name], servers[name]
        if want.weight is not None and want.weight != now.weight:
            yield f"set server {backend}/{name} weight {want.weight}"
        if want.state is not None and want.state != now.state:
            yield f"set server {backend}/{name} state {want.state}"


def ask(address: str, command: str, deadline: Deadline) -> str:
    """One command's answer from the runtime interface at ``address``: a socket's path, or ``host:port``.

    Raises ``CannotObserve`` when it cannot be asked, is late, or answers without end.
    """
    try:
        with _connect(address, deadline) as connection:
            connection.sendall(command.encode() + b"\n")
            return _read(connection, deadline).decode(errors="replace")
    except TimeoutError as late:
        raise CannotObserve(f"HAProxy's runtime interface {address} did not answer in time") from late
    except OSError as reason:
        raise CannotObserve(
            f"HAProxy's runtime interface {address} could not be asked: {reason.strerror or reason}: "
            "is it configured (stats socket ... level admin), and may this user open it?"
        ) from reason


def _connect(address: str, deadline: Deadline) -> socket.socket:
    if address.startswith("/"):
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(deadline.left_s())
            connection.connect(address)
        except BaseException:
            connection.close()
            raise
        return connection
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise CannotObserve(f"{address!r} is neither the path of a socket nor host:port")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=deadline.left_s())


def _read(connection: socket.socket, deadline: Deadline) -> bytes:
    answer = b""
    while chunk := connection.recv(65536):
        answer += chunk
        connection.settimeout(deadline.left_s())
        if len(answer) > MAX_ANSWER_BYTES:
            raise CannotObserve(f"HAProxy's answer is larger than {MAX_ANSWER_BYTES} bytes")
    return answer


def order(address: str, lines: Sequence[str], deadline: Deadline) -> None:
    """Give commands that change something; raises ``CannotObserve`` with HAProxy's own words when one is refused."""
    for line in lines:
        answer = ask(address, line, deadline).strip()
        if answer:
            raise CannotObserve(f"HAProxy refused {line!r}: {answer}")


def servers_of(address: str, backend: str, deadline: Deadline) -> dict[str, Server]:
    """The servers of a backend as they are now."""
    stat, state = (ask(address, f"show {what}", deadline) for what in ("stat", "servers state"))
    return parse_servers(stat, state, backend)


def save_state(address: str, path: Path, deadline: Deadline) -> None:
    """Write the state of all servers to HAProxy's ``server-state-file``, whole or not at all.

    Without it a restart of HAProxy would bring back the weights of its configuration, and so the old release. Raises
    ``CannotObserve`` when it cannot be written.
    """
    state = ask(address, "show servers state", deadline)
    _must_be_whole(state, _STATE)
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_text(state, encoding="utf-8")
        partial.replace(path)
    except OSError as reason:
        with suppress(OSError):
            partial.unlink()
        raise CannotObserve(
            f"HAProxy would forget its servers' states when it restarts: {path} cannot be written: {reason.strerror}"
        ) from reason
