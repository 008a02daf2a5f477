# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing a database back: its names and marks, what a call has to do, what a dump holds, what is lost."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from cutover.checks import judge
from cutover.restore import (
    MARK,
    MAX_NAME_BYTES,
    MAX_TOLD,
    CannotRestore,
    Loss,
    Mark,
    Next,
    Place,
    Restored,
    Stage,
    TableLoss,
    created_at,
    database_of,
    difference,
    loss_of,
    names,
    read_mark,
    refuse_another_database,
    restored_checks,
    rows_in_script,
    what_next,
)
from cutover.restore_programs import Programs
from hypothesis import given
from hypothesis import strategies as st

SUFFIX = "20260228T100833Z-rollback-k3x9"
CALLED = names("shop", SUFFIX)
SHA256 = "3a6e" * 16
MARKED = Mark(stage=Stage.RESTORED, suffix=SUFFIX, sha256=SHA256, present_oid=1, restored_oid=2)

# Printed by pg_restore 15 --data-only --file=-.
SCRIPT = b"""--
-- PostgreSQL database dump
--

SET statement_timeout = 0;
SET client_encoding = 'UTF8';

--
-- Data for Name: customer; Type: TABLE DATA; Schema: public; Owner: shop_owner
--

COPY public.customer (id, name) FROM stdin;
1\tcustomer 1
2\tCOPY public.customer (id, name) FROM stdin;
3\tits\\nlines\\\\.
\\.


COPY "S.1"."it's ""odd"" (COPY
of two lines" ("a b") FROM stdin;
\\N
\\.


COPY public.empty (id) FROM stdin;
\\.


COPY public.bare  FROM stdin;


\\.


SELECT pg_catalog.setval('public.payment_id_seq', 1000, true);
"""


@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}", fullmatch=True),
)
def test_every_name_fits_and_says_its_suffix(database: str, suffix: str) -> None:
    called = names(database, suffix)
    for name in (called.restored, called.kept):
        assert len(name.encode()) <= MAX_NAME_BYTES
        assert name.endswith(f"_{suffix}")
    assert len({called.present, called.restored, called.kept}) == 3


def test_a_short_name_is_in_the_new_ones_and_long_ones_do_not_become_one() -> None:
    assert (CALLED.restored, CALLED.kept) == (f"shop_restored_{SUFFIX}", f"shop_failed_{SUFFIX}")
    assert names("n" * 60 + "a", SUFFIX).kept != names("n" * 60 + "b", SUFFIX).kept


@pytest.mark.parametrize("suffix", ["", "-x", "a b", "x" * 41, 'x"', "x\n", "ü"])
def test_a_suffix_that_would_surprise_in_a_name_is_refused(suffix: str) -> None:
    with pytest.raises(CannotRestore, match="cannot be part of a database's name"):
        names("shop", suffix)


def test_a_mark_is_read_as_it_was_written() -> None:
    marked = MARKED.at(Stage.KEPT, was='it\'s "odd"', lost=[{"table": "public.t", "rows": 1}])
    assert read_mark(marked.to_text()) == marked


@pytest.mark.parametrize(
    "comment",
    [None, "", "the shop", MARK, MARK + "{}", MARK + "[1]", MARK + '{"stage": "melted"}', "x" + MARKED.to_text()],
)
def test_a_comment_of_somebody_elses_is_no_mark(comment: str | None) -> None:
    assert read_mark(comment) is None


def at(stage: Stage, **other: object) -> Mark:
    return replace(MARKED, stage=stage, **other)  # type: ignore[arg-type]


OLD, NEW = Place(oid=1), Place(oid=2)


@pytest.mark.parametrize(
    ("present", "restored", "kept", "todo"),
    [
        pytest.param(OLD, None, None, Next.START, id="never called"),
        pytest.param(OLD, NEW, None, Next.ADOPT, id="killed before it was marked"),
        pytest.param(OLD, Place(oid=2, mark=at(Stage.RESTORING)), None, Next.START_AGAIN, id="killed while restoring"),
        pytest.param(OLD, Place(oid=2, mark=MARKED), None, Next.SWAP, id="refused, or killed while counting"),
        pytest.param(OLD, Place(oid=2, mark=at(Stage.CLOSING)), None, Next.SWAP, id="killed when it was closed"),
        pytest.param(NEW, None, Place(oid=1, mark=at(Stage.KEPT)), Next.NOTHING, id="finished"),
    ],
)
def test_what_a_call_left_behind_says_what_the_next_has_to_do(
    present: Place, restored: Place | None, kept: Place | None, todo: Next
) -> None:
    assert what_next(CALLED, present, restored, kept, sha256=SHA256) is todo


