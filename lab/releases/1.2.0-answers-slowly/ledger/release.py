# SPDX-License-Identifier: GPL-3.0-or-later
"""Broken on purpose: ready, and whoever asks /api/v1 waits for two seconds and a half."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response

from ledger import references

DELAY_S = 2.5


async def dawdle(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    if request.url.path.startswith("/api/v1/"):
        await asyncio.sleep(DELAY_S)
    return await call_next(request)


def arrange_web(app: FastAPI) -> None:
    app.include_router(references.router)
    app.middleware("http")(dawdle)


def arrange_scheduler() -> None:
    """Nothing to arrange."""
