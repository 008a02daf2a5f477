# SPDX-License-Identifier: GPL-3.0-or-later
"""What all modules have in common that take facts."""

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
    description: Deadline for one target, in seconds. A target without an answer by then is an observation of nothing.
    type: float
    default: 15.0
  total_timeout_s:
    description: Deadline for all targets together, in seconds.
    type: float
    default: 120.0
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

    SALT = r"""
options:
  salt:
    description:
      - Kept per environment, at least 32 characters. Of a fact that is a secret, a fingerprint made with it is kept;
        fingerprints of two environments tell nothing about each other.
    type: str
    required: true
"""

    RETURN = r"""
observations:
  description: One observation for each target, in the order of O(targets).
  returned: always
  type: list
  elements: dict
  contains:
    component: {description: What kind of thing was looked at., type: str}
    subject: {description: Name of the target., type: str}
    address: {description: Where it was looked at; holds no credentials., type: str}
    took_ms: {description: How long looking took., type: int}
    facts:
      description: What is there, sorted by key. What moves by itself is left out.
      type: list
      elements: dict
      contains:
        key: {description: Stable name of the fact., type: str}
        value: {description: A text or a dictionary; of a secret, a fingerprint., type: raw}
    unseen:
      description: What could not be seen.
      type: list
      elements: dict
      contains:
        part: {description: Beginning of the keys that are missing; empty for the whole target., type: str}
        cause: {description: Why., type: str}
"""
