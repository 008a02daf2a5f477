# SPDX-License-Identifier: GPL-3.0-or-later
"""fault on real processes and servers: what it breaks is broken, and is well again whoever dies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fault
import pytest
import redis
import servers
from cutover.keeper import Store
from hvac.exceptions import VaultDown
from redis.backoff import NoBackoff
from redis.retry import Retry

RunModule = Callable[..., dict[str, Any]]
PROJECT = Path(__file__).resolve().parents[2]

# A module's process of its own, as Ansible starts one: its arguments come over a pipe.
PROCESS = f"""
import json, sys
from pathlib import Path
import ansible.module_utils
ansible.module_utils.__path__.append({str(PROJECT / "module_utils")!r})
sys.path.insert(0, {str(PROJECT / "library")!r})
from ansible.module_utils.testing import patch_module_args
import fault
with patch_module_args(json.load(sys.stdin)):
    fault.main()
"""
SUPERVISORD_CONF = """
[unix_http_server]
file = %(here)s/s
[supervisord]
logfile = %(here)s/supervisord.log
pidfile = %(here)s/supervisord.pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:web]
command = sleep 600
startsecs = 0
autorestart = true
"""


@dataclass(frozen=True)
class Breakable:
    """Something that can be broken, and whether it is well."""

    options: dict[str, Any]
    is_well: Callable[[], bool]
    secrets: tuple[str, ...] = ()


def state_of(pid: int) -> str:
    """R, S or T of a process, or nothing when it is gone. Source: proc(5)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


