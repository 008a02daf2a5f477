# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true of an S3 object storage (checklist rows C5, C12)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .checks import CannotObserve, Check, Known, known

NOT_TRIED = CannotObserve("this was not tried")

# The answer to a signature that was never looked at says nothing about its owner.
NOT_EVALUATED = frozenset({"RequestTimeTooSkewed", "RequestExpired", "AuthorizationHeaderMalformed"})
REFUSALS = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})


@dataclass(frozen=True)
class Answer:
    """What a request was answered: the HTTP status, and S3's own word for an error."""

    status: int
    code: str = ""

    def __str__(self) -> str:
        return f"{self.status} {self.code}".strip()


@dataclass(frozen=True, kw_only=True)
class ObjectstoreObservation:
    """Everything seen of one object storage. ``default_credentials`` are answers by what was tried."""

    anonymous: Answer
    login: Known[Answer] = NOT_TRIED
    buckets: Mapping[str, Known[Answer]] = field(default_factory=dict)
    anonymous_buckets: Mapping[str, Known[Answer]] = field(default_factory=dict)
    default_credentials: Mapping[str, Known[Answer]] = field(default_factory=dict)


ObjectstoreCheck = Check[ObjectstoreObservation]


def objectstore_checks(expected: Mapping[str, Any]) -> Iterator[ObjectstoreCheck]:
    """Every check that ``expected`` implies; the keys are those of objectstore_check's ``expected`` option.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
    """
    buckets = expected.get("buckets", [])
    if expected.get("anonymous_refused"):
        yield from _anonymous_checks(buckets)
    if expected.get("default_credentials_refused"):
        yield Check(
            name="default_credentials",
            expected="refused",
            look=_accepted_default_credentials,
            holds=lambda accepted: accepted == "refused",
            remedy="give the server's administrator credentials of its own, and restart it",
        )
    if expected.get("login") or buckets:
        yield Check(
            name="login",
            expected="accepted",
            look=_login,
            remedy="give the access key and secret key that this server knows; see its clock and region, too",
        )
    for bucket in buckets:
        yield Check(
            name=f"bucket.{bucket}",
            expected="there",
            look=partial(_bucket, bucket),
            needs="login",
            remedy=f"create the bucket {bucket}, with a policy that lets this access key use it",
        )


def _anonymous_checks(buckets: list[str]) -> Iterator[ObjectstoreCheck]:
    yield Check(
        name="anonymous",
        expected="refused",
        look=_anonymous,
        remedy="let the server demand a signature for every request",
    )
    for bucket in buckets:
        yield Check(
            name=f"bucket.{bucket}.anonymous",
            expected="refused",
            look=partial(_anonymous_bucket, bucket),
            remedy=f"take the public policy off the bucket {bucket}",
        )


def is_granted(answer: Answer) -> bool:
    """Whether a request was done or refused; raises ``CannotObserve`` when the answer is neither."""
    if 200 <= answer.status < 300:
        return True
    if answer.code not in NOT_EVALUATED and (answer.status in (401, 403) or answer.code in REFUSALS):
        return False
    raise CannotObserve(f"the server answered {answer}, which is neither yes nor no")


def _anonymous(seen: ObjectstoreObservation) -> str:
    # AWS sends a nameless visitor to its advertisement, and lists nothing.
    return "refused" if seen.anonymous.status == 307 else _said(seen.anonymous)


def _anonymous_bucket(bucket: str, seen: ObjectstoreObservation) -> str:
    answer = known(seen.anonymous_buckets[bucket])
    # To be told that it is not there is not to be told what is in it.
    return "refused" if answer.status == 404 else _said(answer)


def _said(answer: Answer) -> str:
    return "granted" if is_granted(answer) else "refused"


def _accepted_default_credentials(seen: ObjectstoreObservation) -> str | list[str]:
    accepted = [name for name, answer in seen.default_credentials.items() if is_granted(known(answer))]
    if not seen.default_credentials:
        raise CannotObserve("no default credentials were tried")
    return accepted or "refused"


def _login(seen: ObjectstoreObservation) -> str:
    """Accepted when any signed request was: a key for one bucket may be forbidden to list them all."""
    answers = [known(answer) for answer in (seen.login, *seen.buckets.values())]
    if any(answer.status == 404 or 200 <= answer.status < 300 for answer in answers):
        return "accepted"
    for answer in answers:
        is_granted(answer)
    return f"refused: {', '.join(sorted({str(answer) for answer in answers}))}"


def _bucket(bucket: str, seen: ObjectstoreObservation) -> str:
    answer = known(seen.buckets[bucket])
    if answer.status == 404:
        return "not there"
    return "there" if is_granted(answer) else "refused to this access key"
