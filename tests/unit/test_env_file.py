# SPDX-License-Identifier: GPL-3.0-or-later
"""Environment files are read as a shell reads them, and nothing in them is evaluated."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from cutover.env_file import EnvFileError, parse_env_file, read_env_file
from hypothesis import given
from hypothesis import strategies as st

VALUES = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)))


@given(st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True), VALUES))
def test_what_shlex_wrote_is_read_back(variables: dict[str, str]) -> None:
    text = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
    assert parse_env_file(text) == variables


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", {}, id="empty"),
        pytest.param("# A=b\n\n  # c\nA=b\n", {"A": "b"}, id="comments and empty lines"),
        pytest.param("export A=b", {"A": "b"}, id="export"),
        pytest.param("A=", {"A": ""}, id="no value"),
        pytest.param("A=b\r\nC=d\r\n", {"A": "b", "C": "d"}, id="carriage returns"),
        pytest.param("A=redis://h/0#frag=1", {"A": "redis://h/0#frag=1"}, id="hash and equals within a word"),
        pytest.param("A=$HOME`id`", {"A": "$HOME`id`"}, id="nothing is expanded"),
        pytest.param("A='two\nlines'\nB=c", {"A": "two\nlines", "B": "c"}, id="value over two lines"),
        pytest.param("A=1\nA=2", {"A": "2"}, id="the last one counts"),
        pytest.param('A="b c"', {"A": "b c"}, id="double quotes"),
    ],
)
def test_lines_are_read_as_a_shell_reads_them(text: str, expected: dict[str, str]) -> None:
    assert parse_env_file(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("A=b\nPASSWORD=s3cret word", "line 2: this is not NAME=value", id="space without quotes"),
        pytest.param("A=b\nPASSWORD", "line 2: this is not NAME=value", id="no value at all"),
        pytest.param("1A=b", "line 1: this is not NAME=value", id="not a name"),
        pytest.param("A=1\nB='s3cret\n", "line 2: a quotation mark is never closed", id="open quotation mark"),
        pytest.param("A=b # a note", "line 1: this is not NAME=value", id="comment behind a value"),
    ],
)
def test_what_cannot_be_understood_is_refused_without_showing_it(text: str, words: str) -> None:
    with pytest.raises(EnvFileError, match=words) as refused:
        parse_env_file(text)
    assert "s3cret" not in str(refused.value)


def test_a_file_is_named_when_it_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(EnvFileError, match=r"absent\.env cannot be read: No such file"):
        read_env_file(str(tmp_path / "absent.env"))
    (tmp_path / "latin.env").write_bytes(b"A=\xe9")
    with pytest.raises(EnvFileError, match=r"latin\.env cannot be read: it is not UTF-8"):
        read_env_file(str(tmp_path / "latin.env"))


@given(st.text(st.sampled_from("ab'\"\\ #=\t"), max_size=12))
def test_whatever_is_accepted_means_the_same_to_a_shell(value: str) -> None:
    try:
        variables = parse_env_file(f"A={value}")
    except EnvFileError:
        return
    script = f'A={value}\nprintf %s "$A"'
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=10, check=True).stdout
    assert said == variables["A"]
