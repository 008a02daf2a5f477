# SPDX-License-Identifier: GPL-3.0-or-later
"""The one shape: what every check module answers, for each target one verdict made of findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """What became of a check. Only ``PASS`` opens a gate."""

    PASS = "pass"
    FAIL = "fail"  # observed, and wrong
    ERROR = "error"  # could not be observed
    SKIPPED = "skipped"  # another finding, named in the cause, made it meaningless


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check's answer: the two sides, and why or what to do where they differ."""

    check: str
    status: Status
    blocking: bool = True
    expected: Any = None
    observed: Any = None
    cause: str | None = None
    remedy: str | None = None

    @property
    def ok(self) -> bool:
        """Whether this finding lets a gate open."""
        return self.status is Status.PASS or not self.blocking


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """All findings on one target. ``recorded`` holds what is kept whole as evidence, such as a response."""

    component: str
    subject: str
    address: str
    took_ms: int
    findings: tuple[Finding, ...]
    recorded: Mapping[str, Any] | None = None

    @property
    def ok(self) -> bool:
        """Every blocking finding passed. No finding at all is not ok: nothing was looked at."""
        return bool(self.findings) and all(finding.ok for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The verdict as plain data, for a module's result."""
        verdict: dict[str, Any] = {
            "component": self.component,
            "subject": self.subject,
            "address": self.address,
            "ok": self.ok,
            "took_ms": self.took_ms,
            "findings": [asdict(finding) | {"status": finding.status.value} for finding in self.findings],
        }
        return verdict if self.recorded is None else verdict | {"recorded": dict(self.recorded)}
