# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis's protocol with bounds: redis-py's connections, made to end in time and to hand out every reply as it is."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import redis
from redis._parsers import _RESP2Parser

from .checks import CannotObserve
from .pool import Deadline

T = TypeVar("T")
Options = Mapping[str, Any]
Command = tuple[str, ...]

MAX_ANSWER_BYTES = 1024 * 1024
_LONGEST_CAUSE = 300

TLS_SCHEMES = frozenset({"rediss", "valkeys"})
TCP_SCHEMES = TLS_SCHEMES | {"redis", "valkey"}


class Refusal(CannotObserve):
    """A command that the server answered with an error, in its own words."""


class TlsRefusal(CannotObserve):
    """TLS did not come about, or was broken off. ``alerted`` when the server said so, as for a missing certificate."""

    def __init__(self, reason: OSError, what: str) -> None:
        super().__init__(f"{what}: {words_of(reason)}")
        self.alerted = "ALERT" in words_of(reason)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a server listens: a host and port, or the path of a socket; and the number of the database."""

    host: str = ""
    port: int = 0
    path: str = ""
    tls: bool = False
    database: int = 0

    @classmethod
    def of(cls, address: str) -> Place:
        """Read ``redis://host:port/0``, ``rediss://...`` for TLS, or ``unix:///path/to.sock?db=0``."""
        parts = urlsplit(address)
        try:
            if parts.username or parts.password or parts.fragment:
                raise ValueError
            if parts.scheme == "unix" and parts.path and not parts.netloc:
                return cls(path=unquote(parts.path), database=int(parts.query.removeprefix("db=") or 0))
            if parts.scheme in TCP_SCHEMES and parts.hostname and not parts.query:
                database, tls = int(parts.path.strip("/") or 0), parts.scheme in TLS_SCHEMES
                return cls(host=parts.hostname, port=parts.port or 6379, tls=tls, database=database)
            raise ValueError
        except ValueError:
            raise CannotObserve(
                f"{address!r} is no address of Redis: write redis://host:port/0, rediss:// for TLS, or "
                "unix:///path/to.sock?db=0, and credentials in the options made for them"
            ) from None


class BoundedSocket:
    """A socket whose answers together stay within the deadline and ``MAX_ANSWER_BYTES``."""

    def __init__(self, wrapped: socket.socket, deadline: Deadline) -> None:
        self._wrapped, self._deadline, self._received = wrapped, deadline, 0

    def recv(self, size: int) -> bytes:
        self._wrapped.settimeout(self._deadline.left_s())
        try:
            data = self._wrapped.recv(size)
        except ssl.SSLError as reason:
            raise TlsRefusal(reason, "TLS was broken off") from reason
        self._received += len(data)
        if self._received > MAX_ANSWER_BYTES:
            raise CannotObserve(f"the answers are larger than {MAX_ANSWER_BYTES} bytes: not read to their end")
        return data

    def sendall(self, data: bytes) -> None:
        self._wrapped.settimeout(self._deadline.left_s())
        # A server that hung up already has said why, if it says so at all: reading tells.
        with suppress(ConnectionError, ssl.SSLError):
            self._wrapped.sendall(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)


class PlainParser(_RESP2Parser):
    """Hands out every error as the server words it.

    redis-py's own raises some in the middle of a pipeline and then reads them again for each reply that follows, so
    that a password accepted after a wrong one would be taken for refused.
    """

    EXCEPTION_CLASSES: dict[str, Any] = {}  # noqa: RUF012 - redis-py declares it so


class Server:
    """One server, and how to connect to it."""

    def __init__(self, target: Options, place: Place, deadline: Deadline) -> None:
        self.target, self.place, self._deadline = target, place, deadline

    @contextmanager
    def connected(self, *, with_certificate: bool = True) -> Iterator[redis.Connection]:
        """A connection on which nobody has logged in yet. redis-py does not retry on a bare connection."""
        tls = self._tls(with_certificate) if self.place.tls else None
        left_s = self._deadline.left_s()
        options: dict[str, Any] = {
            "socket_timeout": left_s,
            "socket_connect_timeout": left_s,
            "protocol": 2,
            "parser_class": PlainParser,
            "decode_responses": True,
            "encoding_errors": "replace",
            # Without it, redis-py introduces itself before the first command, in two more round trips.
            "driver_info": None,
        }
        connection = self._connection(options, tls)
        try:
            explained(connection.connect)
            yield connection
        finally:
            connection.disconnect()

    def _connection(self, options: dict[str, Any], tls: ssl.SSLContext | None) -> Any:
        if self.place.path:
            return _UnixConnection(self._deadline, path=self.place.path, **options)
        return _TcpConnection(self._deadline, tls, host=self.place.host, port=self.place.port, **options)

    def _tls(self, with_certificate: bool) -> ssl.SSLContext:
        certificate = (self.target.get("cert_path"), self.target.get("key_path")) if with_certificate else (None, None)
        return _tls_context(self.target.get("ca_path"), *certificate)


