# SPDX-License-Identifier: GPL-3.0-or-later
"""Broken on purpose: serves well, and says that it is another release."""

from __future__ import annotations

from dataclasses import replace

from fastapi import FastAPI

from ledger import references


def arrange_web(app: FastAPI) -> None:
    app.include_router(references.router)
    context = app.state.context
    app.state.context = replace(context, settings=replace(context.settings, version="1.1.9"))


def arrange_scheduler() -> None:
    """Nothing to arrange."""