@pytest.mark.parametrize(
    ("present", "restored", "kept", "words"),
    [
        pytest.param(None, None, None, "there is no database 'shop'", id="no database"),
        pytest.param(
            OLD, Place(oid=2, mark=at(Stage.RESTORED, sha256="other")), None, "another dump", id="another dump"
        ),
        pytest.param(
            NEW, None, Place(oid=1, mark=at(Stage.KEPT, sha256="other")), "another dump", id="another dump, finished"
        ),
        pytest.param(Place(oid=3), Place(oid=2, mark=MARKED), None, "another database", id="another present one"),
        pytest.param(
            OLD, Place(oid=3, mark=MARKED), None, "another database", id="a copy of a restored one with its comment"
        ),
        pytest.param(NEW, None, OLD, "has not kept", id="somebody's database has the kept one's name"),
        pytest.param(NEW, None, Place(oid=1, mark=MARKED), "has not kept", id="not kept but restored"),
        pytest.param(
            NEW, None, Place(oid=9, mark=at(Stage.KEPT)), "has not kept", id="a copy of a kept one with its comment"
        ),
        pytest.param(
            NEW, Place(oid=4), Place(oid=1, mark=at(Stage.KEPT)), "has not kept", id="finished, and begun again"
        ),
        pytest.param(Place(oid=5), None, Place(oid=1, mark=at(Stage.KEPT)), "replaced since", id="replaced since"),
    ],
)
def test_what_this_module_does_not_leave_behind_is_refused(
    present: Place | None, restored: Place | None, kept: Place | None, words: str
) -> None:
    with pytest.raises(CannotRestore, match=words):
        what_next(CALLED, present, restored, kept, sha256=SHA256)


def test_rows_are_counted_by_table_whatever_is_in_them_or_in_their_names() -> None:
    assert rows_in_script(SCRIPT.splitlines(keepends=True)) == {
        ("public", "customer"): 3,
        ("S.1", 'it\'s "odd" (COPY\nof two lines'): 1,
        ("public", "empty"): 0,
        ("public", "bare"): 2,
    }


def test_names_are_read_in_the_encoding_of_the_dump() -> None:
    script = "SET client_encoding = 'LATIN1';\nCOPY public.größe (a) FROM stdin;\n1\n\\.\n".encode("latin-1")
    assert rows_in_script(script.splitlines(keepends=True)) == {("public", "größe"): 1}
    unknown = script.replace(b"LATIN1", b"EUC_TW").replace("größe".encode("latin-1"), "größe".encode())
    assert rows_in_script(unknown.splitlines(keepends=True)) == {("public", "größe"): 1}


def test_the_dumped_database_is_read_from_the_listing() -> None:
    listing = ";\n; Archive created at 2026-02-28 10:08:33 UTC\n;     dbname: it's  shop\n;     TOC Entries: 12\n"
    assert database_of(listing) == "it's  shop"
    refuse_another_database(listing, "it's\r\nshop")
    with pytest.raises(CannotRestore, match="and not of 'shop'"):
        refuse_another_database(listing, "shop")
    with pytest.raises(CannotRestore, match="None"):
        refuse_another_database("", "shop")


hashes = st.lists(st.tuples(st.integers(-3, 3), st.integers(-2, 2)), max_size=30)


@given(hashes, hashes)
def test_the_difference_is_that_of_two_multisets(ours: list[tuple[int, int]], theirs: list[tuple[int, int]]) -> None:
    one, other = Counter(ours), Counter(theirs)
    sides = [iter(sorted((*pair, times) for pair, times in side.items())) for side in (one, other)]
    assert difference(*sides) == ((one - other).total(), (other - one).total())


def test_what_loses_nothing_is_left_out_and_what_is_the_migrations_own_stands_apart() -> None:
    found = [
        TableLoss(table="public.payment", rows=3, returning=1),
        TableLoss(table="public.quiet", columns={"level": 0}),
        TableLoss(table="public.alembic_version", rows=1, returning=1),
        TableLoss(table="public.customer", columns={"level": 5, "born": 0}),
        TableLoss(table="public.gone", returning=2),
    ]
    loss = loss_of(found, ignore=["public.alembic_version"], only_present=["public.new"], only_restored=[])
    assert [table.table for table in loss.tables] == ["public.payment", "public.customer", "public.gone"]
    assert [table.table for table in loss.ignored] == ["public.alembic_version"]
    assert not loss.is_none
    assert str(loss) == (
        "public.payment: 3 rows, 1 deleted or changed since that would return; "
        "public.customer: 5 rows with a value in its new column level; "
        "public.gone: 2 deleted or changed since that would return"
    )
    assert loss.to_dict()["lost"][0] == {"table": "public.payment", "rows": 3, "returning": 1, "columns": {}}


