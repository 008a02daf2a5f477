"""The ground the lab stands on: folders, secrets, certificates and configuration below one state folder."""

from __future__ import annotations

import json
import os
import pwd
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .keep import Keep, write
from .trouble import Trouble

RENEW_AFTER_DAYS = 45  # half the life of a certificate
# A unix socket's path may have 107 bytes (unix(7)); supervisord binds `<path>.<pid>` before it renames it.
LONGEST_STATE_DIR = 107 - len("/app1/run/supervisor.sock.4194304")


@dataclass(frozen=True)
class Ground:
    """What must be there. Paths are relative to the state folder; an owner counts only when root runs the lab."""

    state_dir: Path
    stamp: Mapping[str, str]
    folders: Sequence[Mapping[str, str]]
    secrets: Sequence[str]
    certificates: Sequence[Mapping[str, str]]
    addresses: Sequence[str]
    files: Sequence[Mapping[str, str]]

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Ground:
        """From a module's arguments."""
        ground, app_folders = params["ground"], params["stack"]["app_folders"]
        host_folders = [{"path": path} for path in ("", *ground["host_folders"])]
        return cls(
            state_dir=Path(params["state_dir"]),
            stamp=ground["stamp"],
            folders=[*ground["folders"], *_for_each(app_folders, host_folders)],
            secrets=ground["secrets"],
            certificates=ground["certificates"],
            addresses=ground["addresses"],
            files=[*ground["files"], *_for_each(app_folders, ground["host_files"])],
        )

    @property
    def keep(self) -> Keep:
        """The folder of secrets."""
        return Keep(self.state_dir / "secrets")


def obstacles(ground: Ground) -> Iterator[str]:
    """Why this state folder cannot be used as it is: one sentence each."""
    if len(str(ground.state_dir)) > LONGEST_STATE_DIR:
        yield (
            f"The path {ground.state_dir} is too long for the unix sockets in it (at most {LONGEST_STATE_DIR} "
            "characters): set CUTOVER_LAB_STATE to a shorter one."
        )
    if not ground.state_dir.exists():
        return
    if ground.state_dir.stat().st_uid != os.getuid():
        owner = pwd.getpwuid(ground.state_dir.stat().st_uid).pw_name
        yield f"{ground.state_dir} belongs to {owner}: run the lab as {owner}, or set CUTOVER_LAB_STATE elsewhere."
        return
    yield from _stale(ground)


def missing(ground: Ground) -> list[str]:
    """What is not as it must be; empty when the ground needs no work. Makes nothing."""
    if not (ground.state_dir / "lab.json").is_file():
        return ["everything"]
    return [
        *(folder["path"] for folder in ground.folders if not (ground.state_dir / folder["path"]).is_dir()),
        *(f"secret {name}" for name in ground.secrets if not ground.keep.has(name)),
        *(certificate["path"] for certificate in ground.certificates if _due(ground, certificate)),
        *(file["path"] for file in ground.files if _differs(ground, file)),
    ]


def lay(ground: Ground) -> list[str]:
    """Make what is missing; the programs that must start again because their files changed."""
    from . import authority  # here: its library is slow to import, and a lab that is up needs none of it

    ground.state_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    for folder in ground.folders:
        _make_folder(ground.state_dir / folder["path"], folder)
    ground.keep.generate(ground.secrets)
    authority.ensure_authority(ground.state_dir / "ca")
    due = [certificate for certificate in ground.certificates if _due(ground, certificate)]
    for certificate in due:
        public, private = authority.issue(ground.state_dir / "ca", certificate["program"], ground.addresses)
        path = ground.state_dir / certificate["path"]
        write(path.with_suffix(".key"), private, 0o600, _ids(certificate))
        # HAProxy reads certificate and key from one file; the others read the first and ignore the rest.
        write(path.with_suffix(".pem"), public + private, 0o600, _ids(certificate))
    touched = {certificate["program"] for certificate in due}
    for file in ground.files:
        if _differs(ground, file):
            content = ground.keep.fill(file["content"])
            write(ground.state_dir / file["path"], content, 0o600, _ids(file))
            touched.add(file["program"])
    write(ground.state_dir / "lab.json", json.dumps(dict(ground.stamp), sort_keys=True) + "\n", 0o600)
    return sorted(touched)


def _for_each(app_folders: Mapping[str, str], items: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The items once for each app host: below its folder, and belonging to its process manager."""
    return [
        {**item, "path": str(Path(folder) / item["path"]), "program": name}
        for name, folder in app_folders.items()
        for item in items
    ]


def _stale(ground: Ground) -> Iterator[str]:
    stamp = ground.state_dir / "lab.json"
    if not stamp.is_file():
        return
    try:
        found = json.loads(stamp.read_text())
    except ValueError:
        found = {}
    for name, expected in ground.stamp.items():
        if found.get(name) != expected:
            yield (
                f"The state in {ground.state_dir} was made with {name} {found.get(name, 'unknown')}, not {expected}: "
                "use that again, or `make clean` and start afresh."
            )


def _due(ground: Ground, certificate: Mapping[str, str]) -> bool:
    # Age by the file's date: reading the certificate would cost every quick start the import of a library.
    path = ground.state_dir / f"{certificate['path']}.pem"
    return not path.is_file() or time.time() - path.stat().st_mtime > RENEW_AFTER_DAYS * 86400


def _differs(ground: Ground, file: Mapping[str, str]) -> bool:
    path = ground.state_dir / file["path"]
    try:
        return path.read_text() != str(ground.keep.fill(file["content"]))
    except (OSError, Trouble):
        return True


def _make_folder(path: Path, folder: Mapping[str, str]) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    if (ids := _ids(folder)) is not None:
        os.chown(path, *ids)


def _ids(item: Mapping[str, str]) -> tuple[int, int] | None:
    """Only root can give files away, and only root has to: whoever else runs the lab owns all of it."""
    if not item.get("owner") or os.getuid() != 0:
        return None
    account = pwd.getpwnam(item["owner"])
    return account.pw_uid, account.pw_gid
