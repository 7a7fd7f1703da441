"""A small door for probes: is this process alive, is it ready, what has it counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Parts = dict[str, dict[str, Any]]


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the service decides when it ends."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def health_door(
    host: str,
    port: int,
    parts: Callable[[], Awaitable[Parts]],
    documents: Mapping[str, Callable[[], dict[str, Any]]] | None = None,
) -> AsyncIterator[None]:
    """Serve /health/live, /health/ready and /metrics for as long as the block lasts; port 0: do not.

    `parts` names each part with its `state` (`up` or `down`) and, when down, a `reason`; `documents` are further JSON
    answers by path, made when they are asked for.
    """
    if not port:
        yield
        return

    async def live(_: Request) -> Response:
        return _json({"status": "alive"}, 200)

    async def ready(_: Request) -> Response:
        found = await parts()
        good = all(part["state"] == "up" for part in found.values())
        return _json({"status": "ready" if good else "not_ready", **found}, 200 if good else 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    def document(make: Callable[[], dict[str, Any]]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(_: Request) -> Response:
            return _json(make(), 200)

        return answer

    app = Starlette(
        routes=[
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/metrics", metrics),
            *(Route(path, document(make)) for path, make in (documents or {}).items()),
        ]
    )
    server = _Server(uvicorn.Config(app, host=host, port=port, log_config=None, access_log=False, lifespan="off"))
    task = asyncio.create_task(server.serve(), name="health")
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.wait([task], timeout=2)


def _json(body: dict[str, Any], status: int) -> Response:
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json")
