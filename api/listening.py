"""Those who listen to what happens to flows, and the one reader of the log that serves all of them.

While somebody listens, the log is read behind its end, once for everybody; each event is written as text once and handed to
those whom it concerns. What a listener has not fetched yet is held for it up to a limit; beyond that it is let go, and comes
back with the place it has got to. What lies between that place and the reader's is read for it alone, by tenant.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg
import structlog
from prometheus_client import Counter, Gauge
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from eventstore.codec import split
from eventstore.database import Connection
from eventstore.store import Stored, tail

log = structlog.get_logger()

FLOWS = "mfo.flow."
BATCH = 250
SAFETY_POLL_SECONDS = 0.5
HEARTBEAT_SECONDS = 15.0
HELD_FRAMES = 2000
HELD_BYTES = 1 << 20
CATCHING_UP = 8
KNOWN_TYPES = 50_000
FAULTS = (psycopg.Error, PoolTimeout, PoolClosed, OSError)

END = "select coalesce(max(notification_id), 0) from stored_events"
TYPES = "select originator_id, state from stored_events where originator_id = any(%s) and originator_version = 1"
# what happened to one tenant's flows; the log is read from the listener's place on, a stretch at a time
OF_TENANT = """
select e.notification_id, e.originator_id, e.originator_version, e.topic, e.state, e.hash
from stored_events e join heads h on h.id = e.originator_id
where e.notification_id > %(after)s and e.notification_id <= %(upto)s and starts_with(e.topic, 'mfo.flow.')
  and h.client_account_id = %(client)s and h.engagement_id = %(engagement)s
  and (%(flow_id)s::uuid is null or e.originator_id = %(flow_id)s)
order by e.notification_id limit %(limit)s
"""

LISTENERS = Gauge("mfo_http_listeners", "Those who listen to events at this moment")
LET_GO = Counter("mfo_http_listeners_let_go_total", "Listeners that did not fetch what was held for them")

Tenant = tuple[UUID, UUID]


class _Made(msgspec.Struct):
    """The part of a FlowCreated that is wanted here."""

    flow_type: str = ""


_made = msgspec.json.Decoder(_Made)


class Frame(NamedTuple):
    """An event as a listener gets it, and what filters ask for."""

    position: int
    tenant: Tenant
    flow_id: UUID
    flow_type: str
    text: bytes


@dataclass(eq=False, slots=True)
class Listener:
    """One who listens: whose events, which of them, and what is held for it. It has heard what lies up to `after`; `start` is
    the place from which on the reader serves it."""

    tenant: Tenant
    flow_id: UUID | None = None
    flow_types: frozenset[str] | None = None
    after: int = 0
    start: int = 0
    gone: bool = False
    admitted: asyncio.Event = field(default_factory=asyncio.Event)
    _frames: deque[bytes] = field(default_factory=deque)
    _bytes: int = 0
    _some: asyncio.Event = field(default_factory=asyncio.Event)

    def wants(self, frame: Frame) -> bool:
        """Whether an event of its tenant passes the filters."""
        return (
            frame.position > self.after
            and (self.flow_id is None or frame.flow_id == self.flow_id)
            and (self.flow_types is None or frame.flow_type in self.flow_types)
        )

    def hold(self, text: bytes) -> None:
        """Keep an event until it is fetched; too many, and all are dropped and the listener let go."""
        self._frames.append(text)
        self._bytes += len(text)
        # one event may be larger than what is held of many
        if len(self._frames) > HELD_FRAMES or (self._bytes > HELD_BYTES and len(self._frames) > 1):
            LET_GO.inc()
            self.let_go()
        self._some.set()

    def let_go(self) -> None:
        """Hold nothing more."""
        self.gone = True
        self._frames.clear()
        self._bytes = 0
        self._some.set()

    @property
    def idle(self) -> bool:
        """Whether everything has been fetched."""
        return not self._frames

    def held(self) -> bytes:
        """Everything that is held, to be sent at once."""
        found = b"".join(self._frames)
        self._frames.clear()
        self._bytes = 0
        self._some.clear()
        return found

    async def wait(self, seconds: float) -> None:
        """Until something is held, or so many seconds have passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._some.wait()


