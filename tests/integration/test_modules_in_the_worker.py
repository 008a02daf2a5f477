# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the project's modules run, by ansible-playbook itself, and that nobody can tell it from what they return."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
SECRET = "Tr0ub4dor&3-in-a-module"

CONFIGURATION = f"""[defaults]
inventory = hosts.yml
library = library
module_utils = {PROJECT}/module_utils
action_plugins = {PROJECT}/plugins/action
inject_facts_as_vars = false
localhost_warning = false
local_tmp = tmp
remote_tmp = tmp
[connection]
pipelining = true
"""

# A module as Ansible asks for it, that tells what it sees.
PROBE = """#!/usr/bin/python
import json, os, sys
from ansible.module_utils.basic import AnsibleModule

def main():
    module = AnsibleModule(
        {"value": {"type": "raw"}, "secret": {"type": "str", "no_log": True}, "how": {"default": "exit"}},
        supports_check_mode=True,
    )
    if module.params["how"] == "fail":
        module.fail_json(msg="it is not as it should be", seen=7)
    if module.params["how"] == "raise":
        raise ValueError("nobody expected this")
    if module.params["how"] == "say nothing":
        return
    value = module.params["value"]
    module.warn("mind the step") if module.params["how"] == "warn" else None
    module.exit_json(
        changed=False,
        apart=".zip" in __file__,
        told=f"the secret is {module.params['secret']}",
        value=value,
        kind=type(value).__module__ + "." + type(value).__name__,
        directory=os.getcwd(),
        interpreter=sys.executable,
        check_mode=module.check_mode,
        unset=os.environ.get("PROBE_SET", ""),
    )

if __name__ == "__main__":
    main()
"""

SUDO = """#!/bin/sh
while [ "$1" != /bin/sh ]; do shift; done
exec "$@"
"""


@pytest.fixture
def play(tmp_path):
    """Play tasks that call `probe` or `fault`, and return what each registered, by its number, and what was shown."""
    (tmp_path / "ansible.cfg").write_text(CONFIGURATION)
    (tmp_path / "library").mkdir()
    for name in ("probe", "fault"):
        (tmp_path / "library" / f"{name}.py").write_text(PROBE)
    (tmp_path / "sudo").write_text(SUDO)
    (tmp_path / "sudo").chmod(0o755)
    # The same interpreter under another name is another one.
    (tmp_path / "python").symlink_to(sys.executable)
    hosts = {
        "localhost": {"ansible_become_exe": str(tmp_path / "sudo")},
        "beside": {},
        "elsewhere": {"ansible_python_interpreter": str(tmp_path / "python")},
    }
    common = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    common["the_secret"] = SECRET
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": common}}))

    def play(*tasks: dict[str, Any]) -> tuple[dict[str, Any], str]:
        named = [{"register": f"r{number}", "ignore_errors": True, **task} for number, task in enumerate(tasks)]
        keep = {
            "ansible.builtin.copy": {
                "content": "{{ {" + ", ".join(f"'{each}': r{each}" for each in range(len(named))) + "} | to_json }}",
                "dest": str(tmp_path / "registered.json"),
                "mode": "0600",
            },
            "check_mode": False,
            "no_log": True,
        }
        book = [{"hosts": "localhost", "gather_facts": False, "tasks": [*named, keep]}]
        (tmp_path / "play.yml").write_text(yaml.safe_dump(book))
        environment = {**os.environ, "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg")}
        ended = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-vvv", "play.yml"],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout + ended.stderr
        registered = json.loads((tmp_path / "registered.json").read_text())
        return registered, ended.stdout + ended.stderr

    return play


def test_a_module_runs_in_the_worker_where_it_would_run_on_this_machine_in_this_interpreter_anyway(play):
    registered, shown = play(
        {"probe": {}},
        {"probe": {}, "delegate_to": "beside"},
        {"probe": {"value": "{{ item }}"}, "loop": [1, 2]},
        {"probe": {}, "check_mode": True},
    )

    answers = [registered["0"], registered["1"], *registered["2"]["results"], registered["3"]]
    assert [answer["apart"] for answer in answers] == [False] * 5
    assert [answer["value"] for answer in registered["2"]["results"]] == [1, 2]
    assert registered["3"]["check_mode"] is True
    assert shown.count("in the worker") == 5


def test_modules_of_ansible_that_only_look_run_there_too_and_no_others(play):
    registered, shown = play(
        {"ansible.builtin.stat": {"path": "."}},
        {"ansible.builtin.find": {"paths": "."}},
        {"ansible.builtin.file": {"path": ".", "state": "directory"}},
        {"ansible.builtin.stat": {"path": "."}, "environment": {"PROBE_SET": "yes"}},
    )

    assert shown.count("in the worker") == 2
    assert registered["0"]["stat"]["isdir"] is True
    assert registered["0"]["stat"]["path"] == registered["3"]["stat"]["path"]
    assert registered["0"].keys() == registered["3"].keys()


def test_whatever_else_was_asked_for_is_done_as_ever(play):
    registered, shown = play(
        {"probe": {}, "environment": {"PROBE_SET": "yes"}},
        {"probe": {}, "delegate_to": "elsewhere"},
        {"probe": {}, "become": True},
        {"probe": {}, "async": 30, "poll": 1},
        {"fault": {}},
    )

    assert [registered[str(number)]["apart"] for number in range(5)] == [True] * 5
    assert registered["0"]["unset"] == "yes"
    assert registered["1"]["interpreter"] != sys.executable
    assert "in the worker" not in shown


def test_what_a_module_returns_does_not_tell_where_it_ran(play):
    arguments = {"value": {"a": [1, "{{ 'two' }}", None]}, "secret": SECRET}
    apart = {"environment": {"PROBE_SET": ""}}
    registered, _ = play({"probe": arguments}, {"probe": arguments, **apart})

    here, there = registered["0"], registered["1"]
    assert here.pop("apart") != there.pop("apart")
    assert here.pop("interpreter") == there.pop("interpreter")
    assert here == there
    assert here["value"] == {"a": [1, "two", None]}


def test_a_module_sees_plain_values_and_no_objects_of_ansible(play):
    registered, _ = play({"probe": {"value": "{{ 'te' ~ 'xt' }}"}}, {"probe": {"value": "text"}})

    assert [registered[number]["kind"] for number in "01"] == ["builtins.str"] * 2


def test_a_module_that_fails_raises_or_says_nothing_has_failed(play):
    registered, _ = play(
        {"probe": {"how": "fail"}},
        {"probe": {"how": "raise"}},
        {"probe": {"how": "say nothing"}},
        {"probe": {"how": "exit", "no_such_option": 1}},
    )

    assert [registered[str(number)]["failed"] for number in range(4)] == [True] * 4
    assert registered["0"]["msg"] == "it is not as it should be"
    assert registered["0"]["seen"] == 7
    assert "nobody expected this" in registered["1"]["msg"]
    assert "probe ended without a result" in registered["2"]["msg"]
    assert "no_such_option" in registered["3"]["msg"]


def test_a_secret_that_is_marked_is_shown_nowhere(play):
    registered, shown = play(
        {"probe": {"secret": "{{ the_secret }}"}}, {"probe": {"secret": "{{ the_secret }}", "how": "raise"}}
    )

    assert registered["0"]["told"] == "the secret is ********"
    assert SECRET not in shown
