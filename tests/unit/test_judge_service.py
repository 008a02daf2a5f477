# SPDX-License-Identifier: GPL-3.0-or-later
"""Judging processes: what supervisord and systemd say, and what follows from it."""

from __future__ import annotations

from typing import Any

import pytest
from cutover import observe_service
from cutover.checks import CannotObserve, ExpectationError, judge
from cutover.judge_log import ErrorLines
from cutover.judge_service import UNKNOWN, Process, ServiceObservation, service_checks
from cutover.observe_service import supervisor_processes, systemd_processes
from cutover.verdict import Finding

UP = Process(state="RUNNING", running=True, stopped=False, pid=7, uptime_s=12.0)
DOWN = Process(state="STOPPED", running=False, stopped=True)
STARTING = Process(state="STARTING", running=False, stopped=False)


def statuses(seen: ServiceObservation, expected: dict[str, Any]) -> dict[str, str]:
    found: tuple[Finding, ...] = judge(service_checks(expected), seen, reachable_remedy="")
    return {finding.check: finding.status.value for finding in found[1:]}


@pytest.mark.parametrize(
    ("process", "running", "stopped"),
    [
        pytest.param(UP, "pass", "fail", id="running"),
        pytest.param(DOWN, "fail", "pass", id="stopped"),
        pytest.param(STARTING, "fail", "fail", id="starting is neither"),
        pytest.param(UNKNOWN, "fail", "fail", id="a name that nobody knows is neither"),
        pytest.param(CannotObserve("no answer"), "error", "error", id="not seen"),
    ],
)
def test_a_state_is_judged_by_what_is_wanted(process: Any, running: str, stopped: str) -> None:
    seen = ServiceObservation(processes={"web": process})
    assert statuses(seen, {"running": ["web"]}) == {"running.web": running}
    assert statuses(seen, {"stopped": ["web"]}) == {"stopped.web": stopped}


def test_what_does_not_run_has_no_uptime_and_its_errors_are_not_judged() -> None:
    seen = ServiceObservation(processes={"web": DOWN}, errors={"web": ErrorLines(count=1, first="ERROR")})
    expected = {"running": ["web"], "min_uptime_s": 5, "log_files": {"web": "/log"}}
    assert statuses(seen, expected) == {"running.web": "fail", "uptime.web": "skipped", "errors.web": "skipped"}


def test_a_young_process_is_red_and_one_of_unknown_age_is_an_error() -> None:
    expected = {"running": ["web"], "min_uptime_s": 20}
    assert statuses(ServiceObservation(processes={"web": UP}), expected)["uptime.web"] == "fail"
    ageless = Process(state="running", running=True, stopped=False)
    assert statuses(ServiceObservation(processes={"web": ageless}), expected)["uptime.web"] == "error"


def test_error_lines_are_red_with_the_first_of_them() -> None:
    seen = ServiceObservation(processes={"web": UP}, errors={"web": ErrorLines(count=2, first="ERROR one")})
    (_, finding) = judge(service_checks({"log_files": {"web": "/log"}}), seen, reachable_remedy="")
    assert (finding.check, finding.status.value) == ("errors.web", "fail")
    assert finding.observed == {"lines": 2, "first": "ERROR one"}


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        pytest.param({"running": ["a"], "stopped": ["a"]}, "cannot be both", id="both"),
        pytest.param({"log_files": {"a": "/l"}, "error_patterns": ["("]}, "not a regular expression", id="pattern"),
        pytest.param({"log_files": {"a": "/l"}, "log_since": "("}, "not a regular expression", id="marker"),
        pytest.param({"running": ["a", "a"]}, None, id="twice the same"),
    ],
)
def test_an_expectation_that_makes_no_sense_is_refused(expected: dict[str, Any], words: str | None) -> None:
    with pytest.raises(ExpectationError, match=words):
        judge(service_checks(expected), ServiceObservation(processes={"a": UP}), reachable_remedy="")


def test_nothing_declared_implies_no_check() -> None:
    assert list(service_checks({"min_uptime_s": 5, "error_patterns": ["x"]})) == []


# --- supervisord -----------------------------------------------------------------------------------------------------


def info(name: str, statename: str, *, group: str | None = None, **other: Any) -> dict[str, Any]:
    times = {"start": 1000, "now": 1030, "pid": 7 if statename == "RUNNING" else 0}
    return (
        {"name": name, "group": group or name, "statename": statename, "spawnerr": "", "description": ""}
        | times
        | other
    )


@pytest.mark.parametrize(
    ("state", "running", "stopped"),
    [
        ("RUNNING", True, False),
        ("STARTING", False, False),
        ("BACKOFF", False, False),
        ("STOPPING", False, False),
        ("STOPPED", False, True),
        ("EXITED", False, True),
        ("FATAL", False, True),
        ("UNKNOWN", False, False),
    ],
)
def test_each_state_of_supervisord_is_understood(state: str, running: bool, stopped: bool) -> None:
    process: Any = supervisor_processes([info("web", state)], ["web"])["web"]
    assert (process.running, process.stopped) == (running, stopped)


