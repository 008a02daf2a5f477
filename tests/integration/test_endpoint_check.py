# SPDX-License-Identifier: GPL-3.0-or-later
"""endpoint_check against real web servers: each finding green and red, and servers that do not behave."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import endpoint_check
import misbehaving
import pytest
import servers
import web
from findings import findings, green, red
from web import Answer, Request, as_json

RunModule = Callable[..., dict[str, Any]]

READY = {
    "status": "ok",
    "checks": {"db": {"ok": True, "detail": "connected"}, "redis": {"ok": True, "detail": "connected"}},
}
NOT_READY = {"status": "fail", "checks": {**READY["checks"], "redis": {"ok": False, "detail": "unreachable"}}}  # type: ignore[dict-item]
OLDER = {"dependencies": {"database": "connected", "redis": "connected", "migrations": "head"}}
TOKEN = "c0rrect-horse-battery-staple"

# One target that has everything: what is expected here is all green, and each deviation below is red.
EXPECTED: dict[str, Any] = {
    "status": [200],
    "max_ms": 3000,
    "headers": {"X-Frame-Options": "DENY", "content-type": "application/json", "X-Count": 3, "X-On": True},
    "headers_match": {"Strict-Transport-Security": r"max-age=\d{8}"},
    "headers_absent": ["X-Powered-By"],
    "body_contains": ["connected", '"status"'],
    "body_matches": "^{.*}$",
    "body_excludes": "ALM-001",
    "json": {"status": "ok", "checks.redis.ok": True, "checks": READY["checks"], "list.1.a\\.b": 1, "none": None},
    "ready_dependencies": ["db", "redis"],
    "allowed_methods": ["GET", "HEAD"],
    "refused_methods": ["TRACE"],
    "tls_min_version": "1.2",
    "certificate_min_days_left": 21,
    "wait_s": 5,
    "every_s": 0.01,
    "consecutive": 2,
}


def everything(request: Request) -> Answer:
    """The page of EXPECTED."""
    if request.method == "OPTIONS":
        return Answer(status=405, headers={"Allow": "GET, HEAD"})
    if request.method == "TRACE":
        return Answer(status=405)
    headers = {
        "Content-Type": "application/json",
        "X-Frame-Options": "DENY",
        "Strict-Transport-Security": "max-age=31536000",
        "X-Count": "3",
        "X-On": "true",
    }
    return Answer(json.dumps({**READY, "list": [0, {"a.b": 1.0}], "none": None}).encode(), headers=headers)


PAGES: dict[str, web.Page] = {
    "/": everything,
    "/page": Answer(b"<title>Caf\xe9</title>", headers={"Content-Type": "text/html; charset=latin-1"}),
    "/health": as_json({"status": "ok"}),
    "/not-ready": as_json(NOT_READY, 503),
    "/starting": as_json(READY | {"status": "starting"}, 503),
    "/older": as_json(OLDER),
    "/older-broken": as_json({"dependencies": {"database": "connected", "redis": "unreachable"}}, 503),
    "/slow": as_json({}, after_s=0.3),
    "/open": lambda request: Answer(status=200, headers={"Allow": "GET, POST, DELETE"}),
    "/broken": lambda request: Answer(status=500 if request.method == "TRACE" else 200),
    "/old": Answer(status=301, headers={"Location": "/health"}),
    "/older-still": Answer(status=302, headers={"Location": "/old"}),
    "/loop": Answer(status=302, headers={"Location": "/loop"}),
    "/private": lambda request: Answer(
        request.headers.get("authorization", "").encode(),
        200 if request.headers.get("authorization") == f"Bearer {TOKEN}" else 401,
        {"Set-Cookie": "session=abcdef0123456789", "X-Echo": TOKEN},
    ),
    "/echo": lambda request: as_json({"method": request.method, "body": request.body.decode()}),
    "/not-json": Answer(b"<html>", headers={"Content-Type": "application/json"}),
    "/nan": Answer(b'{"ok": NaN}'),
    "/deep": Answer(b"[" * 200_000),
    "/long": as_json([{"id": number, "name": f"vendor {number}"} for number in range(10_000)]),
    "/empty": Answer(status=204),
    "/wrong-charset": Answer(b"\xff\xfe\xfd", headers={"Content-Type": "text/plain; charset=utf-8"}),
    "/no-charset": Answer(b"text", headers={"Content-Type": "text/plain; charset=klingon"}),
}


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate authority of the tests' own."""
    return misbehaving.certificate(tmp_path_factory.mktemp("ca"), name="Test CA")


