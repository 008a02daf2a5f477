# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that a server is asked for itself, by its own protocol: Redis pauses, Vault is sealed.

Their logins and keys come in options that are shown nowhere, and stay in the memory of the keeper.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from .apply_fault import Kind, Options
from .apply_vault_seal import ANSWER_S, SealError, VaultSeal
from .keeper import Fault, FaultError, Memory
from .observe_key_shares import Share, ShareError, read_shares
from .observe_resp import Place, Refusal, Server, ask
from .pool import Deadline

# --- Redis ------------------------------------------------------------------------------------------------------------


def _redis_pause(options: Options, memory: Memory | None) -> Fault:
    """Have Redis answer nobody for ``limit_s``, a limit that it keeps itself. Source: redis.io/commands/client-pause"""
    redis = options["redis"]
    if memory is None:
        _redis_replies(redis, ("PING",))
    return Fault(
        what=f"{redis['address']} answers nobody (CLIENT PAUSE)",
        undo_said="it goes on when its own time limit is over",
        memory=memory or {},
        cause=lambda: _demand(redis, ("CLIENT", "PAUSE", str(round(options["limit_s"] * 1000)), "ALL")),
        # CLIENT UNPAUSE would wait like any other command: any answer tells that the pause is over.
        undo=lambda: _answers(redis),
        ended_by="the server, by its own time limit",
    )


def _answers(redis: Options) -> str:
    _redis_replies(redis, ("PING",))
    return "the server's own time limit was over"


def _demand(redis: Options, command: tuple[str, ...]) -> None:
    for reply in _redis_replies(redis, command):
        if isinstance(reply, Refusal):
            raise FaultError(f"{redis['address']} refused {' '.join(command[:2])}: {reply}")


def _redis_replies(redis: Options, command: tuple[str, ...]) -> list[Any]:
    with Server(redis, Place.of(redis["address"]), Deadline(time.monotonic() + ANSWER_S)).connected() as connection:
        return ask(connection, [*_login(redis), command])


def _login(redis: Options) -> list[tuple[str, ...]]:
    username, password = redis.get("username"), redis.get("password")
    if username:
        return [("AUTH", username, password or "")]
    return [("AUTH", password)] if password else []


# --- Vault ------------------------------------------------------------------------------------------------------------


def _vault_seal(options: Options, memory: Memory | None) -> Fault:
    """Seal Vault or OpenBao; the shares of its holders unseal it again. They are read before anything is broken."""
    vault = options["vault"]
    server = VaultSeal(vault)
    with _as_faults():
        shares = read_shares(vault["unseal_key_files"], age_identity=vault.get("age_identity"))
        if memory is None:
            _refuse_unless_it_can_be_unsealed(server, shares)
    return Fault(
        what=f"{server.address} is sealed", undo_said="unseal it with the shares of its holders", memory=memory or {},
        cause=lambda: _seal(server, vault["token"]), undo=lambda: _unseal(server, shares),
    )  # fmt: skip


@contextmanager
def _as_faults() -> Iterator[None]:
    try:
        yield
    except (SealError, ShareError) as reason:
        raise FaultError(str(reason)) from reason


def _refuse_unless_it_can_be_unsealed(server: VaultSeal, shares: Sequence[Share]) -> None:
    state = server.state()
    if state.sealed:
        raise FaultError(f"{server.address} is sealed already: nothing was broken")
    if len(shares) < state.threshold:
        raise FaultError(
            f"{server.address} needs {state.threshold} key shares to be unsealed, and has {len(shares)}: "
            "nothing was broken"
        )


def _seal(server: VaultSeal, token: str) -> None:
    with _as_faults():
        server.seal(token)


def _unseal(server: VaultSeal, shares: Sequence[Share]) -> str:
    with _as_faults():
        state, taken = server.unseal(shares)
    if state.sealed:
        raise FaultError(f"{server.address} is still {state.said}")
    if not taken:
        return "it was unsealed already"
    return f"{len(taken)} of {state.shares} holders unsealed it: {', '.join(each.holder for each in taken)}"


SERVER_KINDS: Mapping[str, Kind] = {"redis_pause": _redis_pause, "vault_seal": _vault_seal}
