# SPDX-License-Identifier: GPL-3.0-or-later
"""Where our thinking meets Ansible: shared arguments, the guard for client libraries, and the way out of a module."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from .checks import CannotObserve, ExpectationError
from .credentials import all_parts
from .masking import Masker, is_sensitive
from .observation import Observation
from .verdict import Verdict

Report = Callable[..., None]

LIMITS: dict[str, Any] = {
    "timeout_s": {"type": "float", "default": 5.0},
    "total_timeout_s": {"type": "float", "default": 60.0},
    "workers": {"type": "int", "default": 32},
}
# There are more facts than an expectation names.
LIMITS_FOR_FACTS = LIMITS | {
    "timeout_s": {"type": "float", "default": 15.0},
    "total_timeout_s": {"type": "float", "default": 120.0},
}


def check_arguments(*, target: Mapping[str, Any], expected: Mapping[str, Any], **target_rules: Any) -> dict[str, Any]:
    """The argument specification of a check module.

    ``target`` lists the options of one target beside ``name``, ``expected`` those of an expectation, which may stand
    for all targets or within one. ``target_rules`` are ``required_together`` and its like, for one target.
    """
    expectation = {"type": "dict", "options": dict(expected)}
    return {
        "targets": _targets({**target, "expected": expectation}, target_rules),
        "expected": expectation,
        **LIMITS,
        "report_only": {"type": "bool", "default": False},
    }


def fact_arguments(*, target: Mapping[str, Any], salted: bool = True, **target_rules: Any) -> dict[str, Any]:
    """The argument specification of a module that takes facts: ``target`` lists the options of one beside ``name``.

    ``salted`` where some facts are secrets, of which only fingerprints are kept.
    """
    salt: dict[str, Any] = {"salt": {"type": "str", "required": True, "no_log": True}} if salted else {}
    return {"targets": _targets(target, target_rules), **LIMITS_FOR_FACTS, **salt}


def _targets(options: Mapping[str, Any], rules: Mapping[str, Any]) -> dict[str, Any]:
    named = {"name": {"type": "str", "required": True}, **options}
    return {"type": "list", "elements": "dict", "required": True, "options": named, **rules}


@contextmanager
def recording(module: AnsibleModule) -> Iterator[Callable[[Sequence[Observation]], None]]:
    """Run the body of a module that takes facts: give it ``record``, which ends the module with the observations."""
    with reporting(module) as report:
        yield lambda observations: report([], observations=[each.to_dict() for each in observations])


@contextmanager
def reporting(module: AnsibleModule) -> Iterator[Report]:
    """Run a check module's body: give it ``report``, and turn what it raises into one clear failure.

    ``report(verdicts, commands=[...])`` ends the module; what is named beside the verdicts is returned with them.
    A client library that cannot be imported is named together with the interpreter that lacks it.
    """
    masker = Masker(all_parts(module.no_log_values))
    for target in module.params["targets"]:
        refuse_credentials_in_address(module, str(target.get("address") or ""), whose=f" of target {target['name']!r}")
    _refuse_credentials_in_plain_headers(module)
    try:
        yield lambda verdicts, **more: _exit(module, verdicts, masker, more)
    except ImportError as missing:
        module.fail_json(msg=what_is_missing(missing))
    except (ExpectationError, CannotObserve) as reason:
        module.fail_json(msg=masker.mask(str(reason)))


def what_is_missing(missing: ImportError) -> str:
    """Which client library is missing, and which interpreter lacks it."""
    name = (missing.name or str(missing)).partition(".")[0]
    return f"{missing_required_lib(name)} Interpreter: {sys.executable}"


def refuse_credentials_in_address(module: AnsibleModule, address: str, *, whose: str = "") -> None:
    """End the module for an address that holds a password: it is shown in every report."""
    try:
        password = _password_in(address)
    except ValueError:
        # Where it ends and where a password in it would begin cannot be told.
        password = address
    if password:
        module.no_log_values.add(password)
        module.fail_json(
            msg=f"The address{whose} holds a password, or is no URL. Addresses are shown in reports: take it out, and "
            "give it in the option made for it."
        )


def _password_in(address: str) -> str | None:
    """What stands before the @, or under a name such as password in the query."""
    if "://" not in address:
        return None
    parts = urlsplit(address)
    queried = (value for name, value in parse_qsl(parts.query) if is_sensitive(name))
    return parts.password or next(queried, None)


def _refuse_credentials_in_plain_headers(module: AnsibleModule) -> None:
    """Headers are logged, so one that holds a credential has its place in the option that is not."""
    for target in module.params["targets"]:
        for header, value in (target.get("headers") or {}).items():
            if is_sensitive(header):
                module.no_log_values.add(str(value))
                module.fail_json(
                    msg=f"The header {header} of target {target['name']!r} holds a credential: "
                    "declare it in secret_headers, which is shown nowhere."
                )


def _exit(module: AnsibleModule, verdicts: Sequence[Verdict], masker: Masker, more: Mapping[str, Any]) -> None:
    result: dict[str, Any] = {"changed": False, "verdicts": masker.mask([verdict.to_dict() for verdict in verdicts])}
    result |= masker.mask(more)
    refused = [_describe(verdict) for verdict in verdicts if not verdict.ok]
    if refused and not module.params["report_only"]:
        module.fail_json(msg=masker.mask("; ".join(refused)), **result)
    module.exit_json(**result)


def _describe(verdict: Verdict) -> str:
    """One line for a person: the target, and each blocking finding that did not pass."""
    findings = [
        f"{finding.check}: {finding.cause}"
        if finding.cause
        else f"{finding.check}: expected {finding.expected!r}, observed {finding.observed!r}"
        for finding in verdict.findings
        if not finding.ok
    ]
    return f"{verdict.component} {verdict.subject} ({verdict.address}): " + ", ".join(findings)
