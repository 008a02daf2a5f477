# SPDX-License-Identifier: GPL-3.0-or-later
"""After a killed controller: every acknowledged write is there, no request was lost, and all evidence holds.

Appends the point and its outcome to the results, from which docs/rollback.md has its table.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import psycopg
from cutover.read_runs import past_runs

SETTLES_S = 2.5


def main() -> None:
    """Read all three, and end in failure when they do not agree."""
    parser = argparse.ArgumentParser()
    for name in ("visitors", "visitors-before", "database", "password-file", "artifacts", "results", "point"):
        parser.add_argument(f"--{name}", required=True)
    given = parser.parse_args()
    before = json.loads(Path(given.visitors_before).read_text())
    # What this report calls acknowledged must be there.
    seen = json.loads(Path(given.visitors).read_text())
    time.sleep(SETTLES_S)
    password = Path(given.password_file).read_text().strip()
    with psycopg.connect(given.database, password=password) as connection:
        query = "SELECT count(*) FROM requests WHERE beneficiary = %s"
        kept = connection.execute(query, [seen["beneficiary"]]).fetchone()[0]
    runs = past_runs(Path(given.artifacts) / "lab")
    last = runs[-1]
    failed = seen["failed"] - before["failed"]
    faults = [
        *([] if kept >= seen["writes_acknowledged"] > 0 else [f"{seen['writes_acknowledged']} writes, {kept} kept"]),
        *(f"{run.id}: {run.problem}" for run in runs if run.problem),
        *([] if last.verdict == "go" else [f"{last.id} ended in {last.verdict}"]),
        *([] if not any(run.alive for run in runs) else ["a run is still held"]),
        *([] if not failed else [f"{failed} requests failed: {seen['failures'][-3:]}"]),
    ]
    line = {
        "point": given.point,
        "outcome": f"{last.verb} is a {last.verdict}",
        "done_before": [name for name, state in runs[0].steps.items() if state == "done"],
        "acknowledged": seen["writes_acknowledged"],
        "kept": kept,
        "requests": seen["requests"] - before["requests"],
        "failed_requests": failed,
        "faults": faults,
    }
    with Path(given.results).open("a") as results:
        results.write(json.dumps(line) + "\n")
    if faults:
        raise SystemExit("; ".join(faults))


if __name__ == "__main__":
    main()
