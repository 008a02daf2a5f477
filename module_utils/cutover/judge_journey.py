# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true of a journey through an application (checklist rows A2, A3, C18, D5.1, D5.2).

A journey ends at the first finding that does not pass: all later ones are skipped because of it. Clean-up steps are
judged for themselves, because they run whatever happened before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from .checks import CannotObserve, Check, Known, judge, known
from .journey_names import filled, names_in
from .judge_endpoint import EndpointObservation, same_json
from .judge_journey_plan import CLEANUP, Capture, Journey, Rule, Step, compiled_pattern
from .masking import MASK, is_sensitive

NEVER_SENT = CannotObserve("this step was never sent")
NOT_ASKED = CannotObserve("this was not asked for")
LONGEST_SECRET = 16 * 1024
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class FilesSeen:
    """What became of the files that an answer lists: which are not there, and which are not what was listed."""

    listed: int
    missing: tuple[str, ...]
    mismatches: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back for one step.

    ``values`` is what each expression found in the body. ``names`` are the values that could be used in the step, by
    their names. ``hide`` makes of a value that which may be shown.
    """

    seen: EndpointObservation
    sha256: str
    values: Mapping[str, Known[Any]]
    names: Mapping[str, Any]
    hide: Callable[[Any], Any]
    files: Known[FilesSeen] = NOT_ASKED


@dataclass(frozen=True, kw_only=True)
class Walk:
    """A journey as it went. A step that was not sent has no answer, or the reason why."""

    answers: Mapping[str, Known[Answer]]
    recorded: Mapping[str, Any] = field(default_factory=dict)

    def answer(self, step: str) -> Answer:
        """The answer to a step; raises ``CannotObserve`` where there is none."""
        return known(self.answers.get(step, NEVER_SENT))


@dataclass(frozen=True, kw_only=True)
class Sides:
    """What a check is about, and what it is held against. ``named`` are the values that the expectation names."""

    observed: Any
    wanted: Any
    hide: Callable[[Any], Any]
    named: Mapping[str, Any] = field(default_factory=dict)

    def show(self) -> Any:
        """What was observed; where values that were captured stand on the other side, these too."""
        shown = self.hide(self.observed)
        if not self.named or same_json(self.observed, self.wanted):
            return shown
        said = ", ".join(f"{{{name}}} is {json.dumps(self.hide(value))}" for name, value in sorted(self.named.items()))
        return f"{json.dumps(shown)}, where {said}"


JourneyCheck = Check[Walk]
AnswerCheck = Check[Answer]


def journey_checks(journey: Journey) -> Iterator[JourneyCheck]:
    """Every check that a journey implies: of each step in turn, then of each clean-up step."""
    captured: dict[str, str] = {}
    last: str | None = None
    for step in journey.steps:
        for check in step_checks(step):
            name = f"{step.name}.{check.name}"
            yield _of_walk(check, step, name, needs=last)
            last = name
        captured |= {capture.name: f"{step.name}.capture.{capture.name}" for capture in step.captures}
    for step in journey.cleanup:
        # Where the value was never captured there is nothing to clean up, or nobody knows what.
        needed = [name for name in captured if name in step.names()]
        last = captured[needed[-1]] if needed else None
        for check in step_checks(step):
            name = f"{CLEANUP}.{step.name}.{check.name}"
            yield _of_walk(check, step, name, needs=last)
            last = name
        captured |= {capture.name: f"{CLEANUP}.{step.name}.capture.{capture.name}" for capture in step.captures}


def _of_walk(check: AnswerCheck, step: Step, name: str, *, needs: str | None) -> JourneyCheck:
    look = check.look
    return Check(
        name=name,
        expected=check.expected,
        look=lambda walk: look(walk.answer(step.name)),
        holds=check.holds,
        show=check.show,
        needs=needs,
        remedy=check.remedy,
    )


def is_good(step: Step, answer: Known[Answer]) -> bool:
    """Whether all that is expected of a step's answer holds, so that the journey goes on."""
    return all(finding.ok for finding in judge(step_checks(step), answer, reachable_remedy=""))


def without_files(step: Step) -> Step:
    """The step without the files that its answer lists: these are fetched when all else is good."""
    return replace(step, files=None)


# --- one step --------------------------------------------------------------------------------------------------------


def step_checks(step: Step) -> Iterator[AnswerCheck]:
    """Every check that one step implies; the first is always the status."""
    yield Check(
        name="status",
        expected=step.statuses[0] if len(step.statuses) == 1 else list(step.statuses),
        look=lambda answer: answer.seen.status,
        holds=lambda status: status in step.statuses,
        remedy="read what it answered (in the evidence), and the application's log for that moment",
    )
    # Before the rest: what was made has to be cleaned up, also when it is not as it should be.
    for capture in step.captures:
        yield _capture_check(capture)
    for name, rule in sorted(step.response_headers.items()):
        yield _rule_check(
            f"header.{name}",
            rule,
            partial(_header, name),
            remedy=f"let the application, or the proxy before it, send {name} as declared",
            hidden=is_sensitive(name),
        )
    if step.text is not None:
        yield _rule_check(
            "text", Rule(kind="matches", value=step.text), lambda answer: answer.seen.text, remedy=ANOTHER_ANSWER
        )
    for expression, rule in step.body.items():
        yield _rule_check(
            f"body.{expression}",
            rule,
            partial(_value, expression),
            remedy=ANOTHER_ANSWER,
            hidden=is_sensitive(expression),
        )
    if step.sha256 is not None:
        yield _rule_check(
            "sha256",
            Rule(kind="equals", value=step.sha256),
            lambda answer: answer.sha256,
            remedy="what was downloaded is not what was announced: find out who changed it, and when",
        )
    if step.files:
        yield from _file_checks()
    if step.max_ms is not None:
        yield _time_check(step.max_ms)


