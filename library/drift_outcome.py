# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does all the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drift_outcome
short_description: Say what a drift run has come to, in one word
description:
  - Concludes as M(run_close) will, and names what blocks by its kind.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
options:
  run:
    description: What M(run_open) returned.
    type: dict
    required: true
  required_gates:
    description: The gates that the run must have passed.
    type: list
    elements: str
    default: [drift]
  waivers:
    description: Accepted deviations, as for M(gate).
    type: list
    elements: raw
    default: []
attributes:
  check_mode:
    support: full
    description: Reads only.
"""

EXAMPLES = r"""
- name: Say what it comes to
  drift_outcome:
    run: "{{ run_current }}"
"""

RETURN = r"""
outcome:
  description: V(no-drift), V(drift), V(contract-broken) or V(could-not-look); the gravest that holds.
  returned: success
  type: str
context:
  description: What C(decision.json) says of it, for M(run_close).
  returned: success
  type: dict
"""
