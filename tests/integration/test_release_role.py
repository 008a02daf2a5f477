# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases put beside the one that serves, on hosts that are folders here: what is unpacked, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

Stage = Callable[[], str]
VERSION = "1.4.1"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A release as it was built, with its checksum beside it."""
    (tmp_path / "built/bin").mkdir(parents=True)
    (tmp_path / "built/bin/web").write_text("#!/bin/sh\n")
    path = tmp_path / f"shop-{VERSION}.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        file.add(tmp_path / "built", arcname=".")
    path.with_name(f"{path.name}.sha256").write_text(f"{checksum(path)}  {path.name}\n")
    return path


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def stage(project: Path, tmp_path: Path, archive: Path) -> Stage:
    """Play the role's stage on the hosts blue and green; returns what was said, on one line."""
    hosts = {name: {"release_base_dir": str(tmp_path / name)} for name in ("blue", "green")}
    options = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "traffic_pools": {name: [name] for name in hosts},
        "release_name": "shop",
        "release_archive_dir": str(archive.parent),
        "release_to": {"version": VERSION},
    }
    task = {"ansible.builtin.include_role": {"name": "release", "tasks_from": "stage"}}
    play = {"hosts": "localhost", "gather_facts": False, "tasks": [task]}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": {"localhost": {}} | hosts, "vars": options}}))
    (tmp_path / "play.json").write_text(json.dumps([play]))
    for name in hosts:
        (tmp_path / name / "releases").mkdir(parents=True)

    def run() -> str:
        done = subprocess.run(
            [Path(sys.executable).parent / "ansible-playbook", "-i", tmp_path / "hosts.json", tmp_path / "play.json"],
            cwd=project, capture_output=True, text=True, timeout=300, check=False,
            env=os.environ | {"ANSIBLE_CONFIG": str(project / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        )  # fmt: skip
        return " ".join(f"{done.stdout} {done.stderr} exit code {done.returncode}".split())

    return run


def releases_on(host: Path) -> list[str]:
    return sorted(path.name for path in (host / "releases").iterdir())


def test_a_release_is_unpacked_on_every_host(stage: Stage, tmp_path: Path, archive: Path) -> None:
    assert "exit code 0" in (said := stage()), said
    for host in (tmp_path / "blue", tmp_path / "green"):
        assert releases_on(host) == [VERSION]
        assert (host / f"releases/{VERSION}/bin/web").exists()
        assert (host / f"releases/{VERSION}/.archive.sha256").read_text() == checksum(archive)


def test_a_directory_without_a_note_of_its_archive_is_refused_with_the_way_out(
    stage: Stage, tmp_path: Path, archive: Path
) -> None:
    adopted = tmp_path / f"green/releases/{VERSION}"
    (adopted / "bin").mkdir(parents=True)
    said = stage()
    assert f"green already has {adopted}, and no note in it of the archive that it came from" in said
    assert "exit code 2" in said
    assert (releases_on(tmp_path / "blue"), releases_on(tmp_path / "green")) == ([], [VERSION])
    note = f"printf %s {checksum(archive)} > {adopted}/.archive.sha256"
    assert note in said
    subprocess.run(note, shell=True, check=True)
    assert "exit code 0" in (said := stage()), said
    assert releases_on(tmp_path / "blue") == [VERSION]
    assert not (adopted / "bin/web").exists(), "what was adopted is left as it is"
