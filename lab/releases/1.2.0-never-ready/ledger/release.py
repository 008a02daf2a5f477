# SPDX-License-Identifier: GPL-3.0-or-later
"""Broken on purpose: waits for a warehouse that never answers, so it is alive and never ready."""

from __future__ import annotations

from fastapi import FastAPI

from ledger import ready, references
from ledger.context import Context


async def check_warehouse(context: Context) -> str:
    raise ready.NotReady("no answer from the warehouse")


def arrange_web(app: FastAPI) -> None:
    app.include_router(references.router)
    ready.CHECKS["warehouse"] = check_warehouse


def arrange_scheduler() -> None:
    """Nothing to arrange."""
