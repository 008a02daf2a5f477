"""Bring the specimen application to one release on the app hosts that serve, with the others idle."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .keep import write
from .servers import AppHost, Stack, ask_traffic, save_traffic
from .trouble import Trouble

try:
    import psycopg
except ImportError as missing:
    ABSENT: ImportError | None = missing
else:
    ABSENT = None

SCHEDULER = "scheduler"
PROGRAMS = ("web", "worker", SCHEDULER)
PATIENCE_S = 90.0
FULL_WEIGHT = 100


@dataclass(frozen=True)
class Application:
    """The release wanted, who serves it, where its archives are built from, and what each host's processes get."""

    stack: Stack
    version: str
    serving_names: Sequence[str]
    sources: Path
    backend: str
    environments: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Application:
        """From a module's arguments."""
        application = params["application"]
        return cls(
            stack=Stack.of(params),
            version=params["release"],
            serving_names=application["serving"],
            sources=Path(application["sources"]),
            backend=application["backend"],
            environments=application["environments"],
        )

    @property
    def serving(self) -> Sequence[AppHost]:
        """The hosts that serve."""
        return [host for host in self.stack.app_hosts if host.name in self.serving_names]

    @property
    def idle(self) -> Sequence[AppHost]:
        """All other hosts."""
        return [host for host in self.stack.app_hosts if host.name not in self.serving_names]

    @property
    def first(self) -> AppHost:
        """The host whose release and environment the database is migrated with."""
        return self.serving[0]

    def folder(self, host: AppHost) -> Path:
        """Where the release lies on a host."""
        return host.base / "releases" / self.version

    def environment_file(self, host: AppHost) -> Path:
        """The environment of this release on a host."""
        return host.base / "environments" / f"{self.version}.env"

    @property
    def archives(self) -> Path:
        """The folder of built archives."""
        return self.stack.state_dir / "releases"

    @property
    def archive(self) -> Path:
        """The archive of the release."""
        return self.archives / f"ledger-{self.version}.tar.gz"


def bring_to_release(app: Application) -> list[str]:
    """Everything as it is right after the release was put into production; what had to be changed."""
    changed = ["archives"] if build(app) else []
    if not app.archive.is_file():
        raise Trouble(f"There is no release {app.version} of the application; there are: {', '.join(versions(app))}.")
    reasons = list(_differences(app))
    if not reasons:
        return changed
    _stop_all(app)
    for host in app.serving:
        _lay(app, host)
        write(app.environment_file(host), _environment_text(app, host), 0o600)
    _bring_database(app)
    for host in app.serving:
        _link(host.base / "environment", Path("environments") / app.environment_file(host).name)
        _link(host.base / "current", Path("releases") / app.version)
    with ThreadPoolExecutor() as pool:
        seeded = pool.submit(_command, app, app.folder(app.first), "seed")
        list(pool.map(partial(_start, app), app.serving))
        seeded.result()
    _send_all_traffic(app)
    _clear_idle(app)
    for host in app.serving:
        _record(app, host)
    return [*changed, *reasons]


