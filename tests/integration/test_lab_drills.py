# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's drills as its inventory declares them: an honest service passes what each watches, and no liar does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import drill_check
import pytest
import web
from findings import red
from web import Answer, Request, as_json

RunModule = Callable[..., dict[str, Any]]
Target = Mapping[str, Any]

PROJECT = Path(__file__).resolve().parents[2]
WELL = as_json({"status": "ok"})
# Much less than the lab's, so that a service that hangs is soon seen to. An honest one gets more than it can need here.
BUDGET_MS, ENOUGH_MS = 300, 4000


def declared(folder: Path) -> list[dict[str, Any]]:
    """The drills as Ansible understands them, of a lab that is not there."""
    place = folder / "drills.json"
    content = {"content": "{{ drills_declared | to_json }}", "dest": str(place), "mode": "0600"}
    argv = [str(Path(sys.executable).with_name("ansible")), "-i", str(PROJECT / "inventories/lab"), "localhost"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CUTOVER_")}
    environment |= {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "CUTOVER_LAB_STATE": str(folder / "lab")}
    subprocess.run([*argv, "-m", "ansible.builtin.copy", "-a", json.dumps(content)], env=environment, check=True,
                   capture_output=True, timeout=120)  # fmt: skip
    return list(json.loads(place.read_text()))


@pytest.fixture(scope="module")
def drills(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return {drill["name"]: drill for drill in declared(tmp_path_factory.mktemp("declared"))}


def watched(drill: Mapping[str, Any], *, stays: bool) -> list[Target]:
    """What a drill watches while something is broken: what must notice it, or what must not."""
    return [
        target
        for target in drill.get("while_broken") or ()
        if bool((target.get("expected") or {}).get("stays")) is stays
    ]


def honest(expected: Mapping[str, Any]) -> Answer:
    """The answer that is expected."""
    status = expected["status"]
    document: dict[str, Any] = {}
    for path, value in (expected.get("json") or {}).items():
        _put(document, path.split("."), value)
    for name in expected.get("ready_dependencies") or ():
        _put(document, ["checks", name, "ok"], True)
    document |= expected.get("json_equals") or {}
    text = expected.get("body_contains") or expected.get("body_matches")
    code = status[0] if isinstance(status, list) else status
    return Answer(str(text).encode(), code) if text else as_json(document, code)


def _put(document: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        document = document.setdefault(name, {})
    document[path[-1]] = value


def lies_of(truth: Answer) -> dict[str, Answer]:
    """What a service may say instead."""
    lies = {"it fell over": replace(truth, status=500), "it hung": replace(truth, after_s=2 * BUDGET_MS / 1000)}
    if truth.status != 200:
        lies["it never noticed"] = WELL
    document = json.loads(truth.body) if truth.body.startswith(b"{") else {}
    for name, check in (document.get("checks") or {}).items():
        other = {**document, "checks": {**document["checks"], name: {"ok": not check["ok"]}}}
        lies[f"it said the reverse of {name}"] = as_json(other, truth.status)
    return lies


def watch(
    run_module: RunModule, page: web.Page, target: Target, *, budget_ms: int = ENOUGH_MS, **expected: Any
) -> list[str]:
    with web.serving({"/x": page}) as site:
        answer = {**target["expected"]["answer"], "max_ms": budget_ms}
        asked = {"name": target["name"], "address": f"{site.address}/x", "expected": {"answer": answer, **expected}}
        result = run_module(
            drill_check, targets=[asked], every_s=0.05, timeout_s=5, report_only=True,
            for_s=0.5 if expected.get("stays") else 0.0,
        )  # fmt: skip
        return red(result)


NOTICE = [
    "redis_refused", "redis_hanging", "postgres_refused", "postgres_hanging", "vault_sealed", "vault_hanging",
    "objectstore_gone", "redis_refused_beside", "stuck_run",
]  # fmt: skip
UNNOTICED = [
    "redis_refused", "postgres_refused", "vault_sealed", "objectstore_gone", "worker_killed", "web_killed", "stuck_run",
]  # fmt: skip


def test_every_drill_that_breaks_something_is_tried_here(drills: dict[str, dict[str, Any]]) -> None:
    breaking = {name for name, drill in drills.items() if drill.get("fault")}
    assert breaking <= {*NOTICE, *UNNOTICED}


@pytest.mark.parametrize("name", NOTICE)
def test_a_drill_is_passed_by_an_honest_service_and_by_no_liar(
    drills: dict[str, dict[str, Any]], run_module: RunModule, name: str
) -> None:
    for target in watched(drills[name], stays=False):
        truth = honest(target["expected"]["answer"])
        assert watch(run_module, truth, target, within_s=20, hold_s=0.2) == []
        for lie, answer in lies_of(truth).items():
            found = watch(run_module, answer, target, budget_ms=BUDGET_MS, within_s=0.4, hold_s=0.1)
            assert found, f"{target['name']}: {lie}"


@pytest.mark.parametrize("name", UNNOTICED)
def test_what_must_not_notice_a_drill_is_red_for_one_bad_answer(
    drills: dict[str, dict[str, Any]], run_module: RunModule, name: str
) -> None:
    for target in watched(drills[name], stays=True):
        truth = honest(target["expected"]["answer"])
        asked: list[Request] = []

        def once(request: Request, truth: Answer = truth, asked: list[Request] = asked) -> Answer:
            asked.append(request)
            return replace(truth, status=503) if len(asked) == 2 else truth

        assert watch(run_module, truth, target, stays=True) == []
        assert watch(run_module, once, target, stays=True) == ["stays"]
