# SPDX-License-Identifier: GPL-3.0-or-later
"""What all check modules have in common, besides the fragment `targets`."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  report_only:
    description:
      - With V(false), the task fails when a blocking finding does not pass.
      - With V(true), it returns the verdicts and leaves the decision to a gate.
    type: bool
    default: false
"""

    RETURN = r"""
verdicts:
  description: One verdict for each target, in the order of O(targets).
  returned: always
  type: list
  elements: dict
  contains:
    component: {description: What kind of thing was looked at., type: str}
    subject: {description: Name of the target., type: str}
    address: {description: Where it was looked at; holds no credentials., type: str}
    ok: {description: Whether every blocking finding passed., type: bool}
    took_ms: {description: How long looking took., type: int}
    recorded: {description: What is kept whole as evidence., type: dict, returned: where there is something to keep}
    findings:
      description: Answers to all checks that the expectation implies; never empty, the first is C(reachable).
      type: list
      elements: dict
      contains:
        check: {description: Name of the check., type: str}
        status: {description: V(pass), V(fail) (seen and wrong), V(error) (not seen) or V(skipped)., type: str}
        blocking: {description: Whether a gate stays closed unless this passes., type: bool}
        expected: {description: What must be., type: raw}
        observed: {description: What is., type: raw}
        cause: {description: For V(error) and V(skipped) the reason., type: str}
        remedy: {description: What to do., type: str}
"""
