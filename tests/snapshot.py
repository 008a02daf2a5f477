"""Everything of the lab that a cutover or a rollback moves, as JSON.

    python tests/snapshot.py STATE NETWORK

Files of app hosts and backups, processes and when they began, weights at the load balancer, the database's revision and
schema, Redis' configuration. Logs, sockets and what servers write by themselves are left out.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import redis

STATE, NETWORK = Path(sys.argv[1]), sys.argv[2]
ADDRESS = f"{NETWORK}.1"
MOVED = ("app1", "app2", "backups", "haproxy")
MOVES_BY_ITSELF = {"log", "run", "drills", "__pycache__"}


def secret(name: str) -> str:
    return (STATE / "secrets" / name).read_text().strip()


def files(folder: Path) -> Iterator[tuple[str, Any]]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name in MOVES_BY_ITSELF:
            continue
        if path.is_symlink():
            yield str(path), f"link to {os.readlink(path)}"
        elif path.is_dir():
            yield str(path), "folder"
            yield from files(path)
        elif path.is_file():
            status = path.stat()
            yield str(path), [hashlib.sha256(path.read_bytes()).hexdigest(), status.st_mtime_ns, oct(status.st_mode)]


def processes() -> dict[str, str]:
    """Each process of an app host by its id, and the tick at which it began."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode().replace("\0", " ")
            environment = (folder / "environ").read_bytes().decode(errors="replace")
            if any(f"{STATE}/{host}" in command + environment for host in ("app1", "app2")):
                found[folder.name] = (folder / "stat").read_text().rpartition(")")[2].split()[19]
        except OSError:
            continue
    return found


def traffic() -> list[str]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(STATE / "haproxy" / "admin.sock"))
        connection.sendall(b"show servers state\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode().splitlines()
    # Backend, server, address, and which weight and state somebody has given it.
    return [
        " ".join(line.split()[index] for index in (1, 3, 4, 6, 7))
        for line in answer
        if line[:1].isdigit() and " " in line
    ]


def database() -> list[Any]:
    place = {"host": ADDRESS, "dbname": "ledger", "user": "ledger", "password": secret("postgres-ledger-password")}
    with psycopg.connect(**place, sslmode="require") as connection:
        columns = (
            "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'"
        )
        databases = "SELECT datname FROM pg_database"
        return [
            connection.execute("SELECT version_num FROM alembic_version").fetchall(),
            sorted(connection.execute(columns).fetchall()), sorted(connection.execute(databases).fetchall()),
        ]  # fmt: skip


def cache() -> dict[str, Any]:
    with redis.Redis(host=ADDRESS, password=secret("redis-password"), decode_responses=True) as client:
        return dict(client.config_get("*"))


seen = {
    "files": {name: one for folder in MOVED for name, one in files(STATE / folder)},
    "processes": processes(),
    "traffic": traffic(),
    "database": database(),
    "redis": cache(),
}
sys.stdout.write(json.dumps(seen, sort_keys=True, indent=1))
