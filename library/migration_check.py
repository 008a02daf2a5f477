#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to the migration checks: judge_migration.py says what must be true, observe_migration.py looks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_check
short_description: Verify that an application's schema migrations are applied, and have one head
description:
  - Asks each application's own migration tool, by two commands that only read, or compares the history that
    M(sql_migrations) keeps with its folder. Then a changed, missing or misplaced file is an error.
  - An application to whose schema nothing is applied fails C(revision.at_head); a tool that ends with another exit code
    than 0 is an error with the tool's own words, because then nothing is known.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
extends_documentation_fragment: [check, targets]
requirements: ["psycopg >= 3.2, for the driver sql"]
options:
  targets:
    suboptions:
      name:
        description: Name of the target in reports; unique among the targets.
        type: str
        required: true
      driver:
        description:
          - Who tells. V(command) needs O(targets[].current_argv) and O(targets[].heads_argv), V(sql) needs
            O(targets[].folder), O(targets[].address) and O(targets[].user).
        type: str
        choices: [command, sql]
        default: command
      folder:
        description: Folder of plain SQL migrations, as for M(sql_migrations).
        type: path
      address:
        description: Where the database is, without credentials, such as V(postgresql://db.example:5432/shop).
        type: str
      user:
        description: Role to look as; it must be able to read the history.
        type: str
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
        description: File of trusted CA certificates in PEM form.
        type: path
      history_table:
        description: Name of the history, taken literally.
        type: str
        default: schema_migrations
      history_schema:
        description: Schema of the history; without it, the one in which the role makes its tables.
        type: str
      current_argv:
        description:
          - The command that prints the applied revisions, and nothing where none is applied.
          - It runs without a shell, and must only read. Secrets have no place in it.
        type: list
        elements: str
      heads_argv:
        description: The command that prints the newest revisions that the release brings.
        type: list
        elements: str
      chdir:
        description: The directory in which to run them.
        type: path
      env_file:
        description: File on the host with C(NAME=value) lines, shell-quoted, that are added to the environment.
        type: path
      environment:
        description: Variables that are added to the environment, after those of O(targets[].env_file). Never logged.
        type: dict
      revision_pattern:
        description:
          - Regular expression (Python) that finds revisions on stdout; its first group is the revision, and C(^) and
            C($) are the ends of a line.
          - The default fits C(alembic current) and C(alembic heads), whose lines are such as C(ae1027a6acf (head)).
        type: str
        default: '^(\w+)(?: \([^()]*\))*$'
      heads_pattern:
        description: The same for O(targets[].heads_argv), where its form is another one.
        type: str
      expected:
        description: What is expected of this target; overrides O(expected) option by option.
        type: dict
        suboptions: &expectation
          single_head:
            description: Whether there must be exactly one head (C(heads.single)). V(false) asks nothing.
            type: bool
          at_head:
            description: Whether exactly the heads must be applied (C(revision.at_head)). V(false) asks nothing.
            type: bool
          reachable:
            description:
              - Whether a downgrade could come back to what is applied now, that is one revision that the tool knows, or
                none at all (C(revision.reachable)). V(false) asks nothing.
            type: bool
          revision:
            description: The one revision that must be applied (C(revision)).
            type: str
  expected:
    description: What is expected of every target.
    type: dict
    suboptions: *expectation
  timeout_s:
    description: Deadline for one target, in seconds; both commands must have ended by then.
    default: 30.0
  total_timeout_s:
    default: 120.0
"""

EXAMPLES = r"""
- name: Verify that Alembic's newest revision is applied
  migration_check:
    targets:
      - name: shop
        current_argv: [bin/migrate, current]
        heads_argv: [bin/migrate, heads]
        chdir: /srv/shop/current
        env_file: /srv/shop/environment
    expected:
      single_head: true
      at_head: true

- name: Verify that all of Django's migrations are applied
  migration_check:
    targets:
      - name: shop
        current_argv: [venv/bin/python, manage.py, showmigrations, --plan]
        heads_argv: [venv/bin/python, manage.py, showmigrations, --plan]
        chdir: /srv/shop/current
        revision_pattern: '^\[X\]\s+(\S+)'
        heads_pattern: '^\[.\]\s+(\S+)'
    expected:
      at_head: true

- name: Verify that all plain SQL migrations are applied
  migration_check:
    targets:
      - name: shop
        driver: sql
        folder: /srv/shop/current/migrations
        address: postgresql://db.example:5432/shop
        user: shop_owner
        password: "{{ migrations_password }}"
    expected:
      at_head: true
"""

RETURN = r"""
verdicts:
  description: One verdict for each target, in their order. The fragment C(check) describes its parts.
  returned: always
  type: list
  elements: dict
  sample:
    - component: migrations
      subject: shop
      address: shop
      ok: false
      took_ms: 1480
      findings:
        - {check: reachable, status: pass, blocking: true, expected: true, observed: true, cause: null, remedy: null}
        - check: revision.at_head
          status: fail
          blocking: true
          expected: applied = heads
          observed: {applied: ["0001"], heads: ["0002"]}
          cause: null
          remedy: apply the migrations that this release brings (alembic upgrade head)
commands:
  description: The commands that were run, as evidence; M(recorded_command) describes their parts.
  returned: always
  type: list
  elements: dict
"""

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.command import harmless_values
from ansible.module_utils.cutover.glue import check_arguments, reporting
from ansible.module_utils.cutover.judge_migration import ALEMBIC_LINE, migration_checks, revision_pattern
from ansible.module_utils.cutover.observe_migration import look_at_migrations
from ansible.module_utils.cutover.options import POSTGRES, POSTGRES_RULES
from ansible.module_utils.cutover.verify import verify_targets

EXPECTED = {
    "single_head": {"type": "bool"},
    "at_head": {"type": "bool"},
    "reachable": {"type": "bool"},
    "revision": {"type": "str"},
}

TARGET = {
    "driver": {"type": "str", "choices": ["command", "sql"], "default": "command"},
    "folder": {"type": "path"},
    **POSTGRES,
    "address": {"type": "str"},
    "user": {"type": "str"},
    "history_table": {"type": "str", "default": "schema_migrations"},
    "history_schema": {"type": "str"},
    "current_argv": {"type": "list", "elements": "str"},
    "heads_argv": {"type": "list", "elements": "str"},
    "chdir": {"type": "path"},
    "env_file": {"type": "path"},
    "environment": {"type": "dict", "no_log": True},
    "revision_pattern": {"type": "str", "default": ALEMBIC_LINE},
    "heads_pattern": {"type": "str"},
}


def argument_spec() -> dict[str, Any]:
    return check_arguments(
        target=TARGET,
        expected=EXPECTED,
        mutually_exclusive=POSTGRES_RULES["mutually_exclusive"],
        required_if=[
            ("driver", "command", ("current_argv", "heads_argv")),
            ("driver", "sql", ("folder", "address", "user")),
            *POSTGRES_RULES["required_if"],
        ],
    ) | {
        # A migration tool takes a second or two to load an application, and more on a busy host.
        "timeout_s": {"type": "float", "default": 30.0},
        "total_timeout_s": {"type": "float", "default": 120.0},
    }


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    for target in module.params["targets"]:
        module.no_log_values -= harmless_values(target["environment"])
    with reporting(module) as report:
        for target in module.params["targets"]:
            revision_pattern(target["revision_pattern"])
            revision_pattern(target["heads_pattern"] or ALEMBIC_LINE)
        commands: list[dict[str, Any]] = []
        verdicts = verify_targets(
            "migrations",
            module.params,
            partial(look_at_migrations, keep=commands.append, secrets=module.no_log_values),
            migration_checks,
            reachable_remedy="name the program and its files, or the database and its login, as they are on this host",
        )
        report(verdicts, commands=commands)


if __name__ == "__main__":
    main()
