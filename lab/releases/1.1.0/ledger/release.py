# SPDX-License-Identifier: GPL-3.0-or-later
"""Where releases differ: 1.1.0 knows the bank's reference of a payment."""

from __future__ import annotations

from fastapi import FastAPI

from ledger import references


def arrange_web(app: FastAPI) -> None:
    """Called once with the finished application, before it serves."""
    app.include_router(references.router)


def arrange_scheduler() -> None:
    """Called once before the scheduler's first round."""
