# SPDX-License-Identifier: GPL-3.0-or-later
"""start_check on real processes: one that refuses, and those that do not."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import servers
import start_check
from findings import findings, green, red

RunModule = Callable[..., dict[str, Any]]
SECRET = "c0rrect-horse-battery"

SERVICE = """
import os, socket, sys, time
def listen():
    global server
    server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
if os.environ.get("FIRST") == "listen":
    listen()
    time.sleep(0.5)
if not os.environ.get("REDIS_URL"):
    print(f"refusing to start: {os.environ.get('SAYS', 'REDIS_URL is not set')}", file=sys.stderr)
    sys.exit(int(os.environ.get("STATUS", "2")))
if os.environ.get("FIRST") != "listen":
    print("starting, password", os.environ.get("APP_PASSWORD"))
time.sleep(60)
"""


@pytest.fixture
def start(run_module: RunModule, tmp_path: Path) -> RunModule:
    """Start the service with changes to an environment in which it refuses."""
    (tmp_path / "service.py").write_text(SERVICE)
    (tmp_path / "environment").write_text(f"REDIS_URL=redis://127.0.0.1:1/0\nAPP_PASSWORD={SECRET}\n")

    def run(
        unset: list[str] | None = None, *, port: int | None = 0, within_s: float = 30, **environment: str
    ) -> dict[str, Any]:
        port = servers.free_port() if port == 0 else port
        target = {
            "name": "no-redis-url", "argv": [sys.executable, str(tmp_path / "service.py")],
            "env_file": str(tmp_path / "environment"), "environment": {"PORT": str(port), **environment},
            "unset": ["REDIS_URL"] if unset is None else unset, "expected": {"names": ["REDIS_URL"]},
        }  # fmt: skip
        target |= {"port": port} if port else {}
        return run_module(start_check, targets=[target], expected={"refuses_within_s": within_s}, report_only=True)

    return run


def test_a_service_that_refuses_quickly_and_says_why_is_green(start: RunModule) -> None:
    result = start()
    assert red(result) == []
    assert green(result) == ["names.REDIS_URL", "no_listener", "reachable", "refuses"]
    assert result["commands"][0]["exit_code"] == 2


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        pytest.param({"STATUS": "0"}, "refuses", id="ends as if all were well"),
        pytest.param({"FIRST": "listen"}, "no_listener", id="listens before it looks"),
        pytest.param({"SAYS": "a setting is wrong"}, "names.REDIS_URL", id="does not say which"),
    ],
)
def test_a_service_that_does_not_refuse_as_it_must_is_red_in_just_that(
    start: RunModule, changes: dict[str, str], check: str
) -> None:
    assert red(start(**changes)) == [check]


def test_a_service_that_starts_is_ended_and_its_secrets_are_told_to_nobody(start: RunModule) -> None:
    result = start(unset=[], within_s=1.5)
    assert "refuses" in red(result)
    assert findings(result)["refuses"]["observed"].startswith("went on after")
    assert SECRET not in str(result)


def test_a_port_that_is_taken_proves_nothing(start: RunModule) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        result = start(port=other.getsockname()[1])
    assert red(result) == ["reachable"]
    assert "listens at" in findings(result)["reachable"]["cause"]
