#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to what visitors saw: judge_visitors.py says what must be true, observe_visitors.py asks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: visitors_check
short_description: Verify what became of visitors' requests since a moment
description:
  - Asks whoever sends or counts requests, such as a load generator or a synthetic monitor, for its samples, and judges
    those since O(since).
  - The command of a target prints JSON with C(samples). Each holds C(at), when it ended in seconds since 1970 UTC,
    C(sent) and C(failed), the requests since the sample before, C(slowest_ms), and, where it is known, C(mean_ms). All
    else is not looked at.
  - Triggers with a budget are evaluated from the samples.
  - C(covered) and C(sent_per_s) are always judged. A time without samples, and too few requests, prove nothing.
  - Where less than 3 seconds have gone by since then, it waits for them.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
extends_documentation_fragment: [check, targets]
options:
  targets:
    suboptions:
      name:
        description: Name of the target in reports; unique among the targets.
        type: str
        required: true
      argv:
        description: The program that prints the samples, and its arguments. Every user of the host can see it.
        type: list
        elements: str
        required: true
      chdir:
        description: The directory in which to run it.
        type: path
      env_file:
        description: File with C(NAME=value) lines that are added to the environment. What is secret in it is masked.
        type: path
      expected:
        description: What is expected of this target; overrides O(expected) option by option.
        type: dict
        suboptions: &expectation
          min_per_s:
            description: Least number of requests a second. Must be declared.
            type: float
          max_gap_s:
            description: Most seconds without a sample. Without it, 5.
            type: float
          max_failed:
            description: Most requests that had no good answer.
            type: int
          max_ms:
            description: Most milliseconds that any request took.
            type: float
  expected:
    description: What is expected of every target.
    type: dict
    suboptions: *expectation
  since:
    description: The moment from which on samples count, as in V(2026-01-31T12:00:00Z).
    type: str
    required: true
  blocking:
    description: Whether findings keep a gate closed. With V(false) they are told, and no more.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Verify that no visitor has lost a request since the run began
  visitors_check:
    targets:
      - {name: k6, argv: [cat, /var/lib/k6/samples.json]}
    expected: {min_per_s: 20, max_failed: 0, max_ms: 2000}
    since: "{{ run_current.opened_at }}"
"""

RETURN = r"""
verdicts:
  description:
    - One verdict for each target, in their order. The fragment C(check) describes its parts.
    - What is recorded whole are C(sent), C(failed), C(slowest_ms) and the C(samples), the newest 3600 of them.
  returned: always
  type: list
  elements: dict
"""

from datetime import UTC, datetime
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.glue import check_arguments, reporting
from ansible.module_utils.cutover.judge_visitors import VisitorsObservation, visitors_checks
from ansible.module_utils.cutover.observe_visitors import look_at_visitors
from ansible.module_utils.cutover.verify import verify_targets

EXPECTED = {
    "min_per_s": {"type": "float"},
    "max_gap_s": {"type": "float"},
    "max_failed": {"type": "int"},
    "max_ms": {"type": "float"},
}

TARGET = {
    "argv": {"type": "list", "elements": "str", "required": True},
    "chdir": {"type": "path"},
    "env_file": {"type": "path"},
}


def argument_spec() -> dict[str, Any]:
    return {
        **check_arguments(target=TARGET, expected=EXPECTED),
        "since": {"type": "str", "required": True},
        "blocking": {"type": "bool", "default": True},
    }


def moment(module: AnsibleModule) -> float:
    """When samples begin to count, in seconds since 1970 UTC. Fails for what is no time."""
    try:
        since = datetime.fromisoformat(module.params["since"])
    except ValueError:
        module.fail_json(msg=f"since is {module.params['since']!r}, and no time such as 2026-01-31T12:00:00Z")
    return (since if since.tzinfo else since.replace(tzinfo=UTC)).timestamp()


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    since = moment(module)
    with reporting(module) as report:
        report(
            verify_targets(
                "visitors",
                module.params,
                look_at_visitors(module.no_log_values, since=since),
                visitors_checks,
                reachable_remedy="run the command by hand: it prints what the documentation of visitors_check asks for",
                record=VisitorsObservation.told,
                blocking=module.params["blocking"],
            )
        )


if __name__ == "__main__":
    main()
