# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs: a row for each run in the database, its number in a Redis list until a worker takes it."""

from __future__ import annotations

import json
import logging
import signal
import threading
from datetime import timedelta
from typing import Any

import redis
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ledger.context import Context
from ledger.models import Batch, JobRun, KpiDay, now
from ledger.models import Request as Payment

QUEUE = "ledger:jobs"
HEARTBEAT = "ledger:scheduler"
log = logging.getLogger("ledger.jobs")


def stop_on_sigterm() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    return stopping


def enqueue(context: Context, db: Session, job: str, slot: str) -> dict[str, Any] | None:
    """Record the run and hand it to the workers; None when the slot has been filled already."""
    entry = insert(JobRun).values(job=job, slot=f"{job}/{slot}").on_conflict_do_nothing().returning(JobRun.id)
    run_id = db.scalar(entry)
    if run_id is None:
        return None
    # Committed first: a worker must find the row. What dies in between, the watchdog finds QUEUED for too long.
    db.commit()
    context.redis.rpush(QUEUE, run_id)
    return {"run_id": run_id, "job": job, "status": "QUEUED"}


def take(context: Context, wait_s: int) -> int | None:
    taken = context.redis.blpop([QUEUE], timeout=wait_s)
    return int(taken[1]) if taken else None


def work(context: Context, run_id: int) -> None:
    """Carry out one queued run; a run that another worker took, or that does not exist, is passed over."""
    with Session(context.engine) as db:
        started = {"status": "RUNNING", "host": context.settings.host_name, "started_at": now()}
        queued = (JobRun.id == run_id) & (JobRun.status == "QUEUED")
        job = db.scalar(update(JobRun).where(queued).values(**started).returning(JobRun.job))
        db.commit()
        if job is None:
            return
        status, detail = "SUCCEEDED", None
        try:
            detail = JOBS[job](db)
        except Exception:
            log.exception("run %s of %s failed", run_id, job)
            db.rollback()
            status = "FAILED"
        finish = update(JobRun).where(JobRun.id == run_id)
        db.execute(finish.values(status=status, detail=detail, finished_at=now()))
        db.commit()


def record(context: Context, job: str, slot: str, detail: dict[str, Any]) -> None:
    """A run that the scheduler carried out itself."""
    at = now()
    values = {"status": "SUCCEEDED", "host": context.settings.host_name, "started_at": at, "finished_at": at}
    with Session(context.engine) as db:
        entry = insert(JobRun).values(job=job, slot=f"{job}/{slot}", detail=detail, **values)
        db.execute(entry.on_conflict_do_nothing())
        db.commit()


def recover_stuck(context: Context) -> int:
    """The watchdog: queue again whatever has been queued or running for too long. How many there were."""
    limit = now() - timedelta(seconds=context.settings.stuck_after_s)
    stuck = JobRun.status.in_(("QUEUED", "RUNNING")) & (func.coalesce(JobRun.started_at, JobRun.queued_at) < limit)
    with Session(context.engine) as db:
        again = update(JobRun).where(stuck).values(status="QUEUED", started_at=None, queued_at=now())
        runs = db.scalars(again.returning(JobRun.id)).all()
        db.commit()
    for run_id in runs:
        context.redis.rpush(QUEUE, run_id)
    return len(runs)


def snapshot(context: Context) -> dict[str, Any]:
    """How many runs of each status there are, and how many wait."""
    with Session(context.engine) as db:
        runs = db.execute(select(JobRun.status, func.count()).group_by(JobRun.status)).all()
    return {"runs": dict(map(tuple, runs)), "waiting": context.redis.llen(QUEUE)}


def beat(context: Context) -> None:
    """Tell that this scheduler is alive; the sign outlives it by three rounds at most."""
    settings = context.settings
    sign = {"host": settings.host_name, "version": settings.version, "seen_at": now().isoformat()}
    context.redis.set(HEARTBEAT, json.dumps(sign), ex=3 * settings.schedule_interval_s)


def heartbeat(context: Context) -> dict[str, Any]:
    """``{"enabled": is a scheduler alive, "scheduler": its last sign or None, "waiting": runs in the queue}``."""
    try:
        sign, waiting = context.redis.get(HEARTBEAT), context.redis.llen(QUEUE)
    except redis.RedisError:
        return {"enabled": False, "scheduler": None, "waiting": None}
    return {"enabled": sign is not None, "scheduler": json.loads(sign) if sign else None, "waiting": waiting}


def daily_cycle(db: Session) -> dict[str, Any]:
    """Compute today's key figures anew."""
    today = now().date()
    start = now().replace(hour=0, minute=0, second=0, microsecond=0)
    paid = func.coalesce(func.sum(Payment.amount).filter(Payment.status == "PAID"), 0)
    requests, amount = db.execute(select(func.count(), paid).where(Payment.created_at >= start)).one()
    batches = db.scalar(select(func.count()).select_from(Batch).where(Batch.created_at >= start))
    figures = {"batches": batches, "requests": requests, "amount_paid": amount, "computed_at": now()}
    entry = insert(KpiDay).values(day=today, **figures)
    db.execute(entry.on_conflict_do_update(index_elements=["day"], set_=figures))
    return {"day": today.isoformat(), "requests": requests}


JOBS = {"daily_cycle": daily_cycle}
