# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs from the baseline, since when, and what that amounts to. Pure.

A difference is one fact, of one target, that is not as it was in the run that was signed off; or one finding that does
not hold any more. What was not seen, then or now, is told apart from what is as it was: it is never "no drift".

Checklist rows C16 (in part), D6, D10.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from typing import Any

from .journal import canonical, iso, plain
from .verdict import Finding, Status, Verdict

Data = Mapping[str, Any]
Subject = tuple[str, str]

NEW, KNOWN, FIXED = "new", "known", "fixed"
NO_DRIFT, DRIFT, CONTRACT_BROKEN, COULD_NOT_LOOK = "no-drift", "drift", "contract-broken", "could-not-look"

# The subject under which the comparison itself is judged, so that a gate misses it when nothing was compared.
COMPONENT, SUBJECT = "drift", "baseline"
PREFIX = "drift."
NOT_THERE = "not there"

# Where a check and a fact are about the same thing under two names, it is told once.
_SAME_THING = {
    ("vault", "key_shares"): "seal.shares",
    ("vault", "key_threshold"): "seal.threshold",
    ("redis", "aof.enabled"): "config.appendonly",
}


class DriftError(ValueError):
    """An ignore that cannot be read: the inventory is wrong."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that is not as it was signed off. ``None`` in ``baseline`` or ``observed``: it was or is not there."""

    component: str
    subject: str
    key: str
    kind: str = "drift"  # drift | contract
    state: str = NEW
    since: str | None = None
    expected: Any = None
    baseline: Any = None
    observed: Any = None
    owner: str | None = None
    ignored: Data | None = None

    @property
    def place(self) -> tuple[str, str, str]:
        """Where it is, whatever is observed there."""
        return (self.component, self.subject, self.key)

    def to_dict(self) -> dict[str, Any]:
        """The difference as plain data."""
        return dict(plain(asdict(self)))


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """A part of a target of which nothing can be said; the part ``""`` is all of it."""

    component: str
    subject: str
    part: str
    cause: str

    def covers(self, place: tuple[str, str, str]) -> bool:
        """Whether what is at this place may be there or not, for all we know."""
        return (self.component, self.subject) == place[:2] and _within(place[2], self.part)


def _within(key: str, part: str) -> bool:
    return not part or key == part or key.startswith((f"{part}.", f"{part}/"))


# --- facts ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Side:
    facts: Data
    unseen: Data
    address: str


def _sides(observations: Iterable[Data]) -> dict[Subject, _Side]:
    """By target; what was observed last counts."""
    return {
        (str(each["component"]), str(each["subject"])): _Side(
            facts={fact["key"]: fact["value"] for fact in each["facts"]},
            unseen={gap["part"]: gap["cause"] for gap in each["unseen"]},
            address=str(each["address"]),
        )
        for each in observations
    }


def compared(baseline: Iterable[Data], observed: Iterable[Data]) -> tuple[list[Difference], list[Unseen]]:
    """Every fact that differs between two sets of observations, and every part that one of them has not seen."""
    before, now = _sides(baseline), _sides(observed)
    differences: list[Difference] = []
    unseen: list[Unseen] = []
    for component, subject in sorted({*before, *now}):
        name: dict[str, Any] = {"component": component, "subject": subject}
        old, new = before.get((component, subject)), now.get((component, subject))
        if new is None:
            cause = "it was part of the baseline, and nothing looked at it: is it still in the inventory?"
            unseen.append(Unseen(**name, part="", cause=cause))
        elif old is None:
            told = f"a target of which the baseline knows nothing, with {len(new.facts)} facts"
            differences.append(Difference(**name, key="target", observed=told))
        else:
            gaps = [Unseen(**name, part=part, cause=cause) for part, cause in _gaps(old, new).items()]
            unseen += gaps
            found = [Difference(**name, **each) for each in _folded(old.facts, new.facts)]
            differences += [each for each in found if not any(gap.covers(each.place) for gap in gaps)]
    return differences, unseen


def _gaps(old: _Side, new: _Side) -> dict[str, str]:
    lacking = {part: f"the baseline has not seen it: {cause}" for part, cause in old.unseen.items()}
    return lacking | {part: str(cause) for part, cause in new.unseen.items()}


