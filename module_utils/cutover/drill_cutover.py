# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut over for a drill, and go back from it: in a process of its own, that whoever asked for it need not outlive.

The process has a session of its own. It plays ``cutover.yml``, ends it at a limit, and then plays ``rollback.yml``,
unless the cutover has moved nothing or has gone back by itself. Both are runs like any other, with evidence of their
own that says of which drill they are a part; both work under the lock of the run that plays the drill.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from .evidence import ATTESTATION, JOURNAL_NAME
from .journal import is_held
from .read_runs import past_runs
from .runs import PastRun, of_drill
from .ticks import ticks

CUTOVER, ROLLBACK = "cutover", "rollback"
# How long a cutover that is asked to end may take for that, and how long its last worker may outlive it.
ENDING_S = 120.0
POLL_S = 0.2
# The package is no place from which Python runs a program: its parent is Ansible's, and comes from two folders.
_BOOT = (
    "import sys, ansible.module_utils as them; them.__path__.append(sys.argv[1]); "
    "from ansible.module_utils.cutover.drill_cutover import main; main()"
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the process is told: the two commands, where their evidence lies, and of which drill they are a part."""

    cutover: Sequence[str]
    rollback: Sequence[str]
    environment_dir: str
    drill: Mapping[str, str]
    limit_s: float
    log: str


def start(plan: Plan) -> subprocess.Popen[str]:
    """Begin; what both playbooks print is in ``plan.log``, which its owner alone can read. Raises ``OSError``."""
    environment = {name: value for name, value in os.environ.items() if name != ATTESTATION}
    parent = str(Path(__file__).resolve().parent.parent)
    descriptor = os.open(plan.log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, parent], stdin=subprocess.PIPE, stdout=log, stderr=log, text=True,
            start_new_session=True, env=environment | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"},
        )  # fmt: skip
    stdin: IO[str] = process.stdin  # type: ignore[assignment]
    with stdin:
        json.dump(asdict(plan), stdin)
    return process


def main() -> None:
    """The process itself: cut over, and go back from whatever has come of it."""
    plan = Plan(**json.load(sys.stdin))
    # Handlers, and not "ignore": that would be handed on to the playbooks.
    for each in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: None)
    _play(plan.cutover, limit_s=plan.limit_s)
    cutover = left_by(plan.environment_dir, plan.drill, CUTOVER)
    if cutover is not None and not cutover.is_settled:
        _await_end(cutover)
        _play([*plan.rollback, "--extra-vars", json.dumps({"rollback_to": cutover.id})])


def left_by(environment_dir: str, drill: Mapping[str, str], verb: str) -> PastRun | None:
    """The run of that verb that is part of the drill, as its evidence tells it."""
    return of_drill(past_runs(environment_dir), drill, verb)


def _play(command: Sequence[str], *, limit_s: float | None = None) -> None:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_end(run: PastRun) -> None:
    """Until nobody holds its journal: a worker may outlive a controller that was killed."""
    for _ in ticks(total_s=ENDING_S, every_s=POLL_S):
        if not is_held(Path(run.directory) / JOURNAL_NAME):
            return
