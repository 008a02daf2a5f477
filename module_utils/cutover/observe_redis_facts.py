# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the facts of one Redis or Valkey server. Writes nothing, and needs no right to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .checks import CannotObserve, known
from .facts_redis import acl_facts, config_facts, module_facts, server_facts
from .observation import Fingerprint, Seen, in_parts
from .observe_redis import identity_of, info_of, login_refusal
from .observe_resp import Command, Place, Server, ask
from .pool import Deadline

Options = Mapping[str, Any]

QUESTIONS: tuple[Command, ...] = (("INFO",), ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("MODULE", "LIST"))


def look_at_redis_facts(fingerprint: Fingerprint, target: Options, deadline: Deadline) -> Seen:
    """Everything in one round trip; raises ``CannotObserve`` when the server does not answer, or refuses the login."""
    server = Server(target, Place.of(target["address"]), deadline)
    identity = identity_of(server)
    with server.connected() as connection:
        replies = ask(connection, [*identity, *QUESTIONS])
    if refusal := login_refusal(replies[: len(identity) + 1]):
        raise CannotObserve(f"the login was refused: {refusal}")
    info, config, acl, modules = replies[len(identity) :]
    about = server_facts(known(info_of(info)))
    seen = in_parts(
        {
            "config": lambda: config_facts(known(config), fingerprint),
            "user": lambda: acl_facts(known(acl), fingerprint),
            "module": lambda: module_facts(known(modules)),
        }
    )
    return replace(seen, facts=about | dict(seen.facts))
