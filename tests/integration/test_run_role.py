# SPDX-License-Identifier: GPL-3.0-or-later
"""A run from its opening to its report, by ansible-playbook itself: what is written, what is said, what is refused.

The two components of these runs return the verdicts that a test gives them; all the rest is the real thing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cutover.journal import Journal, hold, is_held, read_journal
from servers import wait_until

PROJECT = Path(__file__).resolve().parents[2]
SECRET = "Tr0ub4dor&3/+ü"
SHORT_SECRET = "zq7kx"

CONFIGURATION = f"""[defaults]
inventory = hosts.yml
library = library:{PROJECT}/library
module_utils = {PROJECT}/module_utils
action_plugins = {PROJECT}/plugins/action
callback_plugins = callbacks:{PROJECT}/plugins/callback
filter_plugins = {PROJECT}/plugins/filter
doc_fragment_plugins = {PROJECT}/plugins/doc_fragments
roles_path = roles:{PROJECT}/roles
callbacks_enabled = evidence
inject_facts_as_vars = false
callback_result_format = yaml
localhost_warning = false
local_tmp = tmp
remote_tmp = tmp
[connection]
pipelining = true
"""

# Answers what a file says, as a server would: a check without a server.
GIVEN_CHECK = """
import json
from ansible.module_utils.basic import AnsibleModule
target = {"name": {"type": "str"}, "password": {"type": "str", "no_log": True}, "url": {"type": "str", "no_log": True}}
arguments = {"targets": {"type": "list", "elements": "dict", "options": target}, "answers": {"type": "path"}}
module = AnsibleModule(arguments, supports_check_mode=True)
with open(module.params["answers"]) as answers:
    module.exit_json(changed=False, **json.load(answers))
"""


def finding(check: str = "version", status: str = "pass", **more: Any) -> dict[str, Any]:
    sides = {"expected": "7", "observed": "7" if status == "pass" else "6", "cause": None, "remedy": "Upgrade it."}
    return {"check": check, "status": status, "blocking": True} | sides | more


def verdict(component: str, subject: str, *findings: dict[str, Any], **more: Any) -> dict[str, Any]:
    ok = all(item["status"] == "pass" for item in findings)
    return {"component": component, "subject": subject, "address": f"tcp://{subject}:1", "ok": ok, "took_ms": 3,
            "findings": list(findings)} | more  # fmt: skip


GOOD = {
    "alpha": [verdict("alpha", "one", finding()), verdict("alpha", "two", finding())],
    "beta": [verdict("beta", "three", finding())],
}


@dataclass
class Ended:
    """What a playbook left behind."""

    code: int
    output: str
    project: Path

    @property
    def dirs(self) -> list[Path]:
        return sorted(self.project.glob("artifacts/*/*/"), key=lambda path: (path / "manifest.json").stat().st_mtime_ns)

    @property
    def dir(self) -> Path:
        return self.dirs[-1]

    @property
    def decision(self) -> dict[str, Any]:
        return json.loads((self.dir / "decision.json").read_text())

    def records(self, kind: str) -> list[dict[str, Any]]:
        return [record["data"] for record in read_journal(self.dir / "journal.jsonl") if record["kind"] == kind]

    def blocking(self) -> list[str]:
        return [f"{b['component']}/{b['subject']} {b['check']} {b['status']}" for b in self.decision["blocking"]]


Play = Callable[..., Ended]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Run readiness, or other tasks between its opening and its gate, over components that say what they are told."""
    for name, text in {"ansible.cfg": CONFIGURATION, "library/given_check.py": GIVEN_CHECK}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "callbacks").mkdir()

    def run(
        verdicts: dict[str, Any] = GOOD,
        *arguments: str,
        variables: dict[str, Any] | None = None,
        hosts: dict[str, Any] | None = None,
        before_gate: list[dict[str, Any]] | None = None,
        after_gate: list[dict[str, Any]] | None = None,
        cwd: Path | None = None,
        command: list[str] | None = None,
        verb: str = "readiness",
    ) -> Ended:
        _write_project(tmp_path, verdicts, variables or {}, hosts or {}, before_gate or [], after_gate or [], verb)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        environment |= {"ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"}
        playbook = command or [str(Path(sys.executable).parent / "ansible-playbook")]
        done = subprocess.run(
            [*playbook, str(tmp_path / "play.yml"), *arguments], cwd=cwd or tmp_path, env=environment,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout + done.stderr, tmp_path)

    return run


