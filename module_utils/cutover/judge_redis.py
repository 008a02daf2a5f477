# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true of a Redis or Valkey server (checklist rows C5, C10, C12)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .checks import CannotObserve, Check, ExpectationError, Known, known
from .judge_redis_config import SECRET_DIRECTIVES, means, spelled, told_by_info
from .versions import at_least

NOBODY = CannotObserve("nobody logged in")
NOT_ASKED = CannotObserve("nobody asked")

REFUSED = "refused"
FROM_INFO = " (from INFO: CONFIG GET does not tell)"

# Documentation, images and tutorials are full of these. All of them public, so none of them hides anything.
KNOWN_PASSWORDS = (
    "foobared",  # redis.conf's own example for many years
    "redis",
    "valkey",
    "password",
    "changeme",
    "secret",
    "admin",
    "root",
    "default",
    "test",
    "redispassword",
    "123456",
)


@dataclass(frozen=True, kw_only=True)
class AclUser:
    """A user of the server's access control list, without a trace of their passwords."""

    enabled: bool
    nopass: bool
    passwords: int
    flags: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class RedisObservation:
    """Everything seen of one server. What could not be seen is a ``CannotObserve`` in its place.

    ``tls`` is the protocol in use (``TLSv1.3``), or ``none``. ``unauthenticated`` and ``default_passwords`` are
    ``refused`` or say what happened instead. ``config`` holds, for each directive asked for, the server's answer or
    ``None`` where it knows no such directive; ``users`` likewise.
    """

    tls: str = "none"
    unauthenticated: Known[str] = NOT_ASKED
    default_passwords: Known[str] = NOT_ASKED
    login: Known[bool] = NOBODY
    info: Known[Mapping[str, str]] = NOBODY
    config: Mapping[str, Known[str | None]] = field(default_factory=dict)
    users: Mapping[str, Known[AclUser | None]] = field(default_factory=dict)


RedisCheck = Check[RedisObservation]


def redis_checks(expected: Mapping[str, Any]) -> Iterator[RedisCheck]:
    """Every check that ``expected`` implies; the keys are those of redis_check's ``expected`` option.

    Source of all names of fields: https://redis.io/docs/latest/commands/info/ and https://valkey.io/commands/info/.
    """
    yield from _access_checks(expected)
    yield from _server_checks(expected)
    for directive, declared in sorted(expected.get("config", {}).items()):
        yield _config_check(directive.lower(), declared)
    yield from _persistence_checks(expected)
    yield from _replication_checks(expected)
    yield from _free_checks(expected)
    for user in expected.get("users", []):
        yield from _user_checks(user)


def _access_checks(expected: Mapping[str, Any]) -> Iterator[RedisCheck]:
    if "tls" in expected:
        yield Check(
            name="tls",
            expected="in use" if expected["tls"] else "none",
            look=lambda seen: seen.tls,
            holds=lambda protocol: (protocol != "none") is expected["tls"],
            remedy="serve TLS with tls-port and tls-cert-file, and address it as rediss://",
        )
    if expected.get("refuses_unauthenticated"):
        yield Check(
            name="unauthenticated",
            expected=REFUSED,
            look=lambda seen: known(seen.unauthenticated),
            remedy="set requirepass, or give the default user a password or turn it off: ACL SETUSER default off",
        )
    if expected.get("refuses_default_passwords"):
        yield Check(
            name="default_passwords",
            expected=REFUSED,
            look=lambda seen: known(seen.default_passwords),
            needs="unauthenticated" if expected.get("refuses_unauthenticated") else None,
            remedy="set a long random password, here and in everything that logs in",
        )
    elif expected.get("default_passwords") and "refuses_default_passwords" not in expected:
        raise ExpectationError(
            "default_passwords are declared, and refuses_default_passwords is not: none would be tried"
        )
    yield Check(
        name="login",
        expected=True,
        look=lambda seen: known(seen.login),
        remedy="give the password, and the username if it is not default, of a user who may run INFO and CONFIG GET",
    )


def _server_checks(expected: Mapping[str, Any]) -> Iterator[RedisCheck]:
    minima = {server: version for server, version in (expected.get("min_version") or {}).items() if version}
    if "min_version" in expected and not minima:
        raise ExpectationError("min_version names no version: write it as {redis: '7.0', valkey: '7.2'}")
    if minima:
        yield Check(
            name="version",
            expected=" or ".join(f"{server} >= {version}" for server, version in sorted(minima.items())),
            look=_server_and_version,
            holds=partial(_recent_enough, minima),
            needs="login",
            remedy="upgrade the server, replicas first; or declare the server that this is",
        )
    yield Check(
        name="loading",
        expected=False,
        look=lambda seen: _told(seen, "loading") != "0",
        needs="login",
        remedy="wait until the data is loaded: INFO persistence tells loading_eta_seconds",
    )


