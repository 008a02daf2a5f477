# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials become ``***`` while scheme, host and port stay: the second wall before anything is written down.

A module masks what it returns; this masks it again, twice over: by **value**, because the play's variables say what
the secrets are, in every encoding in which a server or a client is known to send one back; and by **shape**, because
some secrets are born during the run. Nothing here raises: what cannot be read is hidden.

Checklist row B6 (masking rules).
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "***"
MAX_DEPTH = 60

# Shorter than this, a value says nothing about where it came from and hiding it would shred every text.
SHORTEST_SECRET = 4
# Shorter than this, a plain word or number is hidden only where it stands alone: `redis` must not eat `redis://`.
SHORTEST_ANYWHERE = 8

# Words that a sensitive variable may hold without being a secret.
PUBLIC_WORDS = frozenset(
    {"true", "false", "none", "null", "yes", "no", "default", "disabled", "enabled", "required", "optional", "prompt"}
    | {"omit", "undefined", "password", "secret", "token", "bearer", "basic", "localhost"}
)

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SENSITIVE_ENDINGS = (
    ("password",), ("passwords",), ("passwd",), ("passwds",), ("passphrase",), ("pass",), ("pwd",), ("pw",),
    ("secret",), ("token",), ("tokens",), ("jwt",), ("credential",), ("credentials",), ("authorization",),
    ("cookie",), ("cookies",), ("requirepass",), ("masterauth",), ("masterpass",), ("pgpassword",), ("apikey",),
    ("sessionid",),
    ("api", "key"), ("api", "keys"), ("private", "key"), ("privatekey",), ("secret", "key"), ("secretkey",),
    ("access", "token"), ("secret", "access", "key"), ("account", "key"), ("shared", "key"), ("signing", "key"),
    ("encryption", "key"), ("master", "key"), ("unseal", "key"), ("unseal", "keys"), ("recovery", "keys"),
    ("keys", "base", "64"), ("unseal", "keys", "b", "64"), ("unseal", "keys", "hex"), ("secret", "id"),
    ("client", "secret"), ("password", "hash"), ("session", "id"), ("api", "token"), ("auth", "token"),
)  # fmt: skip
# `default_passwords` lists what everybody knows; hiding `postgres` or `admin` would make the evidence unreadable.
_PUBLIC_PREFIXES = frozenset({"default", "known", "common", "forbidden", "refused", "no", "not", "max", "min"})


def is_sensitive(name: object) -> bool:
    """Whether a variable, key, header or option of this name holds a secret by what its last words say.

    ``db_password``, ``X-Vault-Token`` and ``secretKey`` do; ``token_ttl``, ``password_file``, ``token_not_root`` and
    ``default_passwords`` do not.
    """
    return _is_sensitive(str(name))


# The same few names come thousands of times in the verdicts on a thousand targets.
@lru_cache(maxsize=4096)
def _is_sensitive(name: str) -> bool:
    words = tuple(word.lower() for word in _WORDS.findall(name))
    if not words or words[0] in _PUBLIC_PREFIXES:
        return False
    return any(words[-len(ending) :] == ending for ending in _SENSITIVE_ENDINGS)


# --- finding secrets in variables ------------------------------------------------------------------------------------


def find_secrets(variables: object, resolve: Callable[[str], object] = str) -> frozenset[str]:
    """Every value in nested variables that is a secret: under a sensitive name or inside a URL.

    ``resolve`` gives the value of a template; only templates that may hold a secret are resolved, because a lookup
    costs time. One that cannot be resolved yet is passed over.
    """
    values = _Search(resolve).values(variables, sensitive=False, depth=0)
    return frozenset(part for value in values for part in _parts(value))


