# SPDX-License-Identifier: GPL-3.0-or-later
"""Which lines of a log count: those since the start, as the lines themselves tell, and never too few."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cutover.checks import CannotObserve
from cutover.judge_log import Log, error_lines, lines_since_marker, lines_since_start, parse_log
from hypothesis import given
from hypothesis import strategies as st

START = datetime(2031, 5, 17, 10, 0, 0, 700_000, tzinfo=UTC)
LAST = datetime(2031, 5, 17, 10, 0, 30, tzinfo=UTC)
PATTERNS = ["ERROR"]


def log(*lines: str, whole: bool = True, modified_at: datetime = LAST) -> Log:
    return Log(lines=lines, whole=whole, modified_at=modified_at)


@pytest.mark.parametrize(
    "form",
    [
        pytest.param("2031-05-17T{0}:{1}Z", id="ISO in UTC"),
        pytest.param("2031-05-17 {0}:{1}.123456+00:00", id="with an offset"),
        pytest.param("[2031-05-17 {0}:{1},123]", id="as Python logs, without a zone"),
        pytest.param('{{"level": "INFO", "time": "2031-05-17T{0}:{1}.5Z", "message": "x"}}', id="JSON"),
        pytest.param("2031-05-17 {0}:{1} UTC", id="as PostgreSQL logs"),
    ],
)
def test_times_tell_which_lines_are_new(form: str) -> None:
    old, new, last = form.format("09", "59:59"), form.format("10", "00:00"), form.format("10", "00:30")
    assert lines_since_start(log(old, new, last), START) == (new, last)


def test_a_line_without_a_time_belongs_to_the_line_above() -> None:
    lines = ("2031-05-17 09:59:59Z old", "Traceback of old", "2031-05-17 10:00:05Z new", "Traceback of new")
    assert lines_since_start(log(*lines), START) == lines[2:]


@given(
    hours=st.integers(-48, 56).map(lambda quarters: quarters / 4),
    lag_s=st.floats(0, 120),
    before_s=st.integers(1, 100_000),
    after_s=st.integers(0, 100_000),
)
def test_a_zone_that_no_line_names_is_measured(hours: float, lag_s: float, before_s: int, after_s: int) -> None:
    zone = timezone(timedelta(hours=hours))
    moments = [START - timedelta(seconds=before_s), START + timedelta(seconds=after_s)]
    old, new = [moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S") for moment in moments]
    written = log(old, new, modified_at=moments[1] + timedelta(seconds=lag_s))
    assert lines_since_start(written, START) == (new,)


@given(age_s=st.floats(0, 10_000_000), hours=st.integers(-12, 14))
def test_a_file_that_lines_without_times_went_on_to_never_loses_a_new_line(age_s: float, hours: int) -> None:
    new = (START + timedelta(seconds=1)).astimezone(timezone(timedelta(hours=hours))).strftime("%Y-%m-%d %H:%M:%S")
    written = log(new, "ERROR", modified_at=START + timedelta(seconds=1 + age_s))
    with suppress(CannotObserve):
        assert "ERROR" in lines_since_start(written, START)


@pytest.mark.parametrize(
    ("written", "start", "words"),
    [
        pytest.param(log("INFO no time"), START, "no line of the log bears a time", id="no times"),
        pytest.param(log("2031-05-17 10:00:00Z"), None, "does not tell when it started", id="no start"),
        pytest.param(log("2031-05-17 10:00:05Z x", whole=False), START, "more was logged", id="more than was read"),
        pytest.param(log("2031-13-99 10:00:05Z x"), START, "is no time", id="no such day"),
    ],
)
def test_where_nothing_can_be_known_that_is_said(written: Log, start: datetime | None, words: str) -> None:
    with pytest.raises(CannotObserve, match=words):
        lines_since_start(written, start)


def test_an_empty_log_holds_no_line() -> None:
    assert lines_since_start(log(), START) == []


def test_a_log_that_ended_before_the_start_holds_no_new_line() -> None:
    old = "2031-05-17 09:00:00Z ERROR"
    assert lines_since_start(log(old, modified_at=START - timedelta(hours=1)), START) == []


def test_the_last_marker_counts() -> None:
    lines = ("started [7]", "ERROR old", "started [8]", "INFO new")
    assert lines_since_marker(log(*lines), "started", None) == lines[2:]
    assert lines_since_marker(log(*lines), r"started \[{pid}\]", 7) == lines


@pytest.mark.parametrize(
    ("pid", "whole", "words"),
    [
        pytest.param(9, True, r"no line that matches started \\\[9\\\] is in the log", id="another process"),
        pytest.param(9, False, "in the part of the log that was read", id="a log too long"),
        pytest.param(None, True, "tells no process id", id="no process id"),
    ],
)
def test_a_marker_that_is_not_there_means_that_nothing_is_known(pid: int | None, whole: bool, words: str) -> None:
    with pytest.raises(CannotObserve, match=words):
        lines_since_marker(log("started [8]", whole=whole), r"started \[{pid}\]", pid)


def test_error_lines_are_counted_and_the_first_is_kept() -> None:
    found = error_lines(["INFO ok", "ERROR one", "ERROR two"], PATTERNS)
    assert (found.count, found.first) == (2, "ERROR one")
    assert error_lines(["INFO ok"], PATTERNS).first is None


def test_half_a_line_at_the_beginning_is_left_out() -> None:
    assert parse_log(b"RROR half\nwhole\n", whole=False, modified_s=0.0, max_line=3).lines == ["who"]
    assert parse_log(b"\xff\n", whole=True, modified_s=0.0, max_line=9).lines == ["\\xff"]
