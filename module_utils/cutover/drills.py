# SPDX-License-Identifier: GPL-3.0-or-later
"""Which drills are played where, what the catalogue says of them, and what came of each, from the journal alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .gate import GO, Record
from .masking import find_secrets
from .verdict import Finding, Status, Verdict

Drill = Mapping[str, Any]

BLAST_RADII = ("instance", "component", "environment")
# Everything that can be said of a drill, and whether it must be.
FIELDS = {
    "name": True, "about": True, "component": True, "blast_radius": True, "hurts": True, "hypothesis": True,
    "fault": False, "while_broken": False, "afterwards": False, "watched_s": False,
    "plays": False, "judged": False, "cutover": False, "undo": False, "harmless": False, "environments": False,
}  # fmt: skip
CATALOGUE = "list"
# How the undo of a kill says that it had nothing to do.
BY_ITSELF = "had started it again"


class DrillError(ValueError):
    """A drill that is declared wrongly, or that may not be played. The text is ready for a person."""


# --- choosing ---------------------------------------------------------------------------------------------------------


def chosen(
    declared: Sequence[Drill], wanted: str | Sequence[str], *, environment: str, allowed: Sequence[str]
) -> list[str]:
    """The names of the drills to play, in the order in which they are declared.

    Nobody named means every drill that may be played in ``environment``. Raises ``DrillError`` for a name that is
    unknown, for one that may not be played there, and when nothing is left to play.
    """
    refuse_wrong(declared)
    names = [drill["name"] for drill in declared]
    asked = [part.strip() for part in (wanted.split(",") if isinstance(wanted, str) else wanted)]
    asked = [name for name in asked if name]
    if unknown := [name for name in asked if name not in names]:
        raise DrillError(f"{', '.join(unknown)}: no such drill. Declared are: {', '.join(names)}")
    refused = {drill["name"]: against(drill, environment, allowed) for drill in declared}
    if reasons := [f"{name}: {refused[name]}" for name in asked if refused[name]]:
        raise DrillError("\n".join(reasons))
    picked = [name for name in names if (name in asked if asked else not refused[name])]
    if not picked:
        raise DrillError(f"none of {', '.join(names)} may be played in {environment}: {refused[names[0]]}")
    return picked


def refuse_wrong(declared: Sequence[Drill]) -> None:
    """Raise ``DrillError`` where the inventory cannot mean what it says."""
    if not declared:
        raise DrillError("drills_declared is empty: no drill is declared for this environment")
    wrong = [problem for drill in declared for problem in _wrong(drill)]
    names = [str(drill.get("name")) for drill in declared]
    wrong += [f"{name}: declared twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    if wrong:
        raise DrillError("drills_declared:\n" + "\n".join(wrong))


def _wrong(drill: Drill) -> Iterator[str]:
    name = drill.get("name") or "a drill without a name"
    if lacking := [field for field, needed in FIELDS.items() if needed and not drill.get(field)]:
        yield f"{name}: {', '.join(lacking)} is missing"
    if unknown := sorted(set(drill) - set(FIELDS)):
        yield f"{name}: there is no {', '.join(unknown)}"
    if not str(name).replace("_", "").replace("-", "").isalnum() or name == CATALOGUE:
        yield f"{name}: use letters, digits, - and _ in a name, and not the word {CATALOGUE}"
    if drill.get("blast_radius") not in (*BLAST_RADII, None):
        yield f"{name}: blast_radius is {drill['blast_radius']!r}, and none of {', '.join(BLAST_RADII)}"
    if sum(bool(drill.get(kind)) for kind in ("fault", "plays", "cutover")) != 1:
        yield f"{name}: declare either a fault, or what it plays, or a cutover"
    if drill.get("fault") and not (drill.get("while_broken") and drill.get("afterwards")):
        yield f"{name}: while_broken and afterwards are missing: a fault that nobody watches proves nothing"
    if drill.get("fault") and not drill["fault"].get("limit_s"):
        yield f"{name}: fault.limit_s is missing: after how many seconds is it undone, whatever happens?"
    if drill.get("plays") and not (drill.get("judged") and drill.get("undo")):
        yield f"{name}: judged and undo are missing: whose verdicts count, and what is left behind?"
    if drill.get("cutover") and drill.get("harmless"):
        yield f"{name}: a cutover moves what serves, and is never harmless"
    if find_secrets((drill.get("cutover") or {}).get("extra_vars") or {}):
        yield f"{name}: cutover.extra_vars holds a secret, and becomes part of a command line: declare it as a variable"
    if drill.get("cutover") and not (drill["cutover"].get("release_version") and drill["cutover"].get("expected")):
        yield f"{name}: cutover.release_version and cutover.expected are missing: to what, and what is to come of it?"


def against(drill: Drill, environment: str, allowed: Sequence[str]) -> str | None:
    """Why a drill may not be played in an environment; None when it may.

    Its own ``environments`` have the first word. Where drills are allowed, all are; elsewhere only harmless ones.
    """
    if drill.get("environments"):
        if environment in drill["environments"]:
            return None
        return f"it may be played in {', '.join(drill['environments'])}, and not in {environment}"
    if environment in allowed or drill.get("harmless"):
        return None
    return (
        f"it breaks something that serves ({drill['blast_radius']}: {drill['hurts']}), and {environment} is none of "
        f"drills_allowed_environments ({', '.join(allowed) or 'none'})"
    )


def catalogue(declared: Sequence[Drill], *, environment: str, allowed: Sequence[str]) -> list[str]:
    """For people: what each drill does, whom it can hurt, how it is undone, and whether it may be played."""
    refuse_wrong(declared)
    lines = [f"Drills of {environment}. Play one: ansible-playbook playbooks/drills.yml -e drills=NAME"]
    for drill in declared:
        refused = against(drill, environment, allowed)
        radius = "nothing that serves" if drill.get("harmless") else drill["blast_radius"]
        lines += [
            "",
            f"{drill['name']}: {drill['about']}",
            f"  can hurt   {radius}: {drill['hurts']}",
            f"  undone     {undone_by(drill)}",
            f"  holds      {', '.join(drill['hypothesis'])}, before and after",
            f"  here       {refused or 'may be played'}",
        ]
    return lines


def undone_by(drill: Drill) -> str:
    """How a drill is undone, in words."""
    if drill.get("undo"):
        return str(drill["undo"])
    if drill.get("cutover"):
        return "gone back from by a process of its own, by itself or with rollback.yml"
    fault = drill["fault"]
    how = {
        "pause": "the processes go on (SIGCONT)",
        "stop": "the process manager starts it again",
        "kill": "the process manager starts it again by itself",
        "redis_pause": "the server's own time limit",
        "vault_seal": "unsealed with its keys",
        "instance": "the extra instance is ended",
    }.get(fault["kind"]) or " ".join(fault.get("undo_argv") or [fault["kind"]])
    return (
        f"{how}, after {fault['limit_s']:g} s at the latest by a process of its own on {fault.get('host', 'localhost')}"
    )


# --- what came of them ------------------------------------------------------------------------------------------------


def gate_name(drill: str, phase: str) -> str:
    """The gate that decides a phase of a drill: before, broken, played or after."""
    return f"{drill}.{phase}"


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """When a drill broke something, and what came of it; UTC, None for what never happened."""

    broken_at: str | None = None
    noticed_at: str | None = None
    undone_at: str | None = None
    undone_by: str | None = None
    well_at: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The times, and the seconds between them."""
        return {
            "broken_at": self.broken_at, "noticed_at": self.noticed_at, "undone_at": self.undone_at,
            "undone_by": self.undone_by, "well_at": self.well_at,
            "noticed_after_s": _seconds(self.broken_at, self.noticed_at),
            "broken_for_s": _seconds(self.broken_at, self.undone_at),
            "well_after_s": _seconds(self.undone_at, self.well_at),
        }  # fmt: skip

    def said(self) -> str:
        """The times in one line."""
        times = self.to_dict()
        parts = (("noticed after", "noticed_after_s"), ("undone after", "broken_for_s"), ("well", "well_after_s"))
        words = [f"{word} {times[key]:.1f} s" for word, key in parts if times[key] is not None]
        return ", ".join(words) + (" later" if times["well_after_s"] is not None else "")


