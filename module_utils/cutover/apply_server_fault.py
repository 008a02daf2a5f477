# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that a server is asked for itself, by its own protocol: Redis pauses, Vault is sealed.

Their logins and keys come in options that are shown nowhere, and stay in the memory of the keeper.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from .apply_fault import Kind, Options
from .checks import CannotObserve
from .keeper import Fault, FaultError, Memory
from .observe_http import BoundedSession
from .observe_resp import Place, Refusal, Server, ask
from .pool import Deadline
from .ticks import ticks

# What a server may take to answer, and to be active after its last key, in seconds.
ANSWER_S = 10.0
POLL_S = 0.1


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
    """Seal Vault or OpenBao; its keys unseal it again. Source: openbao.org/api-docs/system/seal"""
    vault = _Vault(options["vault"])
    if memory is None:
        vault.refuse_unless_it_can_be_unsealed()
    return Fault(
        what=f"{vault.address} is sealed", undo_said="unseal it with its keys", memory=memory or {},
        cause=vault.seal, undo=vault.unseal,
    )  # fmt: skip


class _Vault:
    def __init__(self, options: Options) -> None:
        self.address = str(options["address"]).rstrip("/")
        self._options = options

    def refuse_unless_it_can_be_unsealed(self) -> None:
        state, keys = self._ask("GET", "sys/seal-status"), len(self._options["unseal_keys"])
        if state["sealed"]:
            raise FaultError(f"{self.address} is sealed already: nothing was broken")
        if keys < state["t"]:
            raise FaultError(
                f"{self.address} needs {state['t']} keys to be unsealed, and has {keys}: nothing was broken"
            )

    def seal(self) -> None:
        self._ask("PUT", "sys/seal", token=self._options["token"])

    def unseal(self) -> str:
        state, taken = self._ask("GET", "sys/seal-status"), 0
        for key in self._options["unseal_keys"]:
            if not state["sealed"]:
                break
            state, taken = self._ask("PUT", "sys/unseal", body={"key": key}), taken + 1
        if state["sealed"]:
            raise FaultError(f"{self.address} is still sealed: {state['progress']} of {state['t']} keys count")
        _until_active(lambda: self._ask("GET", "sys/health?standbyok=true"))
        return f"{taken} keys of {state['n']} unsealed it" if taken else "it was unsealed already"

    def _ask(self, method: str, path: str, *, token: str | None = None, body: Any = None) -> Any:
        headers = {"X-Vault-Namespace": self._options["namespace"]} if self._options.get("namespace") else {}
        headers |= {"X-Vault-Token": token} if token else {}
        with BoundedSession(Deadline(time.monotonic() + ANSWER_S), ca_path=self._options.get("ca_path")) as session:
            url = f"{self.address}/v1/{path}"
            answer = session.request(method, url, json=body, headers=headers, allow_redirects=False)
        if answer.status_code >= 300:
            raise FaultError(f"{self.address} answered {path.partition('?')[0]} with {answer.status_code}")
        return answer.json() if answer.content else {}


def _until_active(ask_for_health: Callable[[], Any]) -> None:
    """After its last key a server is a standby for a moment, and serves nobody."""
    reason: Exception | None = None
    for _ in ticks(total_s=ANSWER_S, every_s=POLL_S):
        try:
            ask_for_health()
        except (FaultError, CannotObserve) as not_yet:
            reason = not_yet
            continue
        return
    raise FaultError(f"it is unsealed, and not active: {reason}")


SERVER_KINDS: Mapping[str, Kind] = {"redis_pause": _redis_pause, "vault_seal": _vault_seal}
