# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true of a start that has to be refused (checklist row B1): quickly, with no listener, saying why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from .checks import CannotObserve, Check, ExpectationError


@dataclass(frozen=True, kw_only=True)
class StartObservation:
    """How a start ended. ``exit_code`` is None for one that was ended because it went on; lines are masked.

    ``listened`` is whether anybody was reached at its port meanwhile, None where no port is declared.
    """

    exit_code: int | None
    took_s: float
    lines: Sequence[str]
    listened: bool | None = None


def start_checks(expected: Mapping[str, Any]) -> Iterator[Check[StartObservation]]:
    """Every check that ``expected`` implies; the keys are those of start_check's ``expected`` option.

    Raises ``ExpectationError`` without a limit: a service that never ends by itself refuses nothing.
    """
    within_s = expected.get("refuses_within_s")
    if not within_s or within_s <= 0:
        raise ExpectationError("refuses_within_s must be more than 0: within how many seconds must it give up?")
    yield Check(
        name="refuses",
        expected=f"ends within {within_s:g} s, and not with 0",
        look=_ending,
        holds=lambda ending: "exit code" in ending and not ending.startswith("exit code 0 "),
        remedy="let it verify its settings before anything else, and end with a status that says so",
    )
    yield Check(
        name="no_listener",
        expected="nobody listens",
        look=_listener,
        holds=lambda seen: seen == "nobody listened",
        remedy="verify settings before listening: a load balancer takes an open port for a service",
    )
    for word in expected.get("names") or []:
        yield Check(
            name=f"names.{word}",
            expected=f"a line with {word}",
            look=_last_words,
            holds=partial(_is_named, word),
            remedy=f"name {word} in the message: who reads it at night must know what to set",
        )


def _ending(seen: StartObservation) -> str:
    if seen.exit_code is None:
        return f"went on after {seen.took_s:.1f} s, and was ended"
    return f"exit code {seen.exit_code} after {seen.took_s:.1f} s"


def _listener(seen: StartObservation) -> str:
    if seen.listened is None:
        raise CannotObserve("its port is not declared: give host and port")
    return "somebody listened" if seen.listened else "nobody listened"


def _is_named(word: str, lines: Sequence[str]) -> bool:
    return any(word in line for line in lines)


def _last_words(seen: StartObservation) -> list[str]:
    if not seen.lines:
        raise CannotObserve("it said nothing")
    return list(seen.lines[-5:])
