# SPDX-License-Identifier: GPL-3.0-or-later
"""Can we still go back, to what, how, and how long does it take (checklist rows C21, D9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .checks import CannotObserve, Check, Known, known

# What going back does with the database, and what it needs for that.
POLICIES = ("keep", "downgrade", "restore", "none")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a host that serves has of its release.

    ``present``: the release is there. ``note``: the SHA-256 of the archive that it came from, as noted on the host;
    ``archive`` is that of the archive there is, ``None`` where nobody knows it. ``start`` says of each thing that is
    needed to start it how it is: ``ready``, or what is wrong. ``environment``: the file in force is there.
    """

    host: str
    present: bool
    note: str | None = None
    archive: str | None = None
    start: Mapping[str, str] = field(default_factory=dict)
    environment: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What going back is to do with the database, and what there is to do it with.

    ``backed_up`` and ``restorable`` are names of databases. ``acknowledged``: somebody has said by name that there is
    no way back from the migration.
    """

    name: str
    backed_up: Sequence[str] = ()
    restorable: Sequence[str] = ()
    acknowledged: bool = False

    @property
    def lacks(self) -> str:
        """What keeps it from being a way back; empty when nothing does."""
        if self.name not in POLICIES:
            return f"{self.name} is none of {', '.join(POLICIES)}"
        if self.name == "none" and not self.acknowledged:
            return "declared to have no way back"
        if self.name == "restore" and not self.restorable:
            return "migrations_restore_targets names no database"
        if self.name == "restore" and (without := sorted({*self.restorable} - {*self.backed_up})):
            return f"no backup is taken of {', '.join(without)}"
        return ""


@dataclass(frozen=True, kw_only=True)
class Past:
    """Something that the evidence tells of: how long ago, in seconds, and what it was."""

    age_s: float
    took_s: float | None = None
    what: str = ""
    run: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, without what is not known."""
        facts = {"age_s": self.age_s, "took_s": self.took_s, "what": self.what, "run": self.run}
        return {key: value for key, value in facts.items() if value not in (None, "")}


@dataclass(frozen=True, kw_only=True)
class WayBack:
    """Everything that the way back rests on. ``backups`` are the newest ones by the name of what was backed up."""

    release: str
    releases: Sequence[str]
    hosts: Sequence[Known[Kept]]
    policy: Policy | None
    backups: Mapping[str, Known[Past]]
    restore: Known[Past]
    rollback: Known[Past]

    def to_dict(self) -> dict[str, Any]:
        """What evidence keeps of it: to which release, how, from which backup, and how long the last time took."""
        told = {"restore": self.restore, "rollback": self.rollback}
        return {
            "release": self.release,
            "hosts": [kept.host for kept in self.hosts if isinstance(kept, Kept)],
            "policy": self.policy.name if self.policy else None,
            "backups": {name: _told(past) for name, past in self.backups.items()},
            **{name: _told(past) for name, past in told.items()},
        }


def _told(past: Known[Past]) -> dict[str, Any] | str:
    return str(past) if isinstance(past, CannotObserve) else past.to_dict()


WayBackCheck = Check[WayBack]


def way_back_checks(expected: Mapping[str, Any]) -> Iterator[WayBackCheck]:
    """Every check that the expectation implies. That the release is known, there and startable is always asked."""
    yield Check(
        name="release.listed",
        expected="one of the releases there are",
        look=lambda seen: {"release": seen.release, "listed": seen.release in seen.releases},
        holds=lambda found: found["listed"],
        remedy="put the archive of the release that serves where the others are: a host that is lost is built from it",
    )
    yield Check(
        name="release.present",
        expected="on every host that serves",
        look=lambda seen: {kept.host: kept.present for kept in _hosts(seen)},
        holds=lambda found: all(found.values()),
        remedy="see what took the release away from the host, and put it back there before anything is moved",
    )
    if expected.get("note"):
        yield from _noted()
    yield Check(
        name="release.startable",
        expected="everything that starts it is ready, on every host that serves",
        look=_start,
        holds=lambda found: all(state == "ready" for states in found.values() for state in states.values()),
        needs="release.present",
        remedy="put back what is missing: the release runs, and could not be started again",
    )
    if expected.get("environment"):
        yield Check(
            name="environment.present",
            expected="on every host that serves",
            look=lambda seen: {kept.host: kept.environment for kept in _hosts(seen)},
            holds=lambda found: all(value is True for value in found.values()),
            remedy="put the environment file back that the link names: without it, nothing starts again",
        )
    if expected.get("policy"):
        yield Check(
            name="policy",
            expected="a way back for the database, or its lack acknowledged",
            look=_policy,
            holds=lambda found: not found["lacks"],
            remedy="declare another policy for this release in migrations_policies, or what this one needs; or "
            """acknowledge that there is no way back: -e '{"run_acknowledged_steps": ["migrate"]}'""",
        )
    yield from _in_time(expected)