@pytest.fixture(scope="module")
def supervisord(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The manager of a program named web."""
    folder = tmp_path_factory.mktemp("sv")
    (folder / "supervisord.conf").write_text(SUPERVISORD_CONF)
    program = str(Path(sys.executable).with_name("supervisord"))
    with servers.process([program, "-n", "-c", str(folder / "supervisord.conf")], log=folder / "log"):
        manager = {"driver": "supervisor", "address": f"unix://{folder / 's'}"}
        servers.wait_until(lambda: web_pid(manager) > 0, what="supervisord's program")
        yield manager


def web_pid(manager: dict[str, Any]) -> int:
    from cutover.checks import CannotObserve
    from cutover.observe_service import call_supervisor
    from cutover.pool import Deadline

    try:
        told = call_supervisor(manager, Deadline(time.monotonic() + 5), "supervisor.getProcessInfo", "web")
    except CannotObserve:
        return 0
    return int(told["pid"]) if told["statename"] == "RUNNING" else 0


@pytest.fixture(scope="module")
def redis_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Redis]:
    with servers.start_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


def answers(server: servers.Redis) -> bool:
    try:
        # Asked once: redis-py would go on asking until the pause is over.
        return bool(server.client(retry=Retry(NoBackoff(), 0), socket_timeout=0.2).ping())
    except redis.RedisError:
        return False


def unsealed(server: servers.OpenBao) -> bool:
    try:
        return not server.client().sys.read_seal_status()["sealed"]
    except VaultDown:
        return False


KINDS = ["pause", "kill", "stop", "command", "instance", "redis_pause", "vault_seal"]


@pytest.fixture
def breakable(request: pytest.FixtureRequest, tmp_path: Path) -> Breakable:
    """What a kind of fault breaks, on a real process or server."""
    kind = request.param
    if kind == "pause":
        process = request.getfixturevalue("sleeper")
        (tmp_path / "pid").write_text(f"{process.pid}\n")
        return Breakable({"kind": kind, "pid_file": str(tmp_path / "pid")}, lambda: state_of(process.pid) in "RS")
    if kind in ("kill", "stop"):
        manager = request.getfixturevalue("supervisord")
        before = web_pid(manager)
        options = {"kind": kind, "service": "web", "manager": manager}
        if kind == "stop":
            return Breakable(options, lambda: web_pid(manager) > 0)
        # What was killed is another process now.
        store = Store(tmp_path / "state")
        return Breakable(options, lambda: not store.all() or web_pid(manager) not in (0, before))
    if kind == "command":
        mark = tmp_path / "broken"
        commands = {"break_argv": ["touch", str(mark)], "undo_argv": ["rm", "-f", str(mark)]}
        return Breakable({"kind": kind, **commands}, lambda: not mark.exists())
    if kind == "instance":
        mark = tmp_path / "pid"
        program = ["sh", "-c", f'echo $$ > {mark}; exec sleep "$LONG"']
        options = {"kind": kind, "argv": program, "environment": {"LONG": "600", "APP_PASSWORD": "n0t-in-a-file"}}
        return Breakable(
            options, lambda: not mark.exists() or state_of(int(mark.read_text() or 0)) in "Z", ("n0t-in-a-file",)
        )
    if kind == "redis_pause":
        server = request.getfixturevalue("redis_alone")
        options = {"address": f"redis://127.0.0.1:{server.port}/0", "password": server.password}
        return Breakable({"kind": kind, "redis": options}, lambda: answers(server), (server.password,))
    bao = request.getfixturevalue("openbao")
    files = [tmp_path / f"share-{number}" for number in range(3)]
    for file, key in zip(files, bao.keys, strict=False):
        file.write_text(f"{key}\n")
        file.chmod(0o600)
    vault = {"address": bao.address, "token": bao.root_token, "unseal_key_files": [str(file) for file in files]}
    return Breakable({"kind": kind, "vault": vault}, lambda: unsealed(bao), (bao.root_token, *bao.keys))


every_kind = pytest.mark.parametrize("breakable", KINDS, indirect=True)


def arguments(tmp_path: Path, breakable: Breakable, **more: Any) -> dict[str, Any]:
    return {"state_dir": str(tmp_path / "state"), "id": "run-drill", "drill": "drill", **breakable.options, **more}


@every_kind
def test_the_module_is_killed_right_after_the_fault_and_all_is_well_again_within_the_limit(
    breakable: Breakable, tmp_path: Path, run_module: RunModule
) -> None:
    store, limit_s = Store(tmp_path / "state"), 2.0
    servers.wait_until(breakable.is_well, what="that it is well")
    with subprocess.Popen(
        [sys.executable, "-c", PROCESS], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(json.dumps(arguments(tmp_path, breakable, state="broken", limit_s=limit_s)))
        process.stdin.close()
        servers.wait_until(lambda: bool(store.all() and store.all()[0].broken_at), what="the fault")
        os.killpg(process.pid, signal.SIGKILL)
    [state] = store.all()
    assert state.is_open
    if breakable.options["kind"] != "kill":  # what is killed may have been started again already
        servers.wait_until(lambda: not breakable.is_well(), what="that it is broken")
    held = Path(tmp_path / "state" / "run-drill.json")
    assert held.stat().st_mode & 0o777 == 0o600
    command = Path(f"/proc/{state.keeper_pid}/cmdline").read_text()
    assert not any(secret in held.read_text() + command for secret in breakable.secrets if secret)
    broken_at = time.monotonic()
    servers.wait_until(lambda: not store.all()[0].is_open, what="the undo")
    assert time.monotonic() - broken_at < limit_s + 20
    servers.wait_until(breakable.is_well, what="that it is well again")
    by_server = "the server, by its own time limit"
    by = by_server if breakable.options["kind"] == "redis_pause" else "the keeper, at the deadline"
    assert store.all()[0].undone_by == by
    # Whoever comes later finds nothing to mend.
    after = run_module(fault, **arguments(tmp_path, breakable, state="mended"))
    assert not after["changed"]
    assert after["fault"]["undone_by"] == by


@every_kind
def test_what_was_seen_enough_of_is_undone_at_once_and_the_keeper_stands_down(
    breakable: Breakable, tmp_path: Path, run_module: RunModule
) -> None:
    limit_s = 1.0 if breakable.options["kind"] == "redis_pause" else 60.0
    broken = run_module(fault, **arguments(tmp_path, breakable, state="broken", limit_s=limit_s))
    assert broken["changed"]
    assert broken["fault"]["broken_at"]
    keeper = broken["fault"]["keeper_pid"]
    mended = run_module(fault, **arguments(tmp_path, breakable, state="mended"))
    servers.wait_until(breakable.is_well, what="that it is well again")
    assert mended["changed"]
    servers.wait_until(lambda: state_of(keeper) == "", what="the keeper's end")
    text = json.dumps([broken, mended])
    assert not any(secret in text for secret in breakable.secrets if secret)


def test_without_a_keeper_the_next_one_undoes_it(sleeper: Any, tmp_path: Path, run_module: RunModule) -> None:
    (tmp_path / "pid").write_text(str(sleeper.pid))
    pause = Breakable({"kind": "pause", "pid_file": str(tmp_path / "pid")}, lambda: True)
    broken = run_module(fault, **arguments(tmp_path, pause, state="broken", limit_s=60))
    os.kill(broken["fault"]["keeper_pid"], signal.SIGKILL)
    asked = run_module(fault, state="asked", state_dir=str(tmp_path / "state"))
    assert [(each["drill"], each["undone_at"]) for each in asked["faults"]] == [("drill", None)]
    again = run_module(fault, **arguments(tmp_path, pause, state="broken", limit_s=60) | {"id": "another"})
    assert again["failed"]
    assert "run-drill: not undone yet" in again["msg"]
    servers.wait_until(lambda: state_of(sleeper.pid) == "T", what="that it is paused")
    run_module(fault, **arguments(tmp_path, pause, state="mended"))
    servers.wait_until(lambda: state_of(sleeper.pid) == "S", what="that it goes on")


def test_another_process_that_has_the_number_by_now_is_left_alone(
    sleeper: Any, tmp_path: Path, run_module: RunModule
) -> None:
    from cutover.apply_fault import PROCESS_KINDS

    stale = {"processes": [{"pid": sleeper.pid, "began": 1}]}
    kill = PROCESS_KINDS["kill"]({"service": "web", "manager": None}, stale)
    with pytest.raises(ProcessLookupError):
        kill.cause()
    assert sleeper.poll() is None


def test_check_mode_says_what_it_would_do_and_what_is_not_well_is_not_broken(
    supervisord: dict[str, Any], tmp_path: Path, run_module: RunModule
) -> None:
    stop = Breakable({"kind": "stop", "service": "web", "manager": supervisord}, lambda: True)
    would = run_module(fault, **arguments(tmp_path, stop, state="broken", limit_s=5, _ansible_check_mode=True))
    assert "web is stopped, for 5 s at most" in would["msg"]
    assert not (tmp_path / "state").exists()
    assert web_pid(supervisord) > 0
    nowhere = Breakable({"kind": "pause", "pid_file": str(tmp_path / "none")}, lambda: True)
    refused = run_module(fault, **arguments(tmp_path, nowhere, state="broken", limit_s=5))
    assert refused["failed"]
    assert not (tmp_path / "state").exists()
    unknown = run_module(fault, **arguments(tmp_path, stop, state="mended"))
    assert not unknown["changed"]


def test_what_could_not_be_caused_is_undone_and_said(tmp_path: Path, run_module: RunModule) -> None:
    done = tmp_path / "undone"
    commands = {"kind": "command", "break_argv": ["false"], "undo_argv": ["touch", str(done)]}
    result = run_module(
        fault, **arguments(tmp_path, Breakable(commands, lambda: True), state="broken", limit_s=5)
    )  # fmt: skip
    assert result["failed"]
    assert "this did not come about: false ended with exit code 1" in result["msg"]
    assert done.exists()


def test_an_undo_that_fails_is_tried_again(tmp_path: Path, run_module: RunModule) -> None:
    gate = tmp_path / "gate"
    commands = {"kind": "command", "break_argv": ["true"], "undo_argv": ["rm", str(gate)]}
    stubborn = Breakable(commands, lambda: True)
    run_module(fault, **arguments(tmp_path, stubborn, state="broken", limit_s=0.2))
    store = Store(tmp_path / "state")
    servers.wait_until(lambda: bool(store.all()[0].failure), what="the first try")
    assert store.all()[0].is_open
    gate.touch()
    servers.wait_until(lambda: not store.all()[0].is_open, what="the second try")


def test_a_state_that_is_lost_keeps_nothing_from_being_undone(tmp_path: Path, run_module: RunModule) -> None:
    mark = tmp_path / "broken"
    commands = {"kind": "command", "break_argv": ["touch", str(mark)], "undo_argv": ["rm", str(mark)]}
    run_module(fault, **arguments(tmp_path, Breakable(commands, lambda: True), state="broken", limit_s=3))
    assert mark.exists()
    shutil.rmtree(tmp_path / "state")
    servers.wait_until(lambda: not mark.exists(), what="the undo")


def test_an_instance_beside_the_others_ends_with_its_keeper(tmp_path: Path, run_module: RunModule) -> None:
    mark = tmp_path / "pid"
    program = ["sh", "-c", f"echo $$ > {mark}; exec sleep 600"]
    beside = Breakable({"kind": "instance", "argv": program}, lambda: True)
    broken = run_module(fault, **arguments(tmp_path, beside, state="broken", limit_s=60))
    servers.wait_until(lambda: mark.exists() and bool(mark.read_text()), what="the instance")
    os.kill(broken["fault"]["keeper_pid"], signal.SIGKILL)
    servers.wait_until(lambda: state_of(int(mark.read_text())) in ("", "Z"), what="its end")
