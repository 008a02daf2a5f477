#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to the traffic checks: judge_traffic.py says what must be true, observe_traffic.py looks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_check
short_description: Verify which pool HAProxy serves from, and how a share of the traffic goes
description:
  - Looks at all targets at once, through HAProxy's runtime interface, and judges each by what is expected of it.
  - Reads only. With O(targets[].share) it watches those servers until enough requests have come by.
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
      address:
        description: The runtime interface. The path of its socket, or C(host:port).
        type: str
        required: true
      backend:
        description: Name of the backend.
        type: str
        required: true
      pools:
        description: Names of pools and the servers of each. Checks of pools need them.
        type: dict
      share:
        description: Servers that take the share to be judged.
        type: list
        elements: str
      state_file:
        description: Not used here, so that one list of targets does for M(haproxy_servers) too.
        type: path
      watch_s:
        description: How long to watch the share at most, in seconds. Set O(timeout_s) above it.
        type: float
        default: 30.0
      min_samples:
        description: How many samples of a second each, in which a request came by, to take at least; all are recorded.
        type: int
        default: 0
      expected:
        description: What is expected of this target; overrides O(expected) option by option.
        type: dict
        suboptions: &expectation
          one_pool:
            description:
              - With V(true), just one pool must serve, with all its servers that are ready, and no server of another
                pool may be ready to serve as soon as it is up.
            type: bool
          serving_pool:
            description: The pool that must serve, alone.
            type: str
          min_requests:
            description: Least number of requests to the share. Fewer prove nothing, and fail.
            type: int
          max_error_percent:
            description: Most errors in a hundred requests. An error is a 5xx, a failed connection or a broken answer.
            type: float
          max_mean_ms:
            description: Most milliseconds that an answer may take on average, of those that any server of the share has
              given while it was watched.
            type: int
  expected:
    description: What is expected of every target.
    type: dict
    suboptions: *expectation
"""

EXAMPLES = r"""
- name: Judge the share of traffic that the new release takes
  haproxy_check:
    targets:
      - name: canary
        address: /run/haproxy/admin.sock
        backend: web
        share: [green1]
        watch_s: 60
    timeout_s: 70
    expected: {min_requests: 200, max_error_percent: 0.5, max_mean_ms: 300}
"""

RETURN = r"""
verdicts:
  description: One verdict for each target, in their order. The fragment C(check) describes its parts.
  returned: always
  type: list
  elements: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.glue import check_arguments, reporting
from ansible.module_utils.cutover.judge_traffic import TrafficObservation, traffic_checks
from ansible.module_utils.cutover.observe_traffic import look_at_traffic
from ansible.module_utils.cutover.verify import verify_targets

EXPECTED = {
    "one_pool": {"type": "bool"},
    "serving_pool": {"type": "str"},
    "min_requests": {"type": "int"},
    "max_error_percent": {"type": "float"},
    "max_mean_ms": {"type": "int"},
}

TARGET = {
    "address": {"type": "str", "required": True},
    "backend": {"type": "str", "required": True},
    "pools": {"type": "dict"},
    "share": {"type": "list", "elements": "str"},
    "state_file": {"type": "path"},
    "watch_s": {"type": "float", "default": 30.0},
    "min_samples": {"type": "int", "default": 0},
}


def argument_spec() -> dict[str, Any]:
    return check_arguments(target=TARGET, expected=EXPECTED)


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    with reporting(module) as report:
        report(
            verify_targets(
                "traffic",
                module.params,
                look_at_traffic,
                traffic_checks,
                reachable_remedy="start HAProxy, and let this user open its runtime interface at level admin",
                record=TrafficObservation.to_dict,
            )
        )


if __name__ == "__main__":
    main()
