#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to plain SQL migrations: sql_migrations.py plans, apply_sql_migrations.py acts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sql_migrations
short_description: Apply plain SQL migrations to PostgreSQL, in order, each exactly once
description:
  - Applies the files C(NNN_name.sql) of a folder in the order of their numbers, and writes each with its checksum into
    a table of the database, the history.
  - Each file is one transaction together with its row in the history, so it has happened and is recorded, or neither.
  - "A file whose first line is C(-- cutover: no-transaction) is run statement by statement, as C(CREATE INDEX
    CONCURRENTLY) needs; when such a file fails, what came before the error in it stays."
  - Nothing is run when an applied file was changed or is missing, or when a file has a number before an applied one.
  - An advisory lock keeps out a second run on the same history. It needs a connection of its own, not one through a
    pooler in transaction mode.
  - All files must be SQL as the server knows it; commands of C(psql) and C(COPY ... FROM STDIN) are not.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
extends_documentation_fragment: [postgres]
requirements: [psycopg >= 3.2]
options:
  folder:
    description:
      - Folder on the host with the migrations.
      - Beside C(NNN_name.sql), C(NNN_name.down.sql) undoes that migration. Any other name that ends in C(.sql) is
        refused.
    type: path
    required: true
  state:
    description:
      - V(applied) applies what is missing up to O(target), and refuses when more than that is applied.
      - V(reverted) undoes what is applied after O(target), by the C(.down.sql) files, all of which must be there.
    type: str
    choices: [applied, reverted]
    default: applied
  target:
    description:
      - Version to bring the schema to; without it, V(applied) applies everything.
      - V(base) is an empty history, and a target for O(state=reverted) alone.
    type: str
  user:
    description: Role that owns the schema.
  history_table:
    description: Name of the history, taken literally. It is made where it is missing.
    type: str
    default: schema_migrations
  history_schema:
    description: Schema of the history; without it, the one in which the role makes its tables.
    type: str
  timeout_s:
    description: Most seconds that one statement may take (C(statement_timeout)).
    type: float
    default: 600.0
  lock_timeout_s:
    description:
      - Most seconds that a statement waits for a lock (C(lock_timeout)), so that a migration that cannot have its lock
        does not hold up the traffic behind it.
      - As long as this, another run on the same history is waited for.
    type: float
    default: 10.0
attributes:
  check_mode:
    support: full
    description: Reads the history and the files, and tells what would be run.
  diff_mode:
    support: none
    description: The files are the difference.
"""

EXAMPLES = r"""
- name: Apply all migrations of the release
  sql_migrations:
    folder: /srv/shop/current/migrations
    address: postgresql://db.example:5432/shop
    user: shop_owner
    password: "{{ migrations_password }}"
    ca_path: /etc/ssl/certs/internal-ca.pem
  register: __migrations_applied

- name: Take the schema back to what it was
  sql_migrations:
    folder: /srv/shop/current/migrations
    state: reverted
    target: "{{ __migrations_applied.revision_before }}"
    address: postgresql://db.example:5432/shop
    user: shop_owner
    password: "{{ migrations_password }}"
    ca_path: /etc/ssl/certs/internal-ca.pem
"""

RETURN = r"""
revision_before:
  description: The newest version that was applied before, or V(base); can be given as O(target).
  returned: when the history was read
  type: str
  sample: "001"
revision_after:
  description: The same after the run; in check mode, what it would be.
  returned: when the history was read
  type: str
  sample: "002"
steps:
  description: Names of the files that were run, in their order; in check mode, of those that would be.
  returned: when the history was read
  type: list
  elements: str
  sample: [002_sites.sql]
commands:
  description:
    - Each file that was run, as evidence, the failed one included; M(recorded_command) describes the parts.
    - The lines are what the server said.
  returned: always
  type: list
  elements: dict
  sample:
    - argv: [sql_migrations, apply, 002_sites.sql]
      chdir: /srv/shop/current/migrations
      host: postgresql://db.example:5432/shop
      exit_code: 0
      took_ms: 12
      first_lines: ["NOTICE: table \"sites\" does not exist, skipping"]
      last_lines: []
      line_count: 1
"""

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.glue import refuse_credentials_in_address, what_is_missing
from ansible.module_utils.cutover.masking import Masker
from ansible.module_utils.cutover.options import POSTGRES, POSTGRES_RULES
from ansible.module_utils.cutover.sql_migrations import (
    CannotMigrate,
    Migrated,
    read_migrations,
    steps_back,
    steps_forward,
)


def argument_spec() -> dict[str, Any]:
    return {
        "folder": {"type": "path", "required": True},
        "state": {"type": "str", "choices": ["applied", "reverted"], "default": "applied"},
        "target": {"type": "str"},
        **POSTGRES,
        "history_table": {"type": "str", "default": "schema_migrations"},
        "history_schema": {"type": "str"},
        "timeout_s": {"type": "float", "default": 600.0},
        "lock_timeout_s": {"type": "float", "default": 10.0},
    }


def migrate(module: AnsibleModule, masker: Masker) -> Migrated:
    from ansible.module_utils.cutover import apply_sql_migrations as database
    from ansible.module_utils.cutover.observe_postgres import forget_environment

    forget_environment()
    options = module.params
    steps = steps_back if options["state"] == "reverted" else steps_forward
    plan = partial(steps, read_migrations(options["folder"]), target=options["target"])
    limits = {name: options[name] for name in ("timeout_s", "lock_timeout_s")}
    with database.connected(options, **limits) as connection:
        history = database.find_history(connection, options["history_table"], options["history_schema"])
        if module.check_mode:
            return database.foresee(connection, history, plan)
        where = {"chdir": options["folder"], "host": options["address"]}
        wait_s = options["lock_timeout_s"]
        return database.migrate(connection, history, plan, wait_s=wait_s, masker=masker, where=where)


def main() -> None:
    module = AnsibleModule(
        argument_spec(),
        supports_check_mode=True,
        mutually_exclusive=POSTGRES_RULES["mutually_exclusive"],
        required_if=[("state", "reverted", ("target",)), *POSTGRES_RULES["required_if"]],
    )
    refuse_credentials_in_address(module, module.params["address"])
    masker = Masker(module.no_log_values)
    try:
        migrated = migrate(module, masker)
    except ImportError as missing:
        module.fail_json(msg=what_is_missing(missing), commands=[])
    except CannotMigrate as reason:
        module.fail_json(msg=masker.mask(str(reason)), commands=[])
    if migrated.failure:
        module.fail_json(msg=migrated.failure, **migrated.to_dict())
    module.exit_json(**migrated.to_dict())


if __name__ == "__main__":
    main()
