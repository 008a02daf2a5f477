"""Does a server answer? Any answer counts, also a refusal: here we ask who is at home, not how they are."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

# One question a protocol, answered by a healthy server without credentials. A stopped process still accepts
# connections (the kernel does), so that accepting alone proves nothing.
QUESTIONS = {
    "http": b"GET / HTTP/1.0\r\n\r\n",
    "postgres": b"\x00\x00\x00\x08\x04\xd2\x16\x2f",  # SSLRequest
    "redis": b"PING\r\n",
}


@dataclass(frozen=True)
class Listener:
    """Where a program of the lab listens, and what it speaks: http, https, postgres or redis."""

    program: str
    address: str
    port: int
    protocol: str

    @classmethod
    def of(cls, program: str, url: str) -> Listener:
        """From a URL such as redis://127.20.0.1:6379."""
        parts = urlsplit(url)
        if parts.hostname is None or parts.port is None:
            raise ValueError(f"{url} names no address and port")
        return cls(program, parts.hostname, parts.port, parts.scheme)

    def __str__(self) -> str:
        return f"{self.program} at {self.address}:{self.port}"


def answers(listener: Listener, timeout_s: float = 1.0) -> bool:
    """Whether the server says anything within the time."""
    try:
        with socket.create_connection((listener.address, listener.port), timeout_s) as connection:
            if listener.protocol == "https":
                return _shakes_hands(connection)
            connection.sendall(QUESTIONS[listener.protocol])
            return connection.recv(1) != b""
    except OSError:
        return False


def wait_for(listener: Listener, patience_s: float) -> bool:
    """Ask until the server answers; False when it has not within so many seconds."""
    deadline = time.monotonic() + patience_s
    while not answers(listener):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _shakes_hands(connection: socket.socket) -> bool:
    # Who it is does not matter here: the checks verify the certificate, with the lab's CA.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with context.wrap_socket(connection):
        return True
