# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of an endpoint's answer, from the answer alone."""

from __future__ import annotations

import errno
import json
import socket
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cutover import observe_tls
from cutover.checks import CannotObserve, ExpectationError, Known, judge
from cutover.judge_endpoint import (
    READY_SHAPES,
    EndpointObservation,
    Tls,
    Waited,
    at_path,
    dependencies,
    endpoint_checks,
    listed,
    patience,
    ready_shape,
    same_json,
    steps,
    wait_s_of,
)
from cutover.pool import Deadline
from cutover.verdict import Finding, Status
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 1, 1, tzinfo=UTC)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=8,
)


def answered(document: Any = None, **parts: Any) -> EndpointObservation:
    """An answer with this JSON as its body."""
    known = {"observed_at": NOW, "status": 200, "headers": {}, "answered_ms": 10}
    return EndpointObservation(**(known | {"body": json.dumps(document).encode()} | parts))


def judged(seen: EndpointObservation | CannotObserve, **expected: Any) -> dict[str, Finding]:
    findings = judge(endpoint_checks(expected), seen, reachable_remedy="start it")
    return {finding.check: finding for finding in findings}


def status_of(seen: EndpointObservation, check: str, **expected: Any) -> Status:
    return judged(seen, **expected)[check].status


# --- JSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param(True, 1, False, id="true is no number"),
        pytest.param(0, False, False, id="0 is not false"),
        pytest.param(1, 1.0, True, id="1 and 1.0 are one number"),
        pytest.param("1", 1, False, id="a text is no number"),
        pytest.param(None, "", False, id="null is not empty"),
        pytest.param({"a": 1, "b": [True]}, {"b": [True], "a": 1}, True, id="the order of names means nothing"),
        pytest.param([1, 2], [2, 1], False, id="the order of a list does"),
        pytest.param({"a": 1}, {"a": 1, "b": None}, False, id="a null is there"),
        pytest.param({"a": [1]}, {"a": [True]}, False, id="true deep within is no number either"),
        pytest.param([], {}, False, id="a list is no object"),
    ],
)
def test_json_values_are_the_same_or_not(one: Any, other: Any, same: bool) -> None:
    assert same_json(one, other) is same


@given(JSON_VALUES)
def test_a_value_is_the_same_as_what_is_read_back_from_its_text(value: Any) -> None:
    assert same_json(value, json.loads(json.dumps(value)))


@given(JSON_VALUES, JSON_VALUES)
def test_sameness_needs_equality_and_takes_no_side(one: Any, other: Any) -> None:
    assert same_json(one, other) is same_json(other, one)
    assert one == other or not same_json(one, other)


@given(JSON_VALUES, JSON_VALUES)
def test_no_other_document_makes_a_value_pass(expected: Any, document: Any) -> None:
    found = judged(answered(document), json_equals=expected)["json.equals"]
    assert (found.status is Status.PASS) is same_json(expected, document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("checks.redis.ok", True, id="names"),
        pytest.param("items.0.id", 7, id="a list's index"),
        pytest.param("a\\.b.c", 1, id="a dot within a name"),
        pytest.param("none", None, id="null is a value"),
        pytest.param("0", "zero", id="a name that is a number"),
    ],
)
def test_a_path_leads_to_its_value(path: str, value: Any) -> None:
    document = {"checks": {"redis": {"ok": True}}, "items": [{"id": 7}], "a.b": {"c": 1}, "none": None, "0": "zero"}
    assert at_path(steps(path), document) == value


@pytest.mark.parametrize(
    ("path", "words"),
    [
        pytest.param("checks.vault", "checks has no 'vault'; it has: redis", id="another name"),
        pytest.param("none.a", "none is null", id="below null"),
        pytest.param("items.1", "items is a list of 1", id="beyond a list"),
        pytest.param("items.-1", "items is a list of 1", id="a list has no end to count from"),
        pytest.param("items.x", "there is no element 'x'", id="a name in a list"),
        pytest.param("x", "the body has no 'x'", id="at the top"),
    ],
)
def test_a_path_that_leads_nowhere_says_where_it_ends(path: str, words: str) -> None:
    document = {"checks": {"redis": 1}, "items": [1], "none": None}
    with pytest.raises(CannotObserve, match=words):
        at_path(steps(path), document)


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b"])
def test_a_path_with_an_empty_step_is_refused(path: str) -> None:
    with pytest.raises(ExpectationError, match="empty step"):
        steps(path)