@pytest.fixture(scope="module")
def site(ca: tuple[Path, Path]) -> Iterator[web.Web]:
    """PAGES over TLS, with a certificate for 30 more days."""
    context = misbehaving.tls_server(*misbehaving.certificate(ca[0].parent, ca=ca))
    with web.serving(PAGES, tls=context) as server:
        yield server


@pytest.fixture
def check(site: web.Web, ca: tuple[Path, Path], run_module: RunModule) -> RunModule:
    """Run the module on one page of the site; keywords say what is expected."""

    def run(path: str = "/", target: dict[str, Any] | None = None, **expected: Any) -> dict[str, Any]:
        wanted = {"name": "page", "address": f"{site.address}{path}", "ca_path": str(ca[0])} | (target or {})
        return run_module(endpoint_check, targets=[wanted], expected=expected, report_only=True)

    return run


# --- each finding, green and red -------------------------------------------------------------------------------------


def test_an_endpoint_as_declared_is_green_in_every_finding(check: RunModule) -> None:
    result = check(**EXPECTED)
    assert red(result) == []
    assert set(green(result)) == {
        "reachable", "status", "time_ms", "header.x-frame-options", "header.content-type", "header.x-count",
        "header.x-on", "header.strict-transport-security", "header.x-powered-by", "body", "body.contains",
        "body.matches", "body.excludes", "json", "json.status", "json.checks.redis.ok", "json.checks",
        "json.list.1.a\\.b", "json.none", "ready.shape", "ready.status", "ready.dependency.db",
        "ready.dependency.redis", "ready.dependencies", "methods", "method.trace", "tls.oldest_version",
        "tls.certificate.days_left", "consecutive",
    }  # fmt: skip
    assert result["verdicts"][0]["ok"]
    assert not result["changed"]


DEVIATIONS = [
    pytest.param("/health", {"status": [404, 410]}, "status", id="another status"),
    pytest.param("/slow", {"max_ms": 200}, "time_ms", id="over its time budget"),
    pytest.param("/old", {"location": "/elsewhere"}, "location", id="redirects elsewhere"),
    pytest.param("/health", {"location": "/health"}, "location", id="does not redirect"),
    pytest.param("/", {"headers": {"X-Frame-Options": "SAMEORIGIN"}}, "header.x-frame-options", id="other header"),
    pytest.param("/", {"headers": {"X-Missing": "a"}}, "header.x-missing", id="header missing"),
    pytest.param("/", {"headers_match": {"X-Count": "^4$"}}, "header.x-count", id="header does not match"),
    pytest.param("/", {"headers_match": {"X-Missing": ""}}, "header.x-missing", id="header to match missing"),
    pytest.param("/", {"headers_absent": ["Server"]}, "header.server", id="header that should be absent"),
    pytest.param("/wrong-charset", {"body_contains": "a"}, "body", id="not the declared charset"),
    pytest.param("/no-charset", {"body_excludes": "a"}, "body", id="a charset that does not exist"),
    pytest.param("/empty", {"body_contains": "a"}, "body.contains", id="no body to look into"),
    pytest.param("/page", {"body_contains": ["title", "Thé"]}, "body.contains", id="one text missing"),
    pytest.param("/page", {"body_matches": ["t.tle", "^Café"]}, "body.matches", id="one pattern not found"),
    pytest.param("/page", {"body_excludes": ["Thé", "Café"]}, "body.excludes", id="a text that must not be there"),
    pytest.param("/not-json", {"json": {"status": "ok"}}, "json", id="not JSON"),
    pytest.param("/nan", {"json": {"ok": True}}, "json", id="NaN is not JSON"),
    pytest.param("/deep", {"json_equals": []}, "json", id="JSON nested too deeply"),
    pytest.param("/empty", {"json_equals": {}}, "json", id="no JSON at all"),
    pytest.param("/health", {"json_equals": {"status": "ok", "a": 1}}, "json.equals", id="not the whole document"),
    pytest.param("/health", {"json": {"status": "fail"}}, "json.status", id="another value"),
    pytest.param("/", {"json": {"checks.redis.ok": 1}}, "json.checks.redis.ok", id="true is not 1"),
    pytest.param("/", {"json": {"checks.vault.ok": True}}, "json.checks.vault.ok", id="path not there"),
    pytest.param("/", {"json": {"list.2": 0}}, "json.list.2", id="beyond the end of a list"),
    pytest.param("/", {"json": {"status.word": 0}}, "json.status.word", id="nothing below a text"),
    pytest.param("/health", {"ready_shape": True}, "ready.shape", id="not a readiness answer"),
    pytest.param("/starting", {"ready_shape": True}, "ready.status", id="all dependencies well, and not ready"),
    pytest.param("/", {"ready_dependencies": ["vault"]}, "ready.dependency.vault", id="dependency not named"),
    pytest.param("/older-broken", {"ready_shape": True}, "ready.dependencies", id="older shape, broken"),
    pytest.param("/older-broken", {"ready_dependencies": ["redis"]}, "ready.dependency.redis", id="older, by name"),
    pytest.param("/open", {"allowed_methods": ["GET", "POST"]}, "methods", id="names a method too many"),
    pytest.param("/health", {"allowed_methods": ["GET"]}, "methods", id="names no methods"),
    pytest.param("/open", {"refused_methods": ["TRACE"]}, "method.trace", id="takes a method"),
    pytest.param("/broken", {"refused_methods": ["TRACE"]}, "method.trace", id="breaks on a method"),
    pytest.param("/", {"tls_min_version": "1.3"}, "tls.oldest_version", id="TLS 1.2 still accepted"),
    pytest.param("/", {"certificate_min_days_left": 31}, "tls.certificate.days_left", id="certificate ends soon"),
]


