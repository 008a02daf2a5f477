# SPDX-License-Identifier: GPL-3.0-or-later
"""What all modules have in common that take facts, besides the fragment `targets`: list it after this one."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  timeout_s:
    default: 15.0
  total_timeout_s:
    default: 120.0
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
