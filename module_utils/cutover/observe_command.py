# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a declared command that looks at something, within the target's deadline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .checks import CannotObserve
from .command import CannotRun, Command, environment_of, explain, masker_for, record, run
from .env_file import EnvFileError
from .judge_command import CommandObservation
from .pool import Deadline

Options = Mapping[str, Any]

# The command is ended this long before the deadline, so that it is we who say why there is no answer, and nothing of it
# is left behind.
ENDING_S = 0.5
_GRACE_S = 0.2


def look_with_command(secrets: set[str]) -> Callable[[Options, Deadline], CommandObservation]:
    """An observer that masks ``secrets`` in everything the command says."""

    def look(target: Options, deadline: Deadline) -> CommandObservation:
        try:
            command = Command(
                argv=target["argv"],
                chdir=target.get("chdir"),
                environment=environment_of(target.get("env_file"), target.get("environment")),
                timeout_s=round(max(0.1, deadline.left_s() - ENDING_S), 1),
                grace_s=_GRACE_S,
                keep_stdout=True,
            )
            ran = run(command)
        except (CannotRun, EnvFileError) as reason:
            raise CannotObserve(str(reason)) from reason
        masker = masker_for(command, secrets)
        if ran.timed_out:
            raise CannotObserve(explain(command, ran, masker))
        return CommandObservation(
            exit_code=ran.exit_code,
            stdout=masker.mask(ran.stdout),
            record=record(command, ran, masker),
            stdout_complete=ran.stdout_complete,
        )

    return look