@pytest.mark.parametrize(("path", "expected", "only"), DEVIATIONS)
def test_each_deviation_is_red_in_just_its_own_finding(
    check: RunModule, path: str, expected: dict[str, Any], only: str
) -> None:
    assert red(check(path, **expected)) == [only]


def test_a_whole_document_is_compared_whatever_the_order_of_its_names(check: RunModule) -> None:
    assert green(check("/not-ready", json_equals=dict(reversed(NOT_READY.items())))) == [
        "json",
        "json.equals",
        "reachable",
    ]


def test_a_path_that_is_not_there_is_told_apart_from_another_value(check: RunModule) -> None:
    missing = findings(check(json={"checks.vault.ok": True}))["json.checks.vault.ok"]
    assert (missing["status"], missing["cause"]) == ("error", "checks has no 'vault'; it has: db, redis")
    other = findings(check(json={"none": True}))["json.none"]
    assert (other["status"], other["observed"], other["cause"]) == ("fail", None, None)


def test_a_body_that_is_not_json_is_one_finding_with_its_reason(check: RunModule) -> None:
    result = check("/not-json", json={"a": 1, "b.c": 2}, ready_shape=True)
    assert red(result) == ["json"]
    assert "not JSON" in findings(result)["json"]["cause"]
    assert findings(result)["ready.status"]["cause"] == "json"


def test_a_long_value_that_is_wrong_is_shown_in_part(check: RunModule) -> None:
    observed = findings(check("/long", json_equals=[]))["json.equals"]["observed"]
    assert observed.endswith("... (367780 characters)")
    assert len(observed) < 3000


def test_a_readiness_answer_names_what_is_broken(check: RunModule) -> None:
    result = check("/not-ready", status=200, ready_dependencies=["db", "redis"])
    assert red(result) == ["ready.dependency.redis", "ready.status", "status"]
    assert findings(result)["ready.dependency.redis"]["observed"] == {"ok": False, "detail": "unreachable"}
    assert red(check("/not-ready", status=503, json={"checks.redis.ok": False, "checks.db.ok": True})) == []


def test_the_older_readiness_shape_is_understood(check: RunModule) -> None:
    result = check("/older", ready_dependencies=["database", "redis", "migrations"])
    assert red(result) == []
    assert findings(result)["ready.shape"]["observed"] == "dependencies.{name}"


def test_a_method_and_a_body_are_sent_when_they_are_declared(check: RunModule) -> None:
    posted = check("/echo", {"method": "POST", "send_json": {"a": 1}}, json={"method": "POST", "body": '{"a": 1}'})
    assert red(posted) == []
    assert red(check("/echo", {"method": "POST", "send_body": "é"}, json={"body": "é"})) == []
    assert red(check("/echo", {"method": "HEAD"}, status=200)) == []


# --- redirects -------------------------------------------------------------------------------------------------------


def test_redirects_are_followed_as_far_as_declared(check: RunModule) -> None:
    assert red(check("/old", status=301, location="/health")) == []
    followed = check("/older-still", {"redirects": 2, "record": True}, status=200, json={"status": "ok"})
    assert red(followed) == []
    assert followed["verdicts"][0]["recorded"]["url"].endswith("/health")
    assert red(check("/older-still", {"redirects": 1}, status=200)) == ["reachable"]


