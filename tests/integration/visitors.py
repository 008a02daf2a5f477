# SPDX-License-Identifier: GPL-3.0-or-later
"""People who keep asking while a test changes something, and remember every answer."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from servers import wait_until


@dataclass
class Visitors:
    """What visitors of ``url`` were told, in order: the body of an answer, or why there was none."""

    url: str
    told: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> str:
        """One request on a connection of its own."""
        try:
            with urllib.request.urlopen(self.url, timeout=60) as answer:
                said = str(answer.read().decode())
        except OSError as reason:
            said = f"lost: {reason}"
        self.told.append(said)
        return said

    def wait_for_more(self, count: int) -> list[str]:
        """Wait until so many more answers are in, and return these."""
        before = len(self.told)
        wait_until(lambda: len(self.told) >= before + count, what="visitors' answers")
        return self.told[before:]

    @property
    def lost(self) -> list[str]:
        return [said for said in self.told if said.startswith("lost: ")]


@contextmanager
def visiting(url: str, *, people: int = 3, pause_s: float = 0.01) -> Iterator[Visitors]:
    """Let so many people ask without end, until the block is left."""
    visitors = Visitors(url)

    def visit() -> None:
        while not visitors.stop.wait(pause_s):
            visitors.ask()

    threads = [threading.Thread(target=visit, daemon=True) for _ in range(people)]
    for thread in threads:
        thread.start()
    try:
        yield visitors
    finally:
        visitors.stop.set()
        for thread in threads:
            thread.join(60)
