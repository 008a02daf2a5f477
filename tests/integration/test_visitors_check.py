# SPDX-License-Identifier: GPL-3.0-or-later
"""visitors_check over a real stream of requests to a real server: each finding green, and red by itself."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import visitors_check
import web
from findings import findings, green, red
from servers import wait_until

RunModule = Callable[..., dict[str, Any]]
VISITORS = Path(__file__).resolve().parents[2] / "lab" / "visitors.py"
EXPECTED = {"min_per_s": 20, "max_failed": 0, "max_ms": 5000}


@contextmanager
def visited(report: Path, page: web.Page) -> Iterator[subprocess.Popen[bytes]]:
    """Fifty requests a second to a page, and their count in ``report``."""
    with web.serving({"/api/v1/ping": page}) as server:
        argv = [
            sys.executable,
            str(VISITORS),
            "--url",
            server.address,
            "--ca",
            "-",
            "--rate",
            "50",
            "--report",
            str(report),
        ]
        process = subprocess.Popen(argv)
        try:
            wait_until(lambda: report.exists() and '"sent"' in report.read_text(), what="a first sample")
            yield process
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def check(run_module: RunModule, tmp_path: Path) -> RunModule:
    """Run the module on one target, as a playbook would; keywords are what is expected."""

    def run(
        *, since: datetime, argv: list[str] | None = None, blocking: bool = True, **expected: Any
    ) -> dict[str, Any]:
        target = {"name": "load", "argv": argv or ["cat", str(tmp_path / "visitors.json")]}
        return run_module(
            visitors_check, targets=[target], expected=EXPECTED | expected, since=since.isoformat(), blocking=blocking,
            timeout_s=30, report_only=True,
        )  # fmt: skip

    return run


def now() -> datetime:
    return datetime.now(UTC)


def failed_in_samples(report: Path) -> list[int]:
    return [sample["failed"] for sample in json.loads(report.read_text())["samples"]]


def test_requests_that_are_all_answered_are_green_in_every_finding(check: RunModule, tmp_path: Path) -> None:
    with visited(tmp_path / "visitors.json", web.Answer(b"pong")):
        result = check(since=now())

    assert red(result) == []
    assert green(result) == ["covered", "failed", "reachable", "sent_per_s", "slowest_ms"]
    recorded = result["verdicts"][0]["recorded"]
    assert recorded["sent"] > 60
    assert recorded["failed"] == 0
    assert len(recorded["samples"]) >= 3


def test_one_request_that_is_lost_is_told_and_nothing_else(check: RunModule, tmp_path: Path) -> None:
    answers: list[int] = []

    def page(request: web.Request) -> web.Answer:
        answers.append(503 if len(answers) == 120 else 200)
        return web.Answer(status=answers[-1])

    with visited(tmp_path / "visitors.json", page):
        since = now()
        wait_until(lambda: any(failed_in_samples(tmp_path / "visitors.json")), what="a sample of what is lost")
        result = check(since=since)

    assert red(result) == ["failed"]
    assert findings(result)["failed"]["observed"] == 1


def test_what_was_lost_before_the_run_is_not_its_own(check: RunModule, tmp_path: Path) -> None:
    began = time.monotonic()
    page = lambda request: web.Answer(status=503 if 0.5 < time.monotonic() - began < 1 else 200)  # noqa: E731
    with visited(tmp_path / "visitors.json", page):
        time.sleep(2)
        result = check(since=now())

    assert red(result) == []


def test_slow_answers_are_told_and_nothing_else(check: RunModule, tmp_path: Path) -> None:
    with visited(tmp_path / "visitors.json", web.Answer(after_s=0.05)):
        result = check(since=now(), max_ms=40, min_per_s=1)

    assert red(result) == ["slowest_ms"]


def test_too_few_requests_prove_nothing(check: RunModule, tmp_path: Path) -> None:
    with visited(tmp_path / "visitors.json", web.Answer()):
        result = check(since=now(), min_per_s=500)

    assert red(result) == ["sent_per_s"]


def test_who_has_stopped_counting_is_found_out(check: RunModule, tmp_path: Path) -> None:
    since = now()
    with visited(tmp_path / "visitors.json", web.Answer()) as process:
        process.kill()
        process.wait()
        time.sleep(1.5)
        result = check(since=since, max_gap_s=1.2)

    assert red(result) == ["covered"]
    assert findings(result)["failed"]["status"] == "skipped"


@pytest.mark.parametrize(
    ("argv", "cause"),
    [
        pytest.param(["false"], "false ended with exit code 1", id="the command fails"),
        pytest.param(["echo", "all is well"], "what was printed is not", id="it says something else"),
        pytest.param(["/no/such/program"], "no such program", id="there is no such command"),
    ],
)
def test_who_does_not_tell_is_red_and_nothing_is_judged(check: RunModule, argv: list[str], cause: str) -> None:
    result = check(since=now(), argv=argv)

    assert red(result) == ["reachable"]
    assert cause in findings(result)["reachable"]["cause"]


def test_on_a_way_back_it_is_told_and_blocks_nothing(check: RunModule) -> None:
    result = check(since=now(), argv=["false"], blocking=False)

    assert result["verdicts"][0]["ok"]
    assert {finding["blocking"] for finding in result["verdicts"][0]["findings"]} == {False}
    assert findings(result)["reachable"]["status"] == "error"


def test_a_since_that_is_no_time_is_an_argument_error(run_module: RunModule) -> None:
    target = {"name": "load", "argv": ["true"]}
    result = run_module(visitors_check, targets=[target], expected=EXPECTED, since="yesterday")

    assert result["failed"]
    assert "since is 'yesterday', and no time" in result["msg"]
