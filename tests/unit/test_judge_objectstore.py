# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of an object storage, from its answers alone."""

from __future__ import annotations

from typing import Any

import pytest
from cutover.checks import CannotObserve, judge
from cutover.judge_objectstore import Answer, ObjectstoreObservation, is_granted, objectstore_checks
from cutover.verdict import Finding, Status
from hypothesis import given
from hypothesis import strategies as st

YES, NO = Answer(200), Answer(403, "AccessDenied")
STATUSES = st.integers(min_value=100, max_value=599)


def judged(expected: dict[str, Any], **seen: Any) -> dict[str, Finding]:
    observation = ObjectstoreObservation(**{"anonymous": NO, **seen})
    findings = judge(objectstore_checks(expected), observation, reachable_remedy="start it")
    return {finding.check: finding for finding in findings}


@pytest.mark.parametrize(
    ("answer", "granted"),
    [
        pytest.param(Answer(200), True, id="done"),
        pytest.param(Answer(204), True, id="done, and nothing to say"),
        pytest.param(Answer(403, "AccessDenied"), False, id="denied"),
        pytest.param(Answer(401), False, id="not known"),
        pytest.param(Answer(400, "InvalidAccessKeyId"), False, id="refused by its word"),
    ],
)
def test_a_request_is_granted_or_refused(answer: Answer, granted: bool) -> None:
    assert is_granted(answer) is granted


@pytest.mark.parametrize(
    "answer",
    [
        Answer(403, "RequestTimeTooSkewed"),
        Answer(400, "AuthorizationHeaderMalformed"),
        Answer(301, "PermanentRedirect"),
        Answer(429),
        Answer(500, "InternalError"),
        Answer(503, "SlowDown"),
    ],
    ids=str,
)
def test_an_answer_that_is_neither_yes_nor_no_is_an_error_in_every_check(answer: Answer) -> None:
    expected = {"anonymous_refused": True, "default_credentials_refused": True, "buckets": ["app"]}
    findings = judged(
        expected,
        anonymous=answer,
        login=answer,
        buckets={"app": answer},
        anonymous_buckets={"app": answer},
        default_credentials={"a:b": answer},
    )
    findings.pop("reachable")
    assert findings.pop("bucket.app").status is Status.SKIPPED
    assert {finding.status for finding in findings.values()} == {Status.ERROR}
    assert all(str(answer) in str(finding.cause) for finding in findings.values())


@given(STATUSES, st.sampled_from(["", "AccessDenied", "RequestTimeTooSkewed", "Other"]))
def test_only_a_refusal_is_a_refusal(status: int, code: str) -> None:
    finding = judged({"default_credentials_refused": True}, default_credentials={"a:b": Answer(status, code)})
    passes = finding["default_credentials"].status is Status.PASS
    assert passes is (
        code != "RequestTimeTooSkewed" and (status in (401, 403) or code == "AccessDenied") and status // 100 != 2
    )


def test_a_key_for_one_bucket_need_not_list_them_all() -> None:
    findings = judged({"buckets": ["app"]}, login=NO, buckets={"app": YES})
    assert {finding.status for finding in findings.values()} == {Status.PASS}


def test_a_key_that_opens_nothing_is_not_accepted() -> None:
    findings = judged({"buckets": ["app"]}, login=NO, buckets={"app": NO})
    assert findings["login"].status is Status.FAIL
    assert findings["login"].observed == "refused: 403 AccessDenied"


def test_aws_sends_nobody_to_its_advertisement_and_lists_nothing() -> None:
    assert judged({"anonymous_refused": True}, anonymous=Answer(307))["anonymous"].status is Status.PASS


def test_what_was_not_tried_is_no_pass() -> None:
    expected = {"default_credentials_refused": True, "login": True}
    findings = judged(expected)
    assert findings["default_credentials"].status is findings["login"].status is Status.ERROR


def test_one_default_that_was_not_answered_is_not_hidden_by_the_others() -> None:
    tried = {"a:b": NO, "c:d": CannotObserve("no answer within 5.0 s")}
    finding = judged({"default_credentials_refused": True}, default_credentials=tried)["default_credentials"]
    assert finding.status is Status.ERROR