def _write_project(
    project: Path, verdicts: dict[str, Any], variables: dict[str, Any], hosts: dict[str, Any],
    before_gate: list[dict[str, Any]], after_gate: list[dict[str, Any]], verb: str,
) -> None:  # fmt: skip
    components = {
        "run_components": ["alpha", "beta"], "run_environment": "staging",
        "run_artifacts_dir": str(project / "artifacts"),
        "alpha_targets": [{"name": "one"}, {"name": "two"}], "beta_targets": [{"name": "three"}],
        "ansible_connection": "local", "ansible_python_interpreter": sys.executable,
    }  # fmt: skip
    _dump(project / "hosts.yml", {"all": {"hosts": {"localhost": {}} | hosts, "vars": components | variables}})
    for component in ("alpha", "beta"):
        given = verdicts[component]
        answers = given if isinstance(given, dict) else {"verdicts": given}
        _dump(project / "answers" / f"{component}.json", answers)
        tasks = [_judging(component)] if "tasks" not in answers else answers["tasks"]
        _dump(project / "roles" / component / "tasks" / "verify.yml", tasks)
    include = {
        name: {"ansible.builtin.include_role": {"name": "run", "tasks_from": name}}
        for name in ("open", "verify", "gate", "close")
    }
    steps = [include["verify"], *before_gate, include["gate"] | {"vars": {"run_gate": "readiness"}}, *after_gate]
    _dump(project / "play.yml", [{
        "hosts": "localhost", "gather_facts": False, "tasks": [
            include["open"] | {"vars": {"run_verb": verb}},
            {"block": steps, "always": [include["close"] | {"vars": {"run_required_gates": ["readiness"]}}]},
        ],
    }])  # fmt: skip


def _judging(component: str) -> dict[str, Any]:
    asked = {
        "targets": f"{{{{ {component}_targets }}}}",
        "answers": f"{{{{ inventory_dir }}}}/answers/{component}.json",
    }
    return {"name": f"verify | Judge {component}", "given_check": asked}


def _dump(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))  # JSON is YAML


def test_it_is_go_when_everything_passed(play: Play) -> None:
    ended = play()
    assert ended.code == 0, ended.output
    assert "GO  readiness of staging" in ended.output
    assert "NO-GO" not in ended.output
    assert ended.decision["verdict"] == "go"
    assert len(ended.records("verdict")) == 3
    assert [record["kind"] for record in read_journal(ended.dir / "journal.jsonl")] == [
        "opened", "verdict", "verdict", "verdict", "decision", "closed",
    ]  # fmt: skip
    assert {path.name for path in ended.dir.iterdir()} == {
        "manifest.json", "journal.jsonl", "decision.json", "report.html", "report.md", "gates",
    }  # fmt: skip
    assert {stat.S_IMODE(path.stat().st_mode) for path in ended.dir.rglob("*") if path.is_file()} == {0o600}
    assert stat.S_IMODE(ended.dir.stat().st_mode) == 0o700


