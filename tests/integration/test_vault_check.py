# SPDX-License-Identifier: GPL-3.0-or-later
"""vault_check against real OpenBao servers: each finding green and red, and servers that do not behave."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import misbehaving
import pytest
import requests
import servers
import vault_check
import web
from findings import findings, green, red
from web import as_json

RunModule = Callable[..., dict[str, Any]]

EXPECTED: dict[str, Any] = {
    "min_version": "2.0",
    "key_shares": 5,
    "key_threshold": 3,
    "standby": False,
    "raft_voters": 1,
    "kv_versions": {"secret": 2, "legacy": 1},
    "audit_devices": ["file/"],
    "token_max_ttl_s": 3600,
    "secrets": [{"path": "secret/app/database", "keys": ["username", "password"], "max_age_days": 60}],
}
HCL = """
path "secret/data/app/*" { capabilities = ["read"] }
path "sys/mounts" { capabilities = ["read"] }
path "sys/audit" { capabilities = ["read", "sudo"] }
path "sys/storage/raft/configuration" { capabilities = ["read"] }
"""
PASSWORD = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def approle(openbao: servers.OpenBao) -> dict[str, str]:
    """The server prepared as EXPECTED says, and a login with the least policy that the checks need."""
    client = openbao.client()
    client.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
    client.sys.enable_secrets_engine("kv", path="legacy", options={"version": "1"})
    client.secrets.kv.v2.create_or_update_secret(
        "app/database", {"username": "app", "password": PASSWORD, "unused": ""}, mount_point="secret"
    )
    client.sys.create_or_update_policy("checks", HCL)
    client.sys.enable_auth_method("approle")
    client.auth.approle.create_or_update_approle("checks", token_policies=["checks"], token_ttl="10m")
    return {
        "role_id": client.auth.approle.read_role_id("checks")["data"]["role_id"],
        "secret_id": client.auth.approle.generate_secret_id("checks")["data"]["secret_id"],
    }


@pytest.fixture
def check(openbao: servers.OpenBao, approle: dict[str, str], run_module: RunModule) -> RunModule:
    """Run the module as a playbook would; keywords replace parts of what is expected."""

    def run(target: dict[str, Any] | None = None, **expected: Any) -> dict[str, Any]:
        target = {"name": "vault", "address": openbao.address} | (approle if target is None else target)
        return run_module(vault_check, targets=[target], expected=expected or EXPECTED, report_only=True)

    return run


def test_a_server_as_declared_is_green_in_every_finding(check: RunModule) -> None:
    result = check()
    assert red(result) == []
    assert green(result) == sorted(
        [
            "reachable",
            "initialized",
            "sealed",
            "version",
            "key_shares",
            "key_threshold",
            "standby",
            "login",
            "token.root",
            "token.ttl",
            "kv.secret",
            "kv.legacy",
            "audit.file",
            "raft.voters",
            "secret.secret/app/database",
            "secret.secret/app/database.age_days",
        ]
    )
    assert result["changed"] is False


@pytest.mark.parametrize(
    ("expected", "only"),
    [
        pytest.param({"min_version": "99.0"}, "version", id="too old a server"),
        pytest.param({"key_shares": 7}, "key_shares", id="other shares"),
        pytest.param({"key_threshold": 2}, "key_threshold", id="other threshold"),
        pytest.param({"standby": True}, "standby", id="active, not standby"),
        pytest.param({"raft_voters": 3}, "raft.voters", id="too few raft peers"),
        pytest.param({"kv_versions": {"secret": 1}}, "kv.secret", id="other KV version"),
        pytest.param({"kv_versions": {"absent": 2}}, "kv.absent", id="no such mount"),
        pytest.param({"audit_devices": ["syslog/"]}, "audit.syslog", id="no such audit device"),
        pytest.param({"token_max_ttl_s": 60}, "token.ttl", id="token lives too long"),
        pytest.param({"secrets": [{"path": "secret/app/absent"}]}, "secret.secret/app/absent", id="no such secret"),
        pytest.param(
            {"secrets": [{"path": "secret/other/app"}]}, "secret.secret/other/app", id="policy forbids the secret"
        ),
        pytest.param(
            {"secrets": [{"path": "secret/app/database", "keys": ["unused"]}]},
            "secret.secret/app/database",
            id="key without a value",
        ),
        pytest.param(
            {"secrets": [{"path": "secret/app/database", "max_age_days": -1}]},
            "secret.secret/app/database.age_days",
            id="secret too old",
        ),
    ],
)
def test_each_deviation_is_red_in_just_its_own_finding(check: RunModule, expected: dict[str, Any], only: str) -> None:
    assert red(check(**expected)) == [only]


def test_a_root_token_is_refused_and_its_endless_life_too(check: RunModule, openbao: servers.OpenBao) -> None:
    root = {"token": openbao.root_token}
    assert red(check(root)) == ["token.root", "token.ttl"]
    assert red(check(root, kv_versions={"secret": 2})) == ["token.root"]


@pytest.mark.parametrize("target", [{}, {"token": "s.unknown"}, {"role_id": "no", "secret_id": "no"}])
def test_a_login_that_fails_skips_what_needs_it(check: RunModule, target: dict[str, Any]) -> None:
    result = check(target)
    assert red(result) == ["login"]
    assert {"sealed", "version", "key_threshold"} <= set(green(result))


def test_a_login_by_approle_is_revoked_at_the_end(check: RunModule, openbao: servers.OpenBao) -> None:
    def tokens() -> set[str]:
        return set(openbao.client().list("auth/token/accessors")["data"]["keys"])

    before = tokens()
    result = check()
    assert "login" in green(result)
    assert tokens() == before


def test_a_deleted_secret_is_not_there(check: RunModule, openbao: servers.OpenBao) -> None:
    kv = openbao.client().secrets.kv.v2
    kv.create_or_update_secret("app/gone", {"key": "value"}, mount_point="secret")
    assert red(check(secrets=[{"path": "secret/app/gone"}])) == []
    kv.delete_latest_version_of_secret("app/gone", mount_point="secret")
    assert red(check(secrets=[{"path": "secret/app/gone"}])) == ["secret.secret/app/gone"]


def test_no_value_of_a_secret_leaves_the_module(check: RunModule, approle: dict[str, str]) -> None:
    assert PASSWORD not in str(check())
    assert approle["secret_id"] not in str(check())


def test_no_credential_of_whoever_runs_this_is_sent(
    run_module: RunModule, folder: Path, recorded: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".vault-token").write_text("s.of-a-file")
    monkeypatch.setenv("HOME", str(folder))
    pages: dict[str, web.Page] = {
        "/v1/sys/seal-status": as_json(recorded("openbao-2.7/seal-status-unsealed.json")),
        "/v1/sys/health": as_json(recorded("openbao-2.7/health-active.json")),
        "/v1/auth/approle/login": as_json({"errors": ["invalid role or secret ID"]}, 400),
    }
    with web.serving(pages) as server:
        for token in ("", "s.of-a-variable"):
            monkeypatch.setenv("VAULT_TOKEN", token)
            target = {"name": "vault", "address": server.address, "role_id": "no", "secret_id": "no"}
            assert red(run_module(vault_check, targets=[target], expected=EXPECTED, report_only=True)) == ["login"]
    assert len(server.asked) == 6
    assert [request for request in server.asked if "x-vault-token" in request.headers] == []


def test_an_empty_address_is_nobodys(
    openbao: servers.OpenBao, run_module: RunModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_ADDR", openbao.address)
    result = run_module(
        vault_check, targets=[{"name": "a", "address": ""}], expected={"key_shares": 5}, report_only=True
    )
    assert red(result) == ["reachable"]
    assert findings(result)["reachable"]["cause"] == "the address is empty"


def test_no_client_certificate_of_whoever_runs_this_is_read(check: RunModule, monkeypatch: pytest.MonkeyPatch) -> None:
    # hvac reads the variable when it is imported.
    monkeypatch.setattr("hvac.v1.VAULT_CLIENT_CERT", "/absent.pem")
    sent: list[Any] = []
    send = requests.Session.send
    monkeypatch.setattr(
        requests.Session, "send", lambda *given, **options: sent.append(options["cert"]) or send(*given, **options)
    )
    assert red(check()) == []
    assert set(map(bool, sent)) == {False}


def test_a_sealed_server_tells_what_can_be_known_of_it(folder: Path, run_module: RunModule) -> None:
    with servers.start_openbao(folder) as own:
        own.client().sys.seal()
        target = {"name": "vault", "address": own.address, "token": own.root_token}
        result = run_module(vault_check, targets=[target], expected=EXPECTED, report_only=True)
        assert red(result) == ["sealed"]
        assert {"initialized", "version", "key_shares", "key_threshold"} <= set(green(result))
        assert findings(result)["secret.secret/app/database"]["cause"] == "sealed"


def test_a_standby_is_told_from_the_active_node_and_counts_when_it_votes(folder: Path, run_module: RunModule) -> None:
    with (
        servers.start_openbao(folder) as active,
        servers.start_openbao(folder, initialise=False, audit=False) as other,
    ):
        client, autopilot = active.client(), "sys/storage/raft/autopilot/configuration"
        client.write_data(autopilot, data={"server_stabilization_time": "60s"})
        standby = other.join(active)
        client.sys.create_or_update_policy("checks", HCL)
        token = client.auth.token.create(policies=["checks"])["auth"]["client_token"]
        nodes = {"active": active.address, "standby": standby.address}

        def seen(**expected: Any) -> dict[str, list[str]]:
            targets = [{"name": name, "address": address, "token": token} for name, address in nodes.items()]
            result = run_module(vault_check, targets=targets, expected=expected, report_only=True)
            return {verdict["subject"]: red({"verdicts": [verdict]}) for verdict in result["verdicts"]}

        assert seen(standby=False) == {"active": [], "standby": ["standby"]}
        assert seen(standby=True) == {"active": ["standby"], "standby": []}
        # It has just come, and does not vote yet.
        assert seen(raft_voters=2) == {"active": ["raft.voters"], "standby": ["raft.voters"]}
        client.write_data(autopilot, data={"server_stabilization_time": "1s"})
        raft = client.sys.read_raft_config
        servers.wait_until(
            lambda: all(node["voter"] for node in raft()["data"]["config"]["servers"]), what="the second voter"
        )
        assert seen(raft_voters=2) == {"active": [], "standby": []}


def test_an_uninitialised_server_is_told_from_a_sealed_one(folder: Path, run_module: RunModule) -> None:
    with servers.start_openbao(folder, initialise=False, audit=False) as own:
        result = run_module(
            vault_check, targets=[{"name": "vault", "address": own.address}], expected=EXPECTED, report_only=True
        )
    assert red(result) == ["initialized"]


def test_the_policy_decides_what_can_be_seen(check: RunModule, openbao: servers.OpenBao) -> None:
    client = openbao.client()
    client.sys.create_or_update_policy("checks", 'path "secret/data/app/*" { capabilities = ["read"] }')
    try:
        result = check()
    finally:
        client.sys.create_or_update_policy("checks", HCL)
    assert red(result) == ["audit.file", "kv.legacy", "kv.secret", "raft.voters"]
    assert "403" in findings(result)["audit.file"]["cause"]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("name", misbehaving.BEHAVIOURS)
def test_a_server_that_misbehaves_is_one_finding_with_a_cause(
    name: str, scheme: str, folder: Path, run_module: RunModule
) -> None:
    ca = misbehaving.certificate(folder, name="Test CA")
    tls = misbehaving.tls_server(*misbehaving.certificate(folder, ca=ca)) if scheme == "https" else None
    with misbehaving.listening(misbehaving.BEHAVIOURS[name], tls=tls) as port:
        target = {"name": "vault", "address": f"{scheme}://127.0.0.1:{port}", "token": "s.token", "ca_path": str(ca[0])}
        result = run_module(vault_check, targets=[target], expected=EXPECTED, timeout_s=1.0, report_only=True)
    assert red(result) == ["reachable"]
    assert findings(result)["reachable"]["cause"]
    assert "certificate" not in findings(result)["reachable"]["cause"]
    assert result["verdicts"][0]["took_ms"] < 4000


@pytest.mark.parametrize("hangs", [True, False], ids=["hangs", "closes"])
def test_a_server_that_tells_its_seal_and_no_more_is_red_in_the_rest(
    hangs: bool, recorded: Callable[[str], Any], run_module: RunModule
) -> None:
    body = json.dumps(recorded("openbao-2.7/seal-status-unsealed.json")).encode()

    def tells_its_seal(connection: socket.socket, stop: threading.Event) -> None:
        if b"seal-status" in connection.recv(4096):
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode() + body)
        elif hangs:
            stop.wait(60)

    with misbehaving.listening(tells_its_seal) as port:
        target = {"name": "vault", "address": f"http://127.0.0.1:{port}", "token": "s.token"}
        result = run_module(vault_check, targets=[target], expected=EXPECTED, timeout_s=1.0, report_only=True)
    assert green(result) == ["initialized", "key_shares", "key_threshold", "reachable", "sealed", "version"]
    assert red(result) == ["login", "standby"]
    assert all(findings(result)[name]["cause"] for name in red(result))
    assert result["verdicts"][0]["took_ms"] < 4000


def test_a_closed_port_is_one_finding_with_a_cause(run_module: RunModule) -> None:
    target = {"name": "vault", "address": f"http://127.0.0.1:{misbehaving.refusing_port()}"}
    result = run_module(vault_check, targets=[target], expected={"key_shares": 5}, report_only=True)
    assert red(result) == ["reachable"]
    assert "refused" in findings(result)["reachable"]["cause"]


@pytest.mark.parametrize(
    ("name", "days", "words"),
    [
        pytest.param("127.0.0.1", 30, "self-signed", id="a CA that nobody trusts"),
        pytest.param("127.0.0.1", -1, "expired", id="expired"),
        pytest.param("vault.example", 30, "match", id="another server's name"),
    ],
)
def test_a_bad_certificate_is_one_finding_with_a_cause(
    name: str, days: float, words: str, folder: Path, run_module: RunModule
) -> None:
    ca = misbehaving.certificate(folder, name="Test CA")
    server = misbehaving.certificate(folder, name=name, days=days, ca=None if words == "self-signed" else ca)
    with misbehaving.listening(misbehaving.is_another_service, tls=misbehaving.tls_server(*server)) as port:
        target = {"name": "vault", "address": f"https://127.0.0.1:{port}", "ca_path": str(ca[0])}
        result = run_module(vault_check, targets=[target], expected={"key_shares": 5}, report_only=True)
    assert red(result) == ["reachable"]
    assert words in findings(result)["reachable"]["cause"]


def test_a_server_is_green_over_tls_with_the_ca_that_signed_it(folder: Path, run_module: RunModule) -> None:
    ca = misbehaving.certificate(folder, name="Test CA")
    certificate = misbehaving.certificate(folder, ca=ca)
    with servers.start_openbao(folder, certificate=certificate, ca_path=ca[0]) as own:
        target = {"name": "vault", "address": own.address, "ca_path": str(ca[0])}
        expected = {"key_shares": 5, "standby": False}
        assert red(run_module(vault_check, targets=[target], expected=expected, report_only=True)) == []
        del target["ca_path"]
        assert red(run_module(vault_check, targets=[target], expected=expected, report_only=True)) == ["reachable"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(None, "No such file", id="missing"),
        pytest.param("no certificate", "no certificate or crl found", id="no PEM"),
    ],
)
def test_a_ca_file_that_cannot_be_used_is_named(
    text: str | None, words: str, folder: Path, openbao: servers.OpenBao, run_module: RunModule
) -> None:
    ca = folder / "ca.pem"
    if text:
        ca.write_text(text)
    target = {"name": "vault", "address": openbao.address.replace("http:", "https:"), "ca_path": str(ca)}
    result = run_module(vault_check, targets=[target], expected={"key_shares": 5}, report_only=True)
    assert red(result) == ["reachable"]
    assert f"the CA file {ca} cannot be used" in findings(result)["reachable"]["cause"]
    assert words in findings(result)["reachable"]["cause"]


def test_many_targets_are_looked_at_together_and_a_slow_one_holds_up_none(
    openbao: servers.OpenBao, run_module: RunModule
) -> None:
    with misbehaving.listening(misbehaving.hangs) as port:
        targets = [{"name": f"vault-{number}", "address": openbao.address} for number in range(20)]
        targets[3] = {"name": "hangs", "address": f"http://127.0.0.1:{port}"}
        result = run_module(vault_check, targets=targets, expected={"key_shares": 5}, timeout_s=2.0, report_only=True)
    assert [verdict["subject"] for verdict in result["verdicts"] if not verdict["ok"]] == ["hangs"]


def test_without_report_only_a_red_finding_fails_the_task(openbao: servers.OpenBao, run_module: RunModule) -> None:
    target = {"name": "vault", "address": openbao.address}
    result = run_module(vault_check, targets=[target], expected={"key_shares": 7})
    assert result["failed"]
    assert "key_shares: expected 7, observed 5" in result["msg"]


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        pytest.param([], "targets is empty", id="no target"),
        pytest.param([{"name": "a", "address": "http://h"}] * 2, "two targets are named 'a'", id="a name twice"),
        pytest.param(
            [{"name": "a", "address": "https://user:s3cret-word@h:8200"}],
            "holds a password",
            id="password in the address",
        ),
    ],
)
def test_a_wrong_inventory_is_refused_before_anything_is_looked_at(
    targets: list[dict[str, Any]], words: str, run_module: RunModule
) -> None:
    result = run_module(vault_check, targets=targets, expected={"key_shares": 5})
    assert result["failed"]
    assert words in result["msg"]
    assert "s3cret-word" not in str(result)
