#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to the facts of Redis: facts_redis.py says what is kept, observe_redis_facts.py looks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_facts
short_description: Take the facts of Redis or Valkey servers
description:
  - The whole configuration, users, modules, version and role; passwords as fingerprints, no counters.
  - Reads only, in one round trip. A login with C(+info +config|get +acl|list +module|list) and no other right will do.
  - Judges nothing. What is taken here is compared with what was taken when a run was signed off.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
extends_documentation_fragment: [facts, facts.salt, targets]
requirements: [redis >= 8.0]
options:
  targets:
    suboptions:
      name:
        description: Name of the target in reports; unique among the targets.
        type: str
        required: true
      address:
        description: Address of the server, as for M(redis_check).
        type: str
        required: true
      username:
        description: User to log in as. Without it, the default user.
        type: str
      password:
        description: Password of that user.
        type: str
      ca_path:
        description: File of trusted CA certificates in PEM form.
        type: path
      cert_path:
        description: Certificate to show to a server that asks for one.
        type: path
      key_path:
        description: Private key of O(targets[].cert_path).
        type: path
"""

EXAMPLES = r"""
- name: Take the facts of the cache
  redis_facts:
    targets:
      - {name: cache, address: "rediss://cache.example:6379/0", username: monitor, password: "{{ redis_password }}"}
    salt: "{{ run_salt_secret }}"
"""

RETURN = r"""
observations:
  description: One observation for each target, in their order. The fragment C(facts) describes its parts.
  returned: always
  type: list
  elements: dict
  sample:
    - component: redis
      subject: cache
      address: rediss://cache.example:6379/0
      took_ms: 12
      facts:
        - {key: config.maxmemory-policy, value: allkeys-lru}
        - {key: config.requirepass, value: fingerprint 0a1b2c3d4e5f6071}
      unseen: []
"""

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.glue import fact_arguments, recording
from ansible.module_utils.cutover.observation import fingerprints, observe_targets
from ansible.module_utils.cutover.options import REDIS, REDIS_RULES


def argument_spec() -> dict[str, Any]:
    return fact_arguments(target=REDIS, **REDIS_RULES)


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    with recording(module) as record:
        from ansible.module_utils.cutover.observe_redis_facts import look_at_redis_facts

        record(
            observe_targets("redis", module.params, partial(look_at_redis_facts, fingerprints(module.params["salt"])))
        )


if __name__ == "__main__":
    main()
