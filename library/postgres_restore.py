#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to bringing a database back: restore.py thinks, apply_restore.py acts, observe_rows.py counts what is lost."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_restore
short_description: Bring a PostgreSQL database back from its backup, and keep the one that was there
description:
  - Restores a dump that M(postgres_backup) made into a new database, with owner, encoding, locale, tablespace,
    settings, grants, connection limit and comment of the present one, and checks it against the dump.
  - Counts what was written since the backup, table by table, and fails where that is something and
    O(accept_data_loss) does not say that it may be lost. Nobody is disturbed up to then.
  - Closes the present database to its clients, ends their sessions, and counts again, now that nobody can write. Then
    both databases change names in one transaction. For as long as the counting takes, clients are refused.
  - The present database is kept as C(<database>_failed_<suffix>). Transactions in it read only by default.
  - No database is ever dropped but one that this module has made and not swapped in.
  - A call that was killed is taken up by the next one with the same O(suffix). It may have left the present database
    closed to its clients; the next call opens it first. A call that has finished is not repeated.
notes:
  - "O(user) needs, and is asked for at once: C(CREATEDB); membership in the role that owns the database, and in those
    that own what is in it; C(pg_signal_backend), and the rights of a superuser where clients have them; C(SELECT) on
    all tables, as C(pg_read_all_data) gives it. A dump with extensions that are not trusted, event triggers,
    subscriptions or settings of other roles needs a superuser."
  - A connection must lead to the server itself, not to a pooler. The server is PostgreSQL 13 or later, and has room for
    both databases.
  - What counts as written are rows that only one of the two databases has, by all columns that both have, and values in
    columns that the backup lacks. A changed row is one of each. Numbers that sequences gave out are not counted.
  - A column whose type was changed since the backup is compared as text. Where that differs, all rows do.
  - Logical replication slots and subscriptions stay with the database that is kept.
  - To go back to the database that was kept, end its clients' sessions, rename both, and C(ALTER DATABASE ... RESET
    default_transaction_read_only).
version_added: 1.0.0
author: Cutover maintainers (@cutover)
extends_documentation_fragment: [postgres]
requirements: [psycopg >= 3.2]
options:
  name:
    description: Name of the database's target, for reports.
    type: str
    required: true
  user:
    description: Role that administers the database.
  maintenance_database:
    description: Another database of the server, from which databases are made and renamed.
    type: str
    default: postgres
  src:
    description: The dump, in C(pg_dump)'s custom format.
    type: path
    required: true
  sha256:
    description: SHA-256 of the dump as it was recorded. A file with another one is refused.
    type: str
    required: true
  suffix:
    description:
      - What the names of the new and of the kept database end in, such as the id of the run. 1 to 40 letters, digits,
        C(_), C(.) and C(-).
      - Every attempt at the same must have the same one. So give the id of the run that is taken back, and not that of
        the run that takes it back.
      - Where a name gets longer than PostgreSQL takes, the database's part of it is cut and gets a checksum.
    type: str
    required: true
  accept_data_loss:
    description: Whether what was written since the backup may be lost. It stays in the database that is kept.
    type: bool
    default: false
  ignore_tables:
    description:
      - Tables that migrations themselves write, such as V(public.alembic_version), as C(schema.table). What they lose
        is told, and needs no acceptance.
    type: list
    elements: str
    default: []
  min_tables:
    description: Least number of tables with data in the dump.
    type: int
    default: 1
  jobs:
    description: How many connections C(pg_restore) uses side by side.
    type: int
    default: 1
  program_dir:
    description: Directory of C(pg_restore) and C(pg_amcheck), no older than the server. Without it, C(PATH).
    type: path
  timeout_s:
    description: Deadline for each program and each statement, in seconds.
    type: float
    default: 3600.0
  swap_timeout_s:
    description: Most seconds in which sessions must end, locks be had, and the databases be renamed.
    type: float
    default: 30.0
attributes:
  check_mode:
    support: partial
    description:
      - Judges the dump, the rights and what an earlier call has left, and tells what would be done.
      - Restores nothing, so it cannot tell what would be lost.
  diff_mode:
    support: none
    description: RV(lost) is the difference.
"""

EXAMPLES = r"""
- name: Bring the shop's database back as it was before it was migrated
  postgres_restore:
    name: shop
    address: postgresql://db.example:5432/shop
    user: postgres_admin
    password: "{{ postgres_admin_password }}"
    ca_path: /etc/ssl/certs/internal-ca.pem
    src: "{{ __backup_taken.backup.path }}"
    sha256: "{{ __backup_taken.backup.sha256 }}"
    suffix: 20260228T100833Z
    accept_data_loss: "{{ rollback_accept_data_loss | default(false) }}"
    ignore_tables: [public.alembic_version]
