#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to the Redis checks: judge_redis.py says what must be true, observe_redis.py looks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_check
short_description: Verify that Redis or Valkey is configured, protected and healthy as declared
description:
  - Looks at all targets at once and judges each by what is expected of it.
  - Reads only. What a login may see is asked in one round trip on one connection; what somebody without a login may
    do is tried on connections of its own.
  - C(login) and C(loading) are always judged.
  - Where C(CONFIG) is forbidden, as on most managed services, what C(INFO) tells is judged, and the finding says so.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
extends_documentation_fragment: [check, targets]
requirements: [redis >= 8.0]
options:
  targets:
    suboptions:
      name:
        description: Name of the target in reports; unique among the targets.
        type: str
        required: true
      address:
        description:
          - Address of the server, without credentials. V(redis://cache.example:6379/0), V(rediss://cache.example:6379/0)
            for TLS with the certificate verified, or V(unix:///run/redis/redis.sock?db=0).
          - V(valkey://) and V(valkeys://) mean the same as V(redis://) and V(rediss://).
        type: str
        required: true
      username:
        description: User to log in as. Without it, the default user.
        type: str
      password:
        description: Password of that user.
        type: str
      ca_path:
        description: File of trusted CA certificates in PEM form. Without it, the system's.
        type: path
      cert_path:
        description: Certificate to show to a server that asks for one, in PEM form.
        type: path
      key_path:
        description: Private key of O(targets[].cert_path), in PEM form and without a passphrase.
        type: path
      expected:
        description: What is expected of this target; overrides O(expected) option by option.
        type: dict
        suboptions: &expectation
          min_version:
            description: Oldest version that will do, for each server that will do. Any other server fails.
            type: dict
            suboptions:
              redis:
                description: Oldest version of Redis.
                type: str
              valkey:
                description: Oldest version of Valkey, by its own number.
                type: str
          tls:
            description: Whether the connection is encrypted.
            type: bool
          refuses_unauthenticated:
            description: Whether to verify that a connection without credentials, and without a certificate, is refused.
            type: bool
          refuses_default_passwords:
            description:
              - Whether to verify that the default user accepts none of about a dozen passwords that everybody knows.
              - Each is tried once, on the default user alone; the server counts and logs them as refused logins.
            type: bool
          default_passwords:
            description: More passwords to try with O(expected.refuses_default_passwords). They are not kept secret.
            type: list
            elements: str
          config:
            description:
              - Directives of redis.conf and what each must be, in any spelling that means the same.
              - For example V(256mb) and V(268435456), V(true) and V(yes), V(900 1 300 10) and a list of such pairs.
              - Of C(client-output-buffer-limit), the classes of clients that are declared are compared.
              - Directives that hold passwords are refused, because findings are shown in reports.
            type: dict
          aof:
            description: Whether the append-only file is on. With V(true), its last write and rewrite must be healthy.
            type: bool
          rdb:
            description: Whether to verify that the last snapshot succeeded.
            type: bool
          rdb_max_age_s:
            description: Most seconds since the last snapshot, unless nothing changed since.
            type: int
          role:
            description: Role of the server. With V(replica), the link to its master must be up.
            type: str
            choices: [master, replica]
          min_replicas:
            description: Least number of replicas that are online.
            type: int
          max_replication_lag_s:
            description:
              - On a replica, most seconds since it heard its master; an idle master speaks every 10 seconds.
              - On a master, most seconds since any of its online replicas was heard; there must be one.
            type: int
          min_free_memory_percent:
            description: Least part of C(maxmemory) that is free. A cache that evicts is full on purpose.
            type: float
          min_free_clients_percent:
            description: Least part of C(maxclients) that is free.
            type: float
          users:
            description: Users of the access control list. Needs C(ACL GETUSER).
            type: list
            elements: dict
            suboptions:
              name:
                description: Name of the user.
                type: str
                required: true
              enabled:
                description: Whether the user may log in; with a password, unless V(nopass) is among the flags.
                type: bool
              flags:
                description: Flags that C(ACL GETUSER) must show, such as V(sanitize-payload).
                type: list
                elements: str
  expected:
    description: What is expected of every target.
    type: dict
    suboptions: *expectation
"""

EXAMPLES = r"""
- name: Verify that the cache is protected, keeps its data and evicts as declared
  redis_check:
    targets:
      - name: cache
        address: rediss://cache.example:6379/0
        ca_path: /etc/ssl/certs/internal-ca.pem
        password: "{{ redis_password }}"
    expected:
      min_version: {redis: "7.0", valkey: "7.2"}
      tls: true
      refuses_unauthenticated: true
      refuses_default_passwords: true
      config:
        maxmemory: 256mb
        maxmemory-policy: allkeys-lru
        save: [900 1, 300 10]
      aof: true
      rdb: true
      role: master
      min_replicas: 1
      min_free_clients_percent: 20
      users:
        - {name: app}
        - {name: default, enabled: false}
"""

RETURN = r"""
verdicts:
  description: One verdict for each target, in their order. The fragment C(check) describes its parts.
  returned: always
  type: list
  elements: dict
  sample:
    - component: redis
      subject: cache
      address: rediss://cache.example:6379/0
      ok: false
      took_ms: 4
      findings:
        - {check: reachable, status: pass, blocking: true, expected: true, observed: true, cause: null, remedy: null}
        - check: config.maxmemory-policy
          status: fail
          blocking: true
          expected: allkeys-lru
          observed: noeviction
          cause: null
          remedy: CONFIG SET maxmemory-policy allkeys-lru, and redis.conf or the provider's parameters for later
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.glue import check_arguments, reporting
from ansible.module_utils.cutover.judge_redis import KNOWN_PASSWORDS, redis_checks, secrets_among_directives
from ansible.module_utils.cutover.options import REDIS, REDIS_RULES
from ansible.module_utils.cutover.verify import verify_targets

MIN_VERSION = {"redis": {"type": "str"}, "valkey": {"type": "str", "no_log": False}}

USER = {
    "name": {"type": "str", "required": True},
    "enabled": {"type": "bool"},
    "flags": {"type": "list", "elements": "str"},
}

EXPECTED = {
    "min_version": {"type": "dict", "options": MIN_VERSION},
    "tls": {"type": "bool"},
    "refuses_unauthenticated": {"type": "bool"},
    "refuses_default_passwords": {"type": "bool"},
    "default_passwords": {"type": "list", "elements": "str", "no_log": False},
    "config": {"type": "dict"},
    "aof": {"type": "bool"},
    "rdb": {"type": "bool"},
    "rdb_max_age_s": {"type": "int"},
    "role": {"type": "str", "choices": ["master", "replica"]},
    "min_replicas": {"type": "int"},
    "max_replication_lag_s": {"type": "int"},
    "min_free_memory_percent": {"type": "float"},
    "min_free_clients_percent": {"type": "float"},
    "users": {"type": "list", "elements": "dict", "options": USER},
}


def argument_spec() -> dict[str, Any]:
    return check_arguments(target=REDIS, expected=EXPECTED, **REDIS_RULES)


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    # A password that everybody knows is found out, not hidden: hiding `redis` would black out the word in every report.
    module.no_log_values.difference_update(KNOWN_PASSWORDS)
    module.no_log_values.update(secrets_among_directives(module.params))
    with reporting(module) as report:
        from ansible.module_utils.cutover.observe_redis import look_at_redis

        report(
            verify_targets(
                "redis",
                module.params,
                look_at_redis,
                redis_checks,
                reachable_remedy="start the server, and see that its port, its CA and rediss:// are right from here",
            )
        )


if __name__ == "__main__":
    main()