def test_a_loss_of_nothing_but_the_migrations_own_is_none() -> None:
    assert loss_of([TableLoss(table="a.b", rows=1)], ignore=["a.b"]).is_none
    assert Loss().is_none


def test_a_message_names_no_more_tables_than_a_person_reads() -> None:
    loss = loss_of([TableLoss(table=f"public.t{number}", rows=1) for number in range(30)], ignore=[])
    assert str(loss).count("1 row") == MAX_TOLD
    assert str(loss).endswith("; and 10 more tables")


DUMPED = {("public", "a"): 3, ("public", "b"): 0}


@pytest.mark.parametrize(
    ("seen", "least", "wrong"),
    [
        pytest.param(Restored(in_dump=DUMPED, in_database=DUMPED), 2, [], id="as it was dumped"),
        pytest.param(Restored(in_dump=DUMPED, in_database=DUMPED), 3, ["restore.tables"], id="too few tables"),
        pytest.param(
            Restored(in_dump=DUMPED, in_database={("public", "a"): 3}), 2, ["restore.rows"], id="a table is missing"
        ),
        pytest.param(
            Restored(in_dump=DUMPED, in_database=DUMPED | {("public", "a"): 2}), 2, ["restore.rows"], id="a row is"
        ),
        pytest.param(
            Restored(in_dump=DUMPED, in_database=DUMPED, amcheck="pg_amcheck ended with exit code 2."),
            2,
            ["restore.amcheck"],
            id="amcheck complains",
        ),
    ],
)
def test_a_restored_database_is_judged_by_its_dump(seen: Restored, least: int, wrong: list[str]) -> None:
    found = judge(restored_checks(least, amcheck=True), seen, reachable_remedy="")
    assert [finding.check for finding in found if finding.status in ("fail", "error")] == wrong


def test_a_check_that_was_not_run_is_not_there() -> None:
    assert [check.name for check in restored_checks(1, amcheck=False)] == ["restore.tables", "restore.rows"]


def test_the_password_is_in_the_environment_of_what_connects_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "pg_restore").write_text('#!/bin/sh\necho "$PGPASSWORD $*"\nexit 1\n')
    (tmp_path / "pg_restore").chmod(0o755)
    programs = Programs(program_dir=str(tmp_path), timeout_s=10, password="s3cret-word", secrets=frozenset())
    with pytest.raises(CannotRestore, match="exit code 1") as raised:
        programs.restore(Path("x.dump"), {"dbname": "it's", "user": "admin"}, jobs=2)
    assert "s3cret" not in str(raised.value)
    assert "s3cret" not in str(programs.done)
    assert "***" in str(programs.done)
    assert "dbname='it\\\\'s' user='admin'" in str(programs.done[0]["argv"]).replace('"', "")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param(
            "printf 'COPY a.b (c) FROM stdin;\\n1\\n'; echo broken >&2; exit 3", "Its last line: broken", id="3"
        ),
        pytest.param("exec sleep 20", "had not finished after 0.3 s", id="hangs"),
    ],
)
def test_a_script_that_ends_early_is_no_count(tmp_path: Path, script: str, words: str) -> None:
    (tmp_path / "pg_restore").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "pg_restore").chmod(0o755)
    programs = Programs(program_dir=str(tmp_path), timeout_s=0.3 if "sleep" in script else 20, password=None)
    with pytest.raises(CannotRestore, match=words):
        programs.rows(Path("x.dump"))
    assert len(programs.done) == 1


def test_a_program_that_is_not_there_is_named() -> None:
    programs = Programs(program_dir="/nowhere", timeout_s=1, password=None)
    for call in (programs.rows, programs.listing):
        with pytest.raises(CannotRestore, match="/nowhere/pg_restore could not be run"):
            call(Path("x.dump"))


def test_when_a_dump_was_begun_is_read_from_its_listing() -> None:
    now = int(time.time())
    listing = f";\n; Archive created at {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(now))} CET\n"
    # At the end of summer time an hour comes twice.
    assert created_at(listing) in (now, now - 3600, now + 3600)
    assert created_at("") is None
