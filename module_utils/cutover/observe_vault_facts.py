# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the facts of one Vault or OpenBao server with hvac. Reads what it is made of, and no secret."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import hvac

from .checks import CannotObserve
from .facts_vault import audit_facts, mount_facts, seal_facts
from .observation import Facts, Fingerprint, Seen, checksum, in_parts
from .observe_vault import asked, client_of, logged_in
from .pool import Deadline

Options = Mapping[str, Any]


def look_at_vault_facts(fingerprint: Fingerprint, target: Options, deadline: Deadline) -> Seen:
    """Raises ``CannotObserve`` when the server is sealed, does not answer as Vault does, or refuses the login."""
    with client_of(target, deadline) as client:
        status = asked(client.sys.read_seal_status)
        if not isinstance(status, Mapping) or status.get("sealed") is not False:
            raise CannotObserve("it is sealed, or does not answer as Vault does: nothing can be listed")
        with logged_in(client, target):
            seen = in_parts(
                {
                    "mount": partial(_mounts, client),
                    "auth": lambda: mount_facts("auth", asked(client.sys.list_auth_methods)["data"]),
                    "audit": lambda: audit_facts(asked(client.sys.list_enabled_audit_devices)["data"], fingerprint),
                    "policy": partial(_policies, client),
                    "login": partial(_login, client),
                }
            )
    return Seen(facts=seal_facts(status) | dict(seen.facts), unseen=seen.unseen)


def _mounts(client: hvac.Client) -> Facts:
    return mount_facts("mount", asked(client.sys.list_mounted_secrets_engines)["data"])


def _policies(client: hvac.Client) -> Facts:
    """Each policy's digest. `root` has no text, and cannot be changed."""
    names = asked(client.sys.list_acl_policies)["data"]["keys"]
    return {
        f"policy.{name}": checksum(asked(partial(client.sys.read_acl_policy, name))["data"]["policy"])
        for name in names
        if name != "root"
    }


def _login(client: hvac.Client) -> Facts:
    """What this login may do is told by its policies: an auditor sees that it cannot write."""
    return {"login.policies": sorted(asked(client.auth.token.lookup_self)["data"]["policies"])}
