# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a directive that somebody declared is what the server answers: ``256mb`` is 268435456, ``true`` is ``yes``.

The server's answer decides how the declared value is read. Whatever cannot be read as meaning the same is not the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .checks import ExpectationError

# Their values are passwords or would help to break in: CONFIG GET shows them, and a report must not.
SECRET_DIRECTIVES = frozenset(
    {"requirepass", "masterauth", "primaryauth", "tls-key-file-pass", "tls-client-key-file-pass", "hash-seed"}
)

# What INFO tells where CONFIG is forbidden, as it is on most managed services.
INFO_FIELDS: Mapping[str, str] = {
    "appendonly": "aof_enabled",
    "cluster-enabled": "cluster_enabled",
    "hz": "configured_hz",
    "maxclients": "maxclients",
    "maxmemory": "maxmemory",
    "maxmemory-policy": "maxmemory_policy",
    "port": "tcp_port",
    "repl-backlog-size": "repl_backlog_size",
    "replica-priority": "slave_priority",
    "replica-read-only": "slave_read_only",
}
_YES_OR_NO_IN_INFO = frozenset({"appendonly", "cluster-enabled", "replica-read-only"})

# The server reads the words of these in any case. Everything else, such as a path, is taken letter by letter.
_ENUMERATIONS = frozenset(
    {
        "acl-pubsub-default",
        "appendfsync",
        "cluster-preferred-endpoint-type",
        "loglevel",
        "maxmemory-policy",
        "oom-score-adj",
        "propagation-error-behavior",
        "repl-diskless-load",
        "sanitize-dump-payload",
        "shutdown-on-sigint",
        "shutdown-on-sigterm",
        "supervised",
        "syslog-facility",
        "tls-auth-clients",
    }
)

_YES_OR_NO = {"yes": "yes", "true": "yes", "on": "yes", "1": "yes", "no": "no", "false": "no", "off": "no", "0": "no"}

# Source: https://redis.io/docs/latest/operate/oss_and_stack/management/config-file/ ("Note on units").
_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}
_AMOUNT = re.compile(r"(-?\d+)\s*([kmg]?b?)", re.IGNORECASE)
_SHARE = re.compile(r"[0-9]+%")

# `A` stands for all classes of events that a keyspace has; m and n are not among them.
_ALL_EVENTS = frozenset("g$lshzxetd")

Limits = Mapping[str, tuple[int | None, ...]]


def means(directive: str, declared: Any) -> Callable[[str], bool]:
    """A predicate that tells whether the server's answer for ``directive`` means what is declared.

    ``declared`` is text, a number, a truth value or a list, as YAML gives it. Raises ``ExpectationError`` for what
    can mean nothing, and for directives whose value is a secret.
    """
    if directive in SECRET_DIRECTIVES:
        raise ExpectationError(
            f"config.{directive} would show a secret in reports: take it out, and declare refuses_unauthenticated, "
            "refuses_default_passwords or tls, which prove what it is for"
        )
    text = spelled(directive, declared)
    if directive in _READERS:
        read, wanted = _READERS[directive], _READERS[directive](text)
        return lambda answer: read(answer) == wanted
    if directive == "client-output-buffer-limit":
        limits = _buffer_limits(text)
        return lambda answer: bool(limits) and limits.items() <= _buffer_limits(answer).items()
    return lambda answer: _same(directive, text, answer)


def told_by_info(directive: str, info: Mapping[str, str]) -> str | None:
    """What INFO tells of a directive, spelled as CONFIG GET would; ``None`` when it tells nothing."""
    value = info.get(INFO_FIELDS.get(directive, ""))
    return _YES_OR_NO.get(value, value) if value and directive in _YES_OR_NO_IN_INFO else value


def spelled(directive: str, declared: Any) -> str:
    """A declared value as one would write it in redis.conf, without quotes around it and with single spaces."""
    if isinstance(declared, bool):
        return "yes" if declared else "no"
    if isinstance(declared, (list, tuple)):
        return " ".join(spelled(directive, item) for item in declared)
    if isinstance(declared, (int, float)):
        return str(int(declared) if float(declared).is_integer() else declared)
    if isinstance(declared, str):
        return " ".join(_unquoted(declared.strip()).split())
    raise ExpectationError(
        f"config.{directive} is declared as {declared!r}: write text, a number, true or false, or a list; '' is empty"
    )


def _unquoted(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text


def _same(directive: str, declared: str, answer: str) -> bool:
    answer = " ".join(answer.split())
    if answer in ("yes", "no"):
        return _YES_OR_NO.get(declared.casefold()) == answer
    if _AMOUNT.fullmatch(answer):
        percents = "percent" in directive
        return _amount(declared.removesuffix("%").rstrip() if percents else declared) == _amount(answer)
    if _SHARE.fullmatch(answer):
        return declared.replace(" ", "") == answer
    if directive in _ENUMERATIONS:
        return declared.casefold() == answer.casefold()
    return declared == answer


def _amount(text: str) -> int | None:
    """A number, of bytes where it has a unit; ``None`` for what is none."""
    match = _AMOUNT.fullmatch(text)
    return int(match[1]) * _UNITS[match[2].lower()] if match else None


def _save_points(text: str) -> frozenset[tuple[str, ...]]:
    """``900 1 300 10`` as the snapshots it asks for, in any order: each after seconds, with changes."""
    words = [str(_amount(word)) for word in text.removeprefix("save ").split() if word not in ("''", '""')]
    if len(words) % 2 or "None" in words:
        raise ExpectationError(f"config.save is {text!r}: write pairs of seconds and changes, such as '900 1 300 10'")
    return frozenset(zip(words[::2], words[1::2], strict=True))


def _events(text: str) -> frozenset[str]:
    """The classes of keyspace events that ``KEA`` and its like name, in any order."""
    return frozenset(text) - {"A"} | (_ALL_EVENTS if "A" in text else frozenset())


def _buffer_limits(text: str) -> Limits:
    """``replica 256mb 64mb 60`` and its like: hard and soft limit in bytes, and seconds, of each class of clients."""
    words = text.casefold().replace("slave", "replica").split()
    limits = {words[at]: tuple(_amount(word) for word in words[at + 1 : at + 4]) for at in range(0, len(words), 4)}
    if len(words) % 4 or any(None in limit for limit in limits.values()):
        raise ExpectationError(
            f"config.client-output-buffer-limit is {text!r}: write a class and three numbers, "
            "such as 'replica 256mb 64mb 60', or a list of those"
        )
    return limits


_READERS: Mapping[str, Callable[[str], frozenset[Any]]] = {"save": _save_points, "notify-keyspace-events": _events}
