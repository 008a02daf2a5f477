# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe all targets, judge each, and return the verdicts: the road every check module takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from .checks import Check, ExpectationError, judge
from .pool import Deadline, Limits, look_at_all
from .verdict import Verdict

Seen = TypeVar("Seen")
Options = Mapping[str, Any]


def verify_targets(
    component: str,
    params: Options,
    look: Callable[[Options, Deadline], Seen],
    checks_for: Callable[[Options], Iterable[Check[Seen]]],
    *,
    reachable_remedy: str,
    record: Callable[[Seen], Mapping[str, Any] | None] | None = None,
    wait_s: Callable[[Options], float] = lambda target: 0.0,
    blocking: bool = True,
) -> list[Verdict]:
    """One verdict for each of ``params["targets"]``, in their order.

    ``look(target, deadline)`` observes one target and runs in a pool of threads; the target's ``expected`` is then
    all that is expected of it. ``checks_for(expected)`` lists what the expectation implies: it is asked for all
    targets before any is looked at, so that a wrong inventory is refused before anything is done.
    ``record(observation)`` names what is kept whole as evidence. ``wait_s(target)`` are the seconds, on top of the
    time limits, for which a target may be waited for. Where it is not ``blocking``, findings are told, and no more.

    Raises ``ExpectationError`` for no targets, two of the same name, no workers, or an expectation that implies no
    check.
    """
    targets = [
        {**target, "expected": merged(params.get("expected"), target.get("expected"))} for target in params["targets"]
    ]
    checks = _checks_by_name(targets, checks_for)
    if params["workers"] < 1:
        raise ExpectationError("workers is less than 1: nothing would be looked at")
    limits = Limits(timeout_s=params["timeout_s"], total_timeout_s=params["total_timeout_s"], workers=params["workers"])
    verdicts = []
    for target, outcome in zip(targets, look_at_all(targets, look, limits=limits, wait_s=wait_s), strict=True):
        observation = outcome.observation
        keep = record(observation) if record and not isinstance(observation, Exception) else None
        findings = judge(checks[target["name"]], observation, reachable_remedy=reachable_remedy)
        verdicts.append(
            Verdict(
                component=component,
                subject=target["name"],
                address=str(target.get("address") or target["name"]),
                took_ms=outcome.took_ms,
                findings=findings if blocking else tuple(replace(each, blocking=False) for each in findings),
                recorded=keep,
            )
        )
    return verdicts


def merged(expected: Options | None, own: Options | None) -> dict[str, Any]:
    """What is expected of one target: its own words where it has any, else those for all. ``None`` is no word."""
    general = {name: value for name, value in (expected or {}).items() if value is not None}
    return general | {name: value for name, value in (own or {}).items() if value is not None}


def _checks_by_name(
    targets: Sequence[Options], checks_for: Callable[[Options], Iterable[Check[Seen]]]
) -> dict[str, list[Check[Seen]]]:
    if not targets:
        raise ExpectationError("targets is empty: nothing would be looked at. Name at least one target")
    checks: dict[str, list[Check[Seen]]] = {}
    for target in targets:
        name = target["name"]
        if name in checks:
            raise ExpectationError(f"two targets are named {name!r}: findings on them could not be told apart")
        checks[name] = list(checks_for(target["expected"]))
        if not checks[name]:
            raise ExpectationError(f"what is expected of {name!r} implies no check: declare at least one expectation")
    return checks
