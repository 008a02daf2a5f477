# SPDX-License-Identifier: GPL-3.0-or-later
"""Read values from Vault or OpenBao for those who must send them. The one place where a value leaves the server."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import hvac

from .checks import CannotObserve
from .observe_vault import asked, client_of, logged_in
from .pool import Deadline

Options = Mapping[str, Any]
# Path, key, and how many versions before the newest one.
Wanted = tuple[str, str, int]


def read_values(vault: Options, wanted: Mapping[str, Wanted], deadline: Deadline) -> dict[str, str]:
    """The value of each that is wanted by its name; a path is mount and path in a version 2 key-value engine.

    ``vault`` has ``address``, ``token`` or ``role_id`` and ``secret_id``, and what else vault_check's targets have. A
    login by AppRole is revoked at the end. Raises ``CannotObserve`` that says what could not be read, and why.
    """
    where = f"Vault at {vault['address']}"
    try:
        with client_of(vault, deadline) as client, logged_in(client, vault):
            places = sorted({(path, back) for path, _, back in wanted.values()})
            secrets = {(path, back): _secret(client, path, back) for path, back in places}
    except CannotObserve as reason:
        raise CannotObserve(f"{where}: {reason}") from reason
    return {name: _value(secrets[path, back], path, key, where) for name, (path, key, back) in wanted.items()}


def _secret(client: hvac.Client, path: str, back: int) -> Mapping[str, Any]:
    mount, _, name = path.strip("/").partition("/")
    read = partial(
        client.secrets.kv.v2.read_secret_version, path=name, mount_point=mount, raise_on_deleted_version=True
    )
    try:
        newest = asked(read)["data"]
        if not back:
            return dict(newest["data"])
        version = newest["metadata"]["version"] - back
        if version < 1:
            raise CannotObserve(f"its newest version is {version + back}: there is none {back} before it")
        return dict(asked(partial(read, version=version))["data"]["data"])
    except CannotObserve as reason:
        raise CannotObserve(f"{path}: {reason}") from reason
    except (KeyError, TypeError) as strange:
        raise CannotObserve(f"{path}: the answer has another shape than Vault's") from strange


def _value(secret: Mapping[str, Any], path: str, key: str, where: str) -> str:
    value = secret.get(key)
    if value in (None, "") or isinstance(value, (Mapping, list)):
        raise CannotObserve(f"{where}: {path} has no text under the key {key!r}")
    return str(value)
