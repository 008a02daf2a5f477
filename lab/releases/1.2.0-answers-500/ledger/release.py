# SPDX-License-Identifier: GPL-3.0-or-later
"""Broken on purpose: ready, and every fifth request to /api/v1 fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count

from fastapi import FastAPI, Request, Response

from ledger import references

numbers = count(1)


async def fail_sometimes(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    if request.url.path.startswith("/api/v1/") and next(numbers) % 5 == 0:
        raise RuntimeError("broken on purpose")
    return await call_next(request)


def arrange_web(app: FastAPI) -> None:
    app.include_router(references.router)
    app.middleware("http")(fail_sometimes)


def arrange_scheduler() -> None:
    """Nothing to arrange."""
