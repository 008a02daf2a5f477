# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules as they are installed, and their programs as cron and systemd start them: without a terminal, in `/`."""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PLAY = [str(Path(sys.executable).with_name("ansible-playbook")), str(PROJECT / "playbooks" / "schedule.yml")]

# What is scheduled here: says what it was told, sleeps as long as it is told, and fails when it is told.
NIGHTLY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.debug:
        msg: "told {{ told }} and {{ lookup('ansible.builtin.env', 'SPOKEN') }}"
    - ansible.builtin.command: {argv: [sleep, "{{ lookup('ansible.builtin.env', 'NAP') | default('0', true) }}"]}
    - ansible.builtin.fail:
      when:
        - lookup('ansible.builtin.env', 'FAIL') == 'yes'
"""
JOB = {
    "name": "nightly", "playbook": "nightly.yml", "calendar": "*-*-* 03:00:00", "cron": "0 3 * * *", "every_s": 86400,
    "random_delay_s": 0, "time_limit_s": 60, "variables": {"told": "by the inventory's \"owner\""},
}  # fmt: skip


class Machine:
    """A folder that stands for a machine: its units, its cron, a project with one playbook."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("programs", "units", "cron.d", "output", "artifacts", "project/playbooks"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "project" / "playbooks" / "nightly.yml").write_text(NIGHTLY)
        temporary = f"local_tmp = {folder.parent}/tmp\nremote_tmp = {folder.parent}/tmp\n"
        (folder / "project" / "ansible.cfg").write_text(f"[defaults]\n{temporary}")
        hosts = {"localhost": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}
        variables = {"run_environment": "staging"}
        (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}))
        (folder / "environment").write_text("SPOKEN='the environment'\n")
        self.program = folder / "programs" / "cutover-staging-nightly"
        self.output = folder / "output"

    def play(self, state: str, driver: str = "cron", **job: Any) -> subprocess.CompletedProcess[str]:
        places = {"dir": "programs", "unit_dir": "units", "cron_dir": "cron.d", "output_dir": "output",
                  "project_dir": "project", "artifacts_dir": "artifacts", "environment_file": "environment",
                  "inventory": "hosts.json"}  # fmt: skip
        variables = {f"schedule_{name}": str(self.folder / path) for name, path in places.items()}
        variables |= {"schedule_driver": driver, "schedule_state": state, "schedule_jobs": [JOB | job]}
        variables |= {"schedule_user": getpass.getuser(), "schedule_outputs_kept": 3}
        argv = [*PLAY, "-i", str(self.folder / "hosts.json"), "-e", json.dumps(variables)]
        environment = os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=300, check=False)

    def run(self, *words: str, **environment: str) -> int:
        """As cron does: next to no environment, no terminal, in `/`."""
        least = {"HOME": "/", "LOGNAME": "root", "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"} | environment
        line = " ".join([str(self.program), *words])
        return subprocess.run(["/bin/sh", "-c", line], env=least, cwd="/", stdin=subprocess.DEVNULL,
                              start_new_session=True, timeout=300, check=False).returncode  # fmt: skip

    def outputs(self) -> list[str]:
        return [path.read_text() for path in sorted(self.output.glob("nightly-[0-9]*.log"))]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """One with the schedule installed for cron."""
    made = Machine(tmp_path_factory.mktemp("machine"))
    installed = made.play("install")
    assert installed.returncode == 0, installed.stdout
    return made


def test_cron_gets_one_line(machine: Machine) -> None:
    lines = (machine.folder / "cron.d" / "cutover-staging-nightly").read_text().splitlines()
    assert lines[-1] == f"0 3 * * * {getpass.getuser()} {machine.program}"


def test_installing_twice_changes_nothing(machine: Machine) -> None:
    assert "changed=0" in machine.play("install").stdout


def test_a_run_needs_nothing_and_keeps_its_output(machine: Machine) -> None:
    before = len(machine.outputs())
    assert machine.run() == 0
    assert len(machine.outputs()) == before + 1
    assert "told by the inventory's" in machine.outputs()[-1]
    assert "and the environment" in machine.outputs()[-1]
    assert machine.outputs()[-1].endswith("nightly: exit status 0\n")


def test_a_run_ends_as_its_playbook_does(machine: Machine) -> None:
    assert machine.run(FAIL="yes") == 2
    assert machine.outputs()[-1].endswith("nightly: exit status 2\n")
    shown = machine.play("show").stdout
    assert "installed (cron), 0 3 * * *" in shown
    assert "exit status 2" in shown