def test_the_manifest_says_when_who_where_and_with_what(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=jane", "-c", "user.email=jane@example.org"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "Begin"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()
    monkeypatch.setenv("SUDO_USER", "jane")
    monkeypatch.setenv("TZ", "FAR+11")
    before = datetime.now(UTC)
    ended = play()
    text = (ended.dir / "manifest.json").read_bytes()
    manifest = json.loads(text)
    assert manifest["opened_at"].endswith("Z")
    assert before - timedelta(seconds=1) < datetime.fromisoformat(manifest["opened_at"]) < datetime.now(UTC)
    assert (manifest["id"], manifest["environment"], manifest["operator"]) == (ended.dir.name, "staging", "jane")
    assert manifest["runner"].startswith(f"{socket.gethostname()[:2]}*** ("), "not to be found by its name"
    assert (manifest["project"]["git_sha"], manifest["project"]["dirty"]) == (commit, True)
    packages = ("ansible-core", "ansible", "jinja2", "hvac", "psycopg", "redis", "requests")
    versions = {"python": platform.python_version()} | {name: metadata.version(name) for name in packages}
    assert manifest["versions"] == versions
    assert ended.records("opened")[0]["manifest_sha256"] == hashlib.sha256(text).hexdigest()


def test_a_finding_that_did_not_pass_is_named_with_both_sides_and_its_remedy(play: Play) -> None:
    ended = play(GOOD | {"beta": [verdict("beta", "three", finding("role", "fail"))]})
    assert ended.code == 2
    assert ended.blocking() == ["beta/three role fail"]
    summary = ended.output[ended.output.rindex("NO-GO  ") :]
    for words in (
        "beta/three  role  fail",
        "expected  7",
        "observed  6",
        "remedy    Upgrade it.",
        "artifacts/staging/",
    ):
        assert words in summary
    assert max(map(len, summary.splitlines())) <= 80


def test_a_component_that_fails_does_not_keep_the_next_from_being_judged(play: Play) -> None:
    ended = play(
        GOOD | {"alpha": {"tasks": [{"name": "verify | Break", "ansible.builtin.fail": {"msg": "no client library"}}]}}
    )
    assert ended.code == 2
    assert ended.blocking() == [
        "alpha/localhost verify | Break failed", "alpha/one judged missing", "alpha/two judged missing",
    ]  # fmt: skip
    assert ended.records("failure")[0]["message"] == "no client library"
    assert [entry["subject"] for entry in ended.records("verdict")] == ["three"]


def test_a_rescued_failure_and_an_ignored_one_still_count(play: Play) -> None:
    fail = {"ansible.builtin.fail": {"msg": "broken"}}
    rescued = {"block": [fail], "rescue": [{"ansible.builtin.debug": {"msg": "never mind"}}]}
    assert play(before_gate=[rescued]).blocking() == ["playbook/localhost ansible.builtin.fail failed"]
    assert play(before_gate=[fail | {"ignore_errors": True}]).code == 2


def test_a_failed_item_of_a_loop_is_named(play: Play) -> None:
    looped = {
        "name": "Try",
        "ansible.builtin.command": "test {{ item }} = a",
        "loop": ["a", "b"],
        "changed_when": False,
    }
    ended = play(before_gate=[looped])
    assert [entry["item"] for entry in ended.records("failure")] == ["b"]
    assert [(entry["argv"], entry["exit_code"]) for entry in ended.records("command")] == [
        (["test", "a", "=", "a"], 0), (["test", "b", "=", "a"], 1),
    ]  # fmt: skip


def test_an_unreachable_host_closes_the_gate(play: Play) -> None:
    gone = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_user": "nobody"}
    ping = {"name": "Ask", "ansible.builtin.ping": {}, "delegate_to": "gone", "ignore_unreachable": True}
    ended = play(hosts={"gone": gone}, before_gate=[ping])
    assert ended.code == 2
    assert ended.blocking() == ["playbook/localhost Ask unreachable"]


def test_a_component_that_is_no_role_or_has_no_target_closes_the_gate(play: Play) -> None:
    ended = play(variables={"run_components": ["alpha", "beta", "gamma"]})
    assert ended.code == 2
    assert "gamma/(no target is declared) judged missing" in ended.blocking()
    assert play(variables={"beta_targets": []}).blocking() == ["beta/(no target is declared) judged missing"]


def test_a_task_that_hides_its_result_proves_nothing(play: Play) -> None:
    hidden = {"verdicts": GOOD["beta"], "tasks": [_judging("beta") | {"no_log": True}]}
    assert play(GOOD | {"beta": hidden}).blocking() == ["beta/three judged missing"]
    failing = {"name": "verify | Hide", "ansible.builtin.fail": {"msg": SECRET}, "no_log": True}
    ended = play(GOOD | {"beta": {"tasks": [failing]}})
    assert "beta/localhost verify | Hide failed" in ended.blocking()
    assert "no_log" in ended.records("failure")[0]["message"]


def _survives(text: str) -> list[str]:
    data = SECRET.encode()
    forms = [SECRET, SHORT_SECRET, quote(SECRET), quote(SECRET, safe=""), json.dumps(SECRET)[1:-1], data.hex()]
    forms += [base64.b64encode(b"x" * shift + data).decode()[4:-4] for shift in range(3)]
    return [form for form in forms if form in text]


def _with_secrets(project: Path) -> dict[str, Any]:
    """An inventory that keeps its secrets the usual ways: in a file, in a template, in a target, in a URL."""
    (project / "secret").write_text(SECRET)
    return {
        "the_password": "{{ lookup('ansible.builtin.file', inventory_dir ~ '/secret') }}",
        "beta_targets": [{"name": "three", "password": "{{ the_password }}",
                          "url": "redis://:{{ the_password | urlencode }}@h:1"}],
    }  # fmt: skip


def test_no_secret_of_the_inventory_is_written_whatever_a_server_repeats(play: Play, tmp_path: Path) -> None:
    basic = base64.b64encode(f"user:{SECRET}".encode()).decode()
    leaks = {
        "observed": f"said {SECRET}", "cause": f"curl -u user:{SECRET} {quote(SECRET, safe='')}",
        "expected": {SECRET: [SHORT_SECRET]}, "remedy": f"basic {basic} or {SECRET.encode().hex()}",
    }  # fmt: skip
    kept = {"status": 200, "headers": {"Cookie": "a=b", "X-Echo": SECRET}, "body": json.dumps({"a": SECRET})}
    # alpha's check is told no secret, so nothing but the callback can know what to hide.
    alpha = {
        "commands": [{"argv": ["tool", "--password", "x", SECRET], "exit_code": 0, "first_lines": [SECRET],
                      "last_lines": [basic]}],
        "verdicts": [verdict("alpha", "one", finding(status="fail", **leaks), recorded=kept), GOOD["alpha"][1]],
    }  # fmt: skip
    fail = {
        "name": "Fail with it",
        "ansible.builtin.fail": {"msg": "cannot log in with {{ the_password }}"},
        "ignore_errors": True,
    }
    ended = play(
        GOOD | {"alpha": alpha}, "-e", f"extra_token={SHORT_SECRET}", "-e", "note=" + SECRET,
        variables=_with_secrets(tmp_path), before_gate=[fail],
    )  # fmt: skip
    assert ended.code == 2
    assert len(ended.records("verdict")) == 3
    assert len(ended.records("failure")) == 1
    for path in ended.dir.rglob("*"):
        if path.is_file():
            assert _survives(path.read_text()) == [], path.name
    assert _survives(ended.output[ended.output.rindex("NO-GO  ") :]) == []


def test_no_secret_is_said_at_any_verbosity(play: Play, tmp_path: Path) -> None:
    ended = play(GOOD, "-vvv", variables=_with_secrets(tmp_path))
    assert ended.code == 0, ended.output
    assert _survives(ended.output) == []


def test_check_mode_judges_and_writes_all_the_same(play: Play) -> None:
    ended = play(GOOD, "--check")
    assert ended.code == 0, ended.output
    assert json.loads((ended.dir / "manifest.json").read_text())["check_mode"] is True
    assert "Check mode" in (ended.dir / "report.html").read_text()


def test_it_runs_from_another_directory(play: Play, tmp_path_factory: pytest.TempPathFactory) -> None:
    ended = play(cwd=tmp_path_factory.mktemp("elsewhere"))
    assert ended.code == 0, ended.output


# --- evidence that cannot be believed ---------------------------------------------------------------------------------


def _evidence_causes(ended: Ended) -> str:
    return " ".join(str(b["cause"]) for b in ended.decision["blocking"] if b["check"] == "evidence")


def test_a_journal_that_was_edited_is_refused(play: Play) -> None:
    edit = {
        "name": "Edit",
        "ansible.builtin.replace": {
            "path": "{{ run_current.dir }}/journal.jsonl",
            "regexp": "three",
            "replace": "threE",
        },
    }
    ended = play(before_gate=[edit])
    assert ended.code == 2
    assert "line 4: changed after it was written" in _evidence_causes(ended)


def test_a_journal_without_its_last_lines_is_refused(play: Play) -> None:
    bad = GOOD | {"beta": [verdict("beta", "three", finding()), verdict("beta", "three", finding(status="fail"))]}
    cut = {
        "name": "Cut",
        "ansible.builtin.command": "sed -i '$d' {{ run_current.dir }}/journal.jsonl",
        "changed_when": False,
    }
    ended = play(bad, before_gate=[cut])
    assert ended.code == 2
    assert "somebody else changed it" in ended.output + _evidence_causes(ended)


def test_a_journal_of_another_run_is_refused(play: Play) -> None:
    first = play().dir
    other = {"id": first.name, "dir": str(first), "verb": "readiness", "environment": "staging"}
    reuse = {
        "ansible.builtin.include_role": {"name": "run", "tasks_from": "gate"},
        "vars": {"run_gate": "reused", "run_current": other},
    }
    ended = play(before_gate=[reuse])
    assert ended.code == 2
    assert f"is of run {ended.dir.name}, not of {first.name}" in " ".join(ended.output.split())


def test_without_the_callback_nothing_is_proven(play: Play, tmp_path: Path) -> None:
    (tmp_path / "ansible.cfg").write_text(CONFIGURATION.replace("callbacks_enabled = evidence\n", ""))
    ended = play()
    assert ended.code == 2
    assert "journal.jsonl cannot be read" in _evidence_causes(ended)


def test_a_callback_that_breaks_closes_the_gate(play: Play) -> None:
    gone = {
        "name": "Take it away",
        "ansible.builtin.file": {"path": "{{ run_current.dir }}/journal.jsonl", "state": "absent"},
    }
    ended = play(before_gate=[gone])
    assert ended.code == 2
    assert "The evidence broke, so no gate will open" in " ".join(ended.output.split())
    assert ended.decision["verdict"] == "no-go"


def test_an_exception_inside_the_callback_closes_the_gate(play: Play, tmp_path: Path) -> None:
    original = (PROJECT / "plugins/callback/evidence.py").read_text()
    broken = original.replace(
        "        task = self._task(result)\n", "        task = self._task(result)\n        1 / (task.role != 'beta')\n"
    )
    assert broken != original
    (tmp_path / "callbacks/evidence.py").write_text(broken)
    ended = play()
    assert ended.code == 2
    assert "ZeroDivisionError" in _evidence_causes(ended)


def test_a_failure_after_the_gate_makes_the_run_a_no_go(play: Play) -> None:
    ended = play(after_gate=[{"name": "Break", "ansible.builtin.fail": {"msg": "late"}}])
    assert ended.code == 2
    assert ended.blocking() == ["playbook/localhost Break failed"]
    assert [gate["verdict"] for gate in ended.decision["gates"]] == ["go"]


def test_a_report_that_cannot_be_written_is_no_go_in_the_summary(play: Play) -> None:
    in_the_way = {"path": "{{ run_current.dir }}/report.html", "state": "directory", "mode": "0700"}
    ended = play(GOOD, after_gate=[{"name": "Be in the way", "ansible.builtin.file": in_the_way}])
    assert ended.code == 2
    assert "NO-GO  readiness" in ended.output
    assert "run/localhost  close | Write the report  failed" in ended.output
    assert "report.html could not be written: Is a directory" in " ".join(ended.output.split())
    assert "NO-GO" not in (ended.dir / "report.md").read_text(), "the report itself says what was decided before it"


HOSTILE = "</code><script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}{% raw %}|`*\x1b[31m\u202e"


def test_hostile_answers_stay_text_in_every_report(play: Play) -> None:
    command = {"argv": ["echo", HOSTILE], "exit_code": 1, "first_lines": [HOSTILE], "last_lines": [], "line_count": 1}
    sides = {"observed": HOSTILE, "expected": {HOSTILE: [HOSTILE]}, "cause": HOSTILE, "remedy": HOSTILE}
    kept = {"status": 200, "headers": {HOSTILE: HOSTILE}, "body": HOSTILE}
    judged = verdict("beta", "three", finding(HOSTILE, "fail", **sides), address=HOSTILE, recorded=kept)
    ended = play(GOOD | {"beta": {"commands": [command], "verdicts": [judged]}})
    page = (ended.dir / "report.html").read_text()
    for tag in ("<script", "<img", "\x1b", "\u202e", "49}"):
        assert tag not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "{{ 7*7 }}" in page
    summary = ended.output[ended.output.rindex("NO-GO  ") :]
    assert "\x1b" not in summary
    tables = [line for line in (ended.dir / "report.md").read_text().splitlines() if line.startswith("|")]
    assert tables
    assert not any("<script" in line for line in tables)


# --- one run at a time, and what it leaves behind --------------------------------------------------------------------

BEGIN = {"run_step": {"run": "{{ run_current }}", "name": "shift", "state": "begun", "undo": "traffic back"}}
NOTE = {"run_note": {"facts": {"release_from": {"version": "1.0.0"}}}}


@pytest.fixture
def change(play: Play, tmp_path: Path) -> Play:
    """A run that takes the environment in hand: its lock is on localhost."""

    def run(*arguments: str, **more: Any) -> Ended:
        lock = {"run_lock_hosts": ["localhost"], "run_lock_path": str(tmp_path / "cutover.lock")}
        return play(more.pop("verdicts", GOOD), *arguments, verb=more.pop("verb", "cutover"), variables=lock, **more)

    return run


def test_a_run_that_came_to_its_end_leaves_the_environment_to_the_next(change: Play, tmp_path: Path) -> None:
    ended = change(before_gate=[NOTE, BEGIN])
    assert ended.code == 0, ended.output
    assert ended.records("step") == [{"name": "shift", "state": "begun", "undo": "traffic back", "reversible": True}]
    assert ended.records("found") == [{"facts": {"release_from": {"version": "1.0.0"}}}]
    assert not (tmp_path / "cutover.lock").exists()
    assert change().code == 0


def test_nobody_starts_afresh_over_a_run_that_changed_something_and_failed(change: Play, tmp_path: Path) -> None:
    fail = {"ansible.builtin.fail": {"msg": "on purpose"}}
    left = change(before_gate=[BEGIN, fail]).dir.name
    assert json.loads((tmp_path / "cutover.lock").read_text())["id"] == left
    refused = change()
    said = " ".join(refused.output.split())
    assert refused.code == 2
    assert f"Run {left}" in said
    assert "shift (begun)" in said
    assert "playbooks/rollback.yml" in said
    assert len(refused.dirs) == 1, "nothing was opened"
    assert change("-e", f"run_set_aside={left}").code == 0
    assert change().code == 0, "it stays set aside"


@pytest.mark.parametrize(
    "name", [".", "..", ".drills", "20260131T120000Z-cutover-ab12", "lost/20260131T120000Z-cutover-ab12"]
)
def test_what_is_no_run_of_this_environment_is_not_set_aside(change: Play, name: str) -> None:
    refused = change("-e", f"run_set_aside={name}")
    assert refused.code == 2
    assert "is no run of this environment" in " ".join(refused.output.split())
    assert refused.dirs == [], "nothing was opened"


def test_a_rollback_that_goes_well_settles_what_was_left(change: Play) -> None:
    change(before_gate=[BEGIN, {"ansible.builtin.fail": {"msg": "on purpose"}}])
    settled = change(verb="rollback", before_gate=[BEGIN])
    assert settled.code == 0, settled.output
    assert change().code == 0


def test_a_run_that_failed_before_it_changed_anything_leaves_nothing_behind(change: Play, tmp_path: Path) -> None:
    assert change(before_gate=[{"ansible.builtin.fail": {"msg": "on purpose"}}]).code == 2
    assert not (tmp_path / "cutover.lock").exists()
    assert change().code == 0


def test_a_step_in_which_something_failed_is_never_done(change: Play) -> None:
    rescued = {"block": [{"ansible.builtin.fail": {"msg": "on purpose"}}], "rescue": [{"meta": "noop"}]}
    done = {"run_step": BEGIN["run_step"] | {"state": "done"}}
    ended = change(before_gate=[BEGIN, rescued, done])
    assert "the step shift is not done: localhost: ansible.builtin.fail: on purpose" in " ".join(ended.output.split())
    assert [step["state"] for step in ended.records("step")] == ["begun"]


def test_a_step_without_a_way_back_begins_only_when_it_was_acknowledged(change: Play) -> None:
    final = {
        "run_step": BEGIN["run_step"]
        | {"reversible": False, "acknowledged": "{{ run_acknowledged_steps | default([]) }}"}
    }
    refused = change(before_gate=[final])
    assert refused.code == 2
    assert "the step shift cannot be undone" in refused.output
    assert refused.records("step") == []
    assert change("-e", '{"run_acknowledged_steps": ["shift"]}', before_gate=[final]).code == 0


def test_the_lock_of_another_controller_is_never_guessed_to_be_dead(change: Play, tmp_path: Path) -> None:
    lock = tmp_path / "cutover.lock"
    owner = {"id": "20200101T000000Z-cutover-abcd", "verb": "cutover", "operator": "alice", "controller": "far",
             "environment": "staging", "opened_at": "2020-01-01T00:00:00Z", "dir": "/elsewhere"}  # fmt: skip
    lock.write_text(json.dumps(owner))
    refused = change()
    said = " ".join(refused.output.split())
    assert refused.code == 2
    assert f"in the hands of cutover {owner['id']}, by alice on far since 2020-01-01T00:00:00Z" in said
    assert "cannot be seen from here" in said
    assert json.loads(lock.read_text()) == owner
    broken = change("-e", f"run_lock_break={owner['id']}")
    assert broken.code == 0, broken.output
    assert broken.records("lock")[0]["how"] == "broken on request, its owner being out of sight"
    assert broken.records("lock")[0]["from"] == owner


def test_a_run_whose_process_lives_is_never_broken_into_unasked(change: Play, tmp_path: Path) -> None:
    journal = tmp_path / "elsewhere/20200101T000000Z-cutover-abcd/journal.jsonl"
    journal.parent.mkdir(parents=True)
    Journal(path=journal, run=journal.parent.name).append("opened", {})
    owner = {"id": journal.parent.name, "dir": str(journal.parent), "controller": "here"}
    (tmp_path / "cutover.lock").write_text(json.dumps(owner))
    descriptor = hold(journal)
    assert "Its process is at work" in " ".join(change().output.split())
    os.close(descriptor)
    (journal.parent / "manifest.json").write_text("{}")
    assert change().records("lock")[0]["how"] == "taken over from a dead owner"


def test_a_rollback_takes_nothing_out_of_the_hands_of_a_run_that_lives(change: Play, tmp_path: Path) -> None:
    lock, alive = tmp_path / "cutover.lock", tmp_path / "artifacts/staging/20200101T000000Z-cutover-abcd"
    alive.mkdir(parents=True)
    (alive / "manifest.json").write_text("{}")
    journal = Journal(path=alive / "journal.jsonl", run=alive.name)
    journal.append("opened", {})
    journal.append("step", BEGIN["run_step"] | {"run": None})
    lock.write_text(json.dumps({"id": alive.name, "dir": str(alive)}))
    descriptor = hold(journal.path)
    refused = change(verb="rollback", before_gate=[BEGIN])
    os.close(descriptor)
    assert refused.code == 2
    assert "Its process is at work" in " ".join(refused.output.split())
    assert json.loads(lock.read_text())["id"] == alive.name


def _let_go(journal: Path) -> bool:
    return not is_held(journal)


def test_a_killed_controller_is_known_by_its_journal_and_an_interrupted_one_closes_its_evidence(
    change: Play,
) -> None:
    for signal, says in (("KILL", ""), ("TERM", "interrupted by SIGTERM"), ("INT", "interrupted by SIGINT")):
        # The playbook's own process: the parent of the worker that asks.
        controller = "{{ lookup('ansible.builtin.pipe', 'cut -d\" \" -f4 /proc/$PPID/stat') }}"
        script = f"kill -{signal} {controller}; sleep 2"
        ended = change(before_gate=[BEGIN, {"ansible.builtin.shell": script}])
        assert ended.code != 0
        assert read_journal(ended.dir / "journal.jsonl")[-1]["kind"] == ("interrupted" if says else "step")
        if says:
            assert says in ended.output
            assert ended.decision["verdict"] == "no-go"
            assert f"-e resume={ended.dir.name}" in " ".join(ended.output.split())
        # The worker is a part of the run: it lives until its task has ended, though the controller was killed.
        journal = ended.dir / "journal.jsonl"
        wait_until(partial(_let_go, journal), what="the end of the run's last task")
        refused = change()
        assert "was interrupted" in " ".join(refused.output.split())
        assert change(verb="rollback", before_gate=[BEGIN]).code == 0


def test_a_playbook_that_opens_no_run_is_left_alone(play: Play, tmp_path: Path) -> None:
    play()
    _dump(
        tmp_path / "play.yml",
        [{"hosts": "localhost", "gather_facts": False, "tasks": [{"ansible.builtin.debug": {"msg": "hi"}}]}],
    )
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "play.yml"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        env=os.environ | {"ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg")},
    )  # fmt: skip
    assert done.returncode == 0
    assert "GO" not in done.stdout