def _noted() -> Iterator[WayBackCheck]:
    yield Check(
        name="release.note",
        expected="which archive it came from, on every host that serves",
        look=lambda seen: {kept.host: _note(kept) for kept in _hosts(seen)},
        holds=lambda found: all(note == "as it was built" for note in found.values()),
        needs="release.present",
        remedy="see which archive it came from, and note its SHA-256 as .archive.sha256 in the release's directory",
    )


def _in_time(expected: Mapping[str, Any]) -> Iterator[WayBackCheck]:
    """What is judged by age and duration, in seconds, where a most is declared."""
    if "max_backup_age_s" in expected:
        most = expected["max_backup_age_s"]
        yield Check(
            name="backup.age_s",
            expected=f"<= {most}",
            look=lambda seen: {name: known(past).age_s for name, past in _backups(seen).items()},
            holds=lambda ages: all(age <= most for age in ages.values()),
            remedy="back up, and see why it was not done in time",
        )
    for name, option, look, remedy in (
        ("restore.age_s", "max_restore_age_s", _restore_age, "bring the newest backup back by restore_check in a run"),
        ("rollback.age_s", "max_rollback_age_s", _rollback_age, "rehearse going back: cut over, and play rollback.yml"),
        ("rollback.took_s", "max_rollback_s", _rollback_took, "rehearse going back, and see what takes so long"),
    ):
        if option in expected:
            yield _at_most(name, expected[option], look, remedy)


def _at_most(name: str, most: float, look: Any, remedy: str) -> WayBackCheck:
    return Check(name=name, expected=f"<= {most}", look=look, holds=lambda seen: seen <= most, remedy=remedy)


def _hosts(seen: WayBack) -> list[Kept]:
    if not seen.hosts:
        raise CannotObserve("no host was looked at")
    return [known(kept) for kept in seen.hosts]


def _note(kept: Kept) -> str:
    if not kept.note:
        return "not noted"
    if kept.archive is None:
        return "no archive to compare it with"
    return "as it was built" if kept.note == kept.archive else "of another archive"


def _start(seen: WayBack) -> dict[str, dict[str, str]]:
    hosts = _hosts(seen)
    if silent := [kept.host for kept in hosts if not kept.start]:
        raise CannotObserve(
            f"{', '.join(silent)}: nothing says what starts the release. Declare release_start_files, or with the "
            "driver command the host's release_startable_argv"
        )
    return {kept.host: dict(kept.start) for kept in hosts}


def _policy(seen: WayBack) -> dict[str, str]:
    if seen.policy is None:
        raise CannotObserve("no policy was told")
    return {"policy": seen.policy.name, "lacks": seen.policy.lacks}


def _backups(seen: WayBack) -> Mapping[str, Known[Past]]:
    if not seen.backups:
        raise CannotObserve("nothing is declared to be backed up")
    return seen.backups


def _restore_age(seen: WayBack) -> float:
    return known(seen.restore).age_s


def _rollback_age(seen: WayBack) -> float:
    return known(seen.rollback).age_s


def _rollback_took(seen: WayBack) -> float:
    took_s = known(seen.rollback).took_s
    if took_s is None:
        raise CannotObserve("its evidence does not tell how long it took")
    return took_s
