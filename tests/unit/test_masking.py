# SPDX-License-Identifier: GPL-3.0-or-later
"""What masking hides, and what it must leave readable."""

from __future__ import annotations

import base64
import html
import json
import shlex
from urllib.parse import quote, quote_plus

import pytest
from cutover.masking import PUBLIC_WORDS, Masker, find_secrets, is_sensitive
from hypothesis import example, given, settings
from hypothesis import strategies as st

HIDE = Masker().text

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLWJ5dGVz"
VAULT_TOKEN = "hvs.CAESIJ1xFakeFakeFakeFakeFake"
PRIVATE_KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIFake\nFakeFake==\n-----END EC PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        # The two examples of the source document.
        pytest.param(
            "postgresql+asyncpg://user:PASS@host:5432/db",
            "postgresql+asyncpg://user:***@host:5432/db",
            id="database url keeps user, host and port",
        ),
        pytest.param("redis://:PASS@host:6379/0", "redis://:***@host:6379/0", id="redis url without a user"),
        pytest.param("redis://:p@ss@[::1]:6379/0", "redis://:***@[::1]:6379/0", id="an @ in the password, IPv6"),
        pytest.param("amqp://u:pa/ss@h:5672/v", "amqp://u:***@h:5672/v", id="an unquoted slash in the password"),
        pytest.param("a://u:one@h b://u:two@h", "a://u:***@h b://u:***@h", id="two urls in one text"),
        pytest.param(f"token {VAULT_TOKEN} expired", "token *** expired", id="vault token"),
        pytest.param(f"got {JWT}.", "got ***", id="json web token"),
        pytest.param(f"key:\n{PRIVATE_KEY}\nend", "key:\n***\nend", id="private key"),
        pytest.param(f"cut {PRIVATE_KEY[:50]}", "cut ***", id="private key without an end"),
        pytest.param("Authorization: Bearer abcdef123456", "Authorization: Bearer ***", id="bearer header"),
        pytest.param("authorization: Basic dXNlcjpwYXNz", "authorization: Basic ***", id="basic header"),
        pytest.param("> X-Vault-Token: abc\r\n> Accept: */*", "> X-Vault-Token: ***\r\n> Accept: */*", id="curl -v"),
        pytest.param('Cookie: a="x"; b=c', "Cookie: ***", id="cookie with quotes"),
        pytest.param(
            'curl -H "Authorization: Bearer abcdef1" http://h',
            'curl -H "Authorization: Bearer ***" http://h',
            id="curl",
        ),
        pytest.param(
            '{"X-Vault-Token": "abc", "a": 1}', '{"X-Vault-Token": "***", "a": 1}', id="header in a JSON text"
        ),
        pytest.param("PGPASSWORD=hunter2 pg_dump", "PGPASSWORD=*** pg_dump", id="environment assignment"),
        pytest.param("host=h password='a b\\'c' port=1", "host=h password='***' port=1", id="libpq connection string"),
        pytest.param("/cb?access_token=abc&x=1", "/cb?access_token=***&x=1", id="query parameter"),
        pytest.param("{'password': 'hunter2', 'n': 1}", "{'password': '***', 'n': 1}", id="python repr"),
        pytest.param('"{\\"password\\": \\"hunter2\\"}"', '"{\\"password\\": \\"***\\"}"', id="JSON in JSON"),
        pytest.param("db:\n  password: hunter2\n  port: 1", "db:\n  password: ***\n  port: 1", id="yaml"),
        pytest.param("tool --password hunter2 -v", "tool --password *** -v", id="option"),
        pytest.param("tool --db-password=hunter2", "tool --db-password=***", id="option with ="),
        pytest.param("https://abcdefghijklmnopqrst12@github.com/x", "https://***@github.com/x", id="token as user"),
    ],
)
def test_a_credential_is_hidden_by_its_shape(text: str, masked: str) -> None:
    assert HIDE(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "https://vault.internal:8200/v1/sys/health",
        "postgresql://user@host:5432/db",
        "redis://cache.internal:6379/0",
        "mail to ops@example.com: done",
        "http://host:8443/user@example.com",
        "ssh://git@host:22/repo",
        "token_ttl: 3600",
        "token_ttl=3600",
        "secret/ledger/database",
        "secret.ledger/database",
        "the token: it expired",
        "Vault refused the token: permission denied",
        "password=*** is hidden already",
        "passwords of 2 users were refused",
        "password_file=/etc/redis/pw",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "Basic checks passed; Bearer authentication is required",
        "maxmemory-policy: allkeys-lru",
        "s.format(x) and r.json()",
        "redis_version:7.0.15",
    ],
)
def test_what_is_no_credential_stays_readable(text: str) -> None:
    assert HIDE(text) == text


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "db_password",
        "REDIS_PASSWORD",
        "X-Vault-Token",
        "secretKey",
        "PGPASSWORD",
        "api_key",
        "private_key",
        "unseal_keys",
        "secret_id",
        "Set-Cookie",
        "ansible_become_pass",
    ],
)
def test_a_sensitive_name_is_known(name: str) -> None:
    assert is_sensitive(name)


