"""Every request passes here: it gets a correlation id, a log line, its place in the metrics, and an answer whatever happens."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from time import perf_counter
from typing import Any
from uuid import uuid4

import structlog
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.crowd import Crowd, Place
from api.problems import problem
from domain.errors import MfoError, Overloaded
from eventstore import tracing

log = structlog.get_logger()

REQUESTS = Counter("mfo_http_requests_total", "HTTP requests answered", ["method", "route", "status"])
SECONDS = Histogram(
    "mfo_http_request_seconds",
    "Time from the first byte of a request to the last of its answer",
    ["method", "route"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
)
MAX_CORRELATION_ID = 255
CLIENT_GONE = 499
QUIET = frozenset({"/health/live", "/health/ready", "/metrics"})
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Door:
    """The outermost layer of the application, as plain ASGI."""

    def __init__(self, app: ASGIApp, crowd: Crowd) -> None:
        self.app = app
        self.crowd = crowd
        self._said = 0.0
        self._turned_away = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = perf_counter()
        correlation_id = correlation_id_of(Headers(scope=scope).get("x-correlation-id"))
        state = scope.setdefault("state", {})
        state["correlation_id"] = correlation_id
        status = 0
        place: Place | None = None
        if scope["path"] not in QUIET:
            try:
                place = state["place"] = self.crowd.admit(scope)
            except Overloaded as overloaded:
                await self._turn_away(scope, receive, send, overloaded)
                return

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", []).append((b"x-correlation-id", correlation_id.encode()))
                message["headers"].extend(state.get("headers", ()))
            await send(message)

        traced = tracing.on() and scope["path"] not in QUIET
        parent = Headers(scope=scope).get("traceparent") if traced else None
        with (
            structlog.contextvars.bound_contextvars(correlation_id=correlation_id),
            tracing.serving(scope["method"], parent) if traced else nullcontext(dict[str, Any]()) as span,
        ):
            try:
                await self.app(scope, receive, answer)
            except ClientDisconnect:
                status = CLIENT_GONE
            except Exception:
                log.exception("request crashed", method=scope["method"], path=scope["path"])
                if status:
                    raise
                with suppress(ClientDisconnect):
                    await problem(Request(scope), MfoError())(scope, receive, answer)
            finally:
                if place is not None:
                    place.leave()
                span |= {"http.route": route_of(scope), "http.response.status_code": status or CLIENT_GONE}
                span |= {"correlation_id": correlation_id}
                _note(scope, status or CLIENT_GONE, perf_counter() - began)

    async def _turn_away(self, scope: Scope, receive: Receive, send: Send, why: Overloaded) -> None:
        """Say so with as little work as can be: there are many of them, and no time. The log hears of them once a second."""
        method = scope["method"] if scope["method"] in METHODS else "other"
        REQUESTS.labels(method, "unknown", str(why.status)).inc()
        self._turned_away += 1
        if perf_counter() - self._said > 1:
            log.warning("requests are turned away", requests=self._turned_away)
            self._said, self._turned_away = perf_counter(), 0
        response = problem(Request(scope), why, headers={"X-Correlation-ID": scope["state"]["correlation_id"]})
        with suppress(ClientDisconnect):
            await response(scope, receive, send)


def correlation_id_of(given: str | None) -> str:
    """The caller's correlation id where it is 1 to 255 printable ASCII characters, else a new one."""
    if given and len(given) <= MAX_CORRELATION_ID and given.isascii() and given.isprintable():
        return given
    return str(uuid4())


def route_of(scope: Scope) -> str:
    """The route that took the request, such as /api/v1/flows/{flow_id}."""
    return getattr(scope.get("route"), "path", None) or "unknown"


def _note(scope: Scope, status: int, seconds: float) -> None:
    route = route_of(scope)
    method = scope["method"] if scope["method"] in METHODS else "other"
    REQUESTS.labels(method, route, str(status)).inc()
    SECONDS.labels(method, route).observe(seconds)
    tenant = scope.get("state", {}).get("tenant")
    who = {}
    if tenant is not None:
        who = {"client_account_id": str(tenant.client_account_id), "engagement_id": str(tenant.engagement_id)}
    write = log.debug if route in QUIET else log.info
    write("request", method=method, route=route, status=status, ms=round(seconds * 1000, 2), **who)
