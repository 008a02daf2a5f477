# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy's answers as they really were, and the commands that follow from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cutover.checks import CannotObserve
from cutover.haproxy import WINDOW, Server, Wanted, commands, mean_since, parse_servers
from hypothesis import given
from hypothesis import strategies as st

Recorded = Callable[[str], Any]


@pytest.fixture(scope="module")
def stat(recorded: Recorded) -> str:
    return str(recorded("haproxy-2.6/show-stat.txt"))


@pytest.fixture(scope="module")
def state(recorded: Recorded) -> str:
    return str(recorded("haproxy-2.6/show-servers-state.txt"))


@pytest.fixture(scope="module")
def servers(stat: str, state: str) -> dict[str, Server]:
    return parse_servers(stat, state, "web")


@pytest.mark.parametrize(
    ("name", "asked_for", "status", "serving"),
    [
        pytest.param("blue1", "ready", "UP", True, id="up"),
        pytest.param("blue2", "drain", "DOWN", False, id="drained and down, which show stat calls DOWN"),
        pytest.param("green2", "ready", "UP", True, id="configured as disabled, and made ready since"),
        pytest.param("spare1", "maint", "MAINT", False, id="configured as disabled"),
        pytest.param("spare2", "maint", "MAINT", False, id="put into maintenance"),
        pytest.param("unchecked", "ready", "no check", False, id="ready, but of no weight"),
        pytest.param("quiet", "drain", "DRAIN", False, id="drained and up"),
    ],
)
def test_each_server_is_as_it_was(
    servers: dict[str, Server], name: str, asked_for: str, status: str, serving: bool
) -> None:
    server = servers[name]
    assert (server.state, server.status, server.serving) == (asked_for, status, serving)


def test_all_servers_of_the_backend_are_there_and_nothing_else(servers: dict[str, Server]) -> None:
    assert sorted(servers) == ["blue1", "blue2", "green1", "green2", "quiet", "spare1", "spare2", "unchecked"]


def test_what_servers_did_is_counted(servers: dict[str, Server]) -> None:
    assert (servers["blue1"].requests, servers["blue1"].errors) == (11, 0)
    assert (servers["green1"].requests, servers["green1"].errors) == (10, 10)
    assert (servers["quiet"].requests, servers["quiet"].errors) == (0, 0)
    assert servers["blue1"].mean_ms >= 20


def test_the_last_check_is_named_also_while_the_next_one_is_under_way(servers: dict[str, Server], stat: str) -> None:
    assert ",* L7OK," in stat
    assert servers["green1"].last_check == "L7OK"
    assert servers["blue2"].last_check == "L4CON Connection refused"


def test_failed_connections_and_broken_answers_count_as_requests_that_failed(stat: str, state: str) -> None:
    broken = _with(stat, "blue1", econ="3", eresp="2")
    blue1 = parse_servers(broken, state, "web")["blue1"]
    assert (blue1.requests, blue1.errors) == (16, 5)


@pytest.mark.parametrize("line_end", ["\u2028", "\x85", "\x0b", "\r"])
def test_a_servers_own_words_cannot_end_its_row(
    stat: str, state: str, line_end: str, servers: dict[str, Server]
) -> None:
    hostile = _with(stat, "blue1", last_chk=f'"Fine{line_end}here"')
    blue1 = parse_servers(hostile, state, "web")["blue1"]
    assert blue1.mean_ms == servers["blue1"].mean_ms
    assert line_end in blue1.last_check


def test_a_server_that_warms_up_has_the_weight_that_was_set(stat: str, state: str) -> None:
    assert parse_servers(_with(stat, "blue1", weight="7"), state, "web")["blue1"].weight == 100


@pytest.mark.parametrize(
    ("status", "last_check", "up", "proven"),
    [
        pytest.param("UP", "L7OK OK", True, True, id="up"),
        pytest.param("no check", "", True, True, id="without checks it must be believed"),
        pytest.param("UP", "INI", True, False, id="out of maintenance, not asked yet"),
        pytest.param("UP 1/2", "INI", True, False, id="out of maintenance, not asked twice"),
        pytest.param("DOWN", "L4CON", False, False, id="down"),
        pytest.param("DOWN 1/2", "L7OK", False, False, id="coming up"),
        pytest.param("MAINT", "", False, False, id="in maintenance"),
        pytest.param("DRAIN", "L7OK", False, False, id="drained"),
        pytest.param("NOLB", "L7OK", False, False, id="asked for no more requests itself"),
    ],
)
def test_up_is_what_serves_and_proven_is_what_checks_have_seen(
    servers: dict[str, Server], status: str, last_check: str, up: bool, proven: bool
) -> None:
    server = dataclasses.replace(servers["blue1"], status=status, last_check=last_check)
    assert (server.up, server.serving, server.proven) == (up, up, proven)


