# SPDX-License-Identifier: GPL-3.0-or-later
"""What must have come of a cutover that a drill has made: it went as declared, and all is back (checklist row E8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from .checks import CannotObserve, Check, ExpectationError
from .gate import GO, GOING_BACK, NO_GO
from .runs import BACK, PastRun

Decided = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class DrillCutover:
    """The runs that a drill has left: its cutover, and the rollback, where one was needed."""

    cutover: PastRun
    rollback: PastRun | None = None

    @property
    def ended(self) -> PastRun:
        """The cutover; raises ``CannotObserve`` where nobody knows how it ended."""
        if self.cutover.problem or self.cutover.verdict is None:
            why = self.cutover.problem or "it was interrupted"
            raise CannotObserve(f"run {self.cutover.id} tells nothing of its end: {why}")
        return self.cutover

    @property
    def refusal(self) -> Decided:
        """What the gate said that refused it; raises ``CannotObserve`` where none did."""
        refused = _first_no_go(self.ended)
        if refused is None or refused["gate"] in (GOING_BACK, BACK):
            causes = [str(each.get("cause")) for each in refused["blocking"]] if refused else []
            raise CannotObserve(f"no gate refused it: {'; '.join(causes) or 'see its report'}")
        return refused

    @property
    def back(self) -> PastRun:
        """The run that was to go back: a cutover that was a no-go has to do so itself, and any other is rolled back.

        Raises ``CannotObserve`` where it did not try to.
        """
        run = self.cutover if self.cutover.verdict == NO_GO else self.rollback
        if run is None or not run.back_at:
            raise CannotObserve("it did not go back: see what the drill's log says, and play rollback.yml")
        return run

    @property
    def back_verdict(self) -> str:
        """What was decided over the way back; a rollback's own verdict counts, too."""
        run = self.back
        return GO if run.went_back and (run is self.cutover or run.verdict == GO) else NO_GO

    def told(self) -> dict[str, Any]:
        """What evidence keeps of it: which runs, with the hash that stands for each one's whole journal."""
        runs = {"cutover": self.cutover, "rollback": self.rollback}
        return {
            name: {"run": run.id, "journal_head": run.records[-1]["hash"] if run.records else None}
            for name, run in runs.items()
            if run
        } | {"back_s": self._back_s()}

    def _back_s(self) -> float | None:
        try:
            return self.back.back_took_s
        except CannotObserve:
            return None


def drill_cutover_checks(expected: Mapping[str, Any]) -> Iterator[Check[DrillCutover]]:
    """Every check that ``expected`` implies; the keys are those of drill_cutover's ``expected`` option.

    Raises ``ExpectationError`` for a no-go of which it is not said which gate refuses, and for what.
    """
    refused = {name: expected.get(name) for name in ("refused_at", "refused_for")}
    if expected["verdict"] == NO_GO and not all(refused.values()):
        raise ExpectationError("refused_at and refused_for are missing: which gate is to refuse the release, for what?")
    if expected["verdict"] == GO and any(refused.values()):
        raise ExpectationError("a cutover that is to be a go is refused at no gate: leave out refused_at, refused_for")
    yield Check(
        name="cutover",
        expected=expected["verdict"],
        look=lambda seen: seen.ended,
        holds=lambda run: run.verdict == expected["verdict"],
        show=_how_it_ended,
        remedy="mend what is named, or read the report of that run",
    )
    yield Check(
        name="moved",
        expected=True,
        look=lambda seen: bool(seen.cutover.steps),
        remedy="name a release that does not serve yet, and mend what the first gate names: nothing was rehearsed",
    )
    if expected["verdict"] == NO_GO:
        yield from _refusal_checks(expected["refused_at"], expected["refused_for"])
    yield Check(
        name="back",
        expected=GO,
        look=lambda seen: seen.back_verdict,
        needs="moved",
        remedy="bring the environment in order with rollback.yml: it is not as it was found",
    )
    if expected.get("back_within_s") is not None:
        yield Check(
            name="back_s",
            expected=f"at most {expected['back_within_s']:g}",
            look=_seconds_back,
            holds=lambda took_s: took_s <= expected["back_within_s"],
            needs="back",
            remedy="see in that run's report which step back took so long",
        )


def _refusal_checks(gate: str, patterns: Sequence[str]) -> Iterator[Check[DrillCutover]]:
    yield Check(
        name="refused_at",
        expected=gate,
        look=lambda seen: seen.refusal["gate"],
        needs="cutover",
        remedy="it must be refused there, and nowhere else: before, nothing is proven, and after, visitors have paid",
    )
    yield Check(
        name="refused_for",
        expected=list(patterns),
        look=lambda seen: _reasons(seen.refusal),
        holds=lambda names: bool(names) and all(any(fnmatchcase(name, each) for each in patterns) for name in names),
        needs="refused_at",
        remedy="see why it was refused for something else",
    )


def _how_it_ended(run: PastRun) -> str:
    """Its verdict and, where it is a no-go, what was in its way first: ``no-go at preflight: errors.worker``."""
    first = _first_no_go(run)
    return f"{run.verdict} at {first['gate']}: {', '.join(_reasons(first))}" if first else str(run.verdict)


def _first_no_go(run: PastRun) -> Decided | None:
    return next((each for each in run.decisions if each["verdict"] == NO_GO), None)


def _reasons(decided: Decided) -> list[str]:
    return sorted({str(each["check"]) for each in decided["blocking"]})


def _seconds_back(seen: DrillCutover) -> float:
    took_s = seen.back.back_took_s
    if took_s is None:
        raise CannotObserve(f"run {seen.back.id} does not tell when it began to go back")
    return took_s
