#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to the Vault checks: judge_vault.py says what must be true, observe_vault.py looks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_check
short_description: Verify that Vault or OpenBao is unsealed and set up as declared
description:
  - Looks at all targets at once and judges each by what is expected of it.
  - Reads only. A login by AppRole is revoked when all has been seen. Values of secrets never leave the module.
  - C(initialized) and C(sealed) are always judged. A sealed server yields every finding that can be known of a
    sealed server; the others are skipped with that cause.
  - C(login), and C(token.root), that the token is no root token, are judged where something else is expected that
    needs a login. Credentials alone are not used.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
extends_documentation_fragment: [check, targets]
requirements: [hvac >= 2.4]
options:
  targets:
    suboptions:
      name:
        description: Name of the target in reports; unique among the targets.
        type: str
        required: true
      address:
        description: URL of the server, without credentials, such as V(https://vault.example:8200).
        type: str
        required: true
      ca_path:
        description: File of trusted CA certificates in PEM form. Without it, the certificates that requests ships.
        type: path
      namespace:
        description: Namespace to look at.
        type: str
      token:
        description: Token to look with. Expectations behind a login need it or O(targets[].role_id).
        type: str
      role_id:
        description: AppRole to log in with.
        type: str
      secret_id:
        description: Secret ID of the AppRole.
        type: str
      approle_mount:
        description: Where the AppRole method is mounted.
        type: str
        default: approle
      expected:
        description: What is expected of this target; overrides O(expected) option by option.
        type: dict
        suboptions: &expectation
          min_version:
            description: Oldest version that will do.
            type: str
          key_shares:
            description: Number of unseal key shares.
            type: int
          key_threshold:
            description: Number of shares that unseal.
            type: int
          standby:
            description: Whether this node is a standby.
            type: bool
          raft_voters:
            description: Least number of voting raft peers. Needs C(read) on C(sys/storage/raft/configuration).
            type: int
          kv_versions:
            description: Mounts of key-value engines, and the version of each. Needs C(read) on C(sys/mounts).
            type: dict
          audit_devices:
            description: Paths of audit devices that are enabled. Needs C(read) and C(sudo) on C(sys/audit).
            type: list
            elements: str
          token_max_ttl_s:
            description: Most seconds that the token in use may still live. A token that never ends fails.
            type: int
          secrets:
            description: Secrets in version 2 key-value engines that this login must be able to read.
            type: list
            elements: dict
            suboptions:
              path:
                description: Mount and path, such as V(secret/auth/jwt).
                type: str
                required: true
              keys:
                description: Keys that must hold a value.
                type: list
                elements: str
              max_age_days:
                description: Most days since the current version was written.
                type: float
  expected:
    description: What is expected of every target.
    type: dict
    suboptions: *expectation
"""

EXAMPLES = r"""
- name: Verify that Vault is unsealed, audited and holds what the application needs
  vault_check:
    targets:
      - name: vault
        address: https://vault.example:8200
        role_id: "{{ vault_role_id }}"
        secret_id: "{{ vault_secret_id }}"
    expected:
      min_version: "2.0"
      key_shares: 5
      key_threshold: 3
      kv_versions: {secret: 2}
      audit_devices: [file]
      secrets:
        - path: secret/auth/jwt
          keys: [value]
          max_age_days: 60
"""

RETURN = r"""
verdicts:
  description: One verdict for each target, in their order. The fragment C(check) describes its parts.
  returned: always
  type: list
  elements: dict
  sample:
    - component: vault
      subject: vault
      address: https://vault.example:8200
      ok: false
      took_ms: 12
      findings:
        - {check: reachable, status: pass, blocking: true, expected: true, observed: true, cause: null, remedy: null}
        - check: sealed
          status: fail
          blocking: true
          expected: false
          observed: true
          cause: null
          remedy: "have the holders of the unseal keys run: bao operator unseal"
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.glue import check_arguments, reporting
from ansible.module_utils.cutover.judge_vault import vault_checks
from ansible.module_utils.cutover.options import VAULT, VAULT_RULES
from ansible.module_utils.cutover.verify import verify_targets

SECRET = {
    "path": {"type": "str", "required": True},
    "keys": {"type": "list", "elements": "str", "no_log": False},
    "max_age_days": {"type": "float"},
}

EXPECTED = {
    "min_version": {"type": "str"},
    "key_shares": {"type": "int", "no_log": False},
    "key_threshold": {"type": "int", "no_log": False},
    "standby": {"type": "bool"},
    "raft_voters": {"type": "int"},
    "kv_versions": {"type": "dict"},
    "audit_devices": {"type": "list", "elements": "str"},
    "token_max_ttl_s": {"type": "int", "no_log": False},
    "secrets": {"type": "list", "elements": "dict", "options": SECRET, "no_log": False},
}


def argument_spec() -> dict[str, Any]:
    return check_arguments(target=VAULT, expected=EXPECTED, **VAULT_RULES)


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    with reporting(module) as report:
        from ansible.module_utils.cutover.observe_vault import look_at_vault

        report(
            verify_targets(
                "vault",
                module.params,
                look_at_vault,
                vault_checks,
                reachable_remedy="start the server, and see that its port and its CA are right as seen from here",
            )
        )


if __name__ == "__main__":
    main()
