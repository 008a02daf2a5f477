# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts out of what real servers answered: all that somebody's doing changes, and nothing that moves by itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cutover import history
from cutover.checks import CannotObserve, ExpectationError
from cutover.evidence import Task, entries
from cutover.facts_postgres import named_facts, part_facts, role_setting_facts, setting_facts
from cutover.facts_redis import acl_facts, config_facts, module_facts, server_facts
from cutover.facts_service import UNIT_PROPERTIES, supervisor_facts, unit_facts
from cutover.facts_targets import places, tls_servers
from cutover.facts_vault import audit_facts, mount_facts, seal_facts
from cutover.journal import hold
from cutover.observation import Seen, in_parts, observe_targets
from cutover.observe_files import look_at_files
from cutover.pool import Deadline

Recorded = Callable[[str], Any]
LATER = Deadline(at=float("inf"))


def hidden(value: str) -> str:
    return f"fingerprint of {len(value)}"


def test_every_directive_of_redis_is_kept_and_no_password(recorded: Recorded) -> None:
    answer = recorded("redis-7.0/config-all.json")
    facts = config_facts(answer, hidden)
    assert len(facts) == len(answer) // 2
    assert facts["config.maxmemory"] == "268435456"
    assert facts["config.requirepass"] == hidden("a-password")
    assert facts["config.masterauth"] == ""
    assert "a-password" not in json.dumps(facts)


def test_of_info_only_what_somebody_sets_is_kept(recorded: Recorded) -> None:
    lines = recorded("redis-7.0/info-master.txt").splitlines()
    facts = server_facts(dict(line.partition(":")[::2] for line in lines if ":" in line))
    assert facts == {"version": "7.0.15", "mode": "standalone", "role": "master"}


def test_users_are_kept_with_their_rules_and_without_their_passwords(recorded: Recorded) -> None:
    facts = acl_facts(recorded("redis-7.0/acl-list.json"), hidden)
    assert facts["user.eve"] == f"on {hidden('#' + 'ab' * 32)} ~* resetchannels +@all"
    assert "ab" * 32 not in json.dumps(facts)


def test_rights_in_another_order_are_the_same_rights_unless_one_takes_back_what_the_other_gave() -> None:
    def rules(words: str) -> str:
        return str(acl_facts([f"user app on ~* {words}"], hidden)["user.app"])

    # As a server tells them before it was started again, and afterwards.
    assert rules("-@all +ping +info +config|get") == rules("-@all +config|get +info +ping")
    assert rules("+@all -flushall -config +config|get") == rules("+@all -config -flushall +config|get")
    assert rules("+@all -flushall") != rules("-flushall +@all")
    assert rules("-@all +get") != rules("-@all +get +set")


def test_modules_are_kept_with_their_version() -> None:
    assert module_facts([["name", "search", "ver", 20812, "path", "/x.so", "args", []]]) == {"module.search": "20812"}


def test_a_mount_is_told_from_one_that_was_made_again(recorded: Recorded) -> None:
    mounts = recorded("openbao-2.7/mounts.json")["data"]
    facts = mount_facts("mount", mounts)
    again = mount_facts("mount", mounts | {"secret/": mounts["secret/"] | {"accessor": "kv_other"}})
    assert facts["mount.secret"]["options"] == {"version": "2"}
    assert [key for key in facts if facts[key] != again[key]] == ["mount.secret"]
    assert "auth.approle" in mount_facts("auth", recorded("openbao-2.7/auth-methods.json")["data"])


def test_a_mount_keeps_nothing_that_an_upgrade_of_the_server_changes(recorded: Recorded) -> None:
    facts = mount_facts("mount", recorded("openbao-2.7/mounts.json")["data"])
    assert not any("running_plugin_version" in fact or "uuid" in fact for fact in facts.values())


def test_an_audit_device_shows_where_it_writes_and_no_token() -> None:
    device = {"type": "http", "options": {"uri": "https://log.example", "token": "abc"}}
    assert audit_facts({"remote/": device}, hidden) == {
        "audit.remote": {"type": "http", "options": {"uri": "https://log.example", "token": hidden("abc")}}
    }


def test_a_sealing_is_kept_and_its_progress_is_not(recorded: Recorded) -> None:
    facts = seal_facts(recorded("openbao-2.7/seal-status-unsealed.json"))
    assert (facts["seal.shares"], facts["seal.threshold"]) == (3, 2) or facts["seal.type"] == "shamir"
    assert not any("progress" in key for key in facts)


