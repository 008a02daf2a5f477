# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask an application's own migration tool which revisions are applied and which there are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from .checks import CannotObserve, Known
from .command import CannotRun, Command, environment_of, explain, masker_for, record, run
from .env_file import EnvFileError
from .judge_migration import MigrationObservation, revision_pattern, revisions
from .pool import Deadline

Options = Mapping[str, Any]
Keep = Callable[[dict[str, Any]], object]

# The command is ended this long before the deadline, so that it is we who say why there is no answer.
ENDING_S = 0.5
_GRACE_S = 0.2


def look_at_migrations(
    target: Options, deadline: Deadline, *, keep: Keep, secrets: Collection[str] = ()
) -> MigrationObservation:
    """Run the target's two commands, both read-only; each one's evidence is given to ``keep``.

    Raises ``CannotObserve`` when a command cannot be started. One that ended badly is the cause of its own part only.
    """
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
