# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made of a PostgreSQL server's answers, where no server of ours can be brought to give them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cutover.checks import CannotObserve, ExpectationError, Known, judge
from cutover.judge_postgres import (
    Connections,
    Extension,
    LoginAnswer,
    Logins,
    PostgresObservation,
    Replication,
    Session,
    migration_name,
    postgres_checks,
    quoted,
)
from cutover.verdict import Finding
from hypothesis import given
from hypothesis import strategies as st

SESSION = Session(version="15.18 (Debian)", encoding="UTF8", standby=False, superuser=False, tls="TLSv1.3")
SEEN = PostgresObservation(session=SESSION)

LET_IN = LoginAnswer(let_in=True, asked_for_password=False)
WRONG = LoginAnswer(let_in=False, asked_for_password=True, words='password authentication failed for user "x"')
# PostgreSQL and its clients speak the language of their installation.
FALSCH = replace(WRONG, words="Passwort-Authentifizierung für Benutzer »x« fehlgeschlagen")
NO_DATABASE = replace(WRONG, words='database "shop" does not exist')
NO_RULE = LoginAnswer(let_in=False, asked_for_password=False, words='no pg_hba.conf entry for host "10.0.0.1"')
KEIN_EINTRAG = replace(NO_RULE, words="kein pg_hba.conf-Eintrag für Host »10.0.0.1«")
TOO_MANY = LoginAnswer(let_in=False, asked_for_password=False, words="sorry, too many clients already")
SILENCE = CannotObserve("no answer within 1.0 s")


def finding(expected: dict[str, Any], seen: PostgresObservation, check: str) -> Finding:
    found = judge(postgres_checks(expected), seen, reachable_remedy="start it")
    return next(each for each in found if each.check == check)


@pytest.mark.parametrize(
    ("answer", "at_random", "status"),
    [
        pytest.param(WRONG, WRONG, "pass", id="refused as any other password"),
        pytest.param(FALSCH, FALSCH, "pass", id="refused in another language"),
        pytest.param(LET_IN, WRONG, "fail", id="let in"),
        pytest.param(LET_IN, SILENCE, "fail", id="let in, and nothing to compare with"),
        pytest.param(NO_DATABASE, WRONG, "fail", id="the right password of a database that is not there"),
        pytest.param(NO_RULE, NO_RULE, "pass", id="no rule admits this role"),
        pytest.param(KEIN_EINTRAG, KEIN_EINTRAG, "pass", id="no rule admits this role, in another language"),
        pytest.param(TOO_MANY, TOO_MANY, "error", id="too many clients say nothing of a password"),
        pytest.param(WRONG, TOO_MANY, "error", id="nothing to compare with"),
        pytest.param(WRONG, LET_IN, "error", id="a random password was let in"),
        pytest.param(WRONG, SILENCE, "error", id="no answer to a random password"),
        pytest.param(SILENCE, WRONG, "error", id="no answer to the known one"),
    ],
)
def test_a_known_password_is_refused_only_if_the_server_says_so(
    answer: Known[LoginAnswer], at_random: Known[LoginAnswer], status: str
) -> None:
    logins = {"x": Logins(without_password=WRONG, random_password=at_random, default_passwords=(answer,))}
    found = finding({"default_passwords": {"x": ["x"]}}, replace(SEEN, logins=logins), "default_password.x")
    assert found.status.value == status


def test_a_password_that_was_not_tried_is_no_refused_one() -> None:
    logins = {"x": Logins(without_password=WRONG, random_password=WRONG, default_passwords=(WRONG,))}
    found = finding({"default_passwords": {"x": ["x", "y"]}}, replace(SEEN, logins=logins), "default_password.x")
    assert found.cause == "only 1 of 2 passwords were tried"


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        pytest.param([WRONG, FALSCH], "pass", id="asked for a password"),
        pytest.param([WRONG, NO_RULE], "pass", id="no rule admits one of them"),
        pytest.param([WRONG, LET_IN], "fail", id="one is let in"),
        pytest.param([SILENCE, LET_IN], "fail", id="one is let in, whatever became of the other"),
        pytest.param([WRONG, TOO_MANY], "error", id="too many clients"),
        pytest.param([WRONG, SILENCE], "error", id="no answer"),
    ],
)
def test_access_without_a_password_is_refused_only_if_the_server_says_so(
    answers: list[Known[LoginAnswer]], status: str
) -> None:
    logins = {f"role{number}": Logins(without_password=answer) for number, answer in enumerate(answers)}
    found = finding({"refuses_unauthenticated": True}, replace(SEEN, logins=logins), "unauthenticated")
    assert found.status.value == status


def test_where_no_password_is_needed_none_is_refused() -> None:
    logins = {"x": Logins(without_password=LET_IN, random_password=LET_IN, default_passwords=(LET_IN,))}
    expected = {"refuses_unauthenticated": True, "default_passwords": {"x": ["x"]}}
    assert finding(expected, replace(SEEN, logins=logins), "default_password.x").cause == "unauthenticated"


@given(words=st.text(), asked=st.booleans())
def test_no_words_of_a_server_make_an_accepted_password_pass(words: str, asked: bool) -> None:
    answer = LoginAnswer(let_in=True, asked_for_password=asked, words=words)
    logins = {"x": Logins(without_password=answer, random_password=WRONG, default_passwords=(answer, WRONG))}
    seen = replace(SEEN, logins=logins)
    assert finding({"default_passwords": {"x": ["x", "y"]}}, seen, "default_password.x").status.value == "fail"
    assert finding({"refuses_unauthenticated": True}, seen, "unauthenticated").status.value == "fail"


