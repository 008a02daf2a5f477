# SPDX-License-Identifier: GPL-3.0-or-later
"""vault_unseal against a real OpenBao: holders' shares from files, wrapped with age and PGP, and as they are typed."""

from __future__ import annotations

import base64
import json
import os
import pty
import select
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import servers
import vault_unseal

RunModule = Callable[..., dict[str, Any]]
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def openbao() -> Iterator[servers.OpenBao]:
    """A server of these tests' own: they seal it."""
    with TemporaryDirectory(prefix="seal-") as folder, servers.start_openbao(Path(folder)) as own:
        yield own


@pytest.fixture
def sealed(openbao: servers.OpenBao) -> servers.OpenBao:
    """Sealed, and without any share that counts."""
    if is_sealed(openbao):
        openbao.client().sys.submit_unseal_key(reset=True)
    else:
        openbao.client().sys.seal()
    return openbao


def is_sealed(bao: servers.OpenBao) -> bool:
    return bool(bao.client().sys.read_seal_status()["sealed"])


def share(folder: Path, name: str, text: str | bytes, mode: int = 0o600) -> str:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return str(path)


def wrapped_by_age(folder: Path, key: str) -> tuple[str, str]:
    """A file that holds the key, and the identity that unwraps it."""
    identity = folder / "identity"
    subprocess.run(["age-keygen", "-o", str(identity)], check=True, capture_output=True)
    recipient = next(line for line in identity.read_text().splitlines() if "public key" in line).split()[-1]
    secret = subprocess.run(["age", "--recipient", recipient], input=key.encode(), check=True, capture_output=True)
    return share(folder, "bob.age", secret.stdout, 0o644), str(identity)


@pytest.fixture
def gpg(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, bool], bytes]]:
    """Wraps a key for a holder with a new key pair: with the lines around it, or as operator init prints it."""
    # Its agent listens in this folder, and the path of a socket may not be long.
    with TemporaryDirectory(prefix="gpg-", dir="/tmp") as home:
        monkeypatch.setenv("GNUPGHOME", home)
        call = ["gpg", "--batch", "--quiet"]
        make = [*call, "--passphrase", "", "--quick-gen-key", "carol@example.org", "default", "default"]
        subprocess.run(make, check=True, capture_output=True)

        def wrap(key: str, armour: bool) -> bytes:
            argv = [*call, "--trust-model", "always", "--recipient", "carol@example.org", "--encrypt"]
            argv += ["--armor"] if armour else []
            done = subprocess.run(argv, input=key.encode(), check=True, capture_output=True).stdout
            return done if armour else base64.b64encode(done)

        yield wrap
        subprocess.run(["gpgconf", "--kill", "gpg-agent"], check=False, capture_output=True)


def unseal(run_module: RunModule, bao: servers.OpenBao, *files: str, **options: Any) -> dict[str, Any]:
    return run_module(vault_unseal, address=bao.address, key_files=list(files), **options)


def test_three_holders_unseal_it_however_they_keep_their_shares(
    sealed: servers.OpenBao, gpg: Callable[[str, bool], bytes], run_module: RunModule, tmp_path: Path
) -> None:
    of_bob, identity = wrapped_by_age(tmp_path, sealed.keys[1])
    files = [share(tmp_path, "alice", f"{sealed.keys[0]}\n"), of_bob]
    files.append(share(tmp_path, "carol.asc", gpg(sealed.keys[2], False), 0o644))
    result = unseal(run_module, sealed, *files, age_identity=identity)
    assert "failed" not in result, result["msg"]
    assert result["changed"]
    assert not result["sealed"]
    assert result["taken"] == [
        {"holder": "alice", "counted": True, "progress": 1}, {"holder": "bob.age", "counted": True, "progress": 2},
        {"holder": "carol.asc", "counted": True, "progress": 3},
    ]  # fmt: skip
    assert not is_sealed(sealed)
    assert not any(key in json.dumps(result) for key in sealed.keys)
    again = unseal(run_module, sealed, *files, age_identity=identity)
    assert (again["changed"], again["taken"]) == (False, [])


def test_a_holder_who_comes_alone_is_told_how_many_it_waits_for(
    sealed: servers.OpenBao, gpg: Callable[[str, bool], bytes], run_module: RunModule, tmp_path: Path
) -> None:
    alice = share(tmp_path, "alice.asc", gpg(sealed.keys[0], True))
    alone = unseal(run_module, sealed, alice, complete=False)
    assert "failed" not in alone
    assert (alone["sealed"], alone["progress"], alone["threshold"], alone["shares"]) == (True, 1, 3, 5)
    assert "1 of 3 key shares count" in alone["msg"]
    twice = unseal(run_module, sealed, alice)
    assert twice["failed"]
    assert twice["taken"] == [{"holder": "alice.asc", "counted": False, "progress": 1}]
    others = [share(tmp_path, f"holder-{number}", sealed.keys[number]) for number in (1, 2)]
    assert not unseal(run_module, sealed, *others)["sealed"]


def test_check_mode_hands_nothing_in(sealed: servers.OpenBao, run_module: RunModule, tmp_path: Path) -> None:
    result = unseal(run_module, sealed, share(tmp_path, "alice", sealed.keys[0]), _ansible_check_mode=True)
    assert result["changed"]
    assert "Would hand in 1 key shares" in result["msg"]
    assert sealed.client().sys.read_seal_status()["progress"] == 0


def test_a_share_of_another_server_is_told_and_spoils_the_others(
    sealed: servers.OpenBao, run_module: RunModule, tmp_path: Path
) -> None:
    strange = "A" * 32 + "0" * 34
    files = [share(tmp_path, f"holder-{number}", key) for number, key in enumerate((*sealed.keys[:2], strange))]
    result = unseal(run_module, sealed, *files)
    assert result["failed"]
    assert "is none of this server's. It is sealed: 0 of 3 key shares count" in result["msg"]
    assert strange not in json.dumps(result)
    assert is_sealed(sealed)


