# SPDX-License-Identifier: GPL-3.0-or-later
"""Where schedulers may run, as an inventory declares it: what would run nowhere, or not be seen, is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def verify(folder: Path, project: Path, **declared: Any) -> str:
    """Play the role's verify with pools of two hosts each; returns what was said, on one line."""
    options = {
        "traffic_pools": {"blue": ["web1", "web2"], "green": ["web3", "web4"]},
        "schedulers_services": ["jobs"],
        "schedulers_targets": [{"name": f"web{number}"} for number in (1, 2, 3, 4)],
    }
    role = {"ansible.builtin.include_role": {"name": "schedulers", "tasks_from": "verify"}}
    play = {"hosts": "localhost", "gather_facts": False, "vars": options | declared, "tasks": [role]}
    (folder / "play.json").write_text(json.dumps([play]))
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "-c", "local", folder / "play.json"],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
        env=os.environ | {"ANSIBLE_CONFIG": str(project / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
    )  # fmt: skip
    return " ".join(f"{done.stdout} {done.stderr} exit code {done.returncode}".split())


@pytest.mark.parametrize(
    ("declared", "refusal"),
    [
        pytest.param(
            {"schedulers_targets": [{"name": "web1"}, {"name": "web3"}]},
            "schedulers_targets does not name web2, web4",
            id="hosts that nobody looks at",
        ),
        pytest.param(
            {"schedulers_hosts": ["web1", "web3", "wbe2"]},
            "schedulers_hosts names wbe2, which is in no pool",
            id="a host that there is not",
        ),
        pytest.param(
            {"schedulers_hosts": ["web1", "web2"]},
            "none of web3, web4: where the pool green serves, nothing would run jobs",
            id="a pool in which none may run",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, project: Path, declared: dict[str, Any], refusal: str) -> None:
    said = verify(tmp_path, project, **declared)
    assert refusal in said
    assert "Find what serves" not in said, "it is refused before anything is asked"


def test_the_default_is_not_refused(tmp_path: Path, project: Path) -> None:
    said = verify(tmp_path, project)
    assert "schedulers_hosts names" not in said
    assert "Find what serves" in said