def test_a_trigger_ends_a_cutover_whatever_is_waived_and_says_what_fired_it(play: Play) -> None:
    came_in = {"expected": 401, "observed": 200, "remedy": None}
    waived = {"check": "status", "subject": "three", "reason": "known", "owner": "ops", "ticket": "OPS-1",
              "expires": "2999-01-01T00:00:00Z"}  # fmt: skip
    triggers = [{"name": "somebody came in", "authentication_bypass": True}, {"name": "a gate refused", "gate": "*"}]
    given: dict[str, Any] = {"run_exclusive": False, "run_waivers": [waived], "run_rollback_triggers": triggers}
    verdicts = GOOD | {"beta": [verdict("beta", "three", finding("status", "fail", **came_in))]}
    assert play(verdicts, variables=given).code == 0, "readiness has nothing to go back from"
    ended = play(verdicts, variables=given, verb="cutover")
    assert ended.blocking() == ["run/triggers trigger somebody came in fail"]
    (gate,) = ended.decision["gates"]
    assert [(fired["trigger"], fired["expected"], fired["observed"]) for fired in gate["fired"]] == [
        ("somebody came in", 401, 200), ("a gate refused", "go", "no-go"),
    ]  # fmt: skip
    assert "trigger   somebody came in: beta/three status, expected 401, observed 200" in ended.output
    assert "Rollback triggers that fired" in (ended.dir / "report.html").read_text()
    assert "| somebody came in | readiness | beta/three status | 401 | 200 |" in (ended.dir / "report.md").read_text()
    drilled = play(verdicts, variables=given, verb="drills")
    assert drilled.blocking() == ["run/triggers trigger somebody came in fail"], "nobody may come in during a drill"
    wrong = play(
        verdicts,
        variables=given | {"run_rollback_triggers": [{"name": "slow", "max_mean_ms": "often"}]},
        verb="cutover",
    )
    assert wrong.code == 2
    assert "run_rollback_triggers[0] (slow): max_mean_ms is 'often', and not a number" in " ".join(wrong.output.split())