def test_a_program_is_kept_as_it_is_declared_whenever_supervisord_was_started(recorded: Recorded) -> None:
    answer = recorded("supervisor-4.3/all-config-info.json")
    facts = supervisor_facts(answer)
    restarted = json.loads(json.dumps(answer).replace("b36v03e4", "zzzzzzzz"))
    assert set(facts) >= {"process.web", "process.worker", "process.scheduler", "process.miner"}
    assert facts["process.miner"]["stderr_logfile"] == "/tmp/miner-stderr---supervisor-*.log"
    assert supervisor_facts(restarted) == facts


def test_a_unit_is_kept_as_it_is_declared_and_not_as_it_runs() -> None:
    text = "Id=web.service\nLoadState=loaded\nUnitFileState=enabled\nUser=shop\nNeedDaemonReload=no\n"
    assert unit_facts(text, ["web"])["process.web"] == {
        "Id": "web.service", "LoadState": "loaded", "UnitFileState": "enabled", "User": "shop",
    }  # fmt: skip
    assert {"ActiveState", "MainPID"}.isdisjoint(UNIT_PROPERTIES)
    with pytest.raises(CannotObserve, match="1 units where 2"):
        unit_facts(text, ["web", "worker"])


def test_settings_say_where_they_come_from_and_hide_what_may_hold_a_password() -> None:
    rows = [
        ("work_mem", "4096", "kB", "default", False),
        ("shared_buffers", "4096", "8kB", "configuration file", True),
        ("primary_conninfo", "password=x", None, "configuration file", False),
        ("statement_timeout", "0", "ms", None, False),
        ("application_name", "cutover", None, "client", False),
    ]
    assert setting_facts(rows, hidden) == {
        "config.work_mem": {"value": "4096kB", "source": "default"},
        "config.shared_buffers": {"value": "4096 x 8kB", "source": "configuration file", "pending_restart": True},
        "config.primary_conninfo": {"value": hidden("password=x"), "source": "configuration file"},
        "config.statement_timeout": {"value": "0ms"},
    }


def test_rows_become_facts_under_stable_keys() -> None:
    assert named_facts("role", ("login", "member_of", "limit"), [("app", True, ["b", "a"], None)]) == {
        "role.app": {"login": True, "member_of": ["a", "b"]}
    }
    assert part_facts("column", [("public.users", "email", "text")]) == {"table.public.users/column.email": "text"}
    assert role_setting_facts([("app", "*", ["lock_timeout=5s", "app.token=x"])], hidden) == {
        "role_setting.app@*/lock_timeout": "5s",
        "role_setting.app@*/app.token": hidden("x"),
    }


# --- targets, parts, files --------------------------------------------------------------------------------------------


def test_a_server_is_looked_at_once_however_often_it_is_declared() -> None:
    checks = {"name": "db", "address": "postgresql://x/y", "user": "checks", "expected": {"tls": True}}
    application = {"name": "db-as-app", "address": "postgresql://x/y", "user": "app"}
    assert places([checks, application]) == [{"name": "db", "address": "postgresql://x/y", "user": "checks"}]


def test_a_certificate_is_taken_once_for_all_paths_of_a_server() -> None:
    addresses = ["https://shop.example/a", "https://shop.example:443/b", "http://shop.example/", "https://x:8443/"]
    assert [server["name"] for server in tls_servers([{"address": each} for each in addresses])] == [
        "shop.example:443", "x:8443",
    ]  # fmt: skip


def test_a_part_that_is_refused_hides_no_other() -> None:
    def refused() -> dict[str, Any]:
        raise CannotObserve("NOPERM")

    def strange() -> dict[str, Any]:
        raise KeyError("data")

    seen = in_parts({"config": refused, "user": lambda: {"user.app": "on"}, "module": strange})
    assert seen.facts == {"user.app": "on"}
    assert sorted(seen.unseen) == ["config", "module"]


