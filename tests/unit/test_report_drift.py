# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a drift run tells each difference once, in its place, and shows what a server says as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cutover.report import for_html, for_markdown
from cutover.report_drift import told_in, view
from jinja2 import Environment, StrictUndefined

TEMPLATES = Path(__file__).resolve().parents[2] / "roles" / "drift" / "templates"
MOMENT = "2026-01-31T12:00:00.000000Z"


def difference(key: str, **more: Any) -> dict[str, Any]:
    return {
        "component": "redis", "subject": "cache", "key": key, "kind": "drift", "state": "new", "since": MOMENT,
        "expected": None, "baseline": "10", "observed": "<b>20|30</b>", "owner": "ops", "ignored": None,
    } | more  # fmt: skip


IGNORED = {"reason": "a trial", "owner": "ops", "expires": MOMENT}
DIFFERENCES = [
    difference("config.hz"), difference("config.port", state="fixed"), difference("user.eve", ignored=IGNORED),
]  # fmt: skip
BASELINE = {"run": "R", "decided_at": MOMENT, "signed_at": MOMENT, "role": "rm", "approver": "Jane", "reason": "ok"}
RECORDS = [
    {"kind": "drift", "data": {"differences": [], "facts": 1}},
    {"kind": "drift", "data": {"baseline": BASELINE, "differences": DIFFERENCES, "facts": 7}},
    {"kind": "closed", "data": {}},
]
UNSEEN = {"component": "vault", "subject": "v", "check": "drift.seen", "status": "error", "cause": "no answer"}
DECISION = {
    "environment": "staging", "run": "r", "blocking": [UNSEEN], "context": {"outcome": "drift", "note": "Drift."},
}  # fmt: skip


@pytest.mark.parametrize(("name", "escape"), [("drift.html", for_html), ("drift.md", for_markdown)])
def test_every_difference_stands_on_the_page_as_text(name: str, escape: Any) -> None:
    shown = view({"opened_at": MOMENT}, DECISION, RECORDS)
    assert [[row["key"] for row in shown[part]] for part in ("open", "fixed", "ignored")] == [
        ["config.hz"], ["config.port"], ["user.eve"],
    ]  # fmt: skip
    environment = Environment(trim_blocks=True, undefined=StrictUndefined)
    page = environment.from_string((TEMPLATES / f"{name}.j2").read_text()).render(r=escape(shown))
    assert [key for key in ("config.hz", "config.port", "user.eve", "no answer") if key not in page] == []
    assert "<b>20" not in page


def test_a_run_that_compared_nothing_has_a_page_all_the_same() -> None:
    assert told_in([]) == {}
    assert view({}, DECISION | {"context": {}}, [])["headline"] == "Could not look"
