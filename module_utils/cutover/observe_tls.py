# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a server's TLS by handshakes of our own: whose certificate, how long it lasts, how old a version it takes."""

from __future__ import annotations

import socket
import ssl
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import requests.utils

from .checks import CannotObserve, Known
from .judge_endpoint import TLS_VERSIONS, Tls
from .pool import Deadline

# What OpenSSL says when it is our side that cannot speak a version: that tells nothing about the server.
OUR_OWN_REASONS = frozenset({"NO_PROTOCOLS_AVAILABLE", "NO_CIPHERS_AVAILABLE", "UNSUPPORTED_SSL_VERSION"})
# How a server hangs up on a version that it does not want. Whatever else goes wrong tells nothing about it.
HUNG_UP = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)


@dataclass(frozen=True, kw_only=True)
class TlsServer:
    """Where a server is, and how it is spoken to: the options of an HTTPS target, taken apart."""

    host: str
    port: int
    name: str
    ca_path: str | None = None
    client_certificate: tuple[str, str | None] | None = None


def look_at_tls(server: TlsServer, *, min_version: str | None, deadline: Deadline) -> Tls:
    """Handshake once as any client does and, for every version before ``min_version``, once with that version alone.

    Raises ``CannotObserve`` when the ordinary handshake fails.
    """
    context = ssl.create_default_context(cafile=server.ca_path or requests.utils.DEFAULT_CA_BUNDLE_PATH)
    try:
        version, certificate = _handshake(server, context, deadline)
    except OSError as reason:
        raise CannotObserve(f"TLS to {server.host} failed: {reason}") from reason
    ends = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    return Tls(
        oldest_version=_oldest_version(server, version, min_version, deadline),
        not_after=datetime.fromtimestamp(ends, UTC),
    )


def _oldest_version(server: TlsServer, version: str, min_version: str | None, deadline: Deadline) -> Known[str]:
    """The oldest version accepted of those before ``min_version``, else the one that was agreed on."""
    older = TLS_VERSIONS[: TLS_VERSIONS.index(min_version)] if min_version else ()
    try:
        return next((candidate for candidate in older if _accepts(server, candidate, deadline)), version)
    except CannotObserve as reason:
        return reason


def _accepts(server: TlsServer, version: str, deadline: Deadline) -> bool:
    try:
        _handshake(server, _context_for(version), deadline)
    except ssl.SSLError as reason:
        if reason.reason in OUR_OWN_REASONS:
            raise CannotObserve(f"whether TLS {version} is refused: the OpenSSL here cannot offer it") from reason
        return False
    except HUNG_UP:
        return False
    except OSError as reason:
        raise CannotObserve(f"whether TLS {version} is refused: {reason}") from reason
    return True


def _context_for(version: str) -> ssl.SSLContext:
    """A client that offers this version alone, with every cipher. Nothing is sent over it, so nobody is verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        # That these versions are old is why they are tried.
        warnings.simplefilter("ignore", DeprecationWarning)
        only = ssl.TLSVersion[f"TLSv{version.replace('.', '_').removesuffix('_0')}"]
        try:
            context.minimum_version = context.maximum_version = only
        except ValueError as reason:
            raise CannotObserve(f"whether TLS {version} is refused: the OpenSSL here cannot offer it") from reason
    return context


def _handshake(server: TlsServer, context: ssl.SSLContext, deadline: Deadline) -> tuple[str, dict[str, Any]]:
    """The version agreed on and, when it was verified, the server's certificate."""
    if server.client_certificate:
        context.load_cert_chain(*server.client_certificate)
    with (
        socket.create_connection((server.host, server.port), timeout=deadline.left_s()) as connection,
        context.wrap_socket(connection, server_hostname=server.name) as secured,
    ):
        return str(secured.version()).removeprefix("TLSv"), dict(secured.getpeercert() or {})
