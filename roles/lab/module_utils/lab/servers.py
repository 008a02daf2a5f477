"""Start what is down, side by side, and take everything down again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from . import openbao, postgres, processes
from .keep import Keep, write
from .listeners import Listener, answers
from .supervisor import RUNNING, Supervisor
from .trouble import Trouble

PATIENCE_S = 60.0
APP_PATIENCE_S = 60.0
HANGS_AFTER_S = 4.0
APPLICATION_NEEDS = frozenset({"postgres", "redis", "openbao", "objectstore"})


@dataclass(frozen=True)
class Contents:
    """What new servers are filled with: SQL for PostgreSQL, policies, roles and secrets for OpenBao."""

    statements: Sequence[Mapping[str, Any]]
    furniture: Mapping[str, Any]


@dataclass(frozen=True)
class AppHost:
    """One app host: its folder, and where its web program listens."""

    name: str
    base: Path
    listener: Listener

    @classmethod
    def of(cls, name: str, folder: str, url: str) -> AppHost:
        """From its inventory variables."""
        return cls(name, Path(folder), Listener.of("web", url))

    @property
    def supervisor(self) -> Supervisor:
        """The host's process manager."""
        return Supervisor(self.base / "run" / "supervisor.sock")

    @property
    def has_release(self) -> bool:
        """Whether a release is current here."""
        return (self.base / "current").exists()


@dataclass(frozen=True)
class Stack:
    """All programs of the lab."""

    state_dir: Path
    needs: Sequence[Mapping[str, str]]
    listeners: Sequence[Listener]
    extras: Sequence[str]
    app_hosts: Sequence[AppHost]
    server: openbao.OpenBao
    cluster: postgres.Cluster

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Stack:
        """From a module's arguments."""
        state_dir, stack = Path(params["state_dir"]), params["stack"]
        return cls(
            state_dir=state_dir,
            needs=stack["needs"],
            listeners=[Listener.of(**listener) for listener in stack["listeners"]],
            extras=stack["extras"],
            app_hosts=[AppHost.of(name, stack["app_folders"][name], url) for name, url in stack["app_urls"].items()],
            server=openbao.OpenBao(stack["openbao_url"], state_dir / "ca" / "ca.pem"),
            cluster=postgres.Cluster(
                state_dir / "postgres", Path(stack["postgres_binaries"]), stack["postgres_run_as"]
            ),
        )

    @property
    def supervisor(self) -> Supervisor:
        """The process manager of the infrastructure."""
        return Supervisor(self.state_dir / "run" / "supervisor.sock")

    @property
    def supervisors(self) -> dict[str, Supervisor]:
        """All process managers, the apps' first: they are taken down in this order."""
        return {**{host.name: host.supervisor for host in self.app_hosts}, "infrastructure": self.supervisor}

    @property
    def keep(self) -> Keep:
        """The folder of secrets."""
        return Keep(self.state_dir / "secrets")


def down(stack: Stack) -> list[str]:
    """What does not run or does not answer, by name; empty when the whole lab is up. Changes nothing."""
    states = stack.supervisor.states() or {}
    programs = [*dict.fromkeys(listener.program for listener in stack.listeners), *stack.extras]
    listening = [listener for listener in stack.listeners if states.get(listener.program) in RUNNING]
    return [
        *(name for name in programs if states.get(name) not in RUNNING),
        *(str(listener) for listener in listening if not answers(listener)),
        *(["openbao (sealed)"] if states.get("openbao") in RUNNING and stack.server.is_sealed() is not False else []),
        *(name for host in stack.app_hosts for name in _down_on(host)),
    ]


def obstacles(stack: Stack) -> Iterator[str]:
    """What would keep the lab from starting: one sentence each. Changes nothing."""
    absent = [need for need in stack.needs if shutil.which(need["program"], path=search_path()) is None]
    yield from (f"The program {Path(need['program']).name} is missing: install {need['install']}." for need in absent)
    if absent:
        return
    yield from filter(None, [postgres.version_conflict(stack.cluster)])
    ours = set(processes.of_state(stack.state_dir))
    states = stack.supervisor.states() or {}
    for listener in stack.listeners:
        yield from _in_the_way(listener, ours if states.get(listener.program) not in RUNNING else None)
    for host in stack.app_hosts:
        web = (host.supervisor.states() or {}).get("web")
        yield from _in_the_way(host.listener, ours if web not in RUNNING else None)


