#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to the trial of a backup: observe_restore.py brings it back, judge_restore.py says what must be true."""

from __future__ import annotations

DOCUMENTATION = r"""
module: restore_check
short_description: Prove that the newest backup of a PostgreSQL database can be brought back, in time
description:
  - Restores the newest dump of M(postgres_backup) into a scratch database on the server of its source, counts rows
    against the dump, compares every table with the source, measures, and drops the scratch.
  - The scratch is made like the source, is marked, and is the only database that is ever dropped. One that a killed
    trial has left behind is dropped by the next.
  - C(backup.sha256), C(restore.rows) and C(restore.left_behind) are always judged.
  - A trial takes disk and time of the server of its source.
notes:
  - O(targets[].user) needs C(CREATEDB), membership in the role that owns the database and in those that own what is in
    it, and C(SELECT) on all tables, as C(pg_read_all_data) gives it. To have C(amcheck) it must be a superuser, or
    O(targets[].amcheck_user) be one, because the scratch gets the extension.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
extends_documentation_fragment: [check, targets]
requirements: [psycopg >= 3.2]
options:
  targets:
    suboptions:
      name:
        description: Name of the target in reports; unique among the targets.
        type: str
        required: true
      address:
        description: Where the source is, without credentials, such as V(postgresql://db.example:5432/shop).
        type: str
        required: true
      user:
        description: Role that restores.
        type: str
        required: true
      password:
        description: Password of the role.
        type: str
      passfile:
        description: File on the host with the password, of libpq's C(.pgpass) form and mode C(0600).
        type: path
      ca_path:
        description: File of trusted CA certificates in PEM form.
        type: path
      sslmode:
        description: How libpq secures the connection. Anything but V(verify-full) trusts whoever answers.
        type: str
        choices: [disable, prefer, require, verify-ca, verify-full]
        default: verify-full
      maintenance_database:
        description: Another database of the server, from which databases are made and dropped.
        type: str
        default: postgres
      backup_dir:
        description: Directory of the backups on the host.
        type: path
        required: true
      backup_pattern:
        description:
          - Which files in it are this target's backups; the one that was written last is tried.
          - Without it, C([0-9]*.dump) after the target's name and a hyphen.
        type: str
      program_dir:
        description: Directory of C(pg_restore) and C(pg_amcheck), no older than the server. Without it, C(PATH).
        type: path
      round_trip:
        description:
          - How the database's migrations are taken up and down by Alembic, for C(expected.round_trip).
          - It is called with C(upgrade heads), C(heads), C(current) and C(downgrade -1).
        type: dict
        suboptions:
          argv:
            description: The program that is Alembic with the project's settings.
            type: list
            elements: str
            required: true
          chdir:
            description: The directory in which it is called, that of the release whose migrations they are.
            type: path
          env_file:
            description: File with C(NAME=value) lines, the release's environment.
            type: path
            required: true
          url_variable:
            description: The variable in it whose URL says which database is migrated. It is led to the scratch.
            type: str
            default: DATABASE_URL
      amcheck_user:
        description: Role that runs C(pg_amcheck), where it is another one than O(targets[].user).
        type: str
      amcheck_password:
        description: Its password. A O(targets[].passfile) may have it as well.
        type: str
      jobs:
        description: How many connections C(pg_restore) uses side by side.
        type: int
        default: 1
      expected:
        description: What is expected of this target; overrides O(expected) option by option.
        type: dict
        suboptions: &expectation
          max_age_s:
            description: Most seconds since the backup was begun (recovery point objective).
            type: float
          max_restore_s:
            description: Most seconds until the restored database can be used (recovery time objective).
            type: float
          min_tables:
            description: Least number of tables with data in the backup.
            type: int
          same_tables:
            description: Tables that do not change, as C(schema.table), and so must be the same in source and backup.
            type: list
            elements: str
          round_trip:
            description:
              - Whether the restored database must go up to the single head of its migrations, one down and up again,
                and have the same schema then.
            type: bool
          amcheck:
            description: Whether C(pg_amcheck) must find nothing wrong in the restored database.
            type: bool
  expected:
    description: What is expected of every target.
    type: dict
    suboptions: *expectation
  timeout_s:
    description: Deadline for one target, in seconds. A target without an answer by then is a finding.
    type: float
    default: 3600.0
  total_timeout_s:
    description: Deadline for all targets together, in seconds.
    type: float
    default: 7200.0
  workers:
    description: How many backups are tried out side by side.
    type: int
    default: 1
attributes:
  check_mode:
    support: partial
    description: Makes no scratch database, so what a trial would show is an error with that cause.
"""

