# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task's result means as evidence, and whether the evidence may be believed.

The callback that writes and the actions that read live in different processes. After each record the writer says, in
an environment variable that its workers inherit, how far it has come (``ATTESTATION``); a reader that does not find
exactly that in the file knows that records were lost, or that nobody is writing.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .journal import Journal, JournalBroken, Record, digest, read_journal

ATTESTATION = "CUTOVER_EVIDENCE"
JOURNAL_NAME = "journal.jsonl"
MANIFEST_NAME = "manifest.json"
LINES_KEPT = 10
LONGEST_MESSAGE = 4000
LONGEST_TEXT = 1_000_000

# Results of these repeat what others said.
_SILENT_ACTIONS = frozenset({"debug", "set_fact", "assert", "meta"})
# What a run says of itself, by the action that says it: the key of the result, which is the kind of the record.
_SAID = {
    "run_note": "found", "run_step": "step", "run_lock": "lock", "run_recall": "recalled", "drift_compare": "drift",
    "drill_note": "drill", "fault": "fault",
}  # fmt: skip
# They come after the last word, and say it again.
_AFTER_THE_END = frozenset({"drift_end"})
# Their results name the file that holds the whole decision, so that a refusal fits on a screen.
_DECIDERS = {"gate": "decision", "run_close": "closed"}
Entry = tuple[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Task:
    """The task whose result is looked at."""

    name: str
    action: str
    host: str
    role: str | None = None
    file: str | None = None
    took_ms: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The task as plain data."""
        return {
            "task": self.name, "action": self.action, "host": self.host, "role": self.role, "file": self.file,
            "took_ms": self.took_ms,
        }  # fmt: skip


def entries(
    result: Mapping[str, Any], task: Task, *, failed: bool = False, unreachable: bool = False, ignored: bool = False
) -> Iterator[Entry]:
    """The journal entries (kind, data) that a task's result stands for. Items of a loop count one by one."""
    if _short(task.action) in _AFTER_THE_END or (_short(task.action) in _SILENT_ACTIONS and not failed):
        return
    parts = _parts(result)
    for part in parts:
        yield from _verdicts(part)
        yield from _commands(part, task)
        yield from _kept(part)
    said = _SAID.get(_short(task.action))
    yield from ((said, dict(part[said])) for part in parts if said and isinstance(part.get(said), Mapping))
    decided = _DECIDERS.get(_short(task.action)) if isinstance(result.get("decision"), Mapping) else None
    if decided:
        yield decided, dict(result["decision"])
    changed = [part for part in parts if part.get("changed") is True]
    if changed:
        yield "change", task.to_dict() | {"host": _where(changed, task)}
    if unreachable:
        yield from _unreached(result, task)
    if failed and not decided:
        yield from _failures(result, task, ignored)


def _parts(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The result and, where it came from a loop, the result of each item."""
    items = result.get("results")
    return [result, *(item for item in items if isinstance(item, Mapping))] if isinstance(items, list) else [result]


def _where(parts: list[Mapping[str, Any]], task: Task) -> str:
    """The hosts on which parts of a result came about: those that the task was delegated to, else its own."""
    delegated = (part.get("_ansible_delegated_vars") or {} for part in parts)
    return (
        ", ".join(sorted({str(d["ansible_delegated_host"]) for d in delegated if d.get("ansible_delegated_host")}))
        or task.host
    )


def _verdicts(part: Mapping[str, Any]) -> Iterator[Entry]:
    if "verdicts" not in part:
        return
    verdicts = part["verdicts"]
    for verdict in verdicts if isinstance(verdicts, list) else [verdicts]:
        # A malformed verdict is recorded as it is: the gate refuses it.
        yield "verdict", dict(verdict) if isinstance(verdict, Mapping) else {"malformed": verdict}


def _kept(part: Mapping[str, Any]) -> Iterator[Entry]:
    """What is there, whether declared or not."""
    observations = part.get("observations")
    for observation in observations if isinstance(observations, list) else []:
        yield "observation", dict(observation)


def _commands(part: Mapping[str, Any], task: Task) -> Iterator[Entry]:
    commands = part.get("commands")
    if isinstance(commands, list):
        for command in commands:
            if isinstance(command, Mapping):
                yield "command", {"host": task.host, "task": task.name} | dict(command)
    elif _short(task.action) in ("command", "shell", "script", "raw") and "rc" in part:
        yield "command", {"host": task.host, "task": task.name} | _ran(part)


def _ran(part: Mapping[str, Any]) -> dict[str, Any]:
    """A command as `ansible.builtin.command` reports it."""
    argv = part.get("cmd")
    lines = [line for stream in ("stdout", "stderr") for line in str(part.get(stream) or "").splitlines()]
    return {"argv": argv if isinstance(argv, list) else [str(argv)], "chdir": None, "exit_code": part["rc"],
            "took_ms": milliseconds(part.get("delta")), **first_and_last(lines)}  # fmt: skip


def first_and_last(lines: list[str]) -> dict[str, Any]:
    """The first and last ten lines of an output, without repeating what is already among the first."""
    rest = lines[LINES_KEPT:]
    return {"first_lines": lines[:LINES_KEPT], "last_lines": rest[-LINES_KEPT:], "line_count": len(lines)}


def milliseconds(delta: object) -> int | None:
    """``0:00:01.250000``, as Ansible reports a duration, in milliseconds."""
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", str(delta))
    return round((int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])) * 1000) if match else None


def _failures(result: Mapping[str, Any], task: Task, ignored: bool) -> Iterator[Entry]:
    failed_items = [item for item in _parts(result)[1:] if _has_failed(item)]
    for item in failed_items:
        label = item.get("_ansible_item_label", item.get("item"))
        where = {"host": _where([item], task)}
        yield "failure", task.to_dict() | where | {"message": _message(item), "item": label, "ignored": ignored}
    if not failed_items:
        yield "failure", task.to_dict() | {"message": _message(result), "item": None, "ignored": ignored}


def _has_failed(item: Mapping[str, Any]) -> bool:
    """Whether an item of a loop has failed; since ansible-core 2.21 a callback has to infer it."""
    inferred = item.get("failed_when_result", "exception" in item)
    return bool(item.get("failed") or item.get("unreachable") or inferred)


def _unreached(result: Mapping[str, Any], task: Task) -> Iterator[Entry]:
    """Why each host could not be reached: of a loop, the items say it, and the result says nothing.

    Ansible does not say to which host it had delegated what did not reach it; the label of the item does.
    """
    for part in [item for item in _parts(result)[1:] if item.get("unreachable")] or [result]:
        label = part.get("_ansible_item_label")
        host = label if isinstance(label, str) else _where([part], task)
        yield "unreachable", task.to_dict() | {"host": host, "message": _message(part)}


def _message(result: Mapping[str, Any]) -> str:
    for key in ("msg", "message", "censored", "module_stderr", "stderr", "stdout", "reason", "exception"):
        if text := str(result.get(key) or "").strip():
            return text[:LONGEST_MESSAGE]
    return "no reason was given"


def whole_decision(reference: Mapping[str, Any]) -> dict[str, Any]:
    """The decision that an action left in a file. Raises ``JournalBroken`` when the file is not what it wrote."""
    content = Path(reference["path"]).read_bytes()
    if digest(content) != reference["sha256"]:
        raise JournalBroken(f"{reference['path']} was changed after it was decided")
    return dict(json.loads(content))


def _short(action: str) -> str:
    return action.rpartition(".")[2]


def bounded(value: Any) -> Any:
    """The value with texts of more than a million characters cut, saying so."""
    if isinstance(value, Mapping):
        return {key: bounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [bounded(item) for item in value]
    if isinstance(value, (str, bytes)) and len(value) > LONGEST_TEXT:
        text = value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")
        return f"{text[:LONGEST_TEXT]} [cut: {len(text)} characters, sha256 {digest(text.encode('utf-8', 'replace'))}]"
    return value


# --- believing it -----------------------------------------------------------------------------------------------------


def attestation(journal: Journal, broken: str | None = None) -> str:
    """What the writer says of itself after each record."""
    return json.dumps({"run": journal.run, "seq": journal.seq, "head": journal.head, "broken": broken})


def read_evidence(directory: str, run: str, attested: str | None) -> tuple[list[Record], list[str]]:
    """The records of a run, and everything that speaks against believing them."""
    try:
        records = read_journal(Path(directory) / JOURNAL_NAME)
    except JournalBroken as fault:
        return [], [str(fault)]
    problem = _unattested(records, run, attested)
    if records[0]["kind"] != "opened" or records[0]["run"] != run:
        problem = f"the journal in {directory} is of run {records[0]['run']}, not of {run}"
    return records, [problem] if problem else []


def evidence_of(run: Mapping[str, Any]) -> tuple[list[Record], list[str]]:
    """The same of the run that is going on, by what its writer says in the environment of this process."""
    return read_evidence(run["dir"], run["id"], os.environ.get(ATTESTATION))


def _unattested(records: list[Record], run: str, attested: str | None) -> str | None:
    try:
        writer = json.loads(attested or "")
        running, seq, head, broken = writer["run"], writer["seq"], writer["head"], writer["broken"]
    except (ValueError, TypeError, KeyError):
        return "nobody is writing the evidence: is `callbacks_enabled = evidence` in the ansible.cfg that is in force?"
    if broken:
        return f"the evidence broke: {broken}"
    if running != run:
        return f"the evidence that is being written is of run {running}, not of {run}"
    if not any((record["seq"], record["hash"]) == (seq, head) for record in records):
        return f"the journal lost records: its writer had come to record {seq}, the file ends with {len(records)}"
    return None
