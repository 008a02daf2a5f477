# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the facts of one PostgreSQL database, in read-only transactions, from catalogues that every login may read.

Nothing counts rows, sizes or moments. Partitions are left out: whoever makes one a day changes nothing by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, LiteralString

from .checks import CannotObserve
from .facts_postgres import named_facts, part_facts, role_setting_facts, setting_facts, text_facts
from .observation import Facts, Fingerprint, Seen, in_parts
from .observe_postgres import Reader, connected, connection_parameters
from .pool import Deadline

Options = Mapping[str, Any]

# This session sets the first three itself, for its transaction; `reset_val` is what they are without that.
SETTINGS: LiteralString = """
    SELECT name, CASE WHEN source = 'session' THEN reset_val ELSE setting END, unit,
        CASE WHEN source NOT IN ('session', 'client') THEN source END, pending_restart
    FROM pg_settings
    """

ROLE_SETTINGS: LiteralString = """
    SELECT coalesce(rolname::text, '*'), coalesce(datname::text, '*'), setconfig
    FROM pg_db_role_setting LEFT JOIN pg_roles ON pg_roles.oid = setrole
        LEFT JOIN pg_database ON pg_database.oid = setdatabase
    """

EXTENSIONS: LiteralString = "SELECT extname::text, extversion FROM pg_extension"

ROLE_COLUMNS = ("login", "superuser", "may_create", "replication", "inherit", "limit", "valid_until", "member_of")
ROLES: LiteralString = """
    SELECT rolname::text, rolcanlogin, rolsuper,
        array_remove(ARRAY[CASE WHEN rolcreaterole THEN 'roles' END, CASE WHEN rolcreatedb THEN 'databases' END,
            CASE WHEN rolbypassrls THEN 'exceptions from row security' END], NULL),
        nullif(rolreplication, false), rolinherit, nullif(rolconnlimit, -1), rolvaliduntil::text,
        (SELECT array_agg(grantee.rolname::text || CASE WHEN admin_option THEN ' (admin)' ELSE '' END)
            FROM pg_auth_members JOIN pg_roles grantee ON grantee.oid = roleid WHERE member = pg_roles.oid)
    FROM pg_roles
    """

DATABASE_COLUMNS = ("owner", "encoding", "collate", "limit", "grants")
DATABASES: LiteralString = """
    SELECT datname::text, pg_get_userbyid(datdba)::text, pg_encoding_to_char(encoding)::text, datcollate::text,
        nullif(datconnlimit, -1), coalesce(datacl, acldefault('d', datdba))::text[]
    FROM pg_database WHERE NOT datistemplate
    """

SCHEMA_COLUMNS = ("owner", "grants")
SCHEMAS: LiteralString = """
    SELECT nspname::text, pg_get_userbyid(nspowner)::text,
        coalesce(nspacl, acldefault('n', nspowner))::text[]
    FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    """

# Whatever belongs to an extension is told by the extension's version.
_OURS: LiteralString = """
    n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT c.relispartition AND c.relpersistence <> 't'
        AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
    """

TABLE_COLUMNS = ("kind", "owner", "persistence", "row_security", "options", "definition")
TABLES: LiteralString = f"""
    SELECT n.nspname || '.' || c.relname, CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table'
            WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' ELSE 'foreign table' END,
        pg_get_userbyid(c.relowner)::text, CASE c.relpersistence WHEN 'u' THEN 'unlogged' END,
        CASE WHEN c.relforcerowsecurity THEN 'forced' WHEN c.relrowsecurity THEN 'on' END, c.reloptions,
        CASE WHEN c.relkind IN ('v', 'm') THEN md5(pg_get_viewdef(c.oid)) END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND {_OURS}
    """

COLUMNS: LiteralString = f"""
    SELECT n.nspname || '.' || c.relname, a.attname::text, format_type(a.atttypid, a.atttypmod)
        || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
        || CASE a.attidentity WHEN '' THEN '' ELSE ' identity' END
        || coalesce(CASE a.attgenerated WHEN 's' THEN ' generated ' ELSE ' default ' END
            || pg_get_expr(d.adbin, d.adrelid), '')
        || coalesce(' grants ' || array_to_string(a.attacl, ' '), '')
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {_OURS}
    """