def _seconds(start: str | None, end: str | None) -> float | None:
    if not start or not end:
        return None
    # What was seen before it was noted down by another process was seen at once.
    return round(max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()), 2)


def outcomes(records: Sequence[Record], drills: Sequence[Drill], *, rehearsal: bool = False) -> list[Verdict]:
    """One verdict a drill, from what this run has recorded; a drill that was never begun is not passed over.

    A ``rehearsal`` breaks nothing: all that it tells is whether the drill could begin.
    """
    return [_outcome(records, drill, rehearsal=rehearsal) for drill in drills]


def _outcome(records: Sequence[Record], drill: Drill, *, rehearsal: bool) -> Verdict:
    name = str(drill["name"])
    told = timeline(records, name)
    findings = [
        _decided(records, name, "before", "hypothesis", "mend what it names first: a drill begins with all well"),
        *(() if rehearsal else _came_about(records, drill, told)),
    ]
    recorded = {"about": drill["about"], "timeline": told.to_dict(), "rehearsal": rehearsal}
    recorded |= _moved(records, name)
    return Verdict(
        component="drills", subject=name, address=str(drill["component"]), took_ms=_took_ms(records, name),
        findings=tuple(_with_causes(findings)), recorded=recorded,
    )  # fmt: skip


def _came_about(records: Sequence[Record], drill: Drill, told: Timeline) -> list[Finding]:
    """What follows a beginning: it broke, was noticed and undone, or what it plays went well; and all is well again."""
    name, findings = str(drill["name"]), []
    if drill.get("fault"):
        fault = _fault(records, name)
        findings += [
            _happened("broken", fault, "broken_at", told.broken_at),
            _decided(records, name, "broken", "noticed", "read the verdicts on what was watched while it was broken"),
            _happened("undone", fault, "undone_at", _undone(fault)),
        ]
        if drill["fault"]["kind"] == "kill":
            findings.append(_restarted(fault))
        if all((target.get("expected") or {}).get("stays") for target in drill["while_broken"]):
            findings.append(_watched_in_time(records, name, told.broken_at))
    else:
        findings.append(_decided(records, name, "played", "played", "read the verdicts that it came to"))
    findings.append(
        _decided(records, name, "after", "well", "read the verdicts on what was watched afterwards, and mend it")
    )
    return findings


