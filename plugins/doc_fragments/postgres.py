# SPDX-License-Identifier: GPL-3.0-or-later
"""How modules reach a PostgreSQL database: `POSTGRES` in module_utils/cutover/options.py.

Ansible merges options, and not the options within one: modules whose targets have more than these write all of them.
"""

from __future__ import annotations

from textwrap import indent

_OPTIONS = r"""
address:
  description: Where the database is, without credentials, such as V(postgresql://db.example:5432/shop).
  type: str
  required: true
user:
  description: Role to log in as.
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
"""

_TARGET = r"""
name:
  description: Name of the target in reports; unique among the targets.
  type: str
  required: true
"""


class ModuleDocFragment:
    DOCUMENTATION = f"options:\n{indent(_OPTIONS, '  ')}"

    TARGETS = f"options:\n  targets:\n    suboptions:\n{indent(_TARGET + _OPTIONS, ' ' * 6)}"
