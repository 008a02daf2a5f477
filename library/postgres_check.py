#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to the PostgreSQL checks: judge_postgres.py says what must be true, observe_postgres.py looks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_check
short_description: Verify that PostgreSQL is set up, migrated and maintained as declared
description:
  - Looks at all targets at once and judges each by what is expected of it.
  - Reads only, in read-only transactions that are bounded by C(statement_timeout) and C(lock_timeout). Both are set for
    the transaction alone, and no startup options are sent, so that this also works through a pooler such as PgBouncer,
    except in its mode C(statement), which allows no transactions.
  - C(login) and C(role.superuser) are always judged. Logins that ought to be refused are tried even if the own one is.
  - Names from the inventory are compared with the server's catalogues, and never become part of a statement before a
    table or column of that name was found and quoted.
  - The environment variables of libpq (C(PGPASSWORD), C(PGSERVICE) and so on) and C(~/.pgpass) are not used.
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
        description:
          - Where the database is, without credentials, such as V(postgresql://db.example:5432/shop).
          - V(postgresql:///shop?host=/run/postgresql) leads through a Unix socket.
        type: str
        required: true
      user:
        description: Role to look as. It needs C(pg_monitor), and C(SELECT) on tables of migrations.
        type: str
        required: true
      password:
        description: Password of the role.
        type: str
      passfile:
        description: File on the host with the password, of libpq's C(.pgpass) form and mode C(0600).
        type: path
      sslmode:
        description: How libpq secures the connection. Anything but V(verify-full) trusts whoever answers.
        type: str
        choices: [disable, prefer, require, verify-ca, verify-full]
        default: verify-full
      ca_path:
        description:
          - File of trusted CA certificates in PEM form.
          - Without it, V(verify-full) trusts the system's certificates, which needs libpq 16 or later.
        type: path
      expected:
        description: What is expected of this target; overrides O(expected) option by option.
        type: dict
        suboptions: &expectation
          min_version:
            description: Oldest version that will do.
            type: str
          encoding:
            description: Encoding of the database, such as V(UTF8).
            type: str
          standby:
            description: Whether this server is a standby, or a primary.
            type: bool
          tls:
            description: Whether the connection uses TLS, both as the server and as the client sees it.
            type: bool
          refuses_unauthenticated:
            description:
              - Whether the server must ask for a password.
              - Tried with the target's own role, C(postgres), and those of O(expected.default_passwords).
              - V(false) asks nothing.
            type: bool
          default_passwords:
            description:
              - By role, a list of passwords that everybody knows. Each is tried, and must be refused.
              - Beside them a random one is tried, because the answer to it tells a refused password from other trouble.
              - The server's log will show all of these as failed logins.
            type: dict
          extensions:
            description:
              - By name, the oldest version of each extension that must be created in this database.
              - An empty version is any. Quote versions, because 1.10 is not 1.1.
            type: dict
          settings:
            description:
              - By name, what a setting must be for a new session of this role; with units, in any spelling that
                PostgreSQL knows, such as V(256MB), V(30s), V(on) or V(0.9).
              - A list is compared item by item, as with C(shared_preload_libraries).
            type: dict
          min_free_connections:
            description: Least number of connections that ordinary roles can still open.
            type: int
          min_free_connections_percent:
            description: The same in percent of C(max_connections) without the reserved ones.
            type: float
          tables:
            description:
              - Tables or views that must be there, as C(schema.table), or as C(table) when in the search path.
              - Taken literally, without quotes, case included; the first dot ends the schema.
            type: list
            elements: str
          migrations:
            description: Tables in which migration tools record what is applied.
            type: list
            elements: dict
            suboptions:
              kind:
                description:
                  - V(alembic) has one row for each head, of which there must be exactly one.
                  - V(django) has rows of several apps, of which O(expected.migrations[].app) is one.
                  - V(sql) is any other table with one row for each applied revision.
                type: str
                required: true
                choices: [alembic, django, sql]
              head:
                description: The revision that must be the last one applied. Only V(alembic) can do without.
                type: str
              table:
                description: The table. By default that of the kind, which is C(schema_migrations) for V(sql).
                type: str
              column:
                description: The column with the revision. By default that of the kind, which is C(version) for V(sql).
                type: str
              order_by:
                description: The column that tells which revision came last. Needed for V(sql); V(alembic) has none.
                type: str
              app:
                description: The Django app. Needed for V(django).
                type: str
          min_standbys:
            description: Least number of standbys that stream from this server.
            type: int
          max_replication_lag_s:
            description:
              - Most seconds by which a standby is behind; on a primary, by which the slowest standby is.
              - A standby that does not stream is as late as its last replayed transaction is old.
            type: float
          max_replication_lag_bytes:
            description: Most bytes of WAL not yet replayed. Unlike the time it also tells of a paused replay at once.
            type: int
          max_transaction_age_s:
            description: Most seconds that a transaction may be open, be it active, idle or prepared, in any database.
            type: float
          max_xid_age:
            description: Most transactions since the oldest row not yet frozen; the server stops near 2 billion.
            type: int
          max_multixact_age:
            description: The same for multixacts.
            type: int
          indexes_valid:
            description: Whether every index must be valid. V(false) asks nothing.
            type: bool
  expected:
    description: What is expected of every target.
    type: dict
    suboptions: *expectation
notes:
  - A role or database may override a setting; what is judged is what a new session of the target's role gets.
  - On a Unix socket, C(peer) lets in without a password, which O(expected.refuses_unauthenticated) will say.
"""

EXAMPLES = r"""
- name: Verify that the database is ready for production
  postgres_check:
    targets:
      - name: shop
        address: postgresql://db.example:5432/shop
        user: monitor
        password: "{{ postgres_password }}"
        ca_path: /etc/ssl/certs/internal-ca.pem
    expected:
      min_version: "15"
      standby: false
      tls: true
      refuses_unauthenticated: true
      default_passwords:
        postgres: [postgres, password, changeme]
      extensions: {uuid-ossp: "", pg_trgm: "1.6"}
      settings: {max_connections: 200, shared_buffers: 256MB, fsync: true}
      min_free_connections_percent: 20
      tables: [users, billing.invoices]
      migrations:
        - {kind: alembic, head: 3f2a9c}
      max_transaction_age_s: 300
      max_xid_age: 1000000000
      indexes_valid: true
"""

RETURN = r"""
verdicts:
  description: One verdict for each target, in their order. The fragment C(check) describes its parts.
  returned: always
  type: list
  elements: dict
  sample:
    - component: postgres
      subject: shop
      address: postgresql://db.example:5432/shop
      ok: false
      took_ms: 21
      findings:
        - {check: reachable, status: pass, blocking: true, expected: true, observed: true, cause: null, remedy: null}
        - check: extension.pg_trgm
          status: fail
          blocking: true
          expected: ">= 1.6"
          observed: not created, available in 1.6
          cause: null
          remedy: 'CREATE EXTENSION "pg_trgm"'
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.glue import check_arguments, reporting
from ansible.module_utils.cutover.judge_postgres import postgres_checks
from ansible.module_utils.cutover.options import POSTGRES, POSTGRES_RULES
from ansible.module_utils.cutover.verify import verify_targets

MIGRATION = {
    "kind": {"type": "str", "required": True, "choices": ["alembic", "django", "sql"]},
    "head": {"type": "str"},
    "table": {"type": "str"},
    "column": {"type": "str"},
    "order_by": {"type": "str"},
    "app": {"type": "str"},
}

EXPECTED = {
    "min_version": {"type": "str"},
    "encoding": {"type": "str"},
    "standby": {"type": "bool"},
    "tls": {"type": "bool"},
    "refuses_unauthenticated": {"type": "bool"},
    # Everybody knows them: hiding words such as postgres would make every verdict unreadable.
    "default_passwords": {"type": "dict", "no_log": False},
    "extensions": {"type": "dict"},
    "settings": {"type": "dict"},
    "min_free_connections": {"type": "int"},
    "min_free_connections_percent": {"type": "float"},
    "tables": {"type": "list", "elements": "str"},
    "migrations": {"type": "list", "elements": "dict", "options": MIGRATION},
    "min_standbys": {"type": "int"},
    "max_replication_lag_s": {"type": "float"},
    "max_replication_lag_bytes": {"type": "int"},
    "max_transaction_age_s": {"type": "float"},
    "max_xid_age": {"type": "int"},
    "max_multixact_age": {"type": "int"},
    "indexes_valid": {"type": "bool"},
}


def argument_spec() -> dict[str, Any]:
    return check_arguments(target=POSTGRES, expected=EXPECTED, **POSTGRES_RULES)


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    with reporting(module) as report:
        from ansible.module_utils.cutover.observe_postgres import forget_environment, look_at_postgres

        forget_environment()
        report(
            verify_targets(
                "postgres",
                module.params,
                look_at_postgres,
                postgres_checks,
                reachable_remedy="start the server, and see that its port and its CA are right as seen from here",
            )
        )


if __name__ == "__main__":
    main()
