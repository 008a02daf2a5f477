# SPDX-License-Identifier: GPL-3.0-or-later
"""haproxy_servers and haproxy_check against a real HAProxy with real servers behind it and real requests through it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import haproxy_check
import haproxy_servers
import misbehaving
import pytest
import servers
import visitors
import web
from findings import findings, green, red

RunModule = Callable[..., dict[str, Any]]

POOLS = {"blue": ["blue1"], "green": ["green1"]}
READY, DRAIN = {"state": "ready", "weight": 100}, {"state": "drain"}
TO_GREEN = {"green1": READY, "blue1": DRAIN}
TO_BLUE = {"blue1": READY, "green1": DRAIN}


@dataclass
class App:
    """An application's server: it answers its name, as a test tells it to, until it is stopped."""

    name: str
    status: int = 200
    after_s: float = 0.0
    running: ExitStack = field(default_factory=ExitStack)
    address: str = ""

    def start(self) -> None:
        pages: dict[str, web.Page] = {"/health": web.Answer(b"fine"), "/": self.answer}
        self.address = self.running.enter_context(web.serving(pages)).address.removeprefix("http://")

    def answer(self, request: web.Request) -> web.Answer:
        return web.Answer(self.name.encode(), self.status, after_s=self.after_s)


@dataclass
class Stack:
    """HAProxy, the applications behind it by their names, and the lines that name them to it."""

    haproxy: servers.Haproxy
    apps: dict[str, App]
    lines: dict[str, str]


@contextmanager
def stack_of(
    folder: Path,
    *,
    options: dict[str, str] | None = None,
    dead: tuple[str, ...] = (),
    names: tuple[str, ...] = ("blue1", "green1"),
) -> Iterator[Stack]:
    """HAProxy before ``blue1`` and ``green1``, or others by their ``names``.

    ``options`` are added to a server's line. Who is ``dead`` does not listen.
    """
    apps = {name: App(name) for name in names}
    with ExitStack() as running:
        for app in apps.values():
            app.start()
            running.enter_context(app.running)
        for name in dead:
            apps[name].running.close()
        lines = {name: f"{app.address} check {(options or {}).get(name, '')}" for name, app in apps.items()}
        yield Stack(running.enter_context(servers.start_haproxy(folder, lines)), apps, lines)


@pytest.fixture
def stack(folder: Path) -> Iterator[Stack]:
    """Both servers up, blue alone in service."""
    with stack_of(folder) as running:
        running.haproxy.ask("set server web/green1 state drain")
        running.haproxy.wait_for(blue1="UP", green1="DRAIN")
        yield running


@pytest.fixture
def send(stack: Stack, run_module: RunModule) -> RunModule:
    """Run haproxy_servers on the stack's HAProxy."""

    def run(**arguments: Any) -> dict[str, Any]:
        return send_to(stack, run_module, **arguments)

    return run


def send_to(stack: Stack, run_module: RunModule, **arguments: Any) -> dict[str, Any]:
    arguments = {"address": stack.haproxy.socket, "backend": "web", "pools": POOLS, "up_timeout_s": 60} | arguments
    return run_module(haproxy_servers, **arguments)


# --- haproxy_servers -------------------------------------------------------------------------------------------------


def test_all_traffic_moves_and_no_request_is_lost(stack: Stack, send: RunModule) -> None:
    with visitors.visiting(stack.haproxy.url) as people:
        assert set(people.wait_for_more(20)) == {"blue1"}
        there = send(servers=TO_GREEN, drain_timeout_s=60)
        assert set(people.wait_for_more(20)[3:]) == {"green1"}
        back = send(servers=TO_BLUE, drain_timeout_s=60)
        assert set(people.wait_for_more(20)[3:]) == {"blue1"}
    assert people.lost == []
    assert there["changed"]
    assert there["drained"]
    assert there["serving_pools"] == ["green"]
    assert there["runtime_commands"] == ["set server web/green1 state ready", "set server web/blue1 state drain"]
    assert there["servers"]["green1"]["serving"]
    assert not there["servers"]["blue1"]["serving"]
    assert back["serving_pools"] == ["blue"]


def test_what_is_as_wanted_already_is_not_changed(send: RunModule) -> None:
    assert send(servers=TO_GREEN)["changed"]
    again = send(servers=TO_GREEN)
    assert (again["changed"], again["runtime_commands"]) == (False, [])
    assert again["serving_pools"] == ["green"]