@lru_cache
def _tls_context(ca_path: str | None, cert_path: str | None, key_path: str | None) -> ssl.SSLContext:
    """TLS that trusts the declared CA alone, or the system's where none is declared; read once for many targets."""
    try:
        context = ssl.create_default_context(cafile=ca_path)
        if cert_path:
            context.load_cert_chain(cert_path, key_path)
    except OSError as reason:
        raise CannotObserve(f"ca_path, cert_path or key_path cannot be used: {words_of(reason)}") from reason
    return context


class _TcpConnection(redis.Connection):
    def __init__(self, deadline: Deadline, tls: ssl.SSLContext | None, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._deadline, self._tls = deadline, tls

    def _connect(self) -> BoundedSocket:
        connected = super()._connect()  # type: ignore[no-untyped-call]
        if self._tls:
            try:
                connected = self._tls.wrap_socket(connected, server_hostname=self.host)
            except ssl.SSLError as reason:
                raise TlsRefusal(reason, f"TLS with {self.host}:{self.port} failed") from reason
            except TimeoutError as reason:
                raise CannotObserve(f"{self.host}:{self.port} began no TLS in time: does it speak TLS?") from reason
        return BoundedSocket(connected, self._deadline)


class _UnixConnection(redis.UnixDomainSocketConnection):
    host, port = "", 0  # redis-py asks for them when it is too late

    def __init__(self, deadline: Deadline, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._deadline = deadline

    def _connect(self) -> BoundedSocket:
        connected = super()._connect()  # type: ignore[no-untyped-call]
        return BoundedSocket(connected, self._deadline)


def ask(connection: Any, commands: Sequence[Command], *, at_once: bool = True) -> list[Any]:
    """Send the commands; one reply each, a ``Refusal`` where the server answers with an error.

    A server that refuses and hangs up, as one with too many clients does, leaves that as the reason for what follows.
    Not ``at_once``: each is sent when the one before was answered. Redis 8 hangs up on a stranger for whom more than a
    kilobyte of answers is waiting (CVE-2025-21605).
    """

    def send(part: Sequence[Command]) -> None:
        explained(lambda: connection.send_packed_command(connection.pack_commands(part), check_health=False))

    if at_once:
        send(commands)
    replies: list[Any] = []
    for command in commands:
        try:
            if not at_once:
                send([command])
            replies.append(explained(connection.read_response))
        except Refusal as refusal:
            replies.append(refusal)
        except CannotObserve:
            if not replies or not isinstance(replies[-1], Refusal):
                raise
            return replies + [CannotObserve(f"it hung up, saying: {replies[-1]}")] * (len(commands) - len(replies))
    return replies


def explained(act: Callable[[], T]) -> T:
    """Run ``act``; what redis-py raises becomes ``CannotObserve`` in words that name the cause."""
    try:
        return act()
    except redis.ResponseError as refusal:
        raise Refusal(str(refusal)[:_LONGEST_CAUSE]) from refusal
    except redis.TimeoutError as reason:
        raise CannotObserve(f"no answer in time: {reason}") from reason
    except redis.InvalidResponse as reason:
        raise CannotObserve(f"it answered, but not as Redis does: {str(reason)[:_LONGEST_CAUSE]}") from reason
    except redis.RedisError as reason:
        raise CannotObserve(str(reason)[:_LONGEST_CAUSE]) from reason
    except (ValueError, TypeError, IndexError, RecursionError) as reason:
        raise CannotObserve(f"it answered, but not as Redis does ({type(reason).__name__})") from reason


def words_of(reason: OSError) -> str:
    """The system's or OpenSSL's own words for what went wrong."""
    return getattr(reason, "verify_message", None) or getattr(reason, "reason", None) or str(reason)