EVERYTHING: dict[str, Any] = {
    "min_version": "15",
    "encoding": "UTF8",
    "standby": False,
    "tls": True,
    "refuses_unauthenticated": True,
    "default_passwords": {"x": ["x"]},
    "extensions": {"pg_trgm": "1.6"},
    "settings": {"fsync": True},
    "min_free_connections": 1,
    "min_free_connections_percent": 1,
    "tables": ["users"],
    "migrations": [{"kind": "alembic", "head": "0002"}],
    "min_standbys": 1,
    "max_replication_lag_s": 1,
    "max_replication_lag_bytes": 1,
    "max_transaction_age_s": 1,
    "max_xid_age": 1,
    "max_multixact_age": 1,
    "indexes_valid": True,
}


def test_what_was_not_looked_at_never_passes() -> None:
    found = judge(postgres_checks(EVERYTHING), SEEN, reachable_remedy="start it")
    passed = {each.check for each in found if each.status.value == "pass"}
    assert passed == {"reachable", "login", "role.superuser", "version", "database.encoding", "standby", "tls"}


@pytest.mark.parametrize(("option", "value"), EVERYTHING.items())
def test_every_option_implies_a_check(option: str, value: Any) -> None:
    always = {check.name for check in postgres_checks({})}
    assert {check.name for check in postgres_checks({option: value})} > always


@pytest.mark.parametrize("option", ["refuses_unauthenticated", "indexes_valid"])
def test_false_asks_nothing_where_only_true_means_something(option: str) -> None:
    assert {check.name for check in postgres_checks({option: False})} == {"login", "role.superuser"}


@pytest.mark.parametrize(
    ("declared", "name"),
    [
        pytest.param({"kind": "alembic"}, "alembic_version", id="alembic"),
        pytest.param({"kind": "alembic", "table": "app.versions"}, "app.versions", id="alembic's table elsewhere"),
        pytest.param({"kind": "django", "app": "billing"}, "django_migrations.billing", id="one app of Django's"),
        pytest.param(
            {"kind": "sql", "app": None, "table": None}, "schema_migrations", id="nothing declared but the kind"
        ),
    ],
)
def test_a_migration_is_named_after_its_table(declared: dict[str, Any], name: str) -> None:
    assert migration_name(declared) == name


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        pytest.param({"migrations": [{"kind": "django", "head": "0001"}]}, "no app", id="Django without an app"),
        pytest.param({"migrations": [{"kind": "sql", "head": "1"}]}, "no order_by", id="no order"),
        pytest.param({"migrations": [{"kind": "sql", "order_by": "at"}]}, "no head", id="no head"),
        pytest.param({"migrations": [{"kind": "alembic", "order_by": "at"}]}, "is a head", id="heads in an order"),
        pytest.param({"settings": {"fsync": None}}, "declares no value", id="a setting without a value"),
        pytest.param({"default_passwords": {"x": []}}, "not a list", id="no password"),
        pytest.param({"default_passwords": {"x": "word"}}, "not a list", id="a text is no list"),
        pytest.param({"default_passwords": {"x": [""]}}, "not a list", id="an empty password"),
    ],
)
def test_an_expectation_that_would_compare_nothing_is_refused(expected: dict[str, Any], words: str) -> None:
    with pytest.raises(ExpectationError, match=words):
        list(postgres_checks(expected))


@pytest.mark.parametrize(
    ("extension", "version", "status"),
    [
        pytest.param(Extension(installed="1.6", available="1.6"), "1.6", "pass", id="same version"),
        pytest.param(Extension(installed="1.10", available="1.10"), "1.6", "pass", id="1.10 is after 1.6"),
        pytest.param(Extension(installed="1.5", available="1.6"), "1.6", "fail", id="older"),
        pytest.param(Extension(installed=None, available="1.6"), None, "fail", id="not created"),
        pytest.param(Extension(installed="1.6", available=None), None, "pass", id="its package was removed"),
        pytest.param(Extension(installed="next", available="next"), "1.6", "error", id="a version that is no number"),
        pytest.param(None, None, "fail", id="not available"),
    ],
)
def test_extensions(extension: Extension | None, version: str | None, status: str) -> None:
    seen = replace(SEEN, extensions={"pg_trgm": extension} if extension else {})
    assert finding({"extensions": {"pg_trgm": version}}, seen, "extension.pg_trgm").status.value == status


@pytest.mark.parametrize(
    ("connections", "free", "percent"),
    [
        pytest.param(Connections(usable=100, in_use=25), 75, 75.0, id="some"),
        pytest.param(Connections(usable=97, in_use=98), -1, -1.0, id="superusers have the reserved ones"),
        pytest.param(Connections(usable=0, in_use=1), -1, 0.0, id="all are reserved"),
    ],
)
def test_headroom(connections: Connections, free: int, percent: float) -> None:
    assert (connections.free, connections.free_percent) == (free, percent)


def test_a_delay_that_nobody_can_tell_is_no_delay_of_zero() -> None:
    seen = replace(SEEN, replication=Replication(standbys=0, lag_s=None, lag_bytes=None))
    assert finding({"max_replication_lag_s": 5}, seen, "replication.lag_s").status.value == "error"
    assert finding({"max_replication_lag_bytes": 5}, seen, "replication.lag_bytes").status.value == "error"


@given(st.text())
def test_an_identifier_in_a_remedy_cannot_end_its_quotes(name: str) -> None:
    inner = quoted(name)[1:-1]
    assert inner.replace('""', "").count('"') == 0
    assert inner.replace('""', '"') == name
