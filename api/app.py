"""The HTTP service: its routes, what it opens when it starts, and how it is run."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import uvicorn
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, compile_path

from api import (
    analytics,
    audit,
    back,
    compliance,
    deprecated,
    diff,
    dlq,
    events,
    flow_types,
    flows,
    found,
    inputs,
    iterations,
    notifications,
    openapi,
    operations,
    parked,
    pauses,
    portfolio,
    problems,
    repairs,
    report,
    schedules,
    service,
    subscriptions,
    summary,
    targets,
    tree,
    uploads,
    verbs,
)
from api.asking import Service
from api.crowd import Crowd
from api.door import METHODS, Door
from api.hurry import hurried
from api.listening import Tail
from api.service import KafkaCheck
from api.watch import Watch
from domain.errors import MethodNotAllowed, SettingsError
from eventstore.audit.notes import Notes
from eventstore.database import connect
from eventstore.service import ServiceConfig, write_side

TITLE = "Master Flow Orchestrator"
VERSION = "0.1.0"
DESCRIPTION = (
    "Flows of cloud-migration programmes: made, run phase by phase, paused, answered and read. "
    "Every write answers with the flow's `version` and its `position` in the log; every error is a problem of RFC 9457."
)
GRACE_SECONDS = 5
BACKLOG = 2048
# uvloop takes one new connection a round from each listening socket; callers who wait outside cannot be told to come again
ACCEPTS = 32
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def create_app(config: ServiceConfig) -> FastAPI:
    """The application; what it stands on is opened when it starts and closed when it ends.

    Its start raises StoreUnavailable, SettingsError or RegistrationError.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with write_side(config) as side:
            watch = Watch(side.pool, partial(connect, config.database_url, config.shard))
            tail = Tail(side.pool, config.shard)
            watch.on_event = tail.wake
            notes = Notes(side.pool)
            app.state.service = Service(side, watch, tail, notes)
            notes.start()
            await watch.start()
            tail.start()
            try:
                yield
            finally:
                await tail.stop()
                await watch.stop()
                await notes.stop()

    app = FastAPI(
        title=TITLE,
        version=VERSION,
        description=DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        # the door traces and counts
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.kafka = KafkaCheck(config.kafka_bootstrap)
    routers = (
        # /flows/analytics and /flows/orphans stand before /flows/{flow_id}
        *(analytics.router, portfolio.router),
        repairs.router,
        *(flows.router, verbs.router, found.router, report.router, uploads.router, targets.router, parked.router),
        *(dlq.router, schedules.router, inputs.router, flow_types.router, iterations.router, back.router),
        *(tree.router, summary.router, events.router, diff.router),
        *(subscriptions.router, notifications.router),
        *(operations.router, pauses.router),
        deprecated.router,
        *(audit.router, compliance.router),
        *(service.router, service.root),
    )
    methods: dict[str, list[str]] = {}
    # in each router /flows itself stands before /flows/{flow_id}
    for router in routers:
        # as they are: included, each would be built a second time, which costs the first caller half a second
        app.router.routes.extend(router.routes)
        for route in router.routes:
            if isinstance(route, APIRoute):
                route.unique_id = route.operation_id or _operation_id(route)
                methods[route.path] = sorted({*methods.get(route.path, ()), *(route.methods or ())})
    app.state.methods = methods
    # what is not possible with /flows/analytics would else be taken for something about a flow of that name
    app.router.routes[:0] = [
        Route(path, _only(known), methods=sorted(METHODS - {*known})) for path, known in hidden(methods)
    ]
    problems.install(app)
    openapi.install(app)
    crowd = Crowd(
        writes=config.http_in_flight,
        uploads=config.uploads_at_once,
        body_bytes=max(config.max_queue_bytes, config.max_body_bytes),
        longest_body=config.max_body_bytes,
        full=lambda: app.state.service.side.committer.full,
    )
    app.state.crowd = crowd
    app.add_middleware(Door, crowd=crowd)
    return app


def hidden(methods: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, Sequence[str]]]:
    """The paths without a parameter that a path with one matches, too, with their methods."""
    patterns = [compile_path(path)[0] for path in methods if "{" in path]
    for path, known in methods.items():
        if "{" not in path and any(pattern.match(path) for pattern in patterns):
            yield path, known


def _only(known: Sequence[str]) -> Callable[[Request], Awaitable[Response]]:
    async def refuse(_: Request) -> Response:
        raise HTTPException(MethodNotAllowed.status, headers={"Allow": ", ".join(known)})

    return refuse


async def run(config: ServiceConfig) -> None:
    """Serve until a signal comes or the task is cancelled; requests under way get five seconds to end.

    Raises SettingsError when the address cannot be had, and what the start of `create_app` raises.
    """
    app = create_app(config)
    # the lifespan is ours, not the server's, so that an error of the start reaches the caller
    with _listening(config.http_host, config.http_port) as listener:
        async with app.router.lifespan_context(app):
            server = _Server(app)
            doors = [listener, *(listener.dup() for _ in range(ACCEPTS - 1))]
            serving = asyncio.create_task(server.serve(sockets=doors), name="http")
            try:
                await asyncio.shield(serving)
            except asyncio.CancelledError:
                server.should_exit = True
                await serving
                raise


def serve(config: ServiceConfig) -> None:
    """As `run`, on an event loop of its own: the fastest one that is installed."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(run(config))


class _Server(uvicorn.Server):
    """A server that ends as an ordinary return, and lets nobody wait once it has been told to end."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=hurried(app.state.crowd),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
                backlog=BACKLOG,
            )
        )
        self._app = app

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.service.watch.close()
        self._app.state.service.tail.close()
        await super().shutdown(sockets)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket bound to the address; raises SettingsError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {host}:{port}: {error.strerror}; set MFO_HTTP_PORT to a free port"
            ) from error
        yield listener
    finally:
        listener.close()


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    loop: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return loop


def _operation_id(route: APIRoute) -> str:
    return route.name
