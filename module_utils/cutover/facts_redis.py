# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of a Redis or Valkey server from its own answers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from .judge_redis_config import SECRET_DIRECTIVES
from .masking import is_sensitive

Fingerprint = Callable[[str], str]


def config_facts(reply: Sequence[str], fingerprint: Fingerprint) -> dict[str, Any]:
    """``CONFIG GET *``: every directive, those that hold a secret as fingerprints. None of them moves by itself."""
    directives = dict(zip(reply[::2], reply[1::2], strict=True))
    return {f"config.{name}": _directive(name, value, fingerprint) for name, value in directives.items()}


def _directive(name: str, value: str, fingerprint: Fingerprint) -> str:
    secret = name in SECRET_DIRECTIVES or is_sensitive(name)
    return fingerprint(value) if secret and value else value


def server_facts(info: Mapping[str, str]) -> dict[str, Any]:
    """What ``INFO`` tells of the program and of the server's place; its counters are left alone."""
    names = {"version": "redis_version", "server": "server_name", "mode": "redis_mode", "role": "role"}
    names |= {"version.valkey": "valkey_version"}
    return {key: info[field] for key, field in names.items() if field in info}


def acl_facts(rules: Sequence[str], fingerprint: Fingerprint) -> dict[str, Any]:
    """``ACL LIST``: the rules of every user, passwords (which the server keeps hashed) as fingerprints.

    Whether something is allowed before or after it is forbidden can matter, and is kept. Among rules that all allow, or
    all forbid, it does not, and a restart of the server brings them into another order.
    """
    users = (rule.split() for rule in rules)
    return {
        f"user.{words[1]}": " ".join(
            word
            for sign, run in groupby(words[2:], key=_sign)
            for word in (sorted(run) if sign else _hidden(run, fingerprint))
        )
        for words in users
    }


def _sign(word: str) -> str:
    """``+`` for a rule that allows commands, ``-`` for one that forbids them; empty for all else."""
    return word[0] if word.startswith(("+", "-")) else ""


def _hidden(words: Iterable[str], fingerprint: Fingerprint) -> Iterator[str]:
    return (fingerprint(word) if word.startswith(("#", ">")) else word for word in words)


def module_facts(reply: Sequence[Any]) -> dict[str, Any]:
    """``MODULE LIST``: each module that is loaded, with its version."""
    modules = (dict(zip(each[::2], each[1::2], strict=True)) for each in reply)
    return {f"module.{module['name']}": str(module["ver"]) for module in modules}
