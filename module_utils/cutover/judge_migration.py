# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true of an application's schema migrations (checklist rows B2, C9)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .checks import Check, ExpectationError, Known, known

# Alembic's `current` and `heads` print `ae1027a6acf (head)`, also `(branchpoint)`, `(mergepoint)` and branch labels.
# The whole line must have that form, so that a warning on stdout is not taken for a revision.
ALEMBIC_LINE = r"^(\w+)(?: \([^()]*\))*$"
# What a migration tool calls the schema to which nothing is applied.
BASE = "base"


@dataclass(frozen=True, kw_only=True)
class MigrationObservation:
    """Which revisions are applied, none for an empty schema, and which are the newest ones that the release brings."""

    current: Known[tuple[str, ...]]
    heads: Known[tuple[str, ...]]


MigrationCheck = Check[MigrationObservation]


def migration_checks(expected: Mapping[str, Any]) -> Iterator[MigrationCheck]:
    """Every check that ``expected`` implies; the keys are those of migration_check's ``expected`` option."""
    if expected.get("single_head"):
        yield Check(
            name="heads.single",
            expected="one head",
            look=lambda seen: list(known(seen.heads)),
            holds=lambda heads: len(heads) == 1,
            remedy="join the branches by a merge revision (alembic merge heads), and build the release again",
        )
    if expected.get("at_head"):
        yield Check(
            name="revision.at_head",
            expected="applied = heads",
            look=lambda seen: {"applied": list(known(seen.current)), "heads": list(known(seen.heads))},
            holds=lambda found: bool(found["heads"]) and set(found["applied"]) == set(found["heads"]),
            remedy="apply the migrations that this release brings (alembic upgrade head)",
        )
    if expected.get("reachable"):
        yield Check(
            name="revision.reachable",
            expected="one revision that a downgrade can name, or none at all",
            look=lambda seen: list(known(seen.current)),
            holds=lambda applied: len(applied) <= 1,
            remedy="bring the schema to one revision, or declare the policy keep or restore for the next release",
        )
    if "revision" in expected:
        yield Check(
            name="revision",
            expected=expected["revision"],
            look=lambda seen: ", ".join(known(seen.current)) or None,
            remedy=f"bring the schema to {expected['revision']}, or declare the revision that is meant",
        )


def revision_pattern(text: str) -> re.Pattern[str]:
    """A pattern whose first group is a revision; raises ``ExpectationError`` for what is none."""
    try:
        pattern = re.compile(text, re.MULTILINE)
    except re.error as reason:
        raise ExpectationError(f"{text!r} is not a regular expression: {reason}") from None
    if pattern.groups < 1:
        raise ExpectationError(f"{text!r} has no group: put the part that is the revision into parentheses")
    return pattern


def revisions(stdout: str, pattern: re.Pattern[str]) -> tuple[str, ...]:
    """The revisions that a command printed, each once, in the order in which they came."""
    found = (match[1] for match in pattern.finditer(stdout.replace("\r\n", "\n")))
    return tuple(dict.fromkeys(revision for revision in found if revision))


def revision_before(stdout: str, pattern: re.Pattern[str]) -> str:
    """The one revision that a command printed, or ``base`` where it printed nothing at all.

    Raises ``ValueError`` for anything else: taken for ``base``, it would let the way back drop every table.
    """
    found = revisions(stdout, pattern)
    if len(found) > 1:
        raise ValueError(f"{len(found)} revisions are applied ({', '.join(found)}), so there is no one to go back to")
    if stdout.strip() and not found:
        raise ValueError(f"{stdout.strip()[:200]!r} holds nothing that {pattern.pattern} takes for a revision")
    return found[0] if found else BASE
