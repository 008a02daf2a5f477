# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true of an HTTP endpoint (checklist rows B3, B5, B8, C7, C12, C14, D3, E4)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import Any, NoReturn

from .checks import CannotObserve, Check, ExpectationError, Known, known
from .versions import at_least

NOT_ASKED = CannotObserve("this was not asked for")

# Methods that change nothing (RFC 9110, section 9.2.1): whether they are refused can be tried on a live service.
SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
TLS_VERSIONS = ("1.0", "1.1", "1.2", "1.3")

# How services say that a dependency, or all of it, is well; `head` is said of migrations.
GOOD_WORDS = frozenset(
    {"available", "connected", "head", "healthy", "ok", "pass", "reachable", "ready", "unsealed", "up"}
)
READY_SHAPES = ("status and checks.{name}.{ok, detail}", "dependencies.{name}")

# More than this of a value helps nobody to find out what is wrong.
SHOWN_CHARACTERS = 2000


@dataclass(frozen=True, kw_only=True)
class Tls:
    """What a handshake of its own told. ``oldest_version`` is the oldest that the server still accepts."""

    oldest_version: Known[str]
    not_after: datetime


@dataclass(frozen=True, kw_only=True)
class Waited:
    """How often an endpoint was asked while it was waited for, and with what result."""

    asked: int
    good: int
    good_in_a_row: int


@dataclass(frozen=True, kw_only=True)
class EndpointObservation:
    """One answer, and what else was asked of its server. ``headers`` have lower-case names.

    ``answered_ms`` runs from the first packet to the last byte, handshake and followed redirects included.
    ``allow`` are the methods that the server itself names. ``method_statuses`` are answers to methods tried.
    ``recorded`` is what is kept as evidence, already masked.
    """

    observed_at: datetime
    status: int
    headers: Mapping[str, str]
    body: bytes
    answered_ms: int
    tls: Known[Tls] = NOT_ASKED
    allow: Known[frozenset[str]] = NOT_ASKED
    method_statuses: Mapping[str, Known[int]] = field(default_factory=dict)
    waited: Known[Waited] = NOT_ASKED
    recorded: Mapping[str, Any] | None = None

    @cached_property
    def text(self) -> str:
        """The body in the charset that its Content-Type declares, else in UTF-8; raises ``CannotObserve``."""
        declared = re.search(r"charset=\s*\"?([\w.:-]+)", self.headers.get("content-type", ""), re.IGNORECASE)
        charset = declared[1] if declared else "utf-8"
        try:
            return self.body.decode(charset)
        except LookupError as unknown:
            raise CannotObserve(f"the body is in a charset that does not exist: {charset}") from unknown
        except UnicodeError as broken:
            raise CannotObserve(f"the body is not the {charset} that it is declared to be") from broken

    @cached_property
    def document(self) -> Any:
        """The body as JSON (RFC 8259: in UTF-8, whatever is declared); raises ``CannotObserve``."""
        if not self.body.strip():
            raise CannotObserve("the body is empty")
        try:
            return json.loads(self.body.decode("utf-8-sig"), parse_constant=_no_json)
        except RecursionError as deep:
            raise CannotObserve("the body is JSON nested too deeply to be read") from deep
        except ValueError as broken:
            raise CannotObserve(f"the body is not JSON: {broken}") from broken


EndpointCheck = Check[EndpointObservation]


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value")


def endpoint_checks(expected: Mapping[str, Any]) -> Iterator[EndpointCheck]:
    """Every check that ``expected`` implies; the keys are those of endpoint_check's ``expected`` option.

    Raises ``ExpectationError`` for an expectation that means nothing, such as a regular expression that is none.
    """
    yield from _answer_checks(expected)
    yield from _header_checks(expected)
    yield from _text_checks(expected)
    yield from _json_checks(expected)
    yield from _ready_checks(expected)
    yield from _method_checks(expected)
    yield from _tls_checks(expected)
    yield from _waiting_checks(expected)


# --- the answer itself -----------------------------------------------------------------------------------------------


def _answer_checks(expected: Mapping[str, Any]) -> Iterator[EndpointCheck]:
    if "status" in expected:
        statuses = expected["status"]
        yield Check(
            name="status",
            expected=statuses[0] if len(statuses) == 1 else statuses,
            look=lambda seen: seen.status,
            holds=lambda status: status in statuses,
            remedy="read the body and the service's log: the status says only that it did not do what was asked",
        )
    if "max_ms" in expected:
        yield Check(
            name="time_ms",
            expected=f"<= {expected['max_ms']:g}",
            look=lambda seen: seen.answered_ms,
            holds=lambda answered_ms: answered_ms <= expected["max_ms"],
            remedy="find what it waits for; a readiness probe must bound its own checks (0.5 to 2 s)",
        )
    if "location" in expected:
        yield Check(
            name="location",
            expected=expected["location"],
            look=partial(_header, "location"),
            show=shown,
            remedy="correct the redirect in the service or the proxy before it",
        )


