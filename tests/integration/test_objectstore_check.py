# SPDX-License-Identifier: GPL-3.0-or-later
"""objectstore_check against a real S3 server, and against servers that do not behave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import misbehaving
import objectstore_check
import objectstores
import pytest
import requests
import web
from cutover.sigv4 import Credentials, signed_headers
from findings import findings, green, red
from web import Answer, Request

RunModule = Callable[..., dict[str, Any]]

EXPECTED: dict[str, Any] = {"anonymous_refused": True, "default_credentials_refused": True, "buckets": ["app"]}


def create_bucket(server: objectstores.Objectstore, name: str) -> None:
    """What an administrator does before the application comes."""
    address = f"{server.address}/{name}"
    credentials = Credentials(server.access_key, server.secret_key)
    headers = signed_headers("PUT", address, credentials, region="us-east-1", now=datetime.now(UTC))
    requests.put(address, headers=headers, timeout=5).raise_for_status()


@pytest.fixture(scope="module")
def objectstore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[objectstores.Objectstore]:
    """A server with the bucket that EXPECTED names."""
    with objectstores.start_objectstore(tmp_path_factory.mktemp("objectstore")) as server:
        create_bucket(server, "app")
        yield server


@pytest.fixture
def check(objectstore: objectstores.Objectstore, run_module: RunModule) -> RunModule:
    """Run the module on the server as a playbook would; keywords replace parts of what is expected."""

    def run(target: dict[str, Any] | None = None, **expected: Any) -> dict[str, Any]:
        return look(run_module, objectstore, target, **(expected or EXPECTED))

    return run


def look(
    run_module: RunModule, server: objectstores.Objectstore, target: dict[str, Any] | None = None, **expected: Any
) -> dict[str, Any]:
    known = {"access_key": server.access_key, "secret_key": server.secret_key}
    wanted = {"name": "objectstore", "address": server.address} | (known if target is None else target)
    return run_module(objectstore_check, targets=[wanted], expected=expected, report_only=True)


def test_a_server_as_declared_is_green_in_every_finding(check: RunModule) -> None:
    result = check()
    assert red(result) == []
    assert set(green(result)) == {
        "reachable", "anonymous", "bucket.app.anonymous", "default_credentials", "login", "bucket.app",
    }  # fmt: skip


def test_a_bucket_that_is_not_there_is_red(check: RunModule) -> None:
    result = check(buckets=["app", "absent"])
    assert red(result) == ["bucket.absent"]
    assert findings(result)["bucket.absent"]["observed"] == "not there"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        pytest.param({"access_key": "application", "secret_key": "not-the-one"}, "SignatureDoesNotMatch", id="secret"),
        pytest.param({"access_key": "somebody-else", "secret_key": "not-the-one"}, "InvalidAccessKeyId", id="key"),
        pytest.param({}, "names no access_key", id="no credentials"),
    ],
)
def test_a_login_that_fails_skips_what_needs_it(check: RunModule, target: dict[str, Any], words: str) -> None:
    result = check(target, **EXPECTED)
    assert red(result) == ["login"]
    assert words in f"{findings(result)['login']['observed']} {findings(result)['login']['cause']}"
    assert findings(result)["bucket.app"]["cause"] == "login"
    assert red(check(target, login=True)) == ["login"]


def test_default_credentials_that_are_accepted_are_named(folder: Path, run_module: RunModule) -> None:
    with objectstores.start_objectstore(folder, access_key="minioadmin", secret_key="minioadmin") as server:
        create_bucket(server, "app")
        unnamed = look(run_module, server, {}, default_credentials_refused=True, anonymous_refused=True)
    assert red(unnamed) == ["default_credentials"]
    assert findings(unnamed)["default_credentials"]["observed"] == ["minioadmin:minioadmin"]


def s3(granted: Callable[[Request], bool]) -> web.Page:
    """A server that grants what it is told to."""

    def answer(request: Request) -> Answer:
        if granted(request):
            return Answer(b"<ListAllMyBucketsResult/>", headers={"Content-Type": "application/xml"})
        return Answer(b"<Error><Code>AccessDenied</Code></Error>", 403, {"Content-Type": "application/xml"})

    return answer


@pytest.mark.parametrize(
    ("granted", "only"),
    [
        pytest.param(lambda request: request.path == "/", ["anonymous"], id="anybody may list the buckets"),
        pytest.param(lambda request: request.path != "/", ["bucket.app.anonymous"], id="a public bucket"),
        pytest.param(lambda request: False, [], id="nobody may do anything"),
    ],
)
def test_what_strangers_may_do_is_red(
    granted: Callable[[Request], bool], only: list[str], run_module: RunModule
) -> None:
    page = s3(lambda request: "authorization" in request.headers or granted(request))
    with web.serving({"/": page, "/app?list-type=2&max-keys=1": page}) as server:
        target = {"name": "objectstore", "address": server.address, "access_key": "a", "secret_key": "not-the-one"}
        expected = {"anonymous_refused": True, "buckets": ["app"]}
        result = run_module(objectstore_check, targets=[target], expected=expected, report_only=True)
    assert red(result) == only


def test_a_clock_that_is_wrong_is_not_taken_for_a_refusal(run_module: RunModule) -> None:
    skewed = Answer(b"<Error><Code>RequestTimeTooSkewed</Code></Error>", 403)
    with web.serving({"/": skewed}) as server:
        target = {"name": "objectstore", "address": server.address, "access_key": "a", "secret_key": "not-the-one"}
        expected = {"login": True, "default_credentials_refused": True}
        result = run_module(objectstore_check, targets=[target], expected=expected, report_only=True)
    assert red(result) == ["default_credentials", "login"]
    assert "RequestTimeTooSkewed" in findings(result)["default_credentials"]["cause"]


def test_no_secret_leaves_the_module(check: RunModule, objectstore: objectstores.Objectstore) -> None:
    assert objectstore.secret_key not in str(check())
    assert "not-the-one" not in str(check({"access_key": "application", "secret_key": "not-the-one"}))


@pytest.mark.parametrize("name", misbehaving.BEHAVIOURS)
def test_a_server_that_misbehaves_is_one_finding_with_a_cause(name: str, run_module: RunModule) -> None:
    with misbehaving.listening(misbehaving.BEHAVIOURS[name]) as port:
        target = {"name": "objectstore", "address": f"http://127.0.0.1:{port}"}
        result = run_module(objectstore_check, targets=[target], expected=EXPECTED, timeout_s=1.0, report_only=True)
    assert red(result) == ["reachable"]
    assert findings(result)["reachable"]["cause"]
    assert result["verdicts"][0]["took_ms"] < 20_000


def test_a_closed_port_and_a_bad_certificate_are_findings_with_a_cause(folder: Path, run_module: RunModule) -> None:
    with web.serving({}, tls=misbehaving.tls_server(*misbehaving.certificate(folder))) as server:
        targets = [
            {"name": "closed", "address": f"http://127.0.0.1:{misbehaving.refusing_port()}"},
            {"name": "untrusted", "address": server.address},
        ]
        result = run_module(objectstore_check, targets=targets, expected=EXPECTED, report_only=True)
    assert red(result, "closed") == red(result, "untrusted") == ["reachable"]
    assert "refused" in findings(result, "closed")["reachable"]["cause"]
    assert "self-signed" in findings(result, "untrusted")["reachable"]["cause"]


def test_many_targets_are_looked_at_together_and_a_slow_one_holds_up_none(
    objectstore: objectstores.Objectstore, run_module: RunModule
) -> None:
    with misbehaving.listening(misbehaving.hangs) as port:
        targets = [{"name": f"store-{number}", "address": objectstore.address} for number in range(20)]
        targets[3] = {"name": "hangs", "address": f"http://127.0.0.1:{port}"}
        result = run_module(
            objectstore_check, targets=targets, expected={"anonymous_refused": True}, timeout_s=2.0, report_only=True
        )
    assert [verdict["subject"] for verdict in result["verdicts"] if not verdict["ok"]] == ["hangs"]


def test_without_report_only_a_red_finding_fails_the_task(
    objectstore: objectstores.Objectstore, run_module: RunModule
) -> None:
    target = {"name": "objectstore", "address": objectstore.address}
    result = run_module(objectstore_check, targets=[target], expected={"login": True})
    assert result["failed"]
    assert "login: the target names no access_key" in result["msg"]


@pytest.mark.parametrize(
    ("target", "expected", "words"),
    [
        pytest.param({}, {}, "implies no check", id="nothing expected"),
        pytest.param({}, {"buckets": ["a", "a"]}, "implied twice", id="a bucket twice"),
        pytest.param({"access_key": "a"}, {"login": True}, "secret_key", id="half of the credentials"),
        pytest.param({"address": "http://a:s3cret-word@h"}, {"login": True}, "holds a password", id="in the address"),
    ],
)
def test_a_wrong_inventory_is_refused_before_anything_is_looked_at(
    target: dict[str, Any], expected: dict[str, Any], words: str, run_module: RunModule
) -> None:
    wanted = {"name": "objectstore", "address": "http://127.0.0.1:1"} | target
    result = run_module(objectstore_check, targets=[wanted], expected=expected, report_only=True)
    assert result["failed"]
    assert words in result["msg"]
    assert "s3cret-word" not in str(result)
