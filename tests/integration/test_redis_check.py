# SPDX-License-Identifier: GPL-3.0-or-later
"""redis_check against real Redis and Valkey servers: each finding green and red, and servers that do not behave."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import misbehaving
import pytest
import redis
import redis_check
import servers
from findings import findings, green, red

RunModule = Callable[..., dict[str, Any]]
StartRedis = Callable[..., contextlib.AbstractContextManager[servers.Redis]]

EXPECTED: dict[str, Any] = {
    "min_version": {"redis": "7.0", "valkey": "7.2"},
    "tls": True,
    "refuses_unauthenticated": True,
    "refuses_default_passwords": True,
    "default_passwords": ["the-one-before"],
    "config": {
        "maxmemory": "256mb",
        "maxmemory-policy": "allkeys-lru",
        "appendonly": True,
        "appendfsync": "everysec",
        "save": ["900 1", "300 10"],
        "client-output-buffer-limit": "replica 512mb 64mb 60",
        "maxmemory-clients": "5%",
        "proc-title-template": '"{title} {listen-addr}"',
    },
    "aof": True,
    "rdb": True,
    "rdb_max_age_s": 3600,
    "role": "master",
    "min_replicas": 1,
    "max_replication_lag_s": 10,
    "min_free_memory_percent": 50,
    "min_free_clients_percent": 50,
    "users": [{"name": "app"}, {"name": "metrics", "flags": ["nopass"]}, {"name": "retired", "enabled": False}],
}
PASSWORD = "correct-horse-battery-staple"
APP_PASSWORD = "app-correct-horse"


@pytest.fixture(scope="module", params=["redis", "valkey"])
def flavour(request: pytest.FixtureRequest) -> str:
    """What to start: every test that starts a server of its own does so with Redis and with Valkey."""
    return str(request.param)


@pytest.fixture(scope="module")
def start(flavour: str) -> StartRedis:
    """Start a server of this flavour; keywords are those of ``servers.start_redis``."""
    program = "redis-server" if flavour == "redis" else servers.valkey_binary()

    def start_one(folder: Path, directives: dict[str, str] | None = None, **options: Any) -> Any:
        return servers.start_redis(folder, directives, **({"program": program, "password": PASSWORD} | options))

    return start_one


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The certificate and key of a CA."""
    return misbehaving.certificate(tmp_path_factory.mktemp("authority"), name="authority.example")


def tls_directives(folder: Path, authority: tuple[Path, Path], **more: str) -> dict[str, str]:
    certificate, key = misbehaving.certificate(folder, ca=authority)
    port = str(servers.free_port())
    files = {"tls-cert-file": str(certificate), "tls-key-file": str(key), "tls-ca-cert-file": str(authority[0])}
    return {"tls-port": port, "tls-auth-clients": "no"} | files | more


