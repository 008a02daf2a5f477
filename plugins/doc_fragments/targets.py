# SPDX-License-Identifier: GPL-3.0-or-later
"""What all modules have in common that look at targets: those that judge, and those that take facts."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  targets:
    description: What to look at. A target is an address with a name, seen from the host on which this task runs.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the target in reports; unique among the targets.
        type: str
        required: true
  timeout_s:
    description: Deadline for one target, in seconds. One without an answer by then is reported so, like any other.
    type: float
    default: 5.0
  total_timeout_s:
    description: Deadline for all targets together, in seconds.
    type: float
    default: 60.0
  workers:
    description: How many targets are looked at side by side.
    type: int
    default: 32
attributes:
  check_mode:
    support: full
    description: Reads only, and really looks in check mode.
  diff_mode:
    support: none
    description: Changes nothing.
"""
