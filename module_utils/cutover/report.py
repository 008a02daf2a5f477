# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence for people: the summary at the end of a playbook, and what the report's templates show.

Templates place, and escape nothing: what they get was escaped here, whole, so that none of them can forget it.

Checklist rows B7 (evidence template) and B9 (one-page closure report).
"""

from __future__ import annotations

import html
import json
import os
import shlex
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .gate import GO
from .runs import PastRun

WIDTH = 80
SHOWN_IN_REFUSAL = 12
# For a terminal as for a page: a body may be large, and is whole in the journal.
LONGEST_SHOWN = 600

Record = Mapping[str, Any]

# The gate that decides, after going back, whether everything is as the run found it.
BACK = "back"
VISITORS = "visitors"


@dataclass(frozen=True)
class Line:
    """A line for the terminal; the colour is one of Ansible's, and is left out where there is no terminal."""

    text: str
    colour: str | None = None


# --- for the terminal -------------------------------------------------------------------------------------------------


def refusal(decision: Mapping[str, Any]) -> str:
    """A refused gate in a few lines: what blocks, and how much more there is."""
    blocking = decision["blocking"]
    lines = [headline(decision)]
    for blocker in blocking[:SHOWN_IN_REFUSAL]:
        lines.append(f"- {blocker['component']}/{blocker['subject']} {blocker['check']}: {_in_short(blocker)}")
    if len(blocking) > SHOWN_IN_REFUSAL:
        lines.append(f"- and {len(blocking) - SHOWN_IN_REFUSAL} more")
    return "\n".join(lines)


def headline(decision: Mapping[str, Any]) -> str:
    """A refusal in one line."""
    return f"NO-GO at {decision['gate']}: {_count(len(decision['blocking']), 'blocking finding')}"


def _in_short(blocker: Mapping[str, Any]) -> str:
    if blocker["status"] == "fail":
        return f"expected {show(blocker['expected'], 120)}, observed {show(blocker['observed'], 120)}"
    return show(blocker.get("cause") or blocker["status"], 200)


def summary(
    opened: Mapping[str, Any],
    closed: Mapping[str, Any] | None,
    incidents: Sequence[Mapping[str, Any]],
    broken: str | None,
    *,
    run: PastRun | None = None,
    cwd: str,
) -> list[Line]:
    """The last words of a playbook: GO or NO-GO, every reason, and where the evidence lies. Nothing without a run.

    ``incidents`` are failures and unreachable hosts that no decision has seen; ``run`` is the run as it has ended.
    """
    if not opened:
        return []
    go = closed is not None and closed["verdict"] == GO and not incidents and not broken
    colour = "green" if go else "red"
    lines = [Line(""), Line(_headline(opened, closed, go), colour), *_tally(closed), *_outcome(closed), Line("")]
    blocking = closed["blocking"] if closed else []
    # What was skipped follows from what is shown; the report lists it.
    for blocker in [*_unseen(closed, incidents, broken), *(b for b in blocking if b["status"] != "skipped")]:
        lines += [*_blocker_lines(blocker), Line("")]
    for waived in closed["waived"] if closed else []:
        lines += _field("waived", f"{_name(waived)} until {waived['waiver']['expires']}, {waived['waiver']['ticket']}")
    for seen in _visitors(run.records if run else ()):
        lines += _field(
            "visitors",
            f"{seen['subject']}: {seen['sent']} requests, {seen['failed']} failed, slowest {seen['slowest']}",
        )
    directory = _nearest(str(opened["dir"]), cwd)
    lines += _field("evidence", f"{directory}/{_best_file(closed, run)}")
    for next_step in _next_steps(opened, go, run, cwd):
        lines += _field("next", next_step)
    return lines


def _headline(opened: Mapping[str, Any], closed: Mapping[str, Any] | None, go: bool) -> str:
    word = "GO" if go else "NO-GO"
    change = _change((closed or {}).get("context") or {})
    return f"{word}  {opened['verb']} of {opened['environment']}{', ' + change if change else ''}  (run {opened['id']})"


