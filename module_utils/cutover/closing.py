# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a run: its decision over the whole journal, and the digest of everything that the decision rests on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from .evidence import JOURNAL_NAME, MANIFEST_NAME
from .gate import conclude
from .journal import GENESIS, digest, plain, write_once

Written = tuple[dict[str, Any], str, str]


def close_run(
    run: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    *,
    problems: Sequence[str],
    required_gates: Sequence[str],
    waivers: Sequence[Any] = (),
    context: Mapping[str, Any],
    now: datetime,
) -> Written:
    """Decide over a run and write decision.json; returns the decision, the file's path and its SHA-256.

    ``run`` has id, dir, verb and environment; ``context`` is masked already. Raises ``FileExistsError`` for a run that
    is closed.
    """
    directory = Path(run["dir"])
    decision = conclude(
        records, run=run["id"], required_gates=required_gates, waivers=waivers, now=now,
        problems=[*problems, *_manifest_problem(directory, records)],
    ).to_dict()  # fmt: skip
    whole = decision | {
        "verb": run["verb"], "environment": run["environment"], "context": plain(context),
        "required_gates": list(required_gates),
        "gates": [_gate(record["data"]) for record in records if record["kind"] == "decision"],
        "steps": [record["data"] for record in records if record["kind"] == "step"],
        "evidence": _evidence(directory, records), "dir": str(directory),
    }  # fmt: skip
    path, text = directory / "decision.json", json.dumps(plain(whole), indent=2, sort_keys=True) + "\n"
    return whole, str(path), write_once(path, text)


def _manifest_problem(directory: Path, records: Sequence[Mapping[str, Any]]) -> list[str]:
    try:
        found = digest((directory / MANIFEST_NAME).read_bytes())
    except OSError as fault:
        return [f"manifest.json cannot be read: {fault.strerror}"]
    recorded = records[0]["data"].get("manifest_sha256") if records else found
    return [] if found == recorded else ["manifest.json was changed after the run was opened"]


def _gate(decision: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: decision[key] for key in ("gate", "verdict", "decided_at")}
    return told | {"blocking": len(decision["blocking"]), "fired": decision.get("fired") or []}


def _evidence(directory: Path, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the decision rests on: the head of the chain, and the digest of every other file in the run's directory."""
    files = {
        str(path.relative_to(directory)): digest(path.read_bytes())
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.name != JOURNAL_NAME
    }
    return {"head": records[-1]["hash"] if records else GENESIS, "records": len(records), "files": files}
