# SPDX-License-Identifier: GPL-3.0-or-later
"""The key shares of a Vault's holders, each from a file of its own: as it is, or wrapped with age or PGP.

Sources: age(1), gpg(1), openbao.org/docs/concepts/pgp-gpg-keybase.
"""

from __future__ import annotations

import base64
import binascii
import re
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

AGE = (".age",)
PGP = (".asc", ".gpg", ".pgp")
# Hexadecimal or Base64, as the server has given it.
KEY = re.compile(r"[0-9A-Za-z+/_=-]+")
# Somebody may have to type the passphrase of a key into gpg's own window.
DECRYPT_S = 120.0


class ShareError(Exception):
    """A share that could not be read. The text is ready for a person, and holds nothing of the share."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """One key share, and by what its holder is known: the file, or who was asked."""

    holder: str
    key: str = field(repr=False)


def read_shares(paths: Sequence[str], *, age_identity: str | None = None) -> list[Share]:
    """The share in each file; what is wrapped is unwrapped in memory. Raises ``ShareError`` at the first that fails."""
    return [Share(holder=Path(path).name, key=_key(Path(path), age_identity)) for path in paths]


def _key(path: Path, age_identity: str | None) -> str:
    try:
        content, mode = path.read_bytes(), path.stat().st_mode
    except OSError as fault:
        raise ShareError(f"{path} cannot be read: {fault.strerror}") from fault
    if path.suffix in AGE:
        if not age_identity:
            raise ShareError(f"{path} is wrapped with age: name the file of an identity that unwraps it")
        content = _unwrapped(path, ["age", "--decrypt", "--identity", age_identity], content)
    elif path.suffix in PGP:
        content = _unwrapped(path, ["gpg", "--quiet", "--decrypt"], _armour_off(content))
    elif mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ShareError(
            f"{path} holds a share as it is, and others than its owner may read it (mode {stat.S_IMODE(mode):04o}): "
            "chmod 600"
        )
    text = content.decode("utf-8", "replace").strip()
    if not KEY.fullmatch(text):
        raise ShareError(f"{path} does not hold one key share, in hexadecimal or Base64, and nothing else")
    return text


def _armour_off(content: bytes) -> bytes:
    """What ``operator init -pgp-keys`` prints is Base64 without the lines around it that gpg knows."""
    try:
        return base64.b64decode(b"".join(content.split()), validate=True)
    except binascii.Error:
        return content


def _unwrapped(path: Path, argv: Sequence[str], content: bytes) -> bytes:
    try:
        done = subprocess.run(argv, input=content, capture_output=True, timeout=DECRYPT_S, check=False)
    except FileNotFoundError as missing:
        raise ShareError(f"{path} needs the program {argv[0]}, which is not installed") from missing
    except subprocess.TimeoutExpired as late:
        raise ShareError(f"{path} could not be unwrapped within {DECRYPT_S:.0f} s: {argv[0]} still waits") from late
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise ShareError(f"{path} could not be unwrapped: {said[0]}")
    return done.stdout
