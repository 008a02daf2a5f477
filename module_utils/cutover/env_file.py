# SPDX-License-Identifier: GPL-3.0-or-later
"""Environment files: ``NAME=value`` lines as a shell and a service manager read them, without evaluating any."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


class EnvFileError(ValueError):
    """An environment file cannot be read or understood. The text names file and line, and no value."""


def read_env_file(path: str) -> dict[str, str]:
    """The variables that the file at ``path`` sets; raises ``EnvFileError``."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as reason:
        words = reason.strerror if isinstance(reason, OSError) else "it is not UTF-8"
        raise EnvFileError(f"The environment file {path} cannot be read: {words}") from None
    try:
        return parse_env_file(text)
    except EnvFileError as reason:
        raise EnvFileError(f"{path}, {reason}") from None


def parse_env_file(text: str) -> dict[str, str]:
    """The variables that ``text`` sets, the last assignment of a name counting.

    A value is quoted as ``shlex.quote`` and a POSIX shell do, over several lines where it holds some. Empty lines and
    those that start with ``#`` say nothing; a leading ``export`` is allowed. Nothing is expanded: ``$HOME`` stays as it
    is. Raises ``EnvFileError`` for whatever else.
    """
    return dict(_assignment(number, statement) for number, statement in _statements(text))


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each assignment with the number of the line on which it begins; a quoted value may go on over lines."""
    pending, begun_at = "", 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not pending and (not line.strip() or line.lstrip().startswith("#")):
            continue
        pending, begun_at = (f"{pending}\n{line}", begun_at) if pending else (line, number)
        if _quotes_are_closed(pending):
            yield begun_at, pending.rstrip("\r")
            pending = ""
    if pending:
        raise EnvFileError(f"line {begun_at}: a quotation mark is never closed")


def _quotes_are_closed(text: str) -> bool:
    try:
        shlex.split(text)
    except ValueError:
        return False
    return True


def _assignment(number: int, statement: str) -> tuple[str, str]:
    words = shlex.split(statement)
    assignment = _ASSIGNMENT.fullmatch(words[-1])
    if assignment is None or words[:-1] not in ([], ["export"]):
        raise EnvFileError(f"line {number}: this is not NAME=value; quote a value that holds spaces or quotation marks")
    return assignment[1], assignment[2]