def _folded(old: Data, new: Data) -> Iterator[dict[str, Any]]:
    """Each key that differs, without what follows from another one: the columns of a dropped table, for example."""
    keys = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    gone_or_come = {key for key in keys if key not in old or key not in new}
    moved = _moved(old.get("place"), new.get("place"))
    for key in keys:
        parent = key.partition("/")[0]
        if parent != key and parent in gone_or_come and not key.startswith("file."):
            continue
        if key != "place" and (moved == "all" or (moved == "files" and key.startswith(("file.", "folder.")))):
            continue
        before, now = _narrowed(old.get(key), new.get(key))
        yield {"key": key, "baseline": before, "observed": now}


def _moved(old: Any, new: Any) -> str | None:
    """What a file or folder that came, went, or is another one now explains: everything, or the files below it."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return "files" if old.get("leads_to") != new.get("leads_to") else None
    return "all" if old != new else None


def _narrowed(old: Any, new: Any) -> tuple[Any, Any]:
    """Of two dictionaries, what differs."""
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return old, new
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    return {name: old.get(name) for name in names}, {name: new.get(name) for name in names}


# --- the contract -----------------------------------------------------------------------------------------------------


def broken_contract(decision: Data, baseline_verdicts: Iterable[Data]) -> list[Difference]:
    """The findings that do not hold, waived ones too, each with what was observed when the baseline was made."""
    before = {
        (verdict["component"], verdict["subject"], finding["check"]): finding.get("observed")
        for verdict in baseline_verdicts
        for finding in verdict.get("findings") or ()
    }
    broken = [(blocker, None) for blocker in decision["blocking"] if blocker["status"] == "fail"]
    broken += [(waived, waived["waiver"]) for waived in decision["waived"] if waived["status"] == "fail"]
    return [
        Difference(
            component=blocker["component"], subject=blocker["subject"], key=blocker["check"], kind="contract",
            expected=blocker.get("expected"), observed=blocker.get("observed"), ignored=waiver,
            baseline=before.get((blocker["component"], blocker["subject"], blocker["check"])),
        )
        for blocker, waiver in broken
    ]  # fmt: skip


def told_once(contract: Sequence[Difference], facts: Sequence[Difference]) -> list[Difference]:
    """Both, without the facts that a broken expectation tells already."""
    told = {(each.component, each.subject, _fact_of(each)) for each in contract}
    return [*contract, *(each for each in facts if each.place not in told)]


def _fact_of(difference: Difference) -> str:
    component, check = difference.component, difference.key
    if component == "vault" and check.startswith("kv."):
        return f"mount.{check.removeprefix('kv.')}"
    return _SAME_THING.get((component, check), check)


# --- since when -------------------------------------------------------------------------------------------------------


def dated(
    differences: Iterable[Difference], unseen: Sequence[Unseen], previous: Data | None, *, now: datetime
) -> tuple[list[Difference], list[Difference], list[Difference]]:
    """The differences as new or known, those that are fixed, and those that could not be looked at again.

    ``previous`` is the ``drift`` record of the run before, on the same baseline. One that shows another value than
    before is new.
    """
    before = {each.place: each for each in _open(previous)}
    current = []
    for each in differences:
        old = before.get(each.place)
        same = old is not None and canonical(plain(old.observed)) == canonical(plain(each.observed))
        current.append(replace(each, state=KNOWN, since=old.since) if old and same else replace(each, since=iso(now)))
    places = {each.place for each in current}
    gone = [each for place, each in before.items() if place not in places]
    carried = [each for each in gone if any(gap.covers(each.place) for gap in unseen)]
    fixed = [replace(each, state=FIXED) for each in gone if each not in carried]
    return current, fixed, carried


def _open(previous: Data | None) -> Iterator[Difference]:
    known = set(Difference.__dataclass_fields__)
    for each in [*previous["differences"], *previous["carried"]] if previous else ():
        if each["state"] != FIXED:
            yield Difference(**{key: value for key, value in each.items() if key in known})


# --- what is ignored, and who should look -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Ignore:
    """A difference that somebody accepts for a time. Key, component and subject are patterns (``config.*``)."""

    key: str
    reason: str
    owner: str
    expires: datetime
    component: str = "*"
    subject: str = "*"

    @classmethod
    def read(cls, given: Any) -> Ignore:
        """From the inventory; raises ``DriftError`` for one that is not whole."""
        fields: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {}
        lacking = [name for name in ("key", "reason", "owner", "expires") if not str(fields.get(name) or "").strip()]
        unknown = sorted(set(fields) - set(cls.__dataclass_fields__))
        if lacking or unknown:
            said = [f"it lacks {', '.join(lacking)}"] * bool(lacking)
            said += [f"it has no field {', '.join(unknown)}"] * bool(unknown)
            raise DriftError(f"an entry of drift_ignores is wrong ({fields.get('key') or given!r}): {'; '.join(said)}")
        texts: dict[str, Any] = {name: str(value) for name, value in fields.items()}
        return cls(**texts | {"expires": _moment(fields["expires"])})

    def matches(self, difference: Difference) -> bool:
        """Whether it is about this difference."""
        patterns = (self.component, self.subject, self.key)
        return all(fnmatchcase(value, pattern) for value, pattern in zip(difference.place, patterns, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """The ignore as plain data."""
        return asdict(self) | {"expires": iso(self.expires)}


def _moment(value: Any) -> datetime:
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise DriftError(f"expires is {value!r}, not a UTC time such as 2026-01-31T12:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def with_ignores(differences: Iterable[Difference], ignores: Sequence[Ignore], *, now: datetime) -> list[Difference]:
    """Those that are ignored say by what. A broken expectation is not ignored: that takes a waiver."""
    in_force = [ignore for ignore in ignores if ignore.expires > now]
    return [
        replace(each, ignored=by.to_dict())
        if each.kind == "drift" and (by := next((ignore for ignore in in_force if ignore.matches(each)), None))
        else each
        for each in differences
    ]


def with_owners(differences: Iterable[Difference], owners: Mapping[str, str]) -> list[Difference]:
    """Each with who should look: the owner of its component, or of everything (``*``)."""
    return [replace(each, owner=owners.get(each.component) or owners.get("*")) for each in differences]


# --- what it comes to -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that came of one look."""

    baseline: Data | None
    refused: str | None = None  # why there is no baseline
    previous: Data | None = None  # {run, time} of the drift run before
    running: str | None = None  # the run that changes the environment meanwhile
    missed: str | None = None  # what the schedule promised, and was not kept
    differences: Sequence[Difference] = ()
    fixed: Sequence[Difference] = ()
    carried: Sequence[Difference] = ()
    unseen: Sequence[Unseen] = ()
    expired: Sequence[Ignore] = ()
    observed: Sequence[Data] = field(default_factory=tuple)

    def to_dict(self) -> dict[str, Any]:
        """What is recorded, and what the next run starts from."""
        told = [*self.differences, *self.fixed]
        about = {"baseline": self.baseline, "refused": self.refused, "previous": self.previous}
        about |= {"running": self.running, "missed": self.missed}
        return dict(plain(about)) | {
            "differences": [each.to_dict() for each in told],
            "carried": [each.to_dict() for each in self.carried],
            "unseen": [asdict(each) for each in self.unseen],
            "expired": [each.to_dict() for each in self.expired],
            "facts": sum(len(each["facts"]) for each in self.observed),
            "counts": counts(each.to_dict() for each in told),
        }

    def verdicts(self) -> Iterator[Verdict]:
        """One on the comparison itself, and one on each target: what a gate decides from."""
        yield Verdict(component=COMPONENT, subject=SUBJECT, address=self._where(), took_ms=0, findings=self._about())
        addresses = {(str(each["component"]), str(each["subject"])): str(each["address"]) for each in self.observed}
        subjects = {*addresses, *((each.component, each.subject) for each in self.unseen)} if self.baseline else ()
        for component, subject in sorted(subjects):
            yield Verdict(
                component=component, subject=subject, address=addresses.get((component, subject), subject), took_ms=0,
                findings=tuple(self._findings(component, subject)),
            )  # fmt: skip

    def _where(self) -> str:
        return str(self.baseline["run"]) if self.baseline else "no run"

    def _about(self) -> tuple[Finding, ...]:
        signed = (
            Finding(check="signed", status=Status.PASS, expected="a signed-off run", observed=self._where())
            if self.baseline
            else Finding(check="signed", status=Status.ERROR, expected="a signed-off run", cause=self.refused,
                         remedy="sign a GO run off that has observations, such as a readiness run")
        )  # fmt: skip
        return (signed, *self._asides())

    def _asides(self) -> Iterator[Finding]:
        """What somebody should know, and what makes no drift."""
        if self.missed:
            yield _aside("schedule", "a run each time", self.missed, "see why it did not run: schedule.yml")
        for ignore in self.expired:
            ended = f"expired {iso(ignore.expires)}"
            yield _aside(f"ignore.{ignore.key}", "in force", ended, f"ask {ignore.owner}: {ignore.reason}")

    def _findings(self, component: str, subject: str) -> Iterator[Finding]:
        own = (component, subject)
        drifted = [each for each in self.differences if each.place[:2] == own and each.kind == "drift"]
        gaps = [gap for gap in self.unseen if (gap.component, gap.subject) == own]
        for each in drifted:
            yield Finding(
                check=f"{PREFIX}{each.key}", status=Status.FAIL, blocking=each.ignored is None,
                expected=shown(each.baseline), observed=shown(each.observed), cause=_when(each),
                remedy="put it back, or sign a run off in which it is as it shall be",
            )  # fmt: skip
        for gap in gaps:
            yield Finding(check=f"{PREFIX}{gap.part or 'seen'}", status=Status.ERROR, expected="to be seen",
                          cause=gap.cause, remedy="see that it can be looked at, then run again")  # fmt: skip
        if not drifted and not gaps:
            as_signed = "as it was signed off"
            yield Finding(check=f"{PREFIX}none", status=Status.PASS, expected=as_signed, observed=as_signed)


