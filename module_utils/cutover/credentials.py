# SPDX-License-Identifier: GPL-3.0-or-later
"""What a secret is made of: a server that is sent ``Authorization: Bearer abc`` may answer with ``abc`` alone."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator

_WITH_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9-]*)\s+(?P<credential>\S+)\s*")


def all_parts(secrets: Iterable[str]) -> frozenset[str]:
    """The secrets and, of those that are values of an Authorization header, the credential within."""
    return frozenset(part for secret in secrets for part in _parts(secret))


def _parts(secret: str) -> Iterator[str]:
    yield secret
    header = _WITH_SCHEME.fullmatch(secret)
    if header:
        yield header["credential"]
        if header["scheme"].lower() == "basic":
            yield from _basic(header["credential"])


def _basic(credential: str) -> Iterator[str]:
    """User and password together, and the password (RFC 7617)."""
    try:
        pair = base64.b64decode(credential, validate=True).decode("utf-8", "surrogateescape")
    except binascii.Error:
        return
    yield pair
    yield pair.partition(":")[2]
