# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is asking and what they may: passwords (scrypt), signed tokens (JWT, HS256) and the token map from Vault."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request

LIFETIME_S = 3600
JWT_HEADER = {"alg": "HS256", "typ": "JWT"}


@dataclass(frozen=True)
class Identity:
    name: str
    roles: frozenset[str]


def hash_password(password: str, salt: bytes | None = None) -> str:
    salt = salt or os.urandom(16)
    return f"{salt.hex()}${hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1).hex()}"


def matches_password(password: str, stored: str) -> bool:
    salt = bytes.fromhex(stored.partition("$")[0])
    return hmac.compare_digest(hash_password(password, salt), stored)


def issue_token(secret: str, name: str, role: str) -> str:
    claims = {"sub": name, "roles": [role], "exp": int(time.time()) + LIFETIME_S}
    signed = ".".join(_encode(json.dumps(part).encode()) for part in (JWT_HEADER, claims))
    return f"{signed}.{_signature(secret, signed)}"


def read_token(secret: str, token: str) -> Identity | None:
    """The identity in one of our tokens, or None: forged, damaged or expired."""
    signed, _, signature = token.rpartition(".")
    if not hmac.compare_digest(_signature(secret, signed).encode(), signature.encode()):
        return None
    payload = signed.partition(".")[2]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return Identity(claims["sub"], frozenset(claims["roles"])) if claims["exp"] > time.time() else None


def read_token_map(text: str) -> dict[bytes, Identity]:
    """API_TOKEN_MAP_JSON: ``{token: {"user_id": .., "roles": [..]}}``, kept by the digest of the token."""
    entries = json.loads(text or "{}").items()
    return {_digest(token): Identity(who["user_id"], _roles(who["roles"])) for token, who in entries}


def identify(request: Request) -> Identity:
    """The caller, or 401. With AUTH_ENABLED=false (development only) everybody is an administrator."""
    state = request.app.state
    if not state.context.settings.auth_enabled:
        return Identity("anonymous", frozenset({"ADMIN"}))
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        known = state.token_map.get(_digest(token)) or read_token(state.jwt_secret, token)
        if known:
            return known
    raise HTTPException(401, "A valid bearer token is needed", {"WWW-Authenticate": "Bearer"})


Caller = Annotated[Identity, Depends(identify)]


def allow(*roles: str) -> Callable[[Any], Identity]:
    """A dependency that lets administrators and the named roles pass and answers 403 to others."""

    def check(caller: Caller) -> Identity:
        if not caller.roles & {"ADMIN", *roles}:
            raise HTTPException(403, f"One of these roles is needed: {', '.join(['ADMIN', *roles])}")
        return caller

    return check


Admin = Annotated[Identity, Depends(allow())]
Quality = Annotated[Identity, Depends(allow("QA_MANAGER", "QA_ANALYST"))]
Manager = Annotated[Identity, Depends(allow("QA_MANAGER"))]
Operator = Annotated[Identity, Depends(allow("OPS_SCHEDULER"))]


def _roles(names: list[str]) -> frozenset[str]:
    return frozenset(name.upper() for name in names)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _signature(secret: str, signed: str) -> str:
    return _encode(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