def _with_causes(findings: Iterable[Finding]) -> Iterator[Finding]:
    """What was never come to, because something before it was not right, follows from that."""
    first: str | None = None
    for finding in findings:
        if first and finding.status is Status.ERROR:
            yield Finding(check=finding.check, status=Status.SKIPPED, expected=finding.expected, cause=first)
        else:
            yield finding
            first = first or (None if finding.ok else finding.check)


def _decided(records: Sequence[Record], drill: str, phase: str, check: str, remedy: str) -> Finding:
    decisions = [record["data"] for record in records if record["kind"] == "decision"]
    verdicts = [each["verdict"] for each in decisions if each.get("gate") == gate_name(drill, phase)]
    if not verdicts:
        cause = "this was never decided: see what ended the drill before"
        return Finding(check=check, status=Status.ERROR, expected=GO, cause=cause, remedy=remedy)
    status = Status.PASS if verdicts[-1] == GO else Status.FAIL
    return Finding(
        check=check, status=status, expected=GO, observed=verdicts[-1], remedy=None if status is Status.PASS else remedy
    )


def _happened(check: str, fault: Mapping[str, Any], moment: str, observed: str | None) -> Finding:
    if fault.get(moment):
        return Finding(check=check, status=Status.PASS, expected=True, observed=observed)
    cause = fault.get("failure") or "nothing tells that this came about"
    return Finding(
        check=check, status=Status.ERROR, expected=True, cause=cause, remedy="see the state of the fault on its host"
    )


def _undone(fault: Mapping[str, Any]) -> str:
    return f"{fault.get('undone_at')}, by {fault.get('undone_by')}: {fault.get('undone_how')}"


def _restarted(fault: Mapping[str, Any]) -> Finding:
    """What was killed must have been started again by whoever manages it, and not by the undo."""
    sides: dict[str, Any] = {"check": "restarted", "expected": "by its manager", "observed": fault.get("undone_how")}
    if not fault.get("undone_how"):
        return Finding(**sides, status=Status.ERROR, cause="nothing tells that it was started again")
    status = Status.PASS if str(fault["undone_how"]).endswith(BY_ITSELF) else Status.FAIL
    return Finding(**sides, status=status, remedy="have its manager restart it: autorestart, or Restart=always")


def _watched_in_time(records: Sequence[Record], drill: str, broken_at: str | None) -> Finding:
    """Where nothing may change at all, it has to be watched from before it broke."""
    began = [str(seen["began_at"]) for seen in _watched(records, drill, "broken")]
    sides: dict[str, Any] = {
        "check": "watched",
        "expected": f"from before {broken_at}",
        "observed": max(began, default=None),
    }
    if not began or not broken_at:
        return Finding(**sides, status=Status.ERROR, cause="nobody watched when it broke")
    status = Status.PASS if max(began) < broken_at else Status.FAIL
    return Finding(**sides, status=status, remedy="give the watch more time to begin: drills_lead_s")


