# SPDX-License-Identifier: GPL-3.0-or-later
"""Open a run."""

from __future__ import annotations

import getpass
import os
import platform
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
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

from ansible.module_utils.cutover.evidence import MANIFEST_NAME
from ansible.module_utils.cutover.gate import GO
from ansible.module_utils.cutover.journal import canonical, digest, iso, plain, utc_now, write_once
from ansible.module_utils.cutover.masking import Masker, find_secrets
from ansible.module_utils.cutover.naming import Resolver, names_in, own
from ansible.module_utils.cutover.read_runs import is_a_change, past_runs
from ansible.module_utils.cutover.runs import PastRun, against_resuming, last_durations, open_drills, unfinished

# What decides how a run goes: of these, a run notes the digest.
CODE = ("ansible.cfg", "playbooks", "roles", "library", "module_utils", "plugins")
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
        "settles": {"type": "bool", "default": False},
        "resume": {"type": "str", "default": ""},
        "set_aside": {"type": "list", "elements": "str", "default": []},
        "drill": {"type": "dict", "default": {}},
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
        _check_names(args)
        args["set_aside"] = [name for name in args["set_aside"] if name]
        environment = Path(args["artifacts_dir"]) / args["environment"]
        circumstances = self._circumstances(task_vars or {})
        past = past_runs(environment) if args["exclusive"] else []
        left = unfinished(past, set_aside=args["set_aside"])
        _refuse(args, environment, left, circumstances)
        directory = _make_directory(environment, args["verb"], opened_at)
        about = {
            "id": directory.name, "verb": args["verb"], "environment": args["environment"], "opened_at": iso(opened_at),
            "operator": args["operator"] or _operator(), "check_mode": bool(self._task.check_mode),
            "resumes": args["resume"] or None, "set_aside": args["set_aside"] or None, "drill": args["drill"] or None,
        }  # fmt: skip
        text = canonical(plain(about | circumstances)) + "\n"
        sha256 = write_once(directory / MANIFEST_NAME, text)
        return result | about | {
            "changed": False, "run_opened": True, "dir": str(directory), "manifest_sha256": sha256,
            "exclusive": args["exclusive"], "unfinished": [run.id for run in left], "durations_s": last_durations(past),
            "unfinished_drills": [
                each for each in open_drills(run for run in past if not run.alive) if not _within(args["drill"], each)
            ],
            "inventory": [str(path) for path in context.CLIARGS.get("inventory") or ()],
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


def _check_names(args: Mapping[str, Any]) -> None:
    if args["drill"] and set(args["drill"]) != {"run", "drill"}:
        raise AnsibleActionFail("run_drill has a run and a drill, and is the drill's to set")
    for name in ("verb", "environment"):
        if not args[name].replace("-", "").replace("_", "").isalnum():
            raise AnsibleActionFail(f"run_{name} is {args[name]!r}: use letters, digits, - and _ only")


def _refuse(
    args: Mapping[str, Any], environment: Path, left: Sequence[PastRun], circumstances: Mapping[str, Any]
) -> None:
    """A run never starts afresh over one that did not come to its end: it goes on with it, or takes it back."""
    # What is named may have been settled long ago, and so be none of those that still matter.
    if unknown := sorted(
        name for name in args["set_aside"] if not (args["exclusive"] and is_a_change(environment, name))
    ):
        raise AnsibleActionFail(f"run_set_aside names {', '.join(unknown)}, which is no run of this environment")
    resumed = next((run for run in left if run.id == args["resume"]), None)
    if args["resume"] and resumed is None:
        raise AnsibleActionFail(
            f"resume is {args['resume']!r}, which is no unfinished run of this environment. "
            f"Unfinished are: {', '.join(run.id for run in left) or 'none'}"
        )
    if resumed and (reasons := against_resuming(resumed, circumstances)):
        raise AnsibleActionFail(
            f"run {resumed.id} cannot be resumed: {'; '.join(reasons)}. {_way_back(resumed, resume=False)}"
        )
    if resumed and resumed.alive:
        raise AnsibleActionFail(f"run {resumed.id} is still at work: end it first")
    if left and not resumed and not args["settles"]:
        raise AnsibleActionFail("\n".join([*map(_unfinished, left), _way_back(left[-1])]))


def _within(own: Mapping[str, Any], drill: Mapping[str, Any]) -> bool:
    """Whether a drill is the one of which this run is a part: whoever plays it sees that all is well after it."""
    return bool(own) and (drill["run"], drill["drill"]) == (own["run"], own["drill"])


def _unfinished(run: PastRun) -> str:
    ended = "was interrupted" if run.interrupted else "went back, but not wholly"
    if run.drill and run.verdict == GO:
        ended = f"is part of the drill {run.drill['drill']}, and nobody has gone back from it"
    how = run.problem or ("is still at work" if run.alive else ended)
    steps = ", ".join(f"{name} ({state})" for name, state in run.steps.items())
    opened = f"opened at {run.opened_at} by {run.manifest.get('operator')}"
    return f"Run {run.id}, {opened}, {how}. Its steps: {steps or 'unknown'}."


def _way_back(run: PastRun, *, resume: bool = True) -> str:
    wait = "Wait until it has ended: its last task may go on after its controller was killed. " if run.alive else ""
    go_on = f" Or go on with it: the same command as before, with -e resume={run.id}."
    return (
        f"{wait}Go back to what it found: ansible-playbook playbooks/rollback.yml."
        f"{go_on if resume and run.may_be_resumed else ''} When a person has brought the environment in order, and "
        f"answers for it: -e run_set_aside={run.id}; that is recorded."
    )


def _make_directory(environment: Path, verb: str, opened_at: datetime) -> Path:
    stamp = opened_at.strftime("%Y%m%dT%H%M%SZ")
    directory = environment / f"{stamp}-{verb}-{secrets.token_hex(2)}"
    try:
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.mkdir(mode=0o700)
    except OSError as fault:
        raise AnsibleActionFail(f"no evidence can be written to {directory}: {fault.strerror}") from fault
    return directory


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
    """The commit of this project, whether it was changed since, and the digest of its code."""
    directory = os.path.dirname(constants.CONFIG_FILE) if constants.CONFIG_FILE else os.getcwd()
    commit = _git(directory, ["rev-parse", "HEAD"])
    changes = _git(directory, ["status", "--porcelain"]) if commit else None
    dirty = None if changes is None else bool(changes)
    return {"git_sha": commit, "dirty": dirty, "code_sha256": _code(Path(directory))}


def _code(project: Path) -> str:
    files = (path for name in CODE for path in sorted([project / name, *(project / name).rglob("*")]))
    code = {
        str(path.relative_to(project)): digest(path.read_bytes())
        for path in files
        if path.is_file() and "__pycache__" not in path.parts
    }
    return digest(canonical(code))


def _git(directory: str, arguments: Iterable[str]) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", directory, *arguments], capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
