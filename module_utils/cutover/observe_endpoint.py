# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask an HTTP endpoint, once or until it is good, with requests. Sends what is declared and nothing that changes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import requests

from .checks import CannotObserve, Known, judge
from .credentials import all_parts
from .judge_endpoint import EndpointObservation, Patience, Tls, Waited, endpoint_checks, once, patience
from .masking import Masker
from .observe_http import BoundedSession
from .observe_tls import TlsServer, look_at_tls
from .pool import Deadline
from .ticks import Sleep, ticks

T = TypeVar("T")
Options = Mapping[str, Any]
Ask = Callable[[], Known[EndpointObservation]]

MAX_RECORDED_CHARACTERS = 64 * 1024
# A secret that is cut in two is no longer known as one: so much more is masked than is kept.
MASKED_BEYOND_CHARACTERS = 4 * 1024
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def look_at_endpoint(
    target: Options, deadline: Deadline, *, timeout_s: float, sleep: Sleep = time.sleep
) -> EndpointObservation:
    """Ask ``target["address"]``; where it is waited for, until it is good or the time is up, each time ``timeout_s``.

    Raises ``CannotObserve`` when there was no answer, or no answer at the end of the wait.
    """
    declared = patience(target["expected"])
    if declared is None:
        return ask(target, deadline)
    checks = list(endpoint_checks(once(target["expected"])))

    def ask_again() -> Known[EndpointObservation]:
        return attempt(lambda: ask(target, deadline.at_most(timeout_s)))

    def is_good(seen: Known[EndpointObservation]) -> bool:
        return all(finding.ok for finding in judge(checks, seen, reachable_remedy=""))

    return wait_for_good(ask_again, is_good, declared, clock=deadline.clock, sleep=sleep)


def wait_for_good(
    ask_again: Ask,
    is_good: Callable[[Known[EndpointObservation]], bool],
    declared: Patience,
    *,
    clock: Callable[[], float],
    sleep: Sleep,
) -> EndpointObservation:
    """The last observation, and how often it was good: enough times in a row, or when the time was up."""
    asked = good = in_a_row = 0
    seen: Known[EndpointObservation] = CannotObserve("it was never asked")
    for _ in ticks(total_s=declared.wait_s, every_s=declared.every_s, clock=clock, sleep=sleep):
        seen = ask_again()
        right = is_good(seen)
        asked, good, in_a_row = asked + 1, good + right, in_a_row + 1 if right else 0
        if in_a_row >= declared.consecutive:
            break
    if isinstance(seen, CannotObserve):
        raise CannotObserve(f"{seen} (asked {asked} times, good {good} times)") from seen
    return replace(seen, waited=Waited(asked=asked, good=good, good_in_a_row=in_a_row))


def ask(target: Options, deadline: Deadline) -> EndpointObservation:
    """One answer of ``target["address"]``, and what the expectation needs beside it."""
    _refuse_headers_that_cannot_be_sent(target)
    with BoundedSession(deadline, ca_path=target.get("ca_path"), tls_name=target.get("tls_name")) as session:
        session.cert = _client_certificate(target)
        started = deadline.clock()
        answer = _final_answer(session, target)
        answered_ms = round((deadline.clock() - started) * 1000)
        return EndpointObservation(
            observed_at=datetime.now(UTC),
            status=answer.status_code,
            headers={name.lower(): value for name, value in answer.headers.items()},
            body=answer.content,
            answered_ms=answered_ms,
            tls=attempt(lambda: _tls(target, deadline)),
            allow=attempt(lambda: _allow(session, target)),
            method_statuses=_method_statuses(session, target),
            recorded=recorded(answer, target) if target.get("record") else None,
        )


# --- one answer ------------------------------------------------------------------------------------------------------


def _final_answer(session: BoundedSession, target: Options) -> requests.Response:
    """The answer, after as many redirects as the target allows. Without any, a redirect is the answer."""
    request = requests.Request(
        target.get("method") or "GET",
        target["address"],
        headers=_headers(target, secret=True),
        json=target.get("send_json"),
        data=(target.get("send_body") or "").encode() or None,
    )
    allowed = target.get("redirects") or 0
    answer = session.send(session.prepare_request(request))
    for _ in range(allowed):
        if not answer.is_redirect:
            return answer
        answer = session.send(_redirected(session, answer, target))
    if allowed and answer.is_redirect:
        raise CannotObserve(f"it redirects more than {allowed} times, the last time from {answer.url}")
    return answer


def _redirected(session: BoundedSession, answer: requests.Response, target: Options) -> requests.PreparedRequest:
    """The request to where an answer points; raises ``CannotObserve`` where that is no address."""
    try:
        return session.prepare_request(_request_to_where_it_points(answer, target))
    except ValueError as reason:
        raise CannotObserve(f"it redirects to what is no address: {answer.headers['location']!r}") from reason


