# SPDX-License-Identifier: GPL-3.0-or-later
"""The production to copy, as it stands: all that is declared is understood, and what reaches nothing is a no-go.

No name of it exists, so the machine that runs this needs no network. Playbooks run one after the other, within bounds.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cutover.journal import read_journal

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLE = PROJECT / "inventories" / "example"
LIMIT_S = 240

UNREACHED = re.compile(r"could not resolve|name or service not known|failed to resolve|temporary failure in name", re.I)
# What Ansible says of an inventory that a role or a module does not understand.
MISUNDERSTOOD = re.compile(r"argument|unsupported param|is undefined|missing required|implies no check|traceback", re.I)


@dataclass
class Ended:
    """What a playbook left behind."""

    code: int
    output: str
    dir: Path

    @property
    def decision(self) -> dict[str, Any]:
        return dict(json.loads((self.dir / "decision.json").read_text(encoding="utf-8")))

    def records(self, kind: str) -> list[dict[str, Any]]:
        return [record["data"] for record in read_journal(self.dir / "journal.jsonl") if record["kind"] == kind]


def play(playbook: str, artifacts: Path, *arguments: str) -> Ended:
    """Play with the example inventory, and none of the secrets that it asks the environment for."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CUTOVER_")}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(EXAMPLE), f"playbooks/{playbook}.yml",
         "-e", f"run_artifacts_dir={artifacts}", *arguments],
        cwd=PROJECT, capture_output=True, text=True, timeout=LIMIT_S, check=False, stdin=subprocess.DEVNULL,
        env=environment | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_SSH_ARGS": "-F none"},
    )  # fmt: skip
    runs = list(artifacts.glob("production/*Z-*"))
    assert len(runs) == 1, done.stdout + done.stderr
    return Ended(done.returncode, done.stdout + done.stderr, runs[0])


@pytest.fixture(scope="module")
def readiness(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """What readiness says of the example."""
    return play("readiness", tmp_path_factory.mktemp("readiness"))


@pytest.fixture(scope="module")
def cutover(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """What a cutover says of it, with a release that is there."""
    releases = tmp_path_factory.mktemp("releases")
    (releases / "shop-1.0.0.tar.gz").touch()
    return play(
        "cutover", tmp_path_factory.mktemp("cutover"),
        "-e", "release_version=1.0.0", "-e", f"release_archive_dir={releases}",
    )  # fmt: skip


@pytest.fixture(scope="module")
def components() -> list[str]:
    """The components that the example declares."""
    declared = yaml.safe_load((EXAMPLE / "group_vars" / "all" / "run.yml").read_text(encoding="utf-8"))
    return list(declared["run_components"])


def unreached(ended: Ended) -> set[str]:
    """The components that block because something of them could not be reached."""
    return {
        blocker["component"]
        for blocker in ended.decision["blocking"]
        if (blocker["check"] == "reachable" or blocker["status"] == "unreachable")
        and UNREACHED.search(blocker["cause"])
    }


def test_ansible_reads_the_inventory() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-inventory"), "-i", str(EXAMPLE), "--list"],
        cwd=PROJECT, capture_output=True, text=True, timeout=60, check=True,
        env=os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")},
    )  # fmt: skip
    assert json.loads(done.stdout)["app"]["children"] == ["app_blue", "app_green"]


def test_readiness_closes_its_run_with_a_no_go(readiness: Ended) -> None:
    assert readiness.code == 2, readiness.output
    assert readiness.decision["verdict"] == "no-go"
    assert [gate["gate"] for gate in readiness.decision["gates"]] == ["readiness"]
    assert "NO-GO  readiness of production" in readiness.output
    assert (readiness.dir / "report.html").exists()


def test_every_component_that_is_declared_blocks(readiness: Ended, components: list[str]) -> None:
    # The way back is of all of it, and listed nowhere.
    assert {blocker["component"] for blocker in readiness.decision["blocking"]} == {*components, "way_back"}


def test_the_cause_is_that_nothing_can_be_reached(readiness: Ended, components: list[str]) -> None:
    # What the pool that serves runs cannot be asked before the load balancer has said which one that is.
    assert unreached(readiness) == set(components) - {"release", "schedulers"}


def test_every_target_that_is_looked_at_from_here_has_a_verdict(readiness: Ended) -> None:
    judged = {verdict["component"] for verdict in readiness.records("verdict")}
    assert judged == {"vault", "postgres", "redis", "objectstore", "endpoints"}


def test_nothing_of_the_inventory_is_misunderstood(readiness: Ended, cutover: Ended) -> None:
    for ended in (readiness, cutover):
        messages = [failure["message"] for failure in ended.records("failure")]
        assert [message for message in messages if MISUNDERSTOOD.search(message)] == []
        assert "Traceback (most recent call last)" not in ended.output


def test_a_cutover_of_what_cannot_be_reached_changes_nothing_and_closes_its_run(cutover: Ended) -> None:
    assert cutover.code == 2, cutover.output
    assert cutover.decision["verdict"] == "no-go"
    assert {gate["gate"]: gate["verdict"] for gate in cutover.decision["gates"]}.get("preflight", "no-go") == "no-go"
    assert cutover.records("change") == []
