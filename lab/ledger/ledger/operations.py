# SPDX-License-Identifier: GPL-3.0-or-later
"""What operators and auditors ask for: recall drills, audit packs, automation and key figures."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.encoders import jsonable_encoder
from pydantic import AwareDatetime, BaseModel, Field
from sqlalchemy import select

from ledger import jobs
from ledger.auth import Caller, Manager, Operator, Quality
from ledger.database import Database, Writing, add, find
from ledger.models import AuditPack, Base, Batch, JobRun, KpiDay, Shipment, Supply, Vendor
from ledger.models import Request as Payment

router = APIRouter(prefix="/api/v1")
CHECKSUMS = "checksums.json"


class Recall(BaseModel):
    batch_code: str
    reason: Annotated[str, Field(min_length=1, max_length=200)]


class NewPack(BaseModel):
    from_ts: AwareDatetime
    to_ts: AwareDatetime
    limit: Annotated[int, Field(ge=1, le=10000)] = 1000
    notes: Annotated[str, Field(max_length=200)] = ""


class NewRun(BaseModel):
    job: Literal["daily_cycle"] = "daily_cycle"


@router.post("/recall/simulate")
def simulate_recall(body: Recall, db: Database, caller: Manager) -> dict[str, Any]:
    """Who delivered into the batch, who has it now, and how much of it: a drill, nothing is changed."""
    started = time.monotonic()
    batch = db.scalar(select(Batch).where(Batch.code == body.batch_code))
    if batch is None:
        raise HTTPException(404, "No such batch")
    supplies = select(Vendor.name).join(Supply).where(Supply.batch_id == batch.id).order_by(Vendor.name)
    suppliers = db.scalars(supplies).all()
    shipments = db.scalars(select(Shipment).where(Shipment.batch_id == batch.id)).all()
    customers = sorted({shipment.customer for shipment in shipments})
    return {
        "batch_code": batch.code,
        "reason": body.reason,
        "impacted_suppliers": suppliers,
        "suppliers_count": len(suppliers),
        "impacted_customers": customers,
        "impacted_customers_count": len(customers),
        "impacted_qty": float(sum(shipment.qty for shipment in shipments)),
        "finished_lots_count": len({shipment.lot for shipment in shipments}),
        "trace_s": round(time.monotonic() - started, 6),
    }


@router.post("/audit/packs/generate", status_code=201)
def generate_pack(body: NewPack, request: Request, once: Writing, caller: Quality) -> Any:
    def write() -> dict[str, Any]:
        pack = uuid.uuid4()
        files = {
            f"{name}.json": _json(_created_between(once.db, model, body.from_ts, body.to_ts, body.limit))
            for name, model in {"batches": Batch, "requests": Payment}.items()
        }
        checksums = _json({"algorithm": "sha256", "files": {name: _sha256(data) for name, data in files.items()}})
        for name, data in {**files, CHECKSUMS: checksums}.items():
            _store(request).put(f"audit-packs/{pack}/{name}", data)
        kept = body.model_dump(exclude={"limit"})
        add(once.db, AuditPack(id=pack, **kept, checksums_sha256=_sha256(checksums), created_by=caller.name))
        return {"pack_id": pack, "files": [*files, CHECKSUMS], "checksums_sha256": _sha256(checksums)}

    return once(body, write)


@router.post("/audit/packs/{pack_id}/verify")
def verify_pack(pack_id: uuid.UUID, request: Request, db: Database, caller: Caller) -> dict[str, Any]:
    """Fetch every file again and compare it with checksums.json, and that with what the database recorded."""
    pack = find(db, AuditPack, pack_id)
    checksums = _store(request).get(f"audit-packs/{pack_id}/{CHECKSUMS}")
    expected = {CHECKSUMS: pack.checksums_sha256, **(json.loads(checksums)["files"] if checksums else {})}
    found = {name: _store(request).get(f"audit-packs/{pack_id}/{name}") for name in expected}
    missing = [name for name, data in found.items() if data is None]
    mismatches = [name for name, data in found.items() if data is not None and _sha256(data) != expected[name]]
    return {
        "pack_id": pack_id,
        "valid": not missing and not mismatches,
        "missing_files": missing,
        "mismatches": mismatches,
    }


@router.get("/audit/packs/{pack_id}/files/{name}")
def download_file(pack_id: uuid.UUID, name: str, request: Request, db: Database, caller: Caller) -> Response:
    find(db, AuditPack, pack_id)
    data = _store(request).get(f"audit-packs/{pack_id}/{name}")
    if data is None:
        raise HTTPException(404, "No such file")
    return Response(data, media_type="application/json")


@router.get("/automation/status")
def automation_status(request: Request, db: Database, caller: Caller) -> dict[str, Any]:
    latest = select(JobRun).distinct(JobRun.job).order_by(JobRun.job, JobRun.id.desc())
    return {
        **jobs.heartbeat(request.app.state.context),
        "jobs": {run.job: run.to_dict() for run in db.scalars(latest)},
    }


@router.get("/automation/runs")
def list_runs(
    db: Database, caller: Caller, job: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 50
) -> dict[str, Any]:
    runs = select(JobRun).filter_by(**({"job": job} if job else {})).order_by(JobRun.id.desc()).limit(limit)
    return {"items": [run.to_dict() for run in db.scalars(runs)]}


@router.post("/automation/runs", status_code=202)
def request_run(body: NewRun, request: Request, once: Writing, caller: Operator) -> Any:
    return once(body, lambda: jobs.enqueue(request.app.state.context, once.db, body.job, slot=uuid.uuid4().hex))


@router.get("/kpi/daily")
def daily_figures(db: Database, caller: Caller, limit: Annotated[int, Query(ge=1, le=366)] = 31) -> dict[str, Any]:
    return {"items": [day.to_dict() for day in db.scalars(select(KpiDay).order_by(KpiDay.day.desc()).limit(limit))]}


def _created_between(
    db: Database, model: type[Base], start: datetime, end: datetime, limit: int
) -> Iterable[dict[str, Any]]:
    rows = select(model).where(model.created_at.between(start, end)).order_by(model.id).limit(limit)
    return [row.to_dict() for row in db.scalars(rows)]


def _store(request: Request) -> Any:
    store = request.app.state.objectstore
    if store is None:
        raise HTTPException(503, "OBJECTSTORE_URL is not set: audit packs have no place")
    return store


def _json(data: Any) -> bytes:
    return json.dumps(jsonable_encoder(data), indent=1, sort_keys=True).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