@dataclass(frozen=True)
class _Search:
    resolve: Callable[[str], object]

    def values(self, value: object, *, sensitive: bool, depth: int) -> Iterator[str]:
        if depth > MAX_DEPTH or value is None or isinstance(value, bool):
            return
        if isinstance(value, Mapping):
            yield from self._of_mapping(value, sensitive=sensitive, depth=depth)
        elif isinstance(value, (list, tuple, set, frozenset)):
            for item in value:
                yield from self.values(item, sensitive=sensitive, depth=depth + 1)
        elif sensitive and _is_template(value):
            yield from self.values(self._resolved(value), sensitive=True, depth=depth + 1)
        elif sensitive:
            yield _text(value)
        elif isinstance(value, (str, bytes)) and not _is_template(value):
            yield from (match["password"] or "" for match in _URL_PASSWORD.finditer(_text(value)))

    def _of_mapping(self, mapping: Mapping[Any, Any], *, sensitive: bool, depth: int) -> Iterator[str]:
        for key, item in mapping.items():
            name = str(key).lower()
            if _is_template(item) and name.endswith(("_targets", "secrets")):
                item = self._resolved(item)
            if isinstance(item, Mapping) and name.endswith("secrets"):
                # `app_secrets: {mailer: ...}` holds values; `secrets: {payments/database: {keys: [...]}}` holds paths.
                direct = [secret for secret in item.values() if isinstance(secret, (str, bytes))]
                yield from self.values(direct, sensitive=True, depth=depth + 1)
            yield from self.values(item, sensitive=sensitive or is_sensitive(key), depth=depth + 1)
        yield from _named_value(mapping)

    def _resolved(self, template: Any) -> object:
        try:
            return self.resolve(template)
        except Exception:  # noqa: BLE001 - whatever a template may raise: it has no value yet
            return None


def _is_template(value: object) -> bool:
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def _named_value(pair: Mapping[Any, Any]) -> Iterator[str]:
    """``{name: DB_PASSWORD, value: ...}``, the way environments are often listed."""
    if is_sensitive(pair.get("name", "")) and isinstance(pair.get("value"), (str, bytes, int)):
        yield _text(pair["value"])


def _parts(value: str) -> Iterator[str]:
    """The value itself and, of one with several lines such as a private key, each line that gives it away."""
    if _is_template(value) or value.startswith(("/", "~/", "./", "file:")):
        return
    yield value
    if stripped := value.strip():
        yield stripped
    lines = value.splitlines()
    if len(lines) > 1:
        yield from (line.strip() for line in lines if len(line.strip()) >= 16 and "-----" not in line)


# --- masking by value ------------------------------------------------------------------------------------------------