def test_without_servers_it_only_reads(stack: Stack, send: RunModule, folder: Path) -> None:
    seen = send(state_file=str(folder / "unwanted"))
    assert seen["changed"] is False
    assert seen["serving_pools"] == ["blue"]
    assert {name: server["state"] for name, server in seen["servers"].items()} == {"blue1": "ready", "green1": "drain"}
    assert not (folder / "unwanted").exists()


def test_a_drained_server_finishes_what_it_has_begun(stack: Stack, send: RunModule) -> None:
    with in_flight(stack, "blue1", seconds=3) as visitor:
        left = send(servers=TO_GREEN, drain_timeout_s=0)
        assert left["drained"] is False
        assert left["servers"]["blue1"]["sessions"] == 1
        waited = send(servers=TO_GREEN, drain_timeout_s=60)
        assert waited["drained"] is True
    assert visitor.told == ["blue1"]


@contextmanager
def in_flight(stack: Stack, name: str, *, seconds: float) -> Iterator[visitors.Visitors]:
    """One request that a server is busy with when the block begins; it has been answered when the block is left."""
    visitor = visitors.Visitors(stack.haproxy.url)
    stack.apps[name].after_s = seconds
    asking = threading.Thread(target=visitor.ask)
    asking.start()
    servers.wait_until(lambda: f"\nweb,{name},0,0,1," in stack.haproxy.ask("show stat"), what="a request under way")
    yield visitor
    asking.join(60)


def test_shares_follow_the_weights(stack: Stack, send: RunModule) -> None:
    result = send(servers={"blue1": {"state": "ready", "weight": 90}, "green1": {"state": "ready", "weight": 10}})
    assert result["serving_pools"] == ["blue", "green"]
    visitor = visitors.Visitors(stack.haproxy.url)
    told = [visitor.ask() for _ in range(100)]
    assert told.count("green1") in (9, 10, 11)
    assert told.count("blue1") + told.count("green1") == 100


def test_a_restarted_haproxy_serves_as_before(stack: Stack, send: RunModule, folder: Path) -> None:
    state_file = str(stack.haproxy.state_file)
    assert send(servers=TO_GREEN, state_file=state_file)["changed"]
    with servers.start_haproxy(folder, stack.lines) as restarted:
        restarted.wait_for(blue1="DRAIN", green1="UP")
        again = send(address=restarted.socket, servers=TO_GREEN, state_file=state_file)
        assert visitors.Visitors(restarted.url).ask() == "green1"
    assert (again["changed"], again["serving_pools"]) == (False, ["green"])


def test_a_state_that_an_earlier_run_could_not_save_is_saved_by_the_next(
    stack: Stack, send: RunModule, folder: Path
) -> None:
    state_file = folder / "later" / "state"
    failed = send(servers=TO_GREEN, state_file=str(state_file))
    assert failed["failed"]
    assert f"{state_file} cannot be written: No such file or directory" in failed["msg"]
    state_file.parent.mkdir()
    assert send(servers=TO_GREEN, state_file=str(state_file))["changed"] is False
    assert " blue1 127.0.0.1 2 8 " in state_file.read_text(encoding="utf-8")
    assert [path.name for path in state_file.parent.iterdir()] == ["state"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            {"servers": {"green9": READY, "blue1": DRAIN}},
            "backend 'web' has no server green9: it has blue1, green1",
            id="wanted",
        ),
        pytest.param(
            {"servers": TO_GREEN, "pools": {"blue": ["blue9"]}},
            "pool 'blue' names blue9: the backend has blue1, green1",
            id="in a pool",
        ),
    ],
)
def test_a_server_that_is_not_there_is_refused_and_nothing_done(
    stack: Stack, send: RunModule, arguments: dict[str, Any], message: str
) -> None:
    result = send(**arguments)
    assert result["failed"]
    assert result["msg"] == message
    assert stack.haproxy.statuses() == {"blue1": "UP", "green1": "DRAIN", "BACKEND": "UP"}


