#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to a backup: cutover/backup.py knows the commands and what must come of them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_backup
short_description: Back a PostgreSQL database up and read the backup's contents back
description:
  - Runs C(pg_dump) in its custom format, reads the table of contents back with C(pg_restore --list), and writes the
    SHA-256 beside the dump.
  - The dump bears its name only when all of that is done. An existing file is never overwritten.
  - The password reaches C(pg_dump) through its environment.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
options:
  name:
    description: Name of the database's target, for reports.
    type: str
    required: true
  address:
    description: Where the database is, without credentials, such as V(postgresql://db.example:5432/shop).
    type: str
    required: true
  user:
    description: Role that may read everything, such as a member of C(pg_read_all_data).
    type: str
    required: true
  password:
    description: Password of the role. Without it, C(pg_dump) finds one as libpq does (C(.pgpass)).
    type: str
  ca_path:
    description: File of trusted CA certificates in PEM form.
    type: path
  sslmode:
    description: How TLS is used, in libpq's words.
    type: str
    default: verify-full
  dest:
    description: File to write. Its directory must exist.
    type: path
    required: true
  program_dir:
    description: Directory of C(pg_dump) and C(pg_restore), no older than the server. Without it, C(PATH).
    type: path
  min_tables:
    description: Least number of tables with data in it. An empty backup proves nothing.
    type: int
    default: 1
  timeout_s:
    description: Deadline for each of the two programs, in seconds.
    type: float
    default: 3600.0
attributes:
  check_mode: {support: full, description: Says that it would write the backup.}
  diff_mode: {support: none, description: Nothing is changed that a difference could show.}
"""

EXAMPLES = r"""
- name: Back the shop's database up before it is migrated
  postgres_backup:
    name: shop
    address: postgresql://db.example:5432/shop
    user: backup
    password: "{{ postgres_backup_password }}"
    dest: /var/backups/shop/20260228T100833Z.dump
"""

RETURN = r"""
backup:
  description: The backup.
  returned: when it was made
  type: dict
  sample: {path: /var/backups/shop/x.dump, size_bytes: 52344, sha256: 3a6e..., entries: 61, tables: 9}
verdicts:
  description: Judgement on the backup. The fragment C(check) describes its parts.
  returned: when it was made
  type: list
  elements: dict
commands:
  description: The commands that were run.
  returned: always
  type: list
  elements: dict
"""

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.backup import backup_checks, describe, dump_command, list_command
from ansible.module_utils.cutover.checks import judge
from ansible.module_utils.cutover.command import CannotRun, Command, Ran, explain, masker_for, record, run
from ansible.module_utils.cutover.verdict import Verdict


def argument_spec() -> dict[str, Any]:
    return {
        "name": {"type": "str", "required": True},
        "address": {"type": "str", "required": True},
        "user": {"type": "str", "required": True},
        "password": {"type": "str", "no_log": True},
        "ca_path": {"type": "path"},
        "sslmode": {"type": "str", "default": "verify-full"},
        "dest": {"type": "path", "required": True},
        "program_dir": {"type": "path"},
        "min_tables": {"type": "int", "default": 1},
        "timeout_s": {"type": "float", "default": 3600.0},
    }


def conninfo(module: AnsibleModule) -> dict[str, str]:
    """What libpq is told; raises ``ValueError`` for an address that it would complete by guesses of its own."""
    params = module.params
    try:
        address = urlsplit(params["address"])
        named = {"host": address.hostname, "port": address.port, "dbname": unquote(address.path.strip("/"))}
    except ValueError:
        # Where it ends and where a password in it would begin cannot be told.
        module.no_log_values.add(params["address"])
        raise ValueError("the address is no URL such as postgresql://host:port/database") from None
    if address.password:
        module.no_log_values.add(address.password)
        raise ValueError("the address holds a password. Addresses are shown in reports: use the option password")
    if address.scheme not in ("postgresql", "postgres") or not named["dbname"]:
        raise ValueError(f"{params['address']} names no database, as in postgresql://host:port/database")
    known = {**named, "user": params["user"], "sslmode": params["sslmode"], "sslrootcert": params["ca_path"]}
    return {name: str(value) for name, value in known.items() if value}


def back_up(module: AnsibleModule, connection: dict[str, str]) -> None:
    params, done = module.params, []
    final = Path(params["dest"])
    partial = final.with_name(f"{final.name}.partial")

    def must_succeed(command: Command) -> Ran:
        ran = run(command)
        masker = masker_for(command, module.no_log_values)
        done.append(record(command, ran, masker))
        if ran.timed_out or ran.exit_code:
            module.fail_json(msg=explain(command, ran, masker), commands=done)
        return ran

    environment = {"PGPASSWORD": params["password"]} if params["password"] else {}
    bounds = {"program_dir": params["program_dir"], "timeout_s": params["timeout_s"]}
    # What an earlier run left there, it may have left readable for others.
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600, exist_ok=False)
    try:
        must_succeed(dump_command(conninfo=connection, environment=environment, to=partial, **bounds))
        backup = describe(partial, must_succeed(list_command(of=partial, **bounds)))
        final.with_name(f"{final.name}.sha256").write_text(f"{backup.sha256}  {final.name}\n", encoding="utf-8")
        partial.rename(final)
    finally:
        partial.unlink(missing_ok=True)
    facts = {**backup.to_dict(), "path": str(final)}
    verdict = Verdict(
        component="backup",
        subject=params["name"],
        address=params["address"],
        took_ms=sum(command["took_ms"] for command in done),
        findings=judge(backup_checks(params["min_tables"]), backup, reachable_remedy=""),
        recorded=facts,
    ).to_dict()
    refused = {"failed": True, "msg": f"{final} holds {backup.tables} tables with data"} if not verdict["ok"] else {}
    module.exit_json(changed=True, backup=facts, verdicts=[verdict], commands=done, **refused)


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    final = Path(module.params["dest"])
    try:
        connection = conninfo(module)
        if final.exists():
            module.fail_json(msg=f"{final} exists, and no backup is ever overwritten: name another file.", commands=[])
        if module.check_mode:
            module.exit_json(changed=True, commands=[], msg=f"Would back {module.params['address']} up to {final}.")
        back_up(module, connection)
    except (CannotRun, OSError, ValueError) as reason:
        module.fail_json(msg=f"No backup was made: {reason}", commands=[])


if __name__ == "__main__":
    main()
