# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that shape data for the roles; templates only place it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import ansible.module_utils
from ansible import constants
from ansible.errors import AnsibleFilterError

# Ansible hands the project's module_utils to modules only; plugins have to look there themselves.
ansible.module_utils.__path__ += [
    path for path in constants.DEFAULT_MODULE_UTILS_PATH if path not in ansible.module_utils.__path__
]

from ansible.module_utils.cutover import drills, facts_targets, pools, triggers
from ansible.module_utils.cutover.judge_migration import ALEMBIC_LINE, revision_before, revision_pattern

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def environment_lines(variables: Mapping[str, Any]) -> str:
    """Sorted KEY=VALUE lines, quoted for a shell; raises ``ValueError`` for what no environment takes."""
    wrong = sorted(str(name) for name in variables if not NAME.fullmatch(str(name)))
    if wrong:
        raise ValueError(f"not the names of environment variables: {', '.join(map(repr, wrong))}")
    empty = sorted(name for name, value in variables.items() if value is None or "\0" in str(value))
    if empty:
        raise ValueError(f"no value that an environment takes: {', '.join(empty)}. Declare '' for an empty one")
    return "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in sorted(variables.items()))


def unit_word(text: str) -> str:
    """A word of a unit file of systemd, whatever is in it; systemd.syntax(7), systemd.unit(5)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if re.search(r"[\s\"\\']", text) else escaped


def each_with(items: Sequence[Mapping[str, Any]], more: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each mapping with the same entries added."""
    return [{**item, **more} for item in items]


def named(items: Sequence[Mapping[str, Any]], pattern: str) -> list[dict[str, Any]]:
    """Each mapping with its name put into ``pattern`` at ``{}``."""
    return [{**item, "name": pattern.format(item["name"])} for item in items]


def command_targets(
    targets: Sequence[Mapping[str, Any]], argv: str, arguments: Sequence[Any] = ()
) -> list[dict[str, Any]]:
    """The targets with their names and the command under the key ``argv``, ``arguments`` added to it.

    Where it runs and the file with its environment are kept; raises ``ValueError`` where a target has no such command.
    """
    _demand(argv, targets)
    return [
        {key: target[key] for key in ("name", "chdir", "env_file") if key in target}
        | {"argv": [*target[argv], *map(str, arguments)]}
        for target in targets
    ]


def migration_targets(targets: Sequence[Mapping[str, Any]], release: str) -> list[dict[str, Any]]:
    """The targets as migration_check takes them: asked for the heads of ``release``, without what would change them."""
    _demand("heads_argv", targets)
    return [
        {key: value for key, value in target.items() if key not in ("upgrade_argv", "downgrade_argv")}
        | {"heads_argv": [*target["heads_argv"], release]}
        for target in targets
    ]


def revisions_before(told: Sequence[str], targets: Sequence[Mapping[str, Any]], needed: bool = True) -> list[str]:
    """The revision that each target's migration tool has told. Where that is not certain: none at all, or, when it is
    ``needed``, ``ValueError``."""
    patterns = [revision_pattern(target.get("revision_pattern", ALEMBIC_LINE)) for target in targets]
    try:
        return [revision_before(stdout, pattern) for stdout, pattern in zip(told, patterns, strict=True)]
    except ValueError:
        if needed:
            raise
        return []


def instance_targets(
    hosts: Sequence[str], hostvars: Mapping[str, Any], instance: str, path: str
) -> list[dict[str, Any]]:
    """One endpoint target for each host: ``path`` below the URL that the host's variable ``instance`` holds."""
    missing = [host for host in hosts if not hostvars[host].get(instance)]
    if missing:
        raise ValueError(f"{', '.join(missing)}: no {instance}. Declare the URL of the host's own instance")
    return [{"name": host, "address": str(hostvars[host][instance]).rstrip("/") + path} for host in hosts]


def ways_back(ways: Sequence[Mapping[str, Any]], begun: Sequence[str] | None) -> list[str]:
    """What to take, in this order, to undo the steps that were begun; everything when nobody knows which were."""
    return [str(way["taken"]) for way in _ways(ways, begun)]


def ways_ahead(
    ways: Sequence[Mapping[str, Any]], begun: Sequence[str] | None, durations_s: Mapping[str, float]
) -> list[str]:
    """One line for each way that leads back: how long it took, and what it brings about."""
    return [f"{way['taken']} ({_took(way['taken'], durations_s)}); {way['effect']}" for way in _ways(ways, begun)]