def build(app: Application) -> bool:
    """Build the archives of all releases; whether any is new or different."""
    before = _archive_digests(app)
    argv = [sys.executable, str(app.sources / "build.py"), "--output", str(app.archives)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise Trouble(f"The application's releases could not be built: {_last_line(done.stderr)}")
    return _archive_digests(app) != before


def versions(app: Application) -> list[str]:
    """The releases there are archives of, newest first."""
    names = [path.name.removeprefix("ledger-").removesuffix(".tar.gz") for path in app.archives.glob("ledger-*.tar.gz")]
    return sorted(names, key=_sort_key, reverse=True)


def _differences(app: Application) -> Iterator[str]:
    """What is not as right after the release, in a few words each."""
    for host in app.serving:
        if not app.folder(host).is_dir() or _recorded(app, host).get("archive") != _sha256(app.archive):
            yield f"{host.name}: releases/{app.version}"
        if _link_name(host.base / "current") != app.version:
            yield f"{host.name}: current"
        if _text(app.environment_file(host)) != _environment_text(app, host):
            yield f"{host.name}: environment"
        if host.supervisor.running() != _programs(app, host):
            yield f"{host.name}: programs"
    if any((host.base / "current").is_symlink() or host.supervisor.running() for host in app.idle):
        yield "idle hosts"
    if _weights(app) != {host.name: FULL_WEIGHT if host in app.serving else 0 for host in app.stack.app_hosts}:
        yield "traffic"
    if _database_revision(app) != _recorded(app, app.first).get("head"):
        yield "database"


def _stop_all(app: Application) -> None:
    for host in app.stack.app_hosts:
        host.supervisor.stop(PROGRAMS)


def _lay(app: Application, host: AppHost) -> None:
    folder = app.folder(host)
    if folder.is_dir() and _recorded(app, host).get("archive") == _sha256(app.archive):
        return
    shutil.rmtree(folder, ignore_errors=True)
    _unpack(app.archive, folder)


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack into place at once: the folder is there whole or not at all."""
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    with tarfile.open(archive) as tar:
        # Debian 12's Python cannot be told a filter yet; the lab built the archive itself.
        if hasattr(tarfile, "data_filter"):
            tar.extraction_filter = tarfile.data_filter
        tar.extractall(beside)
    # As the release role leaves it: which archive this came from.
    (beside / ".archive.sha256").write_text(_sha256(archive), encoding="ascii")
    beside.rename(folder)


def _environment_text(app: Application, host: AppHost) -> str:
    variables = app.environments[host.name]
    return "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in sorted(variables.items()))


def _bring_database(app: Application) -> None:
    """To the revision of the release, up or down."""
    try:
        _command(app, app.folder(app.first), "migrate", "upgrade", "head")
    except Trouble as trouble:
        # It is further than this release knows, or the release is broken: only another release can tell.
        if not any(_led_back(app, version) for version in versions(app)):
            raise Trouble(f"The database does not come to the revision of {app.version}: {trouble}") from trouble


def _led_back(app: Application, version: str) -> bool:
    """Whether the release knew the database's revision and the way down from it."""
    folder = app.stack.state_dir / "run" / f"release-{version}"
    shutil.rmtree(folder, ignore_errors=True)
    _unpack(app.archives / f"ledger-{version}.tar.gz", folder)
    try:
        head = _command(app, app.folder(app.first), "migrate", "heads").split()[0]
        _command(app, folder, "migrate", "downgrade", head)
        return True
    except Trouble:
        return False
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _command(app: Application, release: Path, program: str, *arguments: str) -> str:
    """Run one of the release's commands with the environment of the first serving host; what it printed."""
    script = 'set -a; . "$0"; exec "$@"'
    argv = ["sh", "-c", script, str(app.environment_file(app.first)), str(release / "bin" / program), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=app.first.base, timeout=120, check=False)
    if done.returncode:
        what = f"{program} {' '.join(arguments)}".strip()
        raise Trouble(f"{what} of {release.name} ended with {done.returncode}: {_last_line(done.stderr)}")
    return done.stdout


def _programs(app: Application, host: AppHost) -> list[str]:
    """What runs on a serving host, sorted: of schedulers there is one."""
    return sorted(PROGRAMS if host == app.first else set(PROGRAMS) - {SCHEDULER})


def _start(app: Application, host: AppHost) -> None:
    for program in _programs(app, host):
        host.supervisor.start(program)
    listener = host.listener
    url, deadline = f"http://{listener.address}:{listener.port}/api/ready", time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10):
            return
        if time.monotonic() > deadline:
            raise Trouble(f"{url} was not ready within {PATIENCE_S:.0f} s: see {host.base}/log/web.log.")
        time.sleep(0.1)


