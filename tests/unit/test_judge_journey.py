# SPDX-License-Identifier: GPL-3.0-or-later
"""A journey ends at the first finding that does not pass, and what was not evaluated is never a pass."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cutover.checks import CannotObserve, judge
from cutover.judge_endpoint import EndpointObservation
from cutover.judge_journey import (
    Answer,
    FilesSeen,
    Walk,
    is_good,
    journey_checks,
    listed_files,
)
from cutover.judge_journey_plan import plan_journey
from cutover.masking import Masker
from cutover.verdict import Finding

A_SHA = hashlib.sha256(b"a").hexdigest()
MASKER = Masker(["s3cret-token-of-admin"])


def step(name: str = "one", **options: Any) -> dict[str, Any]:
    return {"name": name, "path": "/x", "expected": {"status": [200]}} | options


def journey(*steps: dict[str, Any], **options: Any) -> Any:
    target = {"name": "j", "address": "https://app.example", "steps": list(steps)} | options
    return plan_journey(target, {}, lambda expression: None)


def answer(body: Any = None, status: int = 200, **options: Any) -> Answer:
    """An answer in which each expression is the name of a field."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    seen = EndpointObservation(
        observed_at=datetime.now(UTC),
        status=status,
        headers=options.pop("headers", {}),
        body=data,
        answered_ms=options.pop("ms", 5),
    )
    values = options.pop("values", body if isinstance(body, dict) else {})
    names = {"names": {}} | options
    return Answer(seen=seen, sha256=hashlib.sha256(data).hexdigest(), values=values, hide=MASKER.mask, **names)


def findings(planned: Any, **answers: Any) -> dict[str, Finding]:
    found = judge(journey_checks(planned), Walk(answers=answers), reachable_remedy="")
    return {finding.check: finding for finding in found}


def statuses(planned: Any, **answers: Any) -> dict[str, str]:
    return {check: finding.status.value for check, finding in findings(planned, **answers).items()}


THREE = (
    step("make", expected={"status": [201], "body": {"state": "DRAFT"}}, capture={"id": "id"}),
    step("read", path="/x/{id}", expected={"status": [200], "body": {"id": "{id}"}, "max_ms": 100}),
    step("refused", path="/x/{id}", expected={"status": [403]}),
)


def test_a_journey_as_declared_passes_in_every_finding():
    found = statuses(
        journey(*THREE),
        make=answer({"state": "DRAFT", "id": 7}, 201),
        read=answer({"id": 7}, names={"id": 7}),
        refused=answer(status=403),
    )
    assert list(found) == [
        "reachable", "make.status", "make.capture.id", "make.body.state", "read.status", "read.body.id", "read.time_ms",
        "refused.status",
    ]  # fmt: skip
    assert set(found.values()) == {"pass"}


@pytest.mark.parametrize(
    ("answers", "red"),
    [
        pytest.param({"make": answer(status=500)}, "make.status", id="another status"),
        pytest.param({"make": answer({"state": "PAID", "id": 7}, 201)}, "make.body.state", id="another value"),
        pytest.param({"make": answer({"state": "DRAFT", "id": None}, 201)}, "make.capture.id", id="nothing to capture"),
        pytest.param(
            {"make": answer({"state": "DRAFT", "id": 7}, 201), "read": answer({"id": 8}, names={"id": 7})},
            "read.body.id", id="another object",
        ),
        pytest.param(
            {"make": answer({"state": "DRAFT", "id": 7}, 201), "read": answer({"id": 7}, names={"id": 7}, ms=101)},
            "read.time_ms", id="too slow",
        ),
        pytest.param(
            {"make": answer({"state": "DRAFT", "id": 7}, 201), "read": CannotObserve("no answer in time")},
            "read.status", id="no answer",
        ),
        pytest.param(
            {
                "make": answer({"state": "DRAFT", "id": 7}, 201), "read": answer({"id": 7}, names={"id": 7}),
                "refused": answer(status=200),
            },
            "refused.status", id="allowed what must be refused",
        ),
    ],
)  # fmt: skip
def test_the_first_finding_that_does_not_pass_is_the_only_red_one(answers, red):
    found = findings(journey(*THREE), **answers)
    names = list(found)
    assert [name for name in names if found[name].status in ("fail", "error")] == [red]
    after = names[names.index(red) + 1 :]
    assert {(found[name].status.value, found[name].cause) for name in after} <= {("skipped", red)}
    assert all(found[name].status == "pass" for name in names[: names.index(red)])


