#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to the facts of PostgreSQL: facts_postgres.py says what is kept, observe_postgres_facts.py looks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_facts
short_description: Take the facts of PostgreSQL databases
description:
  - Settings with their source, extensions, roles, databases, and the schema - tables, columns, indexes, constraints,
    triggers, policies, functions and grants. No counters, sizes, contents or partitions.
  - Reads only, in read-only transactions. A login with C(pg_read_all_settings), which C(pg_monitor) has, will do.
  - Judges nothing. What is taken here is compared with what was taken when a run was signed off.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
extends_documentation_fragment: [facts, facts.salt, postgres.targets, targets]
requirements: [psycopg >= 3.2]
"""

EXAMPLES = r"""
- name: Take the facts of the database
  postgres_facts:
    targets:
      - name: shop
        address: postgresql://db.example/shop
        user: monitor
        password: "{{ postgres_password }}"
    salt: "{{ run_salt_secret }}"
"""

RETURN = r"""
observations:
  description: One observation for each target, in their order. The fragment C(facts) describes its parts.
  returned: always
  type: list
  elements: dict
  sample:
    - component: postgres
      subject: shop
      address: postgresql://db.example/shop
      took_ms: 12
      facts:
        - {key: extension.pg_trgm, value: "1.6"}
        - {key: table.public.users/column.email, value: text not null}
      unseen: []
"""

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.glue import fact_arguments, recording
from ansible.module_utils.cutover.observation import fingerprints, observe_targets
from ansible.module_utils.cutover.options import POSTGRES, POSTGRES_RULES


def argument_spec() -> dict[str, Any]:
    return fact_arguments(target=POSTGRES, **POSTGRES_RULES)


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    with recording(module) as record:
        from ansible.module_utils.cutover.observe_postgres import forget_environment
        from ansible.module_utils.cutover.observe_postgres_facts import look_at_postgres_facts

        forget_environment()
        record(
            observe_targets(
                "postgres", module.params, partial(look_at_postgres_facts, fingerprints(module.params["salt"]))
            )
        )


if __name__ == "__main__":
    main()
