#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to the endpoint checks: judge_endpoint.py says what must be true, observe_endpoint.py asks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: endpoint_check
short_description: Verify that HTTP endpoints answer as declared
description:
  - Asks all targets at once and judges each answer by what is expected of it.
  - Sends one request, C(GET) unless another method is declared, also in check mode. Declare only requests that change
    nothing; where O(expected.allowed_methods) or O(expected.refused_methods) are declared, safe methods are tried too.
  - Over HTTPS, the chain, the name and the dates of the certificate must be right for anything to be seen.
  - Proxies of the environment are not used. What is judged is the address that is declared.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
extends_documentation_fragment: [check, targets]
requirements: [requests >= 2.32, urllib3 >= 2.3]
options:
  component:
    description: What the verdicts call the kind of thing that is looked at.
    type: str
    default: endpoints
  targets:
    suboptions:
      name:
        description: Name of the target in reports; unique among the targets.
        type: str
        required: true
      address:
        description: URL to ask, without credentials, such as V(https://app.example/api/ready).
        type: str
        required: true
      method:
        description: Method of the request.
        type: str
        choices: [GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE]
        default: GET
      headers:
        description: Headers to send. One that holds a credential is refused here; it belongs in
          O(targets[].secret_headers).
        type: dict
      secret_headers:
        description: Headers to send whose values are shown nowhere, such as C(Authorization). Redirects to another
          server do not take them along.
        type: dict
      send_json:
        description: What to send as JSON. Shown in logs, so nothing secret.
        type: raw
      send_body:
        description: Text to send. Shown in logs, so nothing secret.
        type: str
      redirects:
        description: How many redirects to follow. With V(0) a redirect is the answer that is judged. One from HTTPS to
          HTTP is never followed.
        type: int
        default: 0
      ca_path:
        description: File of trusted CA certificates in PEM form. Without it, the certificates that requests ships.
        type: path
      tls_name:
        description: Name that the certificate must bear, where it is not the one in the address. To ask one instance
          behind a load balancer, give its own address here and the public name.
        type: str
      client_cert_path:
        description: File of the client certificate in PEM form.
        type: path
      client_key_path:
        description: File of its key, where it is not in the same file.
        type: path
      record:
        description: Keep the whole answer as evidence, in C(recorded) of the verdict; masked, and of its body the first
          64 KiB.
        type: bool
        default: false
      expected:
        description: What is expected of this target; overrides O(expected) option by option.
        type: dict
        suboptions: &expectation
          status:
            description: Status codes that will do.
            type: list
            elements: int
          max_ms:
            description: Most milliseconds until the last byte of the answer, with connecting and redirects.
            type: float
          location:
            description: Where a redirect must lead to, as the server sends it.
            type: str
          headers:
            description: Headers of the answer, and the exact value of each.
            type: dict
          headers_match:
            description: Headers of the answer, and a regular expression that is found in each.
            type: dict
          headers_absent:
            description: Headers that the answer must not have.
            type: list
            elements: str
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
            description:
              - Values in the JSON body by their path, such as V(checks.redis.ok) or V(items.0.name). Values are
                compared whole; a path that is not there is an error, not another value.
              - A dot within a name is written V(\\.).
            type: dict
          json_equals:
            description: The whole JSON body.
            type: raw
          ready_shape:
            description:
              - Whether the body must be a readiness answer whose every dependency is well. The recommended shape is
                C({"status":"ok", "checks":{"db":{"ok":true, "detail":"connected"}}}).
              - The older shape C({"dependencies":{"database":"connected"}}) is understood.
            type: bool
          ready_dependencies:
            description: Dependencies that the readiness answer must name, each well. Implies O(expected.ready_shape).
            type: list
            elements: str
          allowed_methods:
            description: Methods besides which the server names none in C(Allow), when it is asked by C(OPTIONS).
            type: list
            elements: str
          refused_methods:
            description: Methods that are tried and must be refused by a status of 4xx or 501. Only safe ones can be.
            type: list
            elements: str
            choices: [GET, HEAD, OPTIONS, TRACE]
          tls_min_version:
            description: Oldest version of TLS that the server may accept. All older ones are tried.
            type: str
            choices: ["1.0", "1.1", "1.2", "1.3"]
          certificate_min_days_left:
            description: Least days until the server's certificate ends.
            type: float
          wait_s:
            description: Seconds for which to go on asking until the answer is good in all that is expected of it. The
              last answer is judged. They come on top of O(timeout_s), which bounds each request, and of
              O(total_timeout_s).
            type: float
          every_s:
            description: Seconds between two requests while waiting; 1 when not declared.
            type: float
          consecutive:
            description: How many good answers in a row end the wait; 1 when not declared.
            type: int
  expected:
    description: What is expected of every target.
    type: dict
    suboptions: *expectation
"""

EXAMPLES = r"""
- name: Verify what a visitor sees, and keep the readiness answer as evidence
  endpoint_check:
    targets:
      - name: front-page
        address: https://app.example/
        expected:
          headers_match: {Strict-Transport-Security: 'max-age=\d{8}'}
          headers_absent: [Server]
          tls_min_version: "1.2"
          certificate_min_days_left: 21
      - name: ready
        address: https://app.example/api/ready
        record: true
        expected: {ready_dependencies: [db, redis], max_ms: 1500}
    expected: {status: 200, max_ms: 800}

- name: Wait until the new release has been well three times in a row
  endpoint_check:
    targets:
      - name: ready
        address: http://10.0.0.12:8000/api/ready
    expected: {status: 200, ready_shape: true, wait_s: 60, every_s: 0.5, consecutive: 3}

- name: Verify that the API wants a token, and takes ours
  endpoint_check:
    targets:
      - name: without-token
        address: https://app.example/api/v1/users
        expected: {status: 401}
      - name: with-token
        address: https://app.example/api/v1/users
        secret_headers: {Authorization: "Bearer {{ app_token }}"}
        expected: {status: 200}

- name: Verify that another origin and another host name are refused
  endpoint_check:
    targets:
      - name: cors
        address: https://app.example/api/v1/ping
        headers: {Origin: https://evil.example}
        expected: {headers_absent: [Access-Control-Allow-Origin]}
      - name: trusted-hosts
        address: https://app.example/
        headers: {Host: evil.example}
        expected: {status: [400, 421]}
"""

RETURN = r"""
verdicts:
  description: One verdict for each target, in their order. The fragment C(check) describes its parts.
  returned: always
  type: list
  elements: dict
  sample:
    - component: endpoints
      subject: ready
      address: https://app.example/api/ready
      ok: false
      took_ms: 31
      findings:
        - {check: reachable, status: pass, blocking: true, expected: true, observed: true, cause: null, remedy: null}
        - check: ready.dependency.redis
          status: fail
          blocking: true
          expected: ok
          observed: {ok: false, detail: unreachable}
          cause: null
          remedy: see whether redis is up, and reachable from the service with the credentials that it has
      recorded:
        url: https://app.example/api/ready
        status: 503
        headers: {Content-Type: application/json}
        body: '{"status":"fail","checks":{"redis":{"ok":false,"detail":"unreachable"}}}'
        body_bytes: 72
"""

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.glue import check_arguments, reporting
from ansible.module_utils.cutover.judge_endpoint import SAFE_METHODS, TLS_VERSIONS, endpoint_checks, wait_s_of
from ansible.module_utils.cutover.verify import verify_targets

EXPECTED = {
    "status": {"type": "list", "elements": "int"},
    "max_ms": {"type": "float"},
    "location": {"type": "str"},
    "headers": {"type": "dict"},
    "headers_match": {"type": "dict"},
    "headers_absent": {"type": "list", "elements": "str"},
    "body_contains": {"type": "raw"},
    "body_matches": {"type": "raw"},
    "body_excludes": {"type": "raw"},
    "json": {"type": "dict"},
    "json_equals": {"type": "raw"},
    "ready_shape": {"type": "bool"},
    "ready_dependencies": {"type": "list", "elements": "str"},
    "allowed_methods": {"type": "list", "elements": "str"},
    "refused_methods": {"type": "list", "elements": "str", "choices": list(SAFE_METHODS)},
    "tls_min_version": {"type": "str", "choices": list(TLS_VERSIONS)},
    "certificate_min_days_left": {"type": "float"},
    "wait_s": {"type": "float"},
    "every_s": {"type": "float"},
    "consecutive": {"type": "int"},
}

TARGET = {
    "address": {"type": "str", "required": True},
    "method": {
        "type": "str",
        "default": "GET",
        "choices": ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"],
    },
    "headers": {"type": "dict"},
    "secret_headers": {"type": "dict", "no_log": True},
    "send_json": {"type": "raw"},
    "send_body": {"type": "str"},
    "redirects": {"type": "int", "default": 0},
    "ca_path": {"type": "path"},
    "tls_name": {"type": "str"},
    "client_cert_path": {"type": "path"},
    "client_key_path": {"type": "path"},
    "record": {"type": "bool", "default": False},
}


def argument_spec() -> dict[str, Any]:
    spec = check_arguments(
        target=TARGET,
        expected=EXPECTED,
        mutually_exclusive=[("send_json", "send_body")],
        required_by={"client_key_path": "client_cert_path"},
    )
    return spec | {"component": {"type": "str", "default": "endpoints"}}


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    with reporting(module) as report:
        from ansible.module_utils.cutover.observe_endpoint import look_at_endpoint

        report(
            verify_targets(
                module.params["component"],
                module.params,
                partial(look_at_endpoint, timeout_s=module.params["timeout_s"]),
                endpoint_checks,
                reachable_remedy="start the service, and see that its address, port and CA are right as seen from here",
                record=lambda seen: seen.recorded,
                wait_s=wait_s_of,
            )
        )


if __name__ == "__main__":
    main()