def test_a_step_that_was_never_sent_is_an_error_and_no_pass():
    assert statuses(journey(step("a")))["a.status"] == "error"
    assert not is_good(journey(step("a")).steps[0], CannotObserve("x"))


def test_clean_up_is_judged_for_itself_and_left_out_only_where_there_is_nothing_to_clean_up():
    planned = journey(
        step("make", capture={"id": "id"}),
        step("use"),
        cleanup=[step("undo", method="DELETE", path="/x/{id}"), step("logout")],
    )
    broken = statuses(planned, make=answer({"id": 1}), use=answer(status=500), undo=answer(status=500), logout=answer())
    assert broken["use.status"] == "fail"
    assert broken["cleanup.undo.status"] == "fail"
    assert broken["cleanup.logout.status"] == "pass"
    never_made = findings(planned, make=answer(status=500), logout=answer())
    assert never_made["cleanup.undo.status"].status == "skipped"
    assert never_made["cleanup.undo.status"].cause == "make.status"
    assert never_made["cleanup.logout.status"].status == "pass"


def test_what_was_made_wrongly_is_cleaned_up_and_a_failure_of_that_is_a_finding_of_its_own():
    planned = journey(
        step("make", expected={"status": [201], "body": {"state": "DRAFT"}}, capture={"id": "id"}),
        cleanup=[step("undo", method="DELETE", path="/x/{id}")],
    )
    found = statuses(planned, make=answer({"state": "PAID", "id": 7}, 201), undo=answer(status=500))
    assert [name for name, status in found.items() if status == "fail"] == ["make.body.state", "cleanup.undo.status"]


@pytest.mark.parametrize(
    ("rule", "value", "right"),
    [
        pytest.param(1, 1.0, True, id="one is one"),
        pytest.param(1, True, False, id="one is not true"),
        pytest.param("1", 1, False, id="a text is no number"),
        pytest.param([], [], True, id="empty list"),
        pytest.param([], None, False, id="nothing is no empty list"),
        pytest.param({"equals": {"a": 1}}, {"a": 1}, True, id="a whole object"),
        pytest.param({"equals": {"a": 1}}, {"a": 1, "b": 2}, False, id="another object"),
        pytest.param({"matches": "ADMIN"}, "Cannot create ADMIN", True, id="found"),
        pytest.param({"matches": "^ADMIN"}, "Cannot create ADMIN", False, id="not found"),
        pytest.param({"matches": "1"}, 1, False, id="a number is no text"),
        pytest.param({"present": True}, 0, True, id="zero is something"),
        pytest.param({"present": True}, None, False, id="null is nothing"),
        pytest.param({"present": False}, None, True, id="absent as wanted"),
        pytest.param({"present": False}, "x", False, id="present unwanted"),
        pytest.param({"at_least": 2}, 2, True, id="just enough"),
        pytest.param({"at_least": 2}, 1.99, False, id="too few"),
        pytest.param({"at_least": 0}, True, False, id="true is no number"),
        pytest.param({"at_most": 10}, "9", False, id="a text is no number either"),
        pytest.param({"at_most": 10}, 10.01, False, id="too many"),
        pytest.param({"at_most": 10}, None, False, id="nothing is not few"),
    ],
)
def test_a_value_follows_its_rule(rule, value, right):
    planned = journey(step(expected={"status": [200], "body": {"v": rule}}))
    assert statuses(planned, one=answer({"v": value}))["one.body.v"] == ("pass" if right else "fail")


def test_a_value_that_could_not_be_looked_for_is_an_error():
    planned = journey(step(expected={"status": [200], "body": {"v": {"present": False}}}))
    finding = findings(planned, one=answer(values={"v": CannotObserve("the body is not JSON")}))["one.body.v"]
    assert (finding.status, finding.cause) == ("error", "the body is not JSON")


