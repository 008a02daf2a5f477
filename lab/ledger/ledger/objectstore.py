# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects in an S3 store, by path-style addresses and Signature Version 4, without a client library.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

import requests

REGION, SERVICE = "us-east-1", "s3"
SIGNED_HEADERS = "host;x-amz-content-sha256;x-amz-date"


@dataclass(frozen=True)
class ObjectStore:
    url: str
    bucket: str
    access_key: str
    secret_key: str
    timeout_s: float = 5

    def put(self, name: str, data: bytes) -> None:
        self._send("PUT", name, data).raise_for_status()

    def get(self, name: str) -> bytes | None:
        """The object's bytes, or None when there is no such object."""
        response = self._send("GET", name)
        if response.status_code == 404:
            return None
        response.raise_for_status()
        return response.content

    def has_bucket(self) -> bool:
        """Whether the store lets us into the bucket; raises what requests raises when it does not answer."""
        return self._send("HEAD", "").ok

    def _send(self, method: str, name: str, data: bytes = b"") -> requests.Response:
        path = quote(f"/{self.bucket}/{name}".rstrip("/"))
        headers = self._signed(method, path, data, datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"))
        return requests.request(method, self.url + path, data=data, headers=headers, timeout=self.timeout_s)

    def _signed(self, method: str, path: str, data: bytes, at: str) -> dict[str, str]:
        digest = hashlib.sha256(data).hexdigest()
        headers = {"host": urlsplit(self.url).netloc, "x-amz-content-sha256": digest, "x-amz-date": at}
        lines = [f"{name}:{value}" for name, value in headers.items()]
        canonical = "\n".join([method, path, "", *lines, "", SIGNED_HEADERS, digest])
        scope = f"{at[:8]}/{REGION}/{SERVICE}/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", at, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = f"AWS4{self.secret_key}".encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        credential = f"Credential={self.access_key}/{scope}"
        authorization = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={SIGNED_HEADERS}, Signature={signature}"
        return {**headers, "authorization": authorization}
