# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own journeys, walked through the real application: green as it is, and red where it or a token is wrong."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import journey_check
import pytest
import servers
import yaml
from findings import findings, green, red
from test_ledger import PASSWORDS, TOKENS, Client, Stack, stack  # noqa: F401 - the fixture is asked for by its name

RunModule = Callable[..., dict[str, Any]]
Walk = Callable[..., dict[str, Any]]

INVENTORY = Path(__file__).resolve().parents[2] / "inventories" / "lab" / "group_vars" / "all" / "journeys.yml"
DECLARED = yaml.safe_load(INVENTORY.read_text(encoding="utf-8"))
ROTATION = yaml.safe_load(INVENTORY.with_name("tokens.yml").read_text(encoding="utf-8"))
ROLES = {"manager": "qa_manager", "operator": "ops_scheduler", "viewer": "viewer"}


@pytest.fixture(scope="module")
def application(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:  # noqa: F811
    """Release 1.0.0, serving; the roles' tokens are in OpenBao, where the lab has them."""
    with stack.serve("1.0.0", folder=tmp_path_factory.mktemp("web")) as (client,):
        tokens = {f"{name}_token": TOKENS[role] for name, role in ROLES.items()}
        keep_tokens(stack, tokens | {"analyst_token": analyst_token(client)})
        yield client


def analyst_token(client: Client) -> str:
    """The token of a new analyst, who logs in with a password."""
    user = {"username": "analyst", "password": secrets.token_hex(12)}
    assert client.post("/api/v1/users", "admin", user | {"role": "QA_ANALYST"}).status_code == 201
    return str(client.post("/api/v1/auth/login", body=user).json()["access_token"])


def keep_tokens(stack: Stack, tokens: dict[str, str]) -> None:  # noqa: F811
    client = stack.openbao.client()
    client.secrets.kv.v2.create_or_update_secret("ledger/journeys", tokens, mount_point="secret")


def journeys(*names: str) -> list[dict[str, Any]]:
    """The declared journeys of these names; without names, all."""
    return [target for target in DECLARED["journeys_targets"] if not names or target["name"] in names]


@pytest.fixture
def walk(application: Client, stack: Stack, run_module: RunModule) -> Walk:  # noqa: F811
    """Walk declared journeys through the application, or through another one; keywords are options of the module."""

    def run(*targets: dict[str, Any], address: str = application.url, **options: Any) -> dict[str, Any]:
        here = [{**target, "address": address, "ca_path": None} for target in targets]
        vault = {
            "address": stack.environment["VAULT_ADDR"],
            "role_id": stack.environment["VAULT_ROLE_ID"],
            "secret_id": Path(stack.environment["VAULT_SECRET_ID_FILE"]).read_text(),
        }
        declared = {name: DECLARED[f"journeys_{name}"] for name in ("identities", "secrets")}
        return run_module(journey_check, targets=here, report_only=True, **{"vault": vault, **declared, **options})

    return run


def swapped(**keys: str) -> list[dict[str, Any]]:
    """The declared identities, of which some have the token of another."""
    return [
        identity | ({"vault_key": f"{keys[identity['name']]}_token"} if identity["name"] in keys else {})
        for identity in DECLARED["journeys_identities"]
    ]


def test_the_labs_journeys_are_green_and_tell_no_secret(walk: Walk) -> None:
    result = walk(*journeys())
    assert {name: red(result, name) for name in ("authority", "state-machine", "recall", "audit-pack")} == {
        "authority": [], "state-machine": [], "recall": [], "audit-pack": [],
    }  # fmt: skip
    assert "checksums.files.mismatches" in green(result, "audit-pack")
    assert findings(result, "audit-pack")["checksums.files.listed"]["observed"] == 2
    text = json.dumps(result)
    assert [secret for secret in (*TOKENS.values(), *PASSWORDS.values()) if secret in text] == []
    assert "eyJ" not in text


@pytest.mark.parametrize(
    ("journey", "tokens", "only_red"),
    [
        pytest.param(
            "authority", {"viewer": "operator"}, "viewer-creates-no-vendor.status", id="a viewer who may write"
        ),
        pytest.param(
            "authority", {"operator": "viewer"}, "operator-creates-vendor.status", id="an operator who may not"
        ),
        pytest.param(
            "authority", {"analyst": "manager"}, "analyst-simulates-no-recall.status", id="an analyst who may too much"
        ),
        pytest.param(
            "authority", {"manager": "operator"}, "manager-simulates-recall.status", id="a manager who may not"
        ),
        pytest.param("state-machine", {"manager": "operator"}, "approve-before-submit.status", id="nobody may approve"),
        pytest.param("state-machine", {"operator": "viewer"}, "vendor.status", id="nobody may begin"),
        pytest.param("recall", {"manager": "viewer"}, "simulate.status", id="nobody may recall"),
        pytest.param("audit-pack", {"analyst": "viewer"}, "generate.status", id="nobody may generate"),
    ],
)
def test_a_token_of_another_role_is_found_out(walk: Walk, journey: str, tokens: dict[str, str], only_red: str) -> None:
    assert red(walk(*journeys(journey), identities=swapped(**tokens))) == [only_red]


def test_an_administrator_with_another_password_is_found_out(walk: Walk) -> None:
    wrong = [{"name": "admin_password", "value": "not-the-password"}]
    assert red(walk(*journeys("authority"), secrets=wrong)) == ["admin-login.status"]


def test_a_service_that_asks_nobody_who_he_is_is_found_out(walk: Walk, stack: Stack, tmp_path: Path) -> None:  # noqa: F811
    with stack.serve("1.0.0", folder=tmp_path, AUTH_ENABLED="false", APP_ENV="dev") as (open_to_all,):
        result = walk(*journeys("authority"), address=open_to_all.url)
    assert red(result) == ["stranger-is-refused.status"]
    assert findings(result)["stranger-is-refused.status"]["observed"] == 200


def test_a_batch_of_which_nothing_is_known_is_found_out(walk: Walk) -> None:
    unknown = [target | {"values": {"batch_code": "BATCH-0000"}} for target in journeys("recall")]
    assert red(walk(*unknown)) == ["simulate.status"]


def test_a_recall_that_a_lock_keeps_from_its_answer_is_found_out(walk: Walk, stack: Stack, application: Client) -> None:  # noqa: F811
    (recall,) = journeys("recall")
    with stack.postgres.connect(dbname="ledger", autocommit=False) as holding:
        holding.execute("LOCK TABLE batches IN ACCESS EXCLUSIVE MODE")
        # The application gives up on the lock after three seconds, and answers with 503.
        assert red(walk(recall)) == ["simulate.status"]
    servers.wait_until(lambda: application.get("/api/ready").ok, what="ledger")


def test_a_recall_that_takes_longer_than_its_budget_is_found_out(walk: Walk) -> None:
    (recall,) = journeys("recall")
    (simulate,) = recall["steps"]
    hasty = simulate | {"expected": simulate["expected"] | {"max_ms": 0.5}}
    assert red(walk(recall | {"steps": [hasty]})) == ["simulate.time_ms"]


@pytest.fixture
def pack(application: Client) -> dict[str, str]:
    """A new audit pack, as its generation announces it."""
    body = {"from_ts": "2026-01-01T00:00:00Z", "to_ts": "2999-12-31T23:59:59Z", "notes": "drill"}
    made = application.post("/api/v1/audit/packs/generate", "qa_manager", body).json()
    files = sorted(name for name in made["files"] if name != "checksums.json")
    return {"pack_id": made["pack_id"], "checksums_sha256": made["checksums_sha256"], "file_names": files}


def after_generation(pack: dict[str, Any], *steps: str) -> dict[str, Any]:
    """The declared steps of these names, on a pack that exists."""
    (target,) = journeys("audit-pack")
    return target | {"values": pack, "steps": [step for step in target["steps"] if step["name"] in steps]}


def changed(file: Path, *parts: tuple[bytes, bytes]) -> None:
    """Write other bytes, as many as before: the store keeps the length."""
    data = file.read_bytes()
    for before, after in parts:
        data = data.replace(before, after)
    assert data != file.read_bytes()
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("tamper", "by_application", "by_us"),
    [
        pytest.param(lambda kept: None, [], [], id="untouched"),
        pytest.param(
            lambda kept: changed(kept / "requests.json", (b"1", b"2"), (b"[]", b"{}")),
            ["verify.body.valid"], ["checksums.files.mismatches"], id="a file was changed",
        ),
        pytest.param(
            lambda kept: (kept / "batches.json").unlink(),
            ["verify.body.valid"], ["checksums.files.missing"], id="a file is gone",
        ),
        pytest.param(
            lambda kept: changed(kept / "checksums.json", (b"sha256", b"SHA256")),
            ["verify.body.valid"], ["checksums.sha256"], id="the checksums were changed",
        ),
    ],
)  # fmt: skip
def test_an_audit_pack_that_was_tampered_with_is_found_out_by_the_application_and_by_us(
    walk: Walk,
    stack: Stack,  # noqa: F811
    pack: dict[str, Any],
    tamper: Callable[[Path], object],
    by_application: list[str],
    by_us: list[str],
) -> None:
    tamper(stack.objects / "ledger" / "audit-packs" / pack["pack_id"])
    assert red(walk(after_generation(pack, "verify"))) == by_application
    assert red(walk(after_generation(pack, "checksums"))) == by_us


