# SPDX-License-Identifier: GPL-3.0-or-later
"""drill_check against real web servers: one that is honest while something is broken, and those that lie."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import count
from typing import Any

import drill_check
import misbehaving
import pytest
import web
from findings import findings, green, red
from web import Answer, Request, as_json

RunModule = Callable[..., dict[str, Any]]

WELL = as_json({"status": "ok", "checks": {"redis": {"ok": True}}})
BROKEN = {"status": "fail", "checks": {"redis": {"ok": False}}}
# No request may take that long, so that just the test of a service that hangs is about its budget.
NAMED = {"status": [503], "max_ms": 5000, "json": {"checks.redis.ok": False}}


def becoming(answer: Answer, *, times: float = math.inf) -> web.Page:
    """A page that is well at first, then so many times what a test makes of it, and well again."""
    asked = count()

    def page(request: Request) -> Answer:
        return answer if 1 <= next(asked) < 1 + times else WELL

    return page


@pytest.fixture
def watch(run_module: RunModule) -> RunModule:
    """Watch pages, each with what is expected of it."""

    def run(pages: dict[str, tuple[web.Page, dict[str, Any]]], **options: Any) -> dict[str, Any]:
        with web.serving({f"/{name}": page for name, (page, _) in pages.items()}) as site:
            targets = [
                {"name": name, "address": f"{site.address}/{name}", "expected": expected}
                for name, (_, expected) in pages.items()
            ]
            return run_module(drill_check, targets=targets, every_s=0.05, report_only=True, timeout_s=1, **options)

    return run


def test_a_service_that_notices_and_says_so_is_green_and_nobody_else_notices_anything(watch: RunModule) -> None:
    result = watch(
        {
            "ready": (becoming(as_json(BROKEN, 503)), {"answer": NAMED, "within_s": 5, "hold_s": 0.3}),
            "health": (WELL, {"answer": {"status": [200]}, "stays": True}),
        }
    )
    assert red(result, "ready") == red(result, "health") == []
    assert green(result, "ready") == ["becomes", "holds", "reachable", "slowest_ms"]
    assert green(result, "health") == ["reachable", "stays"]
    ready, health = (verdict["recorded"] for verdict in result["verdicts"])
    assert [answer["said"] for answer in ready["answers"]] == ["200", "503"]
    assert health["ended_at"] >= ready["became_at"]


LIES = [
    pytest.param(WELL, id="always 200"),
    pytest.param(becoming(as_json(BROKEN, 500)), id="500 instead of 503"),
    pytest.param(becoming(as_json({"status": "fail", "checks": {"redis": {"ok": True}}}, 503)), id="no name"),
]


def test_a_service_that_notices_only_once_is_red_in_just_that(watch: RunModule) -> None:
    page = becoming(as_json(BROKEN, 503), times=1)
    result = watch({"ready": (page, {"answer": NAMED, "within_s": 20, "hold_s": 0.5})})
    assert red(result) == ["holds"]
    assert not result["verdicts"][0]["ok"]


@pytest.mark.parametrize("page", LIES)
def test_a_service_that_lies_is_red_in_just_that(watch: RunModule, page: web.Page) -> None:
    result = watch({"ready": (page, {"answer": NAMED, "within_s": 0.8, "hold_s": 0.5})})
    assert red(result) == ["becomes"]
    assert not result["verdicts"][0]["ok"]


def test_a_service_that_hangs_longer_than_its_budget_is_red_also_when_it_is_honest_afterwards(watch: RunModule) -> None:
    asked: list[Request] = []

    def page(request: Request) -> Answer:
        asked.append(request)
        return as_json(BROKEN, 503, after_s=0.0) if len(asked) > 1 else as_json(BROKEN, 200, after_s=0.8)

    result = watch({"ready": (page, {"answer": {**NAMED, "max_ms": 600}, "within_s": 3, "hold_s": 0.2})})
    assert red(result) == ["slowest_ms"]


def test_what_must_not_notice_anything_is_red_for_one_answer(watch: RunModule) -> None:
    page = becoming(Answer(b"sorry", 502), times=1)
    result = watch({"front": (page, {"answer": {"status": [200]}, "stays": True})}, for_s=0.6)
    assert red(result) == ["stays"]
    assert findings(result)["stays"]["observed"]["said"] == "502"


def test_a_service_that_never_answers_was_not_seen(run_module: RunModule) -> None:
    target = {"name": "ready", "address": f"http://127.0.0.1:{misbehaving.refusing_port()}/"}
    expected = {"answer": {"status": [503]}, "within_s": 0.3}
    result = run_module(drill_check, targets=[target], expected=expected, every_s=0.05, report_only=True)
    assert red(result) == ["reachable"]
    assert "asked" in findings(result)["reachable"]["cause"]


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        pytest.param({"answer": {"status": [200]}, "stays": True}, "for_s is 0", id="nothing to wait for"),
        pytest.param({"within_s": 1.0}, "answer is missing", id="no answer declared"),
    ],
)
def test_what_cannot_be_watched_is_refused_before_anything_is_asked(
    run_module: RunModule, expected: dict[str, Any], words: str
) -> None:
    with web.serving({"/": WELL}) as site:
        result = run_module(drill_check, targets=[{"name": "a", "address": f"{site.address}/"}], expected=expected)
    assert result["failed"]
    assert words in result["msg"]
    assert site.asked == []
