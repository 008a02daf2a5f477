#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to the facts of process managers: facts_service.py says what is kept, observe_service_facts.py looks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: process_facts
short_description: Take the facts of process managers
description:
  - Which processes are declared to supervisord, or how the named units are declared to systemd. Whether they run is the
    business of M(service_check).
  - Judges nothing. What is taken here is compared with what was taken when a run was signed off.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
extends_documentation_fragment: [facts, targets]
options:
  targets:
    suboptions:
      name:
        description: Name of the target in reports; unique among the targets.
        type: str
        required: true
      driver:
        description: What manages the processes.
        type: str
        required: true
        choices: [supervisor, systemd]
      address:
        description: Of supervisord - V(unix:///path/of/supervisor.sock) or V(http://host:port).
        type: str
      username:
        description: User to log in to supervisord as.
        type: str
      password:
        description: Password of that user.
        type: str
      systemctl:
        description: The program C(systemctl).
        type: str
        default: systemctl
      scope:
        description: Which of systemd's managers is asked.
        type: str
        choices: [system, user]
        default: system
      processes:
        description: Of systemd, the units to look at. Of supervisord, all are looked at.
        type: list
        elements: str
"""

EXAMPLES = r"""
- name: Take what is declared to supervisord
  process_facts:
    targets:
      - {name: web1, driver: supervisor, address: unix:///run/supervisor.sock}
"""

RETURN = r"""
observations:
  description: One observation for each target, in their order. The fragment C(facts) describes its parts.
  returned: always
  type: list
  elements: dict
  sample:
    - component: services
      subject: web1
      address: unix:///run/supervisor.sock
      took_ms: 12
      facts:
        - {key: process.web, value: {command: bin/web, autostart: true}}
      unseen: []
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.glue import fact_arguments, recording
from ansible.module_utils.cutover.observation import observe_targets
from ansible.module_utils.cutover.options import PROCESS_MANAGER, PROCESS_MANAGER_RULES

TARGET = {
    "driver": {"type": "str", "choices": ["supervisor", "systemd"], "required": True},
    **PROCESS_MANAGER,
    "processes": {"type": "list", "elements": "str"},
}


def argument_spec() -> dict[str, Any]:
    return fact_arguments(
        target=TARGET,
        salted=False,
        required_if=[("driver", "supervisor", ("address",)), ("driver", "systemd", ("processes",))],
        **PROCESS_MANAGER_RULES,
    )


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    with recording(module) as record:
        from ansible.module_utils.cutover.observe_service_facts import look_at_service_facts

        record(observe_targets("services", module.params, look_at_service_facts))


if __name__ == "__main__":
    main()
