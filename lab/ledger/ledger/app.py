# SPDX-License-Identifier: GPL-3.0-or-later
"""The web process: the application, what surrounds every request, and the endpoints that operators ask."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import redis
import redis.asyncio
import requests
import sqlalchemy.exc
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ledger import auth, flows, operations, ready, release, whole
from ledger import context as contexts
from ledger.objectstore import ObjectStore
from ledger.settings import Settings

log = logging.getLogger("ledger.web")
REQUESTS = Counter("ledger_http_requests", "Requests answered", ["method", "route", "status"])
SECONDS = Histogram("ledger_http_request_seconds", "Time to answer", ["route"])
SECURITY_HEADERS = {
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
CallNext = Callable[[Request], Awaitable[Response]]


def run(settings: Settings) -> None:
    contexts.configure_logging()
    context = contexts.connect(settings, secrets=("auth", "tokens", "objectstore"))
    config = uvicorn.Config(
        create_app(context),
        http=whole.WholeProtocol,
        host=settings.listen_host,
        port=settings.listen_port,
        # Longer than a load balancer keeps an idle connection, so that it is the one to close it.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=15,
        log_config=None,
        access_log=False,
        server_header=False,
    )
    held = held_socket()
    uvicorn.Server(config).run(sockets=[held] if held else None)


def held_socket() -> socket.socket | None:
    """The listening socket that the process manager holds for us as standard input, where it does.

    What comes while this process is started again waits in the socket's queue, and is not refused.
    """
    if not stat.S_ISSOCK(os.fstat(0).st_mode):
        return None
    held = socket.socket(fileno=os.dup(0))
    if held.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return held
    held.close()
    return None


def create_app(context: contexts.Context) -> FastAPI:
    settings, known = context.settings, context.secrets
    app = FastAPI(title="ledger", version=settings.version, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.context = context
    app.state.jwt_secret = known["auth"].get("jwt_secret") or secrets.token_hex(32)
    app.state.token_map = auth.read_token_map(known["tokens"].get("token_map", ""))
    store = known["objectstore"]
    app.state.objectstore = settings.objectstore_url and ObjectStore(
        settings.objectstore_url, settings.objectstore_bucket, store["access_key"], store["secret_key"]
    )
    app.state.limiter = redis.asyncio.Redis.from_url(
        settings.redis_url,
        password=known["redis"].get("password"),
        socket_timeout=0.3,
        socket_connect_timeout=0.3,
        retry=Retry(NoBackoff(), 0),
    )
    app.include_router(flows.router)
    app.include_router(operations.router)
    add_operator_endpoints(app)
    app.add_exception_handler(sqlalchemy.exc.IntegrityError, conflict)
    app.add_exception_handler(sqlalchemy.exc.OperationalError, unavailable)
    app.add_exception_handler(sqlalchemy.exc.TimeoutError, unavailable)
    app.add_exception_handler(redis.RedisError, unavailable)
    app.add_exception_handler(requests.RequestException, unavailable)
    release.arrange_web(app)
    app.add_middleware(
        CORSMiddleware, allow_origins=settings.cors_allow_origins, allow_methods=["*"], allow_headers=["*"]
    )
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(settings.trusted_hosts))
    app.middleware("http")(surround)
    app.add_middleware(whole.Whole)  # the last added is the outermost
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings = app.state.context.settings
    log.info("web %s (%s) started on %s", settings.version, settings.build, settings.host_name)
    yield
    await app.state.limiter.aclose()
    log.info("web stopped")


async def surround(request: Request, call_next: CallNext) -> Response:
    """What every answer has: a time, a count, security headers, and no traceback."""
    started = time.monotonic()
    try:
        response = await limited(request) or await call_next(request)
    except Exception:
        log.exception("%s %s failed", request.method, request.url.path)
        response = JSONResponse({"detail": "Internal error"}, 500)
    route = getattr(request.scope.get("route"), "path", "none")
    REQUESTS.labels(request.method, route, response.status_code).inc()
    SECONDS.labels(route).observe(time.monotonic() - started)
    response.headers.update({**SECURITY_HEADERS, "X-Release": request.app.state.context.settings.version})
    return response


async def limited(request: Request) -> Response | None:
    """429 for a client above its share of /api/v1. Without Redis nobody is limited: serving comes first."""
    settings = request.app.state.context.settings
    if not settings.rate_limit_enabled or not request.url.path.startswith("/api/v1/"):
        return None
    window = int(time.time()) // settings.rate_limit_window_s
    key = f"ledger:rate:{request.client.host if request.client else '-'}:{window}"
    try:
        async with request.app.state.limiter.pipeline() as pipe:
            count, _ = await pipe.incr(key).expire(key, settings.rate_limit_window_s).execute()
    except redis.RedisError as error:
        log.warning("requests are not limited now: %s", type(error).__name__)
        return None
    if count <= settings.rate_limit_requests:
        return None
    return JSONResponse({"detail": "Too many requests"}, 429, {"Retry-After": str(settings.rate_limit_window_s)})


def add_operator_endpoints(app: FastAPI) -> None:

    @app.get("/", response_class=HTMLResponse)
    async def front_page() -> str:
        return "<!doctype html><title>Ledger</title><h1>Ledger</h1><p>Payments and supply, in order.</p>"

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Alive; asks nobody else."""
        return {"status": "ok"}

    @app.get("/api/ready")
    async def readiness(response: Response) -> dict[str, Any]:
        state = await ready.readiness(app.state.context)
        broken = sorted(name for name, check in state["checks"].items() if not check["ok"])
        if broken != getattr(app.state, "broken", []):
            log.warning("not ready: %s", ", ".join(broken)) if broken else log.info("ready again")
            app.state.broken = broken
        response.status_code = 503 if broken else 200
        return state

    @app.get("/api/version")
    async def version() -> dict[str, str]:
        settings = app.state.context.settings
        return {"version": settings.version, "build": settings.build, "host": settings.host_name}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def conflict(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": "This conflicts with what exists, or refers to what does not"}, 409)


async def unavailable(request: Request, error: Exception) -> Response:
    log.error("%s %s: a dependency is out of reach: %s", request.method, request.url.path, type(error).__name__)
    return JSONResponse({"detail": "A dependency is out of reach"}, 503)
