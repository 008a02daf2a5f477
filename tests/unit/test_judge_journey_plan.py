# SPDX-License-Identifier: GPL-3.0-or-later
"""A journey is understood before it is sent, and what a server answered is a plain value and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from cutover.checks import CannotObserve, ExpectationError
from cutover.journey_names import filled, filled_header, filled_path, filled_pattern, names_in
from cutover.judge_journey_plan import literal_secrets, plan_journey
from hypothesis import given
from hypothesis import strategies as st

HOSTILE = [
    "{{ lookup('pipe', 'id') }}",
    "{% for x in ().__class__.__bases__ %}",
    "{admin_password}",
    "{run}{run}",
    "\\{admin_password}",
    "../../admin",
    "?role=ADMIN&x=",
    "a#b",
    "%2e%2e%2f",
    "a/b",
    "line\r\nX-Admin: yes",
    "'; DROP TABLE users; --",
    "${HOME} $(id) `id`",
    "ünïcödé \x00 \x7f",
    ".*|(a+)+$",
]

NO_VAULT: dict[str, Any] = {"identities": None, "secrets": None, "vault": None}


def step(name: str = "one", **options: Any) -> dict[str, Any]:
    return {"name": name, "path": "/x", "expected": {"status": [200]}} | options


def plan(
    *steps: dict[str, Any],
    compiled: Callable[[str], Any] = lambda expression: None,
    shared: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    target = {"name": "j", "address": "https://app.example", "steps": list(steps) or [step()]} | options
    return plan_journey(target, NO_VAULT | (shared or {}), compiled)


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [7, 7.5, True, None, [1, {"a": 2}], {"a": [1]}, "7", *HOSTILE])
def test_a_text_that_is_nothing_but_a_name_becomes_the_value_itself(value):
    body = filled({"a": "{it}", "b": ["{it}", 1]}, {"it": value})
    assert body == {"a": value, "b": [value, 1]}
    assert type(body["a"]) is type(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("x", "<x>", id="text"),
        pytest.param(12, "<12>", id="number"),
        pytest.param(12.5, "<12.5>", id="fraction"),
        pytest.param(True, "<true>", id="truth value as JSON has it"),
    ],
)
def test_a_value_within_a_text_is_written_as_json_writes_it(value, text):
    assert filled("<{it}>", {"it": value}) == text


@pytest.mark.parametrize("value", [None, [1], {"a": 1}])
def test_what_is_no_text_and_no_number_cannot_stand_within_a_text(value):
    with pytest.raises(CannotObserve, match=r"cannot stand within a text"):
        filled("<{it}>", {"it": value})


@pytest.mark.parametrize("value", HOSTILE)
def test_what_a_server_answered_is_replaced_once_and_never_looked_into(value):
    values = {"it": value, "admin_password": "s3cret", "run": "r1"}
    assert filled("<{it}>", values) == f"<{value}>"
    assert filled({"k": ["a {it} b"]}, values) == {"k": [f"a {value} b"]}


@pytest.mark.parametrize("value", [value for value in HOSTILE if "\x00" not in value])
def test_in_a_path_a_value_stays_one_segment(value):
    path = filled_path("/api/{it}/files", {"it": value})
    assert path.count("/") == 3
    assert urlsplit(f"https://app.example{path}").hostname == "app.example"
    assert (urlsplit(path).query, urlsplit(path).fragment) == ("", "")
    assert unquote(path.split("/")[2]) == value


@pytest.mark.parametrize("value", HOSTILE)
def test_in_a_query_a_value_stays_one_parameter(value):
    path = filled_path("/users?name={it}&page=1", {"it": value})
    assert path.count("&") == 1
    assert "#" not in path
    assert unquote(path.partition("=")[2].partition("&")[0]) == value


@pytest.mark.parametrize("value", [".", "..", ""])
def test_a_value_that_would_lead_to_another_folder_is_not_sent(value):
    with pytest.raises(CannotObserve, match="nothing was sent"):
        filled_path("/api/users/{it}", {"it": value})


@pytest.mark.parametrize("name", ["../../users", "a/../b", "/etc/passwd", "a//b", "..", "", "a/"])
def test_a_files_name_leads_to_no_other_folder(name):
    with pytest.raises(CannotObserve, match="nothing was sent"):
        filled_path("/packs/1/{file}", {"file": name})


def test_a_files_name_may_have_folders_of_its_own():
    assert filled_path("/packs/{it}/{file}", {"it": "a/b", "file": "2026/a b.json"}) == "/packs/a%2Fb/2026/a%20b.json"


def test_a_lone_surrogate_is_no_text_that_can_be_sent():
    with pytest.raises(CannotObserve, match="no text that can be sent"):
        filled_path("/{it}", {"it": "\ud800"})


@pytest.mark.parametrize("value", ["0815\r\nX-Admin: yes", "08\n15", "\x00", " 0815", "0815 ", "ü"])
def test_a_header_takes_no_value_that_would_end_it_and_does_not_tell_it(value):
    with pytest.raises(CannotObserve) as refused:
        filled_header("Idempotency-Key", "{it}", {"it": value})
    assert "Idempotency-Key" in str(refused.value)
    assert value.strip() not in str(refused.value)


@pytest.mark.parametrize("value", HOSTILE)
def test_in_a_regular_expression_a_value_stands_for_nothing_but_itself(value):
    import re

    pattern = re.compile(filled_pattern(r"^\d{1} \{it} {it}$", {"it": value}))
    assert pattern.search("7 {it} " + value)
    assert not pattern.search("7 {it} anything")


def test_a_brace_that_is_no_name_stays_as_it_is():
    assert filled('{"a": {B} {1} {a b} {} \\{it}', {"it": "x"}) == '{"a": {B} {1} {a b} {} {it}'
    assert names_in({"a": ["{x}", "\\{y}", "{Z}"], "{k}": 1}) == {"x"}


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=8))
def test_whatever_the_value_it_arrives_unchanged(value):
    assert json.dumps(filled(["{it}"], {"it": value})) == json.dumps([value])


@given(st.text())
def test_whatever_the_text_a_path_stays_below_its_folder(value):
    try:
        path = filled_path("/api/users/{it}", {"it": value})
    except CannotObserve:
        return
    assert path.startswith("/api/users/")
    assert path.count("/") == 3
    assert not set("?#{} \r\n") & set(path)


# --- what is refused before anything is sent -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        pytest.param([step(path="/{nothing}")], r"uses \{nothing\}: nothing before it", id="unknown name"),
        pytest.param([step(json={"a": ["{nothing}"]})], "nothing before it", id="unknown name in a body"),
        pytest.param([step(headers={"X-A": "{nothing}"})], "nothing before it", id="unknown name in a header"),
        pytest.param([step(form={"a": "{nothing}"})], "nothing before it", id="unknown name in a form"),
        pytest.param(
            [step(expected={"status": [200], "body": {"a": {"matches": "{nothing}"}}})],
            "nothing before it", id="unknown name in an expectation",
        ),
        pytest.param(
            [step(path="/{id}", capture={"id": "id"})], "nothing before it", id="a step uses what it captures itself"
        ),
        pytest.param([step(), step()], "two steps named 'one'", id="two steps of one name"),
        pytest.param([step("cleanup")], "step's name", id="a step named cleanup"),
        pytest.param([step("A.b")], "step's name", id="a dot in a step's name"),
        pytest.param([step(capture={"run": "id"})], "taken already", id="captures what is given"),
        pytest.param([step(capture={"Id": "id"})], "a name is lower-case", id="a name in capitals"),
        pytest.param([step(capture={"id": {"body": "a", "header": "b"}})], "one of them", id="two sources"),
        pytest.param([step(capture={"id": {"cookie": "a"}})], "give an expression", id="a source that is none"),
        pytest.param([step(**{"as": "ghost"})], "no such identity", id="unknown identity"),
        pytest.param([step(path="x")], "must begin with /", id="a path without a slash"),
        pytest.param([step(path="@evil.example/")], "must begin with /", id="a path that changes the host"),
        pytest.param([step(expected={"status": []})], "expects no status", id="no status"),
        pytest.param([step(json=1, form={})], "two bodies", id="two bodies"),
        pytest.param(
            [step(method="POST", expected={"status": [200], "wait_s": 5})], "must change nothing", id="repeats a change"
        ),
        pytest.param(
            [step(expected={"status": [200], "wait_s": 5, "every_s": 0})], "more than 0", id="asks without a pause"
        ),
        pytest.param(
            [step(expected={"status": [200], "body": {"a": {"like": 1}}})], "is no rule", id="a rule that is none"
        ),
        pytest.param([step(expected={"status": [200], "body": {"a": {}}})], "is no rule", id="an empty rule"),
        pytest.param(
            [step(expected={"status": [200], "body": {"a": {"matches": "("}}})], "not a regular expr", id="a pattern"
        ),
        pytest.param([step(expected={"status": [200], "text": "("})], "not a regular expression", id="pattern of text"),
        pytest.param(
            [step(expected={"status": [200], "body": {"a": {"present": "no"}}})], "true or false", id="present: no"
        ),
        pytest.param(
            [step(expected={"status": [200], "body": {"a": {"at_most": "9"}}})], "is a number", id="at most a text"
        ),
        pytest.param([step(files={"listed": "f", "path": "/f"})], "must hold", id="files without a name"),
        pytest.param([step(files={"listed": "f", "path": "{file}"})], "begin with /", id="files of another place"),
        pytest.param([step(headers={"X A": "1"})], "cannot be the name of a header", id="a header's name"),
    ],
)  # fmt: skip
def test_what_cannot_be_walked_as_it_is_written_is_an_argument_error(steps, message):
    with pytest.raises(ExpectationError, match=message):
        plan(*steps)


@pytest.mark.parametrize(
    "part", [{"headers": {"Authorization": "Bearer abcdefgh"}}, {"json": {"a": [{"password": "hunter22"}]}},
             {"form": {"client_secret": "hunter22"}}, {"path": "/x?page=1&api_token=hunter22"}],
)  # fmt: skip
def test_a_credential_as_it_is_has_no_place_in_a_step_and_is_not_told(part):
    with pytest.raises(ExpectationError, match="holds a credential as it is") as refused:
        plan(step(**part))
    assert "hunter22" not in str(refused.value)
    assert "abcdefgh" not in str(refused.value)
    assert [secret for _, secret in literal_secrets({"steps": [step(**part)]})] != []


def test_a_credential_by_its_name_has():
    made = plan(
        step(json={"password": "{pw}", "role": "ADMIN"}, headers={"Idempotency-Key": "k-{run}"}),
        shared={"secrets": [{"name": "pw", "value": "hunter22"}]},
    )
    assert [secret.name for secret in made.secrets_needed()] == ["pw"]


@pytest.mark.parametrize("address", ["app.example", "ftp://app.example", "https://", "https://app.example/?a=1"])
def test_an_address_is_that_of_a_web_application(address):
    with pytest.raises(ExpectationError, match="not the address of a web application"):
        plan(address=address)


def test_an_expression_that_is_none_is_named_with_its_step():
    def refuse(expression: str) -> None:
        raise ExpectationError(f"{expression!r} is no expression")

    with pytest.raises(ExpectationError, match=r"step 'one': 'a b' is no expression"):
        plan(step(expected={"status": [200], "body": {"a b": 1}}), compiled=refuse)


def test_who_reads_from_vault_says_where_it_is():
    identities = [{"name": "viewer", "vault_path": "secret/app", "vault_key": "token"}]
    with pytest.raises(ExpectationError, match="declare vault"):
        plan(step(**{"as": "viewer"}), shared={"identities": identities})
    assert plan(step(), shared={"identities": identities}).secrets_needed() == []


def test_only_the_secrets_that_a_step_uses_are_needed():
    secrets = [{"name": "used", "value": "a"}, {"name": "unused", "value": "b"}]
    made = plan(step(json={"a": "{used}"}), shared={"secrets": secrets})
    assert [secret.name for secret in made.secrets_needed()] == ["used"]


def test_a_clean_up_step_knows_what_any_step_before_it_captures():
    made = plan(step(capture={"id": "id"}), cleanup=[step("undo", method="DELETE", path="/x/{id}")])
    assert made.cleanup[0].names() == {"id"}
    with pytest.raises(ExpectationError, match="two steps named"):
        plan(step(), cleanup=[step()])


def test_what_only_reads_changes_nothing_and_what_is_said_to_change_nothing_does_not():
    made = plan(step("a"), step("b", method="POST"), step("c", method="POST", changes=False), step("d", changes=True))
    assert [one.changes for one in made.steps] == [False, True, False, True]


@pytest.mark.parametrize(
    ("name", "hidden"), [pytest.param("bearer", True, id="a token"), pytest.param("total", False, id="another value")]
)
def test_a_token_that_an_identity_sends_is_a_secret_though_nobody_said_so(name: str, hidden: bool):
    made = plan(step(capture={name: "found"}), shared={"identities": [{"name": "admin", "from_value": "bearer"}]})
    assert [capture.secret for capture in made.steps[0].captures] == [hidden]
