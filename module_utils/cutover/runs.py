# SPDX-License-Identifier: GPL-3.0-or-later
"""The runs of an environment as their evidence tells them: what they began, what they found, how they ended.

A run that changes something says so step by step, each before it begins, and what it found, each before it is changed.
So whoever comes after a killed controller knows how far it came and where the way back leads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .gate import GO
from .journal import Record

BEGUN, DONE, FAILED, RECOVERED = "begun", "done", "failed", "recovered"
GOING_BACK, BACK = "going_back", "back"
# The step that stands for the whole way back.
GO_BACK = "go_back"

# What may differ between a run and the one that resumes it: it says how to go on, and nothing about the environment.
CONTROL_VARIABLES = frozenset({"resume", "run_resume", "run_lock_break", "run_set_aside", "run_operator", "run_drill"})


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """One run, as its directory tells it. ``alive`` = somebody still writes it; ``problem`` = why not to believe it."""

    id: str
    directory: str
    verb: str
    manifest: Mapping[str, Any] = field(default_factory=dict)
    records: Sequence[Record] = ()
    verdict: str | None = None
    alive: bool = False
    problem: str | None = None

    @property
    def opened_at(self) -> str:
        """UTC; for a run without a manifest, from its id."""
        stamp = f"{self.id[:4]}-{self.id[4:6]}-{self.id[6:8]}T{self.id[9:11]}:{self.id[11:13]}:{self.id[13:15]}Z"
        return str(self.manifest.get("opened_at") or stamp)

    @property
    def steps(self) -> dict[str, str]:
        """Each step that was begun, in that order, and how far it came: begun, done, failed. A rehearsal takes none."""
        if self.is_rehearsal:
            return {}
        states = {name: state for resumed in self._resumed() for name, state in resumed["steps"].items()}
        for data in self._all("step"):
            if states.get(data["name"]) != DONE or data["state"] == DONE:
                states[str(data["name"])] = str(data["state"])
        return states

    @property
    def found(self) -> dict[str, Any]:
        """What the run found, by the names of the variables that the way back reads."""
        told = [*self._resumed(), *self._all("found")]
        return {name: value for data in told for name, value in data["facts"].items()}

    @property
    def durations_s(self) -> dict[str, float]:
        """Seconds that each finished step took."""
        begun: dict[str, str] = {}
        took: dict[str, float] = {}
        for record in self.records:
            name, state = record["data"].get("name"), record["data"].get("state")
            if record["kind"] == "step" and state == BEGUN:
                begun[name] = record["time"]
            elif record["kind"] == "step" and state == DONE and name in begun:
                took[name] = (_moment(record["time"]) - _moment(begun[name])).total_seconds()
        return took

    @property
    def interrupted(self) -> bool:
        """Whether it ended without a decision of its own."""
        return not any(record["kind"] == "closed" for record in self.records)

    @property
    def is_going_back(self) -> bool:
        """Whether it had decided to go back."""
        return any(data.get("gate") == GOING_BACK for data in self._all("decision"))

    @property
    def may_be_resumed(self) -> bool:
        """Whether it could be gone on with, if nothing else has changed."""
        stays = self.verb == "cutover" and not self.drill
        return stays and self.interrupted and not self.is_going_back and not self.problem

    @property
    def drill(self) -> Mapping[str, Any]:
        """The drill of which it is a part, as ``run`` and ``drill``; empty for a run that stands for itself."""
        return self.manifest.get("drill") or {}

    @property
    def is_rehearsal(self) -> bool:
        """Whether it was played in check mode: its steps were walked, and nothing was moved."""
        return bool(self.manifest.get("check_mode"))

    @property
    def is_settled(self) -> bool:
        """Whether the environment is where this run meant to leave it: as it found it, or as it decided with a go.

        A cutover that is part of a drill is always to be gone back from.
        """
        if self.problem or open_drills([self]):
            return False
        return not self.steps or self.went_back or (self.verdict == GO and not self.drill)

    @property
    def went_back(self) -> bool:
        """Whether it went back wholly, by its own last word on that."""
        return [data.get("verdict") for data in self.decisions if data.get("gate") == BACK][-1:] == [GO]

    @property
    def back_at(self) -> str | None:
        """When it said its last word on whether it went back wholly; UTC."""
        said = [r["time"] for r in self.records if r["kind"] == "decision" and r["data"].get("gate") == BACK]
        return said[-1] if said else None

    @property
    def back_took_s(self) -> float | None:
        """Seconds from its decision to go back until that word; None where it does not tell both."""
        begun = [r["time"] for r in self.records if r["kind"] == "step" and r["data"].get("name") == GO_BACK]
        if not begun or not self.back_at:
            return None
        return round((_moment(self.back_at) - _moment(begun[0])).total_seconds(), 1)

    @property
    def decisions(self) -> list[Mapping[str, Any]]:
        """What its gates have decided, in that order."""
        return list(self._all("decision"))

    @property
    def moves_the_way_back(self) -> bool:
        """Whether a later way back leads to what this run found: a cutover that changed something, and no drill's."""
        return self.verb == "cutover" and not self.drill and bool(self.steps)

    @property
    def settles_all_before(self) -> bool:
        """Whether whatever was left open before it is known to be settled, or was set aside: it came to its end.

        Neither is opened, nor ends so, while a change or a drill before it is left open. A rollback may.
        """
        if not self.is_settled or self.is_rehearsal or self.interrupted:
            return False
        return self.moves_the_way_back or (self.verb == "drills" and self.verdict == GO)

    def _resumed(self) -> Iterator[Mapping[str, Any]]:
        """What was recalled of the run that this one went on with: it is this one's own from there on."""
        resumed = self.manifest.get("resumes")
        return (data for data in self._all("recalled") if resumed and data["run"] == resumed)

    def _all(self, kind: str) -> Iterator[Mapping[str, Any]]:
        return (record["data"] for record in self.records if record["kind"] == kind)