def test_a_redirect_in_a_loop_is_a_finding(check: RunModule) -> None:
    result = check("/loop", {"redirects": 5}, status=200)
    assert red(result) == ["reachable"]
    assert "redirects more than 5 times" in findings(result)["reachable"]["cause"]


@pytest.mark.parametrize("location", ["http://[x", "http://h:99999/", "http://*.h/"])
@pytest.mark.parametrize("wait_s", [None, 0.1], ids=["asked once", "waited for"])
def test_a_redirect_to_what_is_no_address_is_a_finding(
    location: str, wait_s: float | None, run_module: RunModule
) -> None:
    with web.serving({"/": Answer(status=302, headers={"Location": location})}) as server:
        target = {"name": "page", "address": f"{server.address}/", "redirects": 1}
        expected = {"status": 200, "wait_s": wait_s}
        result = run_module(endpoint_check, targets=[target], expected=expected, report_only=True)
    assert red(result) == ["reachable"]
    assert f"redirects to what is no address: {location!r}" in findings(result)["reachable"]["cause"]


def test_a_redirect_out_of_tls_is_not_followed(ca: tuple[Path, Path], run_module: RunModule) -> None:
    context = misbehaving.tls_server(*misbehaving.certificate(ca[0].parent, ca=ca))
    with web.serving({"/": Answer(b"here")}) as plain:
        away = {"/": Answer(status=302, headers={"Location": f"{plain.address}/"})}
        with web.serving(away, tls=context) as secured:
            target = {"name": "page", "address": f"{secured.address}/", "ca_path": str(ca[0]), "redirects": 3}
            result = run_module(endpoint_check, targets=[target], expected={"status": 200}, report_only=True)
        assert plain.asked == []
    assert red(result) == ["reachable"]
    assert "from https to http" in findings(result)["reachable"]["cause"]


def test_secret_headers_do_not_go_to_another_server(run_module: RunModule) -> None:
    with web.serving({"/": Answer(b"there")}) as other:
        away = {
            "/": Answer(status=302, headers={"Location": f"{other.address}/"}),
            "/near": Answer(status=307, headers={"Location": "/"}),
        }
        with web.serving(away) as first:
            target = {
                "name": "page",
                "address": f"{first.address}/near",
                "redirects": 2,
                "headers": {"X-Plain": "a"},
                "secret_headers": {"X-Vault-Token": TOKEN},
            }
            result = run_module(endpoint_check, targets=[target], expected={"body_contains": "there"}, report_only=True)
        assert red(result) == []
        assert [request.headers.get("x-vault-token") for request in first.asked] == [TOKEN, TOKEN]
        assert [request.headers.get("x-vault-token") for request in other.asked] == [None]
        assert [request.headers.get("x-plain") for request in other.asked] == ["a"]


# --- secrets and evidence --------------------------------------------------------------------------------------------


def test_a_secret_header_is_sent_and_shown_nowhere(check: RunModule) -> None:
    secret = {"Authorization": f"Bearer {TOKEN}"}
    result = check("/private", {"secret_headers": secret, "record": True}, status=200, headers={"X-Echo": "other"})
    assert red(result) == ["header.x-echo"]
    assert findings(result)["header.x-echo"]["observed"] == "***"
    assert TOKEN not in str(result)
    assert red(check("/private", status=401)) == []


def test_a_basic_login_is_shown_nowhere_either(check: RunModule) -> None:
    pair = base64.b64encode(f"user:{TOKEN}".encode()).decode()
    target = {"secret_headers": {"Authorization": f"Basic {pair}"}, "record": True}
    result = check("/private", target, headers={"X-Echo": "other"})
    assert TOKEN not in str(result)
    assert pair not in str(result)


def test_the_whole_answer_is_kept_as_evidence_and_masked(check: RunModule) -> None:
    recorded = check("/private", {"record": True}, status=401)["verdicts"][0]["recorded"]
    assert recorded["status"] == 401
    assert recorded["headers"]["Set-Cookie"] == "***"
    kept = check("/not-ready", {"record": True}, status=200)["verdicts"][0]["recorded"]
    assert json.loads(kept["body"]) == NOT_READY
    assert kept["headers"]["Content-Type"] == "application/json"
    assert "recorded" not in check("/not-ready", status=503)["verdicts"][0]


