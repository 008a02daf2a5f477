# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true of a command that looks at something: how it ends, and what it says (checklist row C3)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .checks import CannotObserve, Check, ExpectationError

SHOWN_CHARACTERS = 1000


@dataclass(frozen=True, kw_only=True)
class CommandObservation:
    """How a command ended, what it printed to stdout, and the record of it that evidence keeps.

    ``stdout_complete`` is false for one that printed more than can be held.
    """

    exit_code: int
    stdout: str
    record: Mapping[str, Any]
    stdout_complete: bool = True


def command_checks(expected: Mapping[str, Any]) -> Iterator[Check[CommandObservation]]:
    """Every check that ``expected`` implies; the keys are those of command_check's ``expected`` option.

    Raises ``ExpectationError`` for a pattern that is none.
    """
    codes = expected.get("exit_codes", [0])
    yield Check(
        name="exit_code",
        expected=codes,
        look=lambda seen: seen.exit_code,
        holds=lambda code: code in codes,
        remedy="run the command by hand, with the same arguments, and read what it says",
    )
    if "stdout_matches" in expected:
        pattern = _pattern(expected["stdout_matches"])
        yield Check(
            name="stdout",
            expected=f"matches {pattern.pattern}",
            look=_stdout,
            holds=lambda text: pattern.search(text) is not None,
            show=lambda text: text[:SHOWN_CHARACTERS],
            needs="exit_code",
            remedy="run the command by hand, and compare what it prints",
        )


def _stdout(seen: CommandObservation) -> str:
    if not seen.stdout_complete:
        raise CannotObserve("the command printed more than can be read: let it print less")
    return seen.stdout.strip()


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as reason:
        raise ExpectationError(f"stdout_matches {text!r} is no regular expression: {reason}") from reason
