# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare a declared PostgreSQL setting with a running one, as the server itself reads values.

Source: https://www.postgresql.org/docs/current/config-setting.html and ``parse_int`` in the server's guc.c.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from .checks import CannotObserve

# Case counts: `mb` is no unit. Each unit in the smallest one of its kind; the order is from small to large.
MEMORY_B = {"B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
TIME_US = {"us": 1, "ms": 1000, "s": 1000**2, "min": 60 * 1000**2, "h": 3600 * 1000**2, "d": 86400 * 1000**2}

_NUMBER = re.compile(
    r"\s*(?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))\s*(?P<unit>[A-Za-z]*)\s*", re.ASCII
)
_BASE_UNIT = re.compile(r"(?P<factor>\d*)(?P<unit>[A-Za-z]+)", re.ASCII)
_WORDS = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False, "1": True, "0": False}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A row of the view pg_settings: ``value`` counts in ``unit``, which may be a number of units such as ``8kB``."""

    value: str
    vartype: str
    unit: str | None = None
    enumvals: tuple[str, ...] = ()

    def shown(self) -> str:
        """The value as ``SHOW`` prints it, in the largest unit that holds it without a fraction."""
        scale = _scale(self.unit)
        if scale is None or self.value in ("0", "-1"):
            return self.value
        if self.vartype != "integer" or int(self.value) < 0:
            return f"{self.value}{self.unit}"
        units, in_smallest = scale
        amount = int(self.value) * in_smallest
        unit = next(unit for unit in reversed(units) if amount % units[unit] == 0)
        return f"{amount // units[unit]}{unit}"


def is_set_to(setting: Setting, declared: Any) -> bool:
    """Whether ``setting`` is what ``declared`` means: ``256MB``, ``30s``, ``on``, ``true``, a number, or a list.

    Raises ``CannotObserve`` for a declared value that the setting does not take.
    """
    if isinstance(declared, (list, tuple)):
        return _items(setting.value) == [str(item).strip() for item in declared]
    if setting.vartype == "bool":
        return _boolean(declared) == _boolean(setting.value)
    if setting.vartype == "enum":
        return _choice(declared, setting.enumvals) == setting.value.lower()
    if setting.vartype == "integer":
        return _integer(declared, setting.unit) == _integer(setting.value, setting.unit)
    if setting.vartype == "real":
        # The view prints six digits.
        return math.isclose(_number(declared, setting.unit), _number(setting.value, setting.unit), rel_tol=1e-5)
    return _text(declared) == setting.value


def _text(declared: Any) -> str:
    """What YAML took for a boolean, as PostgreSQL spells it."""
    if isinstance(declared, bool):
        return "on" if declared else "off"
    return str(declared)


def _items(value: str) -> list[str]:
    """The elements of a list such as ``"$user", public``."""
    return [item.strip().strip('"') for item in value.split(",") if item.strip()]


def _boolean(declared: Any) -> bool:
    """Any case, and any beginning that is unambiguous: ``t``, ``ye``, ``of``."""
    word = _text(declared).strip().lower()
    meant = {value for name, value in _WORDS.items() if word and name.startswith(word)}
    if len(meant) != 1:
        raise CannotObserve(f"{declared!r} is not a boolean: declare on or off")
    return meant.pop()


def _choice(declared: Any, enumvals: tuple[str, ...]) -> str:
    """One of the setting's words in any case; those that also know on and off take other words for them."""
    word, choices = _text(declared).lower(), {value.lower() for value in enumvals}
    if word not in choices and word in _WORDS:
        word = "on" if _WORDS[word] else "off"
    if word not in choices:
        raise CannotObserve(f"{declared!r} is not a value of this setting: it takes {', '.join(enumvals)}")
    return word


def _integer(declared: Any, base_unit: str | None) -> int:
    return round(_number(declared, base_unit))


def _number(declared: Any, base_unit: str | None) -> float:
    """The declared number in the setting's own unit."""
    match = None if isinstance(declared, bool) else _NUMBER.fullmatch(str(declared))
    if not match:
        raise CannotObserve(f"{declared!r} is not a number: declare one, with a unit where the setting has one")
    number = _parsed(match["number"])
    if not math.isfinite(number):
        raise CannotObserve(f"{declared!r} is larger than any setting")
    return _converted(number, match["unit"], base_unit) if match["unit"] else number


def _parsed(digits: str) -> float:
    """As C's strtol does: 0x begins a hexadecimal number, 0 an octal one such as a file mode."""
    bare = digits.lstrip("+-").lower()
    if bare.startswith("0x"):
        number = int(bare, 16)
    elif re.fullmatch("0[0-7]+", bare):
        number = int(bare, 8)
    else:
        return float(digits)
    return -number if digits.startswith("-") else number


def _converted(number: float, unit: str, base_unit: str | None) -> float:
    """From ``unit`` to ``base_unit``; a fraction is first rounded in the next smaller unit, as the server does."""
    scale = _scale(base_unit)
    if scale is None or unit not in scale[0]:
        takes = f"units {', '.join(scale[0])}" if scale else "no unit"
        raise CannotObserve(f"{unit!r} is not a unit of this setting: it takes {takes}")
    units, in_smallest = scale
    names = list(units)
    smaller = units[names[max(names.index(unit) - 1, 0)]]
    amount = number * units[unit]
    if not number.is_integer() and smaller < units[unit]:
        amount = round(amount / smaller) * smaller
    return amount / in_smallest


def _scale(base_unit: str | None) -> tuple[dict[str, int], int] | None:
    """All units of the kind that ``base_unit`` is of, and how many of the smallest one it is; ``None`` without unit."""
    match = _BASE_UNIT.fullmatch(base_unit or "")
    if not match:
        return None
    for units in (MEMORY_B, TIME_US):
        if match["unit"] in units:
            return units, int(match["factor"] or 1) * units[match["unit"]]
    return None
