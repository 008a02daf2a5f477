"""The keep: the lab's secrets, one file each, made afresh and never printed."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .trouble import Trouble

# `@@redis-password@@` in a template stands for the secret of that name: arguments and diffs never hold its value.
PLACE = re.compile(r"@@([a-z0-9-]+)@@")


@dataclass(frozen=True)
class Keep:
    """The folder of secrets."""

    folder: Path

    def generate(self, names: Iterable[str]) -> list[str]:
        """Make each secret that is not there yet; the names of the new ones."""
        missing = [name for name in names if not (self.folder / name).is_file()]
        for name in missing:
            self.put(name, secrets.token_urlsafe(32))
        return missing

    def has(self, name: str) -> bool:
        """Whether there is such a secret."""
        return (self.folder / name).is_file()

    def get(self, name: str) -> str:
        """The secret. Raises Trouble when there is none: the folder was tampered with."""
        try:
            return (self.folder / name).read_text()
        except OSError as problem:
            sentence = f"The lab's secret {name} cannot be read in {self.folder}: `make clean`, then start afresh."
            raise Trouble(sentence) from problem

    def put(self, name: str, value: str) -> None:
        """Keep the secret: readable by us alone, and never half written."""
        write(self.folder / name, value, 0o600)

    def fill(self, value: Any) -> Any:
        """The same text, list or dictionary with every placeholder replaced by its secret."""
        if isinstance(value, dict):
            return {key: self.fill(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.fill(inner) for inner in value]
        return PLACE.sub(lambda place: self.get(place[1]), value) if isinstance(value, str) else value


def write(path: Path, content: str, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Replace a file in one step; it never exists with wider permissions or half its content."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(content)
        if owner is not None:
            os.chown(beside, *owner)
        beside.chmod(mode)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
