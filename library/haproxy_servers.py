#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to HAProxy's runtime interface: haproxy.py knows its commands and answers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_servers
short_description: Send a backend's traffic to the declared servers, and lose no request
description:
  - Sets states and weights of a backend's servers through HAProxy's runtime interface, and reads them back.
  - Servers that shall serve come first and must be up before any other is drained, so that somebody always serves.
  - A drained server finishes what it has begun. Saves all servers' states, so that a restart of HAProxy keeps them.
  - Without O(servers) it only reads.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
options:
  address:
    description: The runtime interface, level admin. The path of its socket, or C(host:port).
    type: str
    required: true
  backend:
    description: Name of the backend.
    type: str
    required: true
  servers:
    description:
      - Servers to change by their names, each with C(state) (V(ready), V(drain) or V(maint)) and C(weight) (0 to 256).
      - What is not named stays as it is.
    type: dict
    default: {}
  pools:
    description: Names of pools and the servers of each, to tell which pool serves.
    type: dict
    default: {}
  state_file:
    description: HAProxy's C(server-state-file), written whenever O(servers) names some.
    type: path
  up_timeout_s:
    description: How long servers that shall serve may take to be up, in seconds.
    type: float
    default: 10.0
  drain_timeout_s:
    description: How long to wait for drained servers to finish what they have begun, in seconds. None is cut off.
    type: float
    default: 0.0
  min_up:
    description:
      - How many of the servers that shall serve are enough to take the others out of service, once all of them have
        been waited for during a second. All of them when left out.
    type: int
attributes:
  check_mode: {support: full, description: Says which commands it would give.}
  diff_mode: {support: none, description: RV(commands) says what changed.}
"""

EXAMPLES = r"""
- name: Send all traffic to green, and wait until blue has finished
  haproxy_servers:
    address: /run/haproxy/admin.sock
    backend: web
    servers:
      green1: {state: ready, weight: 100}
      blue1: {state: drain}
    state_file: /var/lib/haproxy/server-state
    drain_timeout_s: 30
"""

RETURN = r"""
servers:
  description: All servers of the backend as they are at the end, by name.
  returned: always
  type: dict
  sample: {green1: {state: ready, weight: 100, status: UP, sessions: 3, serving: true}}
serving_pools:
  description: Names of the pools of which at least one server is ready for new requests.
  returned: always
  type: list
  elements: str
drained: {description: Whether drained servers have finished what they had begun., returned: always, type: bool}
runtime_commands:
  description: Commands that were given, or would be in check mode.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.checks import CannotObserve
from ansible.module_utils.cutover.haproxy import Wanted
from ansible.module_utils.cutover.shift import Shift, shift


def argument_spec() -> dict[str, Any]:
    return {
        "address": {"type": "str", "required": True},
        "backend": {"type": "str", "required": True},
        "servers": {"type": "dict", "default": {}},
        "pools": {"type": "dict", "default": {}},
        "state_file": {"type": "path"},
        "up_timeout_s": {"type": "float", "default": 10.0},
        "drain_timeout_s": {"type": "float", "default": 0.0},
        "min_up": {"type": "int"},
    }


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    try:
        wanted = {name: Wanted.parse(name, sides) for name, sides in module.params["servers"].items()}
        outcome = shift(Shift(**{**module.params, "servers": wanted}), dry_run=module.check_mode)
    except (CannotObserve, ValueError) as reason:
        module.fail_json(msg=str(reason))
    module.exit_json(**outcome.to_dict())


if __name__ == "__main__":
    main()
