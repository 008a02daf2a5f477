# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of process managers from their own answers: what is declared, not what runs. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .checks import CannotObserve

# Whether a process runs is judged by the contract; where supervisord stands in its work is nobody's doing.
_OF_A_PROGRAM = (
    "command", "directory", "uid", "autostart", "startsecs", "startretries", "exitcodes", "stopsignal", "stopwaitsecs",
    "stopasgroup", "killasgroup", "redirect_stderr", "stdout_logfile", "stderr_logfile", "process_prio", "inuse",
)  # fmt: skip
# A log that nobody named has another name each time supervisord starts.
_UNNAMED_LOG = re.compile(r"(---supervisor-)\w+(?=\.log$)")
UNIT_PROPERTIES = (
    "Id", "LoadState", "UnitFileState", "FragmentPath", "DropInPaths", "User", "WorkingDirectory", "EnvironmentFiles",
    "NeedDaemonReload",
)  # fmt: skip


def supervisor_facts(programs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``supervisor.getAllConfigInfo``: each program as it is declared. Source: http://supervisord.org/api.html"""
    return {
        f"process.{program['group']}:{program['name']}"
        if program["group"] != program["name"]
        else f"process.{program['name']}": {name: _plain(program[name]) for name in _OF_A_PROGRAM if name in program}
        for program in programs
    }


def _plain(value: Any) -> Any:
    return _UNNAMED_LOG.sub(r"\1*", value) if isinstance(value, str) else value


def unit_facts(stdout: str, names: Sequence[str]) -> dict[str, Any]:
    """``systemctl show`` with ``UNIT_PROPERTIES``: each unit as it is declared, one paragraph each in that order."""
    paragraphs = [paragraph for paragraph in stdout.strip().split("\n\n") if paragraph.strip()]
    if len(paragraphs) != len(names):
        raise CannotObserve(f"systemctl told of {len(paragraphs)} units where {len(names)} were asked for")
    units = [dict(line.split("=", 1) for line in text.splitlines() if "=" in line) for text in paragraphs]
    return {
        f"process.{name}": {key: unit[key] for key in UNIT_PROPERTIES if unit.get(key) not in (None, "", "no")}
        for name, unit in zip(names, units, strict=True)
    }