def _change(context: Mapping[str, Any]) -> str:
    before, after = context.get("release_from"), context.get("release_to")
    return f"{show(before)} -> {show(after)}" if before or after else ""


def _tally(closed: Mapping[str, Any] | None) -> list[Line]:
    if closed is None:
        return [Line("the run was opened, and never closed")]
    counts = closed["counts"]
    said = [
        _count(len(closed["blocking"]), "blocking finding"),
        f"{counts.get('pass', 0)} of {_count(counts.get('findings', 0), 'check')} passed",
        _count(counts.get("verdicts", 0), "verdict"),
        *([f"{len(closed['waived'])} waived"] if closed["waived"] else []),
        *([f"{len(closed['advisories'])} advisory"] if closed["advisories"] else []),
    ]
    return [Line(", ".join(said))]


def _outcome(closed: Mapping[str, Any] | None) -> list[Line]:
    """What became of the environment, where that is not plain from the verdict."""
    if closed is None:
        return []
    note = (closed.get("context") or {}).get("note")
    lines = [Line(line) for line in _wrapped(str(note), "", "")] if note else []
    for fired in _fired(closed):
        sides = f"expected {show(fired['expected'])}, observed {show(fired['error'] or fired['observed'])}"
        lines += _field("trigger", f"{fired['trigger']}: {fired['what']}, {sides}")
    back = [gate["verdict"] for gate in closed.get("gates") or () if gate["gate"] == BACK]
    if back and back[-1] == GO:
        lines.append(Line("went back: everything that was judged is as the run found it", "yellow"))
    elif back:
        lines.append(Line("WENT BACK, BUT NOT WHOLLY: see the gate 'back' in the report", "red"))
    return lines


