# SPDX-License-Identifier: GPL-3.0-or-later
"""The first administrator, whom no API can make, and the batch that a recall drill asks about; both once only."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ledger import auth
from ledger import context as contexts
from ledger.models import Base, Batch, Shipment, Site, Supply, User, Vendor
from ledger.settings import RefusedStart, Settings

BATCH = "BATCH-2026-02-0012"
SUPPLIES = {"Aurora Grains": Decimal(400), "Borealis Oils": Decimal(250)}
SHIPMENTS = {"Cedar Foods": Decimal(400), "Delta Stores": Decimal(250)}
LOT = "LOT-2026-02-0012-A"


def run(settings: Settings) -> None:
    contexts.configure_logging()
    context = contexts.connect(settings, secrets=("admin",))
    with Session(context.engine) as db:
        plant_administrator(db, **context.secrets["admin"])
        plant_batch(db)
        db.commit()
    logging.getLogger("ledger.seed").info("administrator and %s are in place", BATCH)


def plant_administrator(db: Session, *, username: str = "admin", password: str = "") -> None:
    """The administrator, with the password that Vault has now."""
    if not password:
        raise RefusedStart("the secret admin has no password")
    user = db.scalar(select(User).where(User.username == username))
    if user is None:
        db.add(User(username=username, password_hash=auth.hash_password(password), role="ADMIN"))
    elif not auth.matches_password(password, user.password_hash):
        user.password_hash = auth.hash_password(password)


def plant_batch(db: Session) -> None:
    vendors = [_ensure(db, Vendor, name=name) for name in SUPPLIES]
    site = _ensure(db, Site, vendor_id=vendors[0].id, name="Mill One")
    batch = _ensure(db, Batch, code=BATCH, site_id=site.id)
    for vendor, qty in zip(vendors, SUPPLIES.values(), strict=True):
        _insert(db, Supply, batch_id=batch.id, vendor_id=vendor.id, qty=qty)
    for customer, qty in SHIPMENTS.items():
        _insert(db, Shipment, batch_id=batch.id, customer=customer, lot=LOT, qty=qty)


def _ensure(db: Session, model: type[Base], **fields: Any) -> Any:
    row = db.scalar(select(model).filter_by(**fields).limit(1))
    if row is None:
        row = model(**fields)
        db.add(row)
        db.flush()
    return row


def _insert(db: Session, model: type[Base], **fields: Any) -> None:
    db.execute(insert(model).values(**fields).on_conflict_do_nothing())
