# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a run's report for people."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from jinja2 import Environment, StrictUndefined

# Ansible hands the project's module_utils to modules only; plugins have to look there themselves.
ansible.module_utils.__path__ += [
    path for path in constants.DEFAULT_MODULE_UTILS_PATH if path not in ansible.module_utils.__path__
]

from ansible.module_utils.cutover import report, report_drift
from ansible.module_utils.cutover.evidence import JOURNAL_NAME, MANIFEST_NAME

PAGES: dict[str, Callable[..., dict[str, Any]]] = {"report": report.view, "drift": report_drift.view}
STYLES: dict[str, Callable[[Any], Any]] = {"html": report.for_html, "md": report.for_markdown}


def argument_spec() -> dict[str, Any]:
    """The options, as the module of the same name documents them."""
    return {
        "run": {"type": "dict", "required": True},
        "page": {"type": "str", "choices": list(PAGES), "default": "report"},
    }


class ActionModule(ActionBase):
    """Reads what the run has written, once, and writes it down for people: as a page, and as Markdown.

    Not by `ansible.builtin.template`: Ansible's templar looks at each of some thousand values that are plain text by
    then, and modules copy the files. That takes seconds, this a tenth of them.
    """

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True  # evidence is written in check mode too

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec())
        directory = Path(args["run"]["dir"])
        shown = _shown(directory, args["page"])
        reports = {directory / f"{args['page']}.{style}": escaped(shown) for style, escaped in STYLES.items()}
        faults = [self._write(path, content) for path, content in reports.items()]
        if any(faults):
            raise AnsibleActionFail("; ".join(filter(None, faults)))
        return result | {"changed": False, "reports": [str(path) for path in reports]}

    def _write(self, path: Path, shown: Mapping[str, Any]) -> str | None:
        """Write one report; why it could not be written does not keep the other from being."""
        # What is shown was escaped whole, for this style: escaping it again would show it wrongly.
        environment = Environment(trim_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined)
        template = Path(self._find_needle("templates", f"{path.name}.j2")).read_text(encoding="utf-8")
        text = environment.from_string(template).render(r=shown)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as fault:
            return f"{path} could not be written: {fault.strerror}"
        return None


def _shown(directory: Path, page: str) -> dict[str, Any]:
    try:
        manifest, decision = (json.loads((directory / name).read_bytes()) for name in (MANIFEST_NAME, "decision.json"))
        records = [json.loads(line) for line in (directory / JOURNAL_NAME).read_bytes().splitlines()]
    except (OSError, ValueError) as fault:
        raise AnsibleActionFail(f"there is nothing to report from in {directory}: {fault}") from fault
    return PAGES[page](manifest, decision, records)
