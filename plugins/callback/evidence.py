# SPDX-License-Identifier: GPL-3.0-or-later
"""The one who writes the evidence: every verdict, command, change, failure and unreachable host of a run."""

from __future__ import annotations

DOCUMENTATION = r"""
name: evidence
type: aggregate
short_description: Write what happens in a run to its journal, masked, and say at the end whether it is go or no-go
description:
  - From the moment a task opens a run (the C(run) role), every verdict, command, changed task, failure (rescued or
    ignored ones too),
    unreachable host and decision is masked and appended to C(journal.jsonl) in the directory of the run.
  - At the end of a playbook that opened a run it prints whether the run is go or no-go, each blocking finding, and
    where the evidence lies. A playbook that opens no run is left alone.
  - When the playbook is ended from outside (Ctrl-C, SIGTERM), it closes the evidence as interrupted, and says what to
    type next. A process that is killed cannot; its journal is no longer held by anybody, and the next run sees that.
  - It decides nothing. Should it break, it says so in a place where the gate finds it, and the gate refuses.
  - Secrets are known from the variables of the play, by the names of the variables, and are hidden in whatever
    encoding.
requirements:
  - enable in configuration - C(callbacks_enabled = evidence)
"""

import atexit
import functools
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible import constants
from ansible.plugins.callback import CallbackBase
from ansible.template import Templar

# Ansible hands the project's module_utils to modules only; plugins have to look there themselves.
ansible.module_utils.__path__ += [
    path for path in constants.DEFAULT_MODULE_UTILS_PATH if path not in ansible.module_utils.__path__
]

from ansible.module_utils.cutover.closing import close_run
from ansible.module_utils.cutover.evidence import (
    ATTESTATION,
    JOURNAL_NAME,
    Task,
    attestation,
    bounded,
    entries,
    whole_decision,
)
from ansible.module_utils.cutover.journal import Journal, hold, read_journal, utc_now
from ansible.module_utils.cutover.masking import Masker, find_secrets
from ansible.module_utils.cutover.naming import Resolver, names_in, own
from ansible.module_utils.cutover.read_runs import read_run
from ansible.module_utils.cutover.report import Line, summary

HOSTS_SEARCHED_FOR_SECRETS = 100


