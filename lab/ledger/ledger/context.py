# SPDX-License-Identifier: GPL-3.0-or-later
"""What every process of the ledger holds: its settings, its secrets, and its two clients."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import hvac
import redis
import requests
from sqlalchemy import URL, Engine, create_engine, make_url

from ledger.settings import RefusedStart, Settings

Secrets = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Context:
    settings: Settings
    secrets: Secrets
    database_url: URL
    engine: Engine
    redis: redis.Redis


def connect(settings: Settings, *, secrets: Iterable[str]) -> Context:
    """Read the named secrets once (a Vault sealed later does not stop us) and prepare, not open, the connections."""
    known = read_secrets(settings, {"database", "redis", *secrets})
    url = database_url(settings, known)
    # The server ends what takes long; a server that hangs is the pool's matter: at most 10 s for a connection.
    options = {"connect_timeout": 2, "options": "-c statement_timeout=5000 -c lock_timeout=3000"}
    engine = create_engine(url, pool_pre_ping=True, pool_size=10, pool_timeout=10, connect_args=options)
    client = redis.Redis.from_url(
        settings.redis_url, password=known["redis"].get("password"), socket_timeout=3, socket_connect_timeout=2
    )
    return Context(settings, known, url, engine, client)


def database_url(settings: Settings, secrets: Secrets) -> URL:
    """DATABASE_URL, with what it lacks of user name and password taken from Vault."""
    url, secret = make_url(settings.database_url), secrets["database"]
    if url.password is None:
        url = url.set(username=url.username or secret.get("username"), password=secret.get("password"))
    return url


def read_secrets(settings: Settings, names: Iterable[str]) -> Secrets:
    """The named KV v2 secrets under SECRETS_PATH (``mount/path``). Without Vault, in development, all are empty."""
    vault = settings.vault
    if not vault["VAULT_ADDR"]:
        return {name: {} for name in names}
    mount, _, path = vault["SECRETS_PATH"].strip("/").partition("/")
    try:
        client = hvac.Client(url=vault["VAULT_ADDR"], verify=vault["VAULT_CACERT"] or True, timeout=5)
        secret_id = Path(vault["VAULT_SECRET_ID_FILE"]).read_text().strip()
        client.auth.approle.login(role_id=vault["VAULT_ROLE_ID"], secret_id=secret_id)
        read = client.secrets.kv.v2.read_secret_version
        return {
            name: read(path=f"{path}/{name}", mount_point=mount, raise_on_deleted_version=True)["data"]["data"]
            for name in names
        }
    except (hvac.exceptions.VaultError, requests.RequestException, OSError) as error:
        cause = "; ".join(getattr(error, "errors", None) or []) or type(error).__name__
        raise RefusedStart(f"cannot read the secrets from Vault at {vault['VAULT_ADDR']}: {cause}") from error


def configure_logging() -> None:
    """One line for each event on standard error; of uvicorn and Alembic only what is wrong or changes something."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("uvicorn.error", "alembic.runtime.plugins"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
