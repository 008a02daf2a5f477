# SPDX-License-Identifier: GPL-3.0-or-later
"""Shape what a drift run found for the templates of its page."""

from __future__ import annotations

DOCUMENTATION = r"""
name: drift_page
short_description: Shape what a drift run found for the templates of its page
description:
  - Takes the text of a run's journal, manifest and decision, and gives what the page shows, in its order.
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
- name: Show what the page says first
  ansible.builtin.debug:
    msg: "{{ (journal | drift_page(manifest, decision)).headline }}"
"""

RETURN = r"""
_value:
  description: What the page shows.
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

from ansible.module_utils.cutover.report import for_html, for_markdown
from ansible.module_utils.cutover.report_drift import view


def drift_page(journal: str, manifest: str, decision: str, style: str = "html") -> dict[str, Any]:
    records = (json.loads(line) for line in journal.splitlines() if '"kind":"drift"' in line)
    recorded = [record["data"] for record in records if record["kind"] == "drift"]
    shown = view(json.loads(manifest), json.loads(decision), recorded[-1] if recorded else None)
    return dict(for_html(shown) if style == "html" else for_markdown(shown))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"drift_page": drift_page}