def _weights(app: Application) -> dict[str, int]:
    """The share of each server; one that is not in service has none. Empty when HAProxy does not answer."""
    with contextlib.suppress(OSError):
        lines = ask_traffic(app.stack.state_dir, f"show servers state {app.backend}").splitlines()
        names = next(line for line in lines if line.startswith("# ")).removeprefix("# ").split()
        servers = [dict(zip(names, line.split(), strict=False)) for line in lines if line[:1].isdigit() and " " in line]
        # srv_admin_state: 0 = neither in maintenance nor draining.
        return {one["srv_name"]: int(one["srv_uweight"]) * (one["srv_admin_state"] == "0") for one in servers}
    return {}


def _send_all_traffic(app: Application) -> None:
    for host in app.stack.app_hosts:
        server = f"{app.backend}/{host.name}"
        ask_traffic(app.stack.state_dir, f"set server {server} weight {FULL_WEIGHT if host in app.serving else 0}")
        ask_traffic(app.stack.state_dir, f"set server {server} state ready")
    _wait_served(app)
    save_traffic(app.stack.state_dir)


def _wait_served(app: Application) -> None:
    """HAProxy asks each server twice before it trusts it."""
    deadline = time.monotonic() + PATIENCE_S
    while not _is_served(app):
        if time.monotonic() > deadline:
            names = ", ".join(host.name for host in app.serving)
            raise Trouble(f"HAProxy did not take {names} into service within {PATIENCE_S:.0f} s.")
        time.sleep(0.1)


def _is_served(app: Application) -> bool:
    lines = ask_traffic(app.stack.state_dir, "show stat").splitlines()
    up = {line.split(",")[1] for line in lines if line.startswith(f"{app.backend},") and ",UP," in line}
    return up.issuperset(host.name for host in app.serving)


def _clear_idle(app: Application) -> None:
    """Nothing of another release is left, so that a cutover has everything to do."""
    for host in app.idle:
        for name in ("current", "environment"):
            (host.base / name).unlink(missing_ok=True)
    for host in app.stack.app_hosts:
        (host.base / "schema").unlink(missing_ok=True)
        for folder in (host.base / "releases").iterdir():
            if host not in app.serving or folder != app.folder(host):
                shutil.rmtree(folder, ignore_errors=True)
        for file in (host.base / "environments").iterdir():
            if host not in app.serving or file != app.environment_file(host):
                file.unlink()


def _record(app: Application, host: AppHost) -> None:
    content = {"version": app.version, "archive": _sha256(app.archive), "head": _database_revision(app)}
    write(host.base / "run" / "release.json", json.dumps(content), 0o600)


def _recorded(app: Application, host: AppHost) -> dict[str, str]:
    with contextlib.suppress(OSError, ValueError):
        record = json.loads((host.base / "run" / "release.json").read_text())
        return dict(record) if record["version"] == app.version else {}
    return {}


def _database_revision(app: Application) -> str | None:
    if ABSENT is not None:
        raise Trouble(f"The lab asks the database with the Python package psycopg, which is not there: {ABSENT}.")
    url = app.environments[app.first.name]["DATABASE_URL"].replace("postgresql+psycopg:", "postgresql:", 1)
    password = app.stack.keep.get("postgres-ledger-password")
    try:
        with psycopg.connect(url, password=password, connect_timeout=5) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except psycopg.errors.UndefinedTable:
        return None
    except psycopg.Error as problem:
        raise Trouble(f"The database did not say its revision: {_last_line(str(problem))}") from problem
    return row[0] if row else None


def _link(path: Path, target: Path) -> None:
    """Point the link elsewhere in one step."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.replace(path)


def _link_name(path: Path) -> str:
    with contextlib.suppress(OSError):
        return Path(os.readlink(path)).name
    return ""


def _archive_digests(app: Application) -> dict[str, str]:
    return {path.name: _sha256(path) for path in app.archives.glob("ledger-*.tar.gz")}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _text(path: Path) -> str | None:
    with contextlib.suppress(OSError):
        return path.read_text()
    return None


def _sort_key(version: str) -> list[tuple[int, int, str]]:
    parts = version.replace("-", ".").split(".")
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1][:300]