def timeline(records: Sequence[Record], drill: str) -> Timeline:
    """When what of a drill happened, as far as this run's records tell."""
    fault = _fault(records, drill)
    return Timeline(
        broken_at=fault.get("broken_at"),
        noticed_at=_became(records, drill, "broken"),
        undone_at=fault.get("undone_at"),
        undone_by=fault.get("undone_by"),
        well_at=_became(records, drill, "after"),
    )


def _fault(records: Sequence[Record], drill: str) -> Mapping[str, Any]:
    told = [record["data"] for record in records if record["kind"] == "fault" and record["data"].get("drill") == drill]
    return told[-1] if told else {}


def _became(records: Sequence[Record], drill: str, phase: str) -> str | None:
    """When the last of the watched endpoints had become what it had to; those that only stay so do not count."""
    moments = [seen["became_at"] for seen in _watched(records, drill, phase, "becomes")]
    return max(moments) if moments and all(moments) else None


def _watched(records: Sequence[Record], drill: str, phase: str, check: str | None = None) -> list[Mapping[str, Any]]:
    return [
        record["data"]["recorded"]
        for record in records
        if record["kind"] == "verdict"
        and str(record["data"].get("subject")).startswith(f"{drill}.{phase}.")
        and record["data"].get("recorded")
        and (check is None or any(finding["check"] == check for finding in record["data"]["findings"]))
    ]


def _took_ms(records: Sequence[Record], drill: str) -> int:
    """From the first record of a drill to its last."""
    times = [
        datetime.fromisoformat(str(record["time"]))
        for record in records
        if (record["kind"] == "decision" and str(record["data"].get("gate")).startswith(f"{drill}."))
        or (record["kind"] in ("fault", "drill") and record["data"].get("drill") == drill)
    ]
    return round((max(times) - min(times)).total_seconds() * 1000) if times else 0


def _moved(records: Sequence[Record], drill: str) -> Mapping[str, Any]:
    """What was recorded of the cutover that a drill has made."""
    told = [
        record["data"].get("recorded") or {}
        for record in records
        if record["kind"] == "verdict" and record["data"].get("subject") == f"{drill}.cutover"
    ]
    return told[-1] if told else {}


def said(verdicts: Iterable[Verdict]) -> list[str]:
    """A line for each drill, for the end of a playbook."""
    return [_line(verdict) for verdict in verdicts]


def _line(verdict: Verdict) -> str:
    times = dict((verdict.recorded or {}).get("timeline") or {})
    told = Timeline(**{key: times.get(key) for key in Timeline.__dataclass_fields__}).said()
    back_s = (verdict.recorded or {}).get("back_s")
    told = told or (f"went back in {back_s:.1f} s" if back_s is not None else "")
    wrong = [finding.check for finding in verdict.findings if not finding.ok and finding.status is not Status.SKIPPED]
    passed = "could begin; nothing was broken" if (verdict.recorded or {}).get("rehearsal") else "passed"
    word = passed if verdict.ok else f"NOT PASSED ({', '.join(wrong)})"
    return f"{verdict.subject}: {word}" + (f": {told}" if told else "")


# --- what is left of earlier ones -------------------------------------------------------------------------------------


def left_open(asked: Sequence[Mapping[str, Any]], told: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The drills that did not come to their end: as journals tell, and as the hosts of faults do.

    ``asked`` are the answers of hosts, each ``{"item": host, "faults": [...]}``; ``told`` is what run_open found.
    """
    known = {fault["id"]: {**fault, "host": answer["item"]} for answer in asked for fault in answer.get("faults") or ()}
    left = [{**_about(data, known.get(data["fault"])), "fault": data["fault"], "host": data["host"]} for data in told]
    named = {one["fault"] for one in left}
    return left + [
        {**_about(fault, fault), "fault": name, "host": fault["host"]}
        for name, fault in known.items()
        if fault.get("undone_at") is None and name not in named
    ]


def _about(data: Mapping[str, Any], fault: Mapping[str, Any] | None) -> dict[str, Any]:
    run = f" of run {data['run']}" if data.get("run") else ""
    begun = f"The drill {data['drill']}{run} was begun, and nobody has seen that all is well again: "
    if fault is None:
        state = "its host knows of nothing that is broken."
    elif fault.get("undone_at"):
        state = f"{fault['what']}, it said, undone at {fault['undone_at']} by {fault['undone_by']}."
    else:
        state = f"{fault['what']} since {fault.get('broken_at')}, and is not undone yet."
    return {"drill": data["drill"], "said": begun + state}