def _server_and_version(seen: RedisObservation) -> str:
    # Valkey also tells a redis_version, 7.2.4 for ever, for clients that look for nothing else.
    server = known(seen.info).get("server_name", "redis")
    return f"{server} {_told(seen, f'{server}_version')}"


def _recent_enough(minima: Mapping[str, str], observed: str) -> bool:
    server, _, version = observed.partition(" ")
    return server in minima and at_least(version, minima[server])


def _config_check(directive: str, declared: Any) -> RedisCheck:
    same, value = means(directive, declared), spelled(directive, declared)
    return Check(
        name=f"config.{directive}",
        expected=declared,
        look=partial(setting, directive),
        holds=lambda observed: same(observed.removesuffix(FROM_INFO)),
        needs="login",
        remedy=f"CONFIG SET {directive} {value if value and ' ' not in value else repr(value)}, "
        "and redis.conf or the provider's parameters for later",
    )


def setting(directive: str, seen: RedisObservation) -> str:
    """The value of a directive in the server's own spelling, and whether INFO had to tell it."""
    answer = seen.config.get(directive, NOT_ASKED)
    if isinstance(answer, str):
        return answer
    told = told_by_info(directive, {} if isinstance(seen.info, CannotObserve) else seen.info)
    if told is not None:
        return told + FROM_INFO
    if isinstance(answer, CannotObserve):
        raise CannotObserve(f"CONFIG GET was refused and INFO does not tell {directive}: {answer}")
    raise CannotObserve(f"this server knows no directive {directive}: is it spelled as in redis.conf?")


def _persistence_checks(expected: Mapping[str, Any]) -> Iterator[RedisCheck]:
    if "aof" in expected:
        yield Check(
            name="aof.enabled",
            expected=expected["aof"],
            look=lambda seen: _told(seen, "aof_enabled") == "1",
            needs="login",
            remedy=f"CONFIG SET appendonly {'yes' if expected['aof'] else 'no'}, and redis.conf for the next start",
        )
    if expected.get("aof"):
        yield _status_check("aof.last_write", "aof_last_write_status", needs="aof.enabled")
        yield _status_check("aof.last_rewrite", "aof_last_bgrewrite_status", needs="aof.enabled")
    if expected.get("rdb"):
        yield _status_check("rdb.last_save", "rdb_last_bgsave_status", needs="login")
    if "rdb_max_age_s" in expected:
        yield Check(
            name="rdb.age_s",
            expected=f"<= {expected['rdb_max_age_s']}, or nothing changed since",
            look=_snapshot,
            holds=lambda seen: seen["age_s"] <= expected["rdb_max_age_s"] or seen["changes_since"] == 0,
            needs="login",
            remedy="BGSAVE, and save points that ask for one often enough: CONFIG GET save",
        )


def _status_check(name: str, field_name: str, *, needs: str) -> RedisCheck:
    return Check(
        name=name,
        expected="ok",
        look=lambda seen: _told(seen, field_name),
        needs=needs,
        remedy="see the server's log, then the space and the rights in its dir: CONFIG GET dir",
    )


def _snapshot(seen: RedisObservation) -> dict[str, int]:
    # A server that never saved counts from its start. Both times are the server's own, so no other clock matters.
    now_s = int(_told(seen, "server_time_usec")) // 1_000_000
    return {
        "age_s": now_s - int(_told(seen, "rdb_last_save_time")),
        "changes_since": int(_told(seen, "rdb_changes_since_last_save")),
    }


def _replication_checks(expected: Mapping[str, Any]) -> Iterator[RedisCheck]:
    if "role" in expected:
        yield Check(
            name="role",
            expected=expected["role"],
            look=_role,
            needs="login",
            remedy="address the declared node, or fail over to it: FAILOVER, or the orchestrator's own command",
        )
    if expected.get("role") == "replica":
        yield Check(
            name="replication.link",
            expected="up",
            look=lambda seen: _told(seen, "master_link_status"),
            needs="role",
            remedy="see the replica's log: the master's address, masteruser, masterauth and TLS must fit",
        )
    if "min_replicas" in expected:
        yield Check(
            name="replication.replicas",
            expected=f">= {expected['min_replicas']}",
            look=lambda seen: len(_online_replicas(seen)),
            holds=lambda online: online >= expected["min_replicas"],
            needs="role" if "role" in expected else "login",
            remedy="start the missing replicas, or see in their logs why they are not online",
        )
    if "max_replication_lag_s" in expected:
        yield Check(
            name="replication.lag_s",
            expected=f"<= {expected['max_replication_lag_s']}",
            look=_lag_s,
            holds=lambda lag_s: lag_s <= expected["max_replication_lag_s"],
            needs="replication.link" if expected.get("role") == "replica" else "login",
            remedy="see what holds up the replica: network, disk, or client-output-buffer-limit",
        )


def _role(seen: RedisObservation) -> str:
    role = _told(seen, "role")
    return "replica" if role == "slave" else role


