# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a declared setting is the running one, whatever its spelling."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from cutover.checks import CannotObserve
from cutover.judge_postgres_settings import MEMORY_B, TIME_US, Setting, is_set_to
from hypothesis import given
from hypothesis import strategies as st

SHARED_BUFFERS = Setting(value="32768", vartype="integer", unit="8kB")
TIMEOUT = Setting(value="30000", vartype="integer", unit="ms")
FSYNC = Setting(value="on", vartype="bool")
COMMIT = Setting(value="on", vartype="enum", enumvals=("local", "remote_write", "remote_apply", "on", "off"))
TLS = Setting(value="TLSv1.2", vartype="enum", enumvals=("", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"))
FILE_MODE = Setting(value="0600", vartype="integer")
COST = Setting(value="1.1", vartype="real")
DELAY = Setting(value="2", vartype="real", unit="ms")
SEARCH_PATH = Setting(value='"$user", public', vartype="string")
PRELOADED = Setting(value="pg_stat_statements,auto_explain", vartype="string")


@pytest.mark.parametrize(
    ("setting", "declared"),
    [
        pytest.param(SHARED_BUFFERS, "256MB", id="megabytes of a setting in pages"),
        pytest.param(SHARED_BUFFERS, "0.25GB", id="a fraction"),
        pytest.param(SHARED_BUFFERS, "262144 kB", id="a blank before the unit"),
        pytest.param(SHARED_BUFFERS, 32768, id="a number without a unit counts in the setting's own"),
        pytest.param(TIMEOUT, "30s", id="seconds of a setting in milliseconds"),
        pytest.param(TIMEOUT, "0.5min", id="half a minute"),
        pytest.param(TIMEOUT, "3e4", id="an exponent"),
        pytest.param(FSYNC, True, id="what YAML makes of on"),
        pytest.param(FSYNC, "TRUE", id="any case"),
        pytest.param(FSYNC, "ye", id="an unambiguous beginning"),
        pytest.param(FSYNC, 1, id="one"),
        pytest.param(COMMIT, True, id="a choice that YAML took for a boolean"),
        pytest.param(COMMIT, "ON", id="a choice in any case"),
        pytest.param(TLS, "TLSv1.2", id="a choice that is not in lower case"),
        pytest.param(TLS, "tlsv1.2", id="such a choice in lower case"),
        pytest.param(FILE_MODE, 0o600, id="a file mode, octal in YAML too"),
        pytest.param(FILE_MODE, "0600", id="a file mode as text"),
        pytest.param(FILE_MODE, "0x180", id="hexadecimal"),
        pytest.param(COST, 1.1, id="a real number"),
        pytest.param(DELAY, "2000us", id="a real number in another unit"),
        pytest.param(SEARCH_PATH, ["$user", "public"], id="a list with quotes"),
        pytest.param(PRELOADED, ["pg_stat_statements", "auto_explain"], id="a list"),
        pytest.param(Setting(value="", vartype="string"), [], id="an empty list"),
        pytest.param(Setting(value="-1", vartype="integer", unit="ms"), -1, id="minus one switches off"),
        pytest.param(Setting(value="UTC", vartype="string"), "UTC", id="a text"),
        pytest.param(Setting(value="15", vartype="string"), 15, id="a text that YAML took for a number"),
    ],
)
def test_the_same_value_in_another_spelling_is_the_same(setting: Setting, declared: Any) -> None:
    assert is_set_to(setting, declared) is True


@pytest.mark.parametrize(
    ("setting", "declared"),
    [
        pytest.param(SHARED_BUFFERS, "128MB", id="fewer megabytes"),
        pytest.param(SHARED_BUFFERS, 256, id="256 pages are not 256 megabytes"),
        pytest.param(TIMEOUT, "30ms", id="another unit"),
        pytest.param(FSYNC, False, id="off"),
        pytest.param(COMMIT, "local", id="another choice"),
        pytest.param(TLS, "TLSv1.3", id="another choice that is not in lower case"),
        pytest.param(FILE_MODE, 600, id="decimal 600 is another mode"),
        pytest.param(COST, 1.2, id="another real number"),
        pytest.param(SEARCH_PATH, ["public", "$user"], id="another order"),
        pytest.param(PRELOADED, ["pg_stat_statements"], id="a part of a list"),
        pytest.param(Setting(value="UTC", vartype="string"), "utc", id="a text in another case"),
        pytest.param(Setting(value="", vartype="string"), "off", id="nothing is not off"),
    ],
)
def test_another_value_is_told_apart(setting: Setting, declared: Any) -> None:
    assert is_set_to(setting, declared) is False


@pytest.mark.parametrize(
    ("setting", "declared", "words"),
    [
        pytest.param(SHARED_BUFFERS, "256mb", "units B, kB, MB, GB, TB", id="a unit in the wrong case"),
        pytest.param(SHARED_BUFFERS, "30s", "units B, kB", id="a time for a size"),
        pytest.param(SHARED_BUFFERS, "lots", "not a number", id="no number"),
        pytest.param(SHARED_BUFFERS, True, "not a number", id="a boolean for a size"),
        pytest.param(COST, "1MB", "no unit", id="a unit where there is none"),
        pytest.param(FSYNC, "maybe", "not a boolean", id="no boolean"),
        pytest.param(FSYNC, "o", "not a boolean", id="an ambiguous beginning"),
        pytest.param(FSYNC, "", "not a boolean", id="nothing"),
        pytest.param(COMMIT, "sometimes", "takes local, remote_write", id="no such choice"),
    ],
)
def test_what_the_setting_does_not_take_is_said(setting: Setting, declared: Any, words: str) -> None:
    with pytest.raises(CannotObserve, match=words):
        is_set_to(setting, declared)


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        pytest.param(SHARED_BUFFERS, "256MB", id="pages"),
        pytest.param(TIMEOUT, "30s", id="milliseconds"),
        pytest.param(Setting(value="90", vartype="integer", unit="s"), "90s", id="no whole minutes"),
        pytest.param(Setting(value="0", vartype="integer", unit="ms"), "0", id="zero"),
        pytest.param(Setting(value="-1", vartype="integer", unit="kB"), "-1", id="minus one"),
        pytest.param(DELAY, "2ms", id="a real number"),
        pytest.param(FILE_MODE, "0600", id="no unit"),
        pytest.param(SEARCH_PATH, '"$user", public', id="a text"),
    ],
)
def test_a_value_is_shown_as_the_server_shows_it(setting: Setting, shown: str) -> None:
    assert setting.shown() == shown


units = st.sampled_from([(unit, kind) for kind in (MEMORY_B, TIME_US) for unit in kind])


@given(amount=st.integers(0, 10**6), unit=units)
def test_an_amount_is_the_same_in_every_smaller_unit_and_as_shown(
    amount: int, unit: tuple[str, dict[str, int]]
) -> None:
    name, kind = unit
    setting = Setting(value=str(amount), vartype="integer", unit=name)
    for smaller in (other for other in kind if kind[other] <= kind[name]):
        assert is_set_to(setting, f"{amount * kind[name] // kind[smaller]}{smaller}")
    assert is_set_to(setting, setting.shown())


@given(setting=st.sampled_from([SHARED_BUFFERS, TIMEOUT, FSYNC, COMMIT, FILE_MODE, COST, DELAY]), declared=st.text())
def test_no_text_makes_the_comparison_break(setting: Setting, declared: str) -> None:
    with suppress(CannotObserve):
        assert is_set_to(setting, declared) in (True, False)
