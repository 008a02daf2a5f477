#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print the runs that ended before their end, with commas between them: unfinished.py ARTIFACTS/ENVIRONMENT."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "module_utils"))

from cutover.read_runs import past_runs
from cutover.runs import unfinished

if __name__ == "__main__":
    sys.stdout.write(",".join(run.id for run in unfinished(past_runs(sys.argv[1])) if not run.alive) + "\n")
