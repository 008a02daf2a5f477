# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of a Vault or OpenBao server from its own answers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .masking import is_sensitive

Fingerprint = Callable[[str], str]
Answer = Mapping[str, Any]

# A mount that was taken away and made again is another one, and what was in it is gone: its accessor tells.
_OF_A_MOUNT = ("type", "accessor", "description", "options", "local", "seal_wrap", "external_entropy_access")
# The version that runs changes with the server's own, which is told once.
_OF_ITS_CONFIG = ("default_lease_ttl", "max_lease_ttl", "force_no_cache", "token_type", "listing_visibility")


def seal_facts(status: Answer) -> dict[str, Any]:
    """``sys/seal-status``: what the server is, and how it is sealed."""
    names = {"version": "version", "seal.type": "type", "seal.shares": "n", "seal.threshold": "t"}
    names |= {"cluster": "cluster_name", "storage": "storage_type"}
    return {key: status[field] for key, field in names.items() if status.get(field) not in (None, "")}


def mount_facts(kind: str, mounts: Answer) -> dict[str, Any]:
    """``sys/mounts`` or ``sys/auth``: each with its type, its options and for how long its leases are."""
    return {f"{kind}.{path.strip('/')}": _mount(mount) for path, mount in mounts.items()}


def _mount(mount: Answer) -> dict[str, Any]:
    config = mount.get("config") or {}
    told = {name: mount.get(name) for name in _OF_A_MOUNT} | {name: config.get(name) for name in _OF_ITS_CONFIG}
    return {name: value for name, value in told.items() if value not in (None, "", {}, False)}


def audit_facts(devices: Answer, fingerprint: Fingerprint) -> dict[str, Any]:
    """``sys/audit``: each device, and where it writes."""
    return {f"audit.{path.strip('/')}": _device(device, fingerprint) for path, device in devices.items()}


def _device(device: Answer, fingerprint: Fingerprint) -> dict[str, Any]:
    options = {
        name: fingerprint(str(value)) if is_sensitive(name) else value
        for name, value in (device.get("options") or {}).items()
    }
    return {"type": device.get("type"), "options": options}
