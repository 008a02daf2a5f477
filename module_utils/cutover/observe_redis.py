# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at one Redis or Valkey server with redis-py. Reads only, and asks everything in as few round trips as it can."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from .checks import CannotObserve, Known, known
from .judge_redis import KNOWN_PASSWORDS, REFUSED, AclUser, RedisObservation, directives_to_ask
from .observe_resp import Command, Place, Refusal, Server, TlsRefusal, ask
from .pool import Deadline

T = TypeVar("T")
Options = Mapping[str, Any]

ASKS_A_STRANGER = frozenset({"refuses_unauthenticated", "refuses_default_passwords"})

# An answer to PING that begins so comes from a server that would have run a command.
LET_IN = ("PONG", "LOADING", "NOPERM", "MISCONF", "MASTERDOWN", "BUSY", "CLUSTERDOWN")
# How AUTH is refused: since version 6, before it, and by a default user who has no password and is turned off.
WRONG_PASSWORD = ("WRONGPASS", "ERR invalid password", "ERR AUTH <password> called without any password")


def look_at_redis(target: Options, deadline: Deadline) -> RedisObservation:
    """Observe the server at ``target["address"]``; raises ``CannotObserve`` when it does not answer as Redis does."""
    server = Server(target, Place.of(target["address"]), deadline)
    seen = _as_somebody(server)
    if not ASKS_A_STRANGER.isdisjoint(target["expected"]):
        seen |= _as_a_stranger(server, logged_in=seen["login"] is True)
    return RedisObservation(**seen)


def _as_somebody(server: Server) -> dict[str, Any]:
    """What the target's own login sees. A refused login is the reason for all that was not seen."""
    expected = server.target["expected"]
    directives, users = directives_to_ask(expected), [user["name"] for user in expected.get("users", [])]
    identity = identity_of(server)
    commands: list[Command] = [*identity, ("INFO",)]
    commands += [("CONFIG", "GET", directive) for directive in directives]
    commands += [("ACL", "GETUSER", user) for user in users]
    with server.connected() as connection:
        tls = _tls_in_use(connection)
        replies = ask(connection, commands)
    refusal = login_refusal(replies[: len(identity) + 1])
    if refusal:
        return {"tls": tls, "login": refusal, "info": refusal}
    info, *rest = replies[len(identity) :]
    return {
        "tls": tls,
        "login": True,
        "info": info_of(info),
        "config": {name: _config_value(name, reply) for name, reply in zip(directives, rest, strict=False)},
        "users": {name: _user(reply) for name, reply in zip(users, rest[len(directives) :], strict=True)},
    }


def identity_of(server: Server) -> list[Command]:
    """AUTH and SELECT, where there is something to say."""
    username, password = server.target.get("username"), server.target.get("password")
    commands: list[Command] = []
    if username or password:
        commands.append(("AUTH", username, password or "") if username else ("AUTH", str(password)))
    if server.place.database:
        commands.append(("SELECT", str(server.place.database)))
    return commands


def login_refusal(replies: Sequence[Any]) -> Refusal | None:
    """What kept the login out: a refused AUTH or SELECT, or an INFO that nobody who is logged in would hear."""
    *identity, info = replies
    refusals = [reply for reply in identity if isinstance(reply, Refusal)]
    if not refusals and isinstance(info, Refusal) and not str(info).startswith("NOPERM"):
        refusals = [info]
    return refusals[0] if refusals else None


def _tls_in_use(connection: Any) -> str:
    version = getattr(connection._sock, "version", None)
    return str(version()) if version else "none"


def info_of(reply: Any) -> Known[Mapping[str, str]]:
    """The fields of an answer to INFO, or why it was refused."""
    if isinstance(reply, CannotObserve):
        return CannotObserve(f"INFO was refused: {reply}")
    fields = dict(line.partition(":")[::2] for line in str(reply).splitlines() if ":" in line)
    if "redis_version" not in fields:
        raise CannotObserve("it answered, but not as Redis or Valkey does: is this the right address?")
    return fields


def _config_value(name: str, reply: Any) -> Known[str | None]:
    if isinstance(reply, CannotObserve):
        return reply
    values = dict(zip(reply[::2], reply[1::2], strict=False)) if isinstance(reply, list) else {}
    value = values.get(name)
    return value if isinstance(value, str) else None


def _user(reply: Any) -> Known[AclUser | None]:
    if reply is None or isinstance(reply, CannotObserve):
        return reply
    try:
        rules = dict(zip(reply[::2], reply[1::2], strict=True))
        flags = frozenset(map(str, rules["flags"]))
        return AclUser(enabled="on" in flags, nopass="nopass" in flags, passwords=len(rules["passwords"]), flags=flags)
    except (KeyError, TypeError, ValueError):
        return CannotObserve("ACL GETUSER answered in another shape than Redis's")


def _as_a_stranger(server: Server, *, logged_in: bool) -> dict[str, Known[str]]:
    """What becomes of somebody without a password, or with one that everybody would try.

    Each is tried once, and on the default user alone: no other account can be locked by it.
    """
    expected, own = server.target["expected"], server.target.get("password")
    passwords = [*KNOWN_PASSWORDS, *expected.get("default_passwords", ())]
    attempts = [("AUTH", password) for password in passwords] if expected.get("refuses_default_passwords") else []
    answers = attempt(lambda: _answers_to_a_stranger(server, [("PING",), *attempts]))
    return {
        "unauthenticated": attempt(lambda: _unauthenticated(server, answers)),
        "default_passwords": "the password in use is one that everybody knows"
        if logged_in and own in passwords
        else attempt(lambda: _default_passwords(answers)),
    }


def _answers_to_a_stranger(
    server: Server, commands: Sequence[Command], *, with_certificate: bool = True
) -> Sequence[Any]:
    with server.connected(with_certificate=with_certificate) as connection:
        return ask(connection, commands, at_once=False)


def _unauthenticated(server: Server, answers: Known[Sequence[Any]]) -> str:
    """A certificate is a credential too: where one is declared, its lack may be the refusal."""
    if not server.target.get("cert_path"):
        return _let_in(known(answers)[0])
    try:
        return _let_in(_answers_to_a_stranger(server, [("PING",)], with_certificate=False)[0])
    except TlsRefusal as refusal:
        if refusal.alerted:
            return REFUSED
        raise


def _let_in(answer: Any) -> str:
    words = str(answer)
    if isinstance(answer, Refusal) and words.startswith("NOAUTH"):
        return REFUSED
    if words.startswith(LET_IN):
        return f"let in: PING was answered with {words.partition(' ')[0]}"
    raise CannotObserve(f"PING without a login was answered with neither PONG nor NOAUTH: {words}")


def _default_passwords(answers: Known[Sequence[Any]]) -> str:
    ping, *logins = known(answers)
    if "OK" in logins:
        return "accepted: one that everybody knows"
    if _let_in(ping) != REFUSED:
        return "no password is asked for"
    if not logins:
        raise CannotObserve("no password was tried")
    for login in logins:
        if not (isinstance(login, Refusal) and str(login).startswith(WRONG_PASSWORD)):
            raise CannotObserve(f"AUTH was answered with neither OK nor WRONGPASS: {login}")
    return REFUSED


def attempt(look: Callable[[], T]) -> Known[T]:
    """A part of an observation, or why it could not be seen."""
    try:
        return look()
    except CannotObserve as reason:
        return reason
