# SPDX-License-Identifier: GPL-3.0-or-later
"""Which plain SQL migrations there are, and which come next: never one out of order, never a changed one."""

from __future__ import annotations

from pathlib import Path

import pytest
from cutover.sql_migrations import (
    BASE,
    Applied,
    CannotMigrate,
    Migration,
    Step,
    after,
    read_migrations,
    revision,
    statements,
    steps_back,
    steps_forward,
)
from hypothesis import given
from hypothesis import strategies as st


def migration(number: int, *, down: bool = True) -> Migration:
    path = Path(f"{number:03}_x.sql")
    return Migration(
        version=f"{number:03}",
        path=path,
        sql="SELECT 1",
        checksum=f"sum-{number}",
        down_path=path.with_suffix(".down.sql") if down else None,
    )


def applied(*numbers: int) -> list[Applied]:
    return [Applied(version=f"{number:03}", checksum=f"sum-{number}") for number in numbers]


THREE = [migration(1), migration(2), migration(3)]


def versions(steps: list[Step]) -> list[str]:
    return [step.migration.version for step in steps]


# --- forward and back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("done", "target", "expected"),
    [
        pytest.param((), None, ["001", "002", "003"], id="an empty database"),
        pytest.param((1,), None, ["002", "003"], id="the rest"),
        pytest.param((1,), "002", ["002"], id="up to a version"),
        pytest.param((1,), "2", ["002"], id="without leading zeros"),
        pytest.param((1, 2, 3), None, [], id="nothing left"),
        pytest.param((1, 2), "002", [], id="there already"),
    ],
)
def test_what_is_missing_is_applied_in_order(done: tuple[int, ...], target: str | None, expected: list[str]) -> None:
    assert versions(steps_forward(THREE, applied(*done), target)) == expected


@pytest.mark.parametrize(
    ("done", "target", "expected"),
    [
        pytest.param((1, 2, 3), "001", ["003", "002"], id="the newest first"),
        pytest.param((1, 2), "002", [], id="there already"),
        pytest.param((1, 2), BASE, ["002", "001"], id="everything"),
        pytest.param((), BASE, [], id="nothing to undo"),
    ],
)
def test_what_is_too_much_is_undone_backwards(done: tuple[int, ...], target: str, expected: list[str]) -> None:
    steps = steps_back(THREE, applied(*done), target)
    assert versions(steps) == expected
    assert all(step.undo for step in steps)


@pytest.mark.parametrize(
    ("migrations", "history", "target", "words"),
    [
        pytest.param(
            THREE, [Applied(version="001", checksum="other")], None, "001_x.sql was changed after", id="a changed file"
        ),
        pytest.param(THREE, applied(1, 3), None, "002_x.sql is not applied, but 003 is", id="out of order"),
        pytest.param(THREE[:1], applied(1, 2), None, "002 is applied, and has no file here", id="an older release"),
        pytest.param(THREE, applied(1, 2, 3), "001", "past 001: state=reverted", id="back by going forward"),
        pytest.param(THREE, applied(1), "009", "no migration 009: there are 001, 002, 003", id="no such version"),
        pytest.param(THREE, [Applied(version="8f2c", checksum="x")], None, "another tool's", id="another tool's table"),
        pytest.param(THREE, applied(1), BASE, "there is no migration base", id="base is not forward"),
    ],
)
def test_what_is_not_safe_is_refused(
    migrations: list[Migration], history: list[Applied], target: str | None, words: str
) -> None:
    with pytest.raises(CannotMigrate, match=words):
        steps_forward(migrations, history, target)


@pytest.mark.parametrize(
    ("migrations", "history", "target", "words"),
    [
        pytest.param(
            [migration(1), migration(2, down=False)], applied(1, 2), "001", "no 002_x.down.sql", id="no way back"
        ),
        pytest.param(THREE, applied(1), "002", "002 is not applied", id="forward by going back"),
        pytest.param(THREE[:1], applied(1, 2), "001", "002 is applied, and has no file", id="an older release"),
    ],
)
def test_going_back_needs_every_step(
    migrations: list[Migration], history: list[Applied], target: str, words: str
) -> None:
    with pytest.raises(CannotMigrate, match=words):
        steps_back(migrations, history, target)


@given(st.sets(st.integers(0, 30), min_size=1).map(sorted), st.data())
def test_forward_and_back_again_is_where_it_began(numbers: list[int], data: st.DataObject) -> None:
    files = [migration(number) for number in numbers]
    begin = applied(*numbers[: data.draw(st.integers(0, len(numbers)))])
    there = after(begin, steps_forward(files, begin, None))
    assert {row.version for row in there} == {file.version for file in files}
    assert after(there, steps_back(files, there, revision(begin))) == begin


def test_versions_are_compared_as_numbers() -> None:
    assert revision([Applied(version="9", checksum=""), Applied(version="10", checksum="")]) == "10"
    assert revision([]) == BASE