def test_while_the_new_server_is_down_the_old_one_goes_on(stack: Stack, send: RunModule) -> None:
    stack.apps["green1"].running.close()
    stack.haproxy.wait_for(green1="DOWN")
    with visitors.visiting(stack.haproxy.url) as people:
        result = send(servers=TO_GREEN, up_timeout_s=1)
        people.wait_for_more(10)
    assert result["failed"]
    assert "green1 DOWN (L4CON Connection refused)" in result["msg"]
    assert "no other server was taken out of service" in result["msg"]
    assert set(people.told) == {"blue1"}


@pytest.mark.parametrize("fall", [1, 2, 3])
def test_a_dead_server_out_of_maintenance_is_not_taken_for_up(folder: Path, run_module: RunModule, fall: int) -> None:
    options = {"green1": f"disabled inter 1s fall {fall}"}
    with stack_of(folder, options=options, dead=("green1",)) as stack:
        stack.haproxy.wait_for(blue1="UP", green1="MAINT")
        result = send_to(stack, run_module, servers=TO_GREEN, up_timeout_s=5)
        assert result["failed"]
        assert "no other server was taken out of service" in result["msg"]
        assert stack.haproxy.statuses()["blue1"] == "UP"


def test_one_server_is_enough_to_take_the_others_out_of_service_where_that_was_said(
    folder: Path, run_module: RunModule
) -> None:
    wanted = {name: {"state": "ready", "weight": 100} for name in ("green1", "green2")} | {"blue1": {"state": "drain"}}
    arguments = {"servers": wanted, "pools": {"blue": ["blue1"], "green": ["green1", "green2"]}}
    with stack_of(folder, names=("blue1", "green1", "green2"), dead=("green2",)) as stack:
        stack.haproxy.wait_for(blue1="UP", green1="UP", green2="DOWN")
        for too_few in ({}, {"min_up": 2}):
            assert send_to(stack, run_module, **arguments, up_timeout_s=2, **too_few)["failed"]
            assert stack.haproxy.statuses()["blue1"] == "UP"
        with visitors.visiting(stack.haproxy.url) as people:
            assert send_to(stack, run_module, **arguments, min_up=1)["serving_pools"] == ["green"]
            assert set(people.wait_for_more(20)[10:]) == {"green1"}
        assert people.lost == []


def test_a_server_that_is_configured_as_disabled_serves_when_it_is_told_to(folder: Path, run_module: RunModule) -> None:
    with stack_of(folder, options={"green1": "disabled"}) as stack:
        stack.haproxy.wait_for(blue1="UP", green1="MAINT")
        with visitors.visiting(stack.haproxy.url) as people:
            people.wait_for_more(5)
            result = send_to(stack, run_module, servers=TO_GREEN)
            assert set(people.wait_for_more(20)[3:]) == {"green1"}
        assert people.lost == []
        assert result["serving_pools"] == ["green"]
        assert send_to(stack, run_module, servers=TO_GREEN)["changed"] is False


def test_a_server_that_warms_up_has_the_weight_it_was_given(folder: Path, run_module: RunModule) -> None:
    with stack_of(folder, options={"green1": "slowstart 600s"}) as stack:
        stack.haproxy.ask("set server web/green1 state maint")
        stack.haproxy.wait_for(blue1="UP", green1="MAINT")
        assert send_to(stack, run_module, servers=TO_GREEN)["changed"]
        assert send_to(stack, run_module, servers=TO_GREEN)["changed"] is False


def test_check_mode_says_which_commands_it_would_give_and_gives_none(
    stack: Stack, send: RunModule, folder: Path
) -> None:
    result = send(servers=TO_GREEN, state_file=str(folder / "unwanted"), _ansible_check_mode=True)
    assert result["changed"]
    assert result["runtime_commands"] == ["set server web/green1 state ready", "set server web/blue1 state drain"]
    assert stack.haproxy.statuses()["blue1"] == "UP"
    assert not (folder / "unwanted").exists()


