#!/usr/bin/python
"""Have the first pool alone serve one release of the specimen application."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_release
short_description: Have the first pool alone serve one release of the specimen application
description:
  - Builds the archives, lays the release on the hosts of the first pool, writes their environments, brings the database
    to the release's revision (down as well as up), seeds it, starts the programs there and gives them all traffic.
  - The other hosts end up without a release, so that the next cutover has everything to do.
  - This is how the lab gets back to where a demonstration starts. It interrupts service; a cutover is another matter.
options:
  state_dir:
    description: The lab's state folder.
    type: path
    required: true
  stack:
    description: Programs, listeners and app hosts. See C(vars/main.yml) of the role.
    type: dict
    required: true
  application:
    description: Hosts that serve, folder of the sources, traffic backend, environment by host. See C(vars/main.yml).
    type: dict
    required: true
  release:
    description: The release to serve.
    type: str
    required: true
author:
  - Cutover maintainers
"""

EXAMPLES = r"""
- name: Have the first pool alone serve the release
  lab_release:
    state_dir: "{{ lab_state_dir }}"
    stack: "{{ __lab_stack }}"
    application: "{{ __lab_application }}"
    release: 1.0.0
"""

RETURN = r"""
changes:
  description: What was not as it must be, in a few words each.
  type: list
  elements: str
  returned: always
releases:
  description: The releases that an archive was built of, newest first.
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lab import application
from ansible.module_utils.lab.trouble import Trouble


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state_dir": {"type": "path", "required": True},
            "stack": {"type": "dict", "required": True},
            "application": {"type": "dict", "required": True},
            "release": {"type": "str", "required": True},
        },
    )
    app = application.Application.of(module.params)
    try:
        changes = application.bring_to_release(app)
    except Trouble as trouble:
        module.fail_json(msg=str(trouble))
    module.exit_json(changed=bool(changes), changes=changes, releases=application.versions(app))


if __name__ == "__main__":
    main()
