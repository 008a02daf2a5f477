# SPDX-License-Identifier: GPL-3.0-or-later
"""Services that systemd manages, set as a cutover sets them. Not every machine has it: systemctl is a script here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# A unit is a folder below its scope's; it holds `active` and `enabled` when it is, and `broken` when it cannot start.
SYSTEMCTL = """#!/bin/sh
scope=system
if [ "$1" = --user ]; then scope=user; shift; fi
cd "$(dirname "$0")/../$scope" || exit 1
echo "$*" >>asked
is() { if [ -e "$1" ]; then echo "$2"; else echo "$3"; fi; }
case $1 in
daemon-reload) ;;
show) echo "LoadState=$(is "$2" loaded not-found)"; echo "ActiveState=$(is "$2/active" active inactive)" ;;
is-enabled) is "$2/enabled" enabled disabled; test -e "$2/enabled" ;;
enable | disable) rm -f "$2/enabled"; if [ "$1" = enable ]; then touch "$2/enabled"; fi ;;
start | restart) if [ -e "$2/broken" ]; then echo "Job for $2 failed." >&2; exit 1; fi; touch "$2/active" ;;
stop) rm -f "$2/active" ;;
*) exit 1 ;;
esac
"""


class Machine:
    """Two hosts that are one machine: `blue` is its systemd, `green` that of the user."""

    def __init__(self, folder: Path, project: Path) -> None:
        self.folder, self.project = folder, project
        for scope in ("system", "user"):
            for unit in ("web.service", "jobs.timer"):
                (folder / scope / unit).mkdir(parents=True)
        (folder / "bin").mkdir()
        (folder / "bin/systemctl").write_text(SYSTEMCTL)
        (folder / "bin/systemctl").chmod(0o755)
        targets = {"blue": {"driver": "systemd"}, "green": {"driver": "systemd", "scope": "user"}}
        hosts = {"localhost": {}} | {name: {"services_target": target} for name, target in targets.items()}
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": local}}))

    def set(self, state: str, *names: str) -> str:
        """Bring the units into the state on both hosts; returns what was said, on one line."""
        wanted = {"services_hosts": ["blue", "green"], "services_names": names, "services_state": state}
        role = {"ansible.builtin.include_role": {"name": "services", "tasks_from": "set"}, "vars": wanted}
        (self.folder / "play.json").write_text(
            json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [role]}])
        )
        argv = [Path(sys.executable).with_name("ansible-playbook"), "-i", "hosts.json", "play.json"]
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        environment = {"ANSIBLE_CONFIG": str(self.project / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "PATH": path}
        done = subprocess.run(
            argv, cwd=self.folder, env=os.environ | environment,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        return " ".join(f"{done.stdout} {done.stderr} exit code {done.returncode}".split())

    def units(self, scope: str) -> dict[str, list[str]]:
        """What each unit of the scope is."""
        return {
            unit.name: sorted(mark.name for mark in unit.iterdir())
            for unit in (self.folder / scope).iterdir()
            if unit.is_dir()
        }

    def asked(self, scope: str) -> list[str]:
        """What systemctl has been told to do, without what only looks."""
        lines = (self.folder / scope / "asked").read_text().splitlines()
        return [line for line in lines if line.split()[0] not in {"show", "is-enabled"}]


@pytest.fixture
def machine(tmp_path: Path, project: Path) -> Machine:
    return Machine(tmp_path, project)


def test_a_started_unit_runs_and_is_enabled_on_every_host_and_nothing_is_done_twice(machine: Machine) -> None:
    assert "exit code 0" in (said := machine.set("started", "web.service", "jobs.timer")), said
    for scope in ("system", "user"):
        assert machine.units(scope) == {"web.service": ["active", "enabled"], "jobs.timer": ["active", "enabled"]}
        assert machine.asked(scope)[0] == "daemon-reload", "a release may bring new unit files"
    assert "changed=0" in (said := machine.set("started", "web.service", "jobs.timer")), said


def test_a_stopped_unit_does_not_come_back_with_the_next_boot(machine: Machine) -> None:
    for scope in ("system", "user"):
        for unit in ("web.service", "jobs.timer"):
            (machine.folder / scope / unit / "active").touch()
            (machine.folder / scope / unit / "enabled").touch()
    assert "exit code 0" in (said := machine.set("stopped", "jobs.timer")), said
    for scope in ("system", "user"):
        assert machine.units(scope) == {"jobs.timer": [], "web.service": ["active", "enabled"]}


def test_a_restarted_unit_is_a_new_process(machine: Machine) -> None:
    for scope in ("system", "user"):
        (machine.folder / scope / "web.service/active").touch()
    assert "exit code 0" in (said := machine.set("restarted", "web.service")), said
    for scope in ("system", "user"):
        assert machine.asked(scope) == ["daemon-reload", "enable web.service", "restart web.service"]


def test_a_unit_that_is_not_there_or_cannot_start_is_named(machine: Machine) -> None:
    said = machine.set("started", "web.servce")
    assert "Could not find the requested service web.servce" in said
    assert "exit code 2" in said
    (machine.folder / "user/web.service/broken").touch()
    said = machine.set("started", "web.service")
    assert "Unable to start service web.service: Job for web.service failed." in said
    assert "(item=green web.service)" in said
    assert "exit code 2" in said