def test_the_runtime_interface_may_be_a_port(stack: Stack, send: RunModule) -> None:
    assert send(address=f"127.0.0.1:{stack.haproxy.port}", servers=TO_GREEN)["serving_pools"] == ["green"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"backend": "absent"}, "HAProxy knows no backend 'absent'", id="no such backend"),
        pytest.param({"servers": {"green1": {"state": "up"}}}, "state is ready, drain or maint", id="no such state"),
        pytest.param({"servers": {"green1": {"weight": 257}}}, "weight is a whole number", id="too heavy"),
        pytest.param({"pools": {"blue": ["blue9"]}}, "pool 'blue' names blue9", id="a pool of nobody"),
        pytest.param({"address": "/nowhere/admin.sock"}, "No such file or directory", id="no socket"),
        pytest.param({"address": "admin.sock"}, "neither the path of a socket nor host:port", id="no address"),
        pytest.param(
            {"address": f"127.0.0.1:{misbehaving.refusing_port()}"}, "Connection refused", id="nobody listens"
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_words(send: RunModule, arguments: dict[str, Any], words: str) -> None:
    result = send(**arguments)
    assert result["failed"]
    assert words in result["msg"]


def test_a_socket_that_this_user_may_not_open_is_named(stack: Stack, send: RunModule) -> None:
    with nobody_in_particular(stack.haproxy.socket):
        result = send()
    assert result["failed"]
    assert f"{stack.haproxy.socket} could not be asked: Permission denied" in result["msg"]
    assert "may this user open it?" in result["msg"]


@contextmanager
def nobody_in_particular(path: str) -> Iterator[None]:
    """Be a user who may not open ``path``."""
    if os.geteuid():
        Path(path).chmod(0)
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_an_operator_of_too_low_a_level_is_refused_in_haproxys_words(
    stack: Stack, send: RunModule, folder: Path
) -> None:
    with misbehaving.listening(lower_level(stack.haproxy)) as port:
        result = send(address=f"127.0.0.1:{port}", servers=TO_GREEN)
    assert result["failed"]
    assert "HAProxy refused 'set server web/green1 state ready': Permission denied" in result["msg"]
    assert stack.haproxy.statuses()["blue1"] == "UP"


def lower_level(haproxy: servers.Haproxy) -> misbehaving.Behaviour:
    """The same HAProxy by a session that gave up its rights."""

    def relay(connection: Any, stop: threading.Event) -> None:
        command = connection.recv(4096).decode().strip()
        connection.sendall(haproxy.ask(f"user; {command}").lstrip("\n").encode())

    return relay


@pytest.mark.parametrize("behaviour", misbehaving.BEHAVIOURS.values(), ids=misbehaving.BEHAVIOURS.keys())
def test_whatever_answers_instead_of_haproxy_changes_nothing(
    behaviour: misbehaving.Behaviour, stack: Stack, send: RunModule, folder: Path
) -> None:
    with misbehaving.listening(behaviour) as port:
        result = send(address=f"127.0.0.1:{port}", servers=TO_GREEN, state_file=str(folder / "unwanted"))
    assert result["failed"]
    assert "Traceback" not in result["msg"]
    assert any(words in result["msg"] for words in ("not HAProxy's", "in time", "deadline passed", "larger than"))
    assert not (folder / "unwanted").exists()


# --- haproxy_check ---------------------------------------------------------------------------------------------------


@pytest.fixture
def check(stack: Stack, run_module: RunModule) -> RunModule:
    """Run haproxy_check on the stack's HAProxy; keywords are what is expected."""

    def run(target: dict[str, Any] | None = None, **expected: Any) -> dict[str, Any]:
        whole = {"name": "edge", "address": stack.haproxy.socket, "backend": "web", "pools": POOLS} | (target or {})
        return run_module(
            haproxy_check, targets=[whole], expected=expected, timeout_s=90, total_timeout_s=90, report_only=True
        )

    return run


SHARE = {"min_requests": 10, "max_error_percent": 0.0, "max_mean_ms": 5000}


def test_traffic_as_declared_is_green_in_every_finding(stack: Stack, check: RunModule) -> None:
    with visitors.visiting(stack.haproxy.url):
        share = {"share": ["blue1"], "watch_s": 60, "min_samples": 2}
        result = check(share, one_pool=True, serving_pool="blue", **SHARE)
    assert red(result) == []
    # What budgets of triggers are judged by.
    first, second = result["verdicts"][0]["recorded"]["samples"][:2]
    assert first["requests"] > 0
    assert (first["error_percent"], second["error_percent"]) == (0, 0)
    assert 1 <= second["at_s"] - first["at_s"] < 3
    assert green(result) == [
        "pool.idle", "pool.one", "pool.serving", "pool.up", "reachable", "share.errors", "share.mean_ms",
        "share.requests",
    ]  # fmt: skip
    assert findings(result)["share.requests"]["observed"] >= 10
    assert result["changed"] is False


def test_two_pools_that_serve_are_red_in_that(stack: Stack, check: RunModule) -> None:
    stack.haproxy.ask("set server web/green1 state ready")
    result = check(one_pool=True)
    assert red(result) == ["pool.one"]
    assert findings(result)["pool.one"]["observed"] == ["blue", "green"]


def test_no_pool_that_serves_is_red_in_that(stack: Stack, check: RunModule) -> None:
    stack.haproxy.ask("set server web/blue1 state drain")
    result = check(one_pool=True)
    assert red(result) == ["pool.one"]
    assert findings(result)["pool.one"]["observed"] == []


def test_a_server_of_the_serving_pool_that_is_down_is_named(stack: Stack, check: RunModule) -> None:
    stack.haproxy.ask("set server web/green1 state ready")
    stack.apps["green1"].running.close()
    stack.haproxy.wait_for(green1="DOWN")
    result = check({"pools": {"all": ["blue1", "green1"]}}, one_pool=True, serving_pool="all")
    assert red(result) == ["pool.up"]
    assert findings(result)["pool.up"]["observed"] == ["green1 DOWN"]


def test_an_idle_server_that_only_waits_to_be_up_is_named(stack: Stack, check: RunModule) -> None:
    stack.apps["green1"].running.close()
    stack.haproxy.ask("set server web/green1 state ready")
    stack.haproxy.wait_for(green1="DOWN")
    result = check(one_pool=True)
    assert red(result) == ["pool.idle"]
    assert findings(result)["pool.idle"]["observed"] == ["green1"]


def test_a_server_that_is_drained_needs_not_be_up(stack: Stack, check: RunModule) -> None:
    stack.apps["green1"].running.close()
    stack.haproxy.wait_for(green1="DOWN")
    assert red(check({"pools": {"all": ["blue1", "green1"]}}, one_pool=True)) == []


def test_the_wrong_pool_is_red_in_that(check: RunModule) -> None:
    result = check(one_pool=True, serving_pool="green")
    assert red(result) == ["pool.serving"]
    assert findings(result)["pool.serving"]["observed"] == ["blue"]


def test_too_few_requests_prove_nothing(stack: Stack, check: RunModule) -> None:
    with visitors.visiting(stack.haproxy.url):
        result = check({"share": ["blue1"], "watch_s": 2}, **SHARE | {"min_requests": 100_000})
    assert red(result) == ["share.requests"]
    assert findings(result)["share.mean_ms"]["status"] == "skipped"


def test_a_share_that_nobody_asked_for_anything_passes_in_nothing(check: RunModule) -> None:
    result = check({"share": ["green1"], "watch_s": 1}, max_error_percent=100.0, max_mean_ms=5000)
    assert red(result) == ["share.errors", "share.mean_ms"]
    assert "no request came by" in findings(result)["share.errors"]["cause"]


def test_a_server_that_answers_500_is_red_in_its_errors(stack: Stack, check: RunModule) -> None:
    stack.apps["green1"].status = 500
    stack.haproxy.ask("set server web/green1 state ready")
    with visitors.visiting(stack.haproxy.url):
        result = check({"share": ["green1"], "watch_s": 60}, **SHARE)
        healthy = check({"share": ["blue1"], "watch_s": 60}, **SHARE)
    assert red(result) == ["share.errors"]
    assert findings(result)["share.errors"]["observed"] == 100.0
    assert red(healthy) == []


def test_a_server_that_breaks_its_answers_is_red_in_its_errors_and_nothing_is_known_of_its_time(
    folder: Path, run_module: RunModule
) -> None:
    with (
        misbehaving.listening(closes_without_a_word) as port,
        servers.start_haproxy(folder, {"green1": f"127.0.0.1:{port}"}) as haproxy,
        visitors.visiting(haproxy.url),
    ):
        target = {"name": "edge", "address": haproxy.socket, "backend": "web", "share": ["green1"], "watch_s": 60}
        result = run_module(haproxy_check, targets=[target], expected=SHARE, timeout_s=90, report_only=True)
    assert red(result) == ["share.errors", "share.mean_ms"]
    assert "no request was answered" in findings(result)["share.mean_ms"]["cause"]


def closes_without_a_word(connection: Any, stop: threading.Event) -> None:
    """Takes a request, and hangs up."""
    connection.recv(4096)


def test_a_server_that_became_slow_is_red_whatever_it_did_before(stack: Stack, check: RunModule) -> None:
    with visitors.visiting(stack.haproxy.url):
        history = {"share": ["blue1"], "watch_s": 60}
        check(history, **SHARE | {"min_requests": 900})
        before = check(history, **SHARE | {"max_mean_ms": 500})
        stack.apps["blue1"].after_s = 1.5
        slow = check(history, **SHARE | {"min_requests": 20, "max_mean_ms": 500})
        stack.apps["blue1"].after_s = 0.0
        after = check(history, **SHARE | {"min_requests": 200, "max_mean_ms": 500})
    assert red(before) == []
    assert red(slow) == ["share.mean_ms"]
    # Without what is left of the history: with it, some 60 ms.
    assert findings(slow)["share.mean_ms"]["observed"] > 1000
    assert red(after) == []


def test_a_slow_server_is_red_in_its_mean_time(stack: Stack, check: RunModule) -> None:
    stack.apps["blue1"].after_s = 0.2
    with visitors.visiting(stack.haproxy.url):
        result = check({"share": ["blue1"], "watch_s": 60}, **SHARE | {"max_mean_ms": 100})
    assert red(result) == ["share.mean_ms"]
    assert findings(result)["share.mean_ms"]["observed"] >= 200


@pytest.mark.parametrize(
    ("target", "words"),
    [
        pytest.param({"backend": "absent"}, "knows no backend 'absent'", id="no such backend"),
        pytest.param(
            {"share": ["green9"]}, "the share names green9: the backend has blue1, green1", id="no such share"
        ),
        pytest.param({"pools": {"blue": ["blue9"]}}, "pool 'blue' names blue9", id="a pool of nobody"),
        pytest.param({"address": "/nowhere/admin.sock"}, "No such file or directory", id="no socket"),
        pytest.param({"address": "admin.sock"}, "neither the path of a socket nor host:port", id="no address"),
    ],
)
def test_what_cannot_be_looked_at_is_one_finding_with_a_cause(
    check: RunModule, target: dict[str, Any], words: str
) -> None:
    result = check(target, one_pool=True, max_error_percent=0.0)
    assert red(result) == ["reachable"]
    assert words in findings(result)["reachable"]["cause"]


@pytest.mark.parametrize("behaviour", misbehaving.BEHAVIOURS.values(), ids=misbehaving.BEHAVIOURS.keys())
def test_whatever_answers_instead_of_haproxy_is_one_finding_with_a_cause(
    behaviour: misbehaving.Behaviour, run_module: RunModule
) -> None:
    with misbehaving.listening(behaviour) as port:
        target = {"name": "edge", "address": f"127.0.0.1:{port}", "backend": "web", "pools": POOLS}
        result = run_module(haproxy_check, targets=[target], expected={"one_pool": True}, timeout_s=2, report_only=True)
    assert red(result) == ["reachable"]
    assert findings(result)["reachable"]["cause"]


def test_many_load_balancers_are_looked_at_together_and_one_that_hangs_holds_up_none(
    stack: Stack, run_module: RunModule
) -> None:
    with misbehaving.listening(misbehaving.hangs) as port:
        targets = [
            {"name": f"edge-{number}", "address": stack.haproxy.socket, "backend": "web", "pools": POOLS}
            for number in range(12)
        ]
        targets[3] |= {"name": "hangs", "address": f"127.0.0.1:{port}"}
        result = run_module(haproxy_check, targets=targets, expected={"one_pool": True}, timeout_s=10, report_only=True)
    assert [verdict["subject"] for verdict in result["verdicts"] if not verdict["ok"]] == ["hangs"]


def test_without_report_only_a_red_finding_fails_the_task_in_check_mode_too(
    stack: Stack, run_module: RunModule
) -> None:
    target = {"name": "edge", "address": stack.haproxy.socket, "backend": "web", "pools": POOLS}
    result = run_module(
        haproxy_check, targets=[target], expected={"serving_pool": "green"}, timeout_s=60, _ansible_check_mode=True
    )
    assert result["failed"]
    assert "pool.serving: expected ['green'], observed ['blue']" in result["msg"]


def test_expectations_that_imply_nothing_are_refused(check: RunModule) -> None:
    result = check(one_pool=False)
    assert result["failed"]
    assert "implies no check" in result["msg"]
