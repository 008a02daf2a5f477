#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to unsealing: observe_key_shares.py reads shares, apply_vault_seal.py hands them in."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_unseal
short_description: Unseal Vault or OpenBao with the key shares of its holders
description:
  - Hands in one key share after the other until the server is unsealed, and waits until it is active.
  - A share comes from a file, of which each holds one. One that ends in C(.age) is unwrapped by age, one that ends in
    C(.asc), C(.gpg) or C(.pgp) by gpg, in memory. A share as it is must be readable by its owner alone.
  - Or its holder is asked for it, in a terminal, and types it unseen.
  - The server remembers the shares that it was given. So each holder may come alone, from a machine of their own.
  - No share is ever shown, logged or written anywhere.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
requirements: [requests >= 2.32, age or gpg where a share is wrapped]
options:
  address:
    description: URL of the server. A standby of a cluster is unsealed for itself.
    type: str
    required: true
  ca_path:
    description: File of trusted CA certificates in PEM form. Without it, the certificates that requests ships.
    type: path
  namespace:
    description: Namespace to speak in.
    type: str
  key_files:
    description: Files of key shares, on the host on which this runs.
    type: list
    elements: path
    default: []
  age_identity:
    description: File of the identity that unwraps those that are wrapped with age.
    type: path
  key:
    description: A key share that its holder has just typed. For whatever is kept somewhere, there is O(key_files).
    type: str
  holder:
    description: By what the holder of O(key) is known in results.
    type: str
    default: the one who was asked
  prompt:
    description: Whether holders are asked in the terminal for what the files lack.
    type: bool
    default: false
  complete:
    description: Whether a server that is still sealed afterwards is a failure.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: Reads the shares, and tells how many count; hands none in, and asks nobody.
"""

EXAMPLES = r"""
- name: Unseal Vault with three shares, of which two are wrapped
  vault_unseal:
    address: https://vault.example:8200
    key_files: [/media/alice/share, /media/bob/share.age, /media/carol/share.asc]
    age_identity: /media/bob/identity

- name: Have the holders asked
  vault_unseal:
    address: https://vault.example:8200
    prompt: true
"""

RETURN = r"""
sealed:
  description: Whether it is still sealed.
  returned: success
  type: bool
progress:
  description: How many shares count by now, 0 when it is unsealed.
  returned: success
  type: int
threshold:
  description: How many it takes.
  returned: success
  type: int
shares:
  description: How many there are.
  returned: success
  type: int
taken:
  description: Which shares were handed in, whether each counted, and how many count from then on.
  returned: success
  type: list
  elements: dict
  sample: [{holder: share.age, counted: true, progress: 1}]
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.glue import refuse_credentials_in_address, what_is_missing


def argument_spec() -> dict[str, Any]:
    return {
        "address": {"type": "str", "required": True},
        "ca_path": {"type": "path"},
        "namespace": {"type": "str"},
        "key_files": {"type": "list", "elements": "path", "default": [], "no_log": False},
        "age_identity": {"type": "path"},
        "key": {"type": "str", "no_log": True},
        "holder": {"type": "str", "default": "the one who was asked"},
        "prompt": {"type": "bool", "default": False},
        "complete": {"type": "bool", "default": True},
    }


def unseal(module: AnsibleModule) -> dict[str, Any]:
    """What came of it. Raises ``SealError``, ``ShareError`` and ``CannotObserve``."""
    from ansible.module_utils.cutover.apply_vault_seal import Taken, VaultSeal
    from ansible.module_utils.cutover.observe_key_shares import Share, read_shares

    options = module.params
    server = VaultSeal(options)
    state = server.state()
    taken: list[Taken] = []
    if state.sealed:
        shares = read_shares(options["key_files"], age_identity=options["age_identity"])
        module.no_log_values.update(share.key for share in shares)
        shares += [Share(holder=options["holder"], key=options["key"])] if options["key"] else []
        if not module.check_mode:
            state, taken = server.unseal(shares)
        elif shares:
            return {**asdict(state), "changed": True, "taken": [], "msg": f"Would hand in {len(shares)} key shares."}
    told = {**asdict(state), "changed": bool(taken), "taken": [asdict(each) for each in taken]}
    return told | {"msg": f"{server.address} is {state.said}."}


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    refuse_credentials_in_address(module, module.params["address"])
    try:
        from ansible.module_utils.cutover.apply_vault_seal import SealError
        from ansible.module_utils.cutover.checks import CannotObserve
        from ansible.module_utils.cutover.observe_key_shares import ShareError
    except ImportError as missing:
        module.fail_json(msg=what_is_missing(missing))
    try:
        told = unseal(module)
    except (SealError, ShareError, CannotObserve) as reason:
        module.fail_json(msg=str(reason))
    if told["sealed"] and module.params["complete"] and not module.check_mode:
        module.fail_json(**told)
    module.exit_json(**told)


if __name__ == "__main__":
    main()
