# SPDX-License-Identifier: GPL-3.0-or-later
"""How a server is reached: the options of each kind of server, and their rules, once for all modules that go there.

Each pair is what an argument specification takes: ``{"options": VAULT, **VAULT_RULES}``.
"""

from __future__ import annotations

from typing import Any

Specification = dict[str, dict[str, Any]]
Rules = dict[str, Any]

POSTGRES: Specification = {
    "address": {"type": "str", "required": True},
    "user": {"type": "str", "required": True},
    "password": {"type": "str", "no_log": True},
    "passfile": {"type": "path"},
    "sslmode": {
        "type": "str",
        "choices": ["disable", "prefer", "require", "verify-ca", "verify-full"],
        "default": "verify-full",
    },
    "ca_path": {"type": "path"},
}
POSTGRES_RULES: Rules = {
    "mutually_exclusive": [("password", "passfile")],
    "required_if": [("sslmode", "verify-ca", ("ca_path",))],
}

REDIS: Specification = {
    "address": {"type": "str", "required": True},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "ca_path": {"type": "path"},
    "cert_path": {"type": "path"},
    "key_path": {"type": "path", "no_log": False},
}
REDIS_RULES: Rules = {"required_by": {"username": ("password",), "key_path": ("cert_path",)}}

VAULT: Specification = {
    "address": {"type": "str", "required": True},
    "ca_path": {"type": "path"},
    "namespace": {"type": "str"},
    "token": {"type": "str", "no_log": True},
    "role_id": {"type": "str", "no_log": True},
    "secret_id": {"type": "str", "no_log": True},
    "approle_mount": {"type": "str", "default": "approle"},
}
VAULT_RULES: Rules = {
    "mutually_exclusive": [("token", "role_id")],
    "required_together": [("role_id", "secret_id")],
}

# Of supervisord the first three, of systemd the others.
PROCESS_MANAGER: Specification = {
    "address": {"type": "str"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "systemctl": {"type": "str", "default": "systemctl"},
    "scope": {"type": "str", "choices": ["system", "user"], "default": "system"},
}
PROCESS_MANAGER_RULES: Rules = {"required_by": {"password": ("username",)}}
