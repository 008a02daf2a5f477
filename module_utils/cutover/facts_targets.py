# SPDX-License-Identifier: GPL-3.0-or-later
"""Of which declared targets facts are taken: a server may be declared, and judged, more than once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

Options = Mapping[str, Any]

PORTS = {"https": 443, "rediss": 6379, "valkeys": 6379}


def tls_servers(targets: Iterable[Options]) -> list[dict[str, Any]]:
    """The servers of these targets that speak TLS, each host and port once, and named after it."""
    servers: dict[str, dict[str, Any]] = {}
    for target in targets:
        parts = urlsplit(str(target["address"]))
        if parts.scheme in PORTS and parts.hostname:
            port, tls_name = parts.port or PORTS[parts.scheme], target.get("tls_name")
            name = f"{parts.hostname}:{port}{f' as {tls_name}' if tls_name else ''}"
            address = f"{parts.scheme}://{parts.hostname}:{port}"
            servers[name] = {"name": name, "address": address, "tls_name": tls_name or parts.hostname}
    return list(servers.values())


def places(targets: Iterable[Options]) -> list[dict[str, Any]]:
    """The first target of each address, without what is expected of it: the later ones are how others see it."""
    found: dict[str, dict[str, Any]] = {}
    for target in targets:
        taken = {key: value for key, value in target.items() if key != "expected"}
        found.setdefault(str(target["address"]), taken)
    return list(found.values())