def bring_up(stack: Stack, contents: Contents, restart: Sequence[str] = ()) -> list[str]:
    """Start and furnish what is down, and start again what has a new configuration; what was changed, sorted."""
    stack.supervisor.stop([name for name in restart if name in (stack.supervisor.states() or {})])
    _remember(stack)
    for name in stack.supervisors.keys() & set(restart):
        _end_manager(stack, name)
    processes.end(_orphans(stack))
    web = {host.supervisor.path: f"tcp://{host.listener.address}:{host.listener.port}" for host in stack.app_hosts}
    managers = [manager.path for manager in stack.supervisors.values()]
    _side_by_side([partial(_ensure_manager, path, web_socket=web.get(path)) for path in managers])
    tasks = (partial(_postgres, stack, contents), partial(_openbao, stack, contents), partial(_others, stack))
    servers = {name for names in _side_by_side(tasks) for name in names}
    return sorted(servers.union(_apps(stack, servers_were_down=bool(servers & APPLICATION_NEEDS))))


def take_down(stack: Stack) -> list[str]:
    """End every process of the lab; the process managers that were up, and anything left over that had to be ended."""
    _remember(stack)
    # The applications first, as long as they can still finish what they do with the servers.
    apps = [host.name for host in stack.app_hosts]
    were_up = _side_by_side([partial(_end_manager, stack, name) for name in apps])
    ended = [name for name, was_up in zip(apps, were_up, strict=True) if was_up]
    ended += ["infrastructure"] if _end_manager(stack, "infrastructure") else []
    left_over = processes.of_state(stack.state_dir)
    names = [processes.name_of(pid) for pid in left_over]
    processes.end(left_over)
    if still := processes.of_state(stack.state_dir):
        raise Trouble(f"These processes of the lab would not end: {', '.join(map(processes.name_of, still))}.")
    return [*ended, *names]


def _in_the_way(listener: Listener, ours: set[int] | None) -> Iterator[str]:
    if not processes.may_bind(listener.address):
        yield (
            f"This machine has no address {listener.address}: give its loopback interface that alias "
            f"(macOS: sudo ifconfig lo0 alias {listener.address}), or set CUTOVER_LAB_NETWORK."
        )
        return
    inode = processes.listening_inode(listener.address, listener.port) if ours is not None else None
    if inode is None or ours is None:
        return
    pid = processes.holder(inode)
    if pid not in ours:
        who = "a process of another user" if pid is None else processes.name_of(pid)
        yield (
            f"Port {listener.port} at {listener.address}, which the lab's {listener.program} needs, is taken by {who}: "
            "end that, or set CUTOVER_LAB_NETWORK to another prefix such as 127.21.0."
        )


def _down_on(host: AppHost) -> Iterator[str]:
    states = host.supervisor.states()
    if states is None:
        yield f"supervisord of {host.name}"
        return
    failed = {"EXITED", "FATAL", "BACKOFF", "UNKNOWN"}
    yield from (f"{name} on {host.name}" for name, state in states.items() if host.has_release and state in failed)
    if states.get("web") in RUNNING and not answers(host.listener):
        yield f"{host.listener} on {host.name}"


def search_path() -> str:
    """PATH with this Python's own folder first, and with the folders of servers, which only root's has."""
    inherited = os.environ.get("PATH", os.defpath)
    return os.pathsep.join([str(Path(sys.executable).parent), inherited, "/usr/local/sbin", "/usr/sbin", "/sbin"])


