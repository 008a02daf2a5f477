# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut over for a drill, and go back from it: in a process of its own, that whoever asked for it need not outlive.

The process has a session of its own. It plays ``cutover.yml``, ends it at a limit, and then plays ``rollback.yml``,
unless the cutover has moved nothing or has gone back by itself. Both are runs like any other, with evidence of their
own that says of which drill they are a part; both work under the lock of the run that plays the drill. What they print
is in a log, which they hold as long as any of them lives: that is how others see that somebody is at work.
"""

from __future__ import annotations

import fcntl
import json
import math
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
from .read_runs import LOGS, runs_after
from .runs import PastRun
from .ticks import ticks

CUTOVER, ROLLBACK = "cutover", "rollback"
# How long a cutover that is asked to end may take for that.
ENDING_S = 120.0
POLL_S = 0.2
# How often going back is tried.
TRIES = 3
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

    @property
    def log(self) -> Path:
        """What both playbooks print, beside the evidence and no part of it; its owner alone can read it."""
        return Path(self.environment_dir) / LOGS / f"{self.drill['run']}-{self.drill['drill']}.log"


def start(plan: Plan) -> subprocess.Popen[str]:
    """Begin. Raises ``OSError``."""
    environment = {name: value for name, value in os.environ.items() if name != ATTESTATION}
    parent = str(Path(__file__).resolve().parent.parent)
    plan.log.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(plan.log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as log:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
    _cut_over(plan)
    for _ in range(TRIES):
        cutover, rollback = left_by(plan)
        if cutover is None or is_back(cutover, rollback):
            return
        # A worker may outlive a controller that was killed, and works until it ends.
        for _ in ticks(total_s=math.inf, every_s=POLL_S):
            if not is_held(Path(cutover.directory) / JOURNAL_NAME):
                break
        command = [*plan.rollback, "--extra-vars", json.dumps({"rollback_to": cutover.id})]
        subprocess.run(command, stdin=subprocess.DEVNULL, check=False)


def left_by(plan: Plan) -> tuple[PastRun | None, PastRun | None]:
    """The cutover and the last rollback that are part of the drill, as their evidence tells them."""
    cutover, rollback = (
        [run for run in runs_after(plan.environment_dir, plan.drill["run"], verb) if run.drill == plan.drill]
        for verb in (CUTOVER, ROLLBACK)
    )
    return cutover[-1] if cutover else None, rollback[-1] if rollback else None


def is_back(cutover: PastRun | None, rollback: PastRun | None) -> bool:
    """Whether everything is as the cutover found it: it moved nothing, went back by itself, or was gone back from."""
    return cutover is None or cutover.is_settled or (rollback is not None and rollback.went_back)


def _cut_over(plan: Plan) -> None:
    process = subprocess.Popen(plan.cutover, stdin=subprocess.DEVNULL)
    try:
        process.wait(plan.limit_s)
    except subprocess.TimeoutExpired:
        cutover, _ = left_by(plan)
        if cutover is not None and cutover.is_going_back:
            process.wait()
        else:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(ENDING_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