def _with(stat: str, name: str, **values: str) -> str:
    """The answer with other values in the row of one server."""
    head, *rows = stat.split("\n")
    columns = head.removeprefix("# ").split(",")

    def changed(row: str) -> str:
        cells = row.split(",")
        return ",".join(values.get(column, cell) for column, cell in zip(columns, cells, strict=True))

    return "\n".join([head, *(changed(row) if row.startswith(f"web,{name},") else row for row in rows)])


@pytest.mark.parametrize(
    ("break_stat", "break_state", "words"),
    [
        pytest.param(lambda text: "", lambda text: text, "not HAProxy's: ''", id="no answer"),
        pytest.param(
            lambda text: "220 mail.example ESMTP\r\n", lambda text: text, "not HAProxy's: '220 mail", id="mail server"
        ),
        pytest.param(
            lambda text: text, lambda text: "Permission denied\n\n", "not HAProxy's: 'Permission", id="no level"
        ),
        pytest.param(lambda text: text[:-400], lambda text: text, "cut off", id="half of the servers' counters"),
        pytest.param(lambda text: text, lambda text: text[:-40], "cut off", id="half of the servers' states"),
        pytest.param(
            lambda text: text.replace("hrsp_5xx", "hrsp_9xx"), lambda text: text, "KeyError", id="columns of a stranger"
        ),
        pytest.param(
            lambda text: text,
            lambda text: text.replace(" 127.0.0.1 2 ", " 127.0.0.1 ", 1),
            "another shape",
            id="a row that is too short",
        ),
    ],
)
def test_what_is_no_whole_answer_is_refused_with_what_it_was(
    stat: str,
    state: str,
    break_stat: Callable[[str], str],
    break_state: Callable[[str], str],
    words: str,
) -> None:
    with pytest.raises(CannotObserve, match=words):
        parse_servers(break_stat(stat), break_state(state), "web")


@pytest.mark.parametrize("backend", ["absent", "front", ""])
def test_a_backend_that_is_not_there_is_named(stat: str, state: str, backend: str) -> None:
    with pytest.raises(CannotObserve, match=f"no backend '{backend}'"):
        parse_servers(stat, state, backend)


@given(st.data())
def test_no_cut_answer_is_mistaken_for_a_whole_one(recorded: Recorded, data: Any) -> None:
    stat, state = recorded("haproxy-2.6/show-stat.txt"), recorded("haproxy-2.6/show-servers-state.txt")
    with pytest.raises(CannotObserve):
        parse_servers(stat[: data.draw(st.integers(0, len(stat) - 1))], state, "web")
    with pytest.raises(CannotObserve):
        parse_servers(stat, state[: data.draw(st.integers(0, len(state) - 1))], "web")


READY, DRAIN = {"state": "ready", "weight": 100}, {"state": "drain"}


@pytest.mark.parametrize(
    ("wanted", "planned"),
    [
        pytest.param(
            {"blue1": DRAIN, "quiet": READY},
            ["set server web/quiet state ready", "set server web/blue1 state drain"],
            id="who shall serve comes first",
        ),
        pytest.param(
            {"blue1": {"weight": 0}, "unchecked": {"weight": 50}},
            ["set server web/unchecked weight 50", "set server web/blue1 weight 0"],
            id="also when only weights are named",
        ),
        pytest.param(
            {"blue1": {"state": "ready", "weight": 0}, "spare2": READY},
            ["set server web/spare2 state ready", "set server web/blue1 weight 0"],
            id="ready without weight does not serve",
        ),
        pytest.param(
            {"quiet": {"state": "ready", "weight": 10}},
            ["set server web/quiet weight 10", "set server web/quiet state ready"],
            id="weight before state, so that none gets too much",
        ),
        pytest.param({"blue1": READY, "blue2": DRAIN, "green2": READY}, [], id="all as wanted"),
        pytest.param({}, [], id="nothing wanted"),
    ],
)
def test_commands_lead_to_what_is_wanted_and_somebody_always_serves(
    servers: dict[str, Server], wanted: dict[str, Any], planned: list[str]
) -> None:
    parsed = {name: Wanted.parse(name, sides) for name, sides in wanted.items()}
    assert list(commands("web", parsed, servers)) == planned


