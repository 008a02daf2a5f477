# SPDX-License-Identifier: GPL-3.0-or-later
"""A journal that was touched is not believed."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cutover.journal import GENESIS, Journal, JournalBroken, canonical, chained, digest, iso, read_journal, verified
from hypothesis import given, settings
from hypothesis import strategies as st

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = Journal(path=tmp_path / "journal.jsonl", run="run-1", clock=lambda: NOON)
    for number in range(4):
        journal.append("verdict", {"number": number, "text": "ü\n"})
    return journal


def test_what_was_written_is_read_back(journal: Journal) -> None:
    records = read_journal(journal.path)
    assert [record["data"]["number"] for record in records] == [0, 1, 2, 3]
    assert [record["seq"] for record in records] == [1, 2, 3, 4]
    assert records[0]["previous"] == GENESIS
    assert records[-1]["hash"] == journal.head
    assert records[0]["time"] == "2026-01-31T12:00:00.000000Z"


def test_only_the_owner_may_read_it(journal: Journal) -> None:
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600


def test_the_hash_can_be_recomputed_with_nothing_but_json_and_sha256(journal: Journal) -> None:
    record = json.loads(journal.path.read_text().splitlines()[0])
    claimed = record.pop("hash")
    assert digest(json.dumps(record, sort_keys=True, separators=(",", ":"))) == claimed


def _lines(journal: Journal) -> list[str]:
    return journal.path.read_text().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("tamper", "complaint"),
    [
        pytest.param(lambda lines: lines[:1] + lines[2:], "line 2: does not follow", id="a line taken out"),
        pytest.param(lambda lines: lines[1:], "line 1: does not follow", id="the first line taken out"),
        pytest.param(lambda lines: [lines[1], lines[0], *lines[2:]], "line 1: does not follow", id="lines exchanged"),
        pytest.param(lambda lines: [*lines, lines[-1]], "line 5: does not follow", id="a line repeated"),
        pytest.param(
            lambda lines: [x.replace('"number":2', '"number":9') for x in lines], "line 3: changed", id="edited"
        ),
        pytest.param(lambda lines: [x.replace(",", ", ", 1) for x in lines], "line 1: not written", id="reformatted"),
        pytest.param(lambda lines: [*lines[:-1], lines[-1].rstrip()], "line 4: torn", id="torn"),
        pytest.param(lambda lines: [*lines, "\n"], "line 5: not JSON", id="an empty line"),
        pytest.param(lambda lines: [*lines, "[1]\n"], "line 5: not a record", id="another JSON"),
        pytest.param(lambda lines: ["[" * 100000 + "\n"], "line 1: not JSON", id="JSON too deep"),
        pytest.param(lambda lines: ["ü\n"], "not ASCII", id="not ASCII"),
        pytest.param(lambda lines: [], "empty", id="emptied"),
    ],
)
def test_a_touched_journal_is_refused_and_the_line_named(journal: Journal, tamper, complaint: str) -> None:  # type: ignore[no-untyped-def]
    journal.path.write_text("".join(tamper(_lines(journal))))
    with pytest.raises(JournalBroken, match=complaint):
        read_journal(journal.path)


def test_a_missing_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalBroken, match="cannot be read: No such file"):
        read_journal(tmp_path / "none")


def test_a_record_of_another_run_is_refused() -> None:
    first = chained(previous=GENESIS, seq=1, time=NOON, run="a", kind="x", data={})
    second = chained(previous=first["hash"], seq=2, time=NOON, run="b", kind="x", data={})
    with pytest.raises(JournalBroken, match="line 2: it belongs to run b"):
        verified([canonical(first), canonical(second)])


def test_the_writer_notices_that_somebody_else_wrote(journal: Journal) -> None:
    journal.path.write_text("".join(_lines(journal)[:-1]))
    with pytest.raises(JournalBroken, match="somebody else changed it"):
        journal.append("verdict", {})


def test_a_journal_is_never_continued_by_another_writer(journal: Journal) -> None:
    with pytest.raises(FileExistsError):
        Journal(path=journal.path, run="run-1").append("verdict", {})


def test_what_json_cannot_hold_is_written_as_text(tmp_path: Path) -> None:
    journal = Journal(path=tmp_path / "j", run="r")
    journal.append("x", {"inf": float("inf"), "bytes": b"\xff", "set": {1}, "surrogate": "\ud800", 1: (NOON,)})
    assert read_journal(journal.path)[0]["data"]["inf"] == "inf"


def test_a_moment_is_written_in_utc() -> None:
    berlin = datetime.fromisoformat("2026-01-31T13:00:00+01:00")
    assert iso(berlin) == iso(NOON) == iso(NOON.replace(tzinfo=None)) == "2026-01-31T12:00:00.000000Z"
    assert iso(NOON) < iso(NOON + timedelta(microseconds=1))


@given(position=st.integers(0), replacement=st.integers(0, 127))
@settings(max_examples=300, deadline=None)
def test_no_single_character_can_be_changed(position: int, replacement: int) -> None:
    lines, previous = [], GENESIS
    for number in range(1, 4):
        record = chained(previous=previous, seq=number, time=NOON, run="r", kind="verdict", data={"n": number})
        previous = record["hash"]
        lines.append(canonical(record))
    text = "\n".join(lines)
    position %= len(text)
    changed = text[:position] + chr(replacement) + text[position + 1 :]
    if changed != text:
        with pytest.raises(JournalBroken):
            verified(changed.split("\n"))
