# SPDX-License-Identifier: GPL-3.0-or-later
"""A web server that answers what a test tells it to, over TLS or not, and remembers what it was asked."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """What came in. ``headers`` have lower-case names."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What goes out, ``after_s`` seconds later."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    after_s: float = 0.0


Page = Answer | Callable[[Request], Answer]


def as_json(document: Any, status: int = 200, **options: Any) -> Answer:
    """An answer in JSON."""
    return Answer(json.dumps(document).encode(), status, {"Content-Type": "application/json"}, **options)


@dataclass(frozen=True)
class Web:
    """A running server. ``asked`` grows with every request."""

    address: str
    asked: list[Request]


@contextmanager
def serving(pages: Mapping[str, Page], *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[Web]:
    """Serve ``pages`` by their path on a free loopback port; all others are 404."""
    asked: list[Request] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, body)
            asked.append(request)
            page = pages.get(self.path, Answer(b"no such page", 404))
            answer = page if isinstance(page, Answer) else page(request)
            time.sleep(answer.after_s)
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_HEAD = do_OPTIONS = do_TRACE = do_POST = do_PUT = answer  # noqa: N815 - http.server's names

        def log_message(self, *arguments: Any) -> None:
            """Tests read results, not logs."""

    with _server(host, Handler) as server:
        if tls:
            # The handshake belongs into the connection's own thread: one that hangs must not hold up the others.
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        shown = f"[{host}]" if ":" in host else host
        try:
            yield Web(f"{'https' if tls else 'http'}://{shown}:{server.server_port}", asked)
        finally:
            server.shutdown()
            thread.join(5)


def _server(host: str, handler: type[http.server.BaseHTTPRequestHandler]) -> http.server.ThreadingHTTPServer:
    import socket

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

        def handle_error(self, *arguments: Any) -> None:
            """A client that goes away, or refuses our certificate, is what the tests are about."""

    return Server((host, 0), handler)
