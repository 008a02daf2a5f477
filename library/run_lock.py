#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to the lock file of an environment; the action plugin of the same name judges who may take it over."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_lock
short_description: Take an environment in hand, or leave it, by a file that every controller sees
description:
  - The file names the run that has the environment in hand, who started it, where and when.
  - A run takes over from another one only where that one's process is known to be dead, because nobody holds its
    journal any more, and where it had come to its end. Its age is never looked at.
  - On a host, two who come at the same time are served one after the other.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
options:
  path:
    description: The lock file. Its directory is made when it is not there.
    type: path
    required: true
  run:
    description: The run, as M(run_open) has opened it. Taken by the action plugin.
    type: dict
  owner:
    description: What the file says of its owner; C(id) is what counts. Made from O(run) by the action plugin.
    type: dict
  state:
    description: Whether the run has the environment in hand.
    type: str
    choices: [present, absent]
    default: present
  replaces:
    description: The id of the run whose lock may be replaced. Set by the action plugin once it knows that.
    type: str
  settles:
    description:
      - Runs whose environment may be taken over although they did not come to their end, unless somebody is at work in
        them. Taken by the action plugin.
    type: list
    elements: str
  drill:
    description:
      - The drill of which the run is a part, as C(run) and C(drill). It works under the lock of the run that plays the
        drill, which must have it and be at that drill, and leaves it as it is. Taken by the action plugin.
    type: dict
  break:
    description:
      - The id of a run whose lock is taken over whatever became of it. Taken by the action plugin, and recorded.
    type: str
attributes:
  check_mode:
    support: full
    description: Says who has the environment in hand, and writes nothing.
"""

EXAMPLES = r"""
- name: Take the environment in hand
  run_lock:
    path: /srv/shop/cutover.lock
    run: "{{ run_current }}"
  delegate_to: app1
"""

RETURN = r"""
held_by:
  description: What the lock says, when another run has it.
  returned: when another run has the environment in hand
  type: dict
  sample: {id: 20260131T120000Z-cutover-ab12, verb: cutover, operator: alice, controller: ops1, environment: production}
lock:
  description: From whom the lock was taken over, and how.
  returned: when it was taken over
  type: dict
"""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.ticks import ticks

GUARD_TIMEOUT_S = 10.0
POLL_S = 0.1


def argument_spec() -> dict[str, Any]:
    return {
        "path": {"type": "path", "required": True},
        "run": {"type": "dict"},
        "owner": {"type": "dict"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "replaces": {"type": "str"},
        "settles": {"type": "list", "elements": "str"},
        "drill": {"type": "dict"},
        "break": {"type": "str"},
    }


def read(path: Path) -> dict[str, Any] | None:
    """Who the lock names; one that cannot be understood is held by somebody unknown."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        told = None
    return told if isinstance(told, dict) and told.get("id") else {"id": f"unknown:{path}"}


def write(path: Path, owner: dict[str, Any]) -> None:
    new = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644), "w") as file:
        json.dump(owner, file, indent=2, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)


def settle(module: AnsibleModule, path: Path) -> dict[str, Any]:
    """Bring the lock into its state; whoever comes at the same time waits."""
    owner, holder = module.params["owner"], read(path)
    ours = holder is not None and holder["id"] == owner["id"]
    if module.params["state"] == "absent":
        if ours and not module.check_mode:
            path.unlink()
        return {"changed": ours} if ours or not holder else {"changed": False, "held_by": holder}
    if holder and not ours and holder["id"] != module.params["replaces"]:
        return {"changed": False, "held_by": holder}
    if not ours and not module.check_mode:
        write(path, owner)
    return {"changed": not ours}


def guarded(path: Path) -> int:
    """Wait until nobody else looks at the lock. Raises ``TimeoutError``."""
    descriptor = os.open(path.with_name(f"{path.name}.guard"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    for _ in ticks(total_s=GUARD_TIMEOUT_S, every_s=POLL_S):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return descriptor
    raise TimeoutError(f"somebody has looked at {path} for more than {GUARD_TIMEOUT_S:g} s")


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    path = Path(module.params["path"])
    if not (module.params["owner"] or {}).get("id"):
        module.fail_json(msg="owner.id is missing: the run that takes the environment in hand.")
    try:
        if module.check_mode:
            module.exit_json(**settle(module, path))
        path.parent.mkdir(parents=True, exist_ok=True)
        guard = guarded(path)
        result = settle(module, path)
        os.close(guard)
    except OSError as fault:
        module.fail_json(msg=f"The lock {path} cannot be {module.params['state']}: {fault.strerror or fault}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
