# SPDX-License-Identifier: GPL-3.0-or-later
"""judge_redis and judge_redis_config: what two spellings of a directive mean, and answers of real servers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from cutover.checks import CannotObserve, ExpectationError, judge
from cutover.judge_redis import KNOWN_PASSWORDS, AclUser, RedisObservation, redis_checks, secrets_among_directives
from cutover.judge_redis_config import SECRET_DIRECTIVES, means, told_by_info
from cutover.verdict import Finding, Status
from hypothesis import example, given
from hypothesis import strategies as st

Recorded = Callable[[str], str]

UNITS = {"": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}
BUFFER_LIMITS = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"


def info_of(text: str) -> dict[str, str]:
    return dict(line.partition(":")[::2] for line in text.splitlines() if ":" in line)


def judged(expected: dict[str, Any], **seen: Any) -> dict[str, Finding]:
    """The findings on an observation, by the names of their checks."""
    observation = RedisObservation(**({"login": True} | seen))
    return {
        finding.check: finding
        for finding in judge(redis_checks(expected), observation, reachable_remedy="start the server")
    }


# --- directives ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("directive", "declared", "answer"),
    [
        pytest.param("maxmemory", "256mb", "268435456", id="bytes with a unit"),
        pytest.param("maxmemory", "256 MB", "268435456", id="unit in another case, after a space"),
        pytest.param("maxmemory", 268435456, "268435456", id="bytes as a number"),
        pytest.param("maxmemory", 268435456.0, "268435456", id="bytes as a number that YAML took for a fraction"),
        pytest.param("maxmemory", 0, "0", id="nothing"),
        pytest.param("repl-diskless-sync-delay", "-1", "-1", id="less than nothing"),
        pytest.param("appendonly", True, "yes", id="true"),
        pytest.param("appendonly", "true", "yes", id="true in words"),
        pytest.param("appendonly", "Yes", "yes", id="yes in another case"),
        pytest.param("appendonly", 1, "yes", id="one for yes"),
        pytest.param("appendonly", False, "no", id="false"),
        pytest.param("appendonly", "off", "no", id="off"),
        pytest.param("tls-auth-clients", "optional", "optional", id="neither yes nor no"),
        pytest.param("maxmemory-policy", "Allkeys-LRU", "allkeys-lru", id="enumeration in another case"),
        pytest.param("maxmemory-clients", "5 %", "5%", id="percentage"),
        pytest.param("auto-aof-rewrite-percentage", "100%", "100", id="percentage that the server answers bare"),
        pytest.param("save", "900 1 300 10", "900 1 300 10", id="save points"),
        pytest.param("save", "300 10 900 1", "900 1 300 10", id="save points in another order"),
        pytest.param("save", ["900 1", "300 10"], "900 1 300 10", id="list of save points"),
        pytest.param("save", [[900, 1], [300, 10]], "900 1 300 10", id="list of pairs"),
        pytest.param("save", [900, 1, 300, 10], "900 1 300 10", id="list of numbers"),
        pytest.param("save", "", "", id="no save points"),
        pytest.param("save", '""', "", id="no save points, as redis.conf writes it"),
        pytest.param("save", [], "", id="no save points in a list"),
        pytest.param("client-output-buffer-limit", BUFFER_LIMITS, BUFFER_LIMITS, id="all limits"),
        pytest.param("client-output-buffer-limit", "replica 256mb 64mb 60", BUFFER_LIMITS, id="limits of one class"),
        pytest.param(
            "client-output-buffer-limit",
            ["pubsub 32mb 8mb 60", "slave 256mb 64mb 60"],
            BUFFER_LIMITS,
            id="limits of two classes in another order",
        ),
        pytest.param("notify-keyspace-events", "KEA", "AKE", id="events in another order"),
        pytest.param("notify-keyspace-events", "Kg$lshzxetd", "AK", id="all events by name"),
        pytest.param("unixsocket", '"/run/redis.sock"', "/run/redis.sock", id="quoted text"),
        pytest.param("unixsocketperm", "0700", "700", id="octal with a leading zero"),
        pytest.param("bind", ["127.0.0.1", "-::1"], "127.0.0.1 -::1", id="list of words"),
        pytest.param("bind", "127.0.0.1  -::1", "127.0.0.1 -::1", id="more spaces"),
        pytest.param("logfile", "''", "", id="empty text"),
        pytest.param("latency-tracking-info-percentiles", [50, 99, 99.9], "50 99 99.9", id="list of fractions"),
    ],
)
def test_what_means_the_same_is_the_same(directive: str, declared: Any, answer: str) -> None:
    assert means(directive, declared)(answer) is True


@pytest.mark.parametrize(
    ("directive", "declared", "answer"),
    [
        pytest.param("maxmemory", "256m", "268435456", id="m is not mb"),
        pytest.param("maxmemory", "256mib", "268435456", id="a unit that redis.conf does not know"),
        pytest.param("maxmemory", True, "1", id="yes is no number"),
        pytest.param("maxmemory", "", "0", id="nothing is no number"),
        pytest.param("appendonly", "maybe", "no", id="neither yes nor no"),
        pytest.param("appendonly", 2, "yes", id="a number that is no truth value"),
        pytest.param("tls-auth-clients", "optional", "no", id="enumeration for a truth value"),
        pytest.param("maxmemory-clients", 5, "5%", id="bytes for a percentage"),
        pytest.param("maxmemory-clients", "5%", "5", id="percentage for bytes"),
        pytest.param("dir", "/Data", "/data", id="a path in another case"),
        pytest.param("save", "900 1", "900 1 300 10", id="one save point too many"),
        pytest.param("save", "900 1 300 10", "900 1", id="one save point too few"),
        pytest.param("save", "1 900", "900 1", id="seconds and changes swapped"),
        pytest.param("save", "", "900 1", id="save points where none are declared"),
        pytest.param("client-output-buffer-limit", "replica 256mb 64mb 0", BUFFER_LIMITS, id="other seconds"),
        pytest.param("client-output-buffer-limit", "normal 1mb 0 0", BUFFER_LIMITS, id="other class"),
        pytest.param("client-output-buffer-limit", "", BUFFER_LIMITS, id="no limit declared proves none"),
        pytest.param("notify-keyspace-events", "KE", "AKE", id="fewer events"),
        pytest.param("notify-keyspace-events", "", "AKE", id="no events"),
    ],
)
def test_what_means_something_else_is_not_the_same(directive: str, declared: Any, answer: str) -> None:
    assert means(directive, declared)(answer) is False


@pytest.mark.parametrize(
    ("directive", "declared"),
    [
        *(pytest.param(directive, "s3cret", id=directive) for directive in sorted(SECRET_DIRECTIVES)),
        pytest.param("save", "900", id="half a save point"),
        pytest.param("save", "often enough", id="save points in words"),
        pytest.param("client-output-buffer-limit", "replica 256mb", id="half a limit"),
        pytest.param("client-output-buffer-limit", "replica much more 60", id="limits in words"),
        pytest.param("maxmemory", None, id="nothing"),
        pytest.param("maxmemory", {"mb": 256}, id="mapping"),
    ],
)
def test_what_can_mean_nothing_is_refused_with_its_name(directive: str, declared: Any) -> None:
    with pytest.raises(ExpectationError, match=f"config.{directive}") as refusal:
        means(directive, declared)
    assert "s3cret" not in str(refusal.value)


@given(number=st.integers(0, 2**40), unit=st.sampled_from(sorted(UNITS)), other=st.integers(0, 2**62))
def test_an_amount_is_the_same_in_every_unit_and_no_other_amount_is(number: int, unit: str, other: int) -> None:
    same = means("maxmemory", f"{number}{unit}")
    assert same(str(number * UNITS[unit]))
    assert same(str(other)) is (other == number * UNITS[unit])


@given(
    points=st.dictionaries(st.integers(1, 10**6), st.integers(1, 10**6), max_size=5),
    seed=st.randoms(use_true_random=False),
)
def test_save_points_are_the_same_in_any_order_and_any_spelling(points: dict[int, int], seed: random.Random) -> None:
    shuffled = list(points.items())
    seed.shuffle(shuffled)
    answer = " ".join(f"{seconds} {changes}" for seconds, changes in points.items())
    assert means("save", [list(pair) for pair in shuffled])(answer)
    assert means("save", " ".join(f"{seconds} {changes}" for seconds, changes in shuffled))(answer)
    assert not means("save", answer)(f"{answer} 1000001 1".strip())


@given(declared=st.text() | st.integers() | st.booleans() | st.floats(), answer=st.text())
def test_whatever_is_declared_and_answered_the_verdict_is_a_truth_value(declared: Any, answer: str) -> None:
    assert means("dbfilename", declared)(answer) in (True, False)


@given(path=st.text(min_size=1), other=st.text(min_size=1))
@example(path=" %", other="%")
def test_different_texts_never_mean_the_same_path(path: str, other: str) -> None:
    path, other = f"/p{path}", f"/p{other}"
    assert means("dir", path)(other) is (path.split() == other.split())


def test_info_spells_directives_as_config_does() -> None:
    info = {"aof_enabled": "1", "slave_read_only": "0", "maxmemory": "1", "maxmemory_policy": "noeviction"}
    assert told_by_info("appendonly", info) == "yes"
    assert told_by_info("replica-read-only", info) == "no"
    assert told_by_info("maxmemory", info) == "1"
    assert told_by_info("maxmemory-policy", info) == "noeviction"
    assert told_by_info("maxclients", info) is None
    assert told_by_info("appendfsync", info) is None


def test_a_secret_among_directives_is_known_so_that_it_can_be_hidden() -> None:
    params = {
        "expected": {"config": {"requirepass": "one", "maxmemory": "1mb"}},
        "targets": [{"expected": {"config": {"MasterAuth": "two"}}}, {"expected": None}, {}],
    }
    assert secrets_among_directives(params) == {"one", "two"}


# --- recorded answers of real servers --------------------------------------------------------------------------------

EVERYTHING: dict[str, Any] = {
    "min_version": {"redis": "7.0", "valkey": "7.2"},
    "tls": False,
    "refuses_unauthenticated": True,
    "refuses_default_passwords": True,
    "config": {"maxmemory": "256mb"},
    "aof": True,
    "rdb": True,
    "rdb_max_age_s": 60,
    "role": "master",
    "min_replicas": 1,
    "max_replication_lag_s": 5,
    "min_free_memory_percent": 10,
    "min_free_clients_percent": 10,
    "users": [{"name": "app"}],
}


@pytest.mark.parametrize("server", ["redis-7.0", "valkey-9.1"])
def test_a_master_with_a_replica_passes(server: str, recorded: Recorded) -> None:
    app = AclUser(enabled=True, nopass=False, passwords=1, flags=frozenset({"on"}))
    found = judged(
        EVERYTHING,
        info=info_of(recorded(f"{server}/info-master.txt")),
        unauthenticated="refused",
        default_passwords="refused",
        config={"maxmemory": "268435456"},
        users={"app": app},
    )
    assert [name for name, finding in found.items() if finding.status is not Status.PASS] == []


@pytest.mark.parametrize("server", ["redis-7.0", "valkey-9.1"])
def test_a_replica_without_its_master_is_red_in_its_link(server: str, recorded: Recorded) -> None:
    found = judged(
        {"role": "replica", "max_replication_lag_s": 5}, info=info_of(recorded(f"{server}/info-replica-alone.txt"))
    )
    assert found["role"].status is Status.PASS
    assert (found["replication.link"].status, found["replication.link"].observed) == (Status.FAIL, "down")
    assert (found["replication.lag_s"].status, found["replication.lag_s"].cause) == (
        Status.SKIPPED,
        "replication.link",
    )


def test_valkey_is_judged_by_its_own_number(recorded: Recorded) -> None:
    info = info_of(recorded("valkey-9.1/info-master.txt"))
    assert judged({"min_version": {"redis": "7.0"}}, info=info)["version"].status is Status.FAIL
    assert judged({"min_version": {"valkey": "9.1.2"}}, info=info)["version"].status is Status.PASS
    assert judged({"min_version": {"valkey": "10"}}, info=info)["version"].observed == "valkey 9.1.2"


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        pytest.param({"default_passwords": ["admin"]}, "none would be tried", id="passwords that nobody tries"),
        pytest.param({"min_version": {}}, "names no version", id="no version"),
        pytest.param(
            {"min_version": {"redis": "", "valkey": None}}, "names no version", id="versions without a number"
        ),
    ],
)
def test_what_would_never_be_checked_is_refused(expected: dict[str, Any], words: str) -> None:
    with pytest.raises(ExpectationError, match=words):
        list(redis_checks(expected))


def test_one_target_may_be_let_off_the_passwords_that_are_declared_for_all() -> None:
    off = {"default_passwords": ["admin"], "refuses_default_passwords": False}
    assert [check.name for check in redis_checks(off)] == ["login", "loading"]


# --- never evaluated is never a pass ---------------------------------------------------------------------------------


def test_an_empty_observation_passes_nothing_but_that_the_server_was_reached() -> None:
    found = judge(redis_checks(EVERYTHING | {"tls": True}), RedisObservation(), reachable_remedy="start the server")
    assert [finding.check for finding in found if finding.status is Status.PASS] == ["reachable"]


@given(fields=st.dictionaries(st.sampled_from(sorted({"loading", "aof_enabled", "role", "maxmemory"})), st.text()))
def test_no_strange_info_raises_or_passes_what_it_does_not_tell(fields: dict[str, str]) -> None:
    found = judged(EVERYTHING, info=fields)
    for name in ("version", "rdb.last_save", "rdb.age_s", "replication.replicas", "clients.free_percent"):
        assert found[name].status is not Status.PASS
    if fields.get("aof_enabled") != "1":
        assert found["aof.last_write"].status is Status.SKIPPED


@pytest.mark.parametrize(
    ("user", "state"),
    [
        pytest.param(None, "no such user", id="missing"),
        pytest.param(AclUser(enabled=False, nopass=False, passwords=1, flags=frozenset()), "off", id="off"),
        pytest.param(
            AclUser(enabled=True, nopass=True, passwords=0, flags=frozenset()),
            "on, and asks for no password",
            id="nopass",
        ),
        pytest.param(
            AclUser(enabled=True, nopass=False, passwords=0, flags=frozenset()),
            "on, but with no password to log in with",
            id="nothing to log in with",
        ),
    ],
)
def test_a_user_that_is_declared_to_log_in_must_be_able_to_and_only_with_a_password(
    user: AclUser | None, state: str
) -> None:
    finding = judged({"users": [{"name": "app"}]}, users={"app": user})["user.app"]
    assert (finding.status, finding.observed) == (Status.FAIL, state)


def test_what_config_was_refused_for_is_said_where_info_does_not_tell_either() -> None:
    refused = CannotObserve("NOPERM this user has no permissions to run the 'config|get' command")
    found = judged({"config": {"appendfsync": "always"}}, info={"loading": "0"}, config={"appendfsync": refused})
    assert found["config.appendfsync"].status is Status.ERROR
    assert "NOPERM" in str(found["config.appendfsync"].cause)


def test_a_directive_declared_twice_is_refused() -> None:
    with pytest.raises(ExpectationError, match="implied twice"):
        judged({"config": {"maxmemory": 1, "MAXMEMORY": 1}})


def test_known_passwords_are_few_and_each_is_tried_once() -> None:
    assert len(set(KNOWN_PASSWORDS)) == len(KNOWN_PASSWORDS) <= 15
