# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the project's modules in Ansible's worker, where that is the place and the interpreter they would run in anyway.

Ansible runs every module that has no action of its own by the action `normal`, and takes a project's before its own:
docs/decisions/0009-modules-run-in-the-worker.md.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import ansible.module_utils
import ansible.modules
from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.module_utils import basic
from ansible.module_utils.common.json import Direction, get_module_decoder, get_module_encoder
from ansible.plugins import action
from ansible.utils.display import Display

# Ansible hands the project's module_utils to modules only; plugins have to look there themselves.
ansible.module_utils.__path__ += [
    path for path in constants.DEFAULT_MODULE_UTILS_PATH if path not in ansible.module_utils.__path__
]

# These fork, or have a say in the signals that end them: they get a process of their own, and all of it.
APART = frozenset({"fault", "postgres_restore"})
# Of Ansible's own, those that only look: at links, releases and backups.
LOOKERS = frozenset({"find", "slurp", "stat"})
PROFILE = "legacy"


def load(path: Path, *, name: str) -> Any:
    """What is in a Python file, as the module ``name``."""
    loader = SourceFileLoader(name, str(path))
    spec: Any = spec_from_loader(loader.name, loader)
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


# By its file: while this one is loaded, the name of the action that it stands in for leads here.
AnsiblesOwn: Any = load(Path(action.__file__).with_name("normal.py"), name="ansibles_own_normal").ActionModule


class ActionModule(AnsiblesOwn):
    def _execute_module(
        self,
        module_name: str | None = None,
        module_args: dict[str, Any] | None = None,
        *args: Any,
        task_vars: dict[str, Any] | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        name = module_name or self._task.action
        path = self._file_of(name)
        if path is None or not self._runs_here(task_vars or {}):
            return super()._execute_module(module_name, module_args, *args, task_vars=task_vars, **options)
        module_args = self._task.args if module_args is None else module_args
        self._update_module_args(name, module_args, task_vars)
        Display().vvv(f"Running {path} in the worker")
        return run_here(path, module_args, directory=self._loader.get_basedir())

    def _file_of(self, name: str) -> Path | None:
        """The module's file, when it is one of those that may run in the worker."""
        found = self._shared_loader_obj.module_loader.find_plugin_with_context(name, ".py")
        path = Path(found.plugin_resolved_path or "")
        if path.parent == Path(ansible.modules.__file__).parent:
            return path if path.stem in LOOKERS else None
        return path if str(path.parent) in constants.DEFAULT_MODULE_PATH and path.stem not in APART else None

    def _runs_here(self, task_vars: dict[str, Any]) -> bool:
        """Whether Ansible would run a module on this machine, as this user, in this interpreter and environment."""
        host = self._task.delegate_to
        host_vars = task_vars.get("ansible_delegated_vars", {}).get(host, {}) if host else task_vars
        return (
            self._connection.transport == "local"
            and not self._connection.become
            and not self._task.async_val
            and not any(self._task.environment or [])
            and self._templar.template(host_vars.get("ansible_python_interpreter")) == sys.executable
        )


def run_here(path: Path, args: dict[str, Any], *, directory: str) -> dict[str, Any]:
    """What the module at ``path`` returns when it is called with ``args`` in ``directory``.

    Arguments and result are serialised as on the way to another process and back: a module sees plain values. What it
    raises is raised here, and becomes the failure of the task; so does an end without a result.
    """
    encoder = get_module_encoder(PROFILE, Direction.CONTROLLER_TO_MODULE)
    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": args}, cls=encoder).encode()
    basic._ANSIBLE_PROFILE = PROFILE
    printed = io.StringIO()
    with contextlib.chdir(directory), contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        load(path, name="__main__")
    try:
        result: dict[str, Any] = json.loads(
            printed.getvalue(), cls=get_module_decoder(PROFILE, Direction.MODULE_TO_CONTROLLER)
        )
    except ValueError as strange:
        raise AnsibleActionFail(f"The module {path.stem} ended without a result: {strange}") from strange
    return result
