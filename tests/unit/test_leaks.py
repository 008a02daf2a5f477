"""The search for secrets finds them, in whatever form; a search that finds nothing would prove nothing."""

import base64
from urllib.parse import quote

import pytest
from leaks import files_in, leaks, secrets_of

PASSWORD = "p+ss/w?rd-Zq7x"
KEY_LINE = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v"


@pytest.fixture
def state(tmp_path):
    for folder in ("secrets", "ca"):
        (tmp_path / "state" / folder).mkdir(parents=True)
    (tmp_path / "state/secrets/redis-password").write_text(f"{PASSWORD}\n")
    (tmp_path / "state/secrets/openbao-init.json").write_text(
        '{"keys": ["0a1b2c3d4e"], "n": 3, "root_token": "s.root-1"}'
    )
    (tmp_path / "state/ca/ca.key").write_text(f"-----BEGIN PRIVATE KEY-----\n{KEY_LINE}\n-----END PRIVATE KEY-----\n")
    return tmp_path / "state"


def found(state, tmp_path, text):
    path = tmp_path / "output"
    path.write_text(text)
    return [sentence.removesuffix(f" is in {path}") for sentence in leaks(state, [path])]


def test_every_secret_of_a_lab_is_known(state):
    assert set(secrets_of(state)) == {PASSWORD, "0a1b2c3d4e", "s.root-1", KEY_LINE}


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(PASSWORD, id="as it is"),
        pytest.param(quote(PASSWORD, safe=""), id="in a URL"),
        pytest.param(PASSWORD.encode().hex(), id="in hex"),
        *(
            pytest.param(
                base64.b64encode(b"x" * ahead + PASSWORD.encode() + b"yz").decode(), id=f"in base64, {ahead} in"
            )
            for ahead in range(3)
        ),
    ],
)
def test_a_secret_is_found_however_it_is_written(state, tmp_path, written):
    assert found(state, tmp_path, f"ok: [{written}] => changed") == ["redis-password"]


def test_keys_and_what_a_login_gave_out_are_found(state, tmp_path):
    assert found(state, tmp_path, f"x{KEY_LINE}x 0a1b2c3d4e") == ["ca/ca.key", "openbao-init.json"]
    assert "at byte 8" in found(state, tmp_path, "token = s.abcdefghijklmnopqrstuvwx")[0]


def test_nothing_is_found_where_there_is_nothing(state, tmp_path):
    assert found(state, tmp_path, "redis-password: *** secret/redis sha256:0a1b2c3d") == []


def test_a_place_with_nothing_in_it_is_no_proof(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="nothing to search"):
        files_in([str(tmp_path / "empty")])