class Tail:
    """The reader of the log, and all who listen in this process."""

    def __init__(self, pool: AsyncConnectionPool[Connection], shard: str) -> None:
        self._pool = pool
        self._shard = shard
        self._listeners: dict[Tenant, set[Listener]] = {}
        self._new: list[Listener] = []
        self._wake = asyncio.Event()
        self._types: OrderedDict[UUID, str] = OrderedDict()
        self._catching_up = asyncio.Semaphore(CATCHING_UP)
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self.position = 0

    def start(self) -> None:
        """Begin; nothing is read until somebody listens."""
        self._task = asyncio.create_task(self._read(), name="events")

    async def stop(self) -> None:
        """Send everybody home and end."""
        self.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def close(self) -> None:
        """Nobody is served any longer; they come back elsewhere."""
        self._closing = True
        for listener in [*self._everybody(), *self._new]:
            listener.let_go()
            listener.admitted.set()

    def wake(self) -> None:
        """There may be something new."""
        self._wake.set()

    @property
    def listening(self) -> int:
        """How many listen at this moment."""
        return sum(map(len, self._listeners.values()))

    async def end(self) -> int:
        """The place of the last event in the log; raises psycopg.Error."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(END)).fetchone()
        return int(row[0]) if row is not None else 0

    async def events(self, listener: Listener, after: int | None) -> AsyncGenerator[bytes, None]:
        """What the listener is sent, as text of server-sent events, from behind a place in the log (none: from now on).

        It ends when the listener is let go or the service ends; whoever comes back with the last id misses nothing.
        """
        try:
            if self._closing:
                return
            self._new.append(listener)
            self._wake.set()
            await listener.admitted.wait()
            listener.after = listener.start if after is None else after
            yield f"retry: 1000\nid: {self._shard}:{listener.after}\n\n".encode()
            async for text in self._missed(listener, listener.after):
                yield text
            while True:
                if text := listener.held():
                    yield text
                    continue
                if listener.gone:
                    return
                await listener.wait(HEARTBEAT_SECONDS)
                if not listener.gone and listener.idle:
                    # the place moves on without an event, so that little is to be read for one who comes back
                    place = max(self.position, listener.after)
                    yield f": still here\nid: {self._shard}:{place}\n\n".encode()
        finally:
            self._leave(listener)

    async def _missed(self, listener: Listener, after: int) -> AsyncIterator[bytes]:
        """What happened between a place and the one from which on the reader serves the listener."""
        values: dict[str, Any] = {
            "client": listener.tenant[0],
            "engagement": listener.tenant[1],
            "flow_id": listener.flow_id,
            "upto": listener.start,
            "limit": BATCH,
        }
        while after < listener.start and not listener.gone:
            async with self._catching_up, self._pool.connection() as connection:
                cursor = await connection.execute(OF_TENANT, {**values, "after": after}, binary=True)
                events = [Stored(*row) for row in await cursor.fetchall()]
                frames = await self._frames(connection, events)
            if text := b"".join(frame.text for frame in frames if listener.wants(frame)):
                yield text
            after = events[-1].position if len(events) == BATCH else listener.start

    def _everybody(self) -> list[Listener]:
        return [listener for some in self._listeners.values() for listener in some]

    def _leave(self, listener: Listener) -> None:
        some = self._listeners.get(listener.tenant, set())
        some.discard(listener)
        if not some:
            self._listeners.pop(listener.tenant, None)
        if listener in self._new:
            self._new.remove(listener)
        LISTENERS.set(self.listening)

    async def _read(self) -> None:
        while True:
            try:
                if not self._listeners and not self._new:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                await self._once()
            except FAULTS as error:
                log.warning("events interrupted", error=type(error).__name__)
                await asyncio.sleep(SAFETY_POLL_SECONDS)

    async def _once(self) -> None:
        """Let in those who are new, and hand out what is new."""
        if not self._listeners:
            self.position = await self.end()
        for listener in self._new:
            listener.start = self.position
            self._listeners.setdefault(listener.tenant, set()).add(listener)
            listener.admitted.set()
        self._new.clear()
        LISTENERS.set(self.listening)
        self._wake.clear()
        async with self._pool.connection() as connection:
            events = await tail(connection, self.position, BATCH)
            frames = await self._frames(connection, events)
        # from here on nobody else has a turn, so that places and events fit together
        for frame in frames:
            for listener in self._listeners.get(frame.tenant, ()):
                if not listener.gone and listener.wants(frame):
                    listener.hold(frame.text)
        if events:
            self.position = events[-1].position
        if len(events) < BATCH:
            with suppress(TimeoutError):
                async with asyncio.timeout(SAFETY_POLL_SECONDS):
                    await self._wake.wait()

    async def _frames(self, connection: Connection, events: Sequence[Stored]) -> list[Frame]:
        """Those of the events that somebody here may hear of, as they are sent."""
        found = []
        for event in events:
            if not event.topic.startswith(FLOWS):
                continue
            meta, data = split(event.state)
            tenant = (meta.client_account_id, meta.engagement_id)
            if tenant in self._listeners:
                found.append((event, meta, data, tenant))
        await self._learn(connection, {event.flow_id for event, _, _, _ in found})
        frames = []
        for event, meta, data, tenant in found:
            flow_type = self._types.get(event.flow_id, "")
            told = {
                "flow_id": event.flow_id,
                "flow_type": flow_type,
                "version": event.version,
                "position": f"{self._shard}:{event.position}",
                "type": event.topic,
                "occurred_at": meta.at,
                "actor": meta.user_id,
                "causation_id": meta.causation_id,
                "correlation_id": meta.correlation_id,
                "data": msgspec.Raw(data),
            }
            text = b"id: %s:%d\nevent: flow\ndata: %s\n\n" % (
                self._shard.encode(),
                event.position,
                msgspec.json.encode(told),
            )
            frames.append(Frame(event.position, tenant, event.flow_id, flow_type, text))
        return frames

    async def _learn(self, connection: Connection, flow_ids: set[UUID]) -> None:
        """Know of which type these flows are."""
        unknown = [flow_id for flow_id in flow_ids if flow_id not in self._types]
        if unknown:
            cursor = await connection.execute(TYPES, (unknown,), binary=True)
            for flow_id, state in await cursor.fetchall():
                self._types[flow_id] = _made.decode(split(state)[1]).flow_type
        while len(self._types) > max(KNOWN_TYPES, len(flow_ids)):
            self._types.popitem(last=False)


def position_after(text: str | None, shard: str) -> int | None:
    """The number in a `Last-Event-ID`; none for none. Raises ValueError for what is no place in this log."""
    if not text:
        return None
    where, _, number = text.rpartition(":")
    if where != shard or not (number.isascii() and number.isdigit()) or len(number) > 18:
        raise ValueError(f"is no id of an event of this service, such as {shard}:42")
    return int(number)
