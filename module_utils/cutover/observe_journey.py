# SPDX-License-Identifier: GPL-3.0-or-later
"""Walk a journey through an application, with requests and jmespath: step after step, and clean up whatever happens."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any

import jmespath
import jmespath.exceptions
import jmespath.functions
import requests
from requests.cookies import RequestsCookieJar

from .checks import CannotObserve, ExpectationError, Known
from .credentials import all_parts
from .journey_names import FILE, filled, filled_header, filled_path
from .judge_endpoint import SHOWN_CHARACTERS, EndpointObservation
from .judge_journey import (
    Answer,
    FilesSeen,
    Walk,
    captured_value,
    is_good,
    is_usable,
    listed_files,
    without_files,
)
from .judge_journey_plan import SLACK_S, Identity, Journey, Secret, Step
from .masking import Masker
from .observe_endpoint import attempt, cut_and_masked
from .observe_http import BoundedSession, explained
from .pool import Deadline, Limits, look_at_all
from .ticks import ticks

Options = Mapping[str, Any]

MAX_ANSWER_BYTES = 10 * 1024 * 1024
MAX_FILES = 1000
MAX_RECORDED_CHARACTERS = 16 * 1024
# Shorter cookies say in which language or with how many rows a page is wanted.
SHORTEST_SECRET_COOKIE = 16
NOT_IN_CHECK_MODE = "step {step} is not sent in check mode, because it may change something: walk without --check"


# --- expressions -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def compiled(expression: str) -> Any:
    """The JMESPath expression; raises ``ExpectationError`` for one that is none, or that calls an unknown function."""
    try:
        parsed = jmespath.compile(expression)
    except jmespath.exceptions.JMESPathError as wrong:
        cause = str(wrong).replace("\n", " ").strip()
        raise ExpectationError(f"{expression!r} is not a JMESPath expression: {cause}") from wrong
    for name in _functions(parsed.parsed):
        if name not in jmespath.functions.Functions.FUNCTION_TABLE:
            raise ExpectationError(f"{expression!r} calls {name}(), and JMESPath has no such function")
    return parsed


def _functions(node: Any) -> list[str]:
    here = [node["value"]] if node["type"] == "function_expression" else []
    children = [child for child in node.get("children", []) if isinstance(child, dict)]
    return here + [name for child in children for name in _functions(child)]


def found(expression: str, seen: EndpointObservation) -> Any:
    """What the expression finds in a JSON answer; raises ``CannotObserve`` where it cannot be asked."""
    try:
        return compiled(expression).search(seen.document)
    except jmespath.exceptions.JMESPathError as reason:
        raise CannotObserve(
            f"{expression} cannot be asked of this answer: {type(reason).__name__.removesuffix('Error')}. "
            "A value has another type than the function takes"
        ) from reason
    except RecursionError as deep:
        raise CannotObserve("the body is JSON nested too deeply to be read") from deep


# --- the walk --------------------------------------------------------------------------------------------------------


def new_run() -> str:
    """A mark that no other walk has; it sorts by time."""
    return f"{datetime.now(UTC):%Y%m%d%H%M%S}-{secrets.token_hex(4)}"


def look_at_journey(
    target: Options,
    deadline: Deadline,
    *,
    check_mode: bool = False,
    note_change: Callable[[str], None] = lambda name: None,
    mark: Callable[[], str] = new_run,
) -> Walk:
    """Walk ``target["expected"]["journey"]``. The deadline is that of all, the clean-up's share of it included.

    ``note_change(journey)`` is called before a step is sent that may change something; in check mode none is sent.
    Raises ``CannotObserve`` when there is not even an answer to the first step.
    """
    walker = _Walker(target, deadline, check_mode=check_mode, note_change=note_change, run=mark())
    try:
        walker.learn_secrets()
        return walker.walk()
    except CannotObserve as reason:
        raise CannotObserve(walker.masker().text(str(reason))) from None
    except Exception as defect:  # noqa: BLE001 - what a library says may hold what it was given
        raise CannotObserve(walker.masker().text(f"{type(defect).__name__}: {defect}")) from None


class _Walker:
    def __init__(
        self,
        target: Options,
        deadline: Deadline,
        *,
        check_mode: bool,
        note_change: Callable[[str], None],
        run: str,
    ) -> None:
        self._target, self._deadline, self._check_mode, self._note_change = target, deadline, check_mode, note_change
        self._journey: Journey = target["expected"]["journey"]
        self._run = run
        self._values: dict[str, Any] = {**self._journey.values, "run": run, "now": _now()}
        self._tokens: dict[str, str] = {}
        self._hidden: set[str] = set()
        self._jars: dict[str, RequestsCookieJar] = {}
        self._answers: dict[str, Known[Answer]] = {}
        self._records: list[dict[str, Any]] = []
        self._sent = 0

    def masker(self) -> Masker:
        """Hides every secret that has been learnt so far."""
        return Masker(all_parts(self._hidden))

    # --- secrets ---

    def learn_secrets(self) -> None:
        """The values of all secrets that the journey needs. One that is missing keeps everything from being sent."""
        needed = self._journey.secrets_needed()
        by_value = {secret.name: _given(secret) for secret in needed if secret.value is not None}
        self._hidden |= set(by_value.values())
        for name, value in (by_value | self._from_vault(needed)).items():
            self._hidden.add(value)
            kept = self._values if name in self._journey.secrets else self._tokens
            kept[name] = value

    def _from_vault(self, needed: list[Secret]) -> dict[str, str]:
        wanted = {
            secret.name: (secret.vault_path, str(secret.vault_key), secret.vault_versions_back)
            for secret in needed
            if secret.value is None and secret.vault_path
        }
        if not wanted:
            return {}
        from .observe_vault_values import read_values

        vault = self._journey.vault or {}
        self._hidden |= {str(vault[name]) for name in ("token", "role_id", "secret_id") if vault.get(name)}
        try:
            return read_values(vault, wanted, self._deadline)
        except CannotObserve as reason:
            raise CannotObserve(f"nothing was sent: {', '.join(wanted)} could not be read. {reason}") from reason

    # --- steps ---

    def walk(self) -> Walk:
        """Send the steps until one is not as expected; then, whatever happened, the clean-up steps."""
        until = Deadline(self._deadline.at - self._journey.cleanup_s() - SLACK_S, self._deadline.clock)
        try:
            self._take_all(until)
        finally:
            self._clean_up()
        first = self._answers[self._journey.steps[0].name]
        if isinstance(first, CannotObserve):
            raise first
        return self._walked()

    def _take_all(self, until: Deadline) -> None:
        for step in self._journey.steps:
            if not self._take(step, until):
                return

    def _clean_up(self) -> None:
        """Each clean-up step whose values are there, each with its share of the time that is left."""
        steps = [step for step in self._journey.cleanup if self._sent]
        end = self._deadline.at_most(self._journey.cleanup_s())
        for position, step in enumerate(steps):
            if step.names() <= self._values.keys():
                left_s = max(0.0, end.at - end.clock())
                self._take(step, end.at_most(step.wait_s + left_s / (len(steps) - position)))

    def _take(self, step: Step, until: Deadline) -> bool:
        """Send a step, judge it, and keep what it captures; whether the journey may go on."""
        began, at = self._deadline.clock(), _now()
        answer = attempt(lambda: self._answer(step, until))
        good = is_good(step, answer)
        self._answers[step.name] = answer
        if not isinstance(answer, CannotObserve):
            self._capture(step, answer)
        took_ms = round((self._deadline.clock() - began) * 1000)
        self._records.append(_record(step, answer, at=at, took_ms=took_ms, whole=step.record or not good))
        return good

    def _answer(self, step: Step, until: Deadline) -> Answer:
        if self._check_mode and step.changes:
            raise CannotObserve(NOT_IN_CHECK_MODE.format(step=step.name))
        answer = self._awaited(step, until) if step.wait_s else self._once(step, until)
        if step.files and is_good(without_files(step), answer):
            return replace(answer, files=attempt(lambda: self._files(step, answer, until)))
        return answer

    def _awaited(self, step: Step, until: Deadline) -> Answer:
        """Ask until everything expected holds, or the time is up; the last answer."""
        last: Known[Answer] = CannotObserve("it was never asked")
        for _ in ticks(total_s=min(step.wait_s, until.left_s()), every_s=step.every_s, clock=until.clock):
            last = attempt(lambda: self._once(step, until.at_most(step.wait_s)))
            if is_good(without_files(step), last):
                break
        if isinstance(last, CannotObserve):
            raise last
        return last

    def _once(self, step: Step, until: Deadline) -> Answer:
        names = dict(self._values)
        request = requests.Request(
            step.method,
            self._journey.address + filled_path(step.path, names),
            headers={name: filled_header(name, value, names) for name, value in step.headers.items()},
            json=filled(step.json, names),
            data=filled(step.form, names),
        )
        if step.changes:
            self._note_change(self._journey.name)
        seen = self._send(request, step.identity, until)
        return Answer(
            seen=seen,
            sha256=hashlib.sha256(seen.body).hexdigest(),
            values={expression: attempt(partial(found, expression, seen)) for expression in step.expressions()},
            names=names,
            hide=lambda value: value,
        )

    def _send(self, request: requests.Request, identity: Identity | None, until: Deadline) -> EndpointObservation:
        """One request, and not a moment longer than ``until``.

        A client's time limit is one between two bytes. So that a server which sends a header without end cannot use up
        the time for cleaning up, the request has a thread of its own, which is left behind when it is overdue.
        """
        left_s = until.left_s()
        limits = Limits(timeout_s=left_s, total_timeout_s=left_s, workers=1)
        (outcome,) = look_at_all([request], lambda it, _: self._exchange(it, identity, until), limits=limits)
        if isinstance(outcome.observation, CannotObserve):
            raise outcome.observation
        return outcome.observation

    def _exchange(self, request: requests.Request, identity: Identity | None, until: Deadline) -> EndpointObservation:
        """One request over a connection of its own: one that is kept may be closed by the server at any moment."""
        target = self._target
        with BoundedSession(
            until, ca_path=target.get("ca_path"), tls_name=target.get("tls_name"), max_body_bytes=MAX_ANSWER_BYTES
        ) as session:
            if identity:
                request.headers = {**request.headers, **self._authority(identity)}
                # Cookies are kept for each identity by itself: nobody is to be taken for somebody else.
                session.cookies = self._jars.setdefault(identity.name, RequestsCookieJar())
            prepared = explained(str(request.url), lambda: session.prepare_request(request))
            began = until.clock()
            self._sent += 1
            answer = session.send(prepared)
            answered_ms = round((until.clock() - began) * 1000)
            self._hidden |= {cookie.value or "" for cookie in session.cookies if _is_secret_cookie(cookie.value)}
        return EndpointObservation(
            observed_at=datetime.now(UTC),
            status=answer.status_code,
            headers={name.lower(): value for name, value in answer.headers.items()},
            body=answer.content,
            answered_ms=answered_ms,
        )

    def _authority(self, identity: Identity) -> dict[str, str]:
        if identity.from_value:
            token = self._values[identity.from_value]
            self._hidden.add(str(token))
        elif identity.secret:
            token = self._tokens[identity.secret.name]
        else:
            return {}
        text = f"{identity.scheme} {token}" if identity.scheme else token
        return {identity.header: filled_header(identity.header, "{it}", {"it": text})}

    def _files(self, step: Step, answer: Answer, until: Deadline) -> FilesSeen:
        """Download every file that the answer lists, and compute its SHA-256 anew."""
        assert step.files is not None
        value = answer.values[step.files.listed]
        if isinstance(value, CannotObserve):
            raise value
        listed = listed_files(value)
        if len(listed) > MAX_FILES:
            raise CannotObserve(f"{len(listed)} files are listed: more than {MAX_FILES} are not downloaded")
        missing, mismatches = [], []
        for name, sha256 in listed.items():
            path = filled_path(step.files.path, {**answer.names, FILE: name})
            seen = self._send(requests.Request("GET", self._journey.address + path), step.identity, until)
            if seen.status != 200:
                missing.append(f"{name} ({seen.status})")
            elif hashlib.sha256(seen.body).hexdigest() != sha256:
                mismatches.append(name)
        return FilesSeen(listed=len(listed), missing=tuple(missing), mismatches=tuple(mismatches))

    def _capture(self, step: Step, answer: Answer) -> None:
        for capture in step.captures:
            value = attempt(partial(captured_value, capture, answer))
            if not isinstance(value, CannotObserve) and is_usable(capture, value):
                self._values[capture.name] = value
                if capture.secret:
                    self._hidden.add(value)

    # --- what is left of it ---

    def _walked(self) -> Walk:
        """The walk, of which nothing can be shown any more that is a secret, however late it became known as one."""
        masker = self.masker()

        def hide(value: Any) -> Any:
            text = value if isinstance(value, str) else json.dumps(value)
            return (
                masker.mask(value)
                if len(text) <= SHOWN_CHARACTERS
                else cut_and_masked(text, masker, most=SHOWN_CHARACTERS)
            )

        answers: dict[str, Known[Answer]] = {}
        for name, answer in self._answers.items():
            if isinstance(answer, CannotObserve):
                answers[name] = CannotObserve(masker.text(str(answer)))
                continue
            files = answer.files
            if isinstance(files, CannotObserve):
                files = CannotObserve(masker.text(str(files)))
            answers[name] = replace(answer, hide=hide, files=files)
        steps = (*self._journey.steps, *self._journey.cleanup)
        return Walk(
            answers=answers,
            recorded={
                "run": self._run,
                "status": f"{len(self._records)} of {len(steps)} steps were reached",
                "steps": [_shown(record, masker) for record in self._records],
            },
        )


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _given(secret: Secret) -> str:
    """An empty secret is a missing one: what is refused for lack of it proves nothing."""
    if not secret.value:
        raise CannotObserve(f"nothing was sent: {secret.name} is empty. Is it set where it comes from?")
    return secret.value


def _is_secret_cookie(value: str | None) -> bool:
    return value is not None and len(value) >= SHORTEST_SECRET_COOKIE


# --- evidence --------------------------------------------------------------------------------------------------------


def _record(step: Step, answer: Known[Answer], *, at: str, took_ms: int, whole: bool) -> dict[str, Any]:
    """What is kept of a step: when it was, who asked what, and what came of it; the answer itself where it matters."""
    record: dict[str, Any] = {
        "step": step.name,
        "at": at,
        "as": step.identity.name if step.identity else None,
        "request": f"{step.method} {step.path}",
        "took_ms": took_ms,
    }
    if isinstance(answer, CannotObserve):
        return record | {"cause": str(answer)}
    record |= {"status": answer.seen.status, "answered_ms": answer.seen.answered_ms}
    return record | {"answer": answer.seen} if whole else record


def _shown(record: Mapping[str, Any], masker: Masker) -> dict[str, Any]:
    """A record without secrets, and of an answer's body no more than a report can hold."""
    seen = record.get("answer")
    plain: dict[str, Any] = masker.mask({name: value for name, value in record.items() if name != "answer"})
    if not isinstance(seen, EndpointObservation):
        return plain
    body = seen.body[: 4 * MAX_RECORDED_CHARACTERS].decode("utf-8", "replace")
    return plain | {
        "headers": masker.mask(dict(seen.headers)),
        "body": cut_and_masked(body, masker, most=MAX_RECORDED_CHARACTERS),
        "body_bytes": len(seen.body),
    }
