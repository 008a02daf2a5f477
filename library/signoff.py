# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does all the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: signoff
short_description: Sign a run off, which makes it the baseline of its environment
description:
  - Proves the run from its files alone - the chain of its journal, the digests that its decision rests on, and the
    decision made anew from the records - and adds one line to the environment's sign-off log, C(signoffs.jsonl).
  - Refuses a run that is a NO-GO, was never finished, was altered, or was played in check mode.
  - The log is chained as a journal is, and never written over. The run that was signed off last is the baseline with
    which drift is compared.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
options:
  run:
    description: Id of the run, which is the name of its directory.
    type: str
    required: true
  environment:
    description: The environment of the run.
    type: str
    required: true
  artifacts_dir:
    description: Directory of all runs.
    type: path
    required: true
  role:
    description: As what the approver signs, such as V(release manager).
    type: str
    required: true
  approver:
    description: Who answers for it.
    type: str
    required: true
  reason:
    description: Why, in words that an auditor understands.
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: Says whether the run would be signed off; writes nothing.
"""

EXAMPLES = r"""
- name: Sign the cutover off
  signoff:
    run: 20260131T120000Z-cutover-1a2b
    environment: production
    artifacts_dir: artifacts
    role: release manager
    approver: Jane Doe
    reason: Release 1.4.2 serves, all checks passed, business smoke test done (CHG-1234).
"""

RETURN = r"""
signoff:
  description: What was signed - the run, its verdict, who, as what, why, and the digests of its evidence.
  returned: success
  type: dict
signed_at:
  description: When, in UTC.
  returned: when it was written
  type: str
seq:
  description: Number of the line in the log.
  returned: when it was written
  type: int
hash:
  description: Hash of the line, which stands for the whole log up to it. Keep it where others cannot change it.
  returned: when it was written
  type: str
log:
  description: The sign-off log.
  returned: success
  type: str
"""
