# SPDX-License-Identifier: GPL-3.0-or-later
"""The bank's reference of a payment: new in 1.1.0."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlalchemy import String
from sqlalchemy.orm import mapped_column

from ledger.auth import Manager
from ledger.database import Writing, find
from ledger.models import Request as Payment

Payment.payment_reference = mapped_column(String(200), nullable=True)
router = APIRouter(prefix="/api/v1")


class Reference(BaseModel):
    payment_reference: Annotated[str, Field(min_length=1, max_length=200)]


@router.put("/requests/{payment_id}/payment-reference")
def set_reference(payment_id: int, body: Reference, once: Writing, caller: Manager) -> Any:
    def write() -> dict[str, Any]:
        payment = find(once.db, Payment, payment_id, lock=True)
        payment.payment_reference = body.payment_reference
        return payment.to_dict()

    return once(body, write)