@given(JSON_VALUES, st.text(min_size=1).filter(lambda name: "." not in name and "\\" not in name))
def test_a_path_into_any_document_gives_a_value_or_a_reason(document: Any, name: str) -> None:
    try:
        value = at_path([name], document)
    except CannotObserve:
        assert not (isinstance(document, dict) and name in document)
    else:
        assert value in (document if isinstance(document, list) else [document[name]])


def test_a_long_value_is_shown_in_part_and_compared_whole() -> None:
    value = "x" * 5000
    in_part = f"{'x' * 2000}... (5000 characters)"
    for expected, status in ((value, Status.PASS), (value[:-1] + "y", Status.FAIL), (in_part, Status.FAIL)):
        finding = judged(answered(value), json_equals=expected)["json.equals"]
        assert (finding.status, finding.observed) == (status, in_part)


@pytest.mark.parametrize(
    "body",
    [b"", b"  ", b"{", b"{'a': 1}", b"NaN", b"[Infinity]", b"\xff", b"[" * 100_000, b"1" * 10_000, b"<html>"],
    ids=["empty", "blank", "cut", "python", "nan", "infinity", "not utf-8", "deep", "endless number", "html"],
)
def test_what_is_not_json_is_no_document(body: bytes) -> None:
    findings = judged(answered(body=body), json_equals={}, json={"a": 1})
    assert findings["json"].status is Status.ERROR
    assert findings["json"].cause
    assert findings["json.equals"].status is findings["json.a"].status is Status.SKIPPED


def test_json_may_begin_with_a_byte_order_mark() -> None:
    assert status_of(answered(body=b'\xef\xbb\xbf{"a": 1}'), "json.a", json={"a": 1}) is Status.PASS


# --- text and headers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        pytest.param("text/html; charset=ISO-8859-1", b"Caf\xe9", "Café", id="declared"),
        pytest.param('text/html; Charset="utf-8"; a=b', b"Caf\xc3\xa9", "Café", id="quoted"),
        pytest.param("text/html", b"Caf\xc3\xa9", "Café", id="not declared: UTF-8"),
        pytest.param("", b"", "", id="nothing"),
    ],
)
def test_a_body_is_read_in_its_charset(content_type: str, body: bytes, text: str) -> None:
    assert answered(body=body, headers={"content-type": content_type}).text == text


@pytest.mark.parametrize("charset", ["klingon", "utf-8", "base64", "idna", "undefined", "utf-16"])
def test_a_charset_that_does_not_fit_is_an_error_and_never_a_pass(charset: str) -> None:
    seen = answered(body=b"\xff\xfe\xfd", headers={"content-type": f"text/plain; charset={charset}"})
    findings = judged(seen, body_excludes="ALM-001")
    assert findings["body"].status is Status.ERROR
    assert findings["body.excludes"].status is Status.SKIPPED


@pytest.mark.parametrize(
    ("value", "texts"),
    [(None, []), ("a, b", ["a, b"]), (["a", "b", "a"], ["a", "b"]), (7, ["7"]), ("", [])],
)
def test_one_text_or_a_list_of_them(value: Any, texts: list[str]) -> None:
    assert listed(value) == texts


def test_a_header_that_says_it_is_absent_is_there() -> None:
    seen = answered(headers={"server": "absent"})
    assert status_of(seen, "header.server", headers_absent=["Server"]) is Status.FAIL


def test_a_value_that_is_null_cannot_be_taken_for_a_missing_header() -> None:
    assert status_of(answered(), "header.x-a", headers={"X-A": None}) is Status.FAIL