@pytest.fixture(scope="module")
def pair(
    flavour: str, start: StartRedis, authority: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """A master as EXPECTED says and its replica, as targets. The Valkey at hand was built without TLS."""
    folder = tmp_path_factory.mktemp("pair")
    tls = tls_directives(folder, authority) if flavour == "redis" else {}
    settings = {
        "maxmemory": "256mb",
        "maxmemory-policy": "allkeys-lru",
        "maxmemory-clients": "5%",
        "appendonly": "yes",
        "save": "300 10 900 1",
        "client-output-buffer-limit": "replica 512mb 64mb 60",
        "proc-title-template": '"{title} {listen-addr}"',
        "repl-diskless-sync-delay": "0",
        "user": f"app on >{APP_PASSWORD} ~* +@all\nuser metrics on nopass +info\nuser retired off >whatever ~* +@all",
    }
    with start(folder, settings | tls) as master:
        replicaof = {"replicaof": f"127.0.0.1 {master.port}", "masterauth": PASSWORD}
        with start(folder, replicaof | {"unixsocket": str(folder / "replica.sock")}) as replica:
            servers.wait_until(
                lambda: replica.client().info("replication")["master_link_status"] == "up", what="the replica"
            )
            servers.wait_until(
                lambda: master.client().info("replication")["slave0"]["state"] == "online", what="the replica"
            )
            address = f"rediss://127.0.0.1:{tls['tls-port']}/0" if tls else f"valkey://127.0.0.1:{master.port}"
            yield (
                {"name": "master", "address": address, "ca_path": str(authority[0]), "password": PASSWORD},
                {"name": "replica", "address": f"unix://{folder}/replica.sock?db=3", "password": PASSWORD},
            )


@pytest.fixture
def master(pair: tuple[dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    """The master as a target, over TLS where the server has it."""
    return pair[0]


@pytest.fixture
def expected(flavour: str) -> dict[str, Any]:
    """What the master is."""
    return EXPECTED | {"tls": flavour == "redis"}


@pytest.fixture
def replica(pair: tuple[dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    """The replica as a target, through a Unix socket and in database 3."""
    return pair[1]


@pytest.fixture
def check(run_module: RunModule) -> RunModule:
    """Run the module on one target as a playbook would; keywords say what is expected."""

    def run(target: dict[str, Any], **expected: Any) -> dict[str, Any]:
        return run_module(redis_check, targets=[target], expected=expected, report_only=True)

    return run


def target_of(server: servers.Redis, **options: Any) -> dict[str, Any]:
    return {"name": "cache", "address": f"redis://127.0.0.1:{server.port}", "password": server.password} | options


def test_a_master_as_declared_is_green_in_every_finding(
    check: RunModule, master: dict[str, Any], expected: dict[str, Any]
) -> None:
    result = check(master, **expected)
    assert red(result) == []
    assert green(result) == sorted(
        [
            "reachable",
            "tls",
            "unauthenticated",
            "default_passwords",
            "login",
            "version",
            "loading",
            *(f"config.{directive}" for directive in EXPECTED["config"]),
            "aof.enabled",
            "aof.last_write",
            "aof.last_rewrite",
            "rdb.last_save",
            "rdb.age_s",
            "role",
            "replication.replicas",
            "replication.lag_s",
            "memory.free_percent",
            "clients.free_percent",
            "user.app",
            "user.metrics",
            "user.metrics.flags",
            "user.retired",
        ]
    )
    assert result["changed"] is False


def test_a_replica_as_declared_is_green_also_through_a_unix_socket_and_in_another_database(
    check: RunModule, replica: dict[str, Any]
) -> None:
    expected = {
        "role": "replica",
        "max_replication_lag_s": 30,
        "tls": False,
        "refuses_unauthenticated": True,
        "aof": False,
    }
    result = check(replica, **expected)
    assert red(result) == []
    assert {"role", "replication.link", "replication.lag_s", "tls", "unauthenticated", "aof.enabled"} <= set(
        green(result)
    )


@pytest.mark.parametrize(
    ("expected", "only"),
    [
        pytest.param({"min_version": {"redis": "99", "valkey": "99"}}, "version", id="too old a server"),
        pytest.param({"config": {"maxmemory": "1gb"}}, "config.maxmemory", id="other memory"),
        pytest.param({"config": {"maxmemory-policy": "noeviction"}}, "config.maxmemory-policy", id="other policy"),
        pytest.param({"config": {"appendonly": False}}, "config.appendonly", id="other truth value"),
        pytest.param({"config": {"save": "900 1"}}, "config.save", id="other save points"),
        pytest.param({"config": {"save": ""}}, "config.save", id="save points where none are declared"),
        pytest.param(
            {"config": {"client-output-buffer-limit": ["normal 0 0 0", "slave 256mb 64mb 60"]}},
            "config.client-output-buffer-limit",
            id="other limit for one class of clients",
        ),
        pytest.param({"config": {"maxmemory-clients": "6%"}}, "config.maxmemory-clients", id="other percentage"),
        pytest.param({"config": {"dbfilename": "DUMP.rdb"}}, "config.dbfilename", id="a path in another case"),
        pytest.param(
            {"config": {"maxmemory_policy": "allkeys-lru"}}, "config.maxmemory_policy", id="no such directive"
        ),
        pytest.param({"config": {"max*": "256mb"}}, "config.max*", id="a pattern is no directive"),
        pytest.param({"aof": False}, "aof.enabled", id="AOF where none is declared"),
        pytest.param({"role": "replica"}, "role", id="a master where a replica is declared"),
        pytest.param({"min_replicas": 2}, "replication.replicas", id="too few replicas"),
        pytest.param({"max_replication_lag_s": -1}, "replication.lag_s", id="too much lag"),
        pytest.param({"min_free_memory_percent": 99.9}, "memory.free_percent", id="too little memory left"),
        pytest.param({"min_free_clients_percent": 100.1}, "clients.free_percent", id="too many clients"),
        pytest.param({"users": [{"name": "nobody"}]}, "user.nobody", id="no such user"),
        pytest.param({"users": [{"name": "retired"}]}, "user.retired", id="a user who is off"),
        pytest.param({"users": [{"name": "default", "enabled": False}]}, "user.default", id="a user who is on"),
        pytest.param(
            {"users": [{"name": "app", "flags": ["nopass"]}]}, "user.app", id="a password where none is declared"
        ),
        pytest.param({"users": [{"name": "metrics"}]}, "user.metrics", id="no password where one is due"),
        pytest.param(
            {"users": [{"name": "app", "flags": ["skip-sanitize-payload"]}]}, "user.app.flags", id="another flag"
        ),
    ],
)
def test_each_deviation_is_red_in_just_its_own_finding(
    check: RunModule, master: dict[str, Any], expected: dict[str, Any], only: str
) -> None:
    assert red(check(master, **expected)) == [only]


def test_redis_is_told_from_valkey(flavour: str, check: RunModule, master: dict[str, Any]) -> None:
    other = {"redis": "valkey", "valkey": "redis"}[flavour]
    assert red(check(master, min_version={flavour: "7"})) == []
    result = check(master, min_version={other: "7"})
    assert red(result) == ["version"]
    assert findings(result)["version"]["observed"].startswith(f"{flavour} ")


def test_a_login_by_name_sees_what_its_rights_let_it_see(check: RunModule, master: dict[str, Any]) -> None:
    app = master | {"username": "app", "password": APP_PASSWORD}
    assert red(check(app, config={"maxmemory": "256mb"}, refuses_unauthenticated=True)) == []


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        pytest.param({"password": "wrong-password"}, "WRONGPASS", id="wrong password"),
        pytest.param({"username": "nobody", "password": "wrong-password"}, "WRONGPASS", id="unknown user"),
        pytest.param({"username": "retired", "password": "whatever"}, "WRONGPASS", id="a user who is off"),
        pytest.param({"password": None}, "NOAUTH", id="no password"),
    ],
)
def test_a_login_that_fails_skips_what_needs_it(
    check: RunModule, master: dict[str, Any], expected: dict[str, Any], credentials: dict[str, Any], words: str
) -> None:
    result = check(master | credentials, **expected)
    assert red(result) == ["login"]
    assert words in findings(result)["login"]["cause"]
    assert findings(result)["config.maxmemory"]["cause"] == "login"
    assert green(result) == ["default_passwords", "reachable", "tls", "unauthenticated"]


def test_a_database_that_does_not_exist_is_said_to_be_the_reason(check: RunModule, redis_server: servers.Redis) -> None:
    result = check(target_of(redis_server, address=f"redis://127.0.0.1:{redis_server.port}/99"), aof=False)
    assert red(result) == ["login"]
    assert "DB index" in findings(result)["login"]["cause"]


# --- who gets in -----------------------------------------------------------------------------------------------------


def test_a_server_without_a_password_lets_anybody_in(folder: Path, start: StartRedis, check: RunModule) -> None:
    with start(folder, password="") as server:
        target = target_of(server, password=None)
        result = check(target, refuses_unauthenticated=True, refuses_default_passwords=True)
        assert red(result) == ["unauthenticated"]
        assert findings(result)["unauthenticated"]["observed"] == "let in: PING was answered with PONG"
        assert findings(result)["default_passwords"]["status"] == "skipped"
        assert red(check(target, refuses_default_passwords=True)) == ["default_passwords"]


def test_a_password_for_a_server_that_asks_for_none_is_a_login_that_fails(
    folder: Path, start: StartRedis, check: RunModule
) -> None:
    with start(folder, password="") as server:
        result = check(target_of(server, password=PASSWORD), refuses_unauthenticated=True)
    assert red(result) == ["login", "unauthenticated"]
    assert "without any password configured" in findings(result)["login"]["cause"]


def test_a_default_user_with_rights_but_not_to_ping_still_lets_anybody_in(
    folder: Path, start: StartRedis, check: RunModule
) -> None:
    with start(folder, password="") as server:
        server.client().execute_command("ACL", "SETUSER", "default", "-ping")
        result = check(target_of(server, password=None), refuses_unauthenticated=True)
    assert red(result) == ["unauthenticated"]
    assert "NOPERM" in findings(result)["unauthenticated"]["observed"]


def test_turning_off_the_default_user_refuses_everybody_without_a_name(
    folder: Path, start: StartRedis, check: RunModule
) -> None:
    with start(folder, password="") as server:
        server.client().execute_command("ACL", "SETUSER", "app", "on", f">{APP_PASSWORD}", "~*", "+@all")
        server.client().execute_command("ACL", "SETUSER", "default", "off")
        result = check(
            target_of(server, username="app", password=APP_PASSWORD),
            refuses_unauthenticated=True,
            refuses_default_passwords=True,
            users=[{"name": "default", "enabled": False}],
        )
    assert red(result) == []


@pytest.mark.parametrize("password", ["foobared", "redis", "my-first-password"])
def test_a_password_that_everybody_knows_is_found_out(
    password: str, folder: Path, start: StartRedis, check: RunModule
) -> None:
    expected = {"refuses_default_passwords": True, "default_passwords": ["my-first-password"]}
    with start(folder, password=password) as server:
        in_use = check(target_of(server), refuses_unauthenticated=True, **expected)
        server.client().execute_command("ACL", "SETUSER", "app", "on", f">{APP_PASSWORD}", "~*", "+@all")
        of_another = check(target_of(server, username="app", password=APP_PASSWORD), **expected)
    for result in (in_use, of_another):
        assert red(result) == ["default_passwords"]
        assert result["verdicts"][0]["component"] == "redis"
    assert password not in str(findings(in_use)["default_passwords"])


def test_a_known_password_that_is_not_the_first_tried_is_found_out(
    folder: Path, start: StartRedis, check: RunModule
) -> None:
    with start(folder, password="123456") as server:
        result = check(target_of(server, password="wrong-password"), refuses_default_passwords=True)
    assert red(result) == ["default_passwords", "login"]


def test_no_password_and_no_hash_of_one_leaves_the_module(
    check: RunModule, master: dict[str, Any], expected: dict[str, Any]
) -> None:
    result = str(check(master, **expected))
    assert PASSWORD not in result
    assert APP_PASSWORD not in result
    assert not re.search(r"[0-9a-f]{64}", result)


# --- TLS -------------------------------------------------------------------------------------------------------------


def test_a_certificate_of_the_clients_own_is_shown_and_its_lack_is_a_refusal(
    folder: Path, authority: tuple[Path, Path], check: RunModule
) -> None:
    tls = tls_directives(folder, authority, **{"tls-auth-clients": "yes"})
    certificate, key = misbehaving.certificate(folder, name="client.example", ca=authority)
    address, ca_path = f"rediss://127.0.0.1:{tls['tls-port']}", str(authority[0])
    with servers.start_redis(folder, tls, password="") as server:
        target = target_of(server, address=address, ca_path=ca_path, password=None)
        shown = target | {"cert_path": str(certificate), "key_path": str(key)}
        for _ in range(100):
            assert red(check(shown, tls=True, refuses_unauthenticated=True)) == []
        without = check(target, tls=True)
    assert red(without) == ["reachable"]
    assert "CERTIFICATE_REQUIRED" in findings(without)["reachable"]["cause"]


def test_tls_must_be_as_declared(check: RunModule, master: dict[str, Any], expected: dict[str, Any]) -> None:
    assert red(check(master, tls=not expected["tls"])) == ["tls"]


def test_tls_to_a_server_that_speaks_none_is_one_finding_with_a_cause(
    redis_server: servers.Redis, check: RunModule
) -> None:
    result = check(target_of(redis_server, address=f"rediss://127.0.0.1:{redis_server.port}"), tls=True)
    assert red(result) == ["reachable"]
    assert "TLS" in findings(result)["reachable"]["cause"]


@pytest.mark.parametrize(
    ("name", "days", "words"),
    [
        pytest.param("127.0.0.1", 30, "self-signed", id="a CA that nobody trusts"),
        pytest.param("127.0.0.1", -1, "expired", id="expired"),
        pytest.param("redis.example", 30, "match", id="another server's name"),
    ],
)
def test_a_bad_certificate_is_one_finding_with_a_cause(
    name: str, days: float, words: str, folder: Path, authority: tuple[Path, Path], run_module: RunModule
) -> None:
    server = misbehaving.certificate(folder, name=name, days=days, ca=None if words == "self-signed" else authority)
    with misbehaving.listening(misbehaving.hangs, tls=misbehaving.tls_server(*server)) as port:
        target = {"name": "cache", "address": f"rediss://127.0.0.1:{port}", "ca_path": str(authority[0])}
        result = run_module(redis_check, targets=[target], expected={"tls": True}, report_only=True)
    assert red(result) == ["reachable"]
    assert words in findings(result)["reachable"]["cause"]


def test_a_ca_file_that_is_not_there_is_one_finding_with_a_cause(redis_server: servers.Redis, check: RunModule) -> None:
    target = target_of(redis_server, address=f"rediss://127.0.0.1:{redis_server.port}", ca_path="/nowhere/ca.pem")
    result = check(target, tls=True)
    assert red(result) == ["reachable"]
    assert "ca_path" in findings(result)["reachable"]["cause"]


# --- persistence -----------------------------------------------------------------------------------------------------


def test_an_append_only_file_that_is_off_is_red_and_its_health_means_nothing(
    redis_server: servers.Redis, check: RunModule
) -> None:
    result = check(target_of(redis_server), aof=True)
    assert red(result) == ["aof.enabled"]
    assert findings(result)["aof.last_write"]["cause"] == "aof.enabled"


def test_an_append_only_file_that_cannot_be_written_is_red(folder: Path, start: StartRedis, check: RunModule) -> None:
    with start_that_survives_a_full_disk(start, folder, {"appendonly": "yes"}) as server:
        target = target_of(server)
        assert red(check(target, aof=True)) == []
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
        with contextlib.suppress(redis.ResponseError):
            server.client().set("key", "x" * 4096)
        servers.wait_until(
            lambda: server.client().info("persistence")["aof_last_write_status"] == "err", what="the full disk"
        )
        assert red(check(target, aof=True)) == ["aof.last_write"]
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        servers.wait_until(
            lambda: server.client().info("persistence")["aof_last_write_status"] == "ok", what="the mended disk"
        )
        assert red(check(target, aof=True)) == []


def start_that_survives_a_full_disk(
    start: StartRedis, folder: Path, directives: dict[str, str]
) -> contextlib.AbstractContextManager[servers.Redis]:
    """A server to whose files the limit of a file's size is a full disk, and not the end of the process."""
    with start(folder) as probe:
        program = Path(f"/proc/{probe.pid}/cmdline").read_text().split("\0")[0].split(" ")[0]
    program = shutil.which(program) or program
    wrapper = folder / "survivor"
    wrapper.write_text(f"#!/bin/sh\ntrap '' XFSZ\nexec '{program}' \"$@\"\n")
    wrapper.chmod(0o700)
    return start(folder, directives, program=str(wrapper))


def test_a_rewrite_and_a_snapshot_that_failed_are_red(folder: Path, start: StartRedis, check: RunModule) -> None:
    with start(folder, {"appendonly": "yes", "stop-writes-on-bgsave-error": "no"}) as server:
        target, client = target_of(server), server.client()
        assert red(check(target, aof=True, rdb=True)) == []
        shutil.rmtree(folder / f"redis-{server.port}")
        with contextlib.suppress(redis.ResponseError):
            client.bgrewriteaof()
        servers.wait_until(
            lambda: client.info("persistence")["aof_last_bgrewrite_status"] == "err", what="the failed rewrite"
        )
        assert red(check(target, aof=True, rdb=True)) == ["aof.last_rewrite"]
        with contextlib.suppress(redis.ResponseError):
            client.bgsave()
        servers.wait_until(
            lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", what="the failed snapshot"
        )
        assert red(check(target, rdb=True)) == ["rdb.last_save"]


def test_an_old_snapshot_is_red_only_when_something_changed_since(
    folder: Path, start: StartRedis, check: RunModule
) -> None:
    with start(folder) as server:
        target = target_of(server)
        assert red(check(target, rdb_max_age_s=-1)) == []
        server.client().set("key", "value")
        result = check(target, rdb_max_age_s=-1)
        assert red(result) == ["rdb.age_s"]
        assert findings(result)["rdb.age_s"]["observed"]["changes_since"] == 1
        server.client().save()
        assert red(check(target, rdb_max_age_s=-1)) == []


def test_a_server_that_still_loads_its_data_is_red_and_asks_for_its_password_all_the_same(
    folder: Path, start: StartRedis, check: RunModule
) -> None:
    slow = {"enable-debug-command": "yes", "key-load-delay": "500", "loading-process-events-interval-bytes": "1024"}
    with start(folder, slow) as server:
        server.client().execute_command("DEBUG", "POPULATE", "20000")
        reloading = threading.Thread(target=_reload, args=(server,), daemon=True)
        reloading.start()
        servers.wait_until(lambda: server.client().info("persistence")["loading"] == 1, what="loading")
        expected = {"refuses_unauthenticated": True, "refuses_default_passwords": True, "config": {"port": server.port}}
        result = check(target_of(server), **expected)
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGKILL)
        reloading.join(5)
    assert red(result) == ["loading"]


def _reload(server: servers.Redis) -> None:
    with contextlib.suppress(redis.RedisError):
        server.client().execute_command("DEBUG", "RELOAD")


# --- replication -----------------------------------------------------------------------------------------------------


def test_a_replica_that_lost_its_master_is_red(folder: Path, start: StartRedis, check: RunModule) -> None:
    with start(folder, {"replicaof": f"127.0.0.1 {misbehaving.refusing_port()}"}) as server:
        target = target_of(server)
        result = check(target, role="replica", max_replication_lag_s=5)
        assert red(result) == ["replication.link"]
        assert findings(result)["replication.lag_s"]["cause"] == "replication.link"
        assert (
            "link to the master is down"
            in findings(check(target, max_replication_lag_s=5))["replication.lag_s"]["cause"]
        )


def test_lag_is_seen_from_both_ends(folder: Path, start: StartRedis, check: RunModule) -> None:
    with start(folder, {"repl-diskless-sync-delay": "0"}) as master:
        replicaof = {"replicaof": f"127.0.0.1 {master.port}", "masterauth": PASSWORD}
        with start(folder, replicaof) as replica:
            servers.wait_until(
                lambda: master.client().info("replication")["slave0"]["state"] == "online", what="the replica"
            )
            assert red(check(target_of(master), max_replication_lag_s=2)) == []
            os.kill(replica.pid, signal.SIGSTOP)
            time.sleep(3.2)
            assert red(check(target_of(master), max_replication_lag_s=2)) == ["replication.lag_s"]
            os.kill(replica.pid, signal.SIGCONT)
            servers.wait_until(
                lambda: red(check(target_of(replica), role="replica", max_replication_lag_s=2)) == [], what="calm"
            )
            os.kill(master.pid, signal.SIGSTOP)
            time.sleep(3.2)
            assert red(check(target_of(replica), role="replica", max_replication_lag_s=2)) == ["replication.lag_s"]
            os.kill(master.pid, signal.SIGCONT)


def test_lag_without_a_replica_is_not_a_pass(redis_server: servers.Redis, check: RunModule) -> None:
    result = check(target_of(redis_server), max_replication_lag_s=5)
    assert red(result) == ["replication.lag_s"]
    assert findings(result)["replication.lag_s"]["cause"] == "no replica is online"


# --- headroom --------------------------------------------------------------------------------------------------------


def test_full_memory_and_used_up_clients_are_red(folder: Path, start: StartRedis, check: RunModule) -> None:
    with start(folder, {"maxmemory": "20mb", "maxclients": "20"}) as server, contextlib.ExitStack() as stack:
        expected = {"min_free_memory_percent": 30, "min_free_clients_percent": 50}
        assert red(check(target_of(server), **expected)) == []
        server.client().mset({str(number): "x" * 100_000 for number in range(150)})
        assert red(check(target_of(server), **expected)) == ["memory.free_percent"]
        server.client().flushall()
        for _ in range(12):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        assert red(check(target_of(server), **expected)) == ["clients.free_percent"]

        def nobody_else_gets_in() -> bool:
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            result = check(target_of(server), **expected)
            return red(result) == ["login"] and "max number of clients" in findings(result)["login"]["cause"]

        servers.wait_until(nobody_else_gets_in, what="the limit of clients")


def test_memory_without_a_bound_has_no_headroom(redis_server: servers.Redis, check: RunModule) -> None:
    result = check(target_of(redis_server), min_free_memory_percent=1)
    assert red(result) == ["memory.free_percent"]
    assert findings(result)["memory.free_percent"]["observed"] == "no maxmemory bounds it"


# --- where CONFIG and more is forbidden ------------------------------------------------------------------------------

MANAGED = {"maxmemory": "64mb", "maxmemory-policy": "allkeys-lfu", "appendonly": "yes", "maxclients": "500"}


@pytest.fixture(params=["renamed", "not permitted"])
def managed(request: pytest.FixtureRequest, folder: Path, start: StartRedis) -> Iterator[dict[str, Any]]:
    """A server whose CONFIG nobody may use."""
    renamed = {"rename-command": 'CONFIG ""'} if request.param == "renamed" else {}
    with start(folder, MANAGED | renamed) as server:
        if not renamed:
            server.client().execute_command("ACL", "SETUSER", "app", "on", f">{APP_PASSWORD}", "~*", "+@all", "-config")
        yield target_of(server) if renamed else target_of(server, username="app", password=APP_PASSWORD)


def test_where_config_is_forbidden_info_is_asked_and_the_finding_says_so(
    managed: dict[str, Any], check: RunModule
) -> None:
    result = check(managed, config=MANAGED, min_free_clients_percent=50)
    assert red(result) == []
    policy = findings(result)["config.maxmemory-policy"]
    assert policy["observed"] == "allkeys-lfu (from INFO: CONFIG GET does not tell)"


def test_where_config_is_forbidden_a_deviation_is_still_red(managed: dict[str, Any], check: RunModule) -> None:
    wrong = {"maxmemory": "1gb", "maxmemory-policy": "noeviction", "appendonly": "no"}
    assert red(check(managed, config=wrong)) == ["config.appendonly", "config.maxmemory", "config.maxmemory-policy"]


def test_where_config_is_forbidden_what_info_does_not_tell_is_an_error_and_not_a_pass(
    managed: dict[str, Any], check: RunModule
) -> None:
    result = check(managed, config={"appendfsync": "everysec"})
    assert red(result) == ["config.appendfsync"]
    assert findings(result)["config.appendfsync"]["status"] == "error"
    assert "INFO does not tell appendfsync" in findings(result)["config.appendfsync"]["cause"]


def test_a_login_that_may_do_nothing_passes_nothing(folder: Path, start: StartRedis, check: RunModule) -> None:
    with start(folder) as server:
        server.client().execute_command("ACL", "SETUSER", "app", "on", f">{APP_PASSWORD}", "-@all")
        target = target_of(server, username="app", password=APP_PASSWORD)
        result = check(target, config={"maxmemory": 0}, aof=False, users=[{"name": "app"}], role="master")
    assert red(result) == ["aof.enabled", "config.maxmemory", "loading", "role", "user.app"]
    assert all("NOPERM" in findings(result)[name]["cause"] for name in red(result))


def test_the_rights_in_the_roles_readme_are_enough(
    folder: Path, start: StartRedis, check: RunModule, project: Path
) -> None:
    readme = (project / "roles" / "redis" / "README.md").read_text(encoding="utf-8")
    (rule,) = [line for line in readme.splitlines() if line.startswith("ACL SETUSER checks")]
    expected = {name: value for name, value in EXPECTED.items() if name not in ("tls", "config", "aof", "min_replicas")}
    expected |= {"config": {"maxmemory": "256mb"}, "users": [{"name": "checks"}]}
    del expected["max_replication_lag_s"]
    with start(folder, {"maxmemory": "256mb"}) as server:
        server.client().execute_command(*rule.replace("PASSWORD", APP_PASSWORD).split())
        target = target_of(server, username="checks", password=APP_PASSWORD)
        assert red(check(target, **expected)) == []


# --- servers that do not behave, and many of them --------------------------------------------------------------------


def nests(connection: socket.socket, stop: threading.Event) -> None:
    """Answers with a list in a list in a list."""
    connection.recv(4096)
    connection.sendall(b"*1\r\n" * 100_000)
    stop.wait(60)


def says_ok_to_everything(connection: socket.socket, stop: threading.Event) -> None:
    """Answers any command as if it had been obeyed."""
    while data := connection.recv(4096):
        connection.sendall(b"+OK\r\n" * data.count(b"*"))


def promises_too_much(connection: socket.socket, stop: threading.Event) -> None:
    """Announces a string of a petabyte, and sends ten megabytes of it."""
    connection.recv(4096)
    connection.sendall(b"$1000000000000000\r\n" + b"x" * 10 * 1024**2)


def counts_in_words(connection: socket.socket, stop: threading.Event) -> None:
    """Gives a length that is no number."""
    connection.recv(4096)
    connection.sendall(b"$many\r\n")


def drips_in_protocol(connection: socket.socket, stop: threading.Event) -> None:
    """Sends a long string a byte at a time, so that no single read is ever late."""
    connection.recv(4096)
    connection.sendall(b"$100000\r\n")
    while not stop.wait(0.1):
        connection.sendall(b"x")


def closes_mid_string(connection: socket.socket, stop: threading.Event) -> None:
    """Announces a longer string than it sends."""
    connection.recv(4096)
    connection.sendall(b"$100\r\nabc")


MISBEHAVIOURS = misbehaving.BEHAVIOURS | {
    behaviour.__name__: behaviour
    for behaviour in (
        nests,
        says_ok_to_everything,
        promises_too_much,
        counts_in_words,
        drips_in_protocol,
        closes_mid_string,
    )
}


@pytest.mark.parametrize("name", MISBEHAVIOURS)
@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_a_server_that_misbehaves_is_one_finding_with_a_cause(name: str, scheme: str, run_module: RunModule) -> None:
    with misbehaving.listening(MISBEHAVIOURS[name]) as port:
        target = {"name": "cache", "address": f"{scheme}://127.0.0.1:{port}", "password": PASSWORD}
        result = run_module(
            redis_check,
            targets=[target],
            expected={"refuses_unauthenticated": True, "config": {"port": 1}},
            timeout_s=1.0,
            report_only=True,
        )
    assert red(result) == ["reachable"]
    assert findings(result)["reachable"]["cause"]
    assert len(findings(result)["reachable"]["cause"]) < 500
    assert result["verdicts"][0]["took_ms"] < 20_000


NOBODY, WRONG = b"-NOAUTH Authentication required.\r\n", b"-WRONGPASS invalid username-password pair\r\n"


def before(redis_server: servers.Redis, stranger: misbehaving.Behaviour) -> misbehaving.Behaviour:
    """Stands before the real server: passes on to it, unless somebody without a name comes, who begins with a PING."""

    def behaves(connection: socket.socket, stop: threading.Event) -> None:
        first = connection.recv(65536)
        if b"PING" in first:
            connection.sendall(NOBODY)
            return stranger(connection, stop)
        with socket.create_connection(("127.0.0.1", redis_server.port)) as onward:
            onward.sendall(first)
            onward.settimeout(10)
            with contextlib.suppress(TimeoutError):
                while data := onward.recv(65536):
                    connection.sendall(data)
                    # It has begun to answer, and the rest comes at once.
                    onward.settimeout(0.3)
        return None

    return behaves


def refuses_one(connection: socket.socket, stop: threading.Event) -> None:
    """Hangs up on the first wrong password."""
    connection.recv(65536)
    connection.sendall(WRONG)


def takes_one_at_a_time(connection: socket.socket, stop: threading.Event) -> None:
    """Hangs up on a stranger who does not wait for answers, as Redis 8 does where a kilobyte of them waits."""
    while connection.recv(65536).count(b"AUTH") == 1:
        connection.sendall(WRONG)


@pytest.mark.parametrize(
    ("stranger", "wrong"),
    [
        pytest.param(refuses_one, ["default_passwords"], id="the first wrong password"),
        pytest.param(takes_one_at_a_time, [], id="more than one at a time"),
    ],
)
def test_a_server_that_hangs_up_is_taken_to_refuse_just_what_it_has_refused(
    stranger: misbehaving.Behaviour, wrong: list[str], redis_server: servers.Redis, run_module: RunModule
) -> None:
    with misbehaving.listening(before(redis_server, stranger)) as port:
        result = run_module(
            redis_check,
            targets=[target_of(redis_server, address=f"redis://127.0.0.1:{port}")],
            expected={"refuses_unauthenticated": True, "refuses_default_passwords": True},
            report_only=True,
        )
    assert red(result) == wrong
    assert not wrong or "hung up" in findings(result)["default_passwords"]["cause"]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        pytest.param("redis://127.0.0.1:{port}", "refused", id="closed port"),
        pytest.param("unix:///nowhere/redis.sock", "nowhere", id="no such socket"),
        pytest.param("redis://no-such-host.invalid:6379", "no-such-host.invalid", id="no such name"),
        pytest.param("http://127.0.0.1:6379", "is no address of Redis", id="another scheme"),
        pytest.param("127.0.0.1:6379", "is no address of Redis", id="no scheme"),
        pytest.param("redis://somebody@127.0.0.1:6379", "is no address of Redis", id="a user in the address"),
        pytest.param("redis://127.0.0.1:6379/zero", "is no address of Redis", id="a database that is no number"),
    ],
)
def test_an_address_where_nobody_is_is_one_finding_with_a_cause(
    address: str, words: str, run_module: RunModule
) -> None:
    target = {"name": "cache", "address": address.format(port=misbehaving.refusing_port())}
    result = run_module(redis_check, targets=[target], expected={"aof": True}, report_only=True)
    assert red(result) == ["reachable"]
    assert words in findings(result)["reachable"]["cause"]


