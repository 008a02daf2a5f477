# SPDX-License-Identifier: GPL-3.0-or-later
"""/api/ready: all dependencies asked at once over fresh connections, and an answer in a second whoever hangs.

A detail says what is wrong in our own words: no server's message, and so no credential, is passed on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import psycopg
import redis
import redis.asyncio
import requests
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ledger.context import Context
from ledger.objectstore import ObjectStore
from ledger.settings import ROOT

Check = Callable[[Context], Awaitable[str]]


class NotReady(Exception):
    """A dependency answered, and cannot serve; the message is its detail."""


@cache
def schema_head() -> str:
    """The newest revision this release knows. Files of migrations begin with their revision: 0001, 0002, ..."""
    return max(path.name[:4] for path in (ROOT / "migrations" / "versions").glob("*.py"))


async def check_database(context: Context) -> str:
    await _select(context, "SELECT 1")
    return "connected"


async def check_migrations(context: Context) -> str:
    """At the revision of this release or a later one: the release before an expanding migration goes on serving."""
    try:
        current = await _select(context, "SELECT max(version_num) FROM alembic_version")
    except psycopg.errors.UndefinedTable:
        current = None
    if current is None:
        raise NotReady("no migration has been applied")
    head = schema_head()
    if int(current) < int(head):
        raise NotReady(f"at {current}, behind this release's {head}")
    return f"at {current}" if current == head else f"at {current}, ahead of this release's {head}"


async def check_redis(context: Context) -> str:
    password = context.secrets["redis"].get("password")
    async with redis.asyncio.Redis.from_url(
        context.settings.redis_url, password=password, single_connection_client=True, retry=Retry(NoBackoff(), 0)
    ) as client:
        await client.ping()
    return "connected"


async def check_vault(context: Context) -> str:
    if not context.settings.vault["VAULT_ADDR"]:
        return "not used"
    return await asyncio.get_running_loop().run_in_executor(_vault_threads, _vault_state, context)


async def check_objectstore(context: Context) -> str:
    if not context.settings.objectstore_url:
        return "not used"
    return await asyncio.get_running_loop().run_in_executor(_objectstore_threads, _objectstore_state, context)


CHECKS: dict[str, Check] = {
    "db": check_database,
    "redis": check_redis,
    "vault": check_vault,
    "objectstore": check_objectstore,
    "migrations": check_migrations,
}
_vault_threads = ThreadPoolExecutor(4, thread_name_prefix="vault")
_objectstore_threads = ThreadPoolExecutor(4, thread_name_prefix="objectstore")


async def readiness(context: Context) -> dict[str, Any]:
    """``{"status": "ok|fail", "checks": {name: {"ok", "detail"}}}``, never later than the settings say."""
    budget_s = _budget_s(context)
    tasks = {name: asyncio.create_task(_answer(check, context)) for name, check in CHECKS.items()}
    _, hanging = await asyncio.wait(tasks.values(), timeout=budget_s)
    for task in hanging:
        task.cancel()  # not awaited: leaving may take as long as the server hangs
    late = {"ok": False, "detail": f"no answer within {budget_s:g} s"}
    checks = {name: late if task in hanging else task.result() for name, task in tasks.items()}
    return {"status": "ok" if all(check["ok"] for check in checks.values()) else "fail", "checks": checks}


def _budget_s(context: Context) -> float:
    return context.settings.ready_within_ms / 1000


async def _answer(check: Check, context: Context) -> dict[str, Any]:
    try:
        return {"ok": True, "detail": await check(context)}
    except NotReady as reason:
        return {"ok": False, "detail": str(reason)}
    except (redis.AuthenticationError, psycopg.errors.InvalidPassword) as error:
        return {"ok": False, "detail": f"refused our credentials ({type(error).__name__})"}
    except Exception as error:  # noqa: BLE001 - whatever a client raises means not ready
        return {"ok": False, "detail": f"unreachable ({type(error).__name__})"}


async def _select(context: Context, statement: str) -> Any:
    _, options = context.engine.dialect.create_connect_args(context.database_url)
    async with await psycopg.AsyncConnection.connect(**options, connect_timeout=2) as connection:
        row = await (await connection.execute(statement)).fetchone()
    return row[0] if row else None


def _vault_state(context: Context) -> str:
    vault = context.settings.vault
    address = f"{vault['VAULT_ADDR']}/v1/sys/seal-status"
    state = requests.get(address, verify=vault["VAULT_CACERT"] or True, timeout=_budget_s(context)).json()
    if state.get("sealed", True):
        raise NotReady("sealed")
    return "unsealed"


def _objectstore_state(context: Context) -> str:
    settings, keys = context.settings, context.secrets["objectstore"]
    bucket, login = settings.objectstore_bucket, (keys["access_key"], keys["secret_key"])
    store = ObjectStore(settings.objectstore_url, bucket, *login, timeout_s=_budget_s(context))
    if not store.has_bucket():
        raise NotReady("refused us the bucket")
    return "reachable"
