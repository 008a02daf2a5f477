# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the ledger's releases: the same bytes each time, and nothing written when nothing changed.

    python lab/build.py --output DIR [--version V]

1.0.0 is lab/ledger. Any other release is 1.1.0, or 1.0.0 for 1.1.0 itself, with lab/releases/<version> laid over it.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

LAB = Path(__file__).resolve().parent
BASE, NEXT = "1.0.0", "1.1.0"


def versions() -> list[str]:
    """Every release there is, the oldest first."""
    return [BASE, *sorted(path.name for path in (LAB / "releases").iterdir() if path.is_dir())]


def layers(version: str) -> list[Path]:
    """The folders that make a release, each laid over the one before."""
    names = [name for name in (NEXT, version) if version != BASE]
    return [LAB / "ledger", *(LAB / "releases" / name for name in dict.fromkeys(names))]


def contents(version: str) -> dict[str, tuple[int, bytes]]:
    """Name to mode and bytes of every file in the release, BUILD.json included."""
    files = {
        path.relative_to(layer).as_posix(): (0o755 if os.access(path, os.X_OK) else 0o644, path.read_bytes())
        for layer in layers(version)
        for path in sorted(layer.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    record = {"version": version, "build": _digest(files)[:12]}
    files["BUILD.json"] = (0o644, json.dumps(record).encode() + b"\n")
    return files


def archive(files: Mapping[str, tuple[int, bytes]]) -> bytes:
    """The files as a tar.gz that depends on nothing but them: sorted, no time, no owner."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as stream, tarfile.open(fileobj=stream, mode="w") as tar:
        for name, (mode, data) in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size = mode, len(data)
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def build(version: str, output: Path) -> Path:
    """Write ledger-<version>.tar.gz and its .sha256 into the folder, unless they are there already."""
    path = output / f"ledger-{version}.tar.gz"
    data = archive(contents(version))
    _write(path, data)
    _write(path.with_name(f"{path.name}.sha256"), f"{hashlib.sha256(data).hexdigest()}  {path.name}\n".encode())
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the ledger's releases.")
    parser.add_argument("--output", type=Path, required=True, help="the folder that receives the archives")
    parser.add_argument("--version", choices=versions(), help="this release only (default: all)")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for version in [arguments.version] if arguments.version else versions():
        sys.stdout.write(f"{build(version, arguments.output)}\n")
    builds = {version: {"build": json.loads(contents(version)["BUILD.json"][1])["build"]} for version in versions()}
    _write(arguments.output / "builds.json", json.dumps(builds, indent=2).encode() + b"\n")


def _digest(files: Mapping[str, tuple[int, bytes]]) -> str:
    whole = hashlib.sha256()
    for name, (mode, data) in sorted(files.items()):
        whole.update(f"{name} {mode:o} {len(data)}\n".encode() + data)
    return whole.hexdigest()


def _write(path: Path, data: bytes) -> None:
    if path.exists() and path.read_bytes() == data:
        return
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.write_bytes(data)
    unfinished.replace(path)


if __name__ == "__main__":
    main()
