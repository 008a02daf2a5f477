#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what a host has of a release: whether it is there, whose it is, and whether it could be started."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_state
short_description: Say what a host has of a release
description:
  - Looks, and judges nothing. M(way_back_check) judges what this has said of every host that serves.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
options:
  host:
    description: Name of the host, as it is called in reports.
    type: str
    required: true
  release_dir:
    description: Directory of the release.
    type: path
    required: true
  note:
    description: File below it that holds the SHA-256 of the archive that it came from.
    type: str
    default: .archive.sha256
  start_files:
    description: Files below it that start its processes; each must be a file that may be executed.
    type: list
    elements: str
    default: []
  env_file:
    description: The environment file from which its processes are started.
    type: path
attributes:
  check_mode:
    support: full
    description: Reads only, and really looks in check mode.
"""

EXAMPLES = r"""
- name: See whether the release that serves could be started again
  release_state:
    host: web1
    release_dir: /srv/shop/releases/1.4.1
    start_files: [bin/web, bin/worker]
    env_file: /srv/shop/environment
"""

RETURN = r"""
kept:
  description: What there is.
  returned: success
  type: dict
  contains:
    host: {description: Name of the host., type: str}
    present: {description: Whether the directory is there., type: bool}
    note: {description: The SHA-256 that is noted in it., type: str, returned: where there is one}
    start: {description: 'For each of O(start_files) V(ready), V(missing) or V(not executable).', type: dict}
    environment: {description: Whether the environment file can be read., type: bool, returned: where one is named}
"""

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule


def argument_spec() -> dict[str, Any]:
    return {
        "host": {"type": "str", "required": True},
        "release_dir": {"type": "path", "required": True},
        "note": {"type": "str", "default": ".archive.sha256"},
        "start_files": {"type": "list", "elements": "str", "default": []},
        "env_file": {"type": "path"},
    }


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    params = module.params
    release = Path(params["release_dir"])
    kept = {
        "host": params["host"],
        "present": release.is_dir(),
        "note": _noted(release / params["note"]),
        "start": {name: _startable(release / name) for name in params["start_files"]},
    }
    if params["env_file"]:
        kept["environment"] = os.path.isfile(params["env_file"]) and os.access(params["env_file"], os.R_OK)
    module.exit_json(changed=False, kept=kept)


def _noted(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeError):
        return None


def _startable(path: Path) -> str:
    if not path.is_file():
        return "missing"
    return "ready" if os.access(path, os.X_OK) else "not executable"


if __name__ == "__main__":
    main()