def test_in_check_mode_the_recall_is_walked_and_what_writes_is_not(walk: Walk, stack: Stack) -> None:  # noqa: F811
    def rows() -> object:
        with stack.postgres.connect(dbname="ledger") as connection:
            counted = (
                "SELECT (SELECT count(*) FROM vendors), (SELECT count(*) FROM users), (SELECT count(*) FROM requests)"
            )
            return connection.execute(counted).fetchone()

    before = rows()
    result = walk(*journeys(), _ansible_check_mode=True)
    assert rows() == before
    assert result["changed"] is False
    assert {verdict["subject"]: verdict["ok"] for verdict in result["verdicts"]} == {
        "authority": False, "state-machine": False, "recall": True, "audit-pack": False,
    }  # fmt: skip
    assert red(result, "authority") == ["no-administrator-by-api.status"]
    assert red(result, "state-machine") == ["reachable"]


# --- the rotation of tokens -------------------------------------------------------------------------------------------

HOLDERS = {"manager": "qa_manager", "analyst": "qa_analyst", "operator": "ops_scheduler", "viewer": "viewer"}


@contextmanager
def keeping(stack: Stack) -> Iterator[Callable[..., dict[str, str]]]:  # noqa: F811
    """Put tokens where the service and whoever tries them find them; afterwards all is as before."""
    kept = stack.openbao.client().secrets.kv.v2
    before = {name: kept.read_secret_version(f"ledger/{name}", raise_on_deleted_version=True)["data"]["data"]
              for name in ("tokens", "journeys")}  # fmt: skip

    def put(tokens: Mapping[str, str] | None = None, **roles: str) -> dict[str, str]:
        tokens = dict(tokens or {name: secrets.token_urlsafe(16) for name in HOLDERS})
        known = json.loads(before["tokens"]["token_map"])
        known |= {tokens[name]: {"user_id": name, "roles": [role]} for name, role in {**HOLDERS, **roles}.items()}
        kept.create_or_update_secret("ledger/tokens", {"token_map": json.dumps(known)})
        kept.create_or_update_secret("ledger/journeys", {f"{name}_token": value for name, value in tokens.items()})
        return tokens

    try:
        yield put
    finally:
        for name, secret in before.items():
            kept.create_or_update_secret(f"ledger/{name}", secret)