# --- readiness -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "shape"),
    [
        pytest.param({"status": "ok", "checks": {"db": {"ok": True, "detail": ""}}}, READY_SHAPES[0], id="recommended"),
        pytest.param({"dependencies": {"database": "connected"}}, READY_SHAPES[1], id="older"),
        pytest.param({"status": "ok", "checks": {}}, "checks names no dependency", id="no dependency"),
        pytest.param({"status": "ok", "checks": ["db"]}, "checks names no dependency", id="a list of names"),
        pytest.param({"checks": {"db": {"ok": True, "detail": ""}}}, "no status beside them", id="no status"),
        pytest.param({"status": "ok", "checks": {"db": {"ok": "yes", "detail": ""}}}, "checks.db", id="ok is a text"),
        pytest.param({"status": "ok", "checks": {"db": {"ok": 1, "detail": ""}}}, "checks.db", id="ok is a number"),
        pytest.param({"status": "ok", "checks": {"db": {"ok": True}}}, "checks.db", id="no detail"),
        pytest.param({"status": "ok", "checks": {"db": True}}, "checks.db", id="a check is no object"),
        pytest.param({"status": "ok", "dependencies": {}}, "neither", id="older, and empty"),
        pytest.param({"status": "ok"}, "neither", id="only a status"),
        pytest.param(["ok"], "a list", id="a list"),
        pytest.param("ok", "a text", id="a text"),
    ],
)
def test_the_shape_of_a_readiness_answer_is_told(document: Any, shape: str) -> None:
    assert shape in ready_shape(document)
    passes = judged(answered(document), ready_shape=True)["ready.shape"].status is Status.PASS
    assert passes is (shape in READY_SHAPES)


@pytest.mark.parametrize(
    ("said", "ok"),
    [
        pytest.param("connected", True, id="connected"),
        pytest.param("Connected", True, id="whatever the case"),
        pytest.param("head", True, id="migrations"),
        pytest.param("unreachable", False, id="unreachable"),
        pytest.param("", False, id="no word"),
        pytest.param("probably", False, id="a word nobody knows"),
        pytest.param(True, True, id="true"),
        pytest.param(False, False, id="false"),
        pytest.param(1, False, id="a number"),
        pytest.param(None, False, id="null"),
        pytest.param({"status": "up", "detail": "3 ms"}, True, id="an object with a status"),
        pytest.param({"status": "down"}, False, id="an object with a bad status"),
        pytest.param({"ok": False, "status": "up"}, False, id="ok speaks first"),
        pytest.param({}, False, id="an empty object"),
        pytest.param(["connected"], False, id="a list"),
    ],
)
def test_what_the_older_shape_says_of_a_dependency(said: Any, ok: bool) -> None:
    assert dependencies({"dependencies": {"redis": said}})["redis"].ok is ok


@given(JSON_VALUES)
def test_no_document_without_the_dependency_makes_it_pass(document: Any) -> None:
    finding = judged(answered(document), ready_dependencies=["redis"])["ready.dependency.redis"]
    named = isinstance(document, dict) and ("checks" in document or "dependencies" in document)
    assert finding.status is not Status.PASS or named


def test_a_service_that_says_ok_over_a_broken_dependency_is_not_ready() -> None:
    document = {"status": "ok", "checks": {"db": {"ok": True, "detail": ""}, "redis": {"ok": False, "detail": "gone"}}}
    findings = judged(answered(document), ready_shape=True)
    assert findings["ready.dependencies"].status is Status.FAIL
    assert findings["ready.dependencies"].observed == {"redis": "gone"}


def test_a_service_that_says_fail_over_good_dependencies_is_not_ready() -> None:
    document = {"status": "fail", "checks": {"db": {"ok": True, "detail": ""}}}
    assert status_of(answered(document), "ready.status", ready_shape=True) is Status.FAIL


# --- methods, TLS and waiting ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "refused"),
    [(200, False), (302, False), (403, True), (405, True), (429, False), (500, False), (501, True)],
)
def test_what_counts_as_a_refusal_of_a_method(status: int, refused: bool) -> None:
    seen = answered(method_statuses={"TRACE": status})
    assert (status_of(seen, "method.trace", refused_methods=["TRACE"]) is Status.PASS) is refused


@pytest.mark.parametrize(
    ("named", "right"), [({"GET"}, True), ({"GET", "HEAD", "OPTIONS"}, True), ({"GET", "PUT"}, False), (set(), True)]
)
def test_a_server_names_no_method_beside_the_allowed_ones(named: set[str], right: bool) -> None:
    seen = answered(allow=frozenset(named))
    assert (status_of(seen, "methods", allowed_methods=["get", "head"]) is Status.PASS) is right


