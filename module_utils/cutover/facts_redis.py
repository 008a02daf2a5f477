# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of a Redis or Valkey server from its own answers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

    The order in which rules were given can matter, and is kept.
    """
    users = (rule.split() for rule in rules)
    return {
        f"user.{words[1]}": " ".join(fingerprint(w) if w.startswith(("#", ">")) else w for w in words[2:])
        for words in users
    }


def module_facts(reply: Sequence[Any]) -> dict[str, Any]:
    """``MODULE LIST``: each module that is loaded, with its version."""
    modules = (dict(zip(each[::2], each[1::2], strict=True)) for each in reply)
    return {f"module.{module['name']}": str(module["ver"]) for module in modules}
