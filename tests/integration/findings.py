# SPDX-License-Identifier: GPL-3.0-or-later
"""How tests read a check module's result: which findings are green, and which one is red."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def findings(result: Mapping[str, Any], subject: str | None = None) -> dict[str, dict[str, Any]]:
    """The findings on one target by the names of their checks; without ``subject``, on the only target."""
    verdicts = {verdict["subject"]: verdict for verdict in result["verdicts"]}
    verdict = verdicts[subject] if subject else next(iter(verdicts.values()))
    return {finding["check"]: finding for finding in verdict["findings"]}


def red(result: Mapping[str, Any], subject: str | None = None) -> list[str]:
    """The checks that failed or could not be answered. A skipped one is not red: it follows from a red one."""
    found = findings(result, subject)
    causes = {name for name, finding in found.items() if finding["status"] in ("fail", "error")}
    for name, finding in found.items():
        if finding["status"] == "skipped":
            assert finding["cause"] in causes, f"{name} was skipped for {finding['cause']}, which is not red"
    return sorted(causes)


def green(result: Mapping[str, Any], subject: str | None = None) -> list[str]:
    """The checks that passed."""
    return sorted(name for name, finding in findings(result, subject).items() if finding["status"] == "pass")