@pytest.mark.parametrize(
    "name",
    [
        "token_ttl",
        "token_not_root",
        "password_file",
        "default_passwords",
        "secrets",
        "subject",
        "private_key_file",
        "secret.ledger/database",
        "keys",
        "max_tokens",
        "",
        7,
    ],
)
def test_a_name_that_only_mentions_a_secret_is_not_sensitive(name: object) -> None:
    assert not is_sensitive(name)


def test_nested_data_keep_their_structure() -> None:
    given_data = {
        "token_not_root": True,
        "token": False,
        "tokens": 2,
        "password": 12345678,
        "auth": {"password": "x", "user": "u"},
        "credentials": {"a": ["one", 2, None]},
        "env": [{"name": "DB_PASSWORD", "value": "one"}, {"name": "A", "value": "b"}],
        "check": "config.requirepass",
        "expected": "one",
        "observed": None,
    }
    assert Masker().mask(given_data) == {
        "token_not_root": True,
        "token": False,
        "tokens": 2,
        "password": "***",
        "auth": {"password": "***", "user": "u"},
        "credentials": {"a": ["***", 2, None]},
        "env": [{"name": "DB_PASSWORD", "value": "***"}, {"name": "A", "value": "b"}],
        "check": "config.requirepass",
        "expected": "***",
        "observed": None,
    }


def test_an_option_hides_the_argument_after_it() -> None:
    assert Masker().mask(["tool", "--token", "abc", "--ttl", "3"]) == ["tool", "--token", "***", "--ttl", "3"]


def test_a_private_key_split_into_lines_is_hidden_even_without_its_first_line() -> None:
    lines = PRIVATE_KEY.splitlines()
    assert Masker().mask(["a", *lines, "b"]) == ["a", "***", "***", "***", "***", "b"]
    assert Masker().mask([*lines[1:], "b"]) == ["***", "***", "***", "b"]


def test_secrets_are_found_wherever_the_inventory_keeps_them() -> None:
    variables = {
        "redis_targets": [{"name": "cache", "password": "from-a-target"}, {"url": "redis://:in-a-url@h:1"}],
        "app_secrets": {"mailer": "under-secrets"},
        "vault_expected": {"secrets": {"ledger/database": {"keys": ["username"]}}},
        "environment": [{"name": "API_KEY", "value": "named-value"}],
        "default_passwords": ["postgres", "admin"],
        "tls_private_key": "/etc/ssl/private/key.pem",
        "late_password": "{{ lookup('file', 'x') }}",
        "pin_password": 445566,
        "token_ttl": 3600,
    }
    assert find_secrets(variables) == {"from-a-target", "in-a-url", "under-secrets", "named-value", "445566"}


def test_templates_that_may_hold_a_secret_are_resolved_and_no_others() -> None:
    asked: list[str] = []

    def resolve(template: str) -> object:
        asked.append(template)
        if "absent" in template:
            raise FileNotFoundError(template)
        return [{"password": "resolved-one"}] if "targets" in template else "resolved-two"

    variables = {
        "cache_targets": "{{ made_targets }}",
        "lab_secrets": {"anything": "{{ a_file }}"},
        "late_password": "{{ absent }}",
        "motd": "{{ expensive }}",
    }
    assert find_secrets(variables, resolve) == {"resolved-one", "resolved-two"}
    assert asked == ["{{ made_targets }}", "{{ a_file }}", "{{ absent }}"]


def test_a_password_that_is_a_word_does_not_shred_the_text() -> None:
    masker = Masker(["ledger"])
    assert masker.text("ledgers: ledger of 2026") == "ledgers: *** of 2026"


def test_a_password_that_equals_a_name_the_evidence_needs_is_left() -> None:
    masker = Masker(["redis", "cache"], readable=["redis", "cache"])
    assert masker.mask({"component": "redis", "subject": "cache"}) == {"component": "redis", "subject": "cache"}


def test_very_short_secrets_are_hidden_by_shape_only() -> None:
    masker = Masker(["abc", "", " ", "1"])
    assert masker.text("abcdef 1 2 3") == "abcdef 1 2 3"
    assert masker.text("redis://:abc@h:1") == "redis://:***@h:1"


def test_overlapping_secrets_leave_no_remainder() -> None:
    assert Masker(["abcdWXYZ", "WXYZefgh"]).text("abcdWXYZefgh") == "***"


class _Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_nothing_makes_it_raise() -> None:
    loop: dict[str, object] = {}
    loop["loop"] = loop
    for value in (
        _Hostile(),
        {_Hostile(): 1},
        loop,
        [loop],
        b"\xff\xfe",
        {1: {2.5: {None: "x"}}},
        "\ud800",
        float("nan"),
    ):
        Masker(["\ud800secret", "secret-value"]).mask(value)


