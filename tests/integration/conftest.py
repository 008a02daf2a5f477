# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers that tests share. Who changes one puts it back; who breaks one starts a server of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import servers


@pytest.fixture(scope="session")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.OpenBao]:
    """An unsealed OpenBao."""
    with servers.start_openbao(tmp_path_factory.mktemp("openbao")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Postgres]:
    """A PostgreSQL server without TLS."""
    with servers.start_postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session", params=["redis", "valkey"])
def redis_server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[servers.Redis]:
    """A Redis and a Valkey server with a password: every test that uses this runs against both."""
    program = "redis-server" if request.param == "redis" else servers.valkey_binary()
    with servers.start_redis(tmp_path_factory.mktemp("redis"), program=program) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the test's own for a server that it starts itself."""
    return tmp_path
