# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of the killed runs as the table of docs/rollback.md: python molecule/killed/files/table.py RESULTS"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Print one line for each point, the latest result of each."""
    results = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    latest = {result["point"]: result for result in results}
    lines = [
        "| killed | what was done by then | then | writes acknowledged and kept | requests, and failed ones |",
        "|---|---|---|---|---|",
        *(_line(point, told) for point, told in latest.items()),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def _line(point: str, told: dict[str, Any]) -> str:
    done = ", ".join(told["done_before"]) or "nothing"
    kept = f"{told['acknowledged']}, all" if told["kept"] >= told["acknowledged"] else f"**{told['kept']}**"
    return f"| {point} | {done} | {told['outcome']} | {kept} | {told['requests']}, {told['failed_requests']} |"


if __name__ == "__main__":
    main()
