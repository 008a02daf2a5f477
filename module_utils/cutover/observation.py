# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there, without a word on what ought to be: facts of one target under stable keys, to be compared later.

A fact is kept when only somebody's doing changes it. Counters, uptimes, sizes and whatever else moves by itself is left
out where it is read, so that there is nothing to ignore afterwards. Of a secret there is a fingerprint alone.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .checks import CannotObserve, ExpectationError
from .pool import Deadline, Limits, look_at_all

Options = Mapping[str, Any]
Facts = Mapping[str, Any]
Fingerprint = Callable[[str], str]

# Long enough that no two values of one environment meet, short enough for a line in a report.
_FINGERPRINT_LENGTH = 16


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The facts of one target by key, and the parts that could not be seen, each with the reason.

    A part is the beginning of the keys that it would have had: ``config`` stands for ``config.maxmemory`` as well.
    The part ``""`` is the whole target.
    """

    facts: Facts = field(default_factory=dict)
    unseen: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was seen of one target, and when it took how long."""

    component: str
    subject: str
    address: str
    took_ms: int
    seen: Seen

    def to_dict(self) -> dict[str, Any]:
        """The observation as plain data. Facts are pairs: a mapping would have the masker take their keys for names."""
        return {
            "component": self.component,
            "subject": self.subject,
            "address": self.address,
            "took_ms": self.took_ms,
            "facts": [{"key": key, "value": value} for key, value in sorted(self.seen.facts.items())],
            "unseen": [{"part": part, "cause": cause} for part, cause in sorted(self.seen.unseen.items())],
        }


def fingerprints(salt: str) -> Fingerprint:
    """A function that stands a fingerprint in for a secret: equal for equal values of one environment, and only there.

    Raises ``ExpectationError`` for a salt that could be guessed.
    """
    if len(salt) < 32:
        raise ExpectationError("salt has fewer than 32 characters: fingerprints of short secrets could be guessed")
    return lambda value: (
        "fingerprint " + hmac.new(salt.encode(), value.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()
    )[: len("fingerprint ") + _FINGERPRINT_LENGTH]


def checksum(data: bytes | str) -> str:
    """A digest of what is no secret, short enough to be read."""
    return f"sha256 {hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()[:16]}"


def in_parts(looks: Mapping[str, Callable[[], Facts]]) -> Seen:
    """Look part by part; what one part refuses hides none of the others."""
    facts: dict[str, Any] = {}
    unseen: dict[str, str] = {}
    for part, look in looks.items():
        try:
            facts |= look()
        except CannotObserve as reason:
            unseen[part] = str(reason)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as strange:
            unseen[part] = f"the answer has another shape than was expected: {type(strange).__name__}"
    return Seen(facts=facts, unseen=unseen)


def observe_targets(component: str, params: Options, look: Callable[[Options, Deadline], Seen]) -> list[Observation]:
    """One observation for each of ``params["targets"]``, in their order, within the limits that ``params`` name.

    A target that does not answer is an observation too: one of which nothing was seen.
    """
    targets: Sequence[Options] = params["targets"]
    names = [target["name"] for target in targets]
    if not targets or params["workers"] < 1:
        raise ExpectationError("targets is empty, or workers is less than 1: nothing would be looked at")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ExpectationError(f"two targets are named {twice[0]!r}: facts of them could not be told apart")
    limits = Limits(timeout_s=params["timeout_s"], total_timeout_s=params["total_timeout_s"], workers=params["workers"])
    return [
        Observation(
            component=component,
            subject=str(target["name"]),
            address=str(target.get("address") or target["name"]),
            took_ms=outcome.took_ms,
            seen=Seen(unseen={"": str(outcome.observation)})
            if isinstance(outcome.observation, CannotObserve)
            else outcome.observation,
        )
        for target, outcome in zip(targets, look_at_all(targets, look, limits=limits), strict=True)
    ]