def test_of_a_long_answer_the_beginning_is_kept(check: RunModule) -> None:
    recorded = check("/long", {"record": True}, status=200)["verdicts"][0]["recorded"]
    assert recorded["body_bytes"] == 367_780
    assert recorded["body"].endswith("... (367780 characters)")
    assert 60_000 < len(recorded["body"]) < 66_000


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        pytest.param({"secret_headers": {"Authorization": f"Bearer {TOKEN}\n"}}, "line break", id="secret and newline"),
        pytest.param({"headers": {"X-A": "b\r\nX-Injected: c"}}, "line break", id="header injection by value"),
        pytest.param({"headers": {"X-A: b\r\nX-Injected": "c"}}, "cannot be the name", id="header injection by name"),
        pytest.param({"headers": {"X-A": "€"}}, "cannot be that of a header", id="not latin-1"),
    ],
)
def test_headers_that_must_not_be_sent_are_not(
    site: web.Web, check: RunModule, headers: dict[str, Any], words: str
) -> None:
    asked = len(site.asked)
    result = check("/health", headers, status=200)
    assert red(result) == ["reachable"]
    assert words in findings(result)["reachable"]["cause"]
    assert TOKEN not in str(result)
    assert len(site.asked) == asked


# --- TLS -------------------------------------------------------------------------------------------------------------


def test_a_server_that_still_takes_an_old_version_is_found_out(ca: tuple[Path, Path], run_module: RunModule) -> None:
    context = misbehaving.tls_server(*misbehaving.certificate(ca[0].parent, ca=ca))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with web.serving({"/": Answer(b"here")}, tls=context) as server:
        target = {"name": "page", "address": f"{server.address}/", "ca_path": str(ca[0])}
        result = run_module(endpoint_check, targets=[target], expected={"tls_min_version": "1.2"}, report_only=True)
    assert red(result) == ["tls.oldest_version"]
    assert findings(result)["tls.oldest_version"]["observed"] == "1.1"


def test_without_tls_nothing_can_be_said_of_it(run_module: RunModule) -> None:
    with web.serving({"/": Answer(b"here")}) as server:
        expected = {"tls_min_version": "1.2", "certificate_min_days_left": 1, "status": 200}
        target = {"name": "page", "address": f"{server.address}/"}
        result = run_module(endpoint_check, targets=[target], expected=expected, report_only=True)
    assert red(result) == ["tls.certificate.days_left", "tls.oldest_version"]
    assert "not https" in findings(result)["tls.oldest_version"]["cause"]


def test_one_instance_is_asked_by_its_address_for_the_public_name(ca: tuple[Path, Path], run_module: RunModule) -> None:
    context = misbehaving.tls_server(*misbehaving.certificate(ca[0].parent, name="app.example", ca=ca))
    with web.serving({"/": Answer(b"here")}, tls=context) as server:
        target = {"name": "page", "address": f"{server.address}/", "ca_path": str(ca[0]), "tls_name": "app.example"}
        expected = {"status": 200, "certificate_min_days_left": 21}
        assert red(run_module(endpoint_check, targets=[target], expected=expected, report_only=True)) == []
        target["tls_name"] = "other.example"
        result = run_module(endpoint_check, targets=[target], expected=expected, report_only=True)
    assert red(result) == ["reachable"]
    assert "match" in findings(result)["reachable"]["cause"]


def test_a_client_certificate_is_shown_to_a_server_that_wants_one(ca: tuple[Path, Path], run_module: RunModule) -> None:
    context = misbehaving.tls_server(*misbehaving.certificate(ca[0].parent, ca=ca))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(ca[0])
    certificate, key = misbehaving.certificate(ca[0].parent, name="client", ca=ca)
    with web.serving({"/": Answer(b"here")}, tls=context) as server:
        target = {"name": "page", "address": f"{server.address}/", "ca_path": str(ca[0])}
        expected = {"status": 200, "tls_min_version": "1.2"}
        refused = run_module(endpoint_check, targets=[target], expected=expected, report_only=True)
        target |= {"client_cert_path": str(certificate), "client_key_path": str(key)}
        assert red(run_module(endpoint_check, targets=[target], expected=expected, report_only=True)) == []
    # Whether the server's alert or its closing is read first is a matter of luck.
    assert red(refused) == ["reachable"]
    assert findings(refused)["reachable"]["cause"]


