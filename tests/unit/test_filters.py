# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that shape data for the roles: a shell reads what was declared, and what is missing is named."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from cutover.env_file import parse_env_file
from hypothesis import given, settings
from hypothesis import strategies as st

PROJECT = Path(__file__).resolve().parents[2]


def _plugin() -> ModuleType:
    # Its name is the package's too, so that `import cutover` finds the other one.
    spec = importlib.util.spec_from_file_location("cutover_filters", PROJECT / "plugins" / "filter" / "cutover.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FILTERS = _plugin().FilterModule().filters()

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True).map(lambda name: f"T_{name}")
VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
HOSTILE = {
    "T_QUOTES": "it's \"quoted\" \\' and `id` $(id) $HOME ${HOME:-x}",
    "T_LINES": "one\ntwo\r\nthree\r\n",
    "T_SHELL": "; rm -rf / # & | > < * ? ~ !! [a] {b}",
    "T_EMPTY": "",
    "T_SPACES": "  leading and trailing\t ",
    "T_EQUALS": "A=b=c",
    "T_URL": "postgresql://u:p%40ss@db.example:5432/shop?sslmode=verify-full#x",
    "T_UNICODE": "Grüße 🐘",
    "T_DASH": "-n -e \\x41 %s",
    "T_NUMBER": "08",
}


def sourced(text: str, folder: Path) -> dict[str, str]:
    """The variables that a shell has after it sourced a file with this text."""
    (folder / "file.env").write_text(text, encoding="utf-8", newline="")
    script = 'set -a; . "$1"; exec env -0'
    ran = subprocess.run(
        ["sh", "-euc", script, "sh", str(folder / "file.env")], capture_output=True, timeout=60, check=True
    )
    variables = dict(entry.split("=", 1) for entry in ran.stdout.decode().split("\0") if entry)
    return {name: value for name, value in variables.items() if name.startswith("T_")}


def test_hostile_values_mean_to_a_shell_what_was_declared(tmp_path: Path) -> None:
    assert sourced(FILTERS["environment_lines"](HOSTILE), tmp_path) == HOSTILE


@settings(max_examples=25)
@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_any_value_means_to_a_shell_what_was_declared(
    tmp_path_factory: pytest.TempPathFactory, variables: dict[str, str]
) -> None:
    assert sourced(FILTERS["environment_lines"](variables), tmp_path_factory.mktemp("env")) == variables


@given(st.dictionaries(NAMES, VALUES))
def test_our_own_modules_read_the_same(variables: dict[str, str]) -> None:
    assert parse_env_file(FILTERS["environment_lines"](variables)) == variables


def test_lines_are_sorted_so_that_a_file_changes_only_when_a_value_does() -> None:
    lines = FILTERS["environment_lines"]({"B": 8000, "A": True, "C": "x y"})
    assert lines == "A=True\nB=8000\nC='x y'\n"
    assert FILTERS["environment_lines"]({}) == ""


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "A\n", "Ä", "A;id", 8000])
def test_a_name_that_no_environment_takes_is_refused(name: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="environment_lines: not the names of environment variables"):
        FILTERS["environment_lines"]({"GOOD": "x", name: "s3cret"})


@pytest.mark.parametrize("value", [None, "s3cret\0"], ids=["none", "a zero byte"])
def test_a_value_that_no_environment_takes_is_refused_without_showing_it(value: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="no value that an environment takes: BAD") as refused:
        FILTERS["environment_lines"]({"GOOD": "x", "BAD": value})
    assert "s3cret" not in str(refused.value)


def test_each_item_gets_the_same_entries_and_none_is_changed() -> None:
    items = [{"name": "a", "watch_s": 5}, {"name": "b"}]
    assert FILTERS["each_with"](items, {"watch_s": 30}) == [{"name": "a", "watch_s": 30}, {"name": "b", "watch_s": 30}]
    assert items == [{"name": "a", "watch_s": 5}, {"name": "b"}]
    assert FILTERS["each_with"]([], {"watch_s": 30}) == []


