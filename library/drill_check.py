#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to what is seen while something is broken: observe_drill.py watches, judge_drill.py says what must be true."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drill_check
short_description: Verify how endpoints behave while something is broken, or while it comes back
description:
  - Asks all targets side by side, again and again, and judges every answer of that time, not the last one alone.
  - A target must become as declared in its time and stay so, or be so all the time. All are watched until the last one
    is done.
  - Sends what is declared and nothing that changes; proxies of the environment are not used.
version_added: 1.1.0
author: Cutover maintainers (@cutover)
extends_documentation_fragment: [check, targets]
requirements: [requests >= 2.32, urllib3 >= 2.3]
options:
  every_s:
    description: Seconds from one request to a target to the next.
    type: float
    default: 0.25
  for_s:
    description: Seconds for which all targets are watched at least. Needed where all only have to stay as they are.
    type: float
    default: 0.0
  component:
    description: What the verdicts call the kind of thing that is looked at.
    type: str
    default: drills
  targets:
    suboptions:
      name:
        description: Name of the target in reports; unique among the targets.
        type: str
        required: true
      address:
        description: URL to ask by GET, without credentials, such as V(https://app.example/api/ready).
        type: str
        required: true
      headers:
        description: Headers to send. One that holds a credential is refused here; it belongs in
          O(targets[].secret_headers).
        type: dict
      secret_headers:
        description: Headers to send whose values are shown nowhere, such as C(Authorization).
        type: dict
      ca_path:
        description: File of trusted CA certificates in PEM form. Without it, the certificates that requests ships.
        type: path
      tls_name:
        description: Name that the certificate must bear, where it is not the one in the address.
        type: str
      expected:
        description: What is expected of this target; overrides O(expected) option by option.
        type: dict
        suboptions: &expectation
          answer:
            description: What the endpoint answers then; as for M(endpoint_check).
            type: dict
            suboptions:
              status:
                description: Status codes that will do.
                type: list
                elements: int
              max_ms:
                description: Most milliseconds of every answer in that time, those before it was as declared included.
                type: float
              headers:
                description: Headers of the answer, and the exact value of each.
                type: dict
              body_contains:
                description: A text or a list of texts that are all in the body.
                type: raw
              body_matches:
                description: A regular expression or a list of them that are all found in the body.
                type: raw
              body_excludes:
                description: A text or a list of texts of which none is in the body.
                type: raw
              json:
                description: Values in the JSON body by their path, such as V(checks.redis.ok).
                type: dict
              json_equals:
                description: The whole JSON body.
                type: raw
              ready_shape:
                description: Whether the body must be a readiness answer whose every dependency is well.
                type: bool
              ready_dependencies:
                description: Dependencies that the readiness answer must name, each well.
                type: list
                elements: str
          stays:
            description: Whether every answer must be so from the beginning, instead of becoming so.
            type: bool
          within_s:
            description: Most seconds until the first answer that is as declared. Needed unless it O(expected.stays) so.
            type: float
          hold_s:
            description: Seconds for which every answer is as declared from then on.
            type: float
  expected:
    description: What is expected of every target.
    type: dict
    suboptions: *expectation
"""

EXAMPLES = r"""
- name: Verify that readiness names the cache that was stopped, and that liveness asks nobody
  drill_check:
    targets:
      - name: ready
        address: https://shop.example/api/ready
        expected:
          answer: {status: 503, max_ms: 1500, json: {checks.cache.ok: false}}
          within_s: 10
          hold_s: 3
      - name: health
        address: https://shop.example/health
        expected:
          answer: {status: 200, max_ms: 500}
          stays: true
"""

RETURN = r"""
verdicts:
  description: One verdict for each target, in their order. The fragment C(check) describes its parts.
  returned: always
  type: list
  elements: dict
  sample:
    - component: drills
      subject: ready
      address: https://shop.example/api/ready
      ok: false
      took_ms: 10240
      findings:
        - {check: reachable, status: pass, blocking: true, expected: true, observed: true, cause: null, remedy: null}
        - check: becomes
          status: fail
          blocking: true
          expected: as declared within 10 s
          observed: {never: "status: expected 503, observed 200", said: "200", asked: 41}
          cause: null
          remedy: read what it answered instead, and the service's log for why
      recorded:
        began_at: "2026-01-31T12:00:00.000000Z"
        became_at: null
        ended_at: "2026-01-31T12:00:10.200000Z"
        asked: 41
        as_expected: 0
        slowest_ms: 12
        answers: [{said: "200", wrong: "status: expected 503, observed 200", times: 41}]
"""

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.checks import ExpectationError
from ansible.module_utils.cutover.glue import check_arguments, reporting
from ansible.module_utils.cutover.judge_drill import watched_checks
from ansible.module_utils.cutover.verify import merged, verify_targets

ANSWER = {
    "status": {"type": "list", "elements": "int"},
    "max_ms": {"type": "float"},
    "headers": {"type": "dict"},
    "body_contains": {"type": "raw"},
    "body_matches": {"type": "raw"},
    "body_excludes": {"type": "raw"},
    "json": {"type": "dict"},
    "json_equals": {"type": "raw"},
    "ready_shape": {"type": "bool"},
    "ready_dependencies": {"type": "list", "elements": "str"},
}

EXPECTED = {
    "answer": {"type": "dict", "options": ANSWER},
    "stays": {"type": "bool"},
    "within_s": {"type": "float"},
    "hold_s": {"type": "float"},
}

TARGET = {
    "address": {"type": "str", "required": True},
    "headers": {"type": "dict"},
    "secret_headers": {"type": "dict", "no_log": True},
    "ca_path": {"type": "path"},
    "tls_name": {"type": "str"},
}


def argument_spec() -> dict[str, Any]:
    return check_arguments(target=TARGET, expected=EXPECTED) | {
        "every_s": {"type": "float", "default": 0.25},
        "for_s": {"type": "float", "default": 0.0},
        "component": {"type": "str", "default": "drills"},
    }


def declared(options: dict[str, Any]) -> list[dict[str, Any]]:
    """The targets, each with all that is expected of it; what nobody declared is left out."""
    targets = [{**target, "expected": merged(options["expected"], target["expected"])} for target in options["targets"]]
    for target in targets:
        target["expected"]["answer"] = merged(target["expected"].get("answer"), None)
    if not options["for_s"] and all(target["expected"].get("stays") for target in targets):
        raise ExpectationError("for_s is 0, and every target only has to stay as it is: nothing would be watched")
    return targets


def longest_s(options: dict[str, Any], targets: list[dict[str, Any]]) -> float:
    """How long all of it may take beyond the time limit of a request."""
    each = (t["expected"].get("within_s", 0) + t["expected"].get("hold_s", 0) for t in targets)
    return float(max(options["for_s"], *each) + options["timeout_s"] + options["every_s"])


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    options = module.params
    with reporting(module) as report:
        from ansible.module_utils.cutover.observe_drill import Meeting, watch

        targets = declared(options)
        meeting = Meeting(targets, for_s=options["for_s"])
        report(
            verify_targets(
                options["component"],
                {**options, "targets": targets, "expected": None, "workers": max(options["workers"], len(targets))},
                partial(watch, meeting=meeting, every_s=options["every_s"], timeout_s=options["timeout_s"]),
                watched_checks,
                reachable_remedy="see that its address, port and CA are right as seen from here, and whether it is up",
                record=lambda watched: watched.to_dict(),
                wait_s=lambda target: longest_s(options, targets),
            )
        )


if __name__ == "__main__":
    main()