def verb_of(run_id: str) -> str:
    """The verb in ``20260131T120000Z-cutover-ab12``; empty for a name that is no run's."""
    parts = run_id.split("-")
    return "-".join(parts[1:-1]) if len(parts) > 2 and parts[0][:8].isdigit() else ""


def _moment(time: str) -> datetime:
    return datetime.fromisoformat(time)


# --- what is left open ------------------------------------------------------------------------------------------------


def unfinished(runs: Iterable[PastRun], *, set_aside: Iterable[str] = ()) -> list[PastRun]:
    """The runs whose changes nobody has brought to an end, oldest first.

    A later run that ends in a go, or goes back wholly, settles all before it. One that changed nothing leaves all as it
    is. ``set_aside`` names those that a person answers for, and so does every run that was opened with some.
    """
    left: list[PastRun] = []
    aside = {*set_aside}
    for run in runs:
        aside.update(run.manifest.get("set_aside") or ())
        if run.settles_all_before:
            left = []
        if run.verb not in CHANGING_VERBS or run.is_rehearsal:
            continue
        if not run.is_settled:
            left.append(run)
        elif run.steps:
            left = []
    return [run for run in left if run.id not in aside]


# What a drill breaks is known by its own records: it has no steps, and is not gone back from.
CHANGING_VERBS = frozenset({"cutover", "rollback"})
VERBS_THAT_MATTER = CHANGING_VERBS | {"drills"}


def open_drills(runs: Iterable[PastRun]) -> list[dict[str, Any]]:
    """The drills that were begun, and after which nobody has seen that all is well again; oldest first.

    Each is told as its run did: ``drill``, ``fault``, ``host`` and ``run``. A later run of any verb may have seen it.
    """
    left: dict[str, dict[str, Any]] = {}
    for run in runs:
        for record in run.records:
            data = record["data"]
            if record["kind"] == "drill" and data["state"] == BEGUN:
                left[data["fault"]] = dict(data)
            elif record["kind"] == "drill" and data["state"] == RECOVERED:
                left.pop(data["fault"], None)
    return list(left.values())


def last_cutover(runs: Sequence[PastRun]) -> PastRun | None:
    """The last cutover that changed anything, without those of drills that have been gone back from."""
    left = {run.id for run in unfinished(runs)}
    cutovers = (run for run in reversed(runs) if run.verb == "cutover" and run.steps)
    return next((run for run in cutovers if not run.drill or run.id in left), None)


def last_durations(runs: Sequence[PastRun]) -> dict[str, float]:
    """How long each step took the last time it was done, in seconds."""
    return {name: took for run in runs if not run.is_rehearsal for name, took in run.durations_s.items()}


# --- resuming ---------------------------------------------------------------------------------------------------------


def against_resuming(run: PastRun, now: Mapping[str, Any]) -> list[str]:
    """Why a run cannot be gone on with, given the manifest of the one that would; empty when it can."""
    if run.problem:
        return [run.problem]
    reasons = []
    if run.verb != "cutover":
        reasons.append(f"it is a {run.verb}, and only a cutover is resumed: a rollback is simply run again")
    if run.drill:
        reasons.append(f"it is part of the drill {run.drill['drill']}, which ends by going back")
    if run.is_going_back:
        reasons.append("it was going back when it ended")
    elif not run.interrupted:
        reasons.append("it ended by its own decision")
    elif not run.steps:
        reasons.append("it had not begun any step")
    if changed := _changed_code(run.manifest.get("project") or {}, now.get("project") or {}):
        reasons.append(changed)
    if names := changed_inputs(run.manifest.get("inputs") or {}, now.get("inputs") or {}):
        reasons.append(f"these inputs are not what they were: {', '.join(names)}")
    return reasons


def changed_inputs(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The names of the variables and groups that differ; those that steer a run, and the roles' own, are left out."""
    return sorted(
        name
        for part in ("variables", "groups")
        for name in {*(before.get(part) or {}), *(now.get(part) or {})} - CONTROL_VARIABLES
        if not name.startswith("__") and (before.get(part) or {}).get(name) != (now.get(part) or {}).get(name)
    )


def _changed_code(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    if before.get("code_sha256") == now.get("code_sha256"):
        return None
    return f"this project is not what it was (commit {before.get('git_sha')} then, {now.get('git_sha')} now)"