"""

RETURN = r"""
lost:
  description:
    - Tables that were written to since the backup; null when it was not counted.
    - Counted while nobody could write, when the databases were swapped.
  returned: always
  type: list
  elements: dict
  contains:
    table: {description: Schema and table., type: str}
    rows: {description: Rows that only the present database has., type: int}
    returning: {description: Rows that only the backup has; a changed row counts here too., type: int}
    columns: {description: "By column that the backup lacks, the rows that say something in it.", type: dict}
  sample: [{table: public.payment, rows: 3, returning: 1, columns: {}}]
ignored:
  description: The same for O(ignore_tables).
  returned: always
  type: list
  elements: dict
only_present:
  description: Tables that only the present database has, also empty ones.
  returned: always
  type: list
  elements: str
only_restored:
  description: Tables that only the backup has.
  returned: always
  type: list
  elements: str
kept_as:
  description: Name of the database that was the present one; null when nothing was swapped.
  returned: always
  type: str
  sample: shop_failed_20260228T100833Z
restored_as:
  description: Name of the restored database while it waits to be swapped in; null when there is none.
  returned: always
  type: str
verdicts:
  description: Judgement on the restored database. The fragment C(check) describes its parts.
  returned: always
  type: list
  elements: dict
commands:
  description: The programs that were run.
  returned: always
  type: list
  elements: dict
"""

import signal
from types import FrameType
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.checks import CannotObserve
from ansible.module_utils.cutover.command import CannotRun
from ansible.module_utils.cutover.glue import refuse_credentials_in_address, what_is_missing
from ansible.module_utils.cutover.masking import Masker
from ansible.module_utils.cutover.options import POSTGRES, POSTGRES_RULES
from ansible.module_utils.cutover.restore import CannotRestore
from ansible.module_utils.cutover.restore_programs import Programs


def argument_spec() -> dict[str, Any]:
    return {
        "name": {"type": "str", "required": True},
        **POSTGRES,
        "maintenance_database": {"type": "str", "default": "postgres"},
        "src": {"type": "path", "required": True},
        "sha256": {"type": "str", "required": True},
        "suffix": {"type": "str", "required": True},
        "accept_data_loss": {"type": "bool", "default": False},
        "ignore_tables": {"type": "list", "elements": "str", "default": []},
        "min_tables": {"type": "int", "default": 1},
        "jobs": {"type": "int", "default": 1},
        "program_dir": {"type": "path"},
        "timeout_s": {"type": "float", "default": 3600.0},
        "swap_timeout_s": {"type": "float", "default": 30.0},
    }


def end_in_order(number: int, _frame: FrameType | None) -> None:
    """What is closed is opened again on the way out, which a signal alone would cut off."""
    raise KeyboardInterrupt(f"ended by signal {number}")


def bring_back(module: AnsibleModule, programs: Programs) -> dict[str, Any]:
    from ansible.module_utils.cutover.apply_restore import Restorer
    from ansible.module_utils.cutover.observe_postgres import forget_environment

    forget_environment()
    restorer = Restorer(module.params, programs, check_mode=module.check_mode)
    try:
        restorer.run()
    except (CannotRestore, CannotRun, OSError, KeyboardInterrupt) as reason:
        restorer.story.msg = f"{module.params['address']} was not brought back: {reason}"
        return {"failed": True, "msg": restorer.story.msg, **restorer.story.to_dict()}
    return {"msg": restorer.story.msg, **restorer.story.to_dict()}


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True, **POSTGRES_RULES)
    refuse_credentials_in_address(module, module.params["address"])
    masker = Masker(module.no_log_values)
    limits = {name: module.params[name] for name in ("program_dir", "timeout_s", "password")}
    programs = Programs(**limits, secrets=frozenset(module.no_log_values))
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, end_in_order)
    try:
        result = bring_back(module, programs)
    except ImportError as missing:
        module.fail_json(msg=what_is_missing(missing), commands=[])
    except (CannotRestore, CannotObserve, KeyboardInterrupt) as reason:
        module.fail_json(msg=masker.mask(f"{module.params['address']} was not brought back: {reason}"), commands=[])
    leave = module.fail_json if result.get("failed") else module.exit_json
    leave(**masker.mask(result), commands=programs.done)


if __name__ == "__main__":
    main()