def _aside(check: str, expected: str, observed: str, remedy: str) -> Finding:
    return Finding(
        check=check, status=Status.FAIL, blocking=False, expected=expected, observed=observed, remedy=remedy
    )  # fmt: skip


def shown(value: Any) -> Any:
    """A side of a difference for people."""
    return NOT_THERE if value is None else value


def _when(each: Difference) -> str:
    told = f"{each.state} since {str(each.since)[:19]}Z"
    return f"{told}, ignored: {each.ignored['reason']}" if each.ignored else told


def counts(differences: Iterable[Data]) -> dict[str, int]:
    """How many are new, known, fixed, and how many of the new and known are ignored."""
    told = list(differences)
    open_ = [each for each in told if each["state"] != FIXED]
    return {state: sum(each["state"] == state and not each["ignored"] for each in told) for state in (NEW, KNOWN)} | {
        FIXED: sum(each["state"] == FIXED for each in told),
        "ignored": sum(bool(each["ignored"]) for each in open_),
    }


def outcome(blocking: Iterable[Data]) -> str:
    """One word for a run, the gravest that holds: what is known to be wrong, then what is not known, then drift."""
    kinds = {_kind_of(blocker) for blocker in blocking}
    return next((word for word in (CONTRACT_BROKEN, COULD_NOT_LOOK, DRIFT) if word in kinds), NO_DRIFT)


def _kind_of(blocker: Data) -> str:
    if str(blocker["check"]).startswith("waiver "):
        return CONTRACT_BROKEN
    if blocker["status"] != "fail":
        return COULD_NOT_LOOK
    return DRIFT if str(blocker["check"]).startswith(PREFIX) else CONTRACT_BROKEN


def missed_runs(previous: datetime | None, *, now: datetime, every_s: float) -> str | None:
    """What to say where runs are due every so many seconds, and the last one was more than one and a half times ago."""
    if previous is None or every_s <= 0:
        return None
    gap_s = (now - previous).total_seconds()
    if gap_s <= 1.5 * every_s:
        return None
    count = max(1, round(gap_s / every_s) - 1)
    return f"{count} missed: none between {iso(previous)[:19]}Z and {iso(now)[:19]}Z, due every {round(every_s)} s"
