# SPDX-License-Identifier: GPL-3.0-or-later
"""Judging what OpenBao really answered, and what a login could see."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import hvac
import pytest
import requests
from cutover import observe_vault
from cutover.checks import CannotObserve, ExpectationError, Known, judge
from cutover.judge_vault import SecretVersion, Token, VaultObservation, vault_checks
from cutover.verdict import Finding, Status
from hypothesis import given
from hypothesis import strategies as st

Recorded = Callable[[str], Any]
NOW = datetime(2026, 2, 28, 10, 8, 33, tzinfo=UTC)
DATABASE = "secret/app/database"
EXPECTED: dict[str, Any] = {
    "min_version": "2.0",
    "key_shares": 5,
    "key_threshold": 3,
    "standby": False,
    "raft_voters": 3,
    "kv_versions": {"secret/": 2},
    "audit_devices": ["file/"],
    "token_max_ttl_s": 3600,
    "secrets": [{"path": DATABASE, "keys": ["username", "password"], "max_age_days": 60}],
}
LOGIN: dict[str, Any] = {
    "standby": False,
    "token": Token(policies=frozenset({"default", "checks"}), ttl_s=600),
    "kv_versions": {"secret": 2, "legacy": 1},
    "audit_devices": frozenset({"file"}),
    "raft_voters": 3,
    "secrets": {DATABASE: SecretVersion(keys=frozenset({"username", "password"}), created_at=NOW - timedelta(days=59))},
}


@pytest.fixture
def server(recorded: Recorded) -> Callable[..., VaultObservation]:
    """What is observed of a server that answered with a recorded seal status."""

    def observed(name: str, **seen: Any) -> VaultObservation:
        answer = recorded(f"openbao-2.7/{name}.json")
        client = SimpleNamespace(sys=SimpleNamespace(read_seal_status=lambda: answer))
        return VaultObservation(
            observed_at=NOW, **observe_vault._seal_status(client), **({"standby": CannotObserve("unknown")} | seen)
        )

    return observed


def judged(seen: VaultObservation | CannotObserve, expected: dict[str, Any]) -> dict[str, Finding]:
    return {finding.check: finding for finding in judge(vault_checks(expected), seen, reachable_remedy="")}


def red(found: dict[str, Finding]) -> list[str]:
    return sorted(name for name, finding in found.items() if finding.status in (Status.FAIL, Status.ERROR))


def green(found: dict[str, Finding]) -> list[str]:
    return sorted(name for name, finding in found.items() if finding.status is Status.PASS)


def test_an_unsealed_server_as_declared_passes_every_check(server: Callable[..., VaultObservation]) -> None:
    found = judged(server("seal-status-unsealed", **LOGIN), EXPECTED)
    assert red(found) == []
    assert sorted(found) == green(found)
    assert len(found) == 15


def test_a_sealed_server_is_red_in_that_alone_and_tells_what_it_can(server: Callable[..., VaultObservation]) -> None:
    found = judged(server("seal-status-sealed"), EXPECTED)
    assert red(found) == ["sealed"]
    assert green(found) == ["initialized", "key_shares", "key_threshold", "reachable", "version"]
    assert {found[name].cause for name in found if found[name].status is Status.SKIPPED} == {"sealed"}


def test_how_far_the_unsealing_has_come_is_seen(server: Callable[..., VaultObservation]) -> None:
    assert server("seal-status-sealed").unseal_progress == 1
    assert server("seal-status-unsealed").unseal_progress == 0


def test_a_server_that_was_never_initialised_is_red_in_that_alone(server: Callable[..., VaultObservation]) -> None:
    found = judged(server("seal-status-uninitialised"), EXPECTED)
    assert red(found) == ["initialized"]
    assert green(found) == ["reachable", "version"]
    assert found["secret.secret/app/database.age_days"].cause == "initialized"


def test_an_unreachable_server_skips_everything_else() -> None:
    found = judged(CannotObserve("connection refused"), EXPECTED)
    assert red(found) == ["reachable"]
    assert {finding.status for name, finding in found.items() if name != "reachable"} == {Status.SKIPPED}


@pytest.mark.parametrize(
    ("seen", "only"),
    [
        pytest.param({"standby": True}, ["standby"], id="another node is active"),
        pytest.param({"standby": CannotObserve("503")}, ["standby"], id="no health"),
        pytest.param({"version": "1.15.0"}, ["version"], id="too old"),
        pytest.param({"version": "unknown"}, ["version"], id="no version"),
        pytest.param({"raft_voters": 2}, ["raft.voters"], id="a peer is missing"),
        pytest.param({"raft_voters": CannotObserve("403")}, ["raft.voters"], id="no right to see the peers"),
        pytest.param({"kv_versions": {"secret": 1}}, ["kv.secret"], id="first version of the engine"),
        pytest.param({"kv_versions": {}}, ["kv.secret"], id="no engine at all"),
        pytest.param({"audit_devices": frozenset()}, ["audit.file"], id="nothing is audited"),
        pytest.param({"token": Token(policies=frozenset({"root"}), ttl_s=60)}, ["token.root"], id="a root token"),
        pytest.param({"token": Token(policies=frozenset(), ttl_s=0)}, ["token.ttl"], id="a token that never ends"),
        pytest.param({"token": Token(policies=frozenset(), ttl_s=3601)}, ["token.ttl"], id="a token that ends late"),
        pytest.param({"token": CannotObserve("403: bad secret id")}, ["login"], id="a refused login"),
        pytest.param(
            {"secrets": {DATABASE: SecretVersion(keys=frozenset({"username"}), created_at=NOW)}},
            [f"secret.{DATABASE}"],
            id="a key without a value",
        ),
        pytest.param({"secrets": {DATABASE: CannotObserve("404")}}, [f"secret.{DATABASE}"], id="no such secret"),
        pytest.param({"secrets": {}}, [f"secret.{DATABASE}"], id="a secret that nobody looked at"),
        pytest.param(
            {
                "secrets": {
                    DATABASE: SecretVersion(
                        keys=frozenset({"username", "password"}), created_at=NOW - timedelta(days=60, hours=3)
                    )
                }
            },
            [f"secret.{DATABASE}.age_days"],
            id="a secret that is too old",
        ),
    ],
)
def test_each_deviation_is_red_in_just_its_own_finding(
    server: Callable[..., VaultObservation], seen: dict[str, Any], only: list[str]
) -> None:
    assert red(judged(replace(server("seal-status-unsealed", **LOGIN), **seen), EXPECTED)) == only


def test_a_secret_without_any_value_is_none_even_when_no_key_is_named(server: Callable[..., VaultObservation]) -> None:
    empty = {"secrets": {DATABASE: SecretVersion(keys=frozenset(), created_at=NOW)}}
    seen = replace(server("seal-status-unsealed", **LOGIN), **empty)
    assert red(judged(seen, {"secrets": [{"path": DATABASE}]})) == [f"secret.{DATABASE}"]


def test_what_needs_no_login_asks_for_none(server: Callable[..., VaultObservation]) -> None:
    found = judged(server("seal-status-unsealed"), {"key_shares": 5})
    assert sorted(found) == ["initialized", "key_shares", "reachable", "sealed"]
    assert red(found) == []


SEAL = ["initialized", "sealed", "version", "n", "t", "progress"]


@given(st.sets(st.sampled_from(SEAL), min_size=1))
def test_an_answer_that_lacks_a_part_is_not_vaults(recorded: Recorded, missing: set[str]) -> None:
    answer = dict(recorded("openbao-2.7/seal-status-unsealed.json"))
    for name in missing:
        del answer[name]
    client = SimpleNamespace(sys=SimpleNamespace(read_seal_status=lambda: answer))
    with pytest.raises(CannotObserve, match="not as Vault or OpenBao does"):
        observe_vault._seal_status(client)


@pytest.mark.parametrize("answer", [None, [], "sealed", 3], ids=["null", "list", "text", "number"])
def test_json_of_another_shape_is_not_vaults(answer: Any) -> None:
    client = SimpleNamespace(sys=SimpleNamespace(read_seal_status=lambda: answer))
    with pytest.raises(CannotObserve, match="not as Vault or OpenBao does"):
        observe_vault._seal_status(client)


def test_an_active_node_is_no_standby(recorded: Recorded) -> None:
    health = recorded("openbao-2.7/health-active.json")
    client = SimpleNamespace(sys=SimpleNamespace(read_health_status=lambda method: health))
    assert observe_vault._standby(client) is False


@pytest.fixture
def health() -> Callable[..., Known[bool]]:
    """What is seen of a server whose sys/health answers so; hvac hands on what is not 200 in JSON as it came."""

    def seen(status: int, body: bytes = b"{}") -> Known[bool]:
        answer = requests.Response()
        answer.status_code, answer._content = status, body
        client = SimpleNamespace(sys=SimpleNamespace(read_health_status=lambda method: answer))
        return observe_vault.attempt(lambda: observe_vault._standby(client))

    return seen


@pytest.mark.parametrize("status", [429, 472, 473])
def test_a_standby_is_told_by_its_status(health: Callable[..., Known[bool]], status: int) -> None:
    assert health(status) is True


@pytest.mark.parametrize(
    ("status", "body"), [(403, b"{}"), (404, b"{}"), (500, b"{}"), (502, b"<html>"), (204, b""), (200, b"<html>")]
)
@pytest.mark.parametrize("declared", [True, False])
def test_a_health_that_is_not_told_is_neither_standby_nor_active(
    server: Callable[..., VaultObservation],
    health: Callable[..., Known[bool]],
    status: int,
    body: bytes,
    declared: bool,
) -> None:
    found = judged(server("seal-status-unsealed", standby=health(status, body)), {"standby": declared})
    assert red(found) == ["standby"]
    assert str(status) in str(found["standby"].cause)


@pytest.mark.parametrize("answer", [{}, {"auth": None}, [], None, requests.Response()], ids=str)
def test_a_login_answered_in_another_shape_is_no_login(answer: Any) -> None:
    def login(**options: Any) -> None:
        hvac.adapters.JSONAdapter().get_login_token(answer)

    client = SimpleNamespace(auth=SimpleNamespace(approle=SimpleNamespace(login=login)))
    seen = observe_vault._as_somebody(client, {"role_id": "r", "secret_id": "s", "expected": {}})
    assert {str(part).partition(":")[0] for part in seen.values()} == {
        "the server's answer has another shape than Vault's"
    }


@pytest.mark.parametrize("version", ["v2", None, 3, 2.5, True, [2]])
def test_a_version_of_a_key_value_engine_that_there_is_none_of_is_refused(version: Any) -> None:
    with pytest.raises(ExpectationError, match=re.escape(f"kv_versions of secret/ is {version!r}")):
        list(vault_checks({"kv_versions": {"secret/": version}}))


def test_a_version_may_be_declared_as_text() -> None:
    assert [check.expected for check in vault_checks({"kv_versions": {"secret": "2"}}) if "kv" in check.name] == [2]


@given(st.floats(-1000, 1000))
def test_a_secret_is_as_old_as_its_current_version(age_days: float) -> None:
    seen = VaultObservation(
        observed_at=NOW,
        initialized=True,
        sealed=False,
        version="2.7.2",
        key_shares=5,
        key_threshold=3,
        unseal_progress=0,
        **LOGIN
        | {"secrets": {DATABASE: SecretVersion(keys=frozenset("a"), created_at=NOW - timedelta(days=age_days))}},
    )
    finding = judged(seen, {"secrets": [{"path": DATABASE, "max_age_days": 60}]})[f"secret.{DATABASE}.age_days"]
    assert finding.observed == pytest.approx(age_days, abs=0.051)
    assert finding.ok == (finding.observed <= 60)
