"""Waiting until something has come about: a flow's next event, its row in the read model, a projection's position.

One connection listens for all waiters of the process and one statement asks for all of them; every 250 ms they are asked
about even without a word from PostgreSQL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from domain.events import (
    TOPICS,
    FlowCancelled,
    FlowCompleted,
    FlowDeleted,
    FlowFailed,
    FlowPaused,
    InputRequested,
)
from eventstore.database import Connection

log = structlog.get_logger()

SAFETY_POLL_SECONDS = 0.25
CHANNELS = ("mfo_events", "mfo_projected", "mfo_imports")

# after these nothing happens by itself
RESTS = (FlowCompleted, FlowFailed, FlowCancelled, FlowDeleted, FlowPaused, InputRequested)

# each answers (key, number) for the keys asked about
QUERIES: dict[str, str] = {
    "history": "select id, version from heads where id = any(%s)",
    "row": "select flow_id, version from crewai_flow_state_extensions where flow_id = any(%s)",
    "projection": "select name, position from projections where name = any(%s)",
    "rest": (
        "select originator_id, max(originator_version) from stored_events where originator_id = any(%s)"
        f" and topic in ({', '.join(repr(TOPICS[fact]) for fact in RESTS)}) group by 1"
    ),
    "import": "select id, case when state in ('readable', 'unreadable') then 1 else 0 end from imports where id = any(%s)",
}


@dataclass(eq=False, slots=True)
class _Waiter:
    kind: str
    key: Hashable
    wanted: int
    done: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Watch:
    """Everybody in this process who waits for the store or the read model."""

    def __init__(self, pool: AsyncConnectionPool[Connection], connect: Callable[[], Awaitable[Connection]]) -> None:
        self._pool = pool
        self._connect = connect
        self._waiters: set[_Waiter] = set()
        self._wake = asyncio.Event()
        self._some = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False
        # called whenever the log has grown
        self.on_event: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Begin to listen and to ask; raises psycopg.Error."""
        # connected before anything can be cancelled: a handshake that is broken off lingers in the server for a minute
        connection = await self._connect()
        self._tasks = [
            asyncio.create_task(self._listen(connection), name="watch listener"),
            asyncio.create_task(self._ask(), name="watch"),
        ]

    async def stop(self) -> None:
        """Send everybody home and end."""
        self.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        """Nobody waits any longer, now or later: each is told that it has not come about."""
        self._closing = True
        for waiter in self._waiters:
            if not waiter.done.done():
                waiter.done.set_result(False)

    @property
    def waiting(self) -> int:
        """How many wait at this moment."""
        return len(self._waiters)

    async def history(self, flow_id: UUID, version: int, seconds: float) -> bool:
        """Whether the flow's history reaches `version` within so many seconds; raises psycopg.Error."""
        return await self._until("history", flow_id, version, seconds)

    async def row(self, flow_id: UUID, version: int, seconds: float) -> bool:
        """Whether the flow's row in the read model reaches `version` within so many seconds; raises psycopg.Error."""
        return await self._until("row", flow_id, version, seconds)

    async def rest(self, flow_id: UUID, version: int, seconds: float) -> bool:
        """Whether the flow comes to rest at `version` or later within so many seconds: it ends, is paused or asks for
        something. Raises psycopg.Error."""
        return await self._until("rest", flow_id, version, seconds)

    async def projection(self, name: str, position: int, seconds: float) -> bool:
        """Whether a projection reaches a position of the log within so many seconds; raises psycopg.Error."""
        return await self._until("projection", name, position, seconds)

    async def import_read(self, import_id: UUID, seconds: float) -> bool:
        """Whether somebody has read the upload within so many seconds; raises psycopg.Error."""
        return await self._until("import", import_id, 1, seconds)

    async def _until(self, kind: str, key: Hashable, wanted: int, seconds: float) -> bool:
        if self._closing:
            return False
        waiter = _Waiter(kind, key, wanted)
        self._waiters.add(waiter)
        self._some.set()
        self._wake.set()
        try:
            async with asyncio.timeout(seconds):
                return await waiter.done
        except TimeoutError:
            return False
        finally:
            self._waiters.discard(waiter)

    async def _ask(self) -> None:
        while True:
            if not self._waiters:
                self._some.clear()
                await self._some.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(SAFETY_POLL_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            waiting = [waiter for waiter in self._waiters if not waiter.done.done()]
            for kind in {waiter.kind for waiter in waiting}:
                await self._answer(kind, [waiter for waiter in waiting if waiter.kind == kind])

    async def _answer(self, kind: str, waiters: list[_Waiter]) -> None:
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(QUERIES[kind], (list({waiter.key for waiter in waiters}),))
                found: dict[Any, Any] = dict(await cursor.fetchall())
        except (psycopg.Error, PoolTimeout, PoolClosed) as error:
            for waiter in waiters:
                if not waiter.done.done():
                    waiter.done.set_exception(error)
            return
        for waiter in waiters:
            number = found.get(waiter.key)
            if number is not None and int(number) >= waiter.wanted and not waiter.done.done():
                waiter.done.set_result(True)

    async def _listen(self, connection: Connection) -> None:
        pause = 0.1
        while True:
            try:
                for channel in CHANNELS:
                    await connection.execute(f"listen {channel}")
                pause = 0.1
                self._wake.set()
                async for told in connection.notifies():
                    if told.channel == CHANNELS[0]:
                        self.on_event()
                    if self._waiters:
                        self._wake.set()
            except (psycopg.Error, OSError) as error:
                log.warning("watch listener interrupted", error=type(error).__name__)
            finally:
                with suppress(psycopg.Error, OSError):
                    await connection.close()
            while connection.closed:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)
                with suppress(psycopg.Error, OSError):
                    connection = await self._connect()
