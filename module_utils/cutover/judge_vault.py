# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true of a Vault or OpenBao server (checklist rows C5, C11, C12, E6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter
from typing import Any

from .checks import CannotObserve, Check, ExpectationError, Known, known
from .versions import at_least

NOBODY = CannotObserve("nobody logged in")


@dataclass(frozen=True, kw_only=True)
class SecretVersion:
    """The current version of a KV secret: which keys hold something, and since when. Never a value."""

    keys: frozenset[str]
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Token:
    """What the server says about the token in use. ``ttl_s`` is 0 for a token that never ends."""

    policies: frozenset[str]
    ttl_s: int


@dataclass(frozen=True, kw_only=True)
class VaultObservation:
    """Everything seen of one server. What could not be seen is a ``CannotObserve`` in its place."""

    observed_at: datetime
    initialized: bool
    sealed: bool
    version: str
    key_shares: int
    key_threshold: int
    unseal_progress: int
    standby: Known[bool]
    token: Known[Token] = NOBODY
    kv_versions: Known[Mapping[str, int]] = NOBODY
    audit_devices: Known[frozenset[str]] = NOBODY
    raft_voters: Known[int] = NOBODY
    secrets: Mapping[str, Known[SecretVersion]] = field(default_factory=dict)


VaultCheck = Check[VaultObservation]


def vault_checks(expected: Mapping[str, Any]) -> Iterator[VaultCheck]:
    """Every check that ``expected`` implies; the keys are those of vault_check's ``expected`` option.

    Source: https://openbao.org/api-docs/system/seal-status/ and the pages beside it.
    """
    yield from _server_checks(expected)
    yield from _login_checks(expected)
    yield from _configuration_checks(expected)
    for secret in expected.get("secrets", []):
        yield from _secret_checks(secret)


def _server_checks(expected: Mapping[str, Any]) -> Iterator[VaultCheck]:
    yield Check(
        name="initialized",
        expected=True,
        look=lambda seen: seen.initialized,
        remedy="bao operator init -key-shares=5 -key-threshold=3, and hand each share to another holder",
    )
    yield Check(
        name="sealed",
        expected=False,
        look=lambda seen: seen.sealed,
        needs="initialized",
        remedy="have the holders of the unseal keys run: bao operator unseal",
    )
    if "min_version" in expected:
        yield Check(
            name="version",
            expected=f">= {expected['min_version']}",
            look=lambda seen: seen.version,
            holds=lambda version: at_least(version, expected["min_version"]),
            remedy="upgrade the server, one node at a time, the active one last",
        )
    for name in ("key_shares", "key_threshold"):
        if name in expected:
            yield Check(
                name=name,
                expected=expected[name],
                look=attrgetter(name),
                needs="initialized",
                remedy="bao operator rekey -init with the declared shares and threshold",
            )
    if "standby" in expected:
        yield Check(
            name="standby",
            expected=expected["standby"],
            look=lambda seen: known(seen.standby),
            needs="sealed",
            remedy="address the declared node, or let the active one step down: bao operator step-down",
        )


def _login_checks(expected: Mapping[str, Any]) -> Iterator[VaultCheck]:
    if not NEEDS_LOGIN.isdisjoint(expected):
        yield Check(
            name="login",
            expected=True,
            look=lambda seen: known(seen.token) is not None,
            needs="sealed",
            remedy="give a valid token, or role_id and secret_id, for this target",
        )
        yield Check(
            name="token.root",
            expected=False,
            look=lambda seen: "root" in known(seen.token).policies,
            needs="login",
            remedy="use a token whose policy grants just what is checked, and revoke the root token",
        )
    if "token_max_ttl_s" in expected:
        yield Check(
            name="token.ttl",
            expected=f"ends within {expected['token_max_ttl_s']} s",
            look=lambda seen: known(seen.token).ttl_s,
            holds=lambda ttl_s: 0 < ttl_s <= expected["token_max_ttl_s"],
            needs="login",
            remedy="issue tokens with a time to live: token_ttl and token_max_ttl of the role",
        )


def _configuration_checks(expected: Mapping[str, Any]) -> Iterator[VaultCheck]:
    for mount, version in sorted(expected.get("kv_versions", {}).items()):
        if str(version) not in ("1", "2"):
            raise ExpectationError(f"kv_versions of {mount} is {version!r}: there are the versions 1 and 2")
        yield Check(
            name=f"kv.{mount.strip('/')}",
            expected=int(version),
            look=partial(_kv_version, mount.strip("/")),
            needs="login",
            remedy=f"bao secrets enable -path={mount} -version={version} kv",
        )
    for device in sorted(expected.get("audit_devices", [])):
        yield Check(
            name=f"audit.{device.strip('/')}",
            expected="enabled",
            look=partial(_audit_device, device.strip("/")),
            needs="login",
            remedy=f"declare the audit device {device} in the server's configuration and reload it",
        )
    if "raft_voters" in expected:
        yield Check(
            name="raft.voters",
            expected=f">= {expected['raft_voters']}",
            look=lambda seen: known(seen.raft_voters),
            holds=lambda voters: voters >= expected["raft_voters"],
            needs="login",
            remedy="let the missing nodes join: bao operator raft join",
        )


def _kv_version(mount: str, seen: VaultObservation) -> int | None:
    return known(seen.kv_versions).get(mount)


def _audit_device(device: str, seen: VaultObservation) -> str:
    return "enabled" if device in known(seen.audit_devices) else "not enabled"


def _secret_checks(secret: Mapping[str, Any]) -> Iterator[VaultCheck]:
    path, name = secret["path"], f"secret.{secret['path']}"
    wanted = frozenset(secret.get("keys") or ())

    def missing(seen: VaultObservation) -> list[str]:
        return sorted(wanted - known(seen.secrets[path]).keys)

    yield Check(
        name=name,
        expected="readable, with a value for: " + (", ".join(sorted(wanted)) or "any key"),
        look=lambda seen: (
            f"no value for: {', '.join(missing(seen))}" if missing(seen) else sorted(known(seen.secrets[path]).keys)
        ),
        holds=lambda found: isinstance(found, list) and bool(found),
        needs="login",
        remedy=f"bao kv patch {path} KEY=-, with a policy that lets this login read it",
    )
    if secret.get("max_age_days") is not None:
        yield Check(
            name=f"{name}.age_days",
            expected=f"<= {secret['max_age_days']}",
            look=lambda seen: _age_days(seen.observed_at - known(seen.secrets[path]).created_at),
            holds=lambda age_days: age_days <= secret["max_age_days"],
            needs=name,
            remedy=f"rotate it: write a new version of {path}, then restart what reads it",
        )


NEEDS_LOGIN = frozenset({"token_max_ttl_s", "kv_versions", "audit_devices", "raft_voters", "secrets"})


def _age_days(age: timedelta) -> float:
    return round(age / timedelta(days=1), 1)