def _request_to_where_it_points(answer: requests.Response, target: Options) -> requests.Request:
    """Secret headers go to the declared server alone, and never in the clear."""
    here, there = urlsplit(answer.url), urlsplit(urljoin(answer.url, answer.headers["location"]))
    if here.scheme == "https" and there.scheme != "https":
        raise CannotObserve(f"it redirects from {here.scheme} to {there.scheme}, which is not followed: {answer.url}")
    at_home = _origin(target["address"]) == _origin(there.geturl())
    method = "HEAD" if answer.request.method == "HEAD" else "GET"
    return requests.Request(method, there.geturl(), headers=_headers(target, secret=at_home))


def _origin(address: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(address)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _headers(target: Options, *, secret: bool) -> dict[str, str]:
    declared = {**(target.get("headers") or {}), **((target.get("secret_headers") or {}) if secret else {})}
    return {name: str(value) for name, value in declared.items()}


def _refuse_headers_that_cannot_be_sent(target: Options) -> None:
    """Before anything is sent, and without the value: it may be a secret that came with the end of its line."""
    for name, value in _headers(target, secret=True).items():
        if not HEADER_NAME.fullmatch(name):
            raise CannotObserve(f"nothing was sent: {name!r} cannot be the name of a header")
        if not HEADER_VALUE.fullmatch(value) or value != value.strip():
            raise CannotObserve(
                f"nothing was sent: the value of {name} cannot be that of a header. Does it end in a line break?"
            )


def _client_certificate(target: Options) -> tuple[str, str] | None:
    certificate = target.get("client_cert_path")
    # Both may be in one file.
    return (certificate, target.get("client_key_path") or certificate) if certificate else None


# --- what the expectation needs beside it ----------------------------------------------------------------------------


def _tls(target: Options, deadline: Deadline) -> Tls:
    expected, parts = target["expected"], urlsplit(target["address"])
    if "tls_min_version" not in expected and "certificate_min_days_left" not in expected:
        raise CannotObserve("TLS was not looked at: nothing is expected of it")
    if parts.scheme != "https" or not parts.hostname:
        raise CannotObserve("there is no TLS: the address is not https")
    server = TlsServer(
        host=parts.hostname,
        port=parts.port or 443,
        name=target.get("tls_name") or parts.hostname,
        ca_path=target.get("ca_path"),
        client_certificate=_client_certificate(target),
    )
    return look_at_tls(server, min_version=expected.get("tls_min_version"), deadline=deadline)


def _allow(session: BoundedSession, target: Options) -> frozenset[str]:
    """The methods in the Allow header, which OPTIONS has when it is answered and also when it is refused by 405."""
    if "allowed_methods" not in target["expected"]:
        raise CannotObserve("the methods were not asked for")
    answer = _tried(session, target, "OPTIONS", secret=True)
    allow = answer.headers.get("allow")
    if allow is None:
        raise CannotObserve(f"the server names no methods: its answer to OPTIONS ({answer.status_code}) has no Allow")
    return frozenset(method.strip().upper() for method in allow.split(",") if method.strip())


def _method_statuses(session: BoundedSession, target: Options) -> dict[str, Known[int]]:
    """What each safe method is answered. TRACE echoes what it is sent, so no secret is."""
    return {
        method: attempt(partial(_status, session, target, method))
        for method in target["expected"].get("refused_methods", [])
    }


def _status(session: BoundedSession, target: Options, method: str) -> int:
    return _tried(session, target, method, secret=False).status_code


def _tried(session: BoundedSession, target: Options, method: str, *, secret: bool) -> requests.Response:
    request = requests.Request(method, target["address"], headers=_headers(target, secret=secret))
    return session.send(session.prepare_request(request))


def attempt(look: Callable[[], T]) -> Known[T]:
    """A part of an observation, or why it could not be seen."""
    try:
        return look()
    except CannotObserve as reason:
        return reason


# --- evidence --------------------------------------------------------------------------------------------------------


def recorded(answer: requests.Response, target: Options) -> dict[str, Any]:
    """The whole answer as evidence: masked, and not more of its body than a report can hold."""
    masker = Masker(all_parts(_headers({"secret_headers": target.get("secret_headers")}, secret=True).values()))
    return {
        "url": masker.mask(answer.url),
        "status": answer.status_code,
        "headers": masker.mask(dict(answer.headers)),
        "body": cut_and_masked(_readable(answer), masker),
        "body_bytes": len(answer.content),
    }


def _readable(answer: requests.Response) -> str:
    try:
        return answer.content.decode(answer.encoding or "utf-8", "replace")
    except LookupError:
        return answer.content.decode("utf-8", "replace")


def cut_and_masked(text: str, masker: Masker, *, most: int = MAX_RECORDED_CHARACTERS) -> str:
    """The beginning of ``text`` without credentials, and without half of one at its end."""
    if len(text) <= most:
        return masker.text(text)
    masked = masker.text(text[: most + MASKED_BEYOND_CHARACTERS])
    return f"{masked[: min(most, max(0, len(masked) - MASKED_BEYOND_CHARACTERS))]}... ({len(text)} characters)"
