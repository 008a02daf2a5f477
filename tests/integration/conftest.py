# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers that tests share. Who changes one puts it back; who breaks one starts a server of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import servers
from every_finding import EveryFinding

RunModule = Callable[..., dict[str, Any]]
EVERY_FINDING = "every_finding"


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(EveryFinding(), EVERY_FINDING)


@pytest.fixture
def run_module(run_module: RunModule, pytestconfig: pytest.Config) -> RunModule:
    """Run a module as `run_module` of all tests does, and keep which findings were seen."""

    def run(module: ModuleType, **arguments: Any) -> dict[str, Any]:
        result = run_module(module, **arguments)
        pytestconfig.pluginmanager.get_plugin(EVERY_FINDING).see(module.__name__, result)
        return result

    return run


@contextmanager
def passable_folder(name: str) -> Iterator[Path]:
    """A folder for servers that run as another user when we are root.

    Not below pytest's own: pytest closes that to others again whenever another run of it starts.
    """
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture(scope="session")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.OpenBao]:
    """An unsealed OpenBao."""
    with servers.start_openbao(tmp_path_factory.mktemp("openbao")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.Postgres]:
    """A PostgreSQL server without TLS."""
    with passable_folder("postgres") as folder, servers.start_postgres(folder) as server:
        yield server


@pytest.fixture(scope="session", params=["redis", "valkey"])
def redis_server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[servers.Redis]:
    """A Redis and a Valkey server with a password: every test that uses this runs against both."""
    program = "redis-server" if request.param == "redis" else servers.valkey_binary()
    with servers.start_redis(tmp_path_factory.mktemp("redis"), program=program) as server:
        yield server


@pytest.fixture(scope="module")
def module_folder() -> Iterator[Path]:
    """A folder for servers that the tests of one file share."""
    with passable_folder("module") as made:
        yield made


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the test's own for a server that it starts itself."""
    with passable_folder("test") as made:
        yield made
