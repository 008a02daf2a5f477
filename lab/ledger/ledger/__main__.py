# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m ledger web|worker|scheduler|seed``. The environment is judged before anything heavy is imported."""

from __future__ import annotations

import importlib
import sys

from ledger import settings

PROCESSES = {"web": "ledger.app", "worker": "ledger.worker", "scheduler": "ledger.scheduler", "seed": "ledger.seed"}


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1] not in PROCESSES:
        print(f"usage: python -m ledger {'|'.join(PROCESSES)}", file=sys.stderr)  # noqa: T201 - there is no log yet
        return 64
    try:
        loaded = settings.load()
        importlib.import_module(PROCESSES[sys.argv[1]]).run(loaded)
    except settings.RefusedStart as refusal:
        print(f"ledger: refusing to start: {refusal}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
