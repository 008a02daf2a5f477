# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the certificate that a server shows, whether it can be trusted or not: a replaced one may be neither."""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .checks import CannotObserve
from .observation import Seen
from .pool import Deadline

Options = Mapping[str, Any]


def look_at_certificate(server: Options, deadline: Deadline) -> Seen:
    """The digest of the certificate; raises ``CannotObserve`` where no handshake comes about."""
    parts = urlsplit(server["address"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((parts.hostname, parts.port), timeout=deadline.left_s()) as connection,
            context.wrap_socket(connection, server_hostname=server.get("tls_name") or parts.hostname) as secured,
        ):
            certificate = secured.getpeercert(binary_form=True)
    except OSError as reason:
        raise CannotObserve(f"TLS to {server['name']} failed: {reason}") from reason
    if not certificate:
        raise CannotObserve(f"{server['name']} showed no certificate")
    return Seen(facts={"certificate": f"sha256 {hashlib.sha256(certificate).hexdigest()}"})
