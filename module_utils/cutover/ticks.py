# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place that sleeps: a polling loop is a ``for`` over ticks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

Sleep = Callable[[float], None]


def ticks(
    *,
    total_s: float,
    every_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Sleep = time.sleep,
) -> Iterator[float]:
    """Yield the seconds gone by: at once, then ``every_s`` seconds apart, and a last time when ``total_s`` are over."""
    start = clock()
    while (gone := clock() - start) < total_s:
        yield gone
        sleep(max(0.0, min(every_s, total_s - (clock() - start))))
    yield clock() - start