def _encodings(secret: str) -> Iterator[str]:
    """The secret as it may come back: escaped, quoted, in hex or base64, also in the middle of something longer."""
    data = _data(secret)
    once = json.dumps(secret)[1:-1]
    yield from (secret, once, json.dumps(once)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
    yield from (repr(secret)[1:-1], repr(data)[2:-1], shlex.quote(secret), secret.replace("'", "'\"'\"'"))
    yield from (secret.replace("'", "''"), secret.replace("'", "\\'").replace('"', '\\"'), secret.replace("\n", "\r\n"))
    yield from (quote_plus(data), quote(quote(data, safe=""), safe=""), quote(quote(data), safe=""))
    escaped = html.escape(secret)
    yield from (
        escaped,
        escaped.replace("&#x27;", "&#39;"),
        escaped.replace("&#x27;", "&apos;"),
        html.escape(secret, False),
    )
    yield escaped.replace("&quot;", "&#34;").replace("&#x27;", "&#39;")
    yield from (data.hex(), data.hex().upper())
    yield from _base64_cores(data)


def _base64_cores(data: bytes) -> Iterator[str]:
    """What the secret contributes to base64 at each alignment: only characters that hold no neighbour's bits."""
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + data).decode()
        first, past = -(-offset * 8 // 6), (offset + len(data)) * 8 // 6
        core = encoded[first:past]
        yield from (core, core.replace("+", "-").replace("/", "_"), quote(core, safe=""))


class Masker:
    """Hides the given secrets, and whatever looks like one, in texts and in nested data.

    ``readable`` are names that evidence cannot do without (components, targets, hosts): a password that equals one of
    them is not hidden by value, because the evidence would no longer say what it is about.
    """

    def __init__(self, secrets: Iterable[str] = (), *, readable: Iterable[str] = ()) -> None:
        public = set(map(_text, readable)) | PUBLIC_WORDS
        worthy = {text for text in map(_text, secrets) if _can_be_hidden(text) and text.strip() not in public}
        encodings = {encoding for secret in worthy for encoding in _quietly(_encodings, secret)}
        self._anywhere: dict[str, list[str]] = {}
        for text in encodings:
            if _can_be_hidden(text) and not _is_short_word(text):
                self._anywhere.setdefault(text[:SHORTEST_SECRET], []).append(text)
        short = sorted((re.escape(text) for text in encodings if _is_short_word(text)), key=len, reverse=True)
        self._cached = lru_cache(maxsize=8192)(self._fixpoint)  # verdicts say the same few things many times
        self._bytes = [_data(text) for text in sorted(worthy)]
        self._alone = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(short)})(?![A-Za-z0-9])") if short else None

    def mask(self, value: Any) -> Any:
        """The same value as plain data (dict, list, str, bytes, number, bool, None) without credentials."""
        try:
            return self._masked(value, 0)
        except Exception:  # noqa: BLE001 - what cannot be masked is hidden, never shown
            return MASK

    def text(self, text: str) -> str:
        """The text without credentials; masking it again changes nothing."""
        return self._cached(text) if len(text) < 300 else self._fixpoint(text)

    def _fixpoint(self, text: str) -> str:
        for _ in range(len(text) + 2):
            masked = self._once(text)
            if masked == text:
                return text
            text = masked
        return MASK

    def _once(self, text: str) -> str:
        text = self._by_value(text)
        for shape in _SHAPES:
            text = shape(text)
        return text

    def _by_value(self, text: str) -> str:
        spans = list(self._occurrences(text)) if self._anywhere else []
        if "%" in text:
            spans += _percent_encoded(self._bytes, text)
        if self._alone:
            spans += [match.span() for match in self._alone.finditer(text)]
        return _without(spans, text) if spans else text

    def _occurrences(self, text: str) -> Iterator[tuple[int, int]]:
        """One pass over the text, however many secrets there are: a thousand verdicts are masked one by one."""
        for start in range(len(text) - SHORTEST_SECRET + 1):
            for secret in self._anywhere.get(text[start : start + SHORTEST_SECRET], ()):
                if text.startswith(secret, start):
                    yield start, start + len(secret)

    def _masked(self, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, (bool, int, float)):
            return _plain_number(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self.text(bytes(value).decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        if depth > MAX_DEPTH:
            return MASK
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, (set, frozenset)):
            value = sorted(value, key=_text)
        if isinstance(value, (list, tuple)):
            return self._list(value, depth)
        return self.text(_text(value))

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        masked: dict[str, Any] = {}
        hidden = _hidden_keys(value)
        for key, item in value.items():
            name = self.text(_text(key))
            while name in masked:  # two keys that became the same one: neither may be lost
                name += "'"
            masked[name] = _all_hidden(item, depth, name=key) if key in hidden else self._masked(item, depth + 1)
        return masked

    def _list(self, value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
        masked: list[Any] = []
        hide_next = False
        for item, in_private_key in zip(value, _inside_private_key(value), strict=True):
            if in_private_key or (hide_next and isinstance(item, (str, bytes, int)) and not isinstance(item, bool)):
                masked.append(MASK)
            else:
                masked.append(self._masked(item, depth + 1))
            # ["--password", "..."]: an option's value is the next argument.
            hide_next = isinstance(item, str) and bool(_OPTION_NAME.fullmatch(item)) and is_sensitive(item)
        return masked


def _hidden_keys(value: Mapping[Any, Any]) -> set[Any]:
    hidden = {key for key in value if is_sensitive(key)}
    if is_sensitive(value.get("name", "")) and "value" in value:
        hidden.add("value")
    if str(value.get("check", "")).startswith("config.") and is_sensitive(value["check"]):
        hidden |= {"expected", "observed"} & set(value)
    return hidden


def _all_hidden(value: Any, depth: int, *, name: object) -> Any:
    """What stands under a sensitive name: texts go, while booleans, counts and the structure stay readable."""
    if value is None or isinstance(value, (bool, int, float)):
        # `password: 12345678` is a password that YAML took for a number; `tokens: 2` is a count.
        return MASK if _is_password(name) and abs(value or 0) >= 1000 else _plain_number(value)
    if depth > MAX_DEPTH:
        return MASK
    if isinstance(value, Mapping):
        return {_text(key): _all_hidden(item, depth + 1, name=name) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_all_hidden(item, depth + 1, name=name) for item in value]
    return MASK if _text(value) else ""


def _is_password(name: object) -> bool:
    return str(name).lower().endswith(("password", "passwd", "passphrase", "pwd", "requirepass", "masterauth"))


def _inside_private_key(lines: Iterable[Any]) -> list[bool]:
    """Which elements of a list of lines belong to a private key; without its beginning, all before the end do."""
    flags: list[bool] = []
    inside = False
    for line in lines:
        text = line if isinstance(line, str) else ""
        begins, ends = bool(_KEY_BEGIN.search(text)), bool(_KEY_END.search(text))
        if ends and not inside and not begins:
            flags = [True] * len(flags)
        flags.append(inside or begins or ends)
        inside = (inside or begins) and not ends
    return flags


def _can_be_hidden(text: str) -> bool:
    return len(text) >= SHORTEST_SECRET and bool(text.strip("* "))


def _is_short_word(text: str) -> bool:
    return SHORTEST_SECRET <= len(text) < SHORTEST_ANYWHERE and (text.isdigit() or (text.isalpha() and text.islower()))


def _percent_encoded(secrets: Iterable[bytes], text: str) -> Iterator[tuple[int, int]]:
    """Where a secret stands percent-encoded: which characters are, and in which case, is up to the one who encodes."""
    decoded, starts = bytearray(), []
    for unit in re.finditer(r"%[0-9A-Fa-f]{2}|.", text, re.DOTALL):
        part = bytes.fromhex(unit[0][1:]) if len(unit[0]) == 3 else _data(unit[0])
        decoded += part
        starts += [unit.start()] * len(part)
    starts.append(len(text))
    for secret in secrets:
        start = decoded.find(secret)
        while start >= 0:
            yield starts[start], starts[start + len(secret)]
            start = decoded.find(secret, start + 1)


def _without(spans: list[tuple[int, int]], text: str) -> str:
    """The text with every span replaced; spans that overlap or touch are one, so that no remainder is left."""
    pieces: list[str] = []
    end = 0
    for start, stop in sorted(spans):
        if start > end or not pieces:
            pieces += [text[end:start], MASK]
        end = max(end, stop)
    return "".join([*pieces, text[end:]])


def _quietly(encode: Callable[[str], Iterator[str]], secret: str) -> list[str]:
    try:
        return list(encode(secret))
    except Exception:  # noqa: BLE001 - a secret that cannot be encoded is still hidden as it is
        return [secret]


def _data(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(value: object) -> str:
    try:
        if isinstance(value, (bytes, bytearray)):
            return bytes(value).decode("utf-8", "surrogateescape")
        return "".join(str(value))
    except Exception:  # noqa: BLE001 - an object that cannot be printed
        return MASK


def _plain_number(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    return int(value) if isinstance(value, int) else float(value)


# --- masking by shape ------------------------------------------------------------------------------------------------

_URL_PASSWORD = re.compile(
    r"""(?P<before>\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/?\#:@'"<>]*:)
        (?: (?P<password>[^\s/?\#'"<>]+)                     # the usual: up to the authority's last @
          | (?!\d+(?:[/?\#\s'"<>]|$)) [^\s@'"<>]+ )          # an unquoted / ? or # in the password
        (?=@)""",
    re.VERBOSE,
)
_URL_TOKEN = re.compile(r"""(\b[A-Za-z][A-Za-z0-9+.-]*://)[A-Za-z0-9_-]{20,}(?=@)""")
_KEY_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----")
_KEY_END = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----")
_PRIVATE_KEY = re.compile(rf"{_KEY_BEGIN.pattern}.*?(?:{_KEY_END.pattern}|\Z)", re.DOTALL)
_TOKENS = re.compile(
    r"""(?<![A-Za-z0-9_.-])(?:
        hv[sbr]\.[A-Za-z0-9_-]{16,} | [sbr]\.[A-Za-z0-9]{24,}                # Vault and OpenBao
      | eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)*            # JSON Web Token
      | gh[pousr]_[A-Za-z0-9]{20,} | github_pat_[A-Za-z0-9_]{20,} | glpat-[A-Za-z0-9_-]{16,}
      | xox[abprs]-[A-Za-z0-9-]{10,} | AKIA[A-Z0-9]{16} | sk-[A-Za-z0-9_-]{20,}
    )""",
    re.VERBOSE,
)
_HEADER_NAMES = r"(?:Proxy-)?Authorization|(?:Set-)?Cookie|X-(?:Vault|Auth|Api|Csrf|Amz-Security)-?(?:Token|Key)"
_HEADER_LINE = re.compile(rf"(?im)^([ \t]*+[<>]?[ \t]*+(?:{_HEADER_NAMES})[ \t]*+:[ \t]*+)(?!\s)([^\r\n]+)")
_HEADER_INLINE = re.compile(rf"""(?i)(\b(?:{_HEADER_NAMES})["']?\s*[:=]\s*["']?)(?=[^\s"'])([^\r\n"']+)""")
_AUTH_SCHEME = re.compile(r"(?i)(?:Bearer|Basic|Digest|Negotiate|AWS4-HMAC-SHA256|AWS|Token)(?=\s)")
_BEARER = re.compile(r"\b((?i:Bearer|Basic)\s+)(?=[A-Za-z0-9+/_.~-]*[0-9A-Z+/_.~=-])[A-Za-z0-9+/_.~-]{8,}=*")
_VALUE = r"""(?: "(?:[^"\\\r\n]|\\.)*" | '(?:[^'\\\r\n]|\\.)*' | \\"(?:(?!\\").)*\\" | [^\s&;,'"<>)}\]]+ )"""
# A name is tried from its beginning alone: tried from each of its letters, a word of 10,000 would take seconds.
_ASSIGNMENT = re.compile(
    rf"(?<![A-Za-z0-9_.-])[0-9.-]*(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)(?P<sep>=|\ =\ )(?P<value>{_VALUE})", re.VERBOSE
)
_QUOTED_KEY = re.compile(
    rf"""(?<!\\)(?P<q>\\*+["'])(?P<name>[A-Za-z_][\w .-]*)(?P=q)(?P<sep>\s*(?::|=>|,)\s*)(?P<value>{_VALUE})""",
    re.VERBOSE,
)
_YAML_LINE = re.compile(
    r"(?m)^(?P<indent>[ \t-]*+)(?P<name>[A-Za-z_][\w.-]*)(?P<sep>:[ \t]+)(?P<value>[^\s#][^\r\n]*)$"
)
_OPTION = re.compile(rf"(?P<name>(?<!\S)--?[A-Za-z][A-Za-z0-9-]*)(?P<sep>\s+)(?P<value>(?!-){_VALUE})", re.VERBOSE)
_OPTION_NAME = re.compile(r"--?[A-Za-z][A-Za-z0-9_-]*")
_HARMLESS = re.compile(r"""(?i)\\*["']?(?:true|false|none|null|yes|no|(?:[\w-]+[ ])?\*{3}|\d{1,3})?\\*["']?""")


def _mask_url(text: str) -> str:
    text = _URL_PASSWORD.sub(rf"\g<before>{MASK}", text)
    return _URL_TOKEN.sub(rf"\g<1>{MASK}", text)


def _mask_header(match: re.Match[str]) -> str:
    scheme = _AUTH_SCHEME.match(match[2])
    return f"{match[1]}{scheme[0]} {MASK}" if scheme else f"{match[1]}{MASK}"


def _mask_headers(text: str) -> str:
    text = _HEADER_LINE.sub(_mask_header, text)
    text = _HEADER_INLINE.sub(_mask_header, text)
    return _BEARER.sub(rf"\g<1>{MASK}", text)


def _mask_pair(match: re.Match[str]) -> str:
    name, value = match["name"], match["value"]
    if not is_sensitive(name) or _HARMLESS.fullmatch(value):
        return match[0]
    quotes = re.match(r"""\\?["']""", value)
    mark = quotes[0] if quotes else ""
    return match[0][: match.start("value") - match.start()] + f"{mark}{MASK}{mark}"


def _mask_pairs(text: str) -> str:
    for shape in (_ASSIGNMENT, _QUOTED_KEY, _YAML_LINE, _OPTION):
        text = shape.sub(_mask_pair, text)
    return text


_SHAPES: tuple[Callable[[str], str], ...] = (
    lambda text: _PRIVATE_KEY.sub(MASK, text) if "PRIVATE KEY" in text else text,
    lambda text: _mask_url(text) if "@" in text else text,
    _mask_headers,
    lambda text: _TOKENS.sub(MASK, text),
    _mask_pairs,
)
