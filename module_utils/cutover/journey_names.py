# SPDX-License-Identifier: GPL-3.0-or-later
"""Names in braces, and what is put in their places.

What the inventory writes as ``{name}`` is replaced in one pass by a plain value, in the way that its place demands: in
a path it is percent-encoded, in a regular expression it is escaped, in JSON it keeps its type. What came from a server
is never looked at for names, and never evaluated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from .checks import CannotObserve

Values = Mapping[str, Any]

NAME = r"[a-z][a-z0-9_]*"
# The name that stands for each file's own name in `files.path`.
FILE = "file"

_PLACE = re.compile(rf"(?P<escaped>\\\{{)|\{{(?P<name>{NAME})\}}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")


def names_in(template: Any) -> set[str]:
    """The names in a text, or in the texts of nested data."""
    if isinstance(template, str):
        return {match["name"] for match in _PLACE.finditer(template) if match["name"]}
    if isinstance(template, Mapping):
        return {name for item in template.values() for name in names_in(item)}
    if isinstance(template, (list, tuple)):
        return {name for item in template for name in names_in(item)}
    return set()


def filled(template: Any, values: Values) -> Any:
    r"""The template with its names replaced. A text that is a name alone becomes the value, and keeps its type.

    ``\{name}`` stays ``{name}``. Raises ``CannotObserve`` for a name without a value, and for a value that is no text
    or number where it stands within a text.
    """
    if isinstance(template, Mapping):
        return {key: filled(item, values) for key, item in template.items()}
    if isinstance(template, (list, tuple)):
        return [filled(item, values) for item in template]
    if not isinstance(template, str):
        return template
    alone = _PLACE.fullmatch(template)
    if alone and alone["name"]:
        return _value(alone["name"], values)
    return _replaced(template, values, str, escaped="{")


def filled_path(template: str, values: Values) -> str:
    """A path with its names replaced by percent-encoded text, which adds no segment, query or fragment of its own.

    ``{file}`` alone may bring folders. Raises ``CannotObserve`` for a value that would lead to another folder.
    """
    path = _replaced(template, values, _encoded, escaped="{", keep=FILE)
    if FILE in names_in(template):
        folders = _scalar(FILE, _value(FILE, values)).split("/")
        path = path.replace(f"{{{FILE}}}", "/".join(map(_encoded, folders)))
    if {".", ".."} & set(path.partition("?")[0].split("/")):
        raise CannotObserve("nothing was sent: with the values put in, the path would lead to another folder")
    return path


def filled_pattern(template: str, values: Values) -> str:
    """A regular expression in which values stand for nothing but themselves."""
    return _replaced(template, values, re.escape, escaped="\\{")


def filled_header(name: str, template: Any, values: Values) -> str:
    """A header's value. Raises ``CannotObserve``, without the value, for one that cannot be sent as a header."""
    value = filled(template, values)
    text = _scalar(name, value)
    if not _HEADER_VALUE.fullmatch(text) or text != text.strip():
        raise CannotObserve(
            f"nothing was sent: the value of {name} cannot be that of a header. Does it end in a line break?"
        )
    return text


def _encoded(text: str) -> str:
    # DELETE /users/{id} with nothing for the id would be another request altogether.
    if not text:
        raise CannotObserve("nothing was sent: a value in the path is empty")
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise CannotObserve("nothing was sent: a value in the path is no text that can be sent") from None


def _replaced(
    template: str, values: Values, put: Callable[[str], str], *, escaped: str, keep: str | None = None
) -> str:
    def place(match: re.Match[str]) -> str:
        if match["escaped"]:
            return escaped
        name = match["name"]
        return match[0] if name == keep else put(_scalar(f"{{{name}}}", _value(name, values)))

    return _PLACE.sub(place, template)


def _value(name: str, values: Values) -> Any:
    try:
        return values[name]
    except KeyError:
        raise CannotObserve(f"{{{name}}} has no value") from None


def _scalar(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, (list, Mapping)):
        kind = "null" if value is None else "a list" if isinstance(value, list) else "an object"
        raise CannotObserve(f"the value of {name} is {kind}: it cannot stand within a text")
    return json.dumps(value)