ANOTHER_ANSWER = (
    "the application does another thing than declared: a defect in it, or an expectation that is out of date"
)


def _header(name: str, answer: Answer) -> str | None:
    return answer.seen.headers.get(name)


def _value(expression: str, answer: Answer) -> Any:
    return known(answer.values[expression])


def _rule_check(
    name: str, rule: Rule, look: Callable[[Answer], Any], *, remedy: str, hidden: bool = False
) -> AnswerCheck:
    """A check of one value by a rule; ``hidden`` values are compared, and not shown."""
    used = names_in(rule.value)

    def sides(answer: Answer) -> Sides:
        return Sides(
            observed=look(answer),
            wanted=_wanted(rule, answer),
            hide=_hide_all if hidden else answer.hide,
            named={name: answer.names[name] for name in used if name in answer.names},
        )

    return Check(
        name=name,
        expected=_described(rule),
        look=sides,
        holds=lambda two: _follows(rule, two.observed, two.wanted),
        show=Sides.show,
        remedy=remedy,
    )


def _described(rule: Rule) -> Any:
    words = {"matches": f"matches {rule.value}", "at_least": f">= {rule.value}", "at_most": f"<= {rule.value}"}
    present = "a value" if rule.value else "none"
    return words.get(rule.kind, present if rule.kind == "present" else rule.value)


def _wanted(rule: Rule, answer: Answer) -> Any:
    if rule.kind == "matches":
        return compiled_pattern(rule.value, "the expectation", answer.names)
    return filled(rule.value, answer.names)


def _follows(rule: Rule, observed: Any, wanted: Any) -> bool:
    if rule.kind == "present":
        return (observed is not None) is wanted
    if rule.kind == "matches":
        return isinstance(observed, str) and bool(wanted.search(observed))
    if rule.kind in ("at_least", "at_most"):
        if isinstance(observed, bool) or not isinstance(observed, (int, float)):
            return False
        return bool(observed >= wanted if rule.kind == "at_least" else observed <= wanted)
    return same_json(observed, wanted)


def _hide_all(value: Any) -> Any:
    return value if value is None or isinstance(value, bool) else MASK


def _capture_check(capture: Capture) -> AnswerCheck:
    """A value that is to be used must be there; null and an empty text are none."""

    def sides(answer: Answer) -> Sides:
        value = captured_value(capture, answer)
        return Sides(observed=value, wanted=None, hide=_hide_all if capture.secret else answer.hide)

    return Check(
        name=f"capture.{capture.name}",
        expected="a value",
        look=sides,
        holds=lambda two: is_usable(capture, two.observed),
        show=Sides.show,
        remedy="see where the answer has this value now, and correct the expression",
    )


def captured_value(capture: Capture, answer: Answer) -> Any:
    """What an answer holds for a name; raises ``CannotObserve`` where it could not be looked at."""
    return answer.seen.headers.get(str(capture.header)) if capture.body is None else known(answer.values[capture.body])


def is_usable(capture: Capture, value: Any) -> bool:
    """Whether a value can be used by its name. A secret is a text, so that it can be recognised, and hidden."""
    if capture.secret:
        return isinstance(value, str) and 0 < len(value) <= LONGEST_SECRET
    return value not in (None, "")


def _time_check(max_ms: float) -> AnswerCheck:
    return Check(
        name="time_ms",
        expected=f"<= {max_ms:g}",
        look=lambda answer: answer.seen.answered_ms,
        holds=lambda answered_ms: answered_ms <= max_ms,
        remedy="find what it waits for: the database's slow log and the application's traces for that moment",
    )


# --- files and their checksums ---------------------------------------------------------------------------------------


def _file_checks() -> Iterator[AnswerCheck]:
    yield Check(
        name="files.listed",
        expected="at least one file, each with its SHA-256",
        look=lambda answer: known(answer.files).listed,
        holds=lambda listed: listed > 0,
        remedy="see what the answer lists, and whether files.listed finds names and checksums in it",
    )
    for name, remedy in (
        ("missing", "find out where these files went: what is listed cannot be downloaded"),
        ("mismatches", "these files are not what their checksums say: find out who changed them, and when"),
    ):
        yield Check(
            name=f"files.{name}",
            expected=[],
            look=partial(_files, name),
            holds=lambda two: two.observed == [],
            show=Sides.show,
            remedy=remedy,
        )


def _files(name: str, answer: Answer) -> Sides:
    return Sides(observed=list(getattr(known(answer.files), name)), wanted=[], hide=answer.hide)


def listed_files(found: Any) -> dict[str, str]:
    """Names and checksums: of an object ``{name: sha256}``, or of a list of pairs ``[name, sha256]``.

    Raises ``CannotObserve`` for another shape, a checksum that is none, and a name that is listed twice.
    """
    pairs = list(found.items()) if isinstance(found, Mapping) else found
    if not isinstance(pairs, list):
        raise CannotObserve("files.listed found neither an object nor a list in the answer")
    files: dict[str, str] = {}
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise CannotObserve("files.listed found something else than names, each with a checksum")
        name, checksum = pair
        if name in files or not name or not SHA256.fullmatch(checksum.lower()):
            raise CannotObserve(f"{name[:200]!r} is listed twice, or not with a SHA-256 of 64 hexadecimal digits")
        files[name] = checksum.lower()
    return files