def test_a_run_beside_another_one_is_left_out_and_says_so(machine: Machine) -> None:
    before = len(machine.outputs())
    with (machine.output / ".nightly.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert machine.run() == 75
    assert len(machine.outputs()) == before
    assert "left out" in (machine.output / "nightly-left-out.log").read_text()


def test_the_newest_outputs_are_kept(machine: Machine) -> None:
    for day in range(1, 6):
        (machine.output / f"nightly-2025010{day}T000000Z.log").write_text(f"{day}\n")
    assert machine.run() == 0
    assert len(machine.outputs()) == 3
    assert machine.outputs()[-1].endswith("exit status 0\n")


def test_a_run_that_lasts_is_ended(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.play("install", time_limit_s=15).returncode == 0
    begun = time.monotonic()
    assert machine.run(NAP="200") == 124
    assert time.monotonic() - begun < 100
    assert "ended after 15 s" in machine.outputs()[-1]


def test_what_cron_starts_is_delayed_at_random_and_what_a_person_starts_is_not(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    tools = tmp_path / "tools"
    tools.mkdir()
    # Stands for the one that waits, and writes down for how long.
    (tools / "sleep").write_text(f'#!/bin/sh\necho "$1" >>{tmp_path}/slept\n')
    (tools / "ansible-playbook").write_text("#!/bin/sh\n")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    assert machine.play("install", random_delay_s=100_000).returncode == 0
    text = machine.program.read_text()
    assert str(PLAY[0]).rpartition("/")[0] in text
    machine.program.write_text(text.replace(str(PLAY[0]).rpartition("/")[0], str(tools)))
    assert [machine.run() for _ in range(4)] == [0, 0, 0, 0]
    slept = [int(line) for line in (tmp_path / "slept").read_text().split()]
    assert len(set(slept)) == len(slept) == 4
    assert all(0 <= seconds < 100_000 for seconds in slept)
    assert machine.run("now") == 0
    assert len((tmp_path / "slept").read_text().split()) == 4


def test_a_name_that_cron_would_pass_over_is_refused(tmp_path: Path) -> None:
    refused = Machine(tmp_path).play("install", name="nightly.2")
    assert refused.returncode != 0
    assert "the name nightly.2 is not one of a schedule" in refused.stdout + refused.stderr
    assert list((tmp_path / "cron.d").iterdir()) == []


def test_removing_takes_all_away_but_the_output(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (machine.output / "nightly-20250101T000000Z.log").write_text("kept\n")
    assert machine.play("install").returncode == 0
    assert machine.play("remove").returncode == 0
    assert [path.name for name in ("programs", "cron.d", "units") for path in (tmp_path / name).iterdir()] == []
    assert machine.outputs() == ["kept\n"]
    assert "not installed" in machine.play("show").stdout


AWKWARD = "50% of it"


def as_cron_reads(line: str) -> str:
    """The command of a line as cron gives it to the shell: what follows a bare % would be its input; crontab(5)."""
    command = line.split(" ", 6)[6]
    assert "%" not in command.replace("\\%", "")
    return command.replace("\\%", "%")


def test_cron_runs_a_program_whose_path_has_spaces_and_percent_signs(tmp_path: Path) -> None:
    machine = Machine(tmp_path / AWKWARD)
    assert machine.play("install").returncode == 0
    line = (machine.folder / "cron.d" / "cutover-staging-nightly").read_text().splitlines()[-1]
    ended = subprocess.run(["/bin/sh", "-c", as_cron_reads(line)], env={"HOME": "/", "PATH": "/usr/bin:/bin"}, cwd="/",
                           stdin=subprocess.DEVNULL, timeout=300, check=False)  # fmt: skip
    assert ended.returncode == 0
    assert "told by the inventory's" in machine.outputs()[-1]


needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")


@needs_systemd
def test_systemd_gets_a_hardened_service_and_a_timer_that_it_takes(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    installed = machine.play("install", "systemd", random_delay_s=600)
    assert installed.returncode == 0, installed.stdout
    names = sorted(path.name for path in (tmp_path / "units").iterdir())
    assert names == ["cutover-staging-nightly.service", "cutover-staging-nightly.timer"]
    service, timer = ((tmp_path / "units" / name).read_text() for name in names)
    assert "ProtectSystem=strict" in service
    assert f"ExecStart={machine.program}" in service
    assert "RandomizedDelaySec=600" in timer
    assert "Persistent=true" in timer
    # The delay is systemd's: the program has none of its own.
    assert "sleep" not in machine.program.read_text()


@needs_systemd
def test_systemd_takes_a_program_whose_path_has_spaces_and_percent_signs(tmp_path: Path) -> None:
    machine = Machine(tmp_path / AWKWARD)
    installed = machine.play("install", "systemd")
    assert installed.returncode == 0, installed.stdout
    service = (machine.folder / "units" / "cutover-staging-nightly.service").read_text()
    assert f'ExecStart="{str(machine.program).replace("%", "%%")}"\n' in service


@needs_systemd
def test_a_unit_that_systemd_does_not_take_is_never_put_into_place(tmp_path: Path) -> None:
    assert Machine(tmp_path).play("install", "systemd", calendar="whenever").returncode != 0
    assert list((tmp_path / "units").iterdir()) == []
