# SPDX-License-Identifier: GPL-3.0-or-later
"""Real S3 servers for tests, as servers.py has others."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests
from servers import free_port, process, wait_until


@dataclass(frozen=True)
class Objectstore:
    """An S3 server."""

    address: str
    access_key: str
    secret_key: str = field(repr=False)


@contextmanager
def start_objectstore(
    folder: Path, *, access_key: str = "application", secret_key: str | None = None
) -> Iterator[Objectstore]:
    """A new object storage that knows one user and has no bucket."""
    port, secret_key = free_port(), secret_key or secrets.token_urlsafe(24)
    home = folder / f"objectstore-{port}"
    (home / "data").mkdir(mode=0o700, parents=True)
    options = home / "nanio.toml"
    options.touch(mode=0o600)
    options.write_text(
        f'[server]\ndata_dir = "{home / "data"}"\nhost = "127.0.0.1"\nport = {port}\n'
        f'[[users]]\naccess_key = "{access_key}"\nsecret_key = "{secret_key}"\n'
    )
    argv = [str(Path(sys.executable).with_name("nanio")), "serve", "--options", str(options), "--no-access-log"]
    with process(argv, log=home / "log", cwd=home) as running:
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: running.poll() is None and requests.get(address, timeout=2).status_code == 403, what="nanio")
        yield Objectstore(address, access_key, secret_key)