def _fired(decision: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Which triggers made the run go back, with the gate at which each fired."""
    gates = decision.get("gates") or ()
    return [{**fired, "gate": gate["gate"]} for gate in gates for fired in gate.get("fired") or ()]


def _unseen(
    closed: Mapping[str, Any] | None, incidents: Sequence[Mapping[str, Any]], broken: str | None
) -> Iterator[dict[str, Any]]:
    if broken:
        yield {"component": "run", "subject": "journal", "check": "evidence", "status": "invalid", "cause": broken}
    for incident in incidents:
        yield {
            "component": incident.get("role") or "playbook", "subject": incident.get("host"),
            "check": incident.get("task"), "cause": incident.get("message"),
            "status": "failed" if incident.get("kind") == "failure" else "unreachable",
        }  # fmt: skip
    if closed is None and not incidents and not broken:
        yield {"component": "run", "subject": "close", "check": "decided", "status": "missing",
               "cause": "the playbook ended before the run was closed", "remedy": "read the output above"}  # fmt: skip


def _name(blocker: Mapping[str, Any]) -> str:
    return f"{blocker['component']}/{blocker['subject']}  {blocker['check']}"


def _blocker_lines(blocker: Mapping[str, Any]) -> Iterator[Line]:
    yield from (Line(text, "red") for text in _wrapped(f"{_name(blocker)}  {blocker['status']}", "", "    "))
    sides = ("expected", "observed") if blocker["status"] == "fail" else ()
    for label in (*sides, "cause", "remedy"):
        if label in sides or blocker.get(label):
            yield from _field(label, show(blocker.get(label)), indent="  ")


def _field(label: str, text: str, indent: str = "") -> list[Line]:
    first = f"{indent}{label:<9} "
    return [Line(line) for line in _wrapped(text, first, " " * len(first))]


def _wrapped(text: str, first: str, others: str) -> list[str]:
    paragraphs = text.splitlines() or [""]
    lines: list[str] = []
    for number, paragraph in enumerate(paragraphs):
        lines += textwrap.wrap(
            _printable(paragraph), WIDTH, initial_indent=others if number else first, subsequent_indent=others,
            break_on_hyphens=False, break_long_words=False,
        ) or ([first.rstrip()] if not number else [])  # fmt: skip
    return lines


def _printable(text: str) -> str:
    """No character that moves the cursor or colours the terminal: the text came from a server."""
    return "".join(character if character.isprintable() else " " for character in text)


def _best_file(closed: Mapping[str, Any] | None, run: PastRun | None) -> str:
    if closed is None:
        return "journal.jsonl"
    return "decision.json" if run and run.interrupted else "report.html"


def _next_steps(opened: Mapping[str, Any], go: bool, run: PastRun | None, cwd: str) -> list[str]:
    """What to type now. A run that changed something, and has not come to its end, is never just started again."""
    if go:
        return ["keep this directory: it is the record of this run"]
    if run is None or run.is_settled:
        return [f"mend what is named above, then run {opened['verb']} again; it starts a new run"]
    if run.verb == "drills":
        return ["mend what is named above, then run drills again: it sees first that all is well"]
    inventory = [part for path in opened.get("inventory") or () for part in ("-i", _nearest(str(path), cwd))]
    command = shlex.join(["ansible-playbook", "playbooks/rollback.yml", *inventory])
    steps = [f"to go back to what it found: {command}"]
    if run.may_be_resumed:
        steps.append(f"or, once its cause is gone, to go on: the same command with -e resume={run.id}")
    return steps


def _nearest(path: str, cwd: str) -> str:
    relative = os.path.relpath(path, cwd)
    return relative if len(relative) < len(path) else path


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def show(value: Any, longest: int = LONGEST_SHOWN) -> str:
    """A value as a person reads it: texts as they are, nothing as a dash, everything else as JSON."""
    if value is None:
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return text if len(text) <= longest else f"{text[:longest]} ... ({len(text)} characters)"


# --- for the page -----------------------------------------------------------------------------------------------------


def view(manifest: Mapping[str, Any], decision: Mapping[str, Any], records: Sequence[Record]) -> dict[str, Any]:
    """Everything the report shows, in the order in which it shows it; nothing in it is escaped yet."""
    context, drills = decision.get("context") or {}, list(_drills(records))
    # The note of drills is for a terminal: the page has a table.
    hidden = ("release_from", "release_to", *(["note"] if drills else []))
    return {
        "verdict": "GO" if decision["verdict"] == GO else "NO-GO",
        "go": decision["verdict"] == GO,
        "verb": decision["verb"],
        "environment": decision["environment"],
        "change": _change(context),
        "context": {key: show(value) for key, value in context.items()
                    if value not in ("", None) and key not in hidden},
        "facts": _facts(manifest, decision),
        "counts": decision["counts"],
        "check_mode": bool(manifest.get("check_mode")),
        "blocking": [_row(blocker) for blocker in decision["blocking"]],
        "advisories": [_row(blocker) for blocker in decision["advisories"]],
        "waived": [_row(waived) | {key: show(value) for key, value in waived["waiver"].items() if key not in waived}
                   for waived in decision["waived"]],
        "gates": [dict(gate) | {"go": gate["verdict"] == GO, "decided_at": _moment(gate["decided_at"])}
                  for gate in decision["gates"]],
        "fired": [{key: show(fired.get(key)) for key in ("trigger", "gate", "what", "expected", "observed", "error")}
                  for fired in _fired(decision)],
        "drills": drills,
        "visitors": list(_visitors(records)),
        "components": _components(records),
        "commands": [_command(record) for record in records if record["kind"] == "command"],
        "recorded": list(_recorded(records)),
        "changes": [_moment_and(record) for record in records if record["kind"] == "change"],
        "versions": {name: show(version) for name, version in (manifest.get("versions") or {}).items()},
        "evidence": decision["evidence"],
    }  # fmt: skip


def _facts(manifest: Mapping[str, Any], decision: Mapping[str, Any]) -> dict[str, str]:
    project = manifest.get("project") or {}
    commit = project.get("git_sha")
    facts = {
        "Run": decision["run"],
        "Opened (UTC)": _moment(manifest.get("opened_at")),
        "Decided (UTC)": _moment(decision["decided_at"]),
        "Took": _duration(manifest.get("opened_at"), decision["decided_at"]),
        "Operator": show(manifest.get("operator")),
        "Runner": show(manifest.get("runner")),
        "Git commit": f"{commit[:12]}{' (with local changes)' if project.get('dirty') else ''}" if commit else "-",
        "Inputs": f"sha256 {str(manifest.get('inputs_sha256'))[:16]}",
        "Command": shlex.join(map(str, manifest.get("command") or ["-"])),
    }
    return {name: show(value) for name, value in facts.items()}


def _row(blocker: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("component", "subject", "address", "check", "status", "expected", "observed", "cause", "remedy")
    return {key: show(blocker.get(key)) for key in keys}


def _components(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Each component with all verdicts on it, in the order in which they were written."""
    components: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        verdict = record["data"]
        if record["kind"] != "verdict" or not isinstance(verdict.get("findings"), list):
            continue
        findings = [
            _row(finding) | {"blocking": finding.get("blocking") is not False}
            for finding in verdict["findings"]
            if isinstance(finding, Mapping)
        ]
        components.setdefault(show(verdict.get("component")), []).append(
            {key: show(verdict.get(key)) for key in ("subject", "address", "took_ms")}
            | {"ok": verdict.get("ok") is True, "time": _moment(record["time"]), "findings": findings}
        )
    return [
        {
            "name": name,
            "ok": all(verdict["ok"] for verdict in verdicts),
            "verdicts": verdicts,
            "passed": sum(finding["status"] == "pass" for verdict in verdicts for finding in verdict["findings"]),
            "findings": sum(len(verdict["findings"]) for verdict in verdicts),
        }
        for name, verdicts in sorted(components.items())
    ]


def _drills(records: Sequence[Record]) -> Iterator[dict[str, Any]]:
    """Each drill with its times, and what each watched endpoint said from when until when."""
    verdicts = [record["data"] for record in records if record["kind"] == "verdict" and _kept(record)]
    for verdict in verdicts:
        kept = verdict["recorded"]
        if not isinstance(kept.get("timeline"), Mapping):
            continue
        times = kept["timeline"]
        told = [other for other in verdicts if str(other.get("subject")).startswith(f"{verdict.get('subject')}.")]
        yield {
            "name": show(verdict.get("subject")),
            "about": show(kept.get("about")),
            "runs": _runs_of(kept),
            "ok": verdict.get("ok") is True,
            "broken_at": _moment(times.get("broken_at")),
            "undone_by": show(times.get("undone_by")),
            "seconds": {key: _s(times.get(key)) for key in ("noticed_after_s", "broken_for_s", "well_after_s")},
            "watched": [watched for other in told for watched in _watched(other, verdict)],
        }


def _runs_of(kept: Mapping[str, Any]) -> str:
    """The runs of a drill that has cut over, and how long going back took; empty for any other."""
    runs = [
        f"{name} {kept[name].get('run')}" for name in ("cutover", "rollback") if isinstance(kept.get(name), Mapping)
    ]
    return f"{show(', '.join(runs))}; went back in {_s(kept.get('back_s'))}" if runs else ""


def _watched(watched: Mapping[str, Any], drill: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    spans = watched["recorded"].get("answers")
    for span in spans if isinstance(spans, list) else []:
        yield {
            "what": show(watched["subject"]).removeprefix(f"{drill['subject']}."),
            "said": show(span.get("said")),
            "times": show(span.get("times")),
            "slowest_ms": show(span.get("slowest_ms")),
            "from": _moment(span.get("from")),
            "wrong": show(span.get("wrong")),
        }


def _visitors(records: Sequence[Record]) -> Iterator[dict[str, str]]:
    """What each of those who count visitors' requests said last."""
    counted = {
        record["data"].get("subject"): record
        for record in records
        if record["kind"] == "verdict" and record["data"].get("component") == VISITORS and _kept(record)
    }
    for subject, record in counted.items():
        kept = record["data"]["recorded"]
        slowest = kept.get("slowest_ms")
        yield {
            "subject": show(subject),
            "until": _moment(record["time"]),
            "sent": show(kept.get("sent")),
            "failed": show(kept.get("failed")),
            "slowest": f"{slowest:.0f} ms" if isinstance(slowest, (int, float)) else show(slowest),
        }


def _s(seconds: Any) -> str:
    return f"{seconds:.1f} s" if isinstance(seconds, (int, float)) else "-"


def _kept(record: Record) -> bool:
    return isinstance(record["data"].get("recorded"), Mapping)


def _command(record: Record) -> dict[str, Any]:
    data = record["data"]
    argv = data.get("argv")
    first, last = (_lines(data.get(key)) for key in ("first_lines", "last_lines"))
    count = data.get("line_count")
    hidden = count - len(first) - len(last) if isinstance(count, int) else 0
    return {
        "time": _moment(record["time"]),
        "command": shlex.join(map(str, argv)) if isinstance(argv, list) else show(argv),
        "host": show(data.get("host")),
        "exit_code": show(data.get("exit_code")),
        "ok": data.get("exit_code") == 0,
        "took_ms": show(data.get("took_ms")),
        "lines": [*first, *([f"... {hidden} lines ..."] if hidden > 0 else []), *last],
    }


def _lines(value: Any) -> list[str]:
    return [str(line) for line in value] if isinstance(value, list) else []


def _recorded(records: Sequence[Record]) -> Iterator[dict[str, Any]]:
    """What is kept whole, such as the answer of a ready or version endpoint."""
    for record in records:
        kept = record["data"].get("recorded")
        # What drills and visitors have kept has its own place.
        elsewhere = isinstance(kept, Mapping) and {"timeline", "answers", "sent"} & set(kept)
        if record["kind"] == "verdict" and isinstance(kept, Mapping) and not elsewhere:
            headers = kept.get("headers")
            body = kept.get("body")
            yield {
                "time": _moment(record["time"]),
                "subject": f"{record['data'].get('component')}/{record['data'].get('subject')}",
                "address": show(record["data"].get("address")),
                "status": show(kept.get("status")),
                "lines": [f"{k}: {v}" for k, v in headers.items()] if isinstance(headers, Mapping) else [],
                "body": _pretty(body)
                if isinstance(body, str)
                else show(kept if body is None else body, 10**6).splitlines(),
            }


def _pretty(body: str) -> list[str]:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False).splitlines()
    except (ValueError, RecursionError):
        return body.splitlines()


def _moment_and(record: Record) -> dict[str, Any]:
    return {"time": _moment(record["time"])} | {key: show(value) for key, value in record["data"].items()}


def _moment(time: Any) -> str:
    return f"{time[:10]} {time[11:19]}" if isinstance(time, str) and len(time) >= 19 else "-"


def _duration(start: Any, end: Any) -> str:
    try:
        seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    except (TypeError, ValueError):
        return "-"
    return f"{seconds:.1f} s" if seconds < 120 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def for_html(value: Any) -> Any:
    """Every text in nested data escaped for HTML, in attributes as well; names of fields stay."""
    return _each_text(value, lambda text: html.escape(_without_controls(text)))


def for_markdown(value: Any) -> Any:
    """Every text in nested data safe within a line or a table cell; ``lines`` and ``body`` only lose controls."""
    return _each_text(value, _markdown_cell, verbatim=("lines", "body"))


def _markdown_cell(text: str) -> str:
    flat = " ".join(html.escape(_without_controls(text), quote=False).split())
    return flat.translate(_MARKDOWN)


_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\`*_[]|#!"})


def _without_controls(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() or character == "\n" else " " for character in text)


def _each_text(value: Any, change: Callable[[str], str], verbatim: Sequence[str] = ()) -> Any:
    if isinstance(value, Mapping):
        return {
            str(key) if str(key).isidentifier() else change(str(key)): _each_text(
                item, _without_controls if key in verbatim else change, verbatim
            )
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_each_text(item, change, verbatim) for item in value]
    return change(value) if isinstance(value, str) else value
