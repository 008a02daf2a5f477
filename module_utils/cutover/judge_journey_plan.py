# SPDX-License-Identifier: GPL-3.0-or-later
"""What a journey is: its steps, whom each is sent as, and how values of one step get into a later one.

A journey is understood whole before anything of it is sent; what becomes of the names in its texts: journey_names.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .checks import ExpectationError
from .journey_names import FILE, NAME, Values, filled_pattern, names_in
from .masking import is_sensitive

Options = Mapping[str, Any]

# Methods that change nothing (RFC 9110, section 9.2.1).
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
# Names that every journey has: a mark of this one walk, and the moment in which it began.
GIVEN_NAMES = frozenset({"run", "now"})
RULES = ("equals", "matches", "present", "at_least", "at_most")
CLEANUP = "cleanup"
# What it may take to notice that a step and a clean-up step are overdue, and to say so.
SLACK_S = 1.0

_STEP_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A value that is shown nowhere: given as it is, or to be read from Vault."""

    name: str
    value: str | None = None
    vault_path: str | None = None
    vault_key: str | None = None
    vault_versions_back: int = 0


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Whom a step is sent as: the header that holds its token, and where the token comes from.

    ``from_value`` names a value, such as one that a login captured. Without any source it is known by its cookies.
    """

    name: str
    header: str
    scheme: str
    secret: Secret | None = None
    from_value: str | None = None


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What must be true of one value."""

    kind: str
    value: Any


@dataclass(frozen=True, kw_only=True)
class Capture:
    """A value of the answer that later steps may use."""

    name: str
    body: str | None
    header: str | None
    secret: bool


@dataclass(frozen=True, kw_only=True)
class Files:
    """Files that the answer lists with their SHA-256: the expression that finds the list, and where each file is."""

    listed: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """One request, and what is expected of its answer. ``changes`` says whether it may change something."""

    name: str
    method: str
    path: str
    headers: Mapping[str, Any]
    json: Any
    form: Mapping[str, Any] | None
    identity: Identity | None
    changes: bool
    record: bool
    statuses: tuple[int, ...]
    response_headers: Mapping[str, Rule]
    text: str | None
    body: Mapping[str, Rule]
    sha256: str | None
    max_ms: float | None
    wait_s: float
    every_s: float
    captures: tuple[Capture, ...]
    files: Files | None

    def expressions(self) -> set[str]:
        """All JMESPath expressions that are asked of the answer."""
        captured = {capture.body for capture in self.captures if capture.body is not None}
        return {*self.body, *captured, *([self.files.listed] if self.files else [])}

    def names(self) -> set[str]:
        """The names whose values the step needs."""
        texts = [self.path, self.headers, self.json, self.form, self.text, self.sha256]
        rules = [rule.value for rule in (*self.response_headers.values(), *self.body.values())]
        files = names_in(self.files.path) - {FILE} if self.files else set()
        by_identity = {self.identity.from_value} if self.identity and self.identity.from_value else set()
        return names_in([*texts, *rules]) | files | by_identity


@dataclass(frozen=True, kw_only=True)
class Journey:
    """Steps in their order, clean-up steps, and what they are made of. ``vault`` is where secrets are read."""

    name: str
    address: str
    steps: tuple[Step, ...]
    cleanup: tuple[Step, ...]
    cleanup_timeout_s: float
    values: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    vault: Options | None = None

    def secrets_needed(self) -> list[Secret]:
        """The secrets of which a step makes use, and no others: each once, by its name."""
        steps = [*self.steps, *self.cleanup]
        names = {name for step in steps for name in step.names()}
        own = {name: secret for name, secret in self.secrets.items() if name in names}
        tokens = {
            step.identity.secret.name: step.identity.secret for step in steps if step.identity and step.identity.secret
        }
        return list((own | tokens).values())

    def cleanup_s(self) -> float:
        """The seconds that are kept for cleaning up."""
        return self.cleanup_timeout_s + sum(step.wait_s for step in self.cleanup) if self.cleanup else 0.0

    def wait_s(self) -> float:
        """The seconds that come on top of the journey's time limit: for waiting, and for cleaning up."""
        return self.cleanup_s() + sum(step.wait_s for step in self.steps) + SLACK_S


# --- understanding a journey -----------------------------------------------------------------------------------------


