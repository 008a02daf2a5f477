# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare dotted version numbers as servers print them: ``7.0.15``, ``v2.7.2``, ``15.18 (Debian 15.18-0+deb12u1)``."""

from __future__ import annotations

import re

from .checks import CannotObserve

_NUMBERS = re.compile(r"v?(\d+(?:\.\d+)*)")


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version; raises ``CannotObserve`` when it starts with none."""
    match = _NUMBERS.match(version.strip())
    if not match:
        raise CannotObserve(f"{version!r} is not a version number")
    return tuple(int(number) for number in match[1].split("."))


def at_least(version: str, minimum: str) -> bool:
    """Whether ``version`` is ``minimum`` or later; missing places count as zero, so 15 and 15.0 are the same."""
    found, least = numbers(version), numbers(minimum)
    width = max(len(found), len(least))
    return found + (0,) * (width - len(found)) >= least + (0,) * (width - len(least))