WANTED = st.builds(
    Wanted, state=st.none() | st.sampled_from(["ready", "drain", "maint"]), weight=st.none() | st.integers(0, 256)
)
BEFORE = st.tuples(st.sampled_from(["ready", "drain", "maint"]), st.integers(0, 256))


@given(st.dictionaries(st.sampled_from("abc"), WANTED), st.fixed_dictionaries(dict.fromkeys("abc", BEFORE)))
def test_nobody_serving_is_never_a_step_between_two_states_in_which_somebody_does(
    wanted: dict[str, Wanted], before: dict[str, tuple[str, int]]
) -> None:
    servers = {name: _server(name, state=state, weight=weight) for name, (state, weight) in before.items()}
    steps = [servers]
    for line in commands("web", wanted, servers):
        _, _, path, what, value = line.split()
        now = steps[-1][name := path.removeprefix("web/")]
        changed = dataclasses.replace(now, **{what: int(value) if what == "weight" else value})
        steps.append({**steps[-1], name: changed})
    served = [any(server.serving for server in step.values()) for step in steps]
    assert all(served) or not (served[0] and served[-1])
    assert list(commands("web", wanted, steps[-1])) == []


def _server(name: str, **sides: Any) -> Server:
    return Server(
        name=name,
        status="UP",
        sessions=0,
        requests=0,
        errors=0,
        answers=0,
        counted=0,
        mean_ms=0,
        last_check="",
        **sides,
    )


def test_a_server_that_the_backend_does_not_have_is_refused_with_those_it_has(servers: dict[str, Server]) -> None:
    with pytest.raises(ValueError, match="backend 'web' has no server green9: it has blue1, blue2,"):
        list(commands("web", {"blue1": Wanted(state="drain"), "green9": Wanted(state="ready")}, servers))


@pytest.mark.parametrize(
    ("sides", "words"),
    [
        pytest.param({}, "takes state and weight", id="nothing said"),
        pytest.param("drain", "takes state and weight", id="text"),
        pytest.param({"stat": "ready"}, "takes state and weight", id="misspelt"),
        pytest.param({"state": "up"}, "state is ready, drain or maint", id="no such state"),
        pytest.param({"state": ["ready"]}, "state is ready, drain or maint", id="list as state"),
        pytest.param({"weight": 257}, "0 to 256", id="too heavy"),
        pytest.param({"weight": -1}, "0 to 256", id="negative"),
        pytest.param({"weight": "ten"}, "0 to 256", id="text as weight"),
        pytest.param({"weight": 1.7}, "0 to 256", id="part of a weight"),
        pytest.param({"weight": [1]}, "0 to 256", id="list as weight"),
        pytest.param({"weight": True}, "0 to 256", id="boolean as weight"),
    ],
)
def test_what_is_wanted_wrongly_names_server_and_reason(sides: object, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        Wanted.parse("green1", sides)
    assert "'green1'" in str(refused.value)


def test_a_weight_may_come_as_text() -> None:
    assert Wanted.parse("green1", {"weight": "10"}) == Wanted(weight=10)


def _after(means: list[float]) -> Iterator[tuple[int, Server]]:
    """What HAProxy tells after each answer that took so long; freq_ctr.h, swrate_add_dynamic and swrate_avg."""
    total = 0
    for count, ms in enumerate(means, start=1):
        total += round(ms) - ((total + WINDOW - 1) // WINDOW if count > WINDOW else 0)
        window = min(count, WINDOW)
        told = (total + window - 1) // window
        yield (
            count,
            dataclasses.replace(_server("a", state="ready", weight=1), answers=count, counted=count, mean_ms=told),
        )


@pytest.mark.parametrize("history", [0, 1, 100, 511, 512, 513, 5000])
@pytest.mark.parametrize(("before_ms", "ms"), [(10, 2500), (2500, 10), (20, 20), (0, 300)])
@pytest.mark.parametrize("answers", [20, 200, 600, 5000])
def test_the_mean_of_a_time_is_told_from_two_moving_means(history: int, before_ms: int, ms: int, answers: int) -> None:
    seen = dict(_after([before_ms] * history + [ms] * answers))
    first = seen.get(history, _server("a", state="ready", weight=1))

    mean = mean_since(first, seen[history + answers])

    assert mean is not None
    assert abs(mean - ms) <= 1 + 2 * WINDOW / min(answers, WINDOW)


def test_without_an_answer_there_is_no_mean() -> None:
    assert mean_since(_server("a", state="ready", weight=1), _server("a", state="ready", weight=1)) is None
