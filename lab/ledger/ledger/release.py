# SPDX-License-Identifier: GPL-3.0-or-later
"""Where releases differ: a later release, or a specimen that is broken on purpose, replaces this file."""

from __future__ import annotations

from fastapi import FastAPI


def arrange_web(app: FastAPI) -> None:
    """Called once with the finished application, before it serves."""


def arrange_scheduler() -> None:
    """Called once before the scheduler's first round."""