def _online_replicas(seen: RedisObservation) -> list[dict[str, str]]:
    """The replicas of a master as INFO lists them: ``slave0:ip=...,port=...,state=online,offset=...,lag=0``."""
    replicas = [
        dict(part.partition("=")[::2] for part in value.split(","))
        for name, value in known(seen.info).items()
        if name.startswith("slave") and name[5:].isdigit()
    ]
    return [replica for replica in replicas if replica.get("state") == "online"]


def _lag_s(seen: RedisObservation) -> int:
    """Seconds since the replica heard its master; on a master, since it heard the most silent of its replicas."""
    if _role(seen) == "replica":
        if _told(seen, "master_link_status") != "up":
            raise CannotObserve("the link to the master is down")
        return int(_told(seen, "master_last_io_seconds_ago"))
    replicas = _online_replicas(seen)
    if not replicas:
        raise CannotObserve("no replica is online")
    return max(int(replica["lag"]) for replica in replicas)


def _free_checks(expected: Mapping[str, Any]) -> Iterator[RedisCheck]:
    percents: tuple[tuple[str, Callable[[RedisObservation], float | str], str], ...] = (
        ("memory", _free_memory, "raise maxmemory, or find what fills it: redis-cli --bigkeys"),
        ("clients", _free_clients, "raise maxclients and the file limit, or find who does not close: CLIENT LIST"),
    )
    for name, look, remedy in percents:
        least = expected.get(f"min_free_{name}_percent")
        if least is not None:
            yield Check(
                name=f"{name}.free_percent",
                expected=f">= {least:g}",
                look=look,
                holds=partial(_at_least, least),
                needs="login",
                remedy=remedy,
            )


def _at_least(least: float, observed: float | str) -> bool:
    return not isinstance(observed, str) and observed >= least


def _free_memory(seen: RedisObservation) -> float | str:
    limit = int(_told(seen, "maxmemory"))
    return _percent_left(int(_told(seen, "used_memory")), limit) if limit else "no maxmemory bounds it"


def _free_clients(seen: RedisObservation) -> float:
    limit = int(setting("maxclients", seen).removesuffix(FROM_INFO))
    # Replicas and the cluster bus count against the limit too, and INFO counts them apart.
    counted = ("connected_clients", "connected_slaves", "cluster_connections")
    return _percent_left(sum(int(known(seen.info).get(name, 0)) for name in counted), limit)


def _percent_left(used: int, limit: int) -> float:
    return round(100 * (limit - used) / limit, 1)


def _user_checks(user: Mapping[str, Any]) -> Iterator[RedisCheck]:
    name, enabled, flags = user["name"], user.get("enabled") is not False, set(user.get("flags") or ())
    if not name:
        raise ExpectationError("a user in users has an empty name")
    yield Check(
        name=f"user.{name}",
        expected=_on(nopass="nopass" in flags) if enabled else "off",
        look=lambda seen: _state(known(seen.users[name])),
        needs="login",
        remedy=f"ACL SETUSER {name} {'on' if enabled else 'off'}, and the ACL file for the next start",
    )
    if flags:
        yield Check(
            name=f"user.{name}.flags",
            expected=sorted(flags),
            look=lambda seen: sorted(_existing(known(seen.users[name])).flags),
            holds=flags.issubset,
            needs=f"user.{name}",
            remedy=f"ACL SETUSER {name} {' '.join(sorted(flags))}, and the ACL file for the next start",
        )


def _existing(user: AclUser | None) -> AclUser:
    if user is None:
        raise CannotObserve("no such user")
    return user


def _state(user: AclUser | None) -> str:
    if user is None:
        return "no such user"
    if not user.enabled:
        return "off"
    return _on(nopass=user.nopass) if user.nopass or user.passwords else "on, but with no password to log in with"


def _on(*, nopass: bool) -> str:
    return "on, and asks for no password" if nopass else "on, with a password"


def _told(seen: RedisObservation, name: str) -> str:
    """A field of INFO; raises ``CannotObserve`` when INFO was refused or this server does not tell it."""
    info = known(seen.info)
    if name not in info:
        raise CannotObserve(f"this server's INFO does not tell {name}")
    return info[name]


def directives_to_ask(expected: Mapping[str, Any]) -> tuple[str, ...]:
    """The directives whose values the judge will look for."""
    declared = {directive.lower() for directive in expected.get("config", {})}
    return tuple(sorted(declared | ({"maxclients"} if "min_free_clients_percent" in expected else set())))


def secrets_among_directives(params: Mapping[str, Any]) -> set[str]:
    """Values that must not be shown although the expectation that holds them is refused."""
    expectations = [params.get("expected"), *(target.get("expected") for target in params["targets"])]
    declared = [((expected or {}).get("config") or {}).items() for expected in expectations]
    return {str(value) for items in declared for directive, value in items if directive.lower() in SECRET_DIRECTIVES}