PRINTABLE = st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=["Cs", "Cc"])
SECRETS = st.text(PRINTABLE, min_size=8, max_size=40).filter(lambda text: text.strip("*") and text not in PUBLIC_WORDS)
# Passphrases and keys: blanks, line breaks, quotes, and letters of which a UTF-16 escape takes two.
AWKWARD = st.text(
    st.sampled_from(" \t\r\n'\"\\`$&<>%=:/@") | st.sampled_from("密码パスワード🔑🙂") | PRINTABLE,
    min_size=8,
    max_size=40,
).filter(lambda text: text.strip().strip("*") and text.strip() not in PUBLIC_WORDS)
SHORT = st.text(PRINTABLE | st.sampled_from(" 密码🔑"), min_size=4, max_size=7).filter(
    lambda text: text.strip().strip("*") and text.strip() not in PUBLIC_WORDS
)

ENCODINGS = {
    "raw": lambda secret: secret,
    "in JSON": lambda secret: json.dumps({"a": secret}),
    "in JSON, not ASCII": lambda secret: json.dumps({"a": secret}, ensure_ascii=False),
    "JSON in JSON": lambda secret: json.dumps(json.dumps({"a": secret})),
    "repr": lambda secret: repr([secret]),
    "repr of bytes": lambda secret: repr(secret.encode()),
    "shell": lambda secret: shlex.join(["echo", secret]),
    "url": lambda secret: "x=" + quote(secret, safe=""),
    "url path": lambda secret: "/a/" + quote(secret),
    "form": lambda secret: "x=" + quote_plus(secret),
    "url, lower case": lambda secret: "".join(f"%{byte:02x}" for byte in secret.encode()),
    "html": lambda secret: f"<p>{html.escape(secret)}</p>",
    "hex": lambda secret: secret.encode().hex(),
    "HEX": lambda secret: secret.encode().hex().upper(),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "url-safe base64": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    "basic auth": lambda secret: base64.b64encode(f"user:{secret}".encode()).decode(),
    "basic auth, shifted": lambda secret: base64.b64encode(f"users:{secret}".encode()).decode(),
    "base64 in the middle": lambda secret: base64.b64encode(f"ab{secret}cd".encode()).decode(),
}


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
@given(secret=SECRETS | AWKWARD)
@example(secret="p'ss\"w/rd+%&<>")
@example(secret="passwörd-ÿ")
@example(secret="a line\nand 'another' \"one\" 密码🔑")
@settings(max_examples=60, deadline=None)
def test_no_secret_survives_in_any_encoding(encode, secret: str) -> None:  # type: ignore[no-untyped-def]
    encoded = encode(secret)
    masked = Masker([secret]).text(f"before {encoded} after")
    assert secret not in masked
    assert encoded not in masked
    assert secret not in _decoded(masked)


@given(secret=SHORT)
@settings(max_examples=300, deadline=None)
def test_no_short_secret_survives_as_it_is(secret: str) -> None:
    assert secret not in Masker([secret]).text(f"[{secret}]")


def _decoded(text: str) -> str:
    """Whatever base64 is left in the text, decoded at every alignment."""
    words = "".join(c if c.isalnum() or c in "+/-_" else " " for c in text).split()
    found = []
    for word in words:
        for cut in range(4):
            chunk = word[cut:].replace("-", "+").replace("_", "/")
            chunk = chunk[: len(chunk) // 4 * 4]
            found.append(base64.b64decode(chunk, validate=False).decode("utf-8", "replace"))
    return " ".join(found)


JSONABLE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.binary(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@given(value=JSONABLE, secrets=st.lists(st.text(min_size=1, max_size=12), max_size=4))
@settings(max_examples=300, deadline=None)
def test_masking_twice_is_masking_once(value: object, secrets: list[str]) -> None:
    masker = Masker(secrets)
    once = masker.mask(value)
    assert repr(masker.mask(once)) == repr(once)


@given(secret=SECRETS | AWKWARD, depth=st.integers(0, 8), as_key=st.booleans())
@settings(max_examples=200, deadline=None)
def test_no_secret_survives_at_any_depth(secret: str, depth: int, as_key: bool) -> None:
    value: object = {secret: 1} if as_key else secret
    for level in range(depth):
        value = {"a": value} if level % 2 else [value, secret.encode()]
    assert secret not in repr(Masker([secret]).mask(value)).replace("\\\\", "\\")


@given(text=st.text(alphabet="abc=:/@'\"{}?&;,- \nhttp*password token", max_size=80))
@settings(max_examples=300, deadline=None)
def test_masking_a_text_twice_is_masking_it_once(text: str) -> None:
    assert HIDE(HIDE(text)) == HIDE(text)
