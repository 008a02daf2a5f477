# SPDX-License-Identifier: GPL-3.0-or-later
"""journey_check against servers that are told what to say, that lie, and that do not behave; and against OpenBao."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import journey_check
import misbehaving
import pytest
import servers
from findings import findings, green, red
from web import Answer, Page, Request, Web, as_json, serving

RunModule = Callable[..., dict[str, Any]]

PROJECT = Path(__file__).resolve().parents[2]
PASSWORD = "correct-horse-battery-staple"
ADMIN_TOKEN = "opaque-admin-token-0815"
VIEWER_TOKEN = "opaque-viewer-token-4711"
FILES = {"a.json": b'{"a": 1}', "2026/b c.json": b"[]"}
CHECKSUMS = {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}

IDENTITIES = [
    {"name": "admin", "from_value": "admin_token"},
    {"name": "viewer", "token": VIEWER_TOKEN},
]
SECRETS = [{"name": "password", "value": PASSWORD}]


def login(request: Request) -> Answer:
    known = json.loads(request.body) == {"username": "admin", "password": PASSWORD}
    return as_json({"access_token": ADMIN_TOKEN, "token_type": "bearer"} if known else {}, 200 if known else 401)


def only(token: str, answer: Page) -> Page:
    """The page for who has the token; 403 for all others."""

    def page(request: Request) -> Answer:
        if request.headers.get("authorization") != f"Bearer {token}":
            return as_json({"detail": "Forbidden"}, 403)
        return answer if isinstance(answer, Answer) else answer(request)

    return page


def make(request: Request) -> Answer:
    """Takes an order of a number that it has to have as a number."""
    order = json.loads(request.body)
    right = order["vendor"] == 7 and request.headers["idempotency-key"] == f"journey-{order['run']}"
    headers = {"Content-Type": "application/json", "Location": "/orders/41"}
    return Answer(json.dumps({"id": 41, "state": "DRAFT"}).encode(), 201 if right else 422, headers)


def vendors(items: Any, first: Any = None) -> Answer:
    return as_json({"items": items, "first": {"id": 7} if first is None else first})


def made_wrongly() -> Answer:
    """An order that is paid before anybody paid."""
    headers = {"Content-Type": "application/json", "Location": "/orders/41"}
    return Answer(b'{"id": 41, "state": "PAID"}', 201, headers)


def sign(request: Request) -> Answer:
    return as_json({"signed": parse_qs(request.body.decode())}, 200)


PAGES: dict[str, Page] = {
    "/login": login,
    "/vendors": only(VIEWER_TOKEN, vendors([{"name": "Aurora"}])),
    "/orders": only(ADMIN_TOKEN, make),
    "/orders/41": only(ADMIN_TOKEN, as_json({"id": 41, "state": "DRAFT"})),
    "/orders/41/sign": only(ADMIN_TOKEN, sign),
    "/orders/41/pay": only(ADMIN_TOKEN, as_json({"detail": "must be signed first"}, 409)),
    "/checksums": as_json({"files": CHECKSUMS}),
    "/files/a.json": Answer(FILES["a.json"]),
    "/files/2026/b%20c.json": Answer(FILES["2026/b c.json"]),
    "/orders/41/undo": only(ADMIN_TOKEN, Answer(status=204)),
    "/logout": Answer(status=200),
}
STEPS: list[dict[str, Any]] = [
    {
        "name": "login",
        "method": "POST",
        "path": "/login",
        "json": {"username": "admin", "password": "{password}"},
        "expected": {"status": [200]},
        "capture": {"admin_token": {"body": "access_token", "secret": True}},
    },
    {
        "name": "vendors",
        "as": "viewer",
        "path": "/vendors",
        "expected": {"status": [200], "body": {"length(items)": {"at_least": 1}}},
        "capture": {"vendor": "first.id"},
    },
    {
        "name": "refused",
        "as": "viewer",
        "method": "POST",
        "path": "/orders",
        "json": {},
        "expected": {"status": [403], "text": "Forbid+en"},
    },
    {
        "name": "make",
        "as": "admin",
        "method": "POST",
        "path": "/orders",
        "headers": {"Idempotency-Key": "journey-{run}"},
        "json": {"vendor": "{vendor}", "run": "{run}"},
        "expected": {
            "status": [201],
            "body": {"state": "DRAFT"},
            "headers": {"Content-Type": {"matches": "^application/json"}},
        },
        "capture": {"order": "id", "where": {"header": "Location"}},
    },
    {
        "name": "read",
        "as": "admin",
        "path": "/orders/{order}",
        "expected": {"status": [200], "body": {"id": "{order}"}, "max_ms": 5000},
    },
    {
        "name": "sign",
        "as": "admin",
        "method": "POST",
        "path": "/orders/{order}/sign",
        "form": {"by": "Jo & {where}"},
        "expected": {"status": [200], "body": {"signed.by[0]": "Jo & {where}"}},
    },
    {
        "name": "pay-too-early",
        "as": "admin",
        "method": "POST",
        "path": "/orders/{order}/pay",
        "expected": {"status": [409], "body": {"detail": {"matches": "signed"}}},
    },
    {
        "name": "files",
        "path": "/checksums",
        "expected": {"status": [200], "sha256": hashlib.sha256(PAGES["/checksums"].body).hexdigest()},  # type: ignore[union-attr]
        "files": {"listed": "files", "path": "/files/{file}"},
    },
]
CLEANUP: list[dict[str, Any]] = [
    {
        "name": "undo",
        "as": "admin",
        "method": "POST",
        "path": "/orders/{order}/undo",
        "expected": {"status": [204]},
    },
    {"name": "logout", "method": "POST", "path": "/logout", "expected": {"status": [200]}},
]


def step(name: str = "one", path: str = "/x", **options: Any) -> dict[str, Any]:
    return {"name": name, "path": path, "expected": {"status": [200]}} | options


@pytest.fixture
def walk(run_module: RunModule) -> RunModule:
    """Walk one journey as a playbook would: the whole one above, or other steps."""

    def run(
        address: str,
        steps: list[dict[str, Any]] | None = None,
        cleanup: list[dict[str, Any]] | None = None,
        target: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        journey = {"name": "journey", "address": address, "steps": STEPS if steps is None else steps}
        journey |= {"cleanup": (CLEANUP if steps is None else []) if cleanup is None else cleanup, **(target or {})}
        options = {"identities": IDENTITIES, "secrets": SECRETS, "report_only": True} | options
        return run_module(journey_check, targets=[journey], **options)

    return run


@contextmanager
def application(**pages: Page) -> Iterator[Web]:
    """The application of the journey above, with some of its pages replaced."""
    with serving({**PAGES, **{name.replace("__", "/"): page for name, page in pages.items()}}) as web:
        yield web


# --- green and red ----------------------------------------------------------------------------------------------------


def test_a_journey_as_declared_is_green_in_every_finding(walk: RunModule) -> None:
    with application() as web:
        result = walk(web.address)
    assert red(result) == []
    assert green(result) == sorted(
        [
            "reachable", "login.status", "login.capture.admin_token", "vendors.status",
            "vendors.body.length(items)", "vendors.capture.vendor", "refused.status", "refused.text",
            "make.status", "make.header.content-type", "make.body.state", "make.capture.order",
            "make.capture.where", "read.status", "read.body.id", "read.time_ms", "sign.status",
            "sign.body.signed.by[0]", "pay-too-early.status", "pay-too-early.body.detail", "files.status",
            "files.sha256", "files.files.listed", "files.files.missing", "files.files.mismatches",
            "cleanup.undo.status", "cleanup.logout.status",
        ]
    )  # fmt: skip
    assert result["changed"] is True
    assert [request.path for request in web.asked][-4:-1] == [
        "/files/a.json",
        "/files/2026/b%20c.json",
        "/orders/41/undo",
    ]


@pytest.mark.parametrize(
    ("pages", "only_red"),
    [
        pytest.param({"__login": as_json({}, 401)}, "login.status", id="login refused"),
        pytest.param({"__login": as_json({"token": "x"})}, "login.capture.admin_token", id="login without a token"),
        pytest.param({"__vendors": vendors([])}, "vendors.body.length(items)", id="nothing there"),
        pytest.param({"__vendors": vendors(None)}, "vendors.body.length(items)", id="null for a list"),
        pytest.param({"__vendors": Answer(b"<html>")}, "vendors.capture.vendor", id="a page for JSON"),
        pytest.param({"__vendors": vendors([1], first={})}, "vendors.capture.vendor", id="without an id"),
        pytest.param({"__orders": as_json({"id": 41}, 201)}, "refused.status", id="everybody may"),
        pytest.param({"__orders": as_json({"detail": "no"}, 403)}, "refused.text", id="refused in other words"),
        pytest.param(
            {"__orders": only(ADMIN_TOKEN, as_json({"detail": "Forbidden"}, 403))}, "make.status", id="nobody may"
        ),
        pytest.param(
            {"__orders": only(ADMIN_TOKEN, as_json({"id": 41, "state": "DRAFT"}, 201))},
            "make.capture.where", id="a header is missing",
        ),
        pytest.param(
            {"__orders": only(ADMIN_TOKEN, Answer(b'{"id": 41, "state": "DRAFT"}', 201, {"Location": "/orders/41"}))},
            "make.header.content-type", id="another type of content",
        ),
        pytest.param(
            {"__orders": only(ADMIN_TOKEN, lambda request: made_wrongly())}, "make.body.state", id="made wrongly"
        ),
        pytest.param(
            {"__orders__41": as_json({"id": 42})}, "read.body.id", id="another object than the one that was made"
        ),
        pytest.param({"__orders__41": as_json({"id": 41}, after_s=5.1)}, "read.time_ms", id="too slow"),
        pytest.param({"__orders__41__pay": as_json({"state": "PAID"})}, "pay-too-early.status", id="pays too early"),
        pytest.param({"__orders__41__pay": Answer(status=302, headers={"Location": "/"})}, "pay-too-early.status",
                     id="a redirect is an answer"),
        pytest.param({"__checksums": as_json({"files": {}})}, "files.sha256", id="another document than announced"),
        pytest.param({"__files__a.json": Answer(status=404)}, "files.files.missing", id="a file is missing"),
        pytest.param({"__files__a.json": Answer(status=500)}, "files.files.missing", id="a file cannot be had"),
        pytest.param({"__files__a.json": Answer(b'{"a": 2}')}, "files.files.mismatches", id="a file was changed"),
        pytest.param({"__files__a.json": Answer(b"")}, "files.files.mismatches", id="a file is empty"),
        pytest.param({"__orders__41__undo": Answer(status=500)}, "cleanup.undo.status", id="the clean-up fails"),
        pytest.param({"__logout": Answer(status=404)}, "cleanup.logout.status", id="the last clean-up fails"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_the_only_red_finding(walk: RunModule, pages: dict[str, Page], only_red: str) -> None:
    with application(**pages) as web:
        result = walk(web.address)
    assert red(result) == [only_red]
    assert result["verdicts"][0]["ok"] is False
    assert [request.path for request in web.asked][-1] == "/logout", "clean-up runs whatever happened"


@pytest.mark.parametrize(
    ("listed", "only_red"),
    [
        pytest.param({}, "files.files.listed", id="no file"),
        pytest.param({"a.json": "md5"}, "files.files.listed", id="no SHA-256"),
        pytest.param(["a.json"], "files.files.listed", id="names alone"),
        pytest.param({"../../login": CHECKSUMS["a.json"]}, "files.files.listed", id="a name that leads elsewhere"),
        pytest.param({f"{n}": CHECKSUMS["a.json"] for n in range(1001)}, "files.files.listed", id="too many files"),
        pytest.param([["a.json", CHECKSUMS["a.json"]]], None, id="pairs of name and checksum"),
    ],
)
def test_what_lists_no_files_is_not_verified(walk: RunModule, listed: Any, only_red: str | None) -> None:
    with application(__checksums=as_json({"files": listed})) as web:
        files = step("files", "/checksums", files={"listed": "files", "path": "/files/{file}"})
        result = walk(web.address, [files])
    assert red(result) == ([only_red] if only_red else [])
    assert all(request.path in ("/checksums", "/files/a.json") for request in web.asked)


def test_without_report_only_a_finding_fails_the_task_in_words(walk: RunModule) -> None:
    with application(__orders__41__pay=as_json({"state": "PAID"})) as web:
        result = walk(web.address, report_only=False)
    assert result["failed"] is True
    assert "pay-too-early.status: expected 409, observed 200" in result["msg"]
    assert result["changed"] is True


def test_the_answer_of_a_step_that_failed_is_kept_whole_and_masked(walk: RunModule) -> None:
    aloud = as_json({"detail": f"you said {VIEWER_TOKEN}, he {ADMIN_TOKEN}", "password": PASSWORD}, 500)
    with application(__orders__41__pay=aloud) as web:
        result = walk(web.address)
    kept = {record["step"]: record for record in result["verdicts"][0]["recorded"]["steps"]}
    assert json.loads(kept["pay-too-early"]["body"]) == {"detail": "you said ***, he ***", "password": "***"}
    assert "body" not in kept["vendors"]
    assert kept["vendors"]["request"] == "GET /vendors"
    assert kept["undo"]["status"] == 204


# --- waiting ----------------------------------------------------------------------------------------------------------


def turning(after: int) -> Page:
    """RUNNING, until it has been asked so many times."""
    asked: list[int] = []

    def page(request: Request) -> Answer:
        asked.append(1)
        return as_json({"state": "DONE" if len(asked) > after else "RUNNING"})

    return page


def poll(wait_s: float) -> dict[str, Any]:
    expected = {"status": [200], "body": {"state": "DONE"}, "wait_s": wait_s, "every_s": 0.1}
    return step("poll", "/job", expected=expected)


def test_a_step_is_asked_until_it_is_as_expected(walk: RunModule) -> None:
    with serving({"/job": turning(3)}) as web:
        result = walk(web.address, [poll(10)])
    assert red(result) == []
    assert len(web.asked) == 4


def test_a_step_that_never_comes_right_is_asked_for_so_long_and_no_longer(walk: RunModule) -> None:
    started = time.monotonic()
    with serving({"/job": turning(10**6)}) as web:
        result = walk(web.address, [poll(1)], timeout_s=0.5)
    assert red(result) == ["poll.body.state"]
    assert 1 <= time.monotonic() - started < 4
    assert 3 <= len(web.asked) <= 12


# --- clean-up ---------------------------------------------------------------------------------------------------------


def test_clean_up_has_time_of_its_own_when_a_step_hangs(walk: RunModule) -> None:
    started = time.monotonic()
    with application(__orders__41=Answer(after_s=20)) as web:
        result = walk(web.address, timeout_s=2)
        assert red(result) == ["read.status"]
        assert "did not answer in time" in findings(result)["read.status"]["cause"]
        assert {"cleanup.undo.status", "cleanup.logout.status"} <= set(green(result))
        assert time.monotonic() - started < 8


def test_a_clean_up_that_hangs_leaves_time_for_the_next(walk: RunModule) -> None:
    started = time.monotonic()
    with application(__orders__41__undo=Answer(after_s=20)) as web:
        result = walk(web.address, target={"cleanup_timeout_s": 2})
        assert red(result) == ["cleanup.undo.status"]
        assert "cleanup.logout.status" in green(result)
        assert time.monotonic() - started < 8


def test_clean_up_that_needs_no_value_is_tried_even_when_nothing_was_answered(walk: RunModule) -> None:
    with application(__login=Answer(after_s=20)) as web:
        result = walk(web.address, timeout_s=1)
        assert red(result) == ["reachable"]
        assert [request.path for request in web.asked] == ["/login", "/logout"]


def test_what_was_made_wrongly_is_undone_and_a_failure_of_that_is_a_finding_of_its_own(walk: RunModule) -> None:
    wrongly = only(ADMIN_TOKEN, lambda request: made_wrongly())
    with application(__orders=wrongly, __orders__41__undo=Answer(status=500)) as web:
        result = walk(web.address)
    assert red(result) == ["cleanup.undo.status", "make.body.state"]
    assert "cleanup.logout.status" in green(result)


def test_what_was_never_made_is_not_undone(walk: RunModule) -> None:
    with application(__orders=only(ADMIN_TOKEN, Answer(status=500))) as web:
        result = walk(web.address)
    assert red(result) == ["make.status"]
    assert findings(result)["cleanup.undo.status"]["status"] == "skipped"
    assert "/orders/41/undo" not in [request.path for request in web.asked]


# --- check mode -------------------------------------------------------------------------------------------------------


def test_in_check_mode_nothing_is_sent_that_may_change_something_and_that_is_no_pass(walk: RunModule) -> None:
    harmless = [STEPS[0] | {"changes": False}, *STEPS[1:]]
    with application() as web:
        result = walk(web.address, harmless, CLEANUP, _ansible_check_mode=True)
    assert [request.path for request in web.asked] == ["/login", "/vendors"]
    assert result["changed"] is False
    assert result["verdicts"][0]["ok"] is False
    found = findings(result)
    assert found["refused.status"]["status"] == "error"
    assert "check mode" in found["refused.status"]["cause"]
    assert found["files.files.mismatches"] | {"expected": None} == found["files.files.mismatches"] | {
        "expected": None, "status": "skipped", "cause": "refused.status",
    }  # fmt: skip
    assert found["cleanup.logout.status"]["status"] == "error"
    assert "vendors.body.length(items)" in green(result)


def test_in_check_mode_a_journey_that_begins_with_a_change_is_not_begun(walk: RunModule) -> None:
    with application() as web:
        result = walk(web.address, _ansible_check_mode=True)
    assert web.asked == []
    assert red(result) == ["reachable"]
    assert green(result) == []
    assert result["changed"] is False


def test_in_check_mode_a_journey_that_changes_nothing_is_walked(walk: RunModule) -> None:
    recall = step("recall", "/vendors", **{"as": "viewer"})
    with application() as web:
        result = walk(web.address, [recall], _ansible_check_mode=True)
    assert (red(result), result["changed"]) == ([], False)


# --- servers that do not behave ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", [*misbehaving.BEHAVIOURS.values()], ids=[*misbehaving.BEHAVIOURS])
def test_a_server_that_does_not_behave_is_red_in_time(walk: RunModule, behaviour: misbehaving.Behaviour) -> None:
    started = time.monotonic()
    with misbehaving.listening(behaviour) as port:
        result = walk(
            f"http://127.0.0.1:{port}",
            [step(expected={"status": [200], "body": {"id": 1}}), step("two")],
            [step("undo")],
            timeout_s=1,
            target={"cleanup_timeout_s": 1},
        )
        took_s = time.monotonic() - started
    assert len(red(result)) in (1, 2), red(result)
    assert red(result)[-1] in ("reachable", "one.body.id"), red(result)
    assert findings(result)["two.status"]["status"] == "skipped"
    assert took_s < 6


@pytest.mark.parametrize("line", [b"X-Drip: 1\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"], ids=["headers", "continues"])
def test_a_header_without_end_does_not_use_up_the_time_for_cleaning_up(walk: RunModule, line: bytes) -> None:
    def behaviour(connection: socket.socket, stop: threading.Event) -> None:
        if b"/slow" not in connection.recv(4096):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        connection.sendall(b"HTTP/1.1 200 OK\r\n" if b"X-" in line else b"")
        while not stop.wait(0.05):
            connection.sendall(line)

    started = time.monotonic()
    with misbehaving.listening(behaviour) as port:
        result = walk(f"http://127.0.0.1:{port}", [step(), step("two", "/slow")], [step("undo")], timeout_s=1)
        assert time.monotonic() - started < 6
    assert red(result) == ["two.status"]
    assert "cleanup.undo.status" in green(result)


def test_nobody_there_is_one_finding_with_its_cause(walk: RunModule) -> None:
    result = walk(f"http://127.0.0.1:{misbehaving.refusing_port()}")
    assert red(result) == ["reachable"]
    assert "refused" in findings(result)["reachable"]["cause"].lower()


def test_an_answer_of_more_than_ten_megabytes_is_not_read_to_its_end(walk: RunModule) -> None:
    with serving(PAGES | {"/files/a.json": Answer(b"x" * (10 * 1024 * 1024 + 1))}) as web:
        result = walk(web.address)
    assert red(result) == ["files.files.listed"]
    assert "larger than" in findings(result)["files.files.listed"]["cause"]


def test_a_certificate_that_is_not_trusted_gets_no_password(walk: RunModule, tmp_path: Path) -> None:
    pair = misbehaving.certificate(tmp_path)
    with serving(PAGES, tls=misbehaving.tls_server(*pair)) as web:
        assert red(walk(web.address)) == ["reachable"]
        assert web.asked == []
        assert red(walk(web.address, target={"ca_path": str(pair[0])})) == []


def test_one_journey_that_hangs_does_not_hold_up_another(run_module: RunModule) -> None:
    with serving({"/x": Answer(), "/slow": Answer(after_s=20)}) as web:
        started = time.monotonic()
        journeys = [
            {"name": "slow", "address": web.address, "steps": [step(path="/slow")]},
            {"name": "quick", "address": web.address, "steps": [step()]},
        ]
        result = run_module(journey_check, targets=journeys, timeout_s=1, report_only=True)
        assert time.monotonic() - started < 4
    assert (red(result, "slow"), red(result, "quick")) == (["reachable"], [])


# --- what a hostile server answers ------------------------------------------------------------------------------------

HOSTILE = [
    "{{ 7 * 7 }}",
    "{password}",
    "../../admin",
    "?role=ADMIN",
    "a#b",
    "%2e%2e",
    "a/b\\..",
    "x\r\nX-Admin: 1",
    "ü€",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_what_a_server_answers_is_sent_on_as_a_plain_value(walk: RunModule, value: str) -> None:
    steps = [
        step("first", "/first", capture={"it": "it"}),
        step("body", "/body", method="POST", json={"whole": "{it}", "within": "<{it}>"}),
        step("path", "/orders/{it}/sign?by={it}", expected={"status": [404]}),
    ]
    with serving({"/first": as_json({"it": value}), "/body": Answer()}) as web:
        result = walk(web.address, steps)
    assert red(result) == []
    assert json.loads(web.asked[1].body) == {"whole": value, "within": f"<{value}>"}
    path, _, query = web.asked[2].path.partition("?")
    assert [unquote(part) for part in path.split("/")] == ["", "orders", value, "sign"]
    assert unquote(query) == f"by={value}"
    assert "x-admin" not in web.asked[2].headers


@pytest.mark.parametrize("value", ["..", ".", ""])
def test_a_value_that_would_lead_elsewhere_is_not_sent(walk: RunModule, value: str) -> None:
    steps = [step("first", "/first", capture={"it": "[it][0]"}), step("path", "/users/{it}", method="DELETE")]
    with serving({"/first": as_json({"it": value})}) as web:
        result = walk(web.address, steps)
    assert red(result) == (["path.status"] if value else ["first.capture.it"])
    assert len(web.asked) == 1


def test_a_value_that_would_end_a_header_is_not_sent(walk: RunModule) -> None:
    steps = [step("first", "/first", capture={"it": "it"}), step("second", headers={"X-It": "{it}"})]
    with serving({"/first": as_json({"it": "a\r\nX-Admin: 1"})}) as web:
        result = walk(web.address, steps)
    assert red(result) == ["second.status"]
    assert len(web.asked) == 1


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"it": NaN}', b"\xff\xfe", b'{"it": "\\ud800"}', b'{"it": ' + b"9" * 5000 + b"}"]
)
def test_json_that_cannot_be_read_or_sent_on_is_an_error_and_no_pass(walk: RunModule, body: bytes) -> None:
    steps = [step("first", "/first", capture={"it": "it"}), step("second", "/second/{it}")]
    with serving({"/first": Answer(body)}) as web:
        result = walk(web.address, steps)
    assert len(red(result)) == 1
    assert "second.status" not in green(result)
    assert len(web.asked) == 1


# --- identities and secrets -------------------------------------------------------------------------------------------


def reflecting(request: Request) -> Answer:
    """Says everything it was told, in every way."""
    told = {"headers": dict(request.headers), "body": request.body.decode(), "path": request.path}
    said = {"X-Echo": request.headers.get("authorization", "none"), "Content-Type": "application/json"}
    return Answer(json.dumps(told).encode(), 500, said)


def test_no_secret_leaves_by_whatever_the_server_reflects(walk: RunModule) -> None:
    told = step(
        "told", "/echo/{password}?token={admin_token}", method="POST", json={"password": "{password}"},
        expected={"status": [500], "body": {"body": "x"}}, **{"as": "admin"},
    )  # fmt: skip
    later = step("viewer", "/echo", expected={"status": [200], "headers": {"X-Echo": "x"}}, **{"as": "viewer"})
    for steps in ([STEPS[0], told], [STEPS[0], later]):
        with serving(PAGES | {f"/echo/{PASSWORD}?token={ADMIN_TOKEN}": reflecting, "/echo": reflecting}) as web:
            result = walk(web.address, [one | {"record": True} for one in steps])
        assert len(web.asked) == 2
        text = json.dumps(result)
        assert [secret for secret in (PASSWORD, ADMIN_TOKEN, VIEWER_TOKEN) if secret in text] == []
        assert len(red(result)) == 1


def test_a_server_that_breaks_off_in_the_middle_of_a_secret_tells_none(walk: RunModule) -> None:
    def page(request: Request) -> Answer:
        return Answer(b"x" * 16380 + ADMIN_TOKEN.encode() + b"y" * 100, 500)

    with application(__orders__41=page) as web:
        text = json.dumps(walk(web.address))
    assert ADMIN_TOKEN[:10] not in text


def test_each_identity_has_its_own_cookies_and_nobody_has_none(walk: RunModule) -> None:
    def session(request: Request) -> Answer:
        return Answer(headers={"Set-Cookie": "session=0123456789abcdef0123; Path=/"})

    steps = [
        step("login", "/session", **{"as": "browser"}),
        step("again", **{"as": "browser"}),
        step("stranger"),
        step("other", expected={"status": [200], "text": "nothing like it"}, **{"as": "other"}),
    ]
    identities = [{"name": "browser"}, {"name": "other"}]
    with serving({"/session": session, "/x": reflecting_well}) as web:
        result = walk(web.address, steps, identities=identities)
    assert [request.headers.get("cookie") for request in web.asked] == [
        None,
        "session=0123456789abcdef0123",
        None,
        None,
    ]
    assert red(result) == ["other.text"]
    assert "0123456789abcdef0123" not in json.dumps(result)


def reflecting_well(request: Request) -> Answer:
    return as_json({"cookie": request.headers.get("cookie"), "plain": "0123456789abcdef0123"})


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"identities": [*IDENTITIES[:1], {"name": "viewer", "token": ""}]}, id="empty token"),
        pytest.param({"secrets": [{"name": "password", "value": ""}]}, id="empty secret"),
    ],
)
def test_a_secret_that_is_missing_keeps_everything_from_being_sent(walk: RunModule, options: dict[str, Any]) -> None:
    with application() as web:
        result = walk(web.address, **options)
    assert red(result) == ["reachable"]
    assert "is empty" in findings(result)["reachable"]["cause"]
    assert web.asked == []


def test_another_header_takes_a_token_as_it_is(walk: RunModule) -> None:
    identities = [{"name": "robot", "token": "key-0815-4711", "header": "X-Api-Key", "scheme": ""}]
    with serving({"/x": Answer()}) as web:
        assert red(walk(web.address, [step(**{"as": "robot"})], identities=identities)) == []
    assert web.asked[0].headers["x-api-key"] == "key-0815-4711"
    assert "authorization" not in web.asked[0].headers


@pytest.fixture(scope="module")
def vault(openbao: servers.OpenBao) -> dict[str, Any]:
    """An engine with the tokens of the application, and a login that may read them and nothing else."""
    client = openbao.client()
    client.sys.enable_secrets_engine("kv", path="journeys", options={"version": "2"})
    servers.wait_until(
        lambda: bool(
            client.secrets.kv.v2.create_or_update_secret(
                "app", {"viewer": VIEWER_TOKEN, "password": PASSWORD, "empty": ""}, mount_point="journeys"
            )
        ),
        what="the KV engine",
    )
    client.sys.create_or_update_policy("journeys", 'path "journeys/data/app" { capabilities = ["read"] }')
    client.sys.enable_auth_method("approle", path="journeys")
    client.auth.approle.create_or_update_approle("journeys", token_policies=["journeys"], mount_point="journeys")
    role_id = client.auth.approle.read_role_id("journeys", mount_point="journeys")["data"]["role_id"]
    secret_id = client.auth.approle.generate_secret_id("journeys", mount_point="journeys")["data"]["secret_id"]
    return {"address": openbao.address, "role_id": role_id, "secret_id": secret_id, "approle_mount": "journeys"}


def from_vault(key: str = "viewer", path: str = "journeys/app") -> dict[str, Any]:
    identities = [IDENTITIES[0], {"name": "viewer", "vault_path": path, "vault_key": key}]
    secrets = [{"name": "password", "vault_path": path, "vault_key": "password"}]
    return {"identities": identities, "secrets": secrets}


def test_tokens_and_secrets_come_from_vault(walk: RunModule, vault: dict[str, Any]) -> None:
    with application() as web:
        result = walk(web.address, vault=vault, **from_vault())
    assert red(result) == []
    text = json.dumps(result)
    assert [secret for secret in (PASSWORD, ADMIN_TOKEN, VIEWER_TOKEN, vault["secret_id"]) if secret in text] == []


def test_a_token_of_the_version_before_is_another(
    walk: RunModule, vault: dict[str, Any], openbao: servers.OpenBao
) -> None:
    keep = openbao.client().secrets.kv.v2
    old = {"name": "old", "vault_path": "journeys/rotated", "vault_key": "viewer", "vault_versions_back": 1}
    new = old | {"name": "new", "vault_versions_back": 0}
    steps = [step(name=who, **{"as": who}) for who in ("old", "new")]
    root = {"address": vault["address"], "token": openbao.root_token}
    keep.create_or_update_secret("rotated", {"viewer": "old-4711-token"}, mount_point="journeys")
    with serving({"/x": Answer()}) as web:
        never = walk(web.address, steps, vault=root, identities=[old, new])
        keep.create_or_update_secret("rotated", {"viewer": "new-4712-token"}, mount_point="journeys")
        assert red(walk(web.address, steps, vault=root, identities=[old, new])) == []
    assert red(never) == ["reachable"]
    assert "its newest version is 1: there is none 1 before it" in findings(never)["reachable"]["cause"]
    assert [asked.headers["authorization"] for asked in web.asked] == [
        "Bearer old-4711-token", "Bearer new-4712-token",
    ]  # fmt: skip


def test_a_token_serves_to_read_vault_too(walk: RunModule, vault: dict[str, Any], openbao: servers.OpenBao) -> None:
    with application() as web:
        by_token = {"address": vault["address"], "token": openbao.root_token}
        assert red(walk(web.address, vault=by_token, **from_vault())) == []


@pytest.mark.parametrize(
    ("change", "where", "cause"),
    [
        pytest.param({}, {"key": "nobody"}, "no text under the key 'nobody'", id="no such key"),
        pytest.param({}, {"key": "empty"}, "no text under the key 'empty'", id="an empty value"),
        pytest.param({}, {"path": "journeys/other"}, "refused (403)", id="forbidden path"),
        pytest.param({"secret_id": "wrong-secret-id"}, {}, "the server refused", id="wrong login"),
        pytest.param({"address": "http://127.0.0.1:9"}, {}, "Vault at http://127.0.0.1:9", id="nobody there"),
    ],
)
def test_what_vault_does_not_give_keeps_everything_from_being_sent(
    walk: RunModule, vault: dict[str, Any], change: dict[str, str], where: dict[str, str], cause: str
) -> None:
    with application() as web:
        result = walk(web.address, vault=vault | change, **from_vault(**where))
    assert red(result) == ["reachable"]
    assert cause in findings(result)["reachable"]["cause"]
    assert web.asked == []


def test_a_journey_that_needs_nothing_of_vault_does_not_ask_it(walk: RunModule) -> None:
    with serving({"/x": Answer()}) as web:
        assert red(walk(web.address, [step()], vault={"address": "http://127.0.0.1:9"}, **from_vault())) == []


def test_a_vault_that_hangs_is_red_in_time(walk: RunModule) -> None:
    started = time.monotonic()
    with misbehaving.listening(misbehaving.hangs) as port, application() as web:
        vault = {"address": f"http://127.0.0.1:{port}", "token": "hvs.root"}
        result = walk(web.address, vault=vault, timeout_s=1, target={"cleanup_timeout_s": 1}, **from_vault())
        assert red(result) == ["reachable"]
        assert web.asked == []
    assert time.monotonic() - started < 6


# --- argument errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        pytest.param([step(), step("two", "/{ghost}")], "nothing before it has that name", id="unknown name"),
        pytest.param(
            [step(), step("two", expected={"status": [200], "body": {"a[": 1}})], "not a JMESPath expression", id="expr"
        ),
        pytest.param([step(), step("two", capture={"n": "lenght(items)"})], "calls lenght()", id="function"),
        pytest.param([step(), step("two", capture={"n": "a.[b, {c: foo(d)}]"})], "calls foo()", id="function within"),
        pytest.param([], "has no step", id="no step"),
    ],
)
def test_what_is_written_wrongly_is_refused_before_anything_is_sent(
    walk: RunModule, steps: list[dict[str, Any]], message: str
) -> None:
    with serving({"/x": Answer()}) as web:
        result = walk(web.address, steps, [])
    assert result["failed"] is True
    assert message in result["msg"]
    assert web.asked == []


def test_a_credential_in_a_step_is_refused_and_not_told(walk: RunModule) -> None:
    result = walk("http://127.0.0.1:9", [step(json={"password": "hunter2-hunter2"}, method="POST")])
    assert result["failed"] is True
    assert "declare it in secrets" in result["msg"].lower()
    assert "hunter2" not in json.dumps(result)


# --- through Ansible --------------------------------------------------------------------------------------------------


def test_not_even_the_most_talkative_playbook_tells_a_secret(tmp_path: Path) -> None:
    """Both ways out of the module, at -vvv: as it should be, and failed by a server that says everything aloud."""
    with serving(PAGES | {"/orders": reflecting}) as web:
        arguments = {
            "identities": IDENTITIES,
            "secrets": SECRETS,
            "targets": [{"name": "journey", "address": web.address, "steps": STEPS, "cleanup": CLEANUP}],
        }
        tasks = [
            {"name": "Report", "journey_check": arguments | {"report_only": True}},
            {"name": "Fail", "journey_check": arguments},
        ]
        playbook = tmp_path / "play.yml"
        playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
        done = subprocess.run(
            [str(Path(sys.executable).parent / "ansible-playbook"), "-vvv", "-i", "localhost,", "-c", "local",
             "-e", f"ansible_python_interpreter={sys.executable}", str(playbook)],
            cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL,
            env=os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")},
        )  # fmt: skip
    output = done.stdout + done.stderr
    assert done.returncode == 2, output
    assert "refused.status: expected 403, observed 500" in output
    assert [secret for secret in (PASSWORD, ADMIN_TOKEN, VIEWER_TOKEN) if secret in output] == []
