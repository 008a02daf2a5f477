# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at one Vault or OpenBao server with hvac. Reads only; a value of a secret is forgotten where it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import hvac
import hvac.exceptions
import requests

from .checks import CannotObserve, Known
from .judge_vault import NEEDS_LOGIN, SecretVersion, Token, VaultObservation
from .observe_http import BoundedSession
from .pool import Deadline

T = TypeVar("T")
Options = Mapping[str, Any]

# A standby answers 429 (a performance standby 473, a DR secondary 472): answers, not errors.
STANDBY_ANSWERS = frozenset({429, 472, 473})
# What Python, or hvac, raises on JSON that is not as Vault's.
OF_ANOTHER_SHAPE = (AttributeError, KeyError, TypeError)


def look_at_vault(target: Options, deadline: Deadline) -> VaultObservation:
    """Observe the server at ``target["address"]``; raises ``CannotObserve`` when it does not answer as Vault does."""
    with client_of(target, deadline) as client:
        seal = _seal_status(client)
        seen: dict[str, Any] = {"standby": attempt(lambda: _standby(client))}
        if not seal["sealed"] and not NEEDS_LOGIN.isdisjoint(target["expected"]):
            seen |= _as_somebody(client, target)
    return VaultObservation(observed_at=datetime.now(UTC), **seal, **seen)


@contextmanager
def client_of(target: Options, deadline: Deadline) -> Iterator[hvac.Client]:
    """A client of the server at ``target["address"]``, which nobody has logged in with yet."""
    if not target["address"]:
        # hvac would ask VAULT_ADDR of whoever runs this.
        raise CannotObserve("the address is empty")
    with BoundedSession(deadline, ca_path=target.get("ca_path")) as session:
        yield hvac.Client(
            url=target["address"],
            namespace=target.get("namespace"),
            session=session,
            verify=session.verify,
            # Left out, these come from VAULT_TOKEN, ~/.vault-token and VAULT_CLIENT_CERT of whoever runs this.
            token="",
            cert=(),
            # A redirect would carry the token to an address nobody declared.
            allow_redirects=False,
        )


def _seal_status(client: hvac.Client) -> dict[str, Any]:
    answer = asked(client.sys.read_seal_status)
    try:
        return {
            "initialized": answer["initialized"],
            "sealed": answer["sealed"],
            "version": answer["version"],
            "key_shares": answer["n"],
            "key_threshold": answer["t"],
            "unseal_progress": answer["progress"],
        }
    except (KeyError, TypeError) as strange:
        raise CannotObserve("it answered, but not as Vault or OpenBao does: is this the right address?") from strange


def _standby(client: hvac.Client) -> bool:
    answer = asked(lambda: client.sys.read_health_status(method="GET"))
    if not isinstance(answer, requests.Response):
        return bool(answer["standby"])
    if answer.status_code not in STANDBY_ANSWERS:
        raise CannotObserve(f"sys/health answered {answer.status_code}, and not as Vault does")
    return True


def _as_somebody(client: hvac.Client, target: Options) -> dict[str, Any]:
    """What only a login can see. A refused login is the reason for all of it."""
    try:
        with logged_in(client, target):
            return {
                "token": attempt(lambda: _token(client)),
                "kv_versions": attempt(lambda: _kv_versions(client)),
                "audit_devices": attempt(lambda: _audit_devices(client)),
                "raft_voters": attempt(lambda: _raft_voters(client)),
                "secrets": {
                    secret["path"]: attempt(partial(_secret, client, secret["path"]))
                    for secret in target["expected"].get("secrets", [])
                },
            }
    except CannotObserve as reason:
        return dict.fromkeys(("token", "kv_versions", "audit_devices", "raft_voters"), reason)


@contextmanager
def logged_in(client: hvac.Client, target: Options) -> Iterator[None]:
    """Use the target's token, or log in by its AppRole and revoke that login's token at the end."""
    if target.get("token"):
        client.token = target["token"]
        yield
        return
    if not target.get("role_id"):
        raise CannotObserve("the target names neither a token nor role_id and secret_id")
    mount = target.get("approle_mount") or "approle"
    asked(
        lambda: client.auth.approle.login(
            role_id=target["role_id"], secret_id=target.get("secret_id"), mount_point=mount
        )
    )
    try:
        yield
    finally:
        attempt(lambda: asked(client.auth.token.revoke_self))


def _token(client: hvac.Client) -> Token:
    data = asked(client.auth.token.lookup_self)["data"]
    return Token(policies=frozenset(data["policies"]), ttl_s=int(data["ttl"]))


def _kv_versions(client: hvac.Client) -> dict[str, int]:
    mounts = asked(client.sys.list_mounted_secrets_engines)["data"]
    return {
        path.strip("/"): int((mount.get("options") or {}).get("version", 1))
        for path, mount in mounts.items()
        if mount["type"] in ("kv", "generic")
    }


def _audit_devices(client: hvac.Client) -> frozenset[str]:
    return frozenset(path.strip("/") for path in asked(client.sys.list_enabled_audit_devices)["data"])


def _raft_voters(client: hvac.Client) -> int:
    servers = asked(client.sys.read_raft_config)["data"]["config"]["servers"]
    return sum(bool(server["voter"]) for server in servers)


def _secret(client: hvac.Client, path: str) -> SecretVersion:
    mount, _, name = path.strip("/").partition("/")
    answer = asked(
        lambda: client.secrets.kv.v2.read_secret_version(path=name, mount_point=mount, raise_on_deleted_version=True)
    )
    created_at = answer["data"]["metadata"]["created_time"]
    return SecretVersion(
        keys=frozenset(key for key, value in answer["data"]["data"].items() if value not in (None, "")),
        # Nanoseconds are more than Python reads: the seconds are enough for an age in days.
        created_at=datetime.fromisoformat(created_at.partition(".")[0].rstrip("Z")).replace(tzinfo=UTC),
    )


def attempt(look: Callable[[], T]) -> Known[T]:
    """A part of an observation, or why it could not be seen."""
    try:
        return look()
    except CannotObserve as reason:
        return reason
    except (*OF_ANOTHER_SHAPE, ValueError) as strange:
        return _of_another_shape(strange)


def asked(ask: Callable[[], Any]) -> Any:
    """Run one request of hvac's; what the server refuses becomes ``CannotObserve`` in the server's own words."""
    try:
        return ask()
    except hvac.exceptions.InvalidPath as reason:
        raise CannotObserve("nothing there (404): no such path, or its current version is deleted") from reason
    except hvac.exceptions.Forbidden as reason:
        raise CannotObserve(f"refused (403): {reason}") from reason
    except hvac.exceptions.VaultError as reason:
        raise CannotObserve(f"the server refused: {reason}") from reason
    except ValueError as reason:
        raise CannotObserve("it answered, but not in JSON: is this Vault or OpenBao?") from reason
    except OF_ANOTHER_SHAPE as strange:
        raise _of_another_shape(strange) from strange


def _of_another_shape(strange: Exception) -> CannotObserve:
    return CannotObserve(f"the server's answer has another shape than Vault's: {type(strange).__name__}")
