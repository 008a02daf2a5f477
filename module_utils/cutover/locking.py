# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has an environment in hand. One run at a time changes it, whatever controller it comes from.

The lock is a file on hosts of the environment that names a run, its controller and its directory there. Its age tells
nothing. A run lives as long as its process holds its journal (``journal.hold``), which the kernel ends with the
process: where that journal can be seen, a dead owner is known for certain; where it cannot, nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .evidence import JOURNAL_NAME
from .journal import JournalBroken, read_journal
from .read_runs import is_at_work, read_run
from .runs import open_drills

ALIVE, DEAD, UNSETTLED, UNKNOWN = "alive", "dead", "dead, but not at its end", "out of sight"


def fate_of(holder: Mapping[str, Any]) -> str:
    """What became of the run that a lock names: alive, dead, dead in the middle of its work, or out of sight."""
    journal = Path(str(holder.get("dir") or "/nowhere")) / JOURNAL_NAME
    try:
        held = is_at_work(journal.parent)
        records = read_journal(journal, torn_end=True)
    except (OSError, JournalBroken):
        return UNKNOWN
    if records[0]["run"] != holder.get("id"):
        return UNKNOWN
    if held:
        return ALIVE
    return DEAD if read_run(journal.parent).is_settled else UNSETTLED


def against_lending(holder: Mapping[str, Any] | None, drill: Mapping[str, Any]) -> str:
    """Why a run that says that it is part of ``drill`` may not work under the lock of ``holder``; empty when it may."""
    if not holder or holder.get("id") != drill["run"]:
        return f"the run {drill['run']}, of whose drill this run is a part, does not have the environment in hand"
    told = open_drills([read_run(str(holder.get("dir") or "/nowhere"))])
    if drill["drill"] not in [each["drill"] for each in told]:
        return f"the run {drill['run']} does not play the drill {drill['drill']} just now"
    return ""


def refused(holder: Mapping[str, Any], fate: str) -> str:
    """Why an environment cannot be taken in hand, with the ways out."""
    who = (
        f"{holder.get('environment')} is in the hands of {holder.get('verb')} {holder.get('id')}, by "
        f"{holder.get('operator')} on {holder.get('controller')} since {holder.get('opened_at')}"
    )
    ways = {
        ALIVE: "Its process is at work: wait for its end.",
        UNSETTLED: (
            f"Its process is dead, and it ended in the middle: run {_way_out(holder)} where its evidence lies "
            f"({holder.get('dir')})."
        ),
        UNKNOWN: (
            f"Whether its process is alive cannot be seen from here. On {holder.get('controller')}, see whether it is, "
            f"and how it ended ({holder.get('dir')})."
        ),
    }
    return (
        f"{who}. {ways.get(fate, fate[:1].upper() + fate[1:] + '.')} Only when you are certain that nothing goes on "
        f"there, take it over with -e run_lock_break={holder.get('id')}; that is recorded."
    )


def _way_out(holder: Mapping[str, Any]) -> str:
    """What brings to its end what a run has left."""
    return "drills.yml" if holder.get("verb") == "drills" else "rollback.yml"
