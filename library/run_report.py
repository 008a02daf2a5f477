# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does all the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_report
short_description: Write a run's report for people
description:
  - Reads a run's journal, manifest and decision, and writes them for people beside them, as a page and as Markdown.
  - Their templates are those of the role that uses this; all they get is escaped already.
options:
  run:
    description: What M(run_open) returned.
    type: dict
    required: true
  page:
    description: What is written - C(report.html) and C(report.md), or C(drift.html) and C(drift.md).
    type: str
    choices: [report, drift]
    default: report
attributes:
  check_mode:
    support: full
    description: Evidence is written in check mode too; nothing else is.
"""

EXAMPLES = r"""
- name: Write the report
  run_report:
    run: "{{ run_current }}"
"""

RETURN = r"""
reports:
  description: The files that were written.
  returned: success
  type: list
  elements: str
"""
