# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the rows of two databases of one server: exact as far as 128 bits tell rows apart, in bounded memory.

The server hashes each row as text and sends sums of hashes. Only where the sums of a table differ are its rows looked
at more closely: first in 4096 parts by their hash, and then, within the parts that differ, each hash in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg
from psycopg import IsolationLevel, sql
from psycopg.rows import TupleRow

from .restore import Hashed, TableLoss, TableName, difference

Connection = psycopg.Connection[TupleRow]
# How many rows, their sum of hashes, and that of other hashes.
Digest = tuple[int, int, int]

PARTS = 4096
FETCHED = 20_000
# Not in a schema: what lo_create and its like made.
LARGE_OBJECTS: TableName = ("", "(large objects)")

# One value has one text in both databases, whatever is set for either or for a role. Only what the server knows is set.
SETTINGS = {
    "search_path": "pg_catalog",
    "datestyle": "ISO, YMD",
    "intervalstyle": "iso_8601",
    "timezone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmlbinary": "base64",
    # Rows that a policy hides are an error, and no rows that are not there.
    "row_security": "off",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    "default_transaction_deferrable": "off",
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table: its columns, and the value that rows got that were there when a column was added, where that is known.

    A table of an extension may have rows of the extension's own, which are in no dump.
    """

    columns: frozenset[str]
    given: Mapping[str, str] = field(default_factory=dict)
    of_extension: bool = False


@dataclass(frozen=True)
class Rows:
    """All tables of one database, as they are at one moment: one transaction that reads only."""

    connection: Connection
    tables: Mapping[TableName, Table]

    def digest(self, name: TableName, columns: Iterable[str]) -> Digest:
        """One number for all rows of a table, whatever their order."""
        query = sql.SQL("SELECT count(*), coalesce(sum(h1), 0), coalesce(sum(h2), 0) FROM ({}) AS hashed")
        count, first, second = self._fetch(query.format(_hashes(name, columns)))[0]
        return count, int(first), int(second)

    def parts(self, name: TableName, columns: Iterable[str]) -> dict[int, Digest]:
        """The same for each part of the table."""
        query = sql.SQL("SELECT h1 & {}, count(*), sum(h1), sum(h2) FROM ({}) AS hashed GROUP BY 1")
        rows = self._fetch(query.format(sql.Literal(PARTS - 1), _hashes(name, columns)))
        return {part: (count, int(first), int(second)) for part, count, first, second in rows}

    def hashes(self, name: TableName, columns: Iterable[str], parts: Iterable[int]) -> Iterator[Hashed]:
        """The hashes of the rows in these parts in order, each with the number of rows that have it."""
        query = sql.SQL(
            "SELECT h1, h2, count(*) FROM ({}) AS hashed WHERE h1 & {} = ANY ({}) GROUP BY 1, 2 ORDER BY 1, 2"
        )
        wanted = query.format(_hashes(name, columns), sql.Literal(PARTS - 1), sql.Literal(sorted(parts)))
        with self.connection.cursor(name="hashes") as cursor:
            cursor.itersize = FETCHED
            yield from cursor.execute(wanted)

    def told(self, name: TableName, columns: Iterable[str]) -> dict[str, int]:
        """By column, the rows that say something else in it than they were given when it was added."""
        given = self.tables[name].given
        return {column: self._told(name, column, given.get(column)) for column in sorted(columns)}

    def _told(self, name: TableName, column: str, given: str | None) -> int:
        query = sql.SQL("SELECT count(*) FROM ONLY {} WHERE {}::text IS NOT NULL AND {}::text IS DISTINCT FROM {}")
        named = sql.Identifier(column)
        return int(self._fetch(query.format(sql.Identifier(*name), named, named, sql.Literal(given)))[0][0])

    def _fetch(self, query: sql.Composed) -> list[TupleRow]:
        return self.connection.execute(query).fetchall()


def at_one_moment(connection: Connection) -> Rows:
    """Begin to read: what is written from now on is not seen. ``connection`` must not be in autocommit mode."""
    connection.rollback()
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    connection.execute(_SET, (list(SETTINGS), list(SETTINGS.values())))
    return Rows(connection, {row[:2]: _table(*row[2:]) for row in connection.execute(_TABLES)})


def unreadable_tables(connection: Connection) -> list[str]:
    """The first tables that this role may not read."""
    return [name for (name,) in connection.execute(_UNREADABLE)]


def compare(
    present: Rows, restored: Rows, known: Mapping[TableName, Digest] | None = None
) -> Iterator[tuple[TableName, TableLoss]]:
    """What each table of ``present`` would lose. ``known`` are digests of the restored tables over all their columns.

    Where a table has other columns in the two, the columns that both have are compared.
    """
    for name in sorted(present.tables):
        theirs = restored.tables.get(name)
        if theirs is None:
            lost = TableLoss(table=label(name), rows=present.digest(name, ())[0])
        else:
            lost = _compare(name, present, restored, (known or {}).get(name))
        yield name, lost


def _compare(name: TableName, present: Rows, restored: Rows, known: Digest | None) -> TableLoss:
    ours, theirs = present.tables[name].columns, restored.tables[name].columns
    common = sorted(ours & theirs)
    digest = known if known is not None and len(common) == len(theirs) else restored.digest(name, common)
    rows, returning = (0, 0) if present.digest(name, common) == digest else _differing(name, common, present, restored)
    return TableLoss(table=label(name), rows=rows, returning=returning, columns=present.told(name, ours - theirs))


def _differing(name: TableName, columns: list[str], present: Rows, restored: Rows) -> tuple[int, int]:
    ours, theirs = present.parts(name, columns), restored.parts(name, columns)
    parts = {part for part in ours.keys() | theirs.keys() if ours.get(part) != theirs.get(part)}
    return difference(present.hashes(name, columns, parts), restored.hashes(name, columns, parts))


def digests(rows: Rows) -> dict[TableName, Digest]:
    """A digest of each table over all its columns."""
    return {name: rows.digest(name, sorted(table.columns)) for name, table in rows.tables.items()}


def label(name: TableName) -> str:
    """A table's name for people."""
    return ".".join(filter(None, name))


def _table(columns: list[str], given: Mapping[str, Any], of_extension: bool) -> Table:
    return Table(columns=frozenset(columns), given=dict(given), of_extension=of_extension)


def _hashes(name: TableName, columns: Iterable[str]) -> sql.Composed:
    # The hash of a text depends on nothing but its bytes under the collation "C".
    return sql.SQL(
        'SELECT hashtextextended(line COLLATE "C", 0) AS h1, hashtextextended(line COLLATE "C", 1) AS h2'
        " FROM ({}) AS lines"
    ).format(_lines(name, columns))


def _lines(name: TableName, columns: Iterable[str]) -> sql.Composed:
    if name == LARGE_OBJECTS:
        return sql.SQL("SELECT ROW(oid, md5(lo_get(oid)))::text AS line FROM pg_largeobject_metadata").format()
    named = sql.SQL(", ").join(sql.Identifier("t", column) for column in columns)
    return sql.SQL("SELECT ROW({})::text AS line FROM ONLY {} AS t").format(named, sql.Identifier(*name))


_SET: LiteralString = """
    SELECT pg_catalog.set_config(pg_settings.name, wanted.value, false)
    FROM unnest(%s::text[], %s::text[]) AS wanted (name, value)
    JOIN pg_catalog.pg_settings ON lower(pg_settings.name) = wanted.name
"""

# Tables with rows of their own: partitions, and not what they are partitions of; no view, no foreign table.
_TABLES: LiteralString = """
    SELECT nspname::text, relname::text,
        coalesce(array_agg(attname::text) FILTER (WHERE attname IS NOT NULL), '{}'),
        coalesce(jsonb_object_agg(attname::text, (attmissingval::text::text[])[1])
            FILTER (WHERE attmissingval IS NOT NULL), '{}'),
        EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    LEFT JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
    WHERE relkind = 'r' AND relpersistence <> 't' AND nspname <> 'information_schema' AND nspname !~ '^pg_'
    GROUP BY 1, 2, pg_class.oid
    UNION ALL
    SELECT '', '(large objects)', '{}', '{}', false
"""

_UNREADABLE: LiteralString = """
    SELECT format('%I.%I', nspname, relname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind = 'r' AND relpersistence <> 't' AND nspname <> 'information_schema' AND nspname !~ '^pg_'
        AND NOT (has_table_privilege(pg_class.oid, 'SELECT') AND has_schema_privilege(nspname, 'USAGE'))
    ORDER BY 1 LIMIT 10
"""