def plan_journey(target: Options, shared: Options, compiled: Callable[[str], Any]) -> Journey:
    """The journey that ``target`` declares. ``shared`` holds ``identities``, ``secrets`` and ``vault`` of all journeys.

    ``compiled`` raises ``ExpectationError`` for an expression that is none. So does this, for whatever could not be
    walked as it is written: an unknown name or identity, a value that is captured twice, a rule that is none.
    """
    where = f"journey {target['name']!r}"
    for place, _ in literal_secrets(target):
        raise ExpectationError(
            f"{where}: {place} holds a credential as it is, and would be shown in logs. Declare it in secrets (for a "
            "header, in identities), and write its name in braces"
        )
    identities = {one["name"]: _identity(one) for one in _unique(shared.get("identities"), f"{where}: identity")}
    secrets = {one["name"]: _secret(one["name"], one) for one in _unique(shared.get("secrets"), f"{where}: secret")}
    steps = tuple(_step(step, identities, where) for step in target["steps"])
    cleanup = tuple(_step(step, identities, where) for step in target.get("cleanup") or [])
    journey = Journey(
        name=target["name"],
        address=_address(target["address"], where),
        steps=steps,
        cleanup=cleanup,
        cleanup_timeout_s=target.get("cleanup_timeout_s") or 10.0,
        values=target.get("values") or {},
        secrets=secrets,
        vault=shared.get("vault"),
    )
    _refuse_bad_names(journey, where)
    for step in (*steps, *cleanup):
        for expression in sorted(step.expressions()):
            _explained(f"{where}, step {step.name!r}", compiled, expression)
    if journey.vault is None and any(secret.vault_path for secret in journey.secrets_needed()):
        raise ExpectationError(f"{where} reads a token or a secret from Vault: declare vault")
    return journey


