# SPDX-License-Identifier: GPL-3.0-or-later
"""What the environment says, refused at once where it is not fit for staging or production."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ("dev", "staging", "prod")
VAULT_VARIABLES = ("VAULT_ADDR", "VAULT_CACERT", "VAULT_ROLE_ID", "VAULT_SECRET_ID_FILE", "SECRETS_PATH")
TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


class RefusedStart(Exception):
    """The process must not start; the message is the one line that says why."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    app_env: str
    strict: bool
    database_url: str
    redis_url: str
    vault: Mapping[str, str]
    objectstore_url: str
    objectstore_bucket: str
    listen_host: str
    listen_port: int
    cors_allow_origins: tuple[str, ...]
    trusted_hosts: tuple[str, ...]
    rate_limit_enabled: bool
    rate_limit_requests: int
    rate_limit_window_s: int
    auth_enabled: bool
    schedule_interval_s: int
    stuck_after_s: int
    ready_within_ms: int
    host_name: str
    version: str
    build: str


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings; raises RefusedStart, naming the variable, before anything is connected or listened to."""
    app_env = environ.get("APP_ENV", "dev")
    if app_env not in ENVIRONMENTS:
        raise RefusedStart(f"APP_ENV must be one of {', '.join(ENVIRONMENTS)}")
    strict = app_env != "dev" or _flag(environ, "CI_STRICT", False)
    if strict:
        for reason in _unfit(environ):
            raise RefusedStart(f"{reason} (APP_ENV={app_env})")
    release = _build_record()
    return Settings(
        app_env=app_env,
        strict=strict,
        database_url=environ.get("DATABASE_URL") or "postgresql+psycopg://ledger@127.0.0.1:5432/ledger",
        redis_url=environ.get("REDIS_URL") or "redis://127.0.0.1:6379/0",
        vault={name: environ.get(name, "") for name in VAULT_VARIABLES},
        objectstore_url=environ.get("OBJECTSTORE_URL", "").rstrip("/"),
        objectstore_bucket=environ.get("OBJECTSTORE_BUCKET", "ledger"),
        listen_host=environ.get("LISTEN_HOST", "127.0.0.1"),
        listen_port=_number(environ, "LISTEN_PORT", 8000),
        cors_allow_origins=_names(environ, "CORS_ALLOW_ORIGINS"),
        trusted_hosts=_names(environ, "TRUSTED_HOSTS") or ("*",),
        rate_limit_enabled=_flag(environ, "RATE_LIMIT_ENABLED", True),
        rate_limit_requests=_number(environ, "RATE_LIMIT_REQUESTS", 300),
        rate_limit_window_s=_number(environ, "RATE_LIMIT_WINDOW_SECONDS", 60),
        auth_enabled=_flag(environ, "AUTH_ENABLED", True),
        schedule_interval_s=_number(environ, "SCHEDULE_INTERVAL_S", 60),
        stuck_after_s=_number(environ, "STUCK_AFTER_S", 300),
        ready_within_ms=_number(environ, "READY_WITHIN_MS", 800),
        host_name=environ.get("HOST_NAME") or socket.gethostname(),
        version=release["version"],
        build=release["build"],
    )


def _unfit(environ: Mapping[str, str]) -> Iterator[str]:
    """Each reason why this environment must not serve outside development."""
    database_url = environ.get("DATABASE_URL", "")
    if not database_url:
        yield "DATABASE_URL is not set"
    if not database_url.startswith("postgresql+psycopg://"):
        yield "DATABASE_URL must begin with postgresql+psycopg:// (sqlite is for development only)"
    if not environ.get("REDIS_URL"):
        yield "REDIS_URL is not set"
    for name in VAULT_VARIABLES:
        if not environ.get(name):
            yield f"{name} is not set"
        elif name in ("VAULT_CACERT", "VAULT_SECRET_ID_FILE") and not os.access(environ[name], os.R_OK):
            yield f"{name} names a file that cannot be read"
    if "*" in (_names(environ, "TRUSTED_HOSTS") or ("*",)):
        yield "TRUSTED_HOSTS must list the host names served, not *"
    if not _flag(environ, "AUTH_ENABLED", True):
        yield "AUTH_ENABLED must be true"


def _build_record() -> Mapping[str, str]:
    """Version and build of this release, as lab/build.py wrote them into it."""
    record = ROOT / "BUILD.json"
    return json.loads(record.read_text()) if record.exists() else {"version": "development", "build": "none"}


def _names(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in environ.get(name, "").split(",") if part.strip())


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isdecimal() or int(text) == 0:
        raise RefusedStart(f"{name} must be a positive whole number")
    return int(text)


def _flag(environ: Mapping[str, str], name: str, default: bool) -> bool:
    text = environ.get(name, str(default)).strip().lower()
    if text not in TRUE + FALSE:
        raise RefusedStart(f"{name} must be true or false")
    return text in TRUE