# --- files -----------------------------------------------------------------------------------------------------------


def written(folder: Path, **files: str | bytes) -> str:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(folder)


def test_files_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = written(tmp_path, **{"10_b.sql": "B", "9_a.sql": "A", "9_a.down.sql": "-A", "README.md": ""})
    found = read_migrations(folder)
    assert [(file.version, file.sql, file.down_sql) for file in found] == [("9", "A", "-A"), ("10", "B", "")]
    assert len(found[0].checksum) == 64


@pytest.mark.parametrize(
    ("files", "words"),
    [
        pytest.param({}, "holds no migration", id="none"),
        pytest.param({"1_a.down.sql": ""}, "1_a.down.sql undoes nothing", id="only a way back"),
        pytest.param({"1_a.sql": "", "01_b.sql": ""}, "have the same number", id="a number twice"),
        pytest.param({"1_a.sql": "", "1_a.down.sql": "", "1_b.down.sql": ""}, "the same number", id="two ways back"),
        pytest.param({"1_a.sql": "", "init.sql": ""}, "init.sql is neither", id="another name"),
        pytest.param({"1_a.sql": b"\xe9"}, "not UTF-8", id="another encoding"),
        pytest.param({"1_a.sql": b"SELECT 1;\0DROP"}, "null byte", id="null byte"),
        pytest.param({"1_a.sql": "BEGIN; SELECT 1; COMMIT;"}, "holds BEGIN", id="a transaction of its own"),
        pytest.param({"1_a.sql": "SELECT 1; -- x\n commit"}, "holds COMMIT", id="ends the transaction"),
        pytest.param({"1_a.sql": "COPY t (a) FROM stdin;\n1\n\\."}, "copies from", id="a dump with data"),
        pytest.param({"1_a.sql": "-- x\n\\connect other"}, r"the command \\connect of psql", id="a command of psql"),
        pytest.param({"1_a.sql": "", "1_a.down.sql": "ROLLBACK"}, "1_a.down.sql holds ROLLBACK", id="in a way back"),
    ],
)
def test_a_folder_that_is_not_clear_is_refused(files: dict[str, str | bytes], words: str, tmp_path: Path) -> None:
    with pytest.raises(CannotMigrate, match=words):
        read_migrations(written(tmp_path, **files))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotMigrate, match="absent cannot be read: No such file"):
        read_migrations(str(tmp_path / "absent"))


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("DO $$ BEGIN COMMIT; END $$;", id="in a body"),
        pytest.param("INSERT INTO t VALUES ('; COMMIT; ');", id="in a string"),
        pytest.param("-- COMMIT;\n/* ; BEGIN; */ SELECT 1", id="in comments"),
        pytest.param("SAVEPOINT a; ROLLBACK TO a; rollback work to savepoint a", id="back to a savepoint"),
        pytest.param("-- cutover: no-transaction\nBEGIN; COMMIT;", id="a file that is no transaction"),
        pytest.param("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END;", id="an atomic body"),
    ],
)
def test_words_that_only_look_like_the_end_of_a_transaction_are_let_be(sql: str, tmp_path: Path) -> None:
    assert read_migrations(written(tmp_path, **{"1_a.sql": sql}))


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param(" ;; -- only\n/* comments */ ;", [], id="comments alone"),
        pytest.param("A; B", ["A", "B"], id="two"),
        pytest.param("A -- x;y\n;B", ["A -- x;y", "B"], id="in a comment"),
        pytest.param("A ';' ; B", ["A ';'", "B"], id="in a string"),
        pytest.param("A 'it''s;' ; B", ["A 'it''s;'", "B"], id="doubled quote"),
        pytest.param(r"A E'\';' ; B", [r"A E'\';'", "B"], id="escaped quote"),
        pytest.param(r"A '\' ; B", [r"A '\'", "B"], id="backslash that is none"),
        pytest.param('A ";" ; B', ['A ";"', "B"], id="in a name"),
        pytest.param("A $$;$$ ; B", ["A $$;$$", "B"], id="dollars"),
        pytest.param("A $x$ ; $$ ; $x$ ; B", ["A $x$ ; $$ ; $x$", "B"], id="tagged dollars"),
        pytest.param("A $1; B $2", ["A $1", "B $2"], id="parameters"),
        pytest.param("A a$b$c; B", ["A a$b$c", "B"], id="dollars in a name"),
    ],
)
def test_statements_end_at_semicolons_that_are_ends(sql: str, expected: list[str]) -> None:
    assert list(statements(sql)) == expected


@given(st.text(st.sampled_from("ab;'\"$-/*\n \\eE"), max_size=30))
def test_no_text_is_lost_by_splitting(sql: str) -> None:
    kept = "".join(statements(sql))
    assert not set("ab") & (set(sql) - set(kept)) or "--" in sql or "/*" in sql