def _ways(ways: Sequence[Mapping[str, Any]], begun: Sequence[str] | None) -> list[Mapping[str, Any]]:
    return [way for way in ways if begun is None or set(way["undoes"]) & set(begun)]


def _took(name: str, durations_s: Mapping[str, float]) -> str:
    return f"took {durations_s[name]:.0f} s" if name in durations_s else "not timed yet"


def steps_of(steps: Mapping[str, Mapping[str, Any]], components: Sequence[str]) -> list[str]:
    """The names of the steps that these components imply, in their order."""
    return [name for name, step in steps.items() if step.get("component") in (None, *components)]


def steps_ahead(
    steps: Mapping[str, Mapping[str, Any]],
    components: Sequence[str],
    done: Sequence[str],
    durations_s: Mapping[str, float],
) -> list[str]:
    """One line for each step that these components imply: whether it is ahead, how long it took, how it is undone."""
    lines = []
    for name in steps_of(steps, components):
        step = steps[name]
        state = "done before, verified" if name in done else _took(name, durations_s)
        way_back = f"undone by: {step['undo']}" if step.get("reversible", True) else f"NO WAY BACK: {step['undo']}"
        lines.append(f"{name} ({state}); {way_back}")
    return lines


def kept_of(results: Sequence[Mapping[str, Any]], checksum: str) -> list[dict[str, Any]]:
    """What each host has told by release_state, beside the SHA-256 that ``checksum`` begins with, if any."""
    built = {"archive": checksum.split()[0]} if checksum.split() else {}
    return [
        {**result["kept"], **built}
        if "kept" in result
        else {"host": result["item"], "cause": str(result.get("msg") or "it did not answer")}
        for result in results
    ]


def kept_told(hosts: Sequence[str], results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What each host has of the release that it names as its own: whether its command says that it could be started."""
    asked = {result["item"]: result for result in results}
    return [
        {"host": host, "cause": str(asked[host].get("msg") or "it did not answer")}
        if asked.get(host, {}).get("unreachable")
        else {"host": host, "present": True, "start": _start_told(asked.get(host))}
        for host in hosts
    ]


def _start_told(result: Mapping[str, Any] | None) -> dict[str, str]:
    if result is None:
        return {}
    return {"release_startable_argv": "ready" if result.get("rc") == 0 else str(result.get("msg") or "failed")}


def newest_of(names: Sequence[str], files: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The newest file of each name, of those called ``<name>-<digit>...``; a name without one is left out."""
    newest: dict[str, dict[str, Any]] = {}
    for file in sorted(files, key=lambda file: float(file["mtime"])):
        for name in names:
            if re.match(re.escape(name) + r"-\d", str(file["path"]).rpartition("/")[2]):
                newest[name] = {"path": file["path"], "mtime": file["mtime"]}
    return newest


def waivers_besides(waivers: Sequence[Any], component: str) -> list[Any]:
    """The waivers that do not name this component."""
    return [waiver for waiver in waivers if not isinstance(waiver, Mapping) or waiver.get("component") != component]


def fault_state_dir(variables: Mapping[str, Any]) -> str:
    """Where a host, of which these are the variables, keeps the state of faults."""
    base = variables.get("release_base_dir")
    return str(variables.get("drills_state_dir") or (f"{base}/drills" if base else "~/.cutover/drills"))


def unfinished_drills(asked: Sequence[Mapping[str, Any]], told: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The drills that did not come to their end: as the hosts of faults tell, and as earlier runs do."""
    return drills.left_open(asked, told)


def _demand(argv: str, targets: Sequence[Mapping[str, Any]]) -> None:
    missing = [str(target["name"]) for target in targets if not target.get(argv)]
    if missing:
        raise ValueError(f"{', '.join(missing)}: no {argv}. Declare the command")


def _readable(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def run(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except ValueError as reason:
            raise AnsibleFilterError(f"{function.__name__}: {reason}") from reason

    return run


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        functions = (
            environment_lines,
            unit_word,
            each_with,
            steps_of,
            steps_ahead,
            ways_ahead,
            ways_back,
            named,
            command_targets,
            migration_targets,
            revisions_before,
            instance_targets,
            kept_of,
            kept_told,
            newest_of,
            waivers_besides,
            fault_state_dir,
            unfinished_drills,
            pools.traffic_to,
            pools.traffic_share,
            triggers.samples_needed,
            facts_targets.places,
            facts_targets.tls_servers,
        )
        return {function.__name__: _readable(function) for function in functions}