@pytest.mark.parametrize("name", ["web", "web:*", "web:web_1", "web_1"])
def test_groups_and_their_members_have_names(name: str) -> None:
    answer = [info("web_0", "RUNNING", group="web"), info("web_1", "RUNNING", group="web", start=1020)]
    process: Any = supervisor_processes(answer, [name])[name]
    assert process.running
    assert process.uptime_s == 10


@pytest.mark.parametrize("other", ["STOPPED", "STARTING", "FATAL"])
def test_a_group_of_which_one_differs_is_neither_running_nor_stopped(other: str) -> None:
    answer = [info("web_0", "RUNNING", group="web"), info("web_1", other, group="web")]
    process: Any = supervisor_processes(answer, ["web"])["web"]
    assert (process.running, process.stopped) == (False, False)
    assert other in process.state


def test_why_a_program_failed_is_told() -> None:
    answer = [info("web", "FATAL", spawnerr="can't find command '/no/such'")]
    process: Any = supervisor_processes(answer, ["web"])["web"]
    assert process.state == "FATAL (can't find command '/no/such')"


# --- systemd ---------------------------------------------------------------------------------------------------------

SHOWN = """\
MainPID=812
LoadState=loaded
ActiveState=active
SubState=running
ActiveEnterTimestampMonotonic=5000000

MainPID=0
LoadState=loaded
ActiveState=inactive
SubState=dead
ActiveEnterTimestampMonotonic=0

MainPID=0
LoadState=not-found
ActiveState=inactive
SubState=dead
ActiveEnterTimestampMonotonic=0

MainPID=0
LoadState=loaded
ActiveState=failed
SubState=failed
ActiveEnterTimestampMonotonic=4000000

MainPID=0
LoadState=loaded
ActiveState=activating
SubState=auto-restart
ActiveEnterTimestampMonotonic=4000000

MainPID=0
LoadState=loaded
ActiveState=active
SubState=exited
ActiveEnterTimestampMonotonic=4000000

LoadState=loaded
ActiveState=active
SubState=waiting
ActiveEnterTimestampMonotonic=4000000
"""
UNITS = {
    "web": ("active (running)", True, False),
    "scheduler": ("inactive (dead)", False, True),
    "typo": ("no such unit (not-found)", False, False),
    "crashed": ("failed (failed)", False, True),
    "loops": ("activating (auto-restart)", False, False),
    "oneshot": ("active (exited)", False, False),
    "cleanup.timer": ("active (waiting)", True, False),
}


def test_each_state_of_systemd_is_understood() -> None:
    seen = systemd_processes(SHOWN, list(UNITS), monotonic_s=17.5, now_s=1_000_000.0)
    assert {name: (unit.state, unit.running, unit.stopped) for name, unit in seen.items()} == UNITS
    assert seen["web"].uptime_s == 12.5
    assert seen["web"].pid == 812
    assert seen["web"].started_at is not None
    assert seen["web"].started_at.timestamp() == 1_000_000.0 - 12.5
    assert seen["scheduler"].uptime_s is None


@pytest.mark.parametrize(
    ("stdout", "words"),
    [
        pytest.param(SHOWN, "told of 7 units where 1 were asked", id="another number"),
        pytest.param("", "told of 0 units", id="nothing"),
        pytest.param("ActiveState=active\n", "another shape", id="lines missing"),
        pytest.param(SHOWN.split("\n\n")[0].replace("5000000", "n/a"), "another shape", id="no number"),
    ],
)
def test_what_systemctl_never_says_is_not_understood(stdout: str, words: str) -> None:
    with pytest.raises(CannotObserve, match=words):
        systemd_processes(stdout, ["web"], monotonic_s=1.0, now_s=1.0)


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        pytest.param([("RUNNING", 1)], "RUNNING", id="it runs"),
        pytest.param([("EXITED", 1), ("RUNNING", 2)], "RUNNING", id="it is started again at the next turn"),
        pytest.param([("EXITED", 1)], "EXITED", id="it has ended for good"),
        pytest.param([("EXITED", 1), ("EXITED", 2)], "STARTING", id="it was started, and has ended again"),
        pytest.param([("EXITED", 1), ("STOPPED", 1)], "STOPPED", id="somebody stopped it"),
    ],
)
def test_what_has_just_ended_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch, answers: list[tuple[str, int]], state: str
) -> None:
    monkeypatch.setattr(observe_service, "SETTLED_S", 0.05)
    left = list(answers)

    def ask() -> list[dict[str, Any]]:
        statename, start = left.pop(0) if len(left) > 1 else left[0]
        return [info("web", statename, start=start)]

    assert [each["statename"] for each in observe_service.settled(ask)] == [state]