def test_headers_text_and_checksum_are_looked_at():
    expected = {"status": [200], "headers": {"X-Release": {"matches": "^1"}}, "text": "wel.ome", "sha256": "{sum}"}
    planned = journey(step(expected=expected), values={"sum": hashlib.sha256(b"welcome").hexdigest()})
    right = answer(b"welcome", headers={"x-release": "1.0"}, names=dict(planned.values))
    assert set(statuses(planned, one=right).values()) == {"pass"}
    for wrong, red in (
        (answer(b"welcome", names=dict(planned.values)), "one.header.x-release"),
        (answer(b"good bye", headers={"x-release": "1.0"}, names=dict(planned.values)), "one.text"),
        (answer(b"welcome!", headers={"x-release": "1.0"}, names=dict(planned.values)), "one.sha256"),
    ):
        found = statuses(planned, one=wrong)
        assert [name for name, status in found.items() if status == "fail"] == [red]


def test_what_was_captured_is_named_beside_what_was_observed():
    planned = journey(step("make", capture={"id": "id"}), step(expected={"status": [200], "body": {"id": "{id}"}}))
    found = findings(planned, make=answer({"id": 7}), one=answer({"id": 8}, names={"id": 7}))["one.body.id"]
    assert (found.expected, found.observed) == ("{id}", "8, where {id} is 7")


def test_secrets_are_compared_and_not_shown():
    planned = journey(
        step(
            expected={"status": [200], "body": {"access_token": {"present": True}, "note": "x"}},
            capture={"token": {"body": "access_token", "secret": True}},
        )
    )
    body = {"access_token": "opaque-token-0815", "note": "said s3cret-token-of-admin aloud"}
    found = findings(planned, one=answer(body))
    assert found["one.body.access_token"].observed == "***"
    assert found["one.body.note"].observed == "said *** aloud"
    passing = findings(journey(step(capture={"token": {"body": "access_token", "secret": True}})), one=answer(body))
    assert passing["one.capture.token"].status == "pass"
    assert "opaque" not in str(passing)


@pytest.mark.parametrize("value", [None, "", 7, ["a"], "x" * 16385])
def test_a_secret_is_a_text_of_some_length(value):
    planned = journey(step(capture={"token": {"body": "t", "secret": True}}))
    assert statuses(planned, one=answer({"t": value}))["one.capture.token"] == "fail"


FILES = step(files={"listed": "files", "path": "/f/{file}"})


@pytest.mark.parametrize(
    ("files", "red"),
    [
        pytest.param(FilesSeen(listed=2, missing=(), mismatches=()), [], id="whole"),
        pytest.param(FilesSeen(listed=0, missing=(), mismatches=()), ["one.files.listed"], id="nothing listed"),
        pytest.param(FilesSeen(listed=2, missing=("a (404)",), mismatches=()), ["one.files.missing"], id="one missing"),
        pytest.param(FilesSeen(listed=2, missing=(), mismatches=("b",)), ["one.files.mismatches"], id="one changed"),
        pytest.param(CannotObserve("the answer is larger"), ["one.files.listed"], id="not downloaded"),
    ],
)
def test_listed_files_are_there_and_are_what_their_checksums_say(files, red):
    found = statuses(journey(FILES), one=answer(values={"files": {}}, files=files))
    assert [name for name, status in found.items() if status in ("fail", "error")] == red


@pytest.mark.parametrize(
    "found", [{"a": A_SHA}, [["a", A_SHA]], [["a", A_SHA.upper()]]], ids=["object", "pairs", "capitals"]
)
def test_names_and_checksums_are_read_in_both_shapes(found):
    assert listed_files(found) == {"a": A_SHA}


@pytest.mark.parametrize(
    "found",
    [None, "a", 7, ["a"], [["a"]], [["a", 1]], [["a", "md5"]], {"a": None}, {"a": ""}, {"": A_SHA},
     [["a", A_SHA], ["a", A_SHA]], [["a", A_SHA, "x"]]],
)  # fmt: skip
def test_what_lists_no_checksums_is_refused(found):
    with pytest.raises(CannotObserve):
        listed_files(found)