@pytest.mark.parametrize(
    ("name", "days", "words"),
    [
        pytest.param("127.0.0.1", 30, "self-signed", id="a CA that nobody trusts"),
        pytest.param("127.0.0.1", -1, "expired", id="expired"),
        pytest.param("app.example", 30, "match", id="another server's name"),
    ],
)
def test_a_bad_certificate_is_one_finding_with_a_cause(
    name: str, days: float, words: str, ca: tuple[Path, Path], run_module: RunModule
) -> None:
    made = misbehaving.certificate(ca[0].parent, name=name, days=days, ca=None if words == "self-signed" else ca)
    with web.serving({"/": Answer(b"here")}, tls=misbehaving.tls_server(*made)) as server:
        target = {"name": "page", "address": f"{server.address}/", "ca_path": str(ca[0])}
        result = run_module(endpoint_check, targets=[target], expected=EXPECTED | {"wait_s": 0.1}, report_only=True)
    assert red(result) == ["reachable"]
    assert words in findings(result)["reachable"]["cause"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(None, "No such file", id="missing"),
        pytest.param("no certificate", "no certificate or crl found", id="no PEM"),
    ],
)
def test_a_ca_file_that_cannot_be_used_is_named(text: str | None, words: str, tmp_path: Path, check: RunModule) -> None:
    ca = tmp_path / "ca.pem"
    if text:
        ca.write_text(text)
    result = check("/", {"ca_path": str(ca)}, status=200)
    assert red(result) == ["reachable"]
    assert f"the CA file {ca} cannot be used" in findings(result)["reachable"]["cause"]
    assert words in findings(result)["reachable"]["cause"]


# --- waiting ---------------------------------------------------------------------------------------------------------


def answers_in_turn(*statuses: int) -> Callable[[Request], Answer]:
    """Each status once, and the last one for ever."""
    left = list(statuses)
    lock = threading.Lock()

    def answer(request: Request) -> Answer:
        with lock:
            return Answer(status=left.pop(0) if len(left) > 1 else left[0])

    return answer


@pytest.mark.parametrize(
    ("statuses", "waited"),
    [
        pytest.param([200], {"asked": 3, "good": 3, "good_in_a_row": 3}, id="good from the first"),
        pytest.param([503, 503, 200], {"asked": 5, "good": 3, "good_in_a_row": 3}, id="good after a while"),
        pytest.param(
            [200, 200, 503, 200], {"asked": 6, "good": 5, "good_in_a_row": 3}, id="a relapse starts the count anew"
        ),
    ],
)
def test_an_endpoint_is_waited_for_until_it_is_good_in_a_row(
    statuses: list[int], waited: dict[str, int], run_module: RunModule
) -> None:
    with web.serving({"/": answers_in_turn(*statuses)}) as server:
        target = {"name": "page", "address": f"{server.address}/"}
        expected = {"status": 200, "wait_s": 10, "every_s": 0.01, "consecutive": 3}
        result = run_module(endpoint_check, targets=[target], expected=expected, report_only=True)
    assert red(result) == []
    assert findings(result)["consecutive"]["observed"] == waited


def test_an_endpoint_that_never_gets_good_is_judged_by_its_last_answer(run_module: RunModule) -> None:
    with web.serving({"/": answers_in_turn(200, 503)}) as server:
        target = {"name": "page", "address": f"{server.address}/"}
        expected = {"status": 200, "wait_s": 0.5, "every_s": 0.05, "consecutive": 2}
        result = run_module(endpoint_check, targets=[target], expected=expected, report_only=True)
    assert red(result) == ["consecutive", "status"]
    observed = findings(result)["consecutive"]["observed"]
    assert observed["good"] == 1
    assert observed["good_in_a_row"] == 0
    assert 5 < observed["asked"] < 15


def test_an_endpoint_that_gets_good_too_late_to_be_so_in_a_row_is_not_good_yet(run_module: RunModule) -> None:
    with web.serving({"/": answers_in_turn(503, 503, 200)}) as server:
        target = {"name": "page", "address": f"{server.address}/"}
        # Asked five times at most, and on a machine that is busy three: what comes last is good.
        expected = {"status": 200, "wait_s": 1.0, "every_s": 0.3, "consecutive": 4}
        result = run_module(endpoint_check, targets=[target], expected=expected, report_only=True)
    assert red(result) == ["consecutive"]
    assert findings(result)["consecutive"]["observed"]["good_in_a_row"] in (1, 2, 3)


def test_an_endpoint_that_is_good_only_now_and_then_is_not_good(run_module: RunModule) -> None:
    with web.serving({"/": answers_in_turn(*[503, 200] * 500)}) as server:
        target = {"name": "page", "address": f"{server.address}/"}
        expected = {"status": 200, "wait_s": 0.5, "every_s": 0.02, "consecutive": 2}
        result = run_module(endpoint_check, targets=[target], expected=expected, report_only=True)
    assert "consecutive" in red(result)
    assert findings(result)["consecutive"]["observed"]["good"] > 3


