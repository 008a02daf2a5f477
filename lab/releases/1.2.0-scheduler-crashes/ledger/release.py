# SPDX-License-Identifier: GPL-3.0-or-later
"""Broken on purpose: serves well, and its scheduler ends with an error as soon as it has started."""

from __future__ import annotations

from fastapi import FastAPI

from ledger import references


def arrange_web(app: FastAPI) -> None:
    app.include_router(references.router)


def arrange_scheduler() -> None:
    raise RuntimeError("broken on purpose")
