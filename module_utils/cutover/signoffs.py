# SPDX-License-Identifier: GPL-3.0-or-later
"""The sign-off log: who answers for which run, one line each, chained like a journal. Appended to, never written over.

``<artifacts>/<environment>/signoffs.jsonl`` holds records as ``journal`` writes them, of kind ``signoff``, with the
environment as their ``run``. The last of them names the environment's **baseline**; nothing else does.

Checklist row D10 (sign-off log and re-validation).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .gate import GO
from .journal import GENESIS, Clock, JournalBroken, Record, canonical, chained, utc_now, verified
from .proof import Proven, Unproven, prove

LOG_NAME = "signoffs.jsonl"
KIND = "signoff"


class Refused(Exception):
    """Why a run is not signed off; ready for a person."""


def signable(directory: Path, run: str) -> Proven:
    """The run as it was proven; raises ``Refused`` for one that is not a finished, unaltered, real GO."""
    if not run or Path(run).name != run or run.startswith("."):
        raise Refused(f"{run!r} is no id of a run: give the name of its directory in {directory}")
    try:
        proven = prove(directory / run)
    except Unproven as reason:
        raise Refused(f"Not signed off: {reason}.") from reason
    _of_this_environment(proven, directory)
    if proven.decision.get("verdict") != GO:
        count = len(proven.decision.get("blocking") or ())
        raise Refused(f"Not signed off: run {run} is a NO-GO with {count} blocking findings.")
    if proven.manifest.get("check_mode"):
        raise Refused(f"Not signed off: run {run} was played in check mode, so it is a rehearsal.")
    if proven.manifest.get("drill"):
        raise Refused(f"Not signed off: run {run} is part of a drill, and was gone back from.")
    return proven


def _of_this_environment(proven: Proven, directory: Path) -> None:
    """A run that was copied here from another environment proves nothing of this one."""
    told = proven.manifest.get("environment")
    if told != directory.name:
        raise Refused(f"Not signed off: run {proven.id} is of {told}, and not of {directory.name}.")


def statement(proven: Proven, *, role: str, approver: str, reason: str) -> dict[str, Any]:
    """What a sign-off says: who, as what, why, and the digests of all that it rests on."""
    return {
        "signed_run": proven.id,
        "verb": proven.decision["verb"],
        "environment": proven.decision["environment"],
        "verdict": proven.decision["verdict"],
        "decided_at": proven.decision["decided_at"],
        "git_sha": (proven.manifest.get("project") or {}).get("git_sha"),
        "report": f"{proven.id}/report.html",
        "context": proven.decision.get("context") or {},
        "role": role,
        "approver": approver,
        "reason": reason,
        "evidence": {"decision_sha256": proven.decision_sha256, "journal_head": proven.head},
        "observed": len(proven.data("observation")),
    }


def read_signoffs(path: Path) -> list[Record]:
    """Every sign-off, oldest first, none where there is no log yet; raises ``JournalBroken``."""
    try:
        text = path.read_bytes().decode("ascii")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as fault:
        raise JournalBroken(
            f"{path} cannot be read: {getattr(fault, 'strerror', None) or 'it is not ASCII'}"
        ) from fault
    return _read(text, path)


def append_signoff(path: Path, said: Mapping[str, Any], *, environment: str, clock: Clock = utc_now) -> Record:
    """Add one line after all others, and bring it to the disk; raises ``JournalBroken`` for a log that was altered."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = _read(file.read().decode("ascii", "replace"), path)
        previous, seq = (before[-1]["hash"], before[-1]["seq"] + 1) if before else (GENESIS, 1)
        record = chained(previous=previous, seq=seq, time=clock(), run=environment, kind=KIND, data=said)
        file.write(canonical(record).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return record


def _read(text: str, path: Path) -> list[Record]:
    if text and not text.endswith("\n"):
        raise JournalBroken(f"{path}: the end of its last line is missing")
    return verified(text.split("\n")[:-1], source=str(path))


def baseline(directory: Path) -> Proven:
    """The environment's last signed-off run, proven again, and exactly as it was signed; raises ``Unproven``."""
    try:
        signoffs = read_signoffs(directory / LOG_NAME)
    except JournalBroken as fault:
        raise Unproven(f"the sign-off log was altered: {fault}") from fault
    if not signoffs:
        raise Unproven(f"no run of this environment was ever signed off ({directory / LOG_NAME}): play signoff.yml")
    signed = signoffs[-1]["data"]
    proven = prove(directory / str(signed["signed_run"]))
    found = {"decision_sha256": proven.decision_sha256, "journal_head": proven.head}
    if found != signed["evidence"]:
        raise Unproven(f"run {proven.id} was altered after it was signed off: its evidence has other digests now")
    return proven