@pytest.mark.parametrize(
    ("names", "why"),
    [
        pytest.param([], "targets is empty", id="nothing to look at"),
        pytest.param(["a", "b", "a"], "two targets are named 'a'", id="the facts of one would stand for two"),
    ],
)
def test_targets_that_could_not_all_be_compared_are_refused(names: list[str], why: str) -> None:
    params = {"targets": [{"name": name} for name in names], "workers": 1, "timeout_s": 1.0, "total_timeout_s": 1.0}
    with pytest.raises(ExpectationError, match=why):
        observe_targets("redis", params, lambda target, deadline: Seen())


def files(path: Path, kind: str, **more: Any) -> dict[str, Any]:
    target = {"path": str(path), "kind": kind, "exclude": [], "max_files": 2000} | more
    return dict(look_at_files(hidden, target, LATER).facts)


def test_variables_are_fingerprints_under_their_names(tmp_path: Path) -> None:
    (tmp_path / "1.env").write_text("TOKEN=abc\nNAME='x y'\n")
    (tmp_path / "1.env").chmod(0o600)
    (tmp_path / "environment").symlink_to("1.env")
    facts = files(tmp_path / "environment", "variables")
    assert (facts["variable.TOKEN"], facts["variable.NAME"]) == (hidden("abc"), hidden("x y"))
    assert (facts["place"]["mode"], facts["place"]["leads_to"]) == ("0600", "1.env")


def test_a_file_that_cannot_be_understood_is_not_seen(tmp_path: Path) -> None:
    (tmp_path / "x.env").write_text("what is this")
    with pytest.raises(CannotObserve, match="line 1"):
        files(tmp_path / "x.env", "variables")


def test_a_release_is_its_files_and_not_what_running_makes_of_it(tmp_path: Path) -> None:
    for name in ("bin/web", "app/__pycache__/a.pyc", "app/a.py", "tmp/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "bin" / "web").chmod(0o755)
    (tmp_path / "link").symlink_to("bin/web")
    facts = files(tmp_path, "tree", exclude=["tmp"])
    assert sorted(facts) == ["file.app/a.py", "file.bin/web", "file.link", "place"]
    assert facts["file.bin/web"].endswith(" executable")
    assert facts["file.link"] == "link to bin/web"


def test_of_very_many_files_one_checksum_a_folder_is_kept(tmp_path: Path) -> None:
    for name in ("a/1", "a/2", "b/1", "top"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    before = files(tmp_path, "tree", max_files=3)
    assert sorted(before) == ["file.top", "folder.a", "folder.b", "place"]
    (tmp_path / "a" / "2").write_text("changed")
    after = files(tmp_path, "tree", max_files=3)
    assert [key for key in before if before[key] != after[key]] == ["folder.a"]


def test_what_is_not_there_is_a_fact(tmp_path: Path) -> None:
    assert files(tmp_path / "none", "tree") == {"place": "absent"}


# --- the evidence, and the runs beside --------------------------------------------------------------------------------


def test_observations_and_drift_become_records_of_their_own() -> None:
    result = {"observations": [{"component": "redis"}, {"component": "redis"}], "drift": {"counts": {}}}
    told = [
        [kind for kind, _ in entries(result, Task(name="t", action=action, host="localhost"))]
        for action in ("redis_facts", "drift_compare")
    ]
    assert told == [["observation", "observation"], ["observation", "observation", "drift"]]


def test_the_end_of_a_drift_run_adds_nothing_to_its_evidence() -> None:
    task = Task(name="t", action="drift_end", host="localhost")
    assert list(entries({"unreachable": True}, task, unreachable=True)) == []
    assert list(entries({"failed": True}, task, failed=True)) == []


@pytest.mark.parametrize(
    ("verb", "held", "ended", "named"),
    [
        pytest.param("cutover", True, False, True, id="a cutover at work"),
        pytest.param("cutover", False, False, False, id="one that was killed"),
        pytest.param("cutover", True, True, False, id="one that has decided"),
        pytest.param("drift", True, False, False, id="one that only looks"),
    ],
)
def test_a_run_that_changes_the_environment_is_named(
    tmp_path: Path, verb: str, held: bool, ended: bool, named: bool
) -> None:
    run = tmp_path / f"20260131T120000Z-{verb}-aaaa"
    run.mkdir()
    (run / "journal.jsonl").touch()
    if ended:
        (run / "decision.json").touch()
    descriptor = hold(run / "journal.jsonl") if held else None
    try:
        assert history.running(tmp_path) == (run.name if named else None)
    finally:
        if descriptor is not None:
            os.close(descriptor)