def test_a_server_that_starts_while_it_is_waited_for_is_seen(run_module: RunModule) -> None:
    port = servers.free_port()
    serve = threading.Event()

    def late() -> None:
        time.sleep(0.4)
        with socket.create_server(("127.0.0.1", port)) as listener:
            listener.settimeout(5)
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            serve.wait(5)

    thread = threading.Thread(target=late, daemon=True)
    thread.start()
    target = {"name": "page", "address": f"http://127.0.0.1:{port}/"}
    expected = {"status": 200, "wait_s": 10, "every_s": 0.05}
    result = run_module(endpoint_check, targets=[target], expected=expected, timeout_s=1.0, report_only=True)
    serve.set()
    thread.join(5)
    assert red(result) == []
    assert findings(result)["consecutive"]["observed"]["asked"] > 3


def test_a_server_that_hangs_is_waited_for_and_not_longer(run_module: RunModule) -> None:
    with misbehaving.listening(misbehaving.hangs) as port:
        target = {"name": "page", "address": f"http://127.0.0.1:{port}/"}
        expected = {"status": 200, "wait_s": 2.0, "every_s": 0.2}
        result = run_module(endpoint_check, targets=[target], expected=expected, timeout_s=0.8, report_only=True)
    assert red(result) == ["reachable"]
    assert "asked 3 times, good 0 times" in findings(result)["reachable"]["cause"]
    assert 1900 < result["verdicts"][0]["took_ms"] < 20_000


def test_waiting_comes_on_top_of_the_time_for_all_targets(run_module: RunModule) -> None:
    with web.serving({"/": answers_in_turn(*[503] * 8, 200)}) as server:
        target = {"name": "page", "address": f"{server.address}/"}
        limits = {"timeout_s": 0.3, "total_timeout_s": 0.3}
        expected = {"status": 200, "wait_s": 5, "every_s": 0.1}
        assert red(run_module(endpoint_check, targets=[target], expected=expected, report_only=True, **limits)) == []


# --- servers that do not behave --------------------------------------------------------------------------------------


# What is another service for Vault is a page like any other here, and red in what is expected of it.
BROKEN = sorted(set(misbehaving.BEHAVIOURS) - {"is_another_service"})


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("name", BROKEN)
def test_a_server_that_misbehaves_is_one_finding_with_a_cause(
    name: str, scheme: str, ca: tuple[Path, Path], run_module: RunModule
) -> None:
    tls = misbehaving.tls_server(*misbehaving.certificate(ca[0].parent, ca=ca)) if scheme == "https" else None
    with misbehaving.listening(misbehaving.BEHAVIOURS[name], tls=tls) as port:
        address = f"{scheme}://127.0.0.1:{port}/"
        target = {"name": "page", "address": address, "ca_path": str(ca[0]), "record": True}
        expected = {"status": 200, "json": {"a": 1}, "body_contains": "a", "allowed_methods": ["GET"]}
        result = run_module(endpoint_check, targets=[target], expected=expected, timeout_s=1.0, report_only=True)
    assert red(result) == ["reachable"]
    assert findings(result)["reachable"]["cause"]
    assert "certificate" not in findings(result)["reachable"]["cause"]
    assert result["verdicts"][0]["took_ms"] < 20_000


def test_another_service_is_red_in_what_is_expected_of_it(run_module: RunModule) -> None:
    with misbehaving.listening(misbehaving.is_another_service) as port:
        target = {"name": "page", "address": f"http://127.0.0.1:{port}/"}
        result = run_module(endpoint_check, targets=[target], expected={"ready_shape": True}, report_only=True)
    assert red(result) == ["json"]


def test_a_closed_port_is_one_finding_with_a_cause(run_module: RunModule) -> None:
    target = {"name": "page", "address": f"http://127.0.0.1:{misbehaving.refusing_port()}"}
    result = run_module(endpoint_check, targets=[target], expected={"status": 200}, report_only=True)
    assert red(result) == ["reachable"]
    assert "refused" in findings(result)["reachable"]["cause"]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n",
            "larger than 1048576 bytes",
            id="gzip bomb",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd", "decode", id="no gzip"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 200 + b"\r\n", "headers", id="too many headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 100_000 + b"\r\n\r\n", "line", id="an endless header"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "IncompleteRead",
            id="a chunk of no length",
        ),
        pytest.param(b"HTTP/9.9 200 OK\r\n\r\n", "HTTP", id="a version that does not exist"),
        pytest.param(b"", "closed", id="closes without a word"),
    ],
)
def test_a_broken_answer_is_one_finding_with_a_cause(raw: bytes, words: str, run_module: RunModule) -> None:
    bomb = gzip.compress(bytes(100 * 1024 * 1024)) if b"%d" in raw else b""

    def answers(connection: socket.socket, stop: threading.Event) -> None:
        connection.recv(4096)
        connection.sendall(raw % len(bomb) + bomb if bomb else raw)

    with misbehaving.listening(answers) as port:
        target = {"name": "page", "address": f"http://127.0.0.1:{port}/"}
        result = run_module(endpoint_check, targets=[target], expected={"status": 200}, timeout_s=3.0, report_only=True)
    assert red(result) == ["reachable"]
    assert words in findings(result)["reachable"]["cause"]


