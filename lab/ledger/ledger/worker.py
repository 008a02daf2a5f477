# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker: takes runs from the queue, one at a time, until it is told to stop."""

from __future__ import annotations

import logging

import redis
import sqlalchemy.exc

from ledger import context as contexts
from ledger import jobs
from ledger.settings import Settings

log = logging.getLogger("ledger.worker")


def run(settings: Settings) -> None:
    contexts.configure_logging()
    stopping = jobs.stop_on_sigterm()
    context = contexts.connect(settings, secrets=())
    log.info("worker %s (%s) started on %s", settings.version, settings.build, settings.host_name)
    while not stopping.is_set():
        try:
            run_id = jobs.take(context, wait_s=1)
            if run_id is not None:
                jobs.work(context, run_id)
        except (redis.RedisError, sqlalchemy.exc.DBAPIError) as error:
            log.error("cannot work now, trying again: %s", type(error).__name__)
            stopping.wait(1)
    log.info("worker stopped")
