# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a run go back: a list of triggers in the inventory, read once and evaluated over what was recorded.

Pure, so that whatever samples, judges or drills comes to the same answer from the same records (checklist row D9).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from itertools import takewhile
from typing import Any

Record = Mapping[str, Any]

# What a trigger is about: each has exactly one of these. Patterns are those of a shell.
GATE, STEP, FINDING, BYPASS = "gate", "step", "finding", "authentication_bypass"
MEAN_MS, ERROR_PERCENT = "max_mean_ms", "max_error_percent"
BUDGETS = {MEAN_MS: "mean_ms", ERROR_PERCENT: "error_percent"}
KINDS = (GATE, STEP, FINDING, MEAN_MS, ERROR_PERCENT, BYPASS)
ABOUT = ("component", "subject")
BAD = frozenset({"fail", "error"})

# There is nothing to go back from before the first change, and nowhere to go back to on the way back.
QUIET_GATES = frozenset({"preflight", "going_back", "back", "final"})

# Whoever is refused gets one of these; whoever is not, an answer.
REFUSED = frozenset({401, 403})
ANSWERED = range(200, 400)
# What other checks call it when somebody came in without a password, or with a well-known one.
BYPASSES = ("unauthenticated", "default_password*")


class TriggerError(ValueError):
    """A declared trigger cannot be evaluated. The text names its place in the list, and what is wrong."""


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """One reason to go back. ``value`` is a pattern, or the most that is allowed; of budgets, ``samples`` in a row."""

    name: str
    kind: str
    value: Any
    component: str = "*"
    subject: str = "*"
    samples: int = 1

    def is_about(self, component: object, subject: object) -> bool:
        """Whether something on this subject can fire it."""
        return fnmatchcase(str(component), self.component) and fnmatchcase(str(subject), self.subject)


@dataclass(frozen=True, kw_only=True)
class Fired:
    """A trigger that fired: the budget and what was observed against it. ``error``: it could not be evaluated."""

    trigger: str
    kind: str
    expected: Any
    observed: Any
    what: str
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self)


# --- reading the list -------------------------------------------------------------------------------------------------


def read_triggers(declared: Sequence[Any]) -> list[Trigger]:
    """The declared triggers; raises ``TriggerError`` for the first that is none, or bears another's name."""
    triggers: list[Trigger] = []
    for place, given in enumerate(declared):
        where = f"run_rollback_triggers[{place}]"
        trigger = _read(given, where)
        if trigger.name in [other.name for other in triggers]:
            raise TriggerError(f"{where}: another one is named {trigger.name!r}: reports could not tell them apart")
        triggers.append(trigger)
    return triggers


def _read(given: Any, where: str) -> Trigger:
    if not isinstance(given, Mapping):
        raise TriggerError(f"{where} is {given!r}: a trigger is a mapping with a name and one of {', '.join(KINDS)}")
    name = given.get("name")
    if not isinstance(name, str) or not name.strip():
        raise TriggerError(f"{where} has no name: reports say by it which one fired")
    where = f"{where} ({name})"
    kinds = [kind for kind in KINDS if given.get(kind) is not None]
    if len(kinds) != 1:
        raise TriggerError(
            f"{where} has {' and '.join(kinds) or 'none'}: exactly one of {', '.join(KINDS)} says what it is"
        )
    kind = kinds[0]
    allowed = {"name", kind, *(ABOUT if kind not in (GATE, STEP) else ()), *(("samples",) if kind in BUDGETS else ())}
    if unknown := sorted(set(map(str, given)) - allowed):
        raise TriggerError(
            f"{where} has no option {', '.join(unknown)}: with {kind} there are {', '.join(sorted(allowed))}"
        )
    about = {key: _text(given[key], key, where) for key in ABOUT if given.get(key) is not None}
    return Trigger(
        name=name, kind=kind, value=_value(kind, given[kind], where), samples=_samples(given, where), **about
    )


def _value(kind: str, value: Any, where: str) -> Any:
    if kind in BUDGETS:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise TriggerError(f"{where}: {kind} is {value!r}, and not a number that can be kept within")
        return value
    if kind == BYPASS:
        if value is not True:
            raise TriggerError(f"{where}: {kind} is {value!r}: say true, or leave the trigger out")
        return value
    return _text(value, kind, where)


