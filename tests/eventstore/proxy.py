"""A way to Kafka that can be cut."""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress
from typing import Self


class Proxy:
    """Forwards TCP to a broker; clients come back through it, because the broker's own address in answers is replaced.

    Ports are 4 bytes in the protocol, so nothing changes its length.
    """

    def __init__(self, target: str) -> None:
        self._host, port = target.split(":")
        self._port = int(port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = True
        self.refused = 0

    @property
    def address(self) -> str:
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self.cut()

    async def cut(self) -> None:
        """End every connection and refuse new ones."""
        self._open = False
        for writer in list(self._writers):
            writer.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def mend(self) -> None:
        """Take connections again."""
        self._open = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            self.refused += 1
            writer.close()
            return
        there, back = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, back}
        ours = struct.pack(">i", int(self.address.split(":")[1]))
        for source, sink, rewrite in ((reader, back, False), (there, writer, True)):
            task = asyncio.create_task(self._pass(source, sink, ours if rewrite else None))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, ours: bytes | None) -> None:
        """Frames one by one; in answers the broker's port, as it stands in metadata, is replaced by ours."""
        theirs = struct.pack(">i", self._port)
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await source.readexactly(4)
                body = await source.readexactly(int.from_bytes(head, "big"))
                sink.write(head + (body.replace(theirs, ours) if ours else body))
                await sink.drain()
        sink.close()
        self._writers.discard(sink)
