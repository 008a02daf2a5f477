# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the facts of files where this runs: the variables of an environment file, or all that lies below a folder."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .checks import CannotObserve
from .env_file import EnvFileError, read_env_file
from .observation import Fingerprint, Seen, checksum
from .pool import Deadline

Options = Mapping[str, Any]

# Made by running, not by releasing.
MADE_BY_RUNNING = ("__pycache__", "*.pyc")
ABSENT = "absent"


def look_at_files(fingerprint: Fingerprint, target: Options, deadline: Deadline) -> Seen:
    """The facts of ``target["path"]`` by its kind; what is not there is a fact, too.

    Raises ``CannotObserve`` for what is there and cannot be read.
    """
    path = Path(target["path"])
    try:
        if not path.exists():
            return Seen(facts={"place": ABSENT})
        variables = target["kind"] == "variables"
        facts = _variables(path, fingerprint) if variables else _tree(path, fingerprint, target, deadline)
    except OSError as reason:
        raise CannotObserve(f"{reason.filename or path} cannot be read: {reason.strerror}") from reason
    except EnvFileError as reason:
        raise CannotObserve(str(reason)) from reason
    return Seen(facts=facts | {"place": _place(path)})


def _place(path: Path) -> dict[str, Any]:
    """Where a link leads, and who may do what with what is there."""
    status = path.stat()
    return {"owner": _owner(status.st_uid), "mode": f"{stat.S_IMODE(status.st_mode):04o}"} | (
        {"leads_to": os.readlink(path)} if path.is_symlink() else {}
    )


def _owner(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _variables(path: Path, fingerprint: Fingerprint) -> dict[str, Any]:
    return {f"variable.{name}": fingerprint(value) for name, value in read_env_file(str(path)).items()}


def _tree(path: Path, fingerprint: Fingerprint, target: Options, deadline: Deadline) -> dict[str, Any]:
    """A fingerprint of each file, which may be a short secret; of more than ``max_files``, one for each top folder."""
    excluded = (*MADE_BY_RUNNING, *(target.get("exclude") or ()))
    facts: dict[str, Any] = {}
    for file in _files(path, excluded):
        deadline.left_s()
        facts[f"file.{file.relative_to(path)}"] = _file(file, fingerprint)
    return facts if len(facts) <= target["max_files"] else _folded(facts)


def _files(folder: Path, excluded: tuple[str, ...]) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if any(fnmatchcase(entry.name, pattern) for pattern in excluded):
            continue
        if entry.is_dir() and not entry.is_symlink():
            yield from _files(entry, excluded)
        else:
            yield entry


def _file(path: Path, fingerprint: Fingerprint) -> str:
    if path.is_symlink():
        return f"link to {os.readlink(path)}"
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        return "no regular file"
    # Bytes that are no UTF-8 come through one by one.
    content = path.read_bytes().decode("utf-8", "surrogateescape")
    return f"{fingerprint(content)}{' executable' if status.st_mode & 0o100 else ''}"


def _folded(facts: Mapping[str, str]) -> dict[str, Any]:
    alone = {key: value for key, value in facts.items() if "/" not in key}
    folders: dict[str, list[str]] = {}
    for key, value in facts.items():
        if "/" in key:
            top = key.removeprefix("file.").partition("/")[0]
            folders.setdefault(f"folder.{top}", []).append(f"{key} {value}")
    return alone | {key: f"{len(lines)} files, {checksum(chr(10).join(lines))}" for key, lines in folders.items()}
