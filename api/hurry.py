"""uvicorn's protocol, which sends an answer in one piece, and turns whole writes away before it reads them while as many are
under way as may be.

A request costs most of its time before it can be told that there is no room: parsing, a task, the layers of the application.
With three times as many as can be done, that alone takes all there is. Here a refusal costs a look at the bytes. Whatever is
not plainly one whole write on a connection that is between two messages takes the usual way, and is refused at the door.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, cast

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.crowd import TURNED_AWAY, WRITES, Crowd
from api.door import REQUESTS, correlation_id_of
from api.problems import document_of
from domain.errors import Overloaded

_write = re.compile(rb"(POST|DELETE|PATCH) (/api/v1/(?!imports)[!-~]*) HTTP/1\.1\r\n")
_length = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*(?=\r\n|$)", re.IGNORECASE)
_correlation = re.compile(rb"\r\nx-correlation-id:[ \t]*([!-~ ]*?)[ \t]*(?=\r\n|$)", re.IGNORECASE)
# what changes where a message ends, or what comes after it
_special = re.compile(
    rb"\r\n(?:transfer-encoding:|expect:|upgrade:|connection:(?![ \t]*keep-alive[ \t]*(?:\r\n|$)))", re.IGNORECASE
)


class InOnePiece:
    """A transport that keeps the head of an answer until the body comes: each write by itself costs a call of the system and
    wakes the caller, who can do nothing with half of it."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send it with what was kept; a head alone goes in the loop's next round."""
        if not self._head and data.startswith(b"HTTP/1.1 ") and data.endswith(b"\r\n\r\n"):
            self._head = data
            self._loop.call_soon(self.flush)
            return
        self._transport.write(self._head + data)
        self._head = b""

    def flush(self) -> None:
        """Send what was kept."""
        if self._head and not self._transport.is_closing():
            self._transport.write(self._head)
        self._head = b""

    def close(self) -> None:
        """Send what was kept, and no more."""
        self.flush()
        self._transport.close()


def hurried(crowd: Crowd) -> type[HttpToolsProtocol]:
    """The protocol for a service with such a crowd."""

    class Hurried(HttpToolsProtocol):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, **more)
            self._between = True

        def connection_made(self, transport: Any) -> None:
            super().connection_made(cast(Any, InOnePiece(transport, self.loop)))

        def on_message_begin(self) -> None:
            self._between = False
            super().on_message_begin()

        def on_message_complete(self) -> None:
            self._between = True
            super().on_message_complete()

        def data_received(self, data: bytes) -> None:
            idle = self._between and (self.cycle is None or self.cycle.response_complete)
            if idle and crowd.is_full(len(self.tasks)) and (refusal := refusal_of(data)) is not None:
                self._unset_keepalive_if_required()
                self.transport.write(refusal)
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )
                return
            super().data_received(data)

    return Hurried


def refusal_of(data: bytes) -> bytes | None:
    """The 503 for bytes that are plainly one whole write, else none."""
    begin = _write.match(data)
    head, blank, body = data.partition(b"\r\n\r\n")
    lengths = _length.findall(head)
    if begin is None or not blank or len(lengths) > 1 or len(body) != int(lengths[0] if lengths else 0):
        return None
    if head.lower().count(b"content-length") != len(lengths) or _special.search(head):
        return None
    TURNED_AWAY.labels(WRITES).inc()
    REQUESTS.labels(begin[1].decode(), "unknown", str(Overloaded.status)).inc()
    given = _correlation.search(head)
    correlation_id = correlation_id_of(given[1].decode() if given else None)
    path = begin[2].decode().partition("?")[0]
    document = msgspec.json.encode(document_of(Overloaded().as_dict(), Overloaded.status, correlation_id, path))
    return (
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\nx-correlation-id: "
        + correlation_id.encode()
        + b"\r\ncontent-length: "
        + str(len(document)).encode()
        + b"\r\n\r\n"
        + document
    )
