# SPDX-License-Identifier: GPL-3.0-or-later
"""What the endpoints share: a database session for each request, and writes that happen once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, HTTPException, Request
from fastapi.encoders import jsonable_encoder
from pydantic import BaseModel
from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ledger.auth import Caller
from ledger.models import Base, IdempotencyKey

Row = TypeVar("Row", bound=Base)


def session(request: Request) -> Iterator[Session]:
    with Session(request.app.state.context.engine) as opened:
        yield opened


Database = Annotated[Session, Depends(session)]


def find(db: Session, model: type[Row], identity: Any, *, lock: bool = False) -> Row:
    """The row with this primary key, or 404; with ``lock``, nobody else changes it until the transaction ends."""
    row = db.get(model, identity, with_for_update=lock)
    if row is None:
        raise HTTPException(404, f"No such {model.__name__.lower()}")
    return row


def add(db: Session, row: Base) -> dict[str, Any]:
    """Insert the row; its fields as the database knows them."""
    db.add(row)
    db.flush()
    return row.to_dict()


class Once:
    """Carry out a write in one transaction; with an Idempotency-Key, once: a repetition gets the first answer."""

    def __init__(
        self,
        request: Request,
        db: Database,
        caller: Caller,
        key: Annotated[str | None, Header(alias="Idempotency-Key", max_length=200)] = None,
    ) -> None:
        self.db, self.key = db, key
        self.scope = f"{caller.name} {request.method} {request.url.path}"

    def __call__(self, payload: BaseModel, write: Callable[[], Any]) -> Any:
        repeated = self._earlier_answer(payload) if self.key else None
        if repeated is not None:
            return repeated
        answer = jsonable_encoder(write())
        if self.key:
            entry = (IdempotencyKey.scope == self.scope) & (IdempotencyKey.key == self.key)
            self.db.execute(update(IdempotencyKey).where(entry).values(answer=answer))
        self.db.commit()
        return answer

    def _earlier_answer(self, payload: BaseModel) -> dict[str, Any] | None:
        """None for the first of its key. The insert waits for whoever is writing under the same key now."""
        digest = hashlib.sha256(json.dumps(jsonable_encoder(payload), sort_keys=True).encode()).hexdigest()
        entry = insert(IdempotencyKey).values(scope=self.scope, key=self.key, digest=digest)
        if self.db.scalar(entry.on_conflict_do_nothing().returning(IdempotencyKey.key)) is not None:
            return None
        earlier = find(self.db, IdempotencyKey, (self.scope, self.key))
        if earlier.digest != digest:
            raise HTTPException(422, "This Idempotency-Key belongs to another request")
        return earlier.answer


Writing = Annotated[Once, Depends()]