# The index of a constraint is told by the constraint.
INDEXES: LiteralString = f"""
    SELECT n.nspname || '.' || c.relname, i.relname::text, pg_get_indexdef(i.oid)
        || CASE WHEN indisvalid THEN '' ELSE ' INVALID' END
    FROM pg_index JOIN pg_class i ON i.oid = indexrelid JOIN pg_class c ON c.oid = indrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.oid AND contype IN ('p', 'u', 'x')) AND {_OURS}
    """

CONSTRAINTS: LiteralString = f"""
    SELECT n.nspname || '.' || c.relname, conname::text, pg_get_constraintdef(o.oid)
    FROM pg_constraint o JOIN pg_class c ON c.oid = conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE contype <> 'n' AND {_OURS}
    """

TRIGGERS: LiteralString = f"""
    SELECT n.nspname || '.' || c.relname, tgname::text, pg_get_triggerdef(t.oid)
        || CASE tgenabled WHEN 'D' THEN ' DISABLED' ELSE '' END
    FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT tgisinternal AND {_OURS}
    """

POLICIES: LiteralString = """
    SELECT schemaname || '.' || tablename, policyname::text, concat_ws(' ', permissive, cmd, 'to', roles::text,
        'using ' || qual, 'check ' || with_check)
    FROM pg_policies
    """

# Who was granted nothing has what the server grants by itself: written out, so that a first grant is one more.
GRANTS: LiteralString = f"""
    SELECT n.nspname || '.' || c.relname, split_part(g::text, '=', 1), split_part(g::text, '=', 2)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, unnest(coalesce(c.relacl,
        acldefault(CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END, c.relowner))) g
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND {_OURS}
    """

FUNCTIONS: LiteralString = """
    SELECT n.nspname || '.' || proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
        concat_ws(' ', 'md5', md5(CASE WHEN prokind = 'a' THEN '' ELSE pg_get_functiondef(p.oid) END),
            'owner', pg_get_userbyid(proowner), CASE WHEN prosecdef THEN 'security definer' END,
            (SELECT 'grants ' || string_agg(g::text, ' ' ORDER BY g::text)
                FROM unnest(coalesce(proacl, acldefault('f', proowner))) g))
    FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e')
    """


def look_at_postgres_facts(fingerprint: Fingerprint, target: Options, deadline: Deadline) -> Seen:
    """The facts of the server, and of the database in the address; raises ``CannotObserve`` when nobody gets in."""
    with connected(connection_parameters(target), deadline) as connection:
        reader = Reader(connection, deadline)
        seen = in_parts(_looks(reader, fingerprint))
        reader.end()
    return seen


def _looks(reader: Reader, fingerprint: Fingerprint) -> dict[str, Callable[[], Facts]]:
    rows = reader.rows
    return {
        "session": lambda: {"session.transaction_read_only": reader.row("SHOW transaction_read_only")[0]},
        "config": lambda: setting_facts(_settings(reader), fingerprint),
        "role_setting": lambda: role_setting_facts(rows(ROLE_SETTINGS), fingerprint),
        "extension": lambda: text_facts("extension", rows(EXTENSIONS)),
        "role": lambda: named_facts("role", ROLE_COLUMNS, rows(ROLES)),
        "database": lambda: named_facts("database", DATABASE_COLUMNS, rows(DATABASES)),
        "schema": lambda: named_facts("schema", SCHEMA_COLUMNS, rows(SCHEMAS)),
        "table": partial(_tables, reader),
        "function": lambda: text_facts("function", rows(FUNCTIONS)),
    }


def _settings(reader: Reader) -> list[Any]:
    (sees_all,) = reader.row("SELECT pg_has_role(current_user, 'pg_read_all_settings', 'USAGE')")
    if not sees_all:
        raise CannotObserve("the server hides settings from this role: GRANT pg_read_all_settings, or pg_monitor")
    return reader.rows(SETTINGS)


def _tables(reader: Reader) -> Facts:
    """Tables, views and sequences with all their parts: one part that is hidden makes the whole schema unseen."""
    facts = named_facts("table", TABLE_COLUMNS, reader.rows(TABLES))
    parts = {"column": COLUMNS, "index": INDEXES, "constraint": CONSTRAINTS, "trigger": TRIGGERS, "policy": POLICIES}
    for kind, query in (parts | {"grant": GRANTS}).items():
        facts |= part_facts(kind, reader.rows(query))
    return facts
