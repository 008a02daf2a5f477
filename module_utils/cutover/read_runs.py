# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the runs of an environment from their directories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .evidence import JOURNAL_NAME, MANIFEST_NAME
from .journal import JournalBroken, digest, is_held, read_journal
from .runs import VERBS_THAT_MATTER, PastRun, verb_of

STAMP = len("20260131T120000Z")
# What the processes that drills have started print, beside the runs of their environment: <run>-<drill>.log
LOGS = ".drills"


def past_runs(environment: Path | str, *, besides: str | None = None) -> list[PastRun]:
    """The runs below ``<artifacts>/<environment>/`` that may still matter, oldest first, without ``besides``.

    Those are the ones that may have changed something, back to one that settles all before it, and before that the
    last cutover that the way back may lead to. So years of nightly drills do not slow down who opens the next run.
    """
    folder = Path(environment)
    names = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    told: list[PastRun] = []
    settled_at = led_back_at = ""
    # Ids begin with the time: the newest come first, and of one second all are read.
    for name in sorted((name for name in names if verb_of(name) in VERBS_THAT_MATTER), reverse=True):
        at = name[:STAMP]
        if at < settled_at and at < led_back_at:
            break
        if name == besides or (at < settled_at and not _may_move_the_way_back(folder / name)):
            continue
        run = read_run(folder / name)
        told.append(run)
        if run.settles_all_before:
            settled_at = settled_at or at
        if run.moves_the_way_back:
            led_back_at = led_back_at or at
    return sorted(told, key=lambda run: (run.opened_at, run.id))


def is_a_change(environment: Path | str, name: str) -> bool:
    """Whether that is the id of a run of this environment that may have changed something."""
    return name == Path(name).name and verb_of(name) in VERBS_THAT_MATTER and (Path(environment) / name).is_dir()


def _may_move_the_way_back(directory: Path) -> bool:
    """What a manifest says in a moment, before a whole journal is read; one that cannot be read may be anything."""
    if verb_of(directory.name) != "cutover":
        return False
    try:
        manifest = json.loads((directory / MANIFEST_NAME).read_bytes())
        return not manifest.get("drill") and not manifest.get("check_mode")
    except (OSError, ValueError, AttributeError):
        return True


def is_at_work(directory: Path) -> bool:
    """Whether somebody is still writing a run's journal, or plays for one of its drills.

    Raises ``OSError`` when that cannot be seen.
    """
    played = (directory.parent / LOGS).glob(f"{directory.name}-*.log")
    return is_held(directory / JOURNAL_NAME) or any(is_held(log) for log in played)


def runs_after(environment: Path | str, run: str, verb: str) -> list[PastRun]:
    """The runs of that verb that were opened in the second of ``run``, or later; oldest first."""
    names = sorted(path.name for path in Path(environment).iterdir() if path.is_dir() and verb_of(path.name) == verb)
    return [read_run(Path(environment) / name) for name in names if name[:STAMP] >= run[:STAMP]]


def read_run(directory: Path | str) -> PastRun:
    """A run from its directory; what cannot be read or believed becomes its ``problem``."""
    directory = Path(directory)
    journal = directory / JOURNAL_NAME
    about: dict[str, Any] = {"id": directory.name, "directory": str(directory), "verb": verb_of(directory.name)}
    if not journal.exists():
        return PastRun(**about)  # killed before anything was recorded, and so before anything was done
    try:
        alive = is_at_work(directory)
        records = read_journal(journal, torn_end=True)
        told = (directory / MANIFEST_NAME).read_bytes()
        manifest = json.loads(told)
        closed = [record["data"] for record in records if record["kind"] == "closed"]
    except (OSError, ValueError, JournalBroken) as fault:
        return PastRun(**about, problem=f"its evidence cannot be believed: {fault}")
    if records[0]["run"] != directory.name:
        return PastRun(**about, problem=f"its journal is of run {records[0]['run']}")
    if records[0]["data"].get("manifest_sha256", digest(told)) != digest(told):
        return PastRun(**about, alive=alive, problem="its manifest was changed after it was opened")
    verdict = str(closed[-1].get("verdict")) if closed else None
    return PastRun(**about, manifest=manifest, records=records, verdict=verdict, alive=alive)
