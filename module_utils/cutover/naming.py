# SPDX-License-Identifier: GPL-3.0-or-later
"""What a play's variables say about components and targets. Templates are resolved by whoever holds a templar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

# Ansible's own: not the inventory's, and partly the whole inventory over again.
_MAGIC = frozenset(
    {"hostvars", "groups", "vars", "omit", "environment", "play_hosts", "role_names", "inventory_dir", "inventory_file"}
    | {
        "playbook_dir",
        "group_names",
        "inventory_hostname",
        "inventory_hostname_short",
        "role_name",
        "role_path",
        "role_uuid",
    }
)
NO_TARGET = "(no target is declared)"


class Templar(Protocol):
    """Whatever resolves a template to a value."""

    def template(self, variable: Any) -> Any:
        """The value; raises for one that cannot be resolved."""


class Resolver:
    """Resolves templates and remembers whether one could not be resolved yet."""

    def __init__(self, templar: Templar) -> None:
        self._templar = templar
        self.unresolved = False

    def __call__(self, template: Any) -> object:
        try:
            return self._templar.template(template)
        except Exception:
            self.unresolved = True
            raise


def own(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables that come from the inventory, the play and the command line."""
    return {
        key: value
        for key, value in variables.items()
        if key not in _MAGIC and (not key.startswith("ansible_") or key.endswith(("pass", "password")))
    }


def names_in(variables: Mapping[str, Any], resolve: Resolver) -> set[str]:
    """The names of components and targets: evidence that hides them says nothing."""
    names: set[str] = set()
    for key in variables:
        if key.endswith("_targets"):
            names |= {key.removesuffix("_targets"), *target_names(variables[key], resolve)}
    return names


def target_names(targets: object, resolve: Resolver) -> list[str]:
    """The names in a list of targets; empty when it is none, or cannot be resolved."""
    try:
        values = resolve(targets)
        return [str(resolve(value["name"])) for value in values]  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 - whatever is wrong with the list: it names no target
        return []


def expected_subjects(components: list[str], variables: Mapping[str, Any], resolve: Resolver) -> list[tuple[str, str]]:
    """(component, subject) for each target of each component. One without a target is expected all the same: it
    cannot be judged, so the gate refuses."""
    subjects: list[tuple[str, str]] = []
    for component in components:
        names = target_names(variables.get(f"{component}_targets"), resolve)
        subjects += [(component, name) for name in names or [NO_TARGET]]
    return subjects
