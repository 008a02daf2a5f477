# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions as real servers print them."""

from __future__ import annotations

import pytest
from cutover.checks import CannotObserve
from cutover.versions import at_least, numbers
from hypothesis import given
from hypothesis import strategies as st

NUMBERS = st.lists(st.integers(0, 10**6), min_size=1, max_size=5)


def dotted(places: list[int]) -> str:
    return ".".join(map(str, places))


@pytest.mark.parametrize(
    ("version", "minimum", "will_do"),
    [
        pytest.param("1.6", "1.6", True, id="same version"),
        pytest.param("1.10", "1.9", True, id="numbers, not text"),
        pytest.param("15", "15.0", True, id="fewer places"),
        pytest.param("15.0", "15", True, id="more places"),
        pytest.param("14.9", "15", False, id="older"),
        pytest.param("15.18 (Debian 15.18-0+deb12u1)", "15.18", True, id="Debian's PostgreSQL"),
        pytest.param("7.0.15", "7.2", False, id="Debian's Redis"),
        pytest.param("v2.7.2", "2.7", True, id="with a v"),
        pytest.param("2.6.12-1+deb12u4", "2.6.13", False, id="Debian's HAProxy"),
        pytest.param(" 9.1.2\n", "9", True, id="white space around it"),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str, minimum: str, will_do: bool) -> None:
    assert at_least(version, minimum) is will_do


@pytest.mark.parametrize("text", ["", "unknown", "PostgreSQL 15", ".5", "v"])
def test_what_is_no_version_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(CannotObserve, match="is not a version number"):
        numbers(text)


@given(NUMBERS, NUMBERS)
def test_any_two_versions_are_in_an_order_and_zeros_at_the_end_say_nothing(one: list[int], other: list[int]) -> None:
    assert at_least(dotted(one), dotted(other)) or at_least(dotted(other), dotted(one))
    assert at_least(dotted([*one, 0]), dotted(one))
    assert at_least(dotted(one), dotted([*one, 0]))
    assert not at_least(dotted(one), dotted([*one[:-1], one[-1] + 1]))
