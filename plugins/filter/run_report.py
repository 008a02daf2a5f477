# SPDX-License-Identifier: GPL-3.0-or-later
"""Shape a run's evidence for the templates of its report."""

from __future__ import annotations

DOCUMENTATION = r"""
name: run_report
short_description: Shape a run's evidence for the templates of its report
description:
  - Takes the text of a run's journal, manifest and decision, and gives what the report shows, in its order.
  - Every text in it is escaped for O(style), so that a template has nothing to escape.
options:
  _input:
    description: Text of C(journal.jsonl).
    type: str
    required: true
  manifest:
    description: Text of C(manifest.json).
    type: str
    required: true
  decision:
    description: Text of C(decision.json).
    type: str
    required: true
  style:
    description: What the text is escaped for.
    type: str
    choices: [html, markdown]
    default: html
"""

EXAMPLES = r"""
- name: Show what the report says first
  ansible.builtin.debug:
    msg: "{{ (journal | run_report(manifest, decision)).verdict }}"
"""

RETURN = r"""
_value:
  description: What the report shows.
  type: dict
"""

import json
from collections.abc import Callable
from typing import Any

import ansible.module_utils
from ansible import constants

# Ansible hands the project's module_utils to modules only; plugins have to look there themselves.
ansible.module_utils.__path__ += [
    path for path in constants.DEFAULT_MODULE_UTILS_PATH if path not in ansible.module_utils.__path__
]

from ansible.module_utils.cutover.report import for_html, for_markdown, view


def run_report(journal: str, manifest: str, decision: str, style: str = "html") -> dict[str, Any]:
    records = [json.loads(line) for line in journal.splitlines()]
    shown = view(json.loads(manifest), json.loads(decision), records)
    return dict(for_html(shown) if style == "html" else for_markdown(shown))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"run_report": run_report}
