# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of a PostgreSQL server from the rows of its catalogues. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .masking import is_sensitive

Fingerprint = Callable[[str], str]
Rows = Iterable[Sequence[Any]]

# They hold a password, or a command that may hold one.
SECRET_SETTINGS = frozenset({"primary_conninfo", "ssl_passphrase_command", "archive_command", "restore_command"})
# What a session of ours says itself, or is told by its client library: not the server's.
OF_THE_SESSION = frozenset(
    {"application_name", "client_encoding", "transaction_deferrable", "transaction_isolation", "transaction_read_only"}
)


def setting_facts(rows: Rows, fingerprint: Fingerprint) -> dict[str, Any]:
    """``pg_settings`` as (name, value, unit, source, whether it waits for a restart)."""
    return {
        f"config.{name.lower()}": {"value": _setting(name, value, unit, fingerprint)}
        | ({"source": source} if source else {})
        | ({"pending_restart": True} if waits else {})
        for name, value, unit, source, waits in rows
        if name not in OF_THE_SESSION
    }


def _setting(name: str, value: str | None, unit: str | None, fingerprint: Fingerprint) -> str:
    if value and (name in SECRET_SETTINGS or is_sensitive(name)):
        return fingerprint(value)
    # `8kB` is a unit, too: 16384 of them.
    return f"{value} x {unit}" if unit and unit[0].isdigit() else f"{value or ''}{unit or ''}"


def role_setting_facts(rows: Rows, fingerprint: Fingerprint) -> dict[str, Any]:
    """``ALTER ROLE ... IN DATABASE ... SET``, as (role, database, [name=value])."""
    facts: dict[str, Any] = {}
    for role, database, settings in rows:
        for name, _, value in (setting.partition("=") for setting in settings):
            facts[f"role_setting.{role}@{database}/{name}"] = _setting(name, value, None, fingerprint)
    return facts


def named_facts(prefix: str, columns: Sequence[str], rows: Rows) -> dict[str, Any]:
    """Rows that begin with a name: ``prefix.name`` with the other columns under their names, empty ones left out."""
    return {
        f"{prefix}.{name}": {
            column: _plain(value) for column, value in zip(columns, values, strict=True) if value not in (None, [], "")
        }
        for name, *values in rows
    }


def text_facts(prefix: str, rows: Rows) -> dict[str, Any]:
    """Rows of a name and a text."""
    return {f"{prefix}.{name}": text for name, text in rows}


def part_facts(kind: str, rows: Rows) -> dict[str, Any]:
    """Rows of a table, the name of a part of it (a column, an index), and its definition.

    The key is ``table.<schema.table>/<kind>.<name>``: what comes and goes with its table is not told on its own.
    """
    return {f"table.{table}/{kind}.{name}": definition for table, name, definition in rows}


def _plain(value: Any) -> Any:
    return sorted(map(str, value)) if isinstance(value, (list, tuple)) else value
