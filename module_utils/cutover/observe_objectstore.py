# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at an S3 object storage with requests. Lists at most one name of a bucket, and reads no object."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import quote

import requests

from .checks import CannotObserve, Known
from .judge_objectstore import NOT_TRIED, Answer, ObjectstoreObservation
from .observe_http import BoundedSession
from .pool import Deadline
from .sigv4 import Credentials, signed_headers

Options = Mapping[str, Any]

# What servers come with, and what their documentation and examples use: known to everybody, and so no secrets.
DEFAULT_CREDENTIALS = (
    Credentials("minioadmin", "minioadmin"),
    Credentials("minio", "minio123"),
    Credentials("rustfsadmin", "rustfsadmin"),
    Credentials("accessKey1", "verySecretKey1"),
    Credentials("admin", "admin"),
    Credentials("admin", "password"),
    Credentials("root", "root"),
    Credentials("test", "test"),
)
ERROR_CODE = re.compile(rb"<Code>\s*([A-Za-z]{1,64})\s*</Code>")
# What S3 servers answer at their root: a list, an error in XML, or at least their mark in a header.
S3_ANSWER = re.compile(rb"<(?:Error|ListAllMyBucketsResult)[\s/>]")


class _S3:
    """Requests to one server, and what they are answered."""

    def __init__(self, session: BoundedSession, target: Options) -> None:
        self._session = session
        self._address = target["address"].rstrip("/")
        self._region = target.get("region") or "us-east-1"

    def get(self, path: str, credentials: Credentials | None = None) -> requests.Response:
        """Ask for ``path``, in the name of ``credentials`` or of nobody."""
        address = f"{self._address}/{path}"
        headers = (
            signed_headers("GET", address, credentials, region=self._region, now=datetime.now(UTC))
            if credentials
            else {}
        )
        return self._session.send(self._session.prepare_request(requests.Request("GET", address, headers=headers)))

    def answer(self, path: str, credentials: Credentials | None = None) -> Known[Answer]:
        """What ``path`` is answered, or why there is no answer."""
        try:
            return _answer(self.get(path, credentials))
        except CannotObserve as reason:
            return reason


def look_at_objectstore(target: Options, deadline: Deadline) -> ObjectstoreObservation:
    """Observe the server at ``target["address"]``; raises ``CannotObserve`` when it does not answer as S3 does."""
    with BoundedSession(deadline, ca_path=target.get("ca_path")) as session:
        server = _S3(session, target)
        expected = target["expected"]
        return ObjectstoreObservation(
            anonymous=_as_nobody(server),
            **_as_somebody(server, target),
            anonymous_buckets=_asked(expected, "anonymous_refused", partial(_anonymous_buckets, server, expected)),
            default_credentials=_asked(expected, "default_credentials_refused", partial(_default_credentials, server)),
        )


def _as_nobody(server: _S3) -> Answer:
    response = server.get("")
    if not S3_ANSWER.search(response.content) and "x-amz-request-id" not in response.headers:
        raise CannotObserve("it answered, but not as S3 does: is this the right address?")
    return _answer(response)


def _as_somebody(server: _S3, target: Options) -> dict[str, Any]:
    buckets = target["expected"].get("buckets", [])
    if not target.get("access_key"):
        nobody = CannotObserve("the target names no access_key and secret_key")
        return {"login": nobody, "buckets": dict.fromkeys(buckets, nobody)}
    credentials = Credentials(target["access_key"], target["secret_key"])
    asked = bool(buckets or target["expected"].get("login"))
    return {
        "login": server.answer("", credentials) if asked else NOT_TRIED,
        "buckets": {bucket: server.answer(_first_name_in(bucket), credentials) for bucket in buckets},
    }


def _anonymous_buckets(server: _S3, expected: Options) -> dict[str, Known[Answer]]:
    return {bucket: server.answer(_first_name_in(bucket)) for bucket in expected.get("buckets", [])}


def _default_credentials(server: _S3) -> dict[str, Known[Answer]]:
    return {
        f"{credentials.access_key}:{credentials.secret_key}": server.answer("", credentials)
        for credentials in DEFAULT_CREDENTIALS
    }


def _asked(expected: Options, option: str, look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    return look() if expected.get(option) else {}


def _first_name_in(bucket: str) -> str:
    return f"{quote(bucket, safe='')}?list-type=2&max-keys=1"


def _answer(response: requests.Response) -> Answer:
    # Searched, not parsed: XML from a server that may be hostile.
    code = ERROR_CODE.search(response.content) if response.status_code >= 300 else None
    return Answer(response.status_code, code[1].decode() if code else "")
