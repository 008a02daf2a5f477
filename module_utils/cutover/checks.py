# SPDX-License-Identifier: GPL-3.0-or-later
"""From a declared expectation to findings: every check is listed first, then answered, and none is forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from .verdict import Finding, Status

Seen = TypeVar("Seen")
T = TypeVar("T")


class CannotObserve(Exception):
    """Something could not be observed. The text is the cause, ready for a person and free of credentials."""


# A part of an observation: what was seen, or the reason why it could not be.
Known: TypeAlias = T | CannotObserve


def known(part: Known[T]) -> T:
    """The part itself; raises its reason when it could not be seen."""
    if isinstance(part, CannotObserve):
        raise part
    return part


class ExpectationError(ValueError):
    """A declared expectation cannot be turned into checks: the inventory is wrong, not the server."""


@dataclass(frozen=True, kw_only=True)
class Check(Generic[Seen]):
    """A question that an expectation implies.

    ``look`` takes from the observation what the check is about, and raises ``CannotObserve`` where that is missing.
    ``holds`` says whether it is right; without it, observed must equal expected.
    ``show`` makes of what was observed that which a report can hold.
    ``needs`` names the check that must have passed for this one to mean anything.
    """

    name: str
    expected: Any
    look: Callable[[Seen], Any]
    holds: Callable[[Any], bool] | None = None
    show: Callable[[Any], Any] | None = None
    needs: str | None = None
    remedy: str | None = None
    blocking: bool = True


def judge(
    checks: Iterable[Check[Seen]], observation: Seen | CannotObserve, *, reachable_remedy: str
) -> tuple[Finding, ...]:
    """Answer every check; the first finding is always ``reachable``.

    When nothing could be observed that finding carries the cause, and all others are skipped because of it.
    """
    findings = {"reachable": _reachable(observation, reachable_remedy)}
    for check in checks:
        if check.name in findings:
            raise ExpectationError(f"check {check.name!r} is implied twice: declare it once")
        need = _unmet_need(check, findings)
        if need is not None or isinstance(observation, CannotObserve):
            findings[check.name] = _skipped(check, _root_cause(need or "reachable", findings))
        else:
            findings[check.name] = _answer(check, observation)
    return tuple(findings.values())


def _reachable(observation: object, remedy: str) -> Finding:
    if isinstance(observation, CannotObserve):
        return Finding(
            check="reachable", status=Status.ERROR, expected=True, observed=None, cause=str(observation), remedy=remedy
        )
    return Finding(check="reachable", status=Status.PASS, expected=True, observed=True)


def _unmet_need(check: Check[Seen], findings: dict[str, Finding]) -> str | None:
    met = check.needs is None or (check.needs in findings and findings[check.needs].status is Status.PASS)
    return None if met else check.needs


def _skipped(check: Check[Seen], cause: str) -> Finding:
    return Finding(
        check=check.name, status=Status.SKIPPED, blocking=check.blocking, expected=check.expected, cause=cause
    )


def _root_cause(need: str, findings: dict[str, Finding]) -> str:
    """The finding that a person must mend first: a skipped one points on to its own cause."""
    finding = findings.get(need)
    return finding.cause if finding and finding.status is Status.SKIPPED and finding.cause else need


def _answer(check: Check[Seen], observation: Seen) -> Finding:
    sides: dict[str, Any] = {"check": check.name, "blocking": check.blocking, "expected": check.expected}
    try:
        observed = known(check.look(observation))
        right = observed == check.expected if check.holds is None else check.holds(observed)
        shown = observed if check.show is None else check.show(observed)
    except CannotObserve as reason:
        return Finding(**sides, status=Status.ERROR, cause=str(reason), remedy=check.remedy)
    except Exception as defect:  # noqa: BLE001 - a judge that raises must never look like a pass
        cause = f"this check could not be evaluated: {type(defect).__name__}: {defect}"
        return Finding(**sides, status=Status.ERROR, cause=cause, remedy=check.remedy)
    if right is True:
        return Finding(**sides, status=Status.PASS, observed=shown)
    return Finding(**sides, status=Status.FAIL, observed=shown, remedy=check.remedy)
