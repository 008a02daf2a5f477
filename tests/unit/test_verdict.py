# SPDX-License-Identifier: GPL-3.0-or-later
"""The one shape: what lets a gate open, and what a module returns."""

from __future__ import annotations

import json

import pytest
from cutover.verdict import Finding, Status, Verdict
from hypothesis import given
from hypothesis import strategies as st

FINDINGS = st.builds(Finding, check=st.text(), status=st.sampled_from(Status), blocking=st.booleans())


def verdict(*findings: Finding) -> Verdict:
    return Verdict(component="redis", subject="cache", address="redis://cache:6379", took_ms=4, findings=findings)


def test_a_verdict_without_findings_is_not_ok_because_nothing_was_looked_at() -> None:
    assert verdict().ok is False


@pytest.mark.parametrize(
    ("status", "blocking", "ok"),
    [
        pytest.param(Status.PASS, True, True, id="passed"),
        pytest.param(Status.PASS, False, True, id="passed, advice only"),
        pytest.param(Status.FAIL, True, False, id="wrong"),
        pytest.param(Status.ERROR, True, False, id="not observed"),
        pytest.param(Status.SKIPPED, True, False, id="skipped"),
        pytest.param(Status.FAIL, False, True, id="wrong, advice only"),
    ],
)
def test_only_a_pass_opens_a_gate_unless_it_is_advice(status: Status, blocking: bool, ok: bool) -> None:
    finding = Finding(check="version", status=status, blocking=blocking)
    assert finding.ok is ok
    assert verdict(finding).ok is ok


@given(st.lists(FINDINGS, max_size=5))
def test_a_verdict_is_as_good_as_its_worst_blocking_finding(findings: list[Finding]) -> None:
    worst = [finding for finding in findings if finding.blocking and finding.status != "pass"]
    assert verdict(*findings).ok == (bool(findings) and not worst)


def test_plain_data_has_the_one_shape_and_is_json() -> None:
    finding = Finding(check="sealed", status=Status.FAIL, expected=False, observed=True, remedy="bao operator unseal")
    plain = verdict(finding).to_dict()
    assert json.loads(json.dumps(plain)) == {
        "component": "redis",
        "subject": "cache",
        "address": "redis://cache:6379",
        "ok": False,
        "took_ms": 4,
        "findings": [
            {
                "check": "sealed",
                "status": "fail",
                "blocking": True,
                "expected": False,
                "observed": True,
                "cause": None,
                "remedy": "bao operator unseal",
            }
        ],
    }


def test_what_is_kept_whole_stands_beside_the_findings() -> None:
    answer = Verdict(component="c", subject="s", address="a", took_ms=0, findings=(), recorded={"status": 200})
    assert answer.to_dict()["recorded"] == {"status": 200}
    assert "recorded" not in verdict().to_dict()
