"""Waiting until something has come about: a flow's next event, its row in the read model, a projection's position.

One connection listens for all waiters of the process and one statement asks for all that wait for the same; they are asked
about when PostgreSQL says that it may have come about, and every 250 ms even without a word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
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
from eventstore.notices import Channel, about
from eventstore.wake import woken

log = structlog.get_logger()

SAFETY_POLL_SECONDS = 0.25
PROJECTED = "mfo_projected"

# after these nothing happens by itself
RESTS = tuple(
    TOPICS[fact] for fact in (FlowCompleted, FlowFailed, FlowCancelled, FlowDeleted, FlowPaused, InputRequested)
)

# each answers (key, number) for the keys asked about
QUERIES: dict[str, str] = {
    "history": "select id, version from heads where id = any(%s)",
    "row": "select flow_id, version from crewai_flow_state_extensions where flow_id = any(%s)",
    "projection": "select name, position from projections where name = any(%s)",
    "rest": (
        "select originator_id, max(originator_version) from stored_events where originator_id = any(%s)"
        f" and topic in ({', '.join(map(repr, RESTS))}) group by 1"
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
        # what may have come about
        self._due: set[str] = set()
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
        self._ask_about(kind)
        try:
            async with asyncio.timeout(seconds):
                return await waiter.done
        except TimeoutError:
            return False
        finally:
            self._waiters.discard(waiter)

    def _ask_about(self, *kinds: str) -> None:
        if any(waiter.kind in kinds for waiter in self._waiters):
            self._due.update(kinds)
            self._wake.set()

    async def _ask(self) -> None:
        asked_all = monotonic()
        while True:
            if not self._waiters:
                self._some.clear()
                await self._some.wait()
            await woken(self._wake, SAFETY_POLL_SECONDS)
            self._wake.clear()
            if monotonic() - asked_all >= SAFETY_POLL_SECONDS:
                asked_all = monotonic()
                self._due.update(QUERIES)
            due, self._due = self._due, set()
            waiting = [waiter for waiter in self._waiters if waiter.kind in due and not waiter.done.done()]
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

    def _hear(self, channel: str, said: str) -> None:
        if channel == Channel.EVENTS:
            self.on_event()
        if channel == PROJECTED:
            self._ask_about("row", "projection")
        elif channel == Channel.IMPORTS:
            self._ask_about("import")
        elif about(said.split(), RESTS):
            self._ask_about("history", "rest")
        else:
            self._ask_about("history")

    async def _listen(self, connection: Connection) -> None:
        pause = 0.1
        while True:
            try:
                for channel in (Channel.EVENTS, PROJECTED, Channel.IMPORTS):
                    await connection.execute(f"listen {channel}".encode())
                pause = 0.1
                self._ask_about(*QUERIES)
                async for told in connection.notifies():
                    self._hear(told.channel, told.payload)
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