def test_a_paused_server_is_one_finding_within_the_deadline(
    folder: Path, start: StartRedis, run_module: RunModule
) -> None:
    with start(folder) as server:
        os.kill(server.pid, signal.SIGSTOP)
        result = run_module(
            redis_check, targets=[target_of(server)], expected={"aof": False}, timeout_s=0.5, report_only=True
        )
    assert red(result) == ["reachable"]
    assert "in time" in findings(result)["reachable"]["cause"]
    assert result["verdicts"][0]["took_ms"] < 20_000


def test_many_targets_are_looked_at_together_and_a_slow_one_holds_up_none(
    redis_server: servers.Redis, run_module: RunModule
) -> None:
    with misbehaving.listening(misbehaving.hangs) as port:
        targets = [target_of(redis_server, name=f"cache-{number}") for number in range(300)]
        targets[3] = {"name": "hangs", "address": f"redis://127.0.0.1:{port}"}
        started = time.monotonic()
        expected = {"refuses_unauthenticated": True, "config": {"maxmemory": 0}}
        result = run_module(redis_check, targets=targets, expected=expected, timeout_s=2.0, report_only=True)
        took_s = time.monotonic() - started
    assert [verdict["subject"] for verdict in result["verdicts"] if not verdict["ok"]] == ["hangs"]
    assert took_s < 30


