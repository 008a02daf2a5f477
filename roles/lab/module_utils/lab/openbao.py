"""Initialise, unseal and furnish the lab's OpenBao over its HTTP interface (https://openbao.org/api-docs/)."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .keep import Keep
from .trouble import Trouble

SHARES = 5
THRESHOLD = 3
PATIENCE_S = 60.0
KEYS = "openbao-init.json"  # unseal keys and root token, as the server gave them


class Refused(Exception):
    """The server answered with an error status."""


@dataclass(frozen=True)
class OpenBao:
    """A server, trusted by the lab's CA."""

    url: str
    ca_file: Path

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, token: str = "") -> dict[str, Any]:
        """The server's answer as a dictionary. Raises Refused with its status, OSError when there is no answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/v1/{path}", data=data, method=method)
        if token:
            request.add_header("X-Vault-Token", token)
        context = ssl.create_default_context(cafile=str(self.ca_file))
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as answer:
                return dict(json.loads(answer.read() or b"{}"))
        except urllib.error.HTTPError as problem:
            raise Refused(f"{method} {path}: {problem.code}") from problem

    def is_sealed(self) -> bool | None:
        """Whether it is sealed (or new); None when nobody answers."""
        with contextlib.suppress(OSError, Refused, ValueError):
            return bool(self.ask("GET", "sys/seal-status")["sealed"])
        return None


def bring_up(server: OpenBao, keep: Keep, furniture: Mapping[str, Any]) -> bool:
    """From whatever state it is in to unsealed, active and furnished; whether anything changed."""
    status = server.ask("GET", "sys/seal-status")
    if not status["initialized"]:
        initialised = server.ask("PUT", "sys/init", {"secret_shares": SHARES, "secret_threshold": THRESHOLD})
        keep.put(KEYS, json.dumps(initialised))
    keys = json.loads(keep.get(KEYS))
    for number, key in enumerate(keys["keys_base64"], start=1):
        if not keep.has(f"openbao-share-{number}"):
            keep.put(f"openbao-share-{number}", key)
    if status["sealed"]:
        for key in keys["keys_base64"][:THRESHOLD]:
            server.ask("PUT", "sys/unseal", {"key": key})
    _wait_active(server)
    furnished = furnish(server, keep, furniture, keys["root_token"])
    return bool(status["sealed"]) or furnished


def furnish(server: OpenBao, keep: Keep, furniture: Mapping[str, Any], token: str) -> bool:
    """Engines, policies, roles and secrets as declared; whether anything changed."""
    changes = [
        _ensure_path(server, token, "sys/mounts", "secret/", {"type": "kv", "options": {"version": "2"}}),
        _ensure_path(server, token, "sys/auth", "approle/", {"type": "approle"}),
        *(_ensure_policy(server, token, name, rules) for name, rules in furniture["policies"].items()),
        *(_ensure_role(server, token, keep, name, role) for name, role in furniture["roles"].items()),
        *(_ensure_secret(server, token, path, keep.fill(data)) for path, data in furniture["secrets"].items()),
    ]
    return any(changes)


def _wait_active(server: OpenBao) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        # 429 and 503 while it is still a standby: after the last unseal it takes a moment to become active.
        with contextlib.suppress(Refused):
            server.ask("GET", "sys/health")
            return
        if time.monotonic() > deadline:
            raise Trouble(f"OpenBao at {server.url} is not active {PATIENCE_S:.0f} s after its unsealing: see its log.")
        time.sleep(0.05)


def _ensure_path(server: OpenBao, token: str, kind: str, path: str, settings: Mapping[str, Any]) -> bool:
    if path in server.ask("GET", kind, token=token)["data"]:
        return False
    server.ask("POST", f"{kind}/{path.rstrip('/')}", settings, token)
    return True


def _ensure_policy(server: OpenBao, token: str, name: str, rules: str) -> bool:
    with contextlib.suppress(Refused):
        if server.ask("GET", f"sys/policies/acl/{name}", token=token)["data"]["policy"] == rules:
            return False
    server.ask("PUT", f"sys/policies/acl/{name}", {"policy": rules}, token)
    return True


def _ensure_role(server: OpenBao, token: str, keep: Keep, name: str, role: Mapping[str, Any]) -> bool:
    names = {"role_id": f"openbao-{name}-role-id", "secret_id": f"openbao-{name}-secret-id"}
    if all(keep.has(file) for file in names.values()):
        return False
    path = f"auth/approle/role/{name}"
    server.ask("POST", path, role, token)
    keep.put(names["role_id"], server.ask("GET", f"{path}/role-id", token=token)["data"]["role_id"])
    keep.put(names["secret_id"], server.ask("POST", f"{path}/secret-id", {}, token)["data"]["secret_id"])
    return True


def _ensure_secret(server: OpenBao, token: str, path: str, data: Mapping[str, str]) -> bool:
    with contextlib.suppress(Refused):
        if server.ask("GET", f"secret/data/{path}", token=token)["data"]["data"] == data:
            return False
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            server.ask("POST", f"secret/data/{path}", {"data": data}, token)
            return True
        except Refused:
            # A new KV mount answers 400 until it has upgraded itself to version 2.
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)
