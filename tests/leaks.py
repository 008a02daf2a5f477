"""Search files for the secrets of a lab: as they are, in base64, in hex and URL-encoded.

    python tests/leaks.py STATE PLACE...

A place is a file, a folder or a pattern of them. Secret and file are named, a value never; exit code 1 says that there
are any. It shares no code with what masks, so that both cannot be wrong in the same way.
"""

from __future__ import annotations

import base64
import glob
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

# A token that a login gives out is in no file of the lab: OpenBao's, and those signed with a JWT secret.
BORN_DURING_THE_RUN = re.compile(
    rb"\b(?:hv)?[sb]\.[A-Za-z0-9]{24}\b|\beyJ[A-Za-z0-9_-]{10,}\.eyJ|-----BEGIN [A-Z ]*PRIVATE KEY"
)


def secrets_of(state: Path) -> dict[str, str]:
    """The name of each secret by its value: every file in ``secrets``, and each line of a private key."""
    found = {}
    for path in sorted((state / "secrets").iterdir()):
        content = path.read_text(encoding="utf-8").strip()
        values = _texts(json.loads(content)) if path.suffix == ".json" else [content]
        found |= dict.fromkeys(values, path.name)
    for path in sorted(state.glob("*/*.key")):
        lines = path.read_text(encoding="utf-8").splitlines()
        found |= dict.fromkeys((line for line in lines if "-----" not in line), str(path.relative_to(state)))
    return {value: name for value, name in found.items() if len(value) >= 8}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def forms_of(secret: str) -> set[bytes]:
    """How a secret may be written, also in base64 of something longer, where it begins at any of three offsets."""
    data = secret.encode()
    forms = {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], data.hex()}
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + data).decode()
        core = encoded[-(-offset * 8 // 6) : (offset + len(data)) * 8 // 6]
        forms |= {core, core.replace("+", "-").replace("/", "_"), quote(core, safe="")}
    return {form.encode() for form in forms}


def leaks(state: Path, files: list[Path]) -> Iterator[str]:
    """Yield a sentence for each secret in each file."""
    forms = {form: name for secret, name in secrets_of(state).items() for form in forms_of(secret)}
    for path in files:
        content = path.read_bytes()
        names = {name for form, name in forms.items() if form in content}
        yield from (f"{name} is in {path}" for name in sorted(names))
        if born := BORN_DURING_THE_RUN.search(content):
            yield f"what looks like a token or a key is in {path}, at byte {born.start()}"


def files_in(places: list[str]) -> list[Path]:
    """Every file there; raises ``FileNotFoundError`` for a place at which there is none."""
    files = []
    for place in places:
        found = [Path(name) for name in glob.glob(place)]
        below = [path for root in found for path in (sorted(root.rglob("*")) if root.is_dir() else [root])]
        here = [path for path in below if path.is_file()]
        if not here:
            raise FileNotFoundError(f"there is nothing to search at {place}")
        files += here
    return files


def main() -> int:
    """Search, say what was searched for, and what was found where."""
    state, files = Path(sys.argv[1]), files_in(sys.argv[2:])
    found = list(leaks(state, files))
    sys.stdout.write("\n".join([*found, f"{len(files)} files searched for {len(secrets_of(state))} secrets\n"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
