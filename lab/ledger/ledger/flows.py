# SPDX-License-Identifier: GPL-3.0-or-later
"""Login, users, and the way of a payment request: vendor, site, batch, request, submit, approve, mark paid."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query, Request
from pydantic import BaseModel, Field
from sqlalchemy import func, select, update

from ledger import auth
from ledger.auth import Admin, Caller, Identity, Manager, Operator
from ledger.database import Database, Writing, add, find
from ledger.models import ROLES, Base, Batch, Site, User, Vendor
from ledger.models import Request as Payment

router = APIRouter(prefix="/api/v1")
Name = Annotated[str, Field(min_length=1, max_length=200)]
Limit = Annotated[int, Query(ge=1, le=1000)]
STEPS = {"submit": ("DRAFT", "SUBMITTED"), "approve": ("SUBMITTED", "APPROVED"), "mark-paid": ("APPROVED", "PAID")}
# Spent on unknown user names too, so that the time an answer takes does not tell which names exist.
NOBODY = "00$"


class Login(BaseModel):
    username: Name
    password: Name


class NewUser(BaseModel):
    username: Name
    password: Annotated[str, Field(min_length=12, max_length=200)]
    role: Name


class NewVendor(BaseModel):
    name: Name


class NewSite(BaseModel):
    vendor_id: int
    name: Name


class NewBatch(BaseModel):
    code: Name
    site_id: int


class NewPayment(BaseModel):
    batch_id: int
    beneficiary: Name
    amount: Annotated[Decimal, Field(gt=0, max_digits=14, decimal_places=2)]


class PaymentChange(BaseModel):
    beneficiary: Name | None = None
    amount: Annotated[Decimal | None, Field(gt=0, max_digits=14, decimal_places=2)] = None


class Nothing(BaseModel):
    """The body of a step: there is none."""


@router.get("/ping")
async def ping() -> dict[str, str]:
    return {"status": "ok"}


@router.post("/auth/login")
def login(body: Login, request: Request, db: Database) -> dict[str, Any]:
    user = db.scalar(select(User).where(User.username == body.username))
    if not auth.matches_password(body.password, user.password_hash if user else NOBODY) or user is None:
        raise HTTPException(401, "Unknown user or wrong password")
    token = auth.issue_token(request.app.state.jwt_secret, user.username, user.role)
    return {"access_token": token, "token_type": "bearer", "expires_in": auth.LIFETIME_S}


@router.post("/users", status_code=201)
def create_user(body: NewUser, once: Writing, caller: Admin) -> Any:
    role = body.role.upper()
    if role == "ADMIN":
        raise HTTPException(400, "Cannot create ADMIN users via API")
    if role not in ROLES:
        raise HTTPException(400, f"role must be one of {', '.join(ROLES[1:])}")
    password = auth.hash_password(body.password)
    # The password stays out of the digest that is kept with an Idempotency-Key.
    return once(
        body.model_copy(update={"password": ""}),
        lambda: add(once.db, User(username=body.username, password_hash=password, role=role)),
    )


@router.get("/users")
def list_users(db: Database, caller: Admin, username: str | None = None, limit: Limit = 50) -> Any:
    return _page(db, User, limit, **({"username": username} if username else {}))


@router.post("/vendors", status_code=201)
def create_vendor(body: NewVendor, once: Writing, caller: Operator) -> Any:
    return once(body, lambda: add(once.db, Vendor(**body.model_dump())))


@router.get("/vendors")
def list_vendors(db: Database, caller: Caller, limit: Limit = 50) -> Any:
    return _page(db, Vendor, limit)


@router.post("/sites", status_code=201)
def create_site(body: NewSite, once: Writing, caller: Operator) -> Any:
    return once(body, lambda: add(once.db, Site(**body.model_dump())))


@router.get("/sites")
def list_sites(db: Database, caller: Caller, limit: Limit = 50) -> Any:
    return _page(db, Site, limit)


@router.post("/batches", status_code=201)
def create_batch(body: NewBatch, once: Writing, caller: Operator) -> Any:
    return once(body, lambda: add(once.db, Batch(**body.model_dump())))


@router.get("/batches")
def list_batches(db: Database, caller: Caller, code: str | None = None, limit: Limit = 50) -> Any:
    return _page(db, Batch, limit, **({"code": code} if code else {}))


@router.post("/batches/{batch_id}/submit")
def submit_batch(batch_id: int, once: Writing, caller: Operator) -> Any:
    """Submits the batch with all its requests."""

    def write() -> dict[str, Any]:
        batch = find(once.db, Batch, batch_id, lock=True)
        _require(batch.status == "DRAFT", f"A batch that is {batch.status} cannot be submitted")
        batch.status = "SUBMITTED"
        drafts = (Payment.batch_id == batch_id) & (Payment.status == "DRAFT")
        once.db.execute(update(Payment).where(drafts).values(status="SUBMITTED"))
        return batch.to_dict()

    return once(Nothing(), write)


@router.post("/requests", status_code=201)
def create_payment(body: NewPayment, once: Writing, caller: Operator) -> Any:
    def write() -> dict[str, Any]:
        batch = find(once.db, Batch, body.batch_id)
        _require(batch.status == "DRAFT", f"A batch that is {batch.status} takes no more requests")
        return add(once.db, Payment(**body.model_dump(), created_by=caller.name))

    return once(body, write)


@router.get("/requests")
def list_payments(db: Database, caller: Caller, beneficiary: str | None = None, limit: Limit = 50) -> Any:
    return _page(db, Payment, limit, **({"beneficiary": beneficiary} if beneficiary else {}))


@router.get("/requests/{payment_id}")
def show_payment(payment_id: int, db: Database, caller: Caller) -> Any:
    return find(db, Payment, payment_id).to_dict()


@router.patch("/requests/{payment_id}")
def change_payment(payment_id: int, body: PaymentChange, db: Database, caller: Operator) -> Any:
    payment = find(db, Payment, payment_id, lock=True)
    _require(payment.status in ("DRAFT", "SUBMITTED"), f"A request that is {payment.status} cannot be changed")
    for name, value in body.model_dump(exclude_none=True).items():
        setattr(payment, name, value)
    db.commit()
    return payment.to_dict()


@router.post("/requests/{payment_id}/submit")
def submit_payment(payment_id: int, once: Writing, caller: Operator) -> Any:
    return _step(once, payment_id, "submit", caller)


@router.post("/requests/{payment_id}/{step}")
def approve_or_pay(payment_id: int, step: Literal["approve", "mark-paid"], once: Writing, caller: Manager) -> Any:
    return _step(once, payment_id, step, caller)


def _step(once: Writing, payment_id: int, step: str, caller: Identity) -> Any:
    before, after = STEPS[step]

    def write() -> dict[str, Any]:
        payment = find(once.db, Payment, payment_id, lock=True)
        _require(payment.status == before, f"{step} needs a request that is {before}; this one is {payment.status}")
        payment.status = after
        return payment.to_dict()

    return once(Nothing(), write)


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise HTTPException(409, otherwise)


def _page(db: Database, model: type[Base], limit: int, **equal: Any) -> dict[str, Any]:
    """The newest rows that match, and how many there are in all."""
    matching = select(model).filter_by(**equal)
    total = db.scalar(select(func.count()).select_from(matching.subquery()))
    rows = db.scalars(matching.order_by(model.id.desc()).limit(limit))
    return {"total": total, "items": [row.to_dict() for row in rows]}