def test_without_report_only_a_red_finding_fails_the_task(redis_server: servers.Redis, run_module: RunModule) -> None:
    expected = {"config": {"maxmemory-policy": "allkeys-lru"}}
    result = run_module(redis_check, targets=[target_of(redis_server)], expected=expected)
    assert result["failed"]
    assert "config.maxmemory-policy: expected 'allkeys-lru', observed 'noeviction'" in result["msg"]


@pytest.mark.parametrize(
    ("targets", "expected", "words"),
    [
        pytest.param([], {}, "targets is empty", id="no target"),
        pytest.param([{"name": "a", "address": "redis://h"}] * 2, {}, "two targets are named 'a'", id="a name twice"),
        pytest.param(
            [{"name": "a", "address": "redis://:s3cret-word@h:6379"}], {}, "holds a password", id="password in address"
        ),
        pytest.param(
            [{"name": "a", "address": "redis://h"}],
            {"config": {"requirepass": "s3cret-word"}},
            "would show a secret",
            id="a password among directives",
        ),
        pytest.param(
            [{"name": "a", "address": "redis://h"}],
            {"config": {"save": "900"}},
            "write pairs",
            id="half a save point",
        ),
        pytest.param(
            [{"name": "a", "address": "redis://h"}], {"min_version": {}}, "names no version", id="no version at all"
        ),
        pytest.param(
            [{"name": "a", "address": "redis://h"}],
            {"default_passwords": ["s3cret"]},
            "none would be tried",
            id="passwords that nobody tries",
        ),
    ],
)
def test_a_wrong_inventory_is_refused_before_anything_is_looked_at(
    targets: list[dict[str, Any]], expected: dict[str, Any], words: str, run_module: RunModule
) -> None:
    result = run_module(redis_check, targets=targets, expected=expected)
    assert result["failed"]
    assert words in result["msg"]
    assert "s3cret-word" not in str(result)