def _ensure_manager(socket_path: Path, *, web_socket: str | None) -> None:
    """Start a supervisord that is not there. ``web_socket`` is the socket that it holds for the web program."""
    manager = Supervisor(socket_path)
    if manager.states() is not None:
        return
    socket_path.unlink(missing_ok=True)
    configuration = socket_path.with_name("supervisord.conf")
    path = search_path()
    argv = [shutil.which("supervisord", path=path) or "supervisord", "-c", str(configuration)]
    environment = {"PATH": path, "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}
    environment |= {"CUTOVER_LAB_WEB": web_socket} if web_socket else {}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, cwd="/", timeout=30, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()[-1:]
        raise Trouble(f"supervisord could not start with {configuration}: {' '.join(said)}")
    deadline = time.monotonic() + PATIENCE_S
    while manager.states() is None:
        if time.monotonic() > deadline:
            raise Trouble(f"supervisord with {configuration} did not answer within {PATIENCE_S:.0f} s: see its log.")
        time.sleep(0.02)


def _end_manager(stack: Stack, name: str) -> bool:
    pid = stack.supervisors[name].shut_down()
    if pid is None:
        return False
    processes.end(processes.wait_gone([pid], PATIENCE_S))
    return True


def _orphans(stack: Stack) -> list[int]:
    """Processes of the lab that no living process manager answers for."""
    live = {name for name, manager in stack.supervisors.items() if manager.states() is not None}
    if live == set(stack.supervisors):
        return []
    dead_apps = [host.base for host in stack.app_hosts if host.name not in live]
    found = {pid for base in dead_apps for pid in processes.of_state(base)}
    if "infrastructure" not in live:
        apps = {pid for host in stack.app_hosts for pid in processes.of_state(host.base)}
        found |= set(processes.of_state(stack.state_dir)) - apps
    return sorted(found)


def _postgres(stack: Stack, contents: Contents) -> list[str]:
    made = postgres.initialise(stack.cluster, stack.keep.fill(contents.statements))
    return _ensure(stack, "postgres") or (["postgres"] if made else [])


def _openbao(stack: Stack, contents: Contents) -> list[str]:
    started = _ensure(stack, "openbao")
    furnished = openbao.bring_up(stack.server, stack.keep, contents.furniture)
    return started or (["openbao"] if furnished else [])


def _others(stack: Stack) -> list[str]:
    apart = {"postgres", "openbao"}
    names = [name for name in dict.fromkeys(listener.program for listener in stack.listeners) if name not in apart]
    changed = _side_by_side([partial(_ensure, stack, name) for name in names])
    extras = [name for name in stack.extras if stack.supervisor.start(name)]
    return [*(name for names in changed for name in names), *extras]


def _apps(stack: Stack, *, servers_were_down: bool) -> list[str]:
    """Start what should run. What has lived without its servers has logged it, and is started anew with a clean log."""
    changed = []
    for host in stack.app_hosts:
        again = host.supervisor.running() if servers_were_down else []
        wanted = [*again, *_wanted(stack, host)]
        host.supervisor.stop(again)
        for program in wanted:
            if host.supervisor.start(program):
                changed.append(f"{program} on {host.name}")
        if f"web on {host.name}" in changed:
            _wait_web(host)
    return changed


def _wait_web(host: AppHost) -> None:
    """Until the application answers, or has given up: a broken release is the application's matter, not the lab's."""
    deadline = time.monotonic() + APP_PATIENCE_S
    while not answers(host.listener) and time.monotonic() < deadline:
        if (host.supervisor.states() or {}).get("web") not in RUNNING:
            return
        time.sleep(0.1)


def _wanted(stack: Stack, host: AppHost) -> list[str]:
    """What should run on the host: what failed, and after an end of its process manager what ran before."""
    if not host.has_release:
        return []
    states = host.supervisor.states() or {}
    if any(state in RUNNING for state in states.values()):
        return [name for name, state in states.items() if state in {"EXITED", "FATAL", "BACKOFF", "UNKNOWN"}]
    remembered = host.base / "run" / "running.json"
    with contextlib.suppress(OSError, ValueError):
        return [name for name in json.loads(remembered.read_text()) if name in states]
    # Nobody could write down what ran: serve, and leave the scheduler, of which there must be but one, alone
    # unless no other host has a release.
    alone = not any(other.has_release for other in stack.app_hosts if other != host)
    return ["web", "worker", *(["scheduler"] if alone else [])]


def _remember(stack: Stack) -> None:
    """Write down what runs on each app host and how traffic is shared, so that the next start brings back the same."""
    for host in stack.app_hosts:
        if host.supervisor.states() is not None:
            write(host.base / "run" / "running.json", json.dumps(host.supervisor.running()), 0o600)
    save_traffic(stack.state_dir)


def save_traffic(state_dir: Path) -> None:
    """Keep HAProxy's server states where its next start reads them."""
    with contextlib.suppress(OSError):
        write(state_dir / "haproxy" / "server-state", ask_traffic(state_dir, "show servers state"), 0o600)


def ask_traffic(state_dir: Path, command: str) -> str:
    """HAProxy's answer to one command of its runtime interface. Raises OSError when it is down."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(state_dir / "haproxy" / "admin.sock"))
        connection.sendall(f"{command}\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def _ensure(stack: Stack, program: str) -> list[str]:
    """The program runs and all its ports answer; its name when it had to be started."""
    mine = [listener for listener in stack.listeners if listener.program == program]
    changed = stack.supervisor.start(program)
    deadline, hangs_at = time.monotonic() + PATIENCE_S, time.monotonic() + HANGS_AFTER_S
    while not all(answers(listener) for listener in mine):
        running = (stack.supervisor.states() or {}).get(program) in RUNNING
        if time.monotonic() > deadline:
            log = stack.state_dir / "log" / f"{program}.log"
            raise Trouble(f"{mine[0]} did not answer within {PATIENCE_S:.0f} s: see {log}.")
        if running and not changed and time.monotonic() > hangs_at:
            # It was up and says nothing: a stopped or hanging process.
            stack.supervisor.stop([program])
            running = False
        if not running:
            # PostgreSQL refuses to start while children of a killed one are still ending: ask again.
            time.sleep(0.3)
            changed = stack.supervisor.start(program) or changed
        time.sleep(0.05)
    return [program] if changed else []


def _side_by_side(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run all at once and wait for all; then the first exception, if any, is raised."""
    with ThreadPoolExecutor(max_workers=max(1, len(tasks))) as pool:
        return [done.result() for done in [pool.submit(task) for task in tasks]]
