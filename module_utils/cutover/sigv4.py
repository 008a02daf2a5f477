# SPDX-License-Identifier: GPL-3.0-or-later
"""Sign a request without a body for an S3 server, by AWS Signature Version 4.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qsl, quote, unquote, urlsplit

NO_BODY = hashlib.sha256(b"").hexdigest()
SIGNED = "host;x-amz-content-sha256;x-amz-date"


@dataclass(frozen=True)
class Credentials:
    """An access key and its secret."""

    access_key: str
    secret_key: str = field(repr=False)


def signed_headers(
    method: str, address: str, credentials: Credentials, *, region: str, now: datetime
) -> dict[str, str]:
    """The headers that make the request ``credentials``' own; ``now`` is in UTC."""
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    request = _canonical_request(method, address, moment)
    to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = _hmac(_signing_key(credentials.secret_key, scope), to_sign).hex()
    return {
        "Host": urlsplit(address).netloc,
        "x-amz-date": moment,
        "x-amz-content-sha256": NO_BODY,
        "Authorization": f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={SIGNED}, Signature={signature}",
    }


def _canonical_request(method: str, address: str, moment: str) -> str:
    parts = urlsplit(address)
    query = sorted((_quoted(name), _quoted(value)) for name, value in parse_qsl(parts.query, keep_blank_values=True))
    return "\n".join(
        (
            method,
            quote(unquote(parts.path or "/"), safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in query),
            f"host:{parts.netloc}\nx-amz-content-sha256:{NO_BODY}\nx-amz-date:{moment}\n",
            SIGNED,
            NO_BODY,
        )
    )


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")


def _signing_key(secret_key: str, scope: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
