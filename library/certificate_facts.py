#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to the facts of certificates: observe_certificates.py looks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate_facts
short_description: Take the certificates that servers show
description:
  - One handshake with each server, which sends nothing. A certificate that is not trusted is a fact as well.
  - Judges nothing. What is taken here is compared with what was taken when a run was signed off.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
extends_documentation_fragment: [facts, targets]
options:
  targets:
    suboptions:
      name:
        description: Name of the target in reports; unique among the targets.
        type: str
        required: true
      address:
        description: Scheme, host and port of the server.
        type: str
        required: true
      tls_name:
        description: Name that the server is asked for.
        type: str
"""

EXAMPLES = r"""
- name: Take the certificate of the front door
  certificate_facts:
    targets:
      - {name: "shop.example:443", address: "https://shop.example:443"}
"""

RETURN = r"""
observations:
  description: One observation for each target, in their order. The fragment C(facts) describes its parts.
  returned: always
  type: list
  elements: dict
  sample:
    - component: endpoints
      subject: "shop.example:443"
      address: "https://shop.example:443"
      took_ms: 12
      facts:
        - {key: certificate, value: sha256 0a1b2c3d4e5f6071...}
      unseen: []
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.glue import fact_arguments, recording
from ansible.module_utils.cutover.observation import observe_targets

TARGET = {"address": {"type": "str", "required": True}, "tls_name": {"type": "str"}}


def argument_spec() -> dict[str, Any]:
    return fact_arguments(target=TARGET, salted=False)


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    with recording(module) as record:
        from ansible.module_utils.cutover.observe_certificates import look_at_certificate

        record(observe_targets("endpoints", module.params, look_at_certificate))


if __name__ == "__main__":
    main()
