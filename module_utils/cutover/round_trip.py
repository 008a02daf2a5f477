# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a scratch database up to the head of its migrations, one down, and up again (checklist row E3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import unified_diff
from typing import Any
from urllib.parse import quote, urlsplit

from .command import CannotRun, Command, Ran, environment_of, explain, masker_for, record, run
from .env_file import EnvFileError
from .judge_migration import ALEMBIC_LINE
from .judge_restore import RoundTrip
from .restore import CannotRestore

Options = Mapping[str, Any]


def take_round_trip(
    options: Options,
    database: str,
    *,
    schema: Callable[[], Sequence[str]],
    timeout_s: float,
    secrets: frozenset[str],
    keep: Callable[[dict[str, Any]], None],
) -> RoundTrip:
    """Migrate ``database``, and only that, by Alembic as ``options`` start it; what came of each leg.

    The variable ``url_variable`` of ``env_file`` says where the migrations go: the same place, but for the database.
    ``schema()`` are the lines that make the scratch's schema. Raises ``CannotRestore`` where Alembic cannot be started.
    """
    try:
        environment = environment_of(options.get("env_file"), None)
    except EnvFileError as reason:
        raise CannotRestore(str(reason)) from None
    alembic = _Alembic(options, _led_to(environment, options["url_variable"], database), timeout_s, secrets, keep)
    if complaint := alembic.migrate("upgrade", "heads"):
        return RoundTrip(up=complaint)
    trip = RoundTrip(up="", heads=alembic.ask("heads"), at=alembic.ask("current"))
    if len(trip.heads) != 1 or trip.at != trip.heads:
        return trip
    before = list(schema())
    down = alembic.migrate("downgrade", "-1")
    if not down and alembic.ask("current") == trip.at:
        down = f"the database stayed at {', '.join(trip.at) or 'no revision'}"
    if down:
        return replace(trip, down=down)
    again = alembic.migrate("upgrade", "heads")
    if not again and alembic.ask("current") != trip.at:
        again = "the database did not come to the same revision again"
    differs = (
        () if again else tuple(unified_diff(before, list(schema()), "after up", "after down and up", n=0, lineterm=""))
    )
    return replace(trip, up_again=again, schema_differs=differs)


def _led_to(environment: Mapping[str, str], variable: str, database: str) -> dict[str, str]:
    """The environment with the URL in ``variable`` leading to ``database``."""
    if not urlsplit(environment.get(variable, "")).path.strip("/"):
        raise CannotRestore(f"the environment file sets no {variable} that names a database: nothing was migrated")
    url = urlsplit(environment[variable])._replace(path=f"/{quote(database)}").geturl()
    return {**environment, variable: url}


class _Alembic:
    def __init__(
        self,
        options: Options,
        environment: Mapping[str, str],
        timeout_s: float,
        secrets: frozenset[str],
        keep: Callable[[dict[str, Any]], None],
    ) -> None:
        self._options, self._environment = options, environment
        self._timeout_s, self._secrets, self._keep = timeout_s, secrets, keep

    def migrate(self, *words: str) -> str:
        """Why it was not done; empty when it was."""
        command, ran = self._run(words)
        return explain(command, ran, masker_for(command, self._secrets)) if ran.timed_out or ran.exit_code else ""

    def ask(self, *words: str) -> tuple[str, ...]:
        """The revisions that it names."""
        _, ran = self._run(words)
        found = (re.match(ALEMBIC_LINE, line) for line in ran.stdout.splitlines())
        return tuple(sorted(match[1] for match in found if match))

    def _run(self, words: Sequence[str]) -> tuple[Command, Ran]:
        command = Command(
            argv=[*self._options["argv"], *words], chdir=self._options.get("chdir"), environment=self._environment,
            timeout_s=self._timeout_s, keep_stdout=True,
        )  # fmt: skip
        try:
            ran = run(command)
        except CannotRun as reason:
            raise CannotRestore(str(reason)) from None
        self._keep(record(command, ran, masker_for(command, self._secrets)))
        return command, ran
