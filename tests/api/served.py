"""The service on a port and a thread of its own, with one tenant that has something of every kind."""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from threading import Thread
from typing import Any, Literal, get_args, get_origin

import structlog
from pydantic import BaseModel
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.app import _Server
from api.discovered import AssetFound, ChangeFound, DependencyFound, IssueFound, ReviewFound
from domain.addresses import Addressing
from eventstore.service import TellingConfig
from tests.api.conftest import Api, Json, config_for, started
from tests.api.test_found import ROWS, found

OPERATOR = {"X-MFO-Operator-Token": "an operator's own token"}
ADDRESSES = Addressing(mail=True, email_domains=("example.com",), webhook_hosts=("hooks.example.com",))
STREAM_SECONDS = 0.05
MOST_SAID = 20_000
MAKES: dict[str, tuple[str, Json]] = {
    "schedule_id": (
        "/schedules",
        {"name": "Nightly", "timing": {"cron": "30 6 * * *"}, "flow": {"flow_type": "discovery"}},
    ),
    "operation_id": ("/operations", {"verb": "pause", "filter": {"tag": "none"}}),
    "standing_pause_id": ("/standing-pauses", {"tag": "none", "reason": "the scanner is down"}),
    "pause_rule_id": ("/pause-rules", {"measure": "error_rate", "limit": 0.5, "flow_type": "discovery"}),
    "subscription_id": ("/subscriptions", {"kind": "email", "address": "ann@example.com"}),
}


FOUND = {
    "assets": AssetFound,
    "dependencies": DependencyFound,
    "issues": IssueFound,
    "reviews": ReviewFound,
    "changes": ChangeFound,
}


def whole(kind: type[BaseModel], row: Json) -> Json:
    """The row with all that such a document must have."""
    return {name: _plain(field.annotation) for name, field in kind.model_fields.items() if field.is_required()} | row


def _plain(kind: Any) -> Any:
    if type(None) in get_args(kind):
        return None
    return get_args(kind)[0] if get_origin(kind) is Literal else (get_origin(kind) or kind)()


@dataclass(frozen=True, slots=True)
class Served:
    """Where the service is, the tenant's headers, and what there is by the name that paths give its id.

    The last id of each kind is for what takes things away.
    """

    url: str
    tenant: dict[str, str]
    ids: dict[str, list[str]]


class EndStreams:
    """Around the application: a caller of a stream without an end goes away after a moment."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.Event()

        async def told() -> Message:
            if scope["type"] != "http":
                return await receive()
            asked = asyncio.ensure_future(receive())
            left = asyncio.ensure_future(gone.wait())
            await asyncio.wait((asked, left), return_when=asyncio.FIRST_COMPLETED)
            left.cancel()
            if asked.done():
                return asked.result()
            asked.cancel()
            return {"type": "http.disconnect"}

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and (b"content-type", b"text/event-stream") in [
                (name, value.partition(b";")[0]) for name, value in message["headers"]
            ]:
                asyncio.get_running_loop().call_later(STREAM_SECONDS, gone.set)
            await send(message)

        await self.app(scope, told, answer)
        if gone.is_set():
            with suppress(RuntimeError):
                await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _something_of_everything(api: Api) -> dict[str, list[str]]:
    """The ids of what was made, by the name that paths give them."""
    api.tenant |= OPERATOR
    flows: list[str] = [(await api.made(options={"auto_execute": n > 0}))["flow_id"] for n in range(6)]
    await api.complete(flows[2], records=[{"name": "web01"}])
    await api.fail(flows[3], {"class": "permanent", "code": "unreadable", "message": "no"})
    await api.want(flows[4], ("mappings",), {})
    point = await api.post(f"/flows/{flows[0]}/checkpoints", {"reason": "before I try something"})
    for flow_id in flows:
        await api.project(flow_id)
    rows = {kind: [whole(FOUND[kind], row) for row in some] for kind, some in ROWS.items()}
    flows.insert(0, (await found(api, found=rows))["flow_id"])
    ids = {"flow_id": flows, "checkpoint_id": [point.json()["checkpoint_id"]]}
    for name in ("a", "b"):
        for named, (path, body) in (
            *MAKES.items(),
            ("hold_id", ("/audit/holds", {"flow_id": flows[0], "reason": "x"})),
        ):
            made = await api.post(path, body)
            assert made.status_code < 300, made.text
            ids.setdefault(named, []).append(made.json()[named])
        upload = await api.post("/imports", files={"file": (f"{name}.csv", f"name\nweb-{name}\n".encode())})
        ids.setdefault("import_id", []).append(upload.json()["import_file_id"])
    for name in OPERATOR:
        del api.tenant[name]
    return ids


@asynccontextmanager
async def _serving(database_url: str) -> AsyncIterator[Served]:
    config = config_for(
        database_url, operator_token=OPERATOR["X-MFO-Operator-Token"], telling=TellingConfig(addressing=ADDRESSES)
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        async with started(config) as api:
            ids = await _something_of_everything(api)
            server = _Server(api.app)
            server.config.load()
            server.config.loaded_app = EndStreams(server.config.loaded_app)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            try:
                yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", dict(api.tenant), ids)
            finally:
                server.should_exit = True
                await serving


@contextmanager
def served(database_url: str) -> Iterator[Served]:
    """The service for as long as the block lasts."""
    ready: Future[Served] = Future()
    over: Future[None] = Future()

    async def serve() -> None:
        async with _serving(database_url) as it:
            ready.set_result(it)
            await asyncio.wrap_future(over)

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = Thread(target=run, name="service")
    with _heard():
        thread.start()
        try:
            yield ready.result()
        finally:
            over.set_result(None)
            thread.join()


@contextmanager
def _heard() -> Iterator[None]:
    """What the service logs meanwhile, told at the end: pytest reads and empties its own file while a thread may write to it,
    which Python 3.11 does not always survive."""
    said, before = io.StringIO(), structlog.get_config()["logger_factory"]
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(said))
    try:
        yield
    finally:
        structlog.configure(logger_factory=before)
        print(said.getvalue()[-MOST_SAID:])
