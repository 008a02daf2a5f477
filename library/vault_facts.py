#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to the facts of Vault: facts_vault.py says what is kept, observe_vault_facts.py looks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_facts
short_description: Take the facts of Vault or OpenBao servers
description:
  - Version, seal, mounts, auth methods, audit devices, and the digest of every policy. No secret is read.
  - Reads only. A login that may read C(sys/mounts), C(sys/auth), C(sys/audit) and C(sys/policies/acl) will do.
  - Judges nothing. What is taken here is compared with what was taken when a run was signed off.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
extends_documentation_fragment: [facts, facts.salt, targets]
requirements: [hvac >= 2.3]
options:
  targets:
    suboptions:
      name:
        description: Name of the target in reports; unique among the targets.
        type: str
        required: true
      address:
        description: Address of the server, as for M(vault_check).
        type: str
        required: true
      ca_path:
        description: File of trusted CA certificates in PEM form.
        type: path
      namespace:
        description: Namespace to look into.
        type: str
      token:
        description: Token to log in with.
        type: str
      role_id:
        description: Role of the AppRole to log in with.
        type: str
      secret_id:
        description: Secret of that AppRole.
        type: str
      approle_mount:
        description: Where AppRole is mounted.
        type: str
        default: approle
"""

EXAMPLES = r"""
- name: Take the facts of Vault
  vault_facts:
    targets:
      - {name: vault, address: "https://vault.example:8200", role_id: "{{ role_id }}", secret_id: "{{ secret_id }}"}
    salt: "{{ run_salt_secret }}"
"""

RETURN = r"""
observations:
  description: One observation for each target, in their order. The fragment C(facts) describes its parts.
  returned: always
  type: list
  elements: dict
  sample:
    - component: vault
      subject: vault
      address: https://vault.example:8200
      took_ms: 12
      facts:
        - {key: audit.file, value: {type: file, options: {file_path: /var/log/vault/audit.log}}}
        - {key: policy.shop, value: sha256 0a1b2c3d4e5f6071}
      unseen: []
"""

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.glue import fact_arguments, recording
from ansible.module_utils.cutover.observation import fingerprints, observe_targets
from ansible.module_utils.cutover.options import VAULT, VAULT_RULES


def argument_spec() -> dict[str, Any]:
    return fact_arguments(target=VAULT, **VAULT_RULES)


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    with recording(module) as record:
        from ansible.module_utils.cutover.observe_vault_facts import look_at_vault_facts

        record(
            observe_targets("vault", module.params, partial(look_at_vault_facts, fingerprints(module.params["salt"])))
        )


if __name__ == "__main__":
    main()