@pytest.mark.parametrize("base", ["http://web1:8000", "http://web1:8000/"], ids=["without", "with a slash at the end"])
def test_each_hosts_own_instance_is_a_target(base: str) -> None:
    hostvars = {"web1": {"url": base}, "web2": {"url": "http://web2:8000"}}
    assert FILTERS["instance_targets"](["web1", "web2"], hostvars, "url", "/ready") == [
        {"name": "web1", "address": "http://web1:8000/ready"},
        {"name": "web2", "address": "http://web2:8000/ready"},
    ]


def test_hosts_that_declare_no_instance_are_all_named() -> None:
    hostvars: dict[str, dict[str, Any]] = {"web1": {}, "web2": {"url": "http://web2"}, "web3": {"url": None}}
    with pytest.raises(AnsibleFilterError, match="instance_targets: web1, web3: no url"):
        FILTERS["instance_targets"](list(hostvars), hostvars, "url", "/ready")


def test_a_command_target_has_nothing_but_its_name_and_its_command() -> None:
    targets = [{"name": "edge", "serving_argv": ["edgectl", "pool"], "send_argv": ["edgectl", "send"], "address": "x"}]
    assert FILTERS["command_targets"](targets, "serving_argv") == [{"name": "edge", "argv": ["edgectl", "pool"]}]


def test_a_command_gets_what_it_has_to_know_as_its_last_arguments_and_runs_where_it_was_declared_to() -> None:
    targets = [{"name": "edge", "share_argv": ["edgectl", "share"], "chdir": "/srv", "env_file": "/etc/edge"}]
    assert FILTERS["command_targets"](targets, "share_argv", ["green", 10]) == [
        {"name": "edge", "argv": ["edgectl", "share", "green", "10"], "chdir": "/srv", "env_file": "/etc/edge"}
    ]
    assert targets[0]["share_argv"] == ["edgectl", "share"]


def test_a_database_is_asked_for_the_heads_of_a_release_and_is_told_nothing_that_would_change_it() -> None:
    reads = {"name": "shop", "current_argv": ["db", "current"], "env_file": "/etc/shop"}
    changes = {"upgrade_argv": ["db", "upgrade"], "downgrade_argv": ["db", "downgrade"]}
    assert FILTERS["migration_targets"]([{**reads, **changes, "heads_argv": ["db", "heads"]}], "1.4.0") == [
        {**reads, "heads_argv": ["db", "heads", "1.4.0"]}
    ]
    with pytest.raises(AnsibleFilterError, match="migration_targets: shop: no heads_argv"):
        FILTERS["migration_targets"]([reads], "1.4.0")


def test_the_way_back_leads_to_the_revision_that_was_told() -> None:
    told = ["0002 (head)", "at 17", ""]
    targets = [{"name": "shop"}, {"name": "stock", "revision_pattern": r"^at (\d+)$"}, {"name": "new"}]
    assert FILTERS["revisions_before"](told, targets) == ["0002", "17", "base"]


@pytest.mark.parametrize("lines", [["no such table"], ["ERROR: timed out", ""], ["0002", "0003"]], ids=str)
def test_the_way_back_never_drops_a_schema_because_the_tool_was_not_understood(lines: list[str]) -> None:
    told = ["\n".join(lines)]
    with pytest.raises(AnsibleFilterError, match="revisions_before"):
        FILTERS["revisions_before"](told, [{"name": "shop"}])
    assert FILTERS["revisions_before"](told, [{"name": "shop"}], needed=False) == []


def test_just_what_was_begun_is_undone_and_everything_when_nobody_knows() -> None:
    ways = [
        {"taken": "traffic/rollback", "undoes": ["share", "shift"]},
        {"taken": "release/rollback", "undoes": ["start"]},
    ]
    assert FILTERS["ways_back"](ways, ["stage", "shift"]) == ["traffic/rollback"]
    assert FILTERS["ways_back"](ways, []) == []
    assert FILTERS["ways_back"](ways, None) == ["traffic/rollback", "release/rollback"]


def test_a_plan_of_the_way_back_says_of_each_step_how_long_it_took_and_what_it_brings_about() -> None:
    ways = [
        {"taken": "traffic/rollback", "undoes": ["share", "shift"], "effect": "all traffic to the pool before"},
        {"taken": "release/rollback", "undoes": ["start"], "effect": "the link as it was"},
    ]
    assert FILTERS["ways_ahead"](ways, ["shift"], {"traffic/rollback": 0.6}) == [
        "traffic/rollback (took 1 s); all traffic to the pool before"
    ]
    assert FILTERS["ways_ahead"](ways, None, {})[1] == "release/rollback (not timed yet); the link as it was"