def _unique(declared: Iterable[Options] | None, what: str) -> list[Options]:
    entries = list(declared or [])
    names = [entry["name"] for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise ExpectationError(f"{what} {name!r} is declared twice")
        if not re.fullmatch(NAME, name):
            raise ExpectationError(f"{what} {name!r}: a name is lower-case letters, digits and _, a letter first")
    return entries


def _secret(name: str, options: Options, *, value: str = "value") -> Secret:
    path, back = options.get("vault_path"), options.get("vault_versions_back") or 0
    if back < 0:
        raise ExpectationError(f"{name}: vault_versions_back is {back}, and must be 0 or more")
    return Secret(
        name=name, value=options.get(value), vault_path=path, vault_key=options.get("vault_key"),
        vault_versions_back=back,
    )  # fmt: skip


def _identity(options: Options) -> Identity:
    secret = _secret(f"the token of {options['name']}", options, value="token")
    return Identity(
        name=options["name"],
        header=options.get("header") or "Authorization",
        scheme="Bearer" if options.get("scheme") is None else options["scheme"],
        secret=secret if secret.value is not None or secret.vault_path else None,
        from_value=options.get("from_value"),
    )


def _address(address: str, where: str) -> str:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ExpectationError(f"{where}: {address!r} is not the address of a web application: https://app.example")
    return address.rstrip("/")


def _step(options: Options, identities: Mapping[str, Identity], journey: str) -> Step:
    where = f"{journey}, step {options['name']!r}"
    if not _STEP_NAME.fullmatch(options["name"]) or options["name"] == CLEANUP:
        raise ExpectationError(f"{where}: a step's name is lower-case letters, digits, _ and -, and not {CLEANUP!r}")
    who, method, expected = options.get("as"), options.get("method") or "GET", options.get("expected") or {}
    if who is not None and who not in identities:
        raise ExpectationError(f"{where} is sent as {who!r}: there is no such identity")
    changes = options.get("changes")
    tokens = {identity.from_value for identity in identities.values()}
    step = Step(
        name=options["name"],
        method=method,
        path=options["path"],
        headers=options.get("headers") or {},
        json=options.get("json"),
        form=options.get("form"),
        identity=identities[who] if who is not None else None,
        changes=method not in SAFE_METHODS if changes is None else changes,
        record=bool(options.get("record")),
        statuses=tuple(expected.get("status") or ()),
        response_headers={name.lower(): _rule(rule, where) for name, rule in (expected.get("headers") or {}).items()},
        text=expected.get("text"),
        body={expression: _rule(rule, where) for expression, rule in (expected.get("body") or {}).items()},
        sha256=expected.get("sha256"),
        max_ms=expected.get("max_ms"),
        wait_s=expected.get("wait_s") or 0.0,
        every_s=1.0 if expected.get("every_s") is None else expected["every_s"],
        captures=tuple(
            _capture(name, source, where, is_token=name in tokens)
            for name, source in (options.get("capture") or {}).items()
        ),
        files=Files(**options["files"]) if options.get("files") else None,
    )
    _refuse_what_cannot_be_sent(step, where)
    return step


def _rule(declared: Any, where: str) -> Rule:
    """``{matches: ..}`` and its like; any other value must be equalled."""
    if not isinstance(declared, Mapping):
        return Rule(kind="equals", value=declared)
    if len(declared) != 1 or next(iter(declared)) not in RULES:
        known_rules = ", ".join(RULES)
        raise ExpectationError(f"{where}: {declared!r} is no rule: name one of {known_rules} (an object: under equals)")
    kind, value = next(iter(declared.items()))
    if kind == "matches":
        compiled_pattern(value, where)
    if kind == "present" and not isinstance(value, bool):
        raise ExpectationError(f"{where}: present is true or false, and not {value!r}")
    if kind in ("at_least", "at_most") and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise ExpectationError(f"{where}: {kind} is a number, and not {value!r}")
    return Rule(kind=kind, value=value)


def compiled_pattern(pattern: Any, where: str, values: Values | None = None) -> re.Pattern[str]:
    """The regular expression; names in it stand for themselves, or for the plain text of their values."""
    known_values = dict.fromkeys(names_in(str(pattern)), "x") if values is None else values
    try:
        return re.compile(filled_pattern(str(pattern), known_values))
    except re.error as wrong:
        raise ExpectationError(f"{where}: {pattern!r} is not a regular expression: {wrong}") from wrong


def _capture(name: str, declared: Any, where: str, *, is_token: bool) -> Capture:
    """A token that an identity sends is a secret, whether declared as one or not."""
    if not re.fullmatch(NAME, name):
        raise ExpectationError(f"{where} captures {name!r}: a name is lower-case letters, digits and _, a letter first")
    source = {"body": declared} if isinstance(declared, str) else declared
    if not isinstance(source, Mapping) or not set(source) <= {"body", "header", "secret"}:
        raise ExpectationError(f"{where} captures {name!r} from {declared!r}: give an expression, or body or header")
    body, header = source.get("body"), source.get("header")
    if (body is None) == (header is None):
        raise ExpectationError(f"{where} captures {name!r}: from the body or from a header, one of them")
    secret = is_token or bool(source.get("secret"))
    return Capture(name=name, body=body, header=header and header.lower(), secret=secret)


def _refuse_what_cannot_be_sent(step: Step, where: str) -> None:
    if not step.path.startswith("/") or "#" in step.path:
        raise ExpectationError(f"{where}: the path {step.path!r} must begin with / and hold no #")
    if not step.statuses:
        raise ExpectationError(f"{where} expects no status: say which will do, also where it must be refused")
    if step.json is not None and step.form is not None:
        raise ExpectationError(f"{where} has two bodies: json or form, not both")
    if step.wait_s and (step.changes or step.every_s <= 0 or step.wait_s < 0):
        raise ExpectationError(
            f"{where} is asked again and again: wait_s and every_s are more than 0, and it must change nothing"
        )
    if step.files and FILE not in names_in(step.files.path):
        raise ExpectationError(f"{where}: files.path {step.files.path!r} must hold {{{FILE}}}, the name of each file")
    if step.files and not step.files.path.startswith("/"):
        raise ExpectationError(f"{where}: files.path {step.files.path!r} must begin with /")
    if step.text is not None:
        compiled_pattern(step.text, where)
    for name in step.headers:
        if not _HEADER_NAME.fullmatch(name):
            raise ExpectationError(f"{where}: {name!r} cannot be the name of a header")


def literal_secrets(target: Options) -> Iterator[tuple[str, str]]:
    """Where a journey holds texts under names of credentials, with no name of a value in them; and the texts."""
    yield from _literals(target.get("values"), "values", "")
    for step in (*(target.get("steps") or ()), *(target.get("cleanup") or ())):
        for part in ("headers", "json", "form"):
            yield from _literals(step.get(part), f"step {step.get('name')!r}, {part}", "")
        query = parse_qsl(str(step.get("path") or "").partition("?")[2])
        yield from _literals(dict(query), f"step {step.get('name')!r}, path", "")


def _literals(value: Any, place: str, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _literals(item, f"{place}.{key}", str(key))
    elif isinstance(value, list):
        for item in value:
            yield from _literals(item, place, name)
    elif isinstance(value, (str, int)) and not isinstance(value, bool) and is_sensitive(name):
        text = str(value)
        if text and not names_in(text):
            yield place, text


def _refuse_bad_names(journey: Journey, where: str) -> None:
    """Every name that a step uses has a value by then, and no name has two."""
    names = [step.name for step in (*journey.steps, *journey.cleanup)]
    if not journey.steps:
        raise ExpectationError(f"{where} has no step: nothing would be asked")
    for name in names:
        if names.count(name) > 1:
            raise ExpectationError(f"{where} has two steps named {name!r}: findings on them could not be told apart")
    available = set(GIVEN_NAMES)
    for name in [*journey.values, *journey.secrets]:
        _add_name(name, available, where)
    for step in (*journey.steps, *journey.cleanup):
        for name in sorted(step.names() - available):
            raise ExpectationError(
                f"{where}, step {step.name!r} uses {{{name}}}: nothing before it has that name. "
                f"Known there: {', '.join(sorted(available))}"
            )
        for capture in step.captures:
            _add_name(capture.name, available, where)


def _add_name(name: str, available: set[str], where: str) -> None:
    if name in available or name == FILE:
        raise ExpectationError(f"{where}: the name {name!r} is taken already, so its value would be ambiguous")
    if not re.fullmatch(NAME, name):
        raise ExpectationError(f"{where}: {name!r} is no name: lower-case letters, digits and _, a letter first")
    available.add(name)


def _explained(where: str, compiled: Callable[[str], Any], expression: str) -> None:
    try:
        compiled(expression)
    except ExpectationError as wrong:
        raise ExpectationError(f"{where}: {wrong}") from wrong
