# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, DateTime, ForeignKey, Numeric, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

ROLES = ("ADMIN", "QA_MANAGER", "QA_ANALYST", "OPS_SCHEDULER", "VIEWER")
HIDDEN = frozenset({"password_hash"})


def now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012 - read by SQLAlchemy
        str: String(200),
        datetime: DateTime(timezone=True),
        Decimal: Numeric(14, 2),
        dict[str, Any]: JSON(none_as_null=True),
    }

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__mapper__.columns.keys() if name not in HIDDEN}  # noqa: SIM118


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    role: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Vendor(Base):
    __tablename__ = "vendors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


class Site(Base):
    __tablename__ = "sites"
    id: Mapped[int] = mapped_column(primary_key=True)
    vendor_id: Mapped[int] = mapped_column(ForeignKey("vendors.id"))
    name: Mapped[str]


class Batch(Base):
    """Goods made at a site; payment requests are collected on it and submitted with it."""

    __tablename__ = "batches"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("sites.id"))
    status: Mapped[str] = mapped_column(default="DRAFT")
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)


class Supply(Base):
    """What a vendor delivered into a batch."""

    __tablename__ = "supplies"
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"), primary_key=True)
    vendor_id: Mapped[int] = mapped_column(ForeignKey("vendors.id"), primary_key=True)
    qty: Mapped[Decimal]


class Shipment(Base):
    """What of a batch went to a customer, in which finished lot."""

    __tablename__ = "shipments"
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"), primary_key=True)
    customer: Mapped[str] = mapped_column(primary_key=True)
    lot: Mapped[str] = mapped_column(primary_key=True)
    qty: Mapped[Decimal]


class Request(Base):
    """A payment request: DRAFT, SUBMITTED, APPROVED, PAID."""

    __tablename__ = "requests"
    id: Mapped[int] = mapped_column(primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    beneficiary: Mapped[str] = mapped_column(index=True)
    amount: Mapped[Decimal]
    status: Mapped[str] = mapped_column(default="DRAFT")
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)


class IdempotencyKey(Base):
    """The answer given to the first request with this key, repeated to every later one."""

    __tablename__ = "idempotency_keys"
    scope: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str]
    answer: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class AuditPack(Base):
    __tablename__ = "audit_packs"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    from_ts: Mapped[datetime]
    to_ts: Mapped[datetime]
    notes: Mapped[str]
    checksums_sha256: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)


class JobRun(Base):
    """One run of a job. ``slot`` makes a scheduled run unique, however many schedulers there are."""

    __tablename__ = "job_runs"
    id: Mapped[int] = mapped_column(primary_key=True)
    job: Mapped[str] = mapped_column(index=True)
    slot: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str] = mapped_column(default="QUEUED")
    host: Mapped[str | None]
    detail: Mapped[dict[str, Any] | None]
    queued_at: Mapped[datetime] = mapped_column(default=now, index=True)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class KpiDay(Base):
    __tablename__ = "kpi_daily"
    day: Mapped[date] = mapped_column(primary_key=True)
    batches: Mapped[int]
    requests: Mapped[int]
    amount_paid: Mapped[Decimal]
    computed_at: Mapped[datetime]
