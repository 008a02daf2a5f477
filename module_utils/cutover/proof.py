# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a finished run may be believed, from the files in its directory alone.

The chain of its journal, the digests of all that its decision rests on, and the decision itself, made anew from the
records by the same pure functions. Nothing here asks who wrote the files: a run that was written anew as a whole is
only found out by the head of its chain, kept elsewhere (the sign-off log is such a place).

Checklist row D10 (sign-off log).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from .evidence import JOURNAL_NAME, MANIFEST_NAME
from .gate import GO, Decision, conclude, recomputed
from .journal import JournalBroken, Record, digest, read_journal

# What each verb decides at the least, wherever it is played. What else a run needs, its inventory and its decision say.
LEAST_GATES: Mapping[str, tuple[str, ...]] = {
    "readiness": ("readiness",),
    "cutover": ("preflight",),
    "rollback": ("back",),
    "drift": ("drift",),
    "drills": ("drills",),
}
# A cutover that took a step has moved the traffic.
LEAST_GATES_OF_A_MOVE = ("started", "release")
# Written after the decision, and made from it: they prove nothing.
MADE_AFTERWARDS = frozenset({"report.html", "report.md"})


class Unproven(Exception):
    """Why a run cannot be believed, or was never finished; ready for a person."""


@dataclass(frozen=True, kw_only=True)
class Proven:
    """A run whose files agree with each other, and with the decision that they hold."""

    id: str
    dir: str
    manifest: Mapping[str, Any]
    decision: Mapping[str, Any]
    records: tuple[Record, ...]
    decision_sha256: str

    @property
    def head(self) -> str:
        """The hash of the journal's last record."""
        return str(self.records[-1]["hash"])

    def data(self, kind: str) -> list[dict[str, Any]]:
        """What the records of one kind hold, in their order."""
        return [record["data"] for record in self.records if record["kind"] == kind]


def prove(directory: Path | str) -> Proven:
    """The run in ``directory``; raises ``Unproven`` where something is missing, was changed, or does not follow."""
    where = Path(directory)
    records = _records(where)
    manifest = _manifest(where, records)
    if records[-1]["kind"] != "closed":
        raise Unproven(
            f"run {where.name} was never finished: the last record of its journal is {records[-1]['kind']!r}"
        )
    text = _read(where / "decision.json")
    if digest(text) != records[-1]["data"].get("sha256"):
        raise Unproven(f"run {where.name} was altered: decision.json is not the one that closed it")
    decision = _json(text, where / "decision.json")
    _agree_with_manifest(where.name, decision, manifest)
    _agree_with_files(where, decision, records)
    _follow(where, decision, records, required=_required(where.name, manifest, decision, records))
    return Proven(
        id=where.name, dir=str(where), manifest=manifest, decision=decision, records=tuple(records),
        decision_sha256=digest(text),
    )  # fmt: skip


def _records(where: Path) -> list[Record]:
    if not where.is_dir():
        raise Unproven(f"there is no run {where.name} in {where.parent}")
    try:
        records = read_journal(where / JOURNAL_NAME)
    except JournalBroken as fault:
        raise Unproven(f"run {where.name} was altered, or torn: {fault}") from fault
    if records[0]["kind"] != "opened" or records[0]["run"] != where.name:
        raise Unproven(f"run {where.name} was altered: its journal is of run {records[0]['run']}")
    return records


def _manifest(where: Path, records: Sequence[Record]) -> Mapping[str, Any]:
    text = _read(where / MANIFEST_NAME)
    if digest(text) != records[0]["data"].get("manifest_sha256"):
        raise Unproven(f"run {where.name} was altered: manifest.json is not the one that it was opened with")
    return _json(text, where / MANIFEST_NAME)


def _agree_with_manifest(run: str, decision: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    for name in ("verb", "environment"):
        if decision.get(name) != manifest.get(name):
            raise Unproven(
                f"run {run} was altered: its manifest says that its {name} is {manifest.get(name)!r}, "
                f"its decision says {decision.get(name)!r}"
            )


def _required(
    run: str, manifest: Mapping[str, Any], decision: Mapping[str, Any], records: Sequence[Record]
) -> list[str]:
    """The gates without which it is no go: those that a run of this verb cannot do without, and what it says itself."""
    verb = str(manifest.get("verb"))
    if verb not in LEAST_GATES:
        raise Unproven(f"run {run} is of the verb {verb!r}: what it had to decide is not known")
    rehearsal = bool(manifest.get("check_mode"))
    least = () if rehearsal else LEAST_GATES[verb]
    moved = verb == "cutover" and not rehearsal and any(record["kind"] == "step" for record in records)
    named = (str(gate) for gate in decision.get("required_gates") or ())
    return [*least, *(LEAST_GATES_OF_A_MOVE if moved else ()), *named]


def _agree_with_files(where: Path, decision: Mapping[str, Any], records: Sequence[Record]) -> None:
    """The decision names the head of the chain that it rests on, and the digest of every file of that time."""
    evidence = decision.get("evidence") or {}
    if decision.get("run") != where.name or len(records) < 2 or evidence.get("head") != records[-2]["hash"]:
        raise Unproven(f"run {where.name} was altered: decision.json does not rest on this journal")
    for name, sha256 in sorted(dict(evidence.get("files") or {}).items()):
        if name not in MADE_AFTERWARDS and digest(_read(where / name)) != sha256:
            raise Unproven(f"run {where.name} was altered: {name} is not what the decision rested on")


def _follow(where: Path, decision: Mapping[str, Any], records: Sequence[Record], *, required: Sequence[str]) -> None:
    """Every gate, and the run as a whole, decided anew."""
    before_closing = list(records[:-1])
    for number, record in enumerate(before_closing):
        if record["kind"] == "decision":
            said, follows = record["data"].get("verdict"), recomputed(before_closing[:number], record["data"]).verdict
            if said == GO and follows != GO:
                raise Unproven(
                    f"run {where.name}: the gate {record['data'].get('gate')} said go, its records say no-go"
                )
    if decision.get("verdict") != GO:
        return
    final = _concluded(where.name, decision, before_closing, required)
    if final.verdict != GO:
        blocker = final.blocking[0]
        raise Unproven(
            f"run {where.name} says go, its records say no-go: {blocker.component}/{blocker.subject} {blocker.check}"
        )


def _concluded(run: str, decision: Mapping[str, Any], records: Sequence[Record], required: Sequence[str]) -> Decision:
    try:
        decided_at = datetime.fromisoformat(str(decision.get("decided_at")))
    except ValueError as fault:
        raise Unproven(f"run {run} was altered: decision.json does not say when it was decided") from fault
    waivers = decision.get("waivers") or ()
    return conclude(records, run=run, required_gates=required, waivers=waivers, now=decided_at)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as fault:
        raise Unproven(f"run {path.parent.name} is not whole: {path.name} cannot be read: {fault.strerror}") from fault


def _json(text: bytes, path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as fault:
        raise Unproven(f"{path} is not JSON") from fault
    if not isinstance(value, dict):
        raise Unproven(f"{path} does not hold a mapping")
    return value
