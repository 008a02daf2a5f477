# SPDX-License-Identifier: GPL-3.0-or-later
"""Open a run."""

from __future__ import annotations

import fcntl
import getpass
import os
import platform
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible import constants, context
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.release import __version__ as ansible_core_version

# Ansible hands the project's module_utils to modules only; plugins have to look there themselves.
ansible.module_utils.__path__ += [
    path for path in constants.DEFAULT_MODULE_UTILS_PATH if path not in ansible.module_utils.__path__
]

from ansible.module_utils.cutover.journal import canonical, digest, iso, plain, utc_now
from ansible.module_utils.cutover.masking import Masker, find_secrets
from ansible.module_utils.cutover.naming import Resolver, names_in, own

CLIENTS = ("ansible", "jinja2", "hvac", "psycopg", "redis", "requests")
GIT_TIMEOUT_S = 5


def argument_spec() -> dict[str, Any]:
    """The options, as the module of the same name documents them."""
    return {
        "verb": {"type": "str", "required": True},
        "environment": {"type": "str", "required": True},
        "artifacts_dir": {"type": "path", "required": True},
        "operator": {"type": "str"},
        "exclusive": {"type": "bool", "default": False},
    }


class ActionModule(ActionBase):
    """Makes the run's directory and writes who, where, when and with what. Evidence is written in check mode too."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec())
        opened_at = utc_now()
        directory = _make_directory(args, opened_at)
        lock = _free_lock(directory.parent / ".lock") if args["exclusive"] else None
        about = {
            "id": directory.name, "verb": args["verb"], "environment": args["environment"], "opened_at": iso(opened_at),
            "operator": args["operator"] or _operator(), "check_mode": bool(self._task.check_mode),
        }  # fmt: skip
        text = canonical(plain(about | self._circumstances(task_vars or {}))) + "\n"
        _write(directory / "manifest.json", text)
        return result | {
            "changed": False, "run_opened": True, "dir": str(directory), "lock": lock, "manifest_sha256": digest(text),
            **{key: about[key] for key in ("id", "verb", "environment", "opened_at")},
        }  # fmt: skip

    def _circumstances(self, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Everything that may explain a result later, masked."""
        resolver = Resolver(self._templar)
        variables = own(task_vars)
        masker = Masker(find_secrets(variables, resolver), readable=names_in(variables, resolver))
        inputs = {
            "variables": masker.mask(variables),
            "groups": plain(masker.mask(task_vars.get("groups", {}))),
            "extra_vars": masker.mask(list(context.CLIARGS.get("extra_vars") or ())),
        }
        return {
            "runner": _masked_host(socket.gethostname()),
            "command": masker.mask(sys.argv),
            "project": _project(),
            "versions": _versions(),
            "inputs": inputs,
            "inputs_sha256": digest(canonical(plain(inputs))),
        }


def _make_directory(args: Mapping[str, Any], opened_at: datetime) -> Path:
    for name in ("verb", "environment"):
        if not args[name].replace("-", "").replace("_", "").isalnum():
            raise AnsibleActionFail(f"run_{name} is {args[name]!r}: use letters, digits, - and _ only")
    stamp = opened_at.strftime("%Y%m%dT%H%M%SZ")
    directory = Path(args["artifacts_dir"]) / args["environment"] / f"{stamp}-{args['verb']}-{secrets.token_hex(2)}"
    try:
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.mkdir(mode=0o700)
    except OSError as fault:
        raise AnsibleActionFail(f"no evidence can be written to {directory}: {fault.strerror}") from fault
    return directory


def _free_lock(path: Path) -> str:
    """The lock's path when nobody holds it. The callback takes it: it lives as long as the playbook does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as fault:
        raise AnsibleActionFail(
            f"another run is changing this environment (it holds {path}): wait for its end"
        ) from fault
    finally:
        os.close(descriptor)
    return str(path)


def _operator() -> str:
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _masked_host(name: str) -> str:
    """Enough to tell two runners apart, not enough to find one."""
    return f"{name[:2]}*** ({platform.system()} {platform.machine()})"


def _versions() -> dict[str, str | None]:
    return {"ansible-core": ansible_core_version, "python": platform.python_version()} | {
        name: _version(name) for name in CLIENTS
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _project() -> dict[str, Any]:
    """The commit of this project and whether it was changed since; empty where there is no repository."""
    directory = os.path.dirname(constants.CONFIG_FILE) if constants.CONFIG_FILE else os.getcwd()
    commit = _git(directory, ["rev-parse", "HEAD"])
    changes = _git(directory, ["status", "--porcelain"]) if commit else None
    return {"git_sha": commit, "dirty": None if changes is None else bool(changes)}


def _git(directory: str, arguments: Iterable[str]) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", directory, *arguments], capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