def _guarded(hook: Callable[..., None]) -> Callable[..., None]:
    """An exception in a callback is only a warning to Ansible. To us it is broken evidence, and closes every gate."""

    @functools.wraps(hook)
    def guarded(self: CallbackModule, *args: Any, **options: Any) -> None:
        try:
            hook(self, *args, **options)
        except Exception as fault:  # noqa: BLE001 - whatever it was, the playbook goes on and the gate refuses
            self.broke(f"{hook.__name__}: {type(fault).__name__}: {fault}")

    return guarded


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "evidence"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._journal: Journal | None = None
        self._opened: dict[str, Any] = {}
        self._closed: dict[str, Any] | None = None
        self._broken: str | None = None
        self._held: int | None = None
        self._ending: str | None = None
        self._play: Any = None
        self._secrets: set[str] = set()
        self._unresolved = False
        self._masker = Masker()
        self._incidents: list[dict[str, Any]] = []
        self._started: dict[tuple[str, str], float] = {}
        # What another run in the same shell left behind says nothing about this one.
        os.environ.pop(ATTESTATION, None)

    # --- what Ansible tells us ---

    @_guarded
    def v2_playbook_on_play_start(self, play: Any) -> None:
        if self._play is None:
            self._be_told_of_signals()
        self._play = play
        self._learn_secrets()

    @_guarded
    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._started[host.get_name(), task._uuid] = time.monotonic()

    @_guarded
    def v2_runner_on_ok(self, result: Any) -> None:
        if result.task.action.rpartition(".")[2] == "run_open" and result.result.get("run_opened"):
            self._open(result.result)
        self._record(result)

    @_guarded
    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._record(result, failed=True, ignored=ignore_errors)

    @_guarded
    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._record(result, unreachable=True)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        atexit.unregister(self._interrupted)
        self._summarise()

    # --- what we do with it ---

    def broke(self, cause: str) -> None:
        """Say that the evidence is broken everywhere a reader may look: to people, to workers, in the journal."""
        cause = self._masker.text(cause)
        self._broken = self._broken or cause
        self._display.warning(f"The evidence broke, so no gate will open: {cause}")
        if self._journal is None:
            return
        try:
            self._journal.append("broken", {"cause": cause})
        except Exception as fault:  # noqa: BLE001 - then the attestation alone says it
            self._display.warning(f"That could not be written to the journal either: {self._masker.text(str(fault))}")
        os.environ[ATTESTATION] = attestation(self._journal, self._broken)

    def _open(self, opened: dict[str, Any]) -> None:
        if self._journal is not None and self._closed is None:
            raise RuntimeError(f"run {opened['id']} was opened inside run {self._opened['id']}")
        self._opened, self._closed, self._incidents = opened, None, []
        self._journal = Journal(path=Path(opened["dir"]) / JOURNAL_NAME, run=opened["id"])
        self._learn_secrets()
        self._append(
            "opened", {key: opened[key] for key in ("id", "verb", "environment", "opened_at", "manifest_sha256")}
        )
        self._held = hold(self._journal.path)
        atexit.register(self._interrupted)

    def _record(self, result: Any, *, failed: bool = False, unreachable: bool = False, ignored: bool = False) -> None:
        if self._unresolved and (result.is_changed() or "ansible_facts" in result.result):
            self._learn_secrets()  # a secret that was made just now
        task = self._task(result)
        for kind, data in entries(result.result, task, failed=failed, unreachable=unreachable, ignored=ignored):
            if task.role == "run" and kind == "change":
                continue  # writing down what happened is not a change of the system
            masked = bounded(self._masker.mask(data))
            if kind == "found" and masked != bounded(data):
                raise RuntimeError("what the run found holds something that is masked: nobody could go back to it")
            if kind in ("failure", "unreachable"):
                self._incidents.append({"kind": kind, **masked})
            if kind == "decision":
                masked = bounded(self._masker.mask(whole_decision(data)))
            if kind == "closed":
                self._closed, self._incidents = whole_decision(data), []
            self._append(kind, masked)

    def _append(self, kind: str, data: dict[str, Any]) -> None:
        if self._journal is not None:
            self._journal.append(kind, data)
            os.environ[ATTESTATION] = attestation(self._journal, self._broken)

    def _task(self, result: Any) -> Task:
        task, host = result.task, result.host.get_name()
        role = getattr(task, "_role", None)
        path = (task.get_path() or "").rpartition(":")[0]
        started = self._started.pop((host, task._uuid), None)
        took_ms = None if started is None else round((time.monotonic() - started) * 1000)
        return Task(
            name=str(task.name or task.action), action=str(task.action), host=host, took_ms=took_ms,
            role=role.get_name() if role else None, file=Path(path).stem or None,
        )  # fmt: skip

    def _learn_secrets(self) -> None:
        """What the play's variables call a secret, and the names that must stay readable whatever a password is."""
        manager = self._play.get_variable_manager()
        readable = {"run", "playbook", "localhost", str(self._opened.get("environment", ""))}
        hosts = list(manager._inventory.get_hosts())[:HOSTS_SEARCHED_FOR_SECRETS]
        self._unresolved = False
        for host in [None, *hosts]:
            variables = manager.get_vars(play=self._play, host=host)
            search = Resolver(Templar(loader=self._play.get_loader(), variables=variables))
            self._secrets |= find_secrets(own(variables), search)
            readable |= names_in(own(variables), search) | ({host.get_name()} if host else set())
            self._unresolved = self._unresolved or search.unresolved
        self._masker = Masker(self._secrets, readable=readable)

    # --- the end ---

    def _be_told_of_signals(self) -> None:
        """End on SIGTERM as Ansible does on Ctrl-C, workers included, and remember which of the two it was."""
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.getsignal(number)
            if callable(before):
                signal.signal(number, functools.partial(self._end, before))

    def _end(self, before: Callable[[int, Any], None], number: int, frame: Any) -> None:
        self._ending = signal.Signals(number).name
        before(signal.SIGINT, frame)

    def _interrupted(self) -> None:
        """Close what was opened when Ansible exits without having come to the end of the playbook."""
        if self._journal is None or self._closed is not None:
            return
        cause = f"interrupted by {self._ending}" if self._ending else "the playbook ended by an error before its end"
        try:
            # The signal may have come while a record was being written.
            records = read_journal(self._journal.path, torn_end=True)
            self._journal.go_on_after(records)
            records.append(self._journal.append("interrupted", {"cause": cause}))
            self._closed = close_run(
                self._opened, records, problems=[cause], required_gates=[], context={}, now=utc_now()
            )[0]
        except Exception as fault:  # noqa: BLE001 - then the journal without an end says it
            self.broke(f"interrupted: {type(fault).__name__}: {fault}")
        self._summarise()

    def _summarise(self) -> None:
        try:
            # Nobody writes from here on: the next run may begin.
            if self._held is not None:
                os.close(self._held)
                self._held = None
            run = read_run(self._opened["dir"]) if self._opened else None
            self._say(summary(self._opened, self._closed, self._incidents, self._broken, run=run, cwd=os.getcwd()))
        except Exception as fault:  # noqa: BLE001 - the summary must not hide that there is none
            self.broke(f"summary: {type(fault).__name__}: {fault}")
            self._display.display("NO-GO: the summary could not be made; see the warning above.")

    def _say(self, lines: list[Line]) -> None:
        for line in lines:
            self._display.display(line.text, color=line.colour)
