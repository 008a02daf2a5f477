#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to the checks on the way back: judge_way_back.py says what must be true, observe_way_back.py looks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: way_back_check
short_description: Verify that one can still go back, and tell to what, how, and how long it takes
description:
  - Judges what the hosts that serve have of their release, as M(release_state) has told it, and what the evidence of
    the environment tells of backups, restores and earlier ways back. Runs where the evidence lies.
  - That the release is listed, present and startable is always judged. Ages and durations are judged where a most is
    declared; then one of which the evidence tells nothing is an error, and no pass. All of it is recorded in any case.
  - A restore is proven by a verdict of M(restore_check) or M(postgres_restore) in a run of this environment, a backup
    is known by one of M(postgres_backup) or of the command that proved it, or by O(targets[].newest).
version_added: 1.0.0
author: Cutover maintainers (@cutover)
extends_documentation_fragment: [check, targets]
options:
  targets:
    suboptions:
      name:
        description: Name of the target in reports; unique among the targets.
        type: str
        required: true
      evidence_dir:
        description: Directory of all runs of the environment.
        type: path
        required: true
      rehearsals_dir:
        description:
          - Directory of all runs of the environment in which going back is rehearsed, such as staging. A way back there
            counts as one here.
        type: path
      release:
        description: The release that serves.
        type: str
        required: true
      releases:
        description: The releases there are.
        type: list
        elements: str
        required: true
      hosts:
        description:
          - What each host that serves has of its release, with the keys that M(release_state) returns as C(kept), and
            C(archive), the SHA-256 of the archive there is.
          - A host that did not tell has C(host) and C(cause).
        type: list
        elements: dict
        required: true
      policy:
        description: What going back is to do with the database, V(keep), V(downgrade), V(restore) or V(none).
        type: str
      acknowledged:
        description: Whether somebody has acknowledged that the migration has no way back.
        type: bool
        default: false
      backups:
        description: Names of what is backed up before a migration.
        type: list
        elements: str
        default: []
      restorable:
        description: Names of the databases that the policy V(restore) can bring back.
        type: list
        elements: str
        default: []
      newest:
        description: The newest backups where they are kept, by name, each with C(path) and C(mtime) (seconds, UTC).
        type: dict
        default: {}
      expected:
        description: What is expected of this target; overrides O(expected) option by option.
        type: dict
        suboptions: &expectation
          note:
            description: Whether each host must have noted the archive that its release came from (C(release.note)).
            type: bool
          environment:
            description: Whether each host must have the environment file that is in force (C(environment.present)).
            type: bool
          policy:
            description: Whether the policy must lead back (C(policy)).
            type: bool
          max_backup_age_s:
            description: How old the newest backup of each name may be, in seconds (C(backup.age_s)).
            type: float
          max_restore_age_s:
            description: How long ago the last proven restore may be, in seconds (C(restore.age_s)).
            type: float
          max_rollback_age_s:
            description: How long ago somebody last went back, in seconds (C(rollback.age_s)).
            type: float
          max_rollback_s:
            description: How long the last way back may have taken, in seconds (C(rollback.took_s)).
            type: float
  expected:
    description: What is expected of every target.
    type: dict
    suboptions: *expectation
  timeout_s:
    description: Deadline for one target, in seconds. Older evidence than can be read by then is not looked at.
    default: 30.0
"""

EXAMPLES = r"""
- name: Verify that one can still go back
  way_back_check:
    targets:
      - name: production
        evidence_dir: /srv/evidence/production
        release: 1.4.1
        releases: [1.4.0, 1.4.1, 1.5.0]
        hosts:
          - {host: web1, present: true, start: {bin/web: ready}}
        policy: keep
        backups: [shop]
    expected:
      policy: true
      max_backup_age_s: 86400
      max_rollback_s: 60
"""

RETURN = r"""
verdicts:
  description: One verdict for each target, in their order. The fragment C(check) describes its parts.
  returned: always
  type: list
  elements: dict
  sample:
    - component: way_back
      subject: production
      address: production
      ok: true
      took_ms: 14
      recorded:
        release: 1.4.1
        hosts: [web1]
        policy: keep
        backups: {shop: {age_s: 5021.3, what: /srv/backups/shop-1.dump, run: 20260131T120000Z-cutover-ab12}}
        restore: no restore is proven by the evidence of this environment
        rollback: {age_s: 86011.0, took_s: 8.4, what: went back in a rollback, run: 20260130T120000Z-rollback-cd34}
      findings:
        - {check: reachable, status: pass, blocking: true, expected: true, observed: true, cause: null, remedy: null}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.glue import check_arguments, reporting
from ansible.module_utils.cutover.judge_way_back import WayBack, way_back_checks
from ansible.module_utils.cutover.observe_way_back import look_at_way_back
from ansible.module_utils.cutover.verify import verify_targets

EXPECTED = {
    "note": {"type": "bool"},
    "environment": {"type": "bool"},
    "policy": {"type": "bool"},
    "max_backup_age_s": {"type": "float"},
    "max_restore_age_s": {"type": "float"},
    "max_rollback_age_s": {"type": "float"},
    "max_rollback_s": {"type": "float"},
}

TARGET = {
    "evidence_dir": {"type": "path", "required": True},
    "rehearsals_dir": {"type": "path"},
    "release": {"type": "str", "required": True},
    "releases": {"type": "list", "elements": "str", "required": True},
    "hosts": {"type": "list", "elements": "dict", "required": True},
    "policy": {"type": "str"},
    "acknowledged": {"type": "bool", "default": False},
    "backups": {"type": "list", "elements": "str", "default": []},
    "restorable": {"type": "list", "elements": "str", "default": []},
    "newest": {"type": "dict", "default": {}},
}


def argument_spec() -> dict[str, Any]:
    return check_arguments(target=TARGET, expected=EXPECTED) | {"timeout_s": {"type": "float", "default": 30.0}}


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    with reporting(module) as report:
        report(
            verify_targets(
                "way_back",
                module.params,
                look_at_way_back,
                way_back_checks,
                reachable_remedy="run this where the evidence of the environment lies (run_artifacts_dir)",
                record=WayBack.to_dict,
            )
        )


if __name__ == "__main__":
    main()
