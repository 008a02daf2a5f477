# SPDX-License-Identifier: GPL-3.0-or-later
"""That each finding was seen green and red on a real server, looked at when all integration tests have run.

Green is a finding that passed. Red is one that failed or could not be answered, and was the only such one in its
verdict: who breaks one thing must see just that. What a module can find is read from its judge's source, so a check
without both tests fails the run. A run of some tests (`-k`, a file, one test) proves nothing about the others, and one
that failed has other worries: neither is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from contract.check_names import names_by_module, unproven

RED = ("fail", "error")
# A journey's findings bear the names of its steps, which are its inventory's: no source spells them out. Its own tests
# take each kind of finding through both colours.
APART = frozenset({"journey_check"})


class EveryFinding:
    """What was seen in this process; the one that started the others gathers theirs (pytest-xdist)."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, str, str]] = set()
        self.is_partial = False
        self.unproven: list[str] = []

    def see(self, module: str, result: Mapping[str, Any]) -> None:
        """Keep what a module found."""
        for verdict in result.get("verdicts", []):
            findings = verdict["findings"]
            green = [finding["check"] for finding in findings if finding["status"] == "pass"]
            red = [finding["check"] for finding in findings if finding["status"] in RED]
            self.seen |= {(module, check, "green") for check in green}
            self.seen |= {(module, check, "red") for check in red if len(red) == 1}

    def pytest_deselected(self) -> None:
        """Notice that not all tests run."""
        self.is_partial = True

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what another process saw."""
        output = getattr(node, "workeroutput", {})
        self.seen |= {(module, check, colour) for module, check, colour in output.get("seen_findings", [])}
        self.is_partial |= output.get("is_partial", True)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand over what was seen, or judge it."""
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput |= {"seen_findings": sorted(self.seen), "is_partial": self.is_partial}
        elif session.exitstatus == pytest.ExitCode.OK and not self.is_partial and _runs_everything(session.config):
            modules = names_by_module().keys() - APART
            self.unproven = [sentence for module in sorted(modules) for sentence in self._unproven(module)]
            if self.unproven:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _unproven(self, module: str) -> list[str]:
        checks = {
            colour: {check for name, check, was in self.seen if (name, was) == (module, colour)}
            for colour in ("green", "red")
        }
        return list(unproven(module, **checks))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Name what has no test."""
        if self.unproven:
            terminalreporter.section("findings that no test has seen on a server", red=True)
            terminalreporter.write("".join(f"{sentence}\n" for sentence in self.unproven))


def _runs_everything(config: pytest.Config) -> bool:
    named = [(config.invocation_params.dir / arg).resolve() for arg in config.args]
    is_whole = any(Path(__file__).parent.is_relative_to(path) for path in named)
    return is_whole and not (config.option.collectonly or config.option.ignore or config.option.ignore_glob)