def _header_checks(expected: Mapping[str, Any]) -> Iterator[EndpointCheck]:
    for name, value in sorted(expected.get("headers", {}).items()):
        yield Check(
            name=f"header.{name.lower()}",
            expected=_as_header(value),
            look=partial(_header, name.lower()),
            show=shown,
            remedy=f"let the service or the proxy before it send {name}: {_as_header(value)}",
        )
    for name, pattern in sorted(expected.get("headers_match", {}).items()):
        yield Check(
            name=f"header.{name.lower()}",
            expected=f"matches {pattern}",
            look=partial(_header, name.lower()),
            holds=partial(_matches, _pattern(pattern)),
            show=shown,
            remedy=f"let the service or the proxy before it send a {name} that matches",
        )
    for name in expected.get("headers_absent", []):
        yield Check(
            name=f"header.{name.lower()}",
            expected="absent",
            look=partial(_header, name.lower()),
            holds=lambda value: value is None,
            show=shown,
            remedy=f"let the service or the proxy before it leave {name} out",
        )


def _header(name: str, seen: EndpointObservation) -> str | None:
    return seen.headers.get(name)


def _matches(pattern: re.Pattern[str], value: str | None) -> bool:
    return value is not None and bool(pattern.search(value))


def _as_header(value: object) -> str:
    """A header's value as it is sent: YAML's ``true`` is no ``True``."""
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- the body --------------------------------------------------------------------------------------------------------


def _text_checks(expected: Mapping[str, Any]) -> Iterator[EndpointCheck]:
    contains, excludes = listed(expected.get("body_contains")), listed(expected.get("body_excludes"))
    patterns = {pattern: _pattern(pattern) for pattern in listed(expected.get("body_matches"))}
    if contains or excludes or patterns:
        yield Check(
            name="body",
            expected="text in its declared charset",
            look=lambda seen: f"{len(seen.text)} characters",
            holds=bool,
            remedy="send the charset that the body is in: Content-Type: text/html; charset=utf-8",
        )
    if contains:
        yield _text_check("contains", contains, lambda text: [part for part in contains if part in text], contains)
    if patterns:
        yield _text_check(
            "matches", list(patterns), lambda text: [name for name in patterns if patterns[name].search(text)], patterns
        )
    if excludes:
        yield _text_check("excludes", excludes, lambda text: [part for part in excludes if part in text], [])


def _text_check(
    word: str, expected: list[str], found: Callable[[str], list[str]], right: Iterable[str]
) -> EndpointCheck:
    wanted = list(right)
    return Check(
        name=f"body.{word}",
        expected=expected if wanted else f"none of {expected}",
        look=lambda seen: found(seen.text),
        holds=lambda there: there == wanted,
        needs="body",
        remedy="see what is served at this address: another page, an error page, or data that was never meant to leave",
    )


def listed(value: Any) -> list[str]:
    """A text, or a list of them, as a list without repetitions."""
    return list(dict.fromkeys(str(part) for part in (value if isinstance(value, list) else [value] if value else [])))


def _pattern(text: object) -> re.Pattern[str]:
    try:
        return re.compile(str(text))
    except re.error as wrong:
        raise ExpectationError(f"{text!r} is not a regular expression: {wrong}") from wrong


# --- JSON ------------------------------------------------------------------------------------------------------------


def _json_checks(expected: Mapping[str, Any]) -> Iterator[EndpointCheck]:
    ready = expected.get("ready_shape") or expected.get("ready_dependencies")
    if ready or "json_equals" in expected or expected.get("json"):
        yield Check(
            name="json",
            expected="a JSON document",
            look=lambda seen: _kind(seen.document),
            holds=bool,
            remedy="see what is served at this address: an error page of a proxy is the usual",
        )
    if "json_equals" in expected:
        yield _value_check("json.equals", expected["json_equals"], lambda document: document)
    for path, value in sorted(expected.get("json", {}).items()):
        yield _value_check(f"json.{path}", value, partial(at_path, steps(path)))


def _value_check(name: str, expected: Any, look: Callable[[Any], Any]) -> EndpointCheck:
    return Check(
        name=name,
        expected=expected,
        look=lambda seen: look(seen.document),
        holds=lambda value: same_json(value, expected),
        show=shown,
        needs="json",
        remedy="read the service's log, and its configuration, for why it says so",
    )


