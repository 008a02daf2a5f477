#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to faults: apply_fault.py and apply_server_fault.py break and undo, keeper.py sees that it ends."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fault
short_description: Break something for a limited time, and have it undone whatever happens to us
description:
  - Runs on the host on which something is to be broken. It writes a state file, starts a process of its own that keeps
    the fault (the keeper), and only then lets that process break anything.
  - The keeper undoes the fault at its deadline, and needs neither the controller nor this module for it. It has a
    session of its own and no terminal; what it needs for the undo, secrets included, is in its memory, never in argv
    and never in a file.
  - With O(state=mended) the fault is undone at once, also after its keeper has died, and the keeper stands down.
  - One fault at a time on a host. What is to be broken must be well, or nothing is broken.
  - A process is never signalled by its number alone; its start time must be the one that was noted, so that another
    process which got the number since is left alone.
version_added: 1.1.0
author: Cutover maintainers (@cutover)
requirements:
  - Python 3.11 on the host; for V(redis_pause) also redis, for V(vault_seal) also requests
options:
  state:
    description:
      - V(broken) breaks it, V(mended) undoes it.
      - V(asked) says which faults are known on the host, and changes nothing.
    type: str
    choices: [broken, mended, asked]
    required: true
  state_dir:
    description: Directory for the state of faults, readable by its owner alone. Made when it is not there.
    type: path
    required: true
  id:
    description:
      - Names the fault. Must be new with O(state=broken).
      - With O(state=mended), without it whatever is not undone on the host; nothing to mend is no failure then.
    type: str
  drill:
    description: The drill that it belongs to, for whoever finds it.
    type: str
  limit_s:
    description: Seconds after which the fault is undone at the latest. Needed with O(state=broken).
    type: float
  after_s:
    description:
      - Seconds until it is caused; the module returns at once then, so that somebody can watch it come about.
    type: float
    default: 0.0
  kind:
    description:
      - What is done. V(pause) stops processes by SIGSTOP, so that connections are taken and nobody answers. V(kill)
        ends them by SIGKILL. V(stop) stops a service by its manager, so that connections are refused.
      - V(command) runs O(break_argv), and O(undo_argv) to undo it.
      - V(instance) breaks nothing that serves. It runs O(argv), one more instance with settings that are wrong, until
        it is undone; the kernel ends it when its keeper is killed.
      - V(redis_pause) has Redis answer nobody (C(CLIENT PAUSE)), a limit that the server keeps itself; it cannot be
        ended earlier. V(vault_seal) seals Vault or OpenBao, and unseals it with the shares of its holders.
      - Needed with O(state=broken), and with O(state=mended) where a fault is not undone.
    type: str
    choices: [pause, kill, stop, command, instance, redis_pause, vault_seal]
  service:
    description: Name of the service, as its manager knows it. For V(pause), V(kill) and V(stop).
    type: str
  manager:
    description: Who manages the service.
    type: dict
    suboptions:
      driver:
        description: The kind of process manager.
        type: str
        choices: [supervisor, systemd, command]
        required: true
      address:
        description: Where supervisord listens, V(unix:///path/of/supervisor.sock) or V(http://host:port).
        type: str
      username:
        description: User name that supervisord asks for.
        type: str
      password:
        description: Password that supervisord asks for.
        type: str
      systemctl:
        description: The program to speak with systemd.
        type: str
        default: systemctl
      scope:
        description: Which systemd, that of the system or that of the user.
        type: str
        choices: [system, user]
        default: system
      status_argv:
        description: The command that ends with 0 when the service runs; its name is the last argument.
        type: list
        elements: str
      set_argv:
        description: The command that gets V(stopped) or V(started), and the service's name, as its last arguments.
        type: list
        elements: str
  pid_file:
    description: File that holds the number of the process, where the manager does not tell it.
    type: path
  children:
    description: Whether V(pause) and V(kill) are about all processes below it too, as with a server that forks.
    type: bool
    default: false
  break_argv:
    description: The program that breaks it, and its arguments. Everybody on the host can see them.
    type: list
    elements: str
  undo_argv:
    description: The program that undoes it, and its arguments. It may be run more than once.
    type: list
    elements: str
  argv:
    description: The program that V(instance) runs, and its arguments. It must stay in the foreground.
    type: list
    elements: str
  chdir:
    description: The directory in which to run O(argv).
    type: path
  env_file:
    description: File on the host with C(NAME=value) lines for O(argv), such as the one of the release.
    type: path
  environment:
    description: Variables for O(argv), after those of O(env_file); the wrong ones among them. Never logged.
    type: dict
  redis:
    description: The server for V(redis_pause).
    type: dict
    suboptions: &redis
      address:
        description: Where it listens, such as V(redis://cache.example:6379/0).
        type: str
        required: true
      ca_path:
        description: File of trusted CA certificates in PEM form, for C(rediss://).
        type: path
      username:
        description: A user that may run C(CLIENT PAUSE).
        type: str
      password:
        description: Its password.
        type: str
  vault:
    description: The server for V(vault_seal).
    type: dict
    suboptions:
      address:
        description: URL of the server.
        type: str
        required: true
      ca_path:
        description: File of trusted CA certificates in PEM form.
        type: path
      namespace:
        description: Namespace to speak in.
        type: str
      token:
        description: A token that may seal it. Needed with O(state=broken).
        type: str
      unseal_key_files:
        description: Files of key shares on the host, as many as unseal it, as M(vault_unseal) takes them. They are
          read before anything is broken.
        type: list
        elements: path
        required: true
      age_identity:
        description: File of the identity that unwraps those that are wrapped with age.
        type: path
attributes:
  check_mode:
    support: full
    description: Looks whether all is well, says what would be broken and how that would be undone, and breaks nothing.
"""

EXAMPLES = r"""
- name: Stop Redis for a minute at most
  fault:
    state: broken
    state_dir: /var/lib/cutover/drills
    id: redis-refused-1
    kind: stop
    service: redis-server.service
    manager: {driver: systemd}
    limit_s: 60
  delegate_to: cache1

- name: Undo it as soon as enough was seen
  fault:
    state: mended
    state_dir: /var/lib/cutover/drills
    id: redis-refused-1
    kind: stop
    service: redis-server.service
    manager: {driver: systemd}
  delegate_to: cache1
"""

RETURN = r"""
fault:
  description: What is known of the fault. Times are UTC.
  returned: with O(state=broken), and with O(state=mended) where there was one
  type: dict
  sample:
    id: redis-refused-1
    drill: redis_refused
    kind: stop
    what: redis-server.service is stopped
    undo: start it by systemd; by the keeper, at the deadline
    armed_at: "2026-01-31T12:00:00.000000Z"
    deadline: "2026-01-31T12:01:00.000000Z"
    limit_s: 60.0
    keeper_pid: 4711
    broken_at: "2026-01-31T12:00:00.300000Z"
    undone_at: null
    undone_by: null
    undone_how: null
    failure: null
faults:
  description: All faults that are known on the host, oldest first; each as RV(fault).
  returned: with O(state=asked)
  type: list
  elements: dict
"""

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.cutover.apply_fault import PROCESS_KINDS
from ansible.module_utils.cutover.checks import CannotObserve
from ansible.module_utils.cutover.command import harmless_values
from ansible.module_utils.cutover.credentials import all_parts
from ansible.module_utils.cutover.env_file import EnvFileError
from ansible.module_utils.cutover.keeper import Fault, FaultError, Memory, Store, arm, mend
from ansible.module_utils.cutover.masking import Masker

BY_US = "the drill"
KINDS = ["pause", "kill", "stop", "command", "instance", "redis_pause", "vault_seal"]

MANAGER = {
    "driver": {"type": "str", "choices": ["supervisor", "systemd", "command"], "required": True},
    "address": {"type": "str"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "systemctl": {"type": "str", "default": "systemctl"},
    "scope": {"type": "str", "choices": ["system", "user"], "default": "system"},
    "status_argv": {"type": "list", "elements": "str"},
    "set_argv": {"type": "list", "elements": "str"},
}

REDIS = {
    "address": {"type": "str", "required": True},
    "ca_path": {"type": "path"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
}

VAULT = {
    "address": {"type": "str", "required": True},
    "ca_path": {"type": "path"},
    "namespace": {"type": "str"},
    "token": {"type": "str", "no_log": True},
    "unseal_key_files": {"type": "list", "elements": "path", "no_log": False, "required": True},
    "age_identity": {"type": "path"},
}


def argument_spec() -> dict[str, Any]:
    return {
        "state": {"type": "str", "choices": ["broken", "mended", "asked"], "required": True},
        "state_dir": {"type": "path", "required": True},
        "id": {"type": "str"},
        "drill": {"type": "str"},
        "limit_s": {"type": "float"},
        "after_s": {"type": "float", "default": 0.0},
        "kind": {"type": "str", "choices": KINDS},
        "service": {"type": "str"},
        "manager": {
            "type": "dict",
            "options": MANAGER,
            "required_if": [("driver", "supervisor", ("address",)), ("driver", "command", ("status_argv", "set_argv"))],
        },
        "pid_file": {"type": "path"},
        "children": {"type": "bool", "default": False},
        "break_argv": {"type": "list", "elements": "str"},
        "undo_argv": {"type": "list", "elements": "str"},
        "argv": {"type": "list", "elements": "str"},
        "chdir": {"type": "path"},
        "env_file": {"type": "path"},
        "environment": {"type": "dict", "no_log": True},
        "redis": {"type": "dict", "options": REDIS},
        "vault": {"type": "dict", "options": VAULT},
    }


def fault_of(options: Mapping[str, Any], kind: str | None, memory: Memory | None = None) -> Fault:
    """The declared fault. Clients of servers are imported only for what needs them, and before any keeper starts."""
    if process_fault := PROCESS_KINDS.get(str(kind)):
        return process_fault(options, memory)
    from ansible.module_utils.cutover.apply_server_fault import SERVER_KINDS

    demanded = {"redis_pause": "redis", "vault_seal": "vault"}.get(str(kind))
    if demanded is None or not options[demanded]:
        raise FaultError(f"{demanded or 'kind'} is missing: it says what is broken")
    return SERVER_KINDS[str(kind)](options, memory)


def broken(module: AnsibleModule, store: Store) -> dict[str, Any]:
    """Break it, or say what would be broken."""
    options = module.params
    fault = fault_of(options, options["kind"])
    if module.check_mode:
        said = f"Would see to it that {fault.what}, for {options['limit_s']:g} s at most. Undo: {fault.undo_said}."
        return {"changed": True, "msg": said}
    about = {"id": options["id"], "drill": options["drill"], "kind": options["kind"]}
    state = arm(store, fault, **about, limit_s=options["limit_s"], after_s=options["after_s"])
    return {"changed": True, "fault": state.told()}


def mended(module: AnsibleModule, store: Store) -> dict[str, Any]:
    """Undo the fault that is named, or all that are open."""
    options = module.params
    found = [store.read(options["id"])] if options["id"] else [state for state in store.all() if state.is_open]
    if options["id"] and not any(found):
        return {"changed": False, "msg": f"Nothing is known of a fault {options['id']}: nothing was broken."}
    states = [state for state in found if state]
    is_open = any(state.is_open for state in states)
    if not module.check_mode:
        states = [mend(store, state.id, lambda s: fault_of(options, s.kind, s.memory), by=BY_US) for state in states]
    return {"changed": is_open, **({"fault": states[-1].told()} if states else {})}


def main() -> None:
    module = AnsibleModule(
        argument_spec(), supports_check_mode=True, required_if=[("state", "broken", ("id", "kind", "limit_s"))]
    )
    module.no_log_values -= harmless_values(module.params["environment"])
    masker, store = Masker(all_parts(module.no_log_values)), Store(module.params["state_dir"])
    try:
        if module.params["state"] == "asked":
            result: dict[str, Any] = {"changed": False, "faults": [each.told() for each in store.all()]}
        else:
            result = (broken if module.params["state"] == "broken" else mended)(module, store)
    except ImportError as missing:
        module.fail_json(msg=missing_required_lib(str(missing.name)))
    except (FaultError, CannotObserve, EnvFileError, OSError) as reason:
        module.fail_json(msg=masker.mask(str(reason)))
    module.exit_json(**masker.mask(result))


if __name__ == "__main__":
    main()