def _text(value: Any, key: str, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise TriggerError(f"{where}: {key} is {value!r}, and not a name or a pattern such as '*'")
    return value


def _samples(given: Mapping[str, Any], where: str) -> int:
    samples = given.get("samples", 1)
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise TriggerError(f"{where}: samples is {samples!r}: say how many in a row, 1 or more")
    return samples


def samples_needed(declared: Sequence[Any]) -> int:
    """How many samples must be taken, so that every budget can be judged; 0 without one."""
    return max((trigger.samples for trigger in read_triggers(declared) if trigger.kind in BUDGETS), default=0)


# --- evaluating it ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A gate that was refused, and why in a few words each."""

    gate: str
    reasons: Sequence[str] = ()


def evaluate(
    records: Sequence[Record],
    triggers: Sequence[Trigger],
    *,
    refused: Refused | None = None,
    failed_step: str | None = None,
    sampled: bool = False,
) -> list[Fired]:
    """Which triggers fire on these records, in the order of the list.

    ``refused`` is the gate that was just refused, ``failed_step`` the step that was begun and failed. With ``sampled``,
    samples must have been taken: a budget that could not be judged fires as well. Waived findings and those that do
    not block fire like all others.
    """
    seen = _Seen.of(records)
    fired: list[Fired] = []
    for trigger in triggers:
        if trigger.kind == GATE:
            fired += _by_gate(trigger, refused)
        elif trigger.kind == STEP:
            fired += _by_step(trigger, failed_step)
        elif trigger.kind in BUDGETS:
            fired += _by_budget(trigger, seen.samples, sampled=sampled)
        elif trigger.kind == FINDING:
            fired += _by_finding(trigger, seen.findings)
        else:
            fired += _by_bypass(trigger, seen.findings)
    return fired


def failed_step(records: Sequence[Record]) -> str | None:
    """The step that was begun last and is not done; those of the way back are none."""
    steps = [record["data"] for record in records if record.get("kind") == "step"]
    forth = list(takewhile(lambda step: step.get("name") != "go_back", steps))
    return str(forth[-1]["name"]) if forth and forth[-1].get("state") != "done" else None


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """Findings with the verdict that each belongs to, and the samples of each subject in their order."""

    findings: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
    samples: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Sequence[Record]) -> _Seen:
        findings: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = []
        samples: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for record in records:
            verdict = record.get("data")
            if record.get("kind") != "verdict" or not isinstance(verdict, Mapping):
                continue
            told = verdict.get("findings")
            findings += [(verdict, finding) for finding in _mappings(told)]
            recorded = verdict.get("recorded")
            taken = _mappings(recorded.get("samples")) if isinstance(recorded, Mapping) else []
            if taken:
                subject = (str(verdict.get("component")), str(verdict.get("subject")))
                samples.setdefault(subject, []).extend(taken)
        return cls(findings=findings, samples=samples)


def _mappings(values: Any) -> list[Mapping[str, Any]]:
    return [value for value in values if isinstance(value, Mapping)] if isinstance(values, (list, tuple)) else []


def _by_gate(trigger: Trigger, refused: Refused | None) -> Iterator[Fired]:
    if refused and fnmatchcase(refused.gate, trigger.value):
        yield Fired(
            trigger=trigger.name,
            kind=GATE,
            expected="go",
            observed="no-go",
            what=_listed(refused.gate, refused.reasons),
        )


def _listed(gate: str, reasons: Sequence[str]) -> str:
    more = f" and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return f"the gate {gate}: {', '.join(reasons[:3])}{more}" if reasons else f"the gate {gate}"


def _by_step(trigger: Trigger, step: str | None) -> Iterator[Fired]:
    if step is not None and fnmatchcase(step, trigger.value):
        yield Fired(trigger=trigger.name, kind=STEP, expected="done", observed="failed", what=f"the step {step}")


def _by_finding(trigger: Trigger, findings: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Iterator[Fired]:
    for verdict, finding in findings:
        named = fnmatchcase(str(finding.get("check")), trigger.value) and _is_about(trigger, verdict)
        if named and finding.get("status") in BAD:
            yield _fired(trigger, verdict, finding)


def _by_bypass(trigger: Trigger, findings: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Iterator[Fired]:
    for verdict, finding in findings:
        if _is_about(trigger, verdict) and finding.get("status") == "fail" and _came_in(finding):
            yield _fired(trigger, verdict, finding)


def _came_in(finding: Mapping[str, Any]) -> bool:
    """Whether somebody who was to be refused got an answer."""
    if any(fnmatchcase(str(finding.get("check")), pattern) for pattern in BYPASSES):
        return True
    expected, observed = finding.get("expected"), finding.get("observed")
    wanted = expected if isinstance(expected, (list, tuple)) else [expected]
    return bool(wanted) and all(status in REFUSED for status in wanted) and observed in ANSWERED


def _is_about(trigger: Trigger, verdict: Mapping[str, Any]) -> bool:
    return trigger.is_about(verdict.get("component"), verdict.get("subject"))


def _fired(trigger: Trigger, verdict: Mapping[str, Any], finding: Mapping[str, Any]) -> Fired:
    return Fired(
        trigger=trigger.name,
        kind=trigger.kind,
        expected=finding.get("expected"),
        observed=finding.get("observed") if finding.get("status") == "fail" else finding.get("cause"),
        what=f"{verdict.get('component')}/{verdict.get('subject')} {finding.get('check')}",
    )


def _by_budget(
    trigger: Trigger, samples: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]], *, sampled: bool
) -> Iterator[Fired]:
    measure = BUDGETS[trigger.kind]
    budget = f"<= {trigger.value:g} in one of any {trigger.samples} samples in a row"
    judged = False
    for (component, subject), taken in sorted(samples.items()):
        values = [sample[measure] for sample in taken if _is_number(sample.get(measure))]
        if not trigger.is_about(component, subject) or len(values) < trigger.samples:
            continue
        judged = True
        if (broken := _in_a_row(values, trigger)) is not None:
            what = f"{component}/{subject} {measure}"
            yield Fired(trigger=trigger.name, kind=trigger.kind, expected=budget, observed=broken, what=what)
    if sampled and not judged:
        cause = f"fewer than {trigger.samples} samples with a {measure} were taken: nothing says that it was kept"
        yield Fired(trigger=trigger.name, kind=trigger.kind, expected=budget, observed=None, what=measure, error=cause)


def _in_a_row(values: Sequence[float], trigger: Trigger) -> list[float] | None:
    """The first so many values in a row of which each breaks the budget."""
    for start in range(len(values) - trigger.samples + 1):
        window = list(values[start : start + trigger.samples])
        if all(value > trigger.value for value in window):
            return window
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