def steps(path: str) -> list[str]:
    r"""``checks.redis.ok`` as the names and list indexes on the way; a dot within a name is written ``\.``."""
    parts = [part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", path)]
    if not all(parts):
        raise ExpectationError(f"the JSON path {path!r} has an empty step")
    return parts


def at_path(way: list[str], document: Any) -> Any:
    """The value at the end of ``way``; raises ``CannotObserve`` that names what is there instead."""
    here, where = document, "the body"
    for step in way:
        here = _below(here, step, where)
        where = step if where == "the body" else f"{where}.{step}"
    return here


def _below(here: Any, step: str, where: str) -> Any:
    if isinstance(here, Mapping):
        if step in here:
            return here[step]
        there = ", ".join(str(name)[:40] for name in list(here)[:10]) or "nothing"
        raise CannotObserve(f"{where} has no {step!r}; it has: {there}")
    if isinstance(here, list):
        if step.isdecimal() and int(step) < len(here):
            return here[int(step)]
        raise CannotObserve(f"{where} is a list of {len(here)}: there is no element {step!r}")
    raise CannotObserve(f"{where} is {_kind(here)}: there is nothing below it, and so no {step!r}")


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")


def same_json(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same. Python's ``True == 1`` is no such thing, ``1 == 1.0`` is."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same_json(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return bool(one == other)


def shown(value: Any) -> Any:
    """A value of the other side in a length that can be read."""
    text = value if isinstance(value, str) else json.dumps(value)
    return value if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}... ({len(text)} characters)"


# --- readiness -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dependency:
    """What a service says of something that it depends on."""

    ok: bool
    detail: str


def _ready_checks(expected: Mapping[str, Any]) -> Iterator[EndpointCheck]:
    named = expected.get("ready_dependencies", [])
    if not (named or expected.get("ready_shape")):
        return
    yield Check(
        name="ready.shape",
        expected=" or ".join(READY_SHAPES),
        look=lambda seen: ready_shape(seen.document),
        holds=lambda shape: shape in READY_SHAPES,
        needs="json",
        remedy='answer {"status": "ok", "checks": {"db": {"ok": true, "detail": "connected"}}}',
    )
    yield Check(
        name="ready.status",
        expected="ok",
        look=lambda seen: seen.document.get("status"),
        # The older shape has no word for all of it, and its dependencies speak for themselves.
        holds=lambda status: status is None or _is_good(status),
        show=shown,
        needs="ready.shape",
        remedy="mend the dependencies that it names as broken",
    )
    for name in named:
        yield Check(
            name=f"ready.dependency.{name}",
            expected="ok",
            look=partial(_named_dependency, name),
            holds=lambda dependency: dependency["ok"],
            needs="ready.shape",
            remedy=f"see whether {name} is up, and reachable from the service with the credentials that it has",
        )
    yield Check(
        name="ready.dependencies",
        expected="every other one ok" if named else "every one ok",
        look=lambda seen: _broken(dependencies(seen.document), besides=named) or "ok",
        holds=lambda broken: broken == "ok",
        show=shown,
        needs="ready.shape",
        remedy="mend the dependencies that it names as broken",
    )


def ready_shape(document: Any) -> str:
    """Which of ``READY_SHAPES`` a readiness answer has, or in what it differs."""
    if not isinstance(document, Mapping):
        return _kind(document)
    if "checks" in document:
        return _fault_of_checks(document["checks"], document.get("status")) or READY_SHAPES[0]
    if isinstance(document.get("dependencies"), Mapping) and document["dependencies"]:
        return READY_SHAPES[1]
    return "an object in which neither checks nor dependencies names a dependency"


def _fault_of_checks(checks: Any, status: Any) -> str | None:
    if not isinstance(checks, Mapping) or not checks:
        return "checks names no dependency"
    for name, check in checks.items():
        if not (isinstance(check, Mapping) and isinstance(check.get("ok"), bool) and "detail" in check):
            return f"checks.{name} is not {{ok, detail}}"
    return None if isinstance(status, str) else "there are checks, and no status beside them"


def dependencies(document: Mapping[str, Any]) -> dict[str, Dependency]:
    """Every dependency that a readiness answer names, in either shape."""
    named = document["checks"] if "checks" in document else document["dependencies"]
    return {str(name): _dependency(value) for name, value in named.items()}


def _dependency(said: Any) -> Dependency:
    if not isinstance(said, Mapping):
        return Dependency(_is_good(said), str(said))
    word = said.get("ok", said.get("status"))
    return Dependency(_is_good(word), str(said.get("detail", word)))


def _is_good(word: Any) -> bool:
    return word is True or (isinstance(word, str) and word.lower() in GOOD_WORDS)


def _named_dependency(name: str, seen: EndpointObservation) -> dict[str, Any]:
    there = dependencies(seen.document)
    if name not in there:
        raise CannotObserve(f"the answer names no dependency {name!r}; it names: {', '.join(sorted(there))}")
    return {"ok": there[name].ok, "detail": shown(there[name].detail)}


def _broken(there: Mapping[str, Dependency], *, besides: Iterable[str]) -> dict[str, str]:
    return {name: it.detail for name, it in there.items() if not it.ok and name not in besides}


# --- methods and TLS -------------------------------------------------------------------------------------------------


def _method_checks(expected: Mapping[str, Any]) -> Iterator[EndpointCheck]:
    if "allowed_methods" in expected:
        allowed = frozenset(method.upper() for method in expected["allowed_methods"])
        yield Check(
            name="methods",
            expected=f"none but {', '.join(sorted(allowed))}",
            look=lambda seen: sorted(known(seen.allow)),
            # A server that answers OPTIONS may name it or not.
            holds=lambda named: set(named) <= allowed | {"OPTIONS"},
            remedy="take the other methods off this address, in the service or in the proxy before it",
        )
    for method in expected.get("refused_methods", []):
        yield Check(
            name=f"method.{method.lower()}",
            expected="refused",
            look=partial(_method_status, method),
            holds=_is_refusal,
            remedy=f"let the proxy before the service answer {method} with 405",
        )


def _method_status(method: str, seen: EndpointObservation) -> int:
    return known(seen.method_statuses[method])


def _is_refusal(status: int) -> bool:
    """Being late, being too many, and breaking are accidents: another time the method may be taken."""
    return (400 <= status < 500 and status not in (408, 429)) or status == 501


def _tls_checks(expected: Mapping[str, Any]) -> Iterator[EndpointCheck]:
    if "tls_min_version" in expected:
        yield Check(
            name="tls.oldest_version",
            expected=f">= {expected['tls_min_version']}",
            look=lambda seen: known(known(seen.tls).oldest_version),
            holds=lambda oldest: at_least(oldest, expected["tls_min_version"]),
            remedy=f"let what terminates TLS refuse all before it: ssl-min-ver TLSv{expected['tls_min_version']}",
        )
    if "certificate_min_days_left" in expected:
        yield Check(
            name="tls.certificate.days_left",
            expected=f">= {expected['certificate_min_days_left']:g}",
            look=lambda seen: _days(known(seen.tls).not_after - seen.observed_at),
            holds=lambda days_left: days_left >= expected["certificate_min_days_left"],
            remedy="renew the certificate, reload what serves it, and find out why it was not renewed by itself",
        )


def _days(left: timedelta) -> float:
    return round(left / timedelta(days=1), 1)


# --- waiting ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long an endpoint may take to become good, how often it is asked, and how many good answers in a row count."""

    wait_s: float
    every_s: float
    consecutive: int


def patience(expected: Mapping[str, Any]) -> Patience | None:
    """What ``expected`` says on waiting; None when it is asked just once. Raises ``ExpectationError``."""
    if "wait_s" not in expected:
        if "consecutive" in expected or "every_s" in expected:
            raise ExpectationError("consecutive and every_s say how to wait: declare wait_s with them")
        return None
    declared = Patience(
        wait_s=expected["wait_s"], every_s=expected.get("every_s", 1.0), consecutive=expected.get("consecutive", 1)
    )
    if not (declared.wait_s > 0 and declared.every_s > 0 and declared.consecutive > 0):
        raise ExpectationError("wait_s, every_s and consecutive must be more than 0")
    if (declared.consecutive - 1) * declared.every_s > declared.wait_s:
        raise ExpectationError(
            f"{declared.consecutive} answers, one every {declared.every_s:g} s, take longer than the "
            f"{declared.wait_s:g} s of wait_s: they could never be seen"
        )
    return declared


def wait_s_of(target: Mapping[str, Any]) -> float:
    """For how many seconds a target may be waited for."""
    declared = patience(target["expected"])
    return declared.wait_s if declared else 0.0


def once(expected: Mapping[str, Any]) -> dict[str, Any]:
    """What is expected of a single answer."""
    return {name: value for name, value in expected.items() if name not in ("wait_s", "every_s", "consecutive")}


def _waiting_checks(expected: Mapping[str, Any]) -> Iterator[EndpointCheck]:
    declared = patience(expected)
    if declared:
        yield Check(
            name="consecutive",
            expected=f"{declared.consecutive} good answers in a row within {declared.wait_s:g} s",
            look=lambda seen: asdict(known(seen.waited)),
            holds=lambda waited: waited["good_in_a_row"] >= declared.consecutive,
            remedy="read the other findings on the last answer; where they pass, it is good only now and then",
        )
