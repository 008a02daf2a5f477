# SPDX-License-Identifier: GPL-3.0-or-later
"""Go or no-go, from the journal alone. What was not proven is refused.

``decide`` answers one gate, ``conclude`` the whole run. Both are pure: the same records give the same decision on any
machine at any time, which is what lets an auditor recompute it (``recomputed``).

Checklist rows A6 (one final declaration), D4 (release gate), D8 (all true, fail-closed).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from typing import Any

from .journal import iso, plain
from .triggers import GATE, QUIET_GATES, STEP, Fired, Refused, Trigger, evaluate, failed_step, read_triggers

GO, NO_GO = "go", "no-go"
# The gate by which a run goes back, and the one before which a share of the traffic is sampled.
GOING_BACK, SHARE = "going_back", "share"
STATUSES = frozenset({"pass", "fail", "error", "skipped"})

# No reason makes these acceptable: whoever cannot see the thing, or sees it sealed, has proven nothing about it.
UNWAIVABLE = ("reachable", "sealed", "initialized")

Subject = tuple[str, str]
Record = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Blocker:
    """One reason why the gate stays closed, or, where it is listed as advisory or waived, why it nearly did."""

    component: str
    subject: str
    check: str
    status: str  # fail | error | skipped | missing | failed | unreachable | invalid
    expected: Any = None
    observed: Any = None
    cause: str | None = None
    remedy: str | None = None
    address: str | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was decided, with everything it was decided from."""

    gate: str
    run: str
    decided_at: str
    verdict: str
    blocking: tuple[Blocker, ...]
    advisories: tuple[Blocker, ...] = ()
    waived: tuple[Mapping[str, Any], ...] = ()
    waivers: tuple[Mapping[str, Any], ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    expected: tuple[Subject, ...] = ()
    declared: tuple[Subject, ...] = ()
    unwaivable: tuple[str, ...] = ()
    triggers: tuple[Mapping[str, Any], ...] = ()
    fired: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The decision as plain data."""
        return dict(plain(asdict(self)))


# --- one gate ---------------------------------------------------------------------------------------------------------


def decide(
    records: Iterable[Record],
    *,
    gate: str,
    run: str,
    expected: Sequence[Subject],
    waivers: Sequence[Any] = (),
    now: datetime,
    unwaivable: Sequence[str] = (),
    declared: Sequence[Subject] = (),
    problems: Sequence[str] = (),
    refusal: str | None = None,
    triggers: Sequence[Any] = (),
) -> Decision:
    """Decide from the records written since this run's previous decision; their order does not matter.

    ``expected`` lists (component, subject): each must have been judged in that time, and every blocking finding passed
    or waived. ``problems`` are faults of the evidence itself (a broken chain): each of them refuses. A waiver covers
    failed, errored and skipped findings of one check, never a missing verdict, a failed task or an unreachable host.
    ``refusal`` is a reason to refuse that is known already: why a run goes back. Then nothing needs to be expected.
    ``declared`` lists the subjects of the whole run, where a gate expects only some: a waiver for one of the others
    waits for its gate. ``triggers`` are what makes the run go back (triggers.py): one that fires refuses, whether what
    fired it blocks, is waived, or neither. Raises ``TriggerError`` for a list that cannot be evaluated.
    """
    every = list(records)
    declared_triggers = read_triggers(triggers)
    scope = since_last_decision(every)
    verdicts = [_get(record, "data") for record in scope if _kind(record) == "verdict"]
    findings = [finding for verdict in verdicts for finding in _findings(verdict)]
    elsewhere = sorted({(str(c), str(s)) for c, s in declared} - {(str(c), str(s)) for c, s in expected})
    waiver_list = [_Waiver.read(waiver, now, (*UNWAIVABLE, *unwaivable)) for waiver in waivers]
    open_findings = [finding for finding in findings if finding.blocking and finding.blocker.status != "pass"]
    blocking = [
        *(_evidence_problem(problem) for problem in problems),
        *_foreign(scope, run),
        *_incidents(scope),
        *_refused(gate, refusal),
        *(() if refusal and not expected else _missing(verdicts, expected)),
        *(finding.blocker for finding in open_findings if not any(w.covers(finding.blocker) for w in waiver_list)),
        *(blocker for waiver in waiver_list for blocker in waiver.problems(findings, elsewhere)),
    ]
    fired = _fired(every, scope, declared_triggers, gate=gate)
    blocking += _triggered(fired)
    if gate not in QUIET_GATES:
        refused = Refused(gate=gate, reasons=[blocker.check for blocker in blocking]) if blocking else None
        fired += evaluate((), [trigger for trigger in declared_triggers if trigger.kind == GATE], refused=refused)
    return Decision(
        gate=gate,
        run=run,
        decided_at=iso(now),
        verdict=NO_GO if blocking else GO,
        blocking=tuple(sorted(set_like(blocking), key=_urgency)),
        advisories=tuple(f.blocker for f in findings if not f.blocking and f.blocker.status != "pass"),
        waived=tuple(_waived(open_findings, waiver_list)),
        waivers=tuple(waiver.shown(findings, elsewhere) for waiver in waiver_list),
        counts=_counts(verdicts, findings),
        expected=tuple(sorted({(str(component), str(subject)) for component, subject in expected})),
        declared=tuple(sorted({(str(component), str(subject)) for component, subject in declared})),
        unwaivable=tuple(unwaivable),
        triggers=tuple(dict(trigger) for trigger in triggers),
        fired=tuple(trigger.to_dict() for trigger in fired),
    )


def _fired(every: Sequence[Record], scope: Sequence[Record], triggers: Sequence[Trigger], *, gate: str) -> list[Fired]:
    """What fires before anything is decided. A run that goes back says so by the step that failed."""
    if gate == GOING_BACK:
        step = failed_step(every)
        return evaluate((), [trigger for trigger in triggers if trigger.kind == STEP], failed_step=step)
    if gate in QUIET_GATES:
        return []
    return evaluate(scope, [t for t in triggers if t.kind not in (GATE, STEP)], sampled=gate == SHARE)


def _triggered(fired: Sequence[Fired]) -> Iterator[Blocker]:
    """A trigger refuses by itself. One of a step that failed only names what has refused already."""
    for trigger in fired:
        if trigger.kind != STEP:
            yield Blocker(
                component="run", subject="triggers", check=f"trigger {trigger.trigger}",
                status="error" if trigger.error else "fail", expected=trigger.expected, observed=trigger.observed,
                cause=trigger.error or trigger.what, remedy="no waiver covers a trigger: mend what fired it",
            )  # fmt: skip


def since_last_decision(records: Sequence[Record]) -> list[Record]:
    """The records after the latest decision, by their number; a record without one is always looked at."""
    last = max((_seq(record) for record in records if _kind(record) == "decision"), default=0)
    return [record for record in records if _seq(record) > last or _seq(record) <= 0]


def set_like(blockers: Iterable[Blocker]) -> list[Blocker]:
    """Each blocker once; their values may be lists, so a set would not do."""
    return list({repr(blocker): blocker for blocker in blockers}.values())


@dataclass(frozen=True)
class _Finding:
    blocking: bool
    blocker: Blocker


def _findings(verdict: Any) -> Iterator[_Finding]:
    """What a verdict says, believing only what has exactly the one shape."""
    if problem := _malformed(verdict):
        component, subject = (str(_get(verdict, key) or "unknown") for key in ("component", "subject"))
        yield _Finding(
            True, Blocker(component=component, subject=subject, check="verdict", status="invalid", cause=problem)
        )
        return
    for finding in verdict["findings"]:
        sides = {key: finding.get(key) for key in ("expected", "observed", "cause", "remedy")}
        yield _Finding(
            finding["blocking"],
            Blocker(
                component=verdict["component"], subject=verdict["subject"], address=_get(verdict, "address"),
                check=finding["check"], status=finding["status"], **sides,
            ),
        )  # fmt: skip


def _malformed(verdict: Any) -> str | None:
    if not isinstance(verdict, Mapping):
        return f"a verdict must be a mapping, not {type(verdict).__name__}"
    if not all(isinstance(verdict.get(key), str) and verdict[key] for key in ("component", "subject")):
        return "a verdict must name its component and its subject"
    findings = verdict.get("findings")
    if not isinstance(findings, (list, tuple)) or not findings:
        return "the verdict holds no finding: nothing was looked at"
    if not all(map(_is_finding, findings)):
        return "a finding must name its check, have a known status, and say whether it is blocking"
    if verdict.get("ok") is not all(item["status"] == "pass" or not item["blocking"] for item in findings):
        return "the verdict contradicts its own findings"
    return None


def _is_finding(finding: Any) -> bool:
    return (
        isinstance(finding, Mapping)
        and isinstance(finding.get("check"), str)
        and bool(finding["check"])
        and isinstance(finding.get("status"), str)
        and finding["status"] in STATUSES
        and isinstance(finding.get("blocking"), bool)
    )


def _missing(verdicts: Sequence[Any], expected: Sequence[Subject]) -> Iterator[Blocker]:
    judged = {(verdict["component"], verdict["subject"]) for verdict in verdicts if not _malformed(verdict)}
    for component, subject in sorted({(str(c), str(s)) for c, s in expected} - judged):
        yield Blocker(
            component=component,
            subject=subject,
            check="judged",
            status="missing",
            expected="a verdict",
            cause=f"missing: {component}/{subject} was never judged",
            remedy=f"see why roles/{component}/tasks/verify.yml returned no verdict for {subject}, then run again",
        )
    if not expected:
        yield Blocker(
            component="run", subject="gate", check="expected", status="missing", expected="at least one subject",
            cause="nothing was expected of this gate: no component declares a target",
            remedy="list the components in run_components and their targets in <component>_targets",
        )  # fmt: skip


def _refused(gate: str, reason: str | None) -> Iterator[Blocker]:
    if reason:
        yield Blocker(
            component="run", subject="step", check=gate, status="failed", expected="success", cause=reason,
            remedy="mend what the cause names, then run again",
        )  # fmt: skip


def _foreign(scope: Iterable[Record], run: str) -> Iterator[Blocker]:
    for record in scope:
        if _get(record, "run") != run:
            yield _evidence_problem(f"record {_get(record, 'seq')} belongs to run {_get(record, 'run')}, not to {run}")


def _incidents(scope: Iterable[Record]) -> Iterator[Blocker]:
    """Failed tasks (rescued ones too), unreachable hosts, and faults of the evidence that were recorded."""
    for record in scope:
        kind, data = _kind(record), _get(record, "data")
        if kind == "broken":
            yield _evidence_problem(str(_get(data, "cause") or "the evidence broke"))
        elif kind in ("failure", "unreachable"):
            yield Blocker(
                component=str(_get(data, "role") or "playbook"),
                subject=str(_get(data, "host") or "unknown"),
                check=str(_get(data, "task") or "a task"),
                status="failed" if kind == "failure" else "unreachable",
                expected="success" if kind == "failure" else "an answer",
                cause=str(_get(data, "message") or "no reason was given"),
                remedy="mend what the message names, then run again",
            )


def _evidence_problem(cause: str) -> Blocker:
    return Blocker(
        component="run", subject="journal", check="evidence", status="invalid", expected="a whole, unbroken journal",
        cause=cause, remedy="keep the artifacts for the auditor, find out who or what interfered, and start a new run",
    )  # fmt: skip


def _counts(verdicts: Sequence[Any], findings: Sequence[_Finding]) -> dict[str, int]:
    statuses = Counter(finding.blocker.status for finding in findings)
    return {"verdicts": len(verdicts), "findings": len(findings)} | {name: statuses[name] for name in sorted(STATUSES)}


def _urgency(blocker: Blocker) -> tuple[int, str, str, str, str]:
    order = ("invalid", "unreachable", "failed", "fail", "error", "missing", "skipped")
    return (order.index(blocker.status), blocker.component, blocker.subject, blocker.check, repr(blocker))


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None


def _kind(record: Any) -> Any:
    return _get(record, "kind")


def _seq(record: Any) -> int:
    seq = _get(record, "seq")
    return seq if isinstance(seq, int) and not isinstance(seq, bool) else 0


# --- waivers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Waiver:
    given: Mapping[str, Any]
    problem: str | None

    @classmethod
    def read(cls, waiver: Any, now: datetime, unwaivable: Sequence[str]) -> _Waiver:
        if not isinstance(waiver, Mapping):
            return cls(given={"check": str(waiver)}, problem="a waiver must be a mapping")
        given = {
            str(key): iso(_moment(value) or now) if isinstance(value, date) else value for key, value in waiver.items()
        }
        return cls(given=given, problem=_waiver_problem(given, now, unwaivable))

    def matches(self, finding: Blocker) -> bool:
        return (finding.check, finding.subject) == (self.given.get("check"), self.given.get("subject")) and (
            self.given.get("component") in (None, finding.component)
        )

    def covers(self, finding: Blocker) -> bool:
        return self.problem is None and finding.status in STATUSES and self.matches(finding)

    def state(self, findings: Sequence[_Finding], elsewhere: Sequence[Subject]) -> str:
        """``applied``, ``not needed``, ``elsewhere`` (another gate's subject), or what is wrong with it."""
        if self.problem:
            return self.problem
        matched = [finding for finding in findings if self.matches(finding.blocker)]
        if matched:
            return "applied" if any(f.blocking and f.blocker.status != "pass" for f in matched) else "not needed"
        component = self.given.get("component")
        if any(subject == self.given.get("subject") and component in (None, name) for name, subject in elsewhere):
            return "elsewhere"
        return "unknown: it matches nothing that was judged"

    def problems(self, findings: Sequence[_Finding], elsewhere: Sequence[Subject]) -> Iterator[Blocker]:
        if (state := self.state(findings, elsewhere)) not in ("applied", "not needed", "elsewhere"):
            yield Blocker(
                component=str(self.given.get("component") or "run"),
                subject=str(self.given.get("subject") or "unknown"),
                check=f"waiver {self.given.get('check')}",
                status="invalid",
                expected="a waiver that is complete, in force and names a finding",
                observed=state,
                cause=f"the waiver is {state}" if state.startswith(("unknown", "expired")) else state,
                remedy="correct the entry in run_waivers, or take it out and mend what it covers",
            )

    def shown(self, findings: Sequence[_Finding], elsewhere: Sequence[Subject]) -> Mapping[str, Any]:
        return {**self.given, "state": self.state(findings, elsewhere)}


def _waiver_problem(given: Mapping[str, Any], now: datetime, unwaivable: Sequence[str]) -> str | None:
    needed = ("check", "subject", "reason", "owner", "ticket", "expires")
    if lacking := [key for key in needed if not isinstance(given.get(key), str) or not given[key].strip()]:
        return f"malformed: it lacks {', '.join(lacking)}"
    if unknown := sorted(set(given) - {*needed, "component"}):
        return f"malformed: it has no field {', '.join(unknown)}"
    expires = _moment(given["expires"])
    if expires is None:
        return f"malformed: expires is {given['expires']!r}, not a UTC time such as 2026-01-31T12:00:00Z"
    if expires <= now:
        return f"expired at {given['expires']}"
    if any(fnmatchcase(given["check"], pattern) for pattern in unwaivable):
        return f"not allowed: {given['check']} cannot be waived"
    return None


def _moment(value: Any) -> datetime | None:
    """A UTC moment from ISO 8601 with ``Z``, or from what YAML makes of a date (midnight UTC) or a timestamp."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.utcoffset() is not None and not moment.utcoffset() else None


def _waived(findings: Sequence[_Finding], waivers: Sequence[_Waiver]) -> Iterator[Mapping[str, Any]]:
    for finding in findings:
        for waiver in waivers:
            if waiver.covers(finding.blocker):
                yield {**asdict(finding.blocker), "waiver": dict(waiver.given)}
                break


# --- the whole run ----------------------------------------------------------------------------------------------------


def conclude(
    records: Iterable[Record],
    *,
    run: str,
    required_gates: Sequence[str],
    waivers: Sequence[Any] = (),
    now: datetime,
    problems: Sequence[str] = (),
) -> Decision:
    """The final go/no-go: every required gate decided, every decision go and still so when recomputed, nothing failed.

    Stricter than any gate: a task that failed counts even when it was rescued, and so does what was judged after the
    last gate. A waiver that no gate knew blocks.
    """
    every = sorted(records, key=_seq)
    gates = [record["data"] for record in every if _kind(record) == "decision"]
    tail = [record["data"] for record in since_last_decision(every) if _kind(record) == "verdict"] if gates else []
    blocking = [
        *(_evidence_problem(problem) for problem in problems),
        *_foreign(every, run),
        *_incidents(every),
        *(blocker for gate in gates for blocker in _gate_blockers(gate)),
        *(_evidence_problem(cause) for cause in _contradictions(every)),
        *(f.blocker for verdict in tail for f in _findings(verdict) if f.blocking and f.blocker.status != "pass"),
        *_unused_waivers(gates, waivers),
    ]
    # After a refusal, the gates that were never reached say nothing new; without one, they are the reason to refuse.
    blocking = blocking or list(_absent_gates(gates, required_gates))
    verdicts = [_get(record, "data") for record in every if _kind(record) == "verdict"]
    findings = [finding for verdict in verdicts for finding in _findings(verdict)]
    return Decision(
        gate="final",
        run=run,
        decided_at=iso(now),
        verdict=NO_GO if blocking else GO,
        blocking=tuple(sorted(set_like(blocking), key=_urgency)),
        advisories=tuple(set_like(f.blocker for f in findings if not f.blocking and f.blocker.status != "pass")),
        waived=tuple({repr(waived): waived for gate in gates for waived in gate.get("waived") or ()}.values()),
        waivers=tuple(_Waiver.read(waiver, now, ()).given for waiver in waivers),
        counts=_counts(verdicts, findings),
        expected=tuple(sorted({(str(c), str(s)) for gate in gates for c, s in gate.get("expected") or ()})),
    )


def _absent_gates(gates: Sequence[Mapping[str, Any]], required: Sequence[str]) -> Iterator[Blocker]:
    decided = {str(gate.get("gate")) for gate in gates}
    for name in dict.fromkeys(required or ("any",)):
        if name not in decided and (required or not gates):
            yield Blocker(
                component="run", subject="gates", check=f"gate {name}", status="missing", expected=GO,
                cause=f"missing: the gate {name} was never decided", remedy="see what ended the run before this gate",
            )  # fmt: skip


def _gate_blockers(gate: Mapping[str, Any]) -> Iterator[Blocker]:
    """What a recorded no-go blocked on; one that gives no reason still blocks."""
    if gate.get("verdict") == GO and not gate.get("blocking"):
        return
    known = set(Blocker.__dataclass_fields__)
    blockers = [Blocker(**{k: v for k, v in given.items() if k in known}) for given in gate.get("blocking") or ()]
    yield from blockers or [
        _evidence_problem(f"the gate {gate.get('gate')} was {gate.get('verdict')} without a reason")
    ]


def _contradictions(records: Sequence[Record]) -> Iterator[str]:
    for record in records:
        if _kind(record) == "decision" and record["data"].get("verdict") == GO:
            before = [other for other in records if 0 < _seq(other) < _seq(record)]
            if recomputed(before, record["data"]).verdict != GO:
                yield f"the gate {record['data'].get('gate')} was recorded as go, but the journal says no-go"


def recomputed(records: Iterable[Record], decision: Mapping[str, Any]) -> Decision:
    """The decision that the records before it give, from the inputs that were recorded with it."""
    waivers = [
        {key: value for key, value in waiver.items() if key != "state"} for waiver in decision.get("waivers") or ()
    ]
    return decide(
        records,
        gate=str(decision.get("gate")),
        run=str(decision.get("run")),
        expected=[(component, subject) for component, subject in decision.get("expected") or ()],
        waivers=waivers,
        now=_moment(decision.get("decided_at")) or datetime.max.replace(tzinfo=UTC),
        unwaivable=tuple(decision.get("unwaivable") or ()),
        declared=[(component, subject) for component, subject in decision.get("declared") or ()],
        triggers=decision.get("triggers") or (),
    )


def _unused_waivers(gates: Sequence[Mapping[str, Any]], waivers: Sequence[Any]) -> Iterator[Blocker]:
    """A waiver that every gate passed over as another's names a component that nobody looked at."""
    used = {_names(shown) for gate in gates for shown in gate.get("waivers") or () if shown.get("state") != "elsewhere"}
    for waiver in waivers:
        read = _Waiver.read(waiver, datetime.min.replace(tzinfo=UTC), ())
        if gates and _names(read.given) not in used:
            yield from _Waiver(given=read.given, problem="unknown: no gate looked at what it names").problems((), ())


def _names(waiver: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(waiver.get(key)) for key in ("check", "component", "subject"))
