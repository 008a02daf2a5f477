# SPDX-License-Identifier: GPL-3.0-or-later
"""Drift for people: what changed, since when, who should look. Readable in ten seconds, and whole below that. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .judge_drift import CONTRACT_BROKEN, COULD_NOT_LOOK, DRIFT, FIXED, KNOWN, NEW, NO_DRIFT, PREFIX, shown
from .report import show

Data = Mapping[str, Any]

HEADLINES = {
    NO_DRIFT: "No drift",
    DRIFT: "Drift",
    CONTRACT_BROKEN: "Contract broken",
    COULD_NOT_LOOK: "Could not look",
}
NOBODY = "nobody named"
MOST_OWNERS = 5


def context(outcome: str, drift: Data, blocking: Sequence[Data]) -> dict[str, Any]:
    """What decision.json and the report of the run say of it."""
    baseline = drift.get("baseline") or {}
    tally = drift.get("counts") or {}
    return {
        "outcome": outcome,
        "drift": {**tally, "could_not_look": len(unseen(drift, blocking))},
        "baseline": baseline.get("run") or "",
        "note": note(outcome, drift, blocking),
    }


def note(outcome: str, drift: Data, blocking: Sequence[Data]) -> str:
    """The whole answer in a line or two."""
    tally = drift.get("counts") or {}
    said = [f"{tally[state]} {state}" for state in (NEW, KNOWN, FIXED, "ignored") if tally.get(state)]
    gaps = len(unseen(drift, blocking))
    said += [f"{gaps} could not be looked at"] * bool(gaps)
    parts = [f"{HEADLINES[outcome]}{': ' + ', '.join(said) if said else ''}."]
    if owners := _owners(drift):
        parts.append(f"To look: {', '.join(owners[:MOST_OWNERS])}.")
    if drift.get("running"):
        parts.append(f"{drift['running']} was changing the environment meanwhile: differences may be its work.")
    if drift.get("missed"):
        parts.append(f"Of the scheduled runs, {drift['missed']}.")
    return " ".join(parts)


def _owners(drift: Data) -> list[str]:
    open_ones = [each for each in drift.get("differences") or () if each["state"] != FIXED and not each["ignored"]]
    return sorted({str(each["owner"]) for each in open_ones if each.get("owner")})


def unseen(drift: Data, blocking: Iterable[Data]) -> list[dict[str, Any]]:
    """All that could not be looked at: checks, parts of targets, tasks that failed, hosts that did not answer."""
    return [
        {
            "where": f"{blocker['component']}/{blocker['subject']}",
            "what": "all of it" if blocker["check"] == f"{PREFIX}seen" else str(blocker["check"]).removeprefix(PREFIX),
            "cause": blocker.get("cause") or blocker["status"],
        }
        for blocker in blocking
        if blocker["status"] not in ("fail", "skipped") and not str(blocker["check"]).startswith("waiver ")
    ]


def told_in(records: Iterable[Data]) -> Data:
    """What a drift run has recorded of its comparison; nothing where none came about."""
    return next((record["data"] for record in reversed(list(records)) if record["kind"] == "drift"), {})


def view(manifest: Data, decision: Data, records: Iterable[Data]) -> dict[str, Any]:
    """What the page of a drift run shows, in its order; nothing in it is escaped yet."""
    told = told_in(records)
    stated = decision.get("context") or {}
    outcome = stated.get("outcome", COULD_NOT_LOOK)
    differences = [_row(each) for each in told.get("differences") or ()]
    return {
        "outcome": outcome,
        "headline": HEADLINES.get(outcome, outcome),
        "environment": decision["environment"],
        "run": decision["run"],
        "looked_at": _moment(manifest.get("opened_at")),
        "note": show(stated.get("note")),
        "baseline": {key: show(value) for key, value in (told.get("baseline") or {}).items()},
        "refused": told.get("refused") or "",
        "previous": _moment((told.get("previous") or {}).get("time")),
        "facts": told.get("facts", 0),
        "open": [row for row in differences if row["state"] != FIXED and not row["ignored"]],
        "fixed": [row for row in differences if row["state"] == FIXED],
        "ignored": [row for row in differences if row["state"] != FIXED and row["ignored"]],
        "unseen": [{key: show(value) for key, value in gap.items()} for gap in unseen(told, decision["blocking"])],
    }


def _row(each: Data) -> dict[str, Any]:
    ignored = each.get("ignored") or {}
    return {
        "where": f"{each['component']}/{each['subject']}",
        "key": each["key"],
        "kind": each["kind"],
        "state": each["state"],
        "since": _moment(each.get("since")),
        "expected": show(each.get("expected")) if each["kind"] == "contract" else "not declared",
        "baseline": show(shown(each.get("baseline"))),
        "observed": show(shown(each.get("observed"))),
        "owner": each.get("owner") or NOBODY,
        "ignored": f"{ignored['reason']} ({ignored['owner']}, until {str(ignored['expires'])[:10]})" if ignored else "",
    }


def _moment(time: Any) -> str:
    return f"{time[:10]} {time[11:16]}" if isinstance(time, str) and len(time) >= 16 else "-"