def test_a_plan_says_of_each_step_how_long_it_took_and_how_it_is_undone() -> None:
    steps = {
        "migrate": {"component": "migrations", "undo": "nothing", "reversible": False},
        "shift": {"undo": "back"},
        "schedulers": {"component": "schedulers", "undo": "stopped"},
    }
    assert FILTERS["steps_ahead"](steps, ["migrations"], ["shift"], {"migrate": 2.4}) == [
        "migrate (took 2 s); NO WAY BACK: nothing",
        "shift (done before, verified); undone by: back",
    ]


def test_what_hosts_have_of_their_release_is_told_host_by_host_and_who_is_silent_has_a_cause() -> None:
    told = {"host": "web1", "present": True, "note": "ab", "start": {}}
    results = [{"item": "web1", "kept": told}, {"item": "web2", "unreachable": True, "msg": "refused"}]
    assert FILTERS["kept_of"](results, "ab  shop-1.tar.gz\n") == [
        told | {"archive": "ab"}, {"host": "web2", "cause": "refused"},
    ]  # fmt: skip
    assert FILTERS["kept_of"](results[:1], "") == [told]
    asked = [
        {"item": "web1", "rc": 0},
        {"item": "web2", "rc": 1, "msg": "no such image"},
        {**results[1], "item": "web3"},
    ]
    assert FILTERS["kept_told"](["web1", "web2", "web3", "web4"], asked) == [
        {"host": "web1", "present": True, "start": {"release_startable_argv": "ready"}},
        {"host": "web2", "present": True, "start": {"release_startable_argv": "no such image"}},
        {"host": "web3", "cause": "refused"},
        {"host": "web4", "present": True, "start": {}},
    ]


def test_the_newest_backup_of_each_name_is_found_and_no_other_names() -> None:
    files = [
        {"path": f"/b/{name}.dump", "mtime": mtime}
        for name, mtime in (("shop-2", 20.0), ("shop-1", 10.0), ("shop-eu-9", 90.0))
    ]
    assert FILTERS["newest_of"](["shop", "shop-eu", "stock"], files) == {"shop": files[0], "shop-eu": files[2]}


def test_a_waiver_of_another_component_or_of_none_stays() -> None:
    waivers: list[Any] = [{"component": "way_back"}, {"component": "redis"}, {"check": "x"}, "odd"]
    assert FILTERS["waivers_besides"](waivers, "way_back") == waivers[1:]


def test_targets_that_declare_no_command_are_all_named() -> None:
    targets = [{"name": "edge"}, {"name": "fine", "judge_argv": ["true"]}, {"name": "far", "judge_argv": []}]
    with pytest.raises(AnsibleFilterError, match="command_targets: edge, far: no judge_argv"):
        FILTERS["command_targets"](targets, "judge_argv")


def test_pools_are_refused_in_words_too() -> None:
    with pytest.raises(AnsibleFilterError, match="traffic_to: no servers in pool 'red'"):
        FILTERS["traffic_to"]({"blue": ["blue1"]}, "red")
    with pytest.raises(AnsibleFilterError, match="traffic_share: a share is 1 to 99 percent"):
        FILTERS["traffic_share"]({"a": ["a1"], "b": ["b1"]}, serving="a", to="b", percent=0)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        pytest.param("/etc/cutover/run", "/etc/cutover/run", id="as it is"),
        pytest.param("/srv/50%", "/srv/50%%", id="a percent sign begins a specifier"),
        pytest.param("/srv/a b", '"/srv/a b"', id="a space ends a word"),
        pytest.param('/srv/"a"', '"/srv/\\"a\\""', id="a quotation mark"),
        pytest.param("/srv/it's", '"/srv/it\'s"', id="an apostrophe"),
        pytest.param("/srv/a\\b", '"/srv/a\\\\b"', id="a backslash"),
    ],
)
def test_a_word_of_a_unit_file_is_what_systemd_reads_back(text: str, word: str) -> None:
    assert FILTERS["unit_word"](text) == word