@pytest.mark.parametrize(
    ("name", "text", "mode", "words"),
    [
        pytest.param("alice", "abc123", 0o644, "others than its owner may read it (mode 0644)", id="readable by all"),
        pytest.param("alice", "two words", 0o600, "does not hold one key share", id="no share"),
        pytest.param("alice", "", 0o600, "does not hold one key share", id="empty"),
        pytest.param("bob.age", "abc123", 0o600, "name the file of an identity", id="age without an identity"),
        pytest.param("carol.gpg", "not wrapped at all", 0o600, "could not be unwrapped: gpg:", id="not PGP"),
    ],
)
def test_a_share_that_cannot_be_taken_is_refused_before_anything_is_handed_in(
    sealed: servers.OpenBao, run_module: RunModule, tmp_path: Path, name: str, text: str, mode: int, words: str
) -> None:
    good = share(tmp_path, "good", sealed.keys[0])
    result = unseal(run_module, sealed, good, share(tmp_path, name, text, mode))
    assert result["failed"]
    assert words in result["msg"]
    assert sealed.client().sys.read_seal_status()["progress"] == 0


def test_what_is_missing_is_named(sealed: servers.OpenBao, run_module: RunModule, tmp_path: Path) -> None:
    assert "/nowhere/share cannot be read" in unseal(run_module, sealed, "/nowhere/share")["msg"]
    nobody = run_module(vault_unseal, address="http://127.0.0.1:9", key_files=[share(tmp_path, "a", "abc")])
    assert "127.0.0.1:9" in nobody["msg"]


def test_a_server_that_was_never_initialised_has_no_keys(run_module: RunModule) -> None:
    with TemporaryDirectory(prefix="new-") as folder, servers.start_openbao(Path(folder), initialise=False) as new:
        assert "was never initialised" in unseal(run_module, new)["msg"]


# --- the playbook -----------------------------------------------------------------------------------------------------

ASKS, TAKEN = "Key share", "worker\r\nhttp://"


def play(bao: servers.OpenBao, folder: Path, typed: list[str] | None, **variables: Any) -> tuple[int, str]:
    """The playbook in a terminal of its own, in which ``typed`` is answered; without any where that is None."""
    hosts = {"localhost": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}
    targets = [{"name": "vault", "address": bao.address, "token": bao.root_token}]
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": {"vault_targets": targets}}}))
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), str(PROJECT / "playbooks/unseal.yml"), "-vvv"]
    argv += ["-i", str(folder / "hosts.json"), "-e", json.dumps(variables)]
    environment = os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    if typed is None:
        done = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=120, check=False, start_new_session=True)  # fmt: skip
        return done.returncode, done.stdout + done.stderr
    pid, terminal = pty.fork()
    if pid == 0:
        # What a terminal repeats of what comes too early is not the program's doing.
        quiet = termios.tcgetattr(0)
        quiet[3] &= ~termios.ECHO
        termios.tcsetattr(0, termios.TCSANOW, quiet)
        os.execve(argv[0], argv, environment)
    ended = threading.Timer(120, os.killpg, (pid, 9))
    ended.start()
    said, typed_at = "", 0.0
    try:
        while True:
            if select.select([terminal], [], [], 0.2)[0]:
                said += os.read(terminal, 65536).decode("utf-8", "replace")
            # What is typed before whoever asks begins to listen is thrown away by it: then it is typed again.
            taken = said.count(TAKEN)
            if said.count(ASKS) > taken < len(typed) and time.monotonic() > typed_at + 2:
                os.write(terminal, f"{typed[taken]}\r".encode())
                typed_at = time.monotonic()
    except OSError:  # the terminal is gone with whoever had it
        pass
    ended.cancel()
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


def test_holders_are_asked_and_nothing_that_they_type_is_shown(sealed: servers.OpenBao, tmp_path: Path) -> None:
    code, said = play(sealed, tmp_path, list(sealed.keys[:3]))
    assert code == 0, said
    assert not is_sealed(sealed)
    assert "Key share 3 of 3" in said
    assert not any(secret in said for secret in (*sealed.keys, sealed.root_token))


def test_whoever_ends_it_early_is_told_what_it_waits_for(sealed: servers.OpenBao, tmp_path: Path) -> None:
    code, said = play(sealed, tmp_path, [sealed.keys[0], ""])
    assert code == 2, said
    assert "1 of 3 key shares count" in said
    assert sealed.client().sys.read_seal_status()["progress"] == 1


def test_a_holder_who_types_alone_is_no_failure_where_that_was_said(sealed: servers.OpenBao, tmp_path: Path) -> None:
    code, said = play(sealed, tmp_path, [sealed.keys[0], ""], vault_unseal_complete="false")
    assert code == 0, said
    assert sealed.client().sys.read_seal_status()["progress"] == 1


def test_without_a_terminal_nobody_is_asked(sealed: servers.OpenBao, tmp_path: Path) -> None:
    code, said = play(sealed, tmp_path, None)
    assert code == 2
    assert "There is no terminal in which holders could be asked: name files" in " ".join(said.split())


def test_files_unseal_it_without_anybody(sealed: servers.OpenBao, tmp_path: Path) -> None:
    files = [share(tmp_path, f"holder-{number}", key) for number, key in enumerate(sealed.keys[2:])]
    code, said = play(sealed, tmp_path, None, vault_unseal_key_files=files)
    assert code == 0, said
    assert "is unsealed" in said
    assert not any(secret in said for secret in (*sealed.keys, sealed.root_token))
