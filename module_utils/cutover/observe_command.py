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


def look_with_command(secrets: set[str]) -> Callable[[Options, Deadline], CommandObservation]:
    """An observer that masks ``secrets`` in everything the command says."""

    def look(target: Options, deadline: Deadline) -> CommandObservation:
        try:
            command = Command(
                argv=target["argv"],
                chdir=target.get("chdir"),
                environment=environment_of(target.get("env_file"), target.get("environment")),
                timeout_s=deadline.left_s(),
                keep_stdout=True,
            )
            ran = run(command)
        except (CannotRun, EnvFileError) as reason:
            raise CannotObserve(str(reason)) from reason
        masker = masker_for(command, secrets)
        if ran.timed_out:
            raise CannotObserve(explain(command, ran, masker))
        return CommandObservation(
            exit_code=ran.exit_code, stdout=masker.mask(ran.stdout), record=record(command, ran, masker)
        )

    return look