EXAMPLES = r"""
- name: Prove that the shop's newest backup can be brought back within a quarter of an hour
  restore_check:
    targets:
      - name: shop
        address: postgresql://db.example:5432/shop
        user: postgres_admin
        password: "{{ postgres_admin_password }}"
        ca_path: /etc/ssl/certs/internal-ca.pem
        backup_dir: /var/backups/shop
    expected:
      max_age_s: 86400
      max_restore_s: 900
      same_tables: [public.country]
      amcheck: true
"""

RETURN = r"""
verdicts:
  description:
    - One verdict for each target, in their order. The fragment C(check) describes its parts.
    - Recorded are the backup, its age, the time it took, and which tables are as in the source, or were changed since.
  returned: always
  type: list
  elements: dict
commands:
  description: The programs that were run.
  returned: always
  type: list
  elements: dict
"""

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.glue import check_arguments, reporting
from ansible.module_utils.cutover.judge_restore import RestoreObservation, restore_checks
from ansible.module_utils.cutover.options import POSTGRES, POSTGRES_RULES
from ansible.module_utils.cutover.verify import verify_targets

EXPECTED = {
    "max_age_s": {"type": "float"},
    "max_restore_s": {"type": "float"},
    "min_tables": {"type": "int"},
    "same_tables": {"type": "list", "elements": "str"},
    "amcheck": {"type": "bool"},
    "round_trip": {"type": "bool"},
}

ROUND_TRIP = {
    "argv": {"type": "list", "elements": "str", "required": True},
    "chdir": {"type": "path"},
    "env_file": {"type": "path", "required": True},
    "url_variable": {"type": "str", "default": "DATABASE_URL"},
}

TARGET = {
    **POSTGRES,
    "maintenance_database": {"type": "str", "default": "postgres"},
    "backup_dir": {"type": "path", "required": True},
    "backup_pattern": {"type": "str"},
    "program_dir": {"type": "path"},
    "amcheck_user": {"type": "str"},
    "amcheck_password": {"type": "str", "no_log": True},
    "jobs": {"type": "int", "default": 1},
    "round_trip": {"type": "dict", "options": ROUND_TRIP},
}

# A trial takes what a restore takes.
LIMITS = {
    "timeout_s": {"type": "float", "default": 3600.0},
    "total_timeout_s": {"type": "float", "default": 7200.0},
    "workers": {"type": "int", "default": 1},
}


def argument_spec() -> dict[str, Any]:
    return {
        **check_arguments(target=TARGET, expected=EXPECTED, **POSTGRES_RULES),
        **LIMITS,
    }


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    with reporting(module) as report:
        from ansible.module_utils.cutover.observe_postgres import forget_environment
        from ansible.module_utils.cutover.observe_restore import look_at_backup

        forget_environment()
        commands: list[dict[str, Any]] = []
        secrets = frozenset(module.no_log_values)
        look = partial(look_at_backup, secrets_known=secrets, keep=commands.append, check_mode=module.check_mode)
        verdicts = verify_targets(
            "restore",
            module.params,
            look,
            restore_checks,
            reachable_remedy="see that the newest backup is there and is a dump of this database",
            record=RestoreObservation.to_dict,
        )
        report(verdicts, commands=commands)


if __name__ == "__main__":
    main()
