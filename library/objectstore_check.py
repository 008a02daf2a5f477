#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to the object storage checks: judge_objectstore.py says what must be true, observe_objectstore.py looks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: objectstore_check
short_description: Verify that an S3 object storage answers, has its buckets and refuses strangers
description:
  - Looks at all targets at once and judges each by what is expected of it.
  - Reads only, and no object; of a bucket, at most one name is listed.
  - Addresses buckets by path, which AWS, MinIO, RustFS, Ceph, Garage and other servers understand.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
extends_documentation_fragment: [check, targets]
requirements: [requests >= 2.32, urllib3 >= 2.3]
options:
  targets:
    suboptions:
      name:
        description: Name of the target in reports; unique among the targets.
        type: str
        required: true
      address:
        description: URL of the server, without credentials and without a bucket, such as V(https://s3.example:9000).
        type: str
        required: true
      ca_path:
        description: File of trusted CA certificates in PEM form. Without it, the certificates that requests ships.
        type: path
      region:
        description: Region that requests are signed for.
        type: str
        default: us-east-1
      access_key:
        description: Access key to look with; a name, and shown as one. O(expected.login) and O(expected.buckets) need
          it.
        type: str
      secret_key:
        description: Its secret key.
        type: str
      expected:
        description: What is expected of this target; overrides O(expected) option by option.
        type: dict
        suboptions: &expectation
          anonymous_refused:
            description: Whether requests without a signature must be refused, by the server and by each of
              O(expected.buckets).
            type: bool
          default_credentials_refused:
            description: Whether the credentials that servers come with and that examples use must be refused. All of
              them are tried.
            type: bool
          login:
            description: Whether the given credentials must be accepted. Implied by O(expected.buckets).
            type: bool
          buckets:
            description: Buckets that must be there, and open to the given credentials.
            type: list
            elements: str
  expected:
    description: What is expected of every target.
    type: dict
    suboptions: *expectation
"""

EXAMPLES = r"""
- name: Verify that the object storage holds the application's bucket and refuses strangers
  objectstore_check:
    targets:
      - name: objectstore
        address: https://s3.example:9000
        access_key: cutover-checks
        secret_key: "{{ objectstore_secret_key }}"
    expected:
      anonymous_refused: true
      default_credentials_refused: true
      buckets: [app]
"""

RETURN = r"""
verdicts:
  description: One verdict for each target, in their order. The fragment C(check) describes its parts.
  returned: always
  type: list
  elements: dict
  sample:
    - component: objectstore
      subject: objectstore
      address: https://s3.example:9000
      ok: false
      took_ms: 41
      findings:
        - {check: reachable, status: pass, blocking: true, expected: true, observed: true, cause: null, remedy: null}
        - check: default_credentials
          status: fail
          blocking: true
          expected: refused
          observed: ["minioadmin:minioadmin"]
          cause: null
          remedy: give the server's administrator credentials of its own, and restart it
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.glue import check_arguments, reporting
from ansible.module_utils.cutover.judge_objectstore import objectstore_checks
from ansible.module_utils.cutover.verify import verify_targets

EXPECTED = {
    "anonymous_refused": {"type": "bool"},
    "default_credentials_refused": {"type": "bool"},
    "login": {"type": "bool"},
    "buckets": {"type": "list", "elements": "str"},
}

TARGET = {
    "address": {"type": "str", "required": True},
    "ca_path": {"type": "path"},
    "region": {"type": "str", "default": "us-east-1"},
    "access_key": {"type": "str", "no_log": False},
    "secret_key": {"type": "str", "no_log": True},
}


def argument_spec() -> dict[str, Any]:
    return check_arguments(target=TARGET, expected=EXPECTED, required_together=[("access_key", "secret_key")])


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    with reporting(module) as report:
        from ansible.module_utils.cutover.observe_objectstore import look_at_objectstore

        report(
            verify_targets(
                "objectstore",
                module.params,
                look_at_objectstore,
                objectstore_checks,
                reachable_remedy="start the server, and see that its address, port and CA are right as seen from here",
            )
        )


if __name__ == "__main__":
    main()
