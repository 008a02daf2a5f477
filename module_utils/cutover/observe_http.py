# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP with bounds: no answer larger than we can hold, none slower than the deadline, every failure explained."""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from .checks import CannotObserve
from .pool import Deadline

T = TypeVar("T")

MAX_BODY_BYTES = 1024 * 1024
_CHUNK_BYTES = 64 * 1024


class BoundedSession(requests.Session):
    """A session whose every answer is read whole, within ``deadline`` and ``max_body_bytes``.

    The environment's proxies and .netrc are left out: what is judged is the declared address, with the declared
    credentials. ``ca_path`` is a file of trusted certificates in PEM form; without it, those of the system's bundle.
    ``tls_name`` is the name that the server's certificate must bear, where it is not the one in the address.
    """

    def __init__(
        self,
        deadline: Deadline,
        *,
        ca_path: str | None = None,
        tls_name: str | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        super().__init__()
        self.trust_env = False
        self.verify = ca_path or True
        self._deadline = deadline
        self._max_body_bytes = max_body_bytes
        self.mount("https://", _NamedAdapter(tls_name))
        self.mount("http://", HTTPAdapter(max_retries=0))

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send, and read the whole answer in bounds; raises ``CannotObserve`` with the cause."""
        wanted = {**options, "stream": True, "timeout": self._deadline.left_s()}
        response = explained(str(request.url), lambda: super(BoundedSession, self).send(request, **wanted))
        response._content = explained(str(request.url), lambda: self._read(response))
        return response

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Follow none: requests reads the body of a redirect without any bound, and carries secrets elsewhere."""

    def _read(self, response: requests.Response) -> bytes:
        body = b""
        # read1 returns what has come, so that a server that sends byte after byte is held to the deadline too.
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
            body += chunk
            self._deadline.left_s()
            if len(body) > self._max_body_bytes:
                response.close()
                raise CannotObserve(f"the answer is larger than {self._max_body_bytes} bytes: not read to its end")
        return body


class _NamedAdapter(HTTPAdapter):
    """Asks for, and insists on, a certificate for ``tls_name``."""

    def __init__(self, tls_name: str | None) -> None:
        self._names: dict[str, Any] = {"server_hostname": tls_name, "assert_hostname": tls_name} if tls_name else {}
        super().__init__(max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **options, **self._names)

    def cert_verify(self, conn: Any, url: str, verify: bool | str, cert: Any) -> None:
        """Where the file of trusted certificates is of no use, name it: OpenSSL does not."""
        if isinstance(verify, str):
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(verify)
            except OSError as reason:
                raise CannotObserve(f"the CA file {verify} cannot be used: {reason.strerror}") from reason
        super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]  # requests declares no types here


def explained(address: str, act: Callable[[], T]) -> T:
    """Run ``act``; what ``requests`` or urllib3 raises becomes ``CannotObserve`` in words that name the cause."""
    try:
        return act()
    except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as reason:
        raise CannotObserve(f"TLS to {address} failed: {_innermost(reason)}") from reason
    except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError) as reason:
        raise CannotObserve(f"{address} did not answer in time: {_innermost(reason)}") from reason
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as reason:
        raise CannotObserve(f"{address} could not be asked: {_innermost(reason)}") from reason


_SAYS_WHAT_HAPPENED = (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError)


def _innermost(reason: BaseException) -> str:
    """The server's or the system's own words, without the layers of client libraries around them."""
    seen: set[int] = set()
    while id(reason) not in seen:
        seen.add(id(reason))
        inner = getattr(reason, "reason", None) or reason.__cause__ or reason.__context__ or _first_argument(reason)
        # Below these are Python's own accidents, such as an int() that met a chunk's broken length.
        if not isinstance(inner, _SAYS_WHAT_HAPPENED):
            break
        reason = inner
    words = str(reason.args[0] if reason.args and isinstance(reason.args[0], str) else reason)
    return re.sub(r"<[\w.]+ object at 0x[0-9a-f]+>:? ?", "", words) or type(reason).__name__


def _first_argument(reason: BaseException) -> object:
    return next((argument for argument in reason.args if isinstance(argument, BaseException)), None)