@pytest.mark.parametrize(("days", "enough"), [(20.9, False), (21, True), (-1, False)])
def test_a_certificate_lasts_long_enough(days: float, enough: bool) -> None:
    seen = answered(tls=Tls(oldest_version="1.2", not_after=NOW + timedelta(days=days)))
    findings = judged(seen, certificate_min_days_left=21, tls_min_version="1.2")
    assert (findings["tls.certificate.days_left"].status is Status.PASS) is enough
    assert findings["tls.oldest_version"].status is Status.PASS


def refused_by_tls() -> ssl.SSLError:
    reason = ssl.SSLError("tlsv1 alert protocol version")
    reason.reason = "TLSV1_ALERT_PROTOCOL_VERSION"
    return reason


def oldest_version(monkeypatch: pytest.MonkeyPatch, reason: OSError) -> Known[str]:
    """What is seen of a server that agrees on TLS 1.3, when a handshake with an older one ends so."""

    def fails(*given: object) -> None:
        raise reason

    monkeypatch.setattr(observe_tls, "_handshake", fails)
    server = observe_tls.TlsServer(host="h", port=443, name="h")
    return observe_tls._oldest_version(server, "1.3", "1.2", Deadline(0))


@pytest.mark.parametrize(
    "reason",
    [
        refused_by_tls(),
        ConnectionResetError(),
        ConnectionAbortedError(),
        BrokenPipeError(),
    ],
    ids=repr,
)
def test_a_server_that_hangs_up_on_an_old_version_refuses_it(monkeypatch: pytest.MonkeyPatch, reason: OSError) -> None:
    assert oldest_version(monkeypatch, reason) == "1.3"


@pytest.mark.parametrize(
    "reason",
    [
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.EHOSTUNREACH, "No route to host"),
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        TimeoutError("timed out"),
    ],
    ids=repr,
)
def test_an_old_version_that_could_not_be_tried_is_not_refused(
    monkeypatch: pytest.MonkeyPatch, reason: OSError
) -> None:
    seen = oldest_version(monkeypatch, reason)
    assert isinstance(seen, CannotObserve)
    assert str(reason) in str(seen)


@pytest.mark.parametrize("in_a_row", [0, 1, 2, 3])
def test_enough_good_answers_in_a_row(in_a_row: int) -> None:
    seen = answered(waited=Waited(asked=9, good=5, good_in_a_row=in_a_row))
    assert (status_of(seen, "consecutive", wait_s=30.0, consecutive=2) is Status.PASS) is (in_a_row >= 2)


def test_an_answer_that_was_not_waited_for_cannot_pass_as_one_that_was() -> None:
    assert status_of(answered(), "consecutive", wait_s=30.0) is Status.ERROR


def test_waiting_is_what_is_declared_of_it() -> None:
    assert patience({"status": [200]}) is None
    assert wait_s_of({"expected": {"wait_s": 30.0, "every_s": 2.0, "consecutive": 3}}) == 30.0
    assert wait_s_of({"expected": {"status": [200]}}) == 0.0


EVERYTHING: dict[str, Any] = {
    "status": [200], "max_ms": 1.0, "location": "/", "headers": {"A": "b"}, "headers_match": {"B": "c"},
    "headers_absent": ["C"], "body_contains": "a", "body_matches": "a", "body_excludes": "a", "json": {"a": 1},
    "json_equals": {}, "ready_dependencies": ["db"], "allowed_methods": ["GET"], "refused_methods": ["TRACE"],
    "tls_min_version": "1.2", "certificate_min_days_left": 1.0, "wait_s": 1.0,
}  # fmt: skip


def test_without_an_answer_everything_is_skipped_for_it() -> None:
    findings = judged(CannotObserve("connection refused"), **EVERYTHING)
    assert findings.pop("reachable").cause == "connection refused"
    assert len(findings) == 22
    assert {finding.status for finding in findings.values()} == {Status.SKIPPED}
    assert {finding.cause for finding in findings.values()} == {"reachable"}
