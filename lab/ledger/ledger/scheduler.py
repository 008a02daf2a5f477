# SPDX-License-Identifier: GPL-3.0-or-later
"""The scheduler: each round it queues the daily cycle, recovers stuck runs and writes a snapshot of the state."""

from __future__ import annotations

import logging
import time

import redis
import sqlalchemy.exc
from sqlalchemy.orm import Session

from ledger import context as contexts
from ledger import jobs, release
from ledger.settings import Settings

log = logging.getLogger("ledger.scheduler")


def run(settings: Settings) -> None:
    contexts.configure_logging()
    stopping = jobs.stop_on_sigterm()
    context = contexts.connect(settings, secrets=())
    log.info("scheduler %s (%s) started on %s", settings.version, settings.build, settings.host_name)
    release.arrange_scheduler()
    while not stopping.is_set():
        try:
            play_round(context)
        except (redis.RedisError, sqlalchemy.exc.DBAPIError) as error:
            log.error("this round is lost: %s", type(error).__name__)
        stopping.wait(settings.schedule_interval_s)
    try:
        context.redis.delete(jobs.HEARTBEAT)
    except redis.RedisError:
        log.warning("the sign of life stays until it expires: Redis is out of reach")
    log.info("scheduler stopped")


def play_round(context: contexts.Context) -> None:
    """One round. Rounds have numbers by the clock, so that two schedulers do not do the same one twice."""
    slot = str(int(time.time()) // context.settings.schedule_interval_s)
    jobs.beat(context)
    with Session(context.engine) as db:
        jobs.enqueue(context, db, "daily_cycle", slot)
    jobs.record(context, "watchdog", slot, {"recovered": jobs.recover_stuck(context)})
    jobs.record(context, "status_snapshot", slot, jobs.snapshot(context))
