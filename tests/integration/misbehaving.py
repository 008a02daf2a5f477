# SPDX-License-Identifier: GPL-3.0-or-later
"""Listeners on real sockets that behave as broken, foreign or hostile servers do."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Behaviour = Callable[[socket.socket, threading.Event], None]


def hangs(connection: socket.socket, stop: threading.Event) -> None:
    """Accepts, and never says a word."""
    stop.wait(60)


def closes_mid_answer(connection: socket.socket, stop: threading.Event) -> None:
    """Promises more than it sends."""
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")


def speaks_another_protocol(connection: socket.socket, stop: threading.Event) -> None:
    """Greets as a mail server does."""
    connection.sendall(b"220 mail.example ESMTP\r\n")
    connection.recv(4096)


def answers_10_mb(connection: socket.socket, stop: threading.Event) -> None:
    """Sends ten megabytes of JSON."""
    connection.recv(4096)
    size = 10 * 1024 * 1024
    connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n".encode())
    connection.sendall(b'"' + b"x" * (size - 2) + b'"')


def drips(connection: socket.socket, stop: threading.Event) -> None:
    """Sends a byte every tenth of a second, so that no single read is ever late."""
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
    while not stop.wait(0.1):
        connection.sendall(b" ")


def drips_its_head(connection: socket.socket, stop: threading.Event) -> None:
    """Sends a byte of a header every tenth of a second, and never comes to the end of it."""
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while not stop.wait(0.1):
        connection.sendall(b"x")


def is_another_service(connection: socket.socket, stop: threading.Event) -> None:
    """A web server, but not the one that was asked for."""
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>")


BEHAVIOURS: dict[str, Behaviour] = {
    behaviour.__name__: behaviour
    for behaviour in (
        hangs,
        closes_mid_answer,
        speaks_another_protocol,
        answers_10_mb,
        drips,
        drips_its_head,
        is_another_service,
    )
}


@contextmanager
def listening(behaviour: Behaviour, *, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Let ``behaviour`` serve every connection on a free loopback port; yields the port."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        acceptor = threading.Thread(target=_accept, args=(listener, behaviour, stop, tls), daemon=True)
        acceptor.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stop.set()
            acceptor.join(5)


def _accept(listener: socket.socket, behaviour: Behaviour, stop: threading.Event, tls: ssl.SSLContext | None) -> None:
    while not stop.is_set():
        with suppress(OSError):
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection, behaviour, stop, tls), daemon=True).start()


def _serve(connection: socket.socket, behaviour: Behaviour, stop: threading.Event, tls: ssl.SSLContext | None) -> None:
    with suppress(OSError), connection:
        connection.settimeout(10)
        if tls:
            with tls.wrap_socket(connection, server_side=True) as secured:
                behaviour(secured, stop)
        else:
            behaviour(connection, stop)


_held: list[socket.socket] = []


def refusing_port() -> int:
    """A port at which nobody listens, and nobody else can begin to."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    _held.append(held)
    return int(held.getsockname()[1])


def certificate(
    folder: Path, *, name: str = "127.0.0.1", days: float = 30, ca: tuple[Path, Path] | None = None
) -> tuple[Path, Path]:
    """A new certificate and key for ``name``, in PEM files; signed by ``ca`` or by itself, valid for ``days`` more."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signer = subject, key
    if ca:
        issuer = x509.load_pem_x509_certificate(ca[0].read_bytes()).subject
        loaded = serialization.load_pem_private_key(ca[1].read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signer = loaded
    now = datetime.datetime.now(datetime.UTC)
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        alternative = x509.DNSName(name)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=400))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=ca is None, path_length=None), critical=True)
        # Since Python 3.13 a chain without these is refused.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(_usage(signs=ca is None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    stem = f"{name}-{made.serial_number}"
    certificate_path, key_path = folder / f"{stem}.pem", folder / f"{stem}.key"
    certificate_path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_path.touch(mode=0o600)
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_path, key_path


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=signs, crl_sign=signs, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def tls_server(certificate_path: Path, key_path: Path) -> ssl.SSLContext:
    """A server's side of TLS with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_path, key_path)
    return context
