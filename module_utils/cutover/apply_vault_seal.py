# SPDX-License-Identifier: GPL-3.0-or-later
"""Seal Vault or OpenBao, and unseal it with its holders' key shares. Source: openbao.org/api-docs/system/unseal"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .checks import CannotObserve
from .observe_http import BoundedSession
from .observe_key_shares import Share
from .pool import Deadline
from .ticks import ticks

Options = Mapping[str, Any]

# What a server may take to answer, and to be active after its last key, in seconds.
ANSWER_S = 10.0
POLL_S = 0.1


class SealError(Exception):
    """What the server did not do. The text is ready for a person, and holds neither token nor share."""


@dataclass(frozen=True, kw_only=True)
class SealState:
    """``sys/seal-status``: how many of ``shares`` key shares have counted so far, of the ``threshold`` it takes."""

    sealed: bool
    progress: int
    threshold: int
    shares: int

    @property
    def said(self) -> str:
        """For a person."""
        if not self.sealed:
            return "unsealed"
        return f"sealed: {self.progress} of {self.threshold} key shares count, of {self.shares} that there are"


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What came of one share; ``counted`` is false for one that counts already, or was not needed any more."""

    holder: str
    counted: bool
    progress: int


class VaultSeal:
    """One server, by ``address``, ``ca_path`` and ``namespace``."""

    def __init__(self, options: Options) -> None:
        self.address = str(options["address"]).rstrip("/")
        self._options = options

    def state(self) -> SealState:
        """As it is now. Raises ``SealError`` for a server that was never initialised."""
        return self._state(self._ask("GET", "sys/seal-status"))

    def seal(self, token: str) -> None:
        """Seal it, by a token that may."""
        self._ask("PUT", "sys/seal", token=token)

    def unseal(self, shares: Sequence[Share]) -> tuple[SealState, list[Taken]]:
        """Hand in one share after the other until it is unsealed; what came of each."""
        state, taken = self.state(), []
        for share in shares:
            if not state.sealed:
                break
            before, state = state, self._hand_in(share)
            counted = not state.sealed or state.progress > before.progress
            taken.append(Taken(holder=share.holder, counted=counted, progress=state.progress or state.threshold))
        if taken and not state.sealed:
            self._until_active()
        return state, taken

    def _hand_in(self, share: Share) -> SealState:
        try:
            return self._state(self._ask("PUT", "sys/unseal", body={"key": share.key}))
        except SealError as refusal:
            raise SealError(
                f"{refusal}: the share of {share.holder}, or one of those before it, is none of this server's. "
                f"It is {self.state().said}"
            ) from refusal

    def _state(self, told: Mapping[str, Any]) -> SealState:
        if not told.get("initialized", True):
            raise SealError(f"{self.address} was never initialised: it has no keys")
        return SealState(sealed=told["sealed"], progress=told["progress"], threshold=told["t"], shares=told["n"])

    def _until_active(self) -> None:
        """After its last key a server is a standby for a moment, and serves nobody."""
        reason: Exception | None = None
        for _ in ticks(total_s=ANSWER_S, every_s=POLL_S):
            try:
                self._ask("GET", "sys/health?standbyok=true")
            except (SealError, CannotObserve) as not_yet:
                reason = not_yet
                continue
            return
        raise SealError(f"{self.address} is unsealed, and not active: {reason}")

    def _ask(self, method: str, path: str, *, token: str | None = None, body: Any = None) -> Any:
        headers = {"X-Vault-Namespace": self._options["namespace"]} if self._options.get("namespace") else {}
        headers |= {"X-Vault-Token": token} if token else {}
        with BoundedSession(Deadline(time.monotonic() + ANSWER_S), ca_path=self._options.get("ca_path")) as session:
            url = f"{self.address}/v1/{path}"
            answer = session.request(method, url, json=body, headers=headers, allow_redirects=False)
        if answer.status_code >= 300:
            raise SealError(f"{self.address} answered {path.partition('?')[0]} with {answer.status_code}")
        return answer.json() if answer.content else {}