def try_tokens(walk: Walk, service: Client) -> list[str]:
    """What is red of the declared journey through a service that has had time enough."""
    [target] = ROTATION["tokens_targets"]
    steps = [step | {"expected": {"status": step["expected"]["status"]}} for step in target["steps"]]
    given = {"component": "tokens", "identities": ROTATION["tokens_identities"], "secrets": []}
    return red(walk(target | {"steps": steps}, address=service.url, **given))


def test_rotated_tokens_hold_exactly_their_roles_and_the_old_ones_are_refused(
    walk: Walk,
    stack: Stack,  # noqa: F811
    tmp_path: Path,
) -> None:
    with keeping(stack) as put:
        put()
        with stack.serve("1.0.0", folder=tmp_path) as (late,):
            put()
            assert try_tokens(walk, late) == ["viewer-reads.status"], "it has not taken the new ones up"
        with stack.serve("1.0.0", folder=tmp_path) as (service,):
            assert try_tokens(walk, service) == []


def test_tokens_that_were_not_rotated_are_found_out(walk: Walk, stack: Stack, tmp_path: Path) -> None:  # noqa: F811
    with keeping(stack) as put:
        put(put())
        with stack.serve("1.0.0", folder=tmp_path) as (service,):
            assert try_tokens(walk, service) == ["old-viewer-is-refused.status"]


def test_a_new_token_with_more_than_its_role_is_found_out(walk: Walk, stack: Stack, tmp_path: Path) -> None:  # noqa: F811
    with keeping(stack) as put:
        put()
        put(viewer="ops_scheduler")
        with stack.serve("1.0.0", folder=tmp_path) as (service,):
            assert try_tokens(walk, service) == ["viewer-creates-no-vendor.status"]