def test_ipv6_is_spoken(run_module: RunModule) -> None:
    with web.serving({"/": Answer(b"here")}, host="::1") as server:
        target = {"name": "page", "address": f"{server.address}/"}
        assert red(run_module(endpoint_check, targets=[target], expected={"status": 200}, report_only=True)) == []


# --- many targets, and a wrong inventory -----------------------------------------------------------------------------


def test_many_targets_are_looked_at_together_and_a_slow_one_holds_up_none(run_module: RunModule) -> None:
    with misbehaving.listening(misbehaving.hangs) as port, web.serving({"/": Answer(b"", after_s=0.1)}) as server:
        targets = [{"name": f"page-{number}", "address": f"{server.address}/"} for number in range(64)]
        targets[3] = {"name": "hangs", "address": f"http://127.0.0.1:{port}/"}
        started = time.monotonic()
        result = run_module(endpoint_check, targets=targets, expected={"status": 200}, timeout_s=2.0, report_only=True)
        took_s = time.monotonic() - started
    assert [verdict["subject"] for verdict in result["verdicts"] if not verdict["ok"]] == ["hangs"]
    assert took_s < 20


def test_a_targets_own_expectation_overrides_the_general_one(site: web.Web, check: RunModule) -> None:
    own = {"expected": {"status": [404]}}
    result = check("/nowhere", own, status=200, body_contains="no such page")
    assert green(result) == ["body", "body.contains", "reachable", "status"]


def test_without_report_only_a_red_finding_fails_the_task(site: web.Web, ca: Any, run_module: RunModule) -> None:
    target = {"name": "page", "address": f"{site.address}/health", "ca_path": str(ca[0])}
    result = run_module(endpoint_check, targets=[target], expected={"status": 404})
    assert result["failed"]
    assert "status: expected 404, observed 200" in result["msg"]


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        pytest.param({}, "implies no check", id="nothing expected"),
        pytest.param({"body_matches": "("}, "not a regular expression", id="a pattern that is none"),
        pytest.param({"headers_match": {"A": "["}}, "not a regular expression", id="a header's pattern that is none"),
        pytest.param({"json": {"a..b": 1}}, "empty step", id="a path with a hole"),
        pytest.param({"headers": {"A": 1}, "headers_absent": ["a"]}, "implied twice", id="a header there and absent"),
        pytest.param({"status": 200, "consecutive": 3}, "declare wait_s", id="in a row of nothing"),
        pytest.param({"wait_s": 1, "consecutive": 0}, "more than 0", id="no answer in a row"),
        pytest.param({"wait_s": 0}, "more than 0", id="no time to wait"),
        pytest.param({"wait_s": 2, "consecutive": 5}, "never be seen", id="more answers than there is time for"),
    ],
)
def test_a_wrong_expectation_is_refused_before_anything_is_asked(
    expected: dict[str, Any], words: str, site: web.Web, run_module: RunModule
) -> None:
    asked = len(site.asked)
    target = {"name": "page", "address": f"{site.address}/health"}
    result = run_module(endpoint_check, targets=[target], expected=expected, report_only=True)
    assert result["failed"]
    assert words in result["msg"]
    assert len(site.asked) == asked


def test_a_credential_in_a_plain_header_is_refused_and_not_repeated(run_module: RunModule) -> None:
    target = {"name": "page", "address": "https://app.example/", "headers": {"X-Api-Key": TOKEN}}
    result = run_module(endpoint_check, targets=[target], expected={"status": 200})
    assert result["failed"]
    assert "secret_headers" in result["msg"]
    assert TOKEN not in str(result)


def test_a_password_in_an_address_is_refused_and_not_repeated(run_module: RunModule) -> None:
    target = {"name": "page", "address": "https://user:s3cret-word@app.example/"}
    result = run_module(endpoint_check, targets=[target], expected={"status": 200})
    assert result["failed"]
    assert "holds a password" in result["msg"]
    assert "s3cret-word" not in str(result)
