# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a migration tool, or the history of plain SQL migrations, what is applied and what there is. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from .checks import CannotObserve, Known, known
from .command import CannotRun, Command, environment_of, explain, masker_for, record, run
from .env_file import EnvFileError
from .judge_migration import MigrationObservation, revision_pattern, revisions
from .pool import Deadline
from .sql_migrations import Applied, CannotMigrate, Migration, read_migrations, revision, steps_forward

T = TypeVar("T")
Options = Mapping[str, Any]
Keep = Callable[[dict[str, Any]], object]

# The command is ended this long before the deadline, so that it is we who say why there is no answer.
ENDING_S = 0.5
_GRACE_S = 0.2


def look_at_migrations(
    target: Options, deadline: Deadline, *, keep: Keep, secrets: Collection[str] = ()
) -> MigrationObservation:
    """Ask what the target's driver says; evidence of commands is given to ``keep``. Reads only.

    Raises ``CannotObserve`` when nobody can be asked.
    """
    if target.get("driver") == "sql":
        return _sql(target, deadline)
    return _by_commands(target, deadline, keep, secrets)


def _by_commands(target: Options, deadline: Deadline, keep: Keep, secrets: Collection[str]) -> MigrationObservation:
    """What two commands say. One that ended badly is the cause of its own part only."""
    try:
        environment = environment_of(target.get("env_file"), target.get("environment"))

        def ask(argv: Sequence[str], pattern: str) -> Known[tuple[str, ...]]:
            command = Command(
                argv=argv,
                chdir=target.get("chdir"),
                environment=environment,
                timeout_s=max(0.1, deadline.left_s() - ENDING_S),
                grace_s=_GRACE_S,
                keep_stdout=True,
            )
            return _answer(command, pattern, keep, secrets)

        pattern = target["revision_pattern"]
        return MigrationObservation(
            current=ask(target["current_argv"], pattern),
            heads=ask(target["heads_argv"], target.get("heads_pattern") or pattern),
        )
    except (CannotRun, EnvFileError) as reason:
        raise CannotObserve(str(reason)) from reason


def _answer(command: Command, pattern: str, keep: Keep, secrets: Collection[str]) -> Known[tuple[str, ...]]:
    ran = run(command)
    masker = masker_for(command, frozenset(secrets))
    keep(record(command, ran, masker))
    if ran.timed_out or ran.exit_code != 0:
        return CannotObserve(explain(command, ran, masker))
    if not ran.stdout_complete:
        return CannotObserve(f"{' '.join(command.argv)} printed more than can be read")
    stdout: str = masker.mask(ran.stdout)
    found = revisions(stdout, revision_pattern(pattern))
    if stdout.strip() and not found:
        return CannotObserve(f"{' '.join(command.argv)} printed nothing that {pattern} takes for a revision")
    return found


def _sql(target: Options, deadline: Deadline) -> MigrationObservation:
    """What the history in the database says, next to the files of a folder."""
    # Here, because who asks a migration tool needs no psycopg.
    from . import apply_sql_migrations as database

    migrations = _attempt(lambda: read_migrations(target["folder"]))
    left_s = deadline.left_s()
    limits = {"timeout_s": left_s, "lock_timeout_s": left_s, "connect_timeout_s": left_s}
    try:
        with database.connected(target, read_only=True, **limits) as connection:
            history = database.find_history(connection, target["history_table"], target["history_schema"])
            applied = _attempt(lambda: database.read_history(connection, history))
    except CannotMigrate as reason:
        raise CannotObserve(str(reason)) from reason
    return MigrationObservation(
        current=_attempt(lambda: _applied(known(migrations), known(applied))),
        heads=_attempt(lambda: (known(migrations)[-1].version,)),
    )


def _applied(migrations: list[Migration], applied: list[Applied]) -> tuple[str, ...]:
    """The newest applied version; raises ``CannotMigrate`` where the files are not those that were applied."""
    steps_forward(migrations, applied, None)
    return (revision(applied),) if applied else ()


def _attempt(look: Callable[[], T]) -> Known[T]:
    try:
        return look()
    except CannotObserve as reason:
        return reason
    except CannotMigrate as reason:
        return CannotObserve(str(reason))
