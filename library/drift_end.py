# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does all the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drift_end
short_description: End a drift run with an exit status of its own
description:
  - Does nothing but succeed, fail, or report the host as unreachable, which ends C(ansible-playbook) with 0, 2 or 4.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
options:
  outcome:
    description: What M(drift_outcome) returned.
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: Does the same in check mode.
"""

EXAMPLES = r"""
- name: End as what was found
  drift_end:
    outcome: "{{ __drift_outcome.outcome }}"
"""

RETURN = r"""
msg:
  description: The outcome, in words.
  returned: always
  type: str
"""
