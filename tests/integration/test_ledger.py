# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's application does what the lab needs of it: against real servers, from built releases."""

from __future__ import annotations

import hashlib
import http.server
import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import requests
import servers

PROJECT = Path(__file__).resolve().parents[2]
BUILD = [sys.executable, str(PROJECT / "lab" / "build.py")]
TOKENS = {role: secrets.token_urlsafe(16) for role in ("admin", "qa_manager", "ops_scheduler", "viewer")}
PASSWORDS = {name: secrets.token_urlsafe(16) for name in ("admin", "database", "redis", "jwt", "s3")}
SECRETS = {
    "database": {"username": "ledger", "password": PASSWORDS["database"]},
    "redis": {"password": PASSWORDS["redis"]},
    "auth": {"jwt_secret": PASSWORDS["jwt"]},
    "tokens": {"token_map": json.dumps({t: {"user_id": f"{r}.test", "roles": [r]} for r, t in TOKENS.items()})},
    "objectstore": {"access_key": "ledger", "secret_key": PASSWORDS["s3"]},
    "admin": {"username": "admin", "password": PASSWORDS["admin"]},
}
POLICY = 'path "secret/data/ledger/*" { capabilities = ["read"] }'


@dataclass(frozen=True)
class Stack:
    """Servers, the built releases, and the environment that leads one to the other."""

    postgres: servers.Postgres
    redis: servers.Redis
    openbao: servers.OpenBao
    releases: Path
    objects: Path
    objectstore_pid: int
    environment: Mapping[str, str] = field(repr=False)

    def run(self, version: str, program: str, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run one of the release's programs to its end. An empty value takes the variable away."""
        argv = [str(self.releases / version / "bin" / program), *arguments]
        return subprocess.run(argv, env=self._environment(changes), capture_output=True, text=True, timeout=30)

    @contextmanager
    def start(self, version: str, program: str, log: Path, **changes: str) -> Iterator[Any]:
        argv = [str(self.releases / version / "bin" / program)]
        with servers.process(argv, log=log, env=self._environment(changes)) as running:
            yield running

    @contextmanager
    def serve(self, *versions: str, folder: Path, **changes: str) -> Iterator[list[Client]]:
        """The web processes of these releases, answering; the log of each is ``<version>.log`` in the folder."""
        with ExitStack() as opened:
            clients = []
            for version in versions:
                port = servers.free_port()
                changes["LISTEN_PORT"] = str(port)
                opened.enter_context(self.start(version, "web", folder / f"{version}.log", **changes))
                clients.append(Client(f"http://127.0.0.1:{port}"))
            for client in clients:
                servers.wait_until(lambda client=client: client.get("/health").ok, what=f"ledger at {client.url}")
            yield clients

    def _environment(self, changes: Mapping[str, str]) -> dict[str, str]:
        merged = {"PATH": os.environ["PATH"], "LEDGER_PYTHON": sys.executable, **self.environment, **changes}
        return {name: value for name, value in merged.items() if value}


@dataclass(frozen=True)
class Client:
    url: str
    session: requests.Session = field(default_factory=requests.Session)

    def get(self, path: str, role: str = "", **options: Any) -> requests.Response:
        return self.call("GET", path, role, **options)

    def post(self, path: str, role: str = "", body: Any = None, key: str = "", **options: Any) -> requests.Response:
        return self.call("POST", path, role, json=body, headers={"Idempotency-Key": key} if key else {}, **options)

    def call(self, method: str, path: str, role: str = "", **options: Any) -> requests.Response:
        bearer = {"Authorization": f"Bearer {TOKENS.get(role, role)}"} if role else {}
        headers = {**bearer, **options.pop("headers", {})}
        return self.session.request(method, self.url + path, headers=headers, timeout=10, **options)


@contextmanager
def start_objectstore(folder: Path) -> Iterator[tuple[str, int]]:
    """Its address and its process."""
    port, data = servers.free_port(), folder / "objects"
    (data / "ledger").mkdir(parents=True)
    argv = [str(Path(sys.executable).with_name("nanio")), "serve", "--host", "127.0.0.1", "--port", str(port)]
    keys = {"NANIO_ACCESS_KEY": "ledger", "NANIO_SECRET_KEY": PASSWORDS["s3"], "PATH": os.environ["PATH"]}
    with servers.process([*argv, "--data-dir", str(data)], log=folder / "objects.log", env=keys) as server:
        url = f"http://127.0.0.1:{port}"
        servers.wait_until(lambda: requests.get(url, timeout=2).status_code < 500, what="the object store")
        yield url, server.pid


def prepare_vault(openbao: servers.OpenBao) -> tuple[str, str]:
    """The secrets, and an AppRole that may read them: its role and secret id."""
    client = openbao.client()
    client.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
    client.sys.enable_auth_method("approle")
    client.sys.create_or_update_policy("ledger", POLICY)
    client.auth.approle.create_or_update_approle("ledger", token_policies=["ledger"])
    for name, secret in SECRETS.items():
        servers.wait_until(
            lambda name=name, secret=secret: bool(
                client.secrets.kv.v2.create_or_update_secret(f"ledger/{name}", secret, mount_point="secret")
            ),
            what="the KV engine",
        )
    role_id = client.auth.approle.read_role_id("ledger")["data"]["role_id"]
    return role_id, client.auth.approle.generate_secret_id("ledger")["data"]["secret_id"]


def unpack_releases(folder: Path) -> Path:
    subprocess.run([*BUILD, "--output", str(folder)], check=True, capture_output=True, timeout=30)
    for archive in folder.glob("*.tar.gz"):
        target = folder / archive.name.removeprefix("ledger-").removesuffix(".tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(target, filter="data")
    return folder


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A migrated (1.0.0) and seeded ledger's surroundings."""
    with ExitStack() as opened, ThreadPoolExecutor(4) as together:
        # Not under pytest's own folder, which every other run of pytest closes to PostgreSQL's user.
        folder = Path(opened.enter_context(TemporaryDirectory(prefix="ledger-")))

        def start(context: AbstractContextManager[Any]) -> Any:
            return together.submit(opened.enter_context, context)

        starting = [
            start(servers.start_postgres(folder)),
            start(servers.start_redis(folder, password=PASSWORDS["redis"])),
            start(servers.start_openbao(folder)),
            start(start_objectstore(folder)),
        ]
        releases = unpack_releases(folder / "releases")
        postgres, redis, openbao, (objectstore_url, objectstore_pid) = (future.result() for future in starting)
        role_id, secret_id = prepare_vault(openbao)
        secret_id_file = folder / "secret-id"
        secret_id_file.touch(mode=0o600)
        secret_id_file.write_text(secret_id)
        postgres.run(
            f"CREATE ROLE ledger LOGIN PASSWORD '{PASSWORDS['database']}'", "CREATE DATABASE ledger OWNER ledger"
        )
        environment = {
            "APP_ENV": "prod",
            "DATABASE_URL": f"postgresql+psycopg://127.0.0.1:{postgres.port}/ledger",
            "REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
            "VAULT_ADDR": openbao.address,
            "VAULT_CACERT": str(secret_id_file),
            "VAULT_ROLE_ID": role_id,
            "VAULT_SECRET_ID_FILE": str(secret_id_file),
            "SECRETS_PATH": "secret/ledger",
            "OBJECTSTORE_URL": objectstore_url,
            "TRUSTED_HOSTS": "127.0.0.1",
            "SCHEDULE_INTERVAL_S": "1",
            "RATE_LIMIT_REQUESTS": "100000",
            "HOST_NAME": "app1",
        }
        made = Stack(postgres, redis, openbao, releases, folder / "objects", objectstore_pid, environment)
        assert made.run("1.0.0", "migrate", "upgrade", "head").returncode == 0
        assert made.run("1.0.0", "seed").returncode == 0
        yield made


@pytest.fixture(scope="module")
def ledger(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Release 1.0.0, serving."""
    folder = tmp_path_factory.mktemp("web")
    with stack.serve("1.0.0", folder=folder) as (client,):
        yield client
    text = (folder / "1.0.0.log").read_text()
    assert "Traceback" not in text
    assert not [secret for secret in (*PASSWORDS.values(), *TOKENS.values()) if secret in text]


@pytest.fixture
def database(stack: Stack) -> Iterator[str]:
    """The address of an empty database of the test's own."""
    name = f"ledger_{secrets.token_hex(4)}"
    stack.postgres.run(f"CREATE DATABASE {name} OWNER ledger")
    yield f"postgresql+psycopg://127.0.0.1:{stack.postgres.port}/{name}"
    stack.postgres.run(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """A server that hangs: it accepts connections and never answers."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def visit(url: str, folder: Path, *, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Let visitors come until their report says what is wanted; the last report."""
    report, token = folder / "report.json", folder / "token"
    token.write_text(TOKENS["ops_scheduler"])
    argv = [sys.executable, str(PROJECT / "lab" / "visitors.py"), "--url", url, "--ca", str(token), "--rate", "60"]
    with servers.process([*argv, "--report", str(report), "--token-file", str(token)], log=folder / "log") as visitors:
        servers.wait_until(lambda: until(json.loads(report.read_text())), what="the visitors")
        visitors.terminate()
        assert visitors.wait(15) == 0
    assert TOKENS["ops_scheduler"] not in report.read_text() + (folder / "log").read_text()
    return dict(json.loads(report.read_text()))


@contextmanager
def start_faulty_service() -> Iterator[str]:
    """Answers in turn well, with a 500, and by closing the connection."""
    turns = itertools.count()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            turn = next(turns) % 3
            if turn < 2:
                self.send_response((200, 500)[turn])
                self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def new_batch(ledger: Client) -> int:
    """A draft batch of a new vendor's new site."""
    name = secrets.token_hex(6)
    vendor = ledger.post("/api/v1/vendors", "ops_scheduler", {"name": name}).json()["id"]
    site = ledger.post("/api/v1/sites", "ops_scheduler", {"vendor_id": vendor, "name": name}).json()["id"]
    batch = ledger.post("/api/v1/batches", "ops_scheduler", {"code": name, "site_id": site})
    assert batch.status_code == 201
    return int(batch.json()["id"])


def new_payment(ledger: Client, batch: int, **options: Any) -> requests.Response:
    body = {"batch_id": batch, "beneficiary": "Aurora Grains", "amount": "12.50"}
    return ledger.post("/api/v1/requests", "ops_scheduler", body, **options)


def readiness(ledger: Client) -> tuple[list[str], float]:
    """The checks of /api/ready that are not ok, and after how many seconds it said so; the status agrees."""
    answer = ledger.get("/api/ready")
    took_s = answer.elapsed.total_seconds()
    assert took_s < 5
    broken = [name for name, check in answer.json()["checks"].items() if not check["ok"]]
    assert (answer.status_code, answer.json()["status"]) == ((503, "fail") if broken else (200, "ok"))
    return broken, took_s


def broken_checks(ledger: Client) -> list[str]:
    return readiness(ledger)[0]


def test_a_release_is_built_from_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("one", "two", "two"):
        subprocess.run([*BUILD, "--output", str(tmp_path / name)], check=True, capture_output=True, timeout=30)
    archives = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert {"ledger-1.0.0.tar.gz", "ledger-1.1.0.tar.gz", "ledger-1.1.0.tar.gz.sha256"} <= set(archives)
    for name in archives:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_building_again_writes_nothing_and_leaves_a_checksum_that_holds(tmp_path: Path) -> None:
    argv = [*BUILD, "--version", "1.0.0", "--output", str(tmp_path)]
    subprocess.run(argv, check=True, capture_output=True, timeout=30)
    archive = tmp_path / "ledger-1.0.0.tar.gz"
    before = archive.stat()
    subprocess.run(argv, check=True, capture_output=True, timeout=30)
    assert (archive.stat().st_mtime_ns, archive.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    subprocess.run(["sha256sum", "-c", f"{archive.name}.sha256"], cwd=tmp_path, check=True, capture_output=True)
    with tarfile.open(archive) as tar:
        assert {"BUILD.json", "bin/web", "alembic.ini"} <= set(tar.getnames())


@pytest.mark.parametrize(
    ("changes", "variable"),
    [
        pytest.param({"DATABASE_URL": ""}, "DATABASE_URL", id="no database"),
        pytest.param({"DATABASE_URL": "sqlite:///ledger.db"}, "DATABASE_URL", id="sqlite"),
        pytest.param({"REDIS_URL": ""}, "REDIS_URL", id="no redis"),
        pytest.param({"REDIS_URL": "", "APP_ENV": "staging"}, "REDIS_URL", id="no redis in staging"),
        pytest.param({"REDIS_URL": "", "APP_ENV": "dev", "CI_STRICT": "1"}, "REDIS_URL", id="no redis in strict CI"),
        pytest.param({"VAULT_ADDR": ""}, "VAULT_ADDR", id="no vault"),
        pytest.param({"VAULT_SECRET_ID_FILE": "/none"}, "VAULT_SECRET_ID_FILE", id="no secret id"),
        pytest.param({"TRUSTED_HOSTS": "*"}, "TRUSTED_HOSTS", id="any host trusted"),
        pytest.param({"AUTH_ENABLED": "false"}, "AUTH_ENABLED", id="no authentication"),
        pytest.param({"APP_ENV": "production"}, "APP_ENV", id="unknown environment"),
    ],
)
def test_a_bad_environment_is_refused_in_one_line_before_anything_else(
    stack: Stack, changes: dict[str, str], variable: str
) -> None:
    started = time.monotonic()
    refused = stack.run("1.0.0", "web", **changes)
    assert time.monotonic() - started < 15
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"ledger: refusing to start: {variable} ")
    assert refused.stderr.count("\n") == 1


def test_a_sealed_vault_refuses_a_start_and_leaves_the_running_alone(stack: Stack, ledger: Client) -> None:
    stack.openbao.client().sys.seal()
    try:
        assert broken_checks(ledger) == ["vault"]
        assert ledger.get("/api/ready").json()["checks"]["vault"]["detail"] == "sealed"
        assert ledger.get("/api/v1/vendors", "viewer").ok
        refused = stack.run("1.0.0", "web")
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert "Vault is sealed" in refused.stderr
    finally:
        stack.openbao.unseal()
    assert broken_checks(ledger) == []


def test_operators_are_told_what_runs_and_whether_it_can_serve(ledger: Client) -> None:
    ready = ledger.get("/api/ready").json()
    assert ready["status"] == "ok"
    assert set(ready["checks"]) == {"db", "redis", "vault", "objectstore", "migrations"}
    version = ledger.get("/api/version").json()
    assert (version["version"], version["host"], len(version["build"])) == ("1.0.0", "app1", 12)
    assert ledger.get("/health").json() == {"status": "ok"}
    assert ledger.get("/").headers["X-Frame-Options"] == "DENY"
    assert 'route="/health"' in ledger.get("/metrics").text
    assert ledger.get("/health", headers={"Host": "elsewhere.example"}).status_code == 400


@pytest.mark.parametrize(
    ("server", "broken"),
    [
        pytest.param(lambda stack: stack.redis.pid, ["redis"], id="redis"),
        pytest.param(lambda stack: stack.postgres.pid, ["db", "migrations"], id="postgres"),
        pytest.param(lambda stack: stack.openbao.pid, ["vault"], id="vault"),
        pytest.param(lambda stack: stack.objectstore_pid, ["objectstore"], id="object store"),
    ],
)
def test_readiness_answers_in_time_whoever_hangs(
    stack: Stack, ledger: Client, server: Callable[[Stack], int], broken: list[str]
) -> None:
    with paused(server(stack)):
        answers = [readiness(ledger) for _ in range(5)]
        assert all(set(broken) <= set(said) for said, _ in answers)
        # The best of five: what else the machine does meanwhile is no defect of the service.
        assert min(took_s for said, took_s in answers if said == broken) < 1
        assert ledger.get("/health").ok
        assert ledger.get("/api/v1/ping").ok
    servers.wait_until(lambda: broken_checks(ledger) == [], what="readiness")


def test_no_administrator_is_made_through_the_api(ledger: Client) -> None:
    login = ledger.post("/api/v1/auth/login", body={"username": "admin", "password": PASSWORDS["admin"]})
    token, name = login.json()["access_token"], secrets.token_hex(6)
    user = {"username": name, "password": secrets.token_hex(12), "role": "ADMIN"}
    refused = ledger.post("/api/v1/users", token, user, key=name)
    assert refused.status_code == 400
    assert "Cannot create ADMIN users via API" in refused.text
    assert ledger.get("/api/v1/users", token, params={"username": name}).json()["total"] == 0
    created = ledger.post("/api/v1/users", token, {**user, "role": "VIEWER"}, key=f"{name}-2")
    assert (created.status_code, created.json()["role"]) == (201, "VIEWER")
    assert "password" not in created.text


@pytest.mark.parametrize(
    ("role", "status"),
    [
        pytest.param("", 401, id="nobody"),
        pytest.param("viewer", 403, id="wrong role"),
        pytest.param("e30.e30.e30", 401, id="forged token"),
        pytest.param("ops_scheduler", 201, id="right role"),
    ],
)
def test_a_write_needs_a_known_caller_with_the_right_role(ledger: Client, role: str, status: int) -> None:
    assert ledger.post("/api/v1/vendors", role, {"name": secrets.token_hex(6)}).status_code == status


def test_a_wrong_password_gives_no_token(ledger: Client) -> None:
    for username in ("admin", "nobody"):
        refused = ledger.post("/api/v1/auth/login", body={"username": username, "password": "wrong"})
        assert refused.status_code == 401


def test_a_request_is_paid_only_by_way_of_submission_and_approval(ledger: Client) -> None:
    batch = new_batch(ledger)
    path = f"/api/v1/requests/{new_payment(ledger, batch).json()['id']}"
    assert ledger.post(f"{path}/approve", "qa_manager").status_code == 409
    assert ledger.post(f"/api/v1/batches/{batch}/submit", "ops_scheduler").json()["status"] == "SUBMITTED"
    assert new_payment(ledger, batch).status_code == 409
    assert ledger.post(f"{path}/approve", "ops_scheduler").status_code == 403
    assert ledger.post(f"{path}/approve", "qa_manager").json()["status"] == "APPROVED"
    assert ledger.call("PATCH", path, "ops_scheduler", json={"amount": "99.00"}).status_code == 409
    assert ledger.post(f"{path}/mark-paid", "qa_manager").json()["status"] == "PAID"
    assert ledger.post(f"{path}/mark-paid", "qa_manager").status_code == 409
    assert ledger.get(path, "viewer").json()["amount"] == "12.50"


def test_an_idempotency_key_makes_one_object_however_often_and_at_once_it_is_sent(ledger: Client) -> None:
    batch, key = new_batch(ledger), secrets.token_hex(8)
    with ThreadPoolExecutor(8) as together:
        answers = list(together.map(lambda _: new_payment(ledger, batch, key=key), range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert new_payment(ledger, batch + 1, key=key).status_code == 422


def test_a_recall_finds_suppliers_customers_and_quantity(ledger: Client) -> None:
    body = {"batch_code": "BATCH-2026-02-0012", "reason": "drill"}
    found = ledger.post("/api/v1/recall/simulate", "admin", body).json()
    counts = [found[name] for name in ("suppliers_count", "impacted_customers_count", "finished_lots_count")]
    assert (counts, found["impacted_qty"]) == ([2, 2, 1], 650.0)


def test_an_audit_pack_verifies_and_its_checksums_can_be_recomputed(ledger: Client) -> None:
    body = {"from_ts": "2026-01-01T00:00:00Z", "to_ts": "2999-12-31T23:59:59Z", "limit": 10000, "notes": "drill"}
    pack = ledger.post("/api/v1/audit/packs/generate", "qa_manager", body).json()["pack_id"]
    verified = ledger.post(f"/api/v1/audit/packs/{pack}/verify", "viewer").json()
    assert (verified["valid"], verified["missing_files"], verified["mismatches"]) == (True, [], [])
    files = ledger.get(f"/api/v1/audit/packs/{pack}/files/checksums.json", "viewer").json()["files"]
    for name, sha256 in files.items():
        data = ledger.get(f"/api/v1/audit/packs/{pack}/files/{name}", "viewer").content
        assert hashlib.sha256(data).hexdigest() == sha256


def test_an_audit_pack_that_was_tampered_with_is_found_out(stack: Stack, ledger: Client) -> None:
    body = {"from_ts": "2026-01-01T00:00:00Z", "to_ts": "2999-12-31T23:59:59Z"}
    pack = ledger.post("/api/v1/audit/packs/generate", "qa_manager", body).json()["pack_id"]
    kept = stack.objects / "ledger" / "audit-packs" / pack
    altered = (kept / "requests.json").read_bytes().replace(b"1", b"2").replace(b"[]", b"{}")
    (kept / "requests.json").write_bytes(altered)
    (kept / "batches.json").unlink()
    verified = ledger.post(f"/api/v1/audit/packs/{pack}/verify", "viewer").json()
    assert verified == {
        "pack_id": pack,
        "valid": False,
        "missing_files": ["batches.json"],
        "mismatches": ["requests.json"],
    }


def test_worker_and_scheduler_do_their_rounds_and_end_cleanly(stack: Stack, ledger: Client, tmp_path: Path) -> None:
    stack.postgres.run(
        "INSERT INTO job_runs (job, slot, status, queued_at, started_at)"
        " VALUES ('daily_cycle', 'stuck', 'RUNNING', now() - interval '1 hour', now() - interval '1 hour')",
        dbname="ledger",
    )
    logs = {program: tmp_path / f"{program}.log" for program in ("worker", "scheduler")}

    def done() -> bool:
        runs = ledger.get("/api/v1/automation/runs", "viewer").json()["items"]
        stuck = [run["status"] for run in runs if run["slot"] == "stuck"]
        jobs = {run["job"] for run in runs if run["status"] == "SUCCEEDED"}
        return stuck == ["SUCCEEDED"] and jobs == {"daily_cycle", "watchdog", "status_snapshot"}

    with ExitStack() as opened:
        running = [opened.enter_context(stack.start("1.0.0", name, log)) for name, log in logs.items()]
        servers.wait_until(done, what="the jobs")
        assert ledger.get("/api/v1/automation/status", "viewer").json()["enabled"] is True
        for process in running:
            process.terminate()
        assert [process.wait(5) for process in running] == [0, 0]
    assert ledger.get("/api/v1/automation/status", "viewer").json()["enabled"] is False
    assert ledger.get("/api/v1/kpi/daily", "viewer").json()["items"]
    for name, log in logs.items():
        lines = log.read_text().splitlines()
        assert [f"{name} 1.0.0" in lines[0], f"{name} stopped" in lines[-1], len(lines)] == [True, True, 2]


def test_a_request_under_way_is_answered_before_the_process_ends(stack: Stack, ledger: Client, tmp_path: Path) -> None:
    path = f"/api/v1/requests/{new_payment(ledger, new_batch(ledger)).json()['id']}"
    port = servers.free_port()
    leaving = Client(f"http://127.0.0.1:{port}")
    with (
        stack.start("1.0.0", "web", tmp_path / "log", LISTEN_PORT=str(port)) as process,
        stack.postgres.connect(dbname="ledger", autocommit=False) as holding,
        ThreadPoolExecutor(1) as visitor,
    ):
        servers.wait_until(lambda: leaving.get("/health").ok, what="ledger")
        holding.execute("SELECT * FROM requests WHERE id = %s FOR UPDATE", [path.rpartition("/")[2]])
        answer = visitor.submit(leaving.call, "PATCH", path, "ops_scheduler", json={"amount": "1.00"})
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        servers.wait_until(lambda: holding.execute(waiting).fetchone() == (1,), what="the request")
        process.terminate()
        time.sleep(0.3)
        assert process.poll() is None
        holding.rollback()
        assert answer.result(10).status_code == 200
        process.wait(5)
    assert "web stopped" in (tmp_path / "log").read_text()


def test_who_asks_too_often_is_told_so(stack: Stack, tmp_path: Path) -> None:
    own_count = stack.environment["REDIS_URL"].removesuffix("/0") + "/1"
    with stack.serve("1.0.0", folder=tmp_path, REDIS_URL=own_count, RATE_LIMIT_REQUESTS="5") as (client,):
        statuses = [client.get("/api/v1/ping").status_code for _ in range(15)]
        assert set(statuses) == {200, 429}
        assert client.get("/health").status_code == 200


def test_visitors_count_what_they_did(ledger: Client, tmp_path: Path) -> None:
    told = visit(ledger.url, tmp_path, until=lambda told: told["writes_acknowledged"] > 5)
    assert (told["failed"], told["by_version"]) == (0, {"1.0.0": told["requests"]})
    found = ledger.get("/api/v1/requests", "viewer", params={"beneficiary": told["beneficiary"]}).json()
    assert found["total"] == told["writes_acknowledged"]


def test_visitors_count_what_was_lost_and_what_was_answered_wrongly(tmp_path: Path) -> None:
    with start_faulty_service() as url:
        told = visit(url, tmp_path, until=lambda told: told["server_errors"] > 1 and told["lost"] > 1)
    assert told["requests"] == told["ok"] + told["failed"]
    assert told["failed"] == told["lost"] + told["server_errors"]
    assert {failure["outcome"] for failure in told["failures"]} == {"500", "ConnectionError"}


def test_release_1_0_0_survives_the_schema_of_1_1_0_and_the_way_back(
    stack: Stack, database: str, tmp_path: Path
) -> None:
    assert stack.run("1.1.0", "migrate", "upgrade", "head", DATABASE_URL=database).returncode == 0
    assert stack.run("1.1.0", "migrate", "current", DATABASE_URL=database).stdout == "0002 (head)\n"
    with stack.serve("1.0.0", "1.1.0", folder=tmp_path, DATABASE_URL=database) as (old, new):
        assert "ahead" in old.get("/api/ready").json()["checks"]["migrations"]["detail"]
        path = f"/api/v1/requests/{new_payment(old, new_batch(old)).json()['id']}"
        body = {"payment_reference": "RF18 5390 0754 7034"}
        assert new.call("PUT", f"{path}/payment-reference", "qa_manager", json=body).ok
        assert new.get(path, "viewer").json()["payment_reference"] == body["payment_reference"]
        assert old.call("PATCH", path, "ops_scheduler", json={"amount": "1.00"}).ok
        assert stack.run("1.1.0", "migrate", "downgrade", "-1", DATABASE_URL=database).returncode == 0
        assert broken_checks(new) == ["migrations"]
        assert broken_checks(old) == []


def test_the_broken_releases_are_broken_each_in_its_own_way(stack: Stack, database: str, tmp_path: Path) -> None:
    assert stack.run("1.1.0", "migrate", "upgrade", "head", DATABASE_URL=database).returncode == 0

    failed = stack.run("1.2.0-migration-fails", "migrate", "upgrade", "head", DATABASE_URL=database)
    assert failed.returncode == 1
    assert 'column "bank_reference" of relation "requests" does not exist' in failed.stderr
    assert PASSWORDS["database"] not in failed.stdout + failed.stderr

    assert stack.run("1.2.0-scheduler-crashes", "scheduler", DATABASE_URL=database).returncode == 1

    broken = [f"1.2.0-{name}" for name in ("never-ready", "answers-500", "answers-slowly", "wrong-version")]
    with stack.serve(*broken, folder=tmp_path, DATABASE_URL=database) as serving:
        never_ready, answers_500, answers_slowly, wrong_version = serving
        assert broken_checks(never_ready) == ["warehouse"]
        assert never_ready.get("/api/version").json()["version"] == "1.2.0-never-ready"
        # The failed migration left nothing behind: 1.1.0's schema, and ready with it.
        assert answers_500.get("/api/ready").json()["checks"]["migrations"] == {"ok": True, "detail": "at 0002"}
        assert [answers_500.get("/api/v1/ping").status_code for _ in range(5)].count(500) == 1
        assert " ERROR " in (tmp_path / "1.2.0-answers-500.log").read_text()
        assert broken_checks(answers_slowly) == []
        assert answers_slowly.get("/api/v1/ping").elapsed > timedelta(seconds=2.5)
        assert broken_checks(wrong_version) == []
        assert wrong_version.get("/api/version").json()["version"] == "1.1.9"


def test_a_database_out_of_reach_fails_a_migration_in_one_sentence(stack: Stack) -> None:
    nowhere = f"postgresql+psycopg://127.0.0.1:{servers.free_port()}/ledger"
    failed = stack.run("1.0.0", "migrate", "current", DATABASE_URL=nowhere)
    assert failed.returncode != 0
    assert "cannot connect to the database" in failed.stdout + failed.stderr
    assert "Traceback" not in failed.stderr
