"""What follows from history beyond the flow it happened to: other flows are asked, people are told.

A `Follower` reads the log behind its end and hands the events it wants to a function, in order, in batches. One process of all
leads, by a lease in the row `followers`; another takes over when it lapses.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import monotonic
from uuid import uuid4

import psycopg
import structlog
from prometheus_client import Counter, Gauge

from eventstore.config import ServiceConfig
from eventstore.database import Connection, connect
from eventstore.faults import PASSING, lived_through
from eventstore.followers import Happened, Lead, done_after_all, following, lead, move, release, set_aside, to_try_again
from eventstore.notices import Channel, Wanted, listen
from eventstore.wake import woken

log = structlog.get_logger()

BATCH = 200
IDLE_SECONDS = 5.0
# between two looks at a busy log, company for what would come alone: ten times as long as the last look took, within these
LEAST_GAP_SECONDS, LONGEST_GAP_SECONDS = 0.03, 0.1
# between two looks at what was set aside, and two places kept that hold nothing new
SOON_SECONDS = 0.5
RENEW_SECONDS = 3.0

FOLLOWED = Counter("mfo_followed_events_total", "Events that a follower has seen to", ["follower"])
LEADS = Gauge("mfo_follower_leader", "1 where this process leads the follower", ["follower"])
SET_ASIDE = Counter("mfo_follower_set_aside_total", "Attempts after which an event was set aside", ["follower"])

Follow = Callable[[Connection, Sequence[Happened]], Awaitable[bool]]
"""Sees to events; answers whether anything followed from them."""


class Superseded(Exception):
    """Another process leads by now."""


class Follower:
    """Sees to the events of some topics, in order; `run` ends only when cancelled.

    `follow` is called inside a transaction on the connection it is given: what it writes there is kept together with the
    position, and where nothing followed there is nothing to keep. Commands that it submits must have ids that follow from
    the event, since a batch may come again. Where it raises, the events of the batch come one by one, and one that cannot be
    seen to is set aside and tried again later, without the others waiting; faults of the store are waited out.
    """

    def __init__(self, config: ServiceConfig, name: str, topics: Sequence[str], follow: Follow) -> None:
        self._config = config
        self.name = name
        self.topics = topics
        self._follow = follow
        self._who = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self._wake = asyncio.Event()
        self._led: Lead | None = None
        # how far we have come, how far that is kept, and since when
        self._position = self._kept = 0
        self._kept_at = self._tidied_at = 0.0
        self._postponed = False
        # whether there is anything to do, as far as is known, and events that were set aside
        self._behind = self._aside = True
        self.leading = False

    def wake(self) -> None:
        """Something of its topics was appended to the log, at which it looks only every few seconds otherwise."""
        self._wake.set()

    async def run(self) -> None:
        """Follow the log for as long as the process lives."""
        while True:
            with lived_through(f"following the log ({self.name})"):
                await self._serve()
            await asyncio.sleep(1.0)

    async def _serve(self) -> None:
        connection = await connect(self._config.database_url, self._config.shard)
        self._led = None
        try:
            while True:
                self._wake.clear()
                looked_at = monotonic()
                if await self._lead(connection) and self._behind:
                    try:
                        await self._catch_up(connection)
                    except Superseded:
                        self._led = None
                self.leading = self._led is not None
                LEADS.labels(self.name).set(self.leading)
                gap = 10 * (monotonic() - looked_at)
                await asyncio.sleep(min(max(gap, LEAST_GAP_SECONDS), LONGEST_GAP_SECONDS))
                patience = SOON_SECONDS if self._postponed else IDLE_SECONDS
                await (woken(self._wake, patience) if self.leading else asyncio.sleep(IDLE_SECONDS))
        finally:
            self.leading = False
            LEADS.labels(self.name).set(0)
            with suppress(psycopg.Error, OSError):
                await release(connection, self.name, self._who)
            await connection.close()

    async def _lead(self, connection: Connection) -> bool:
        """Whether we lead: as kept with the last position, or asked again when that is a while ago. Whoever asks is told
        whether there is anything to do."""
        self._behind = True
        if self._led is not None and monotonic() - self._kept_at < RENEW_SECONDS:
            return True
        led = await lead(connection, self.name, self._who)
        if led is not None and (self._led is None or led.epoch != self._led.epoch):
            self._position = self._kept = led.position
            if not self.leading:
                log.info("follower leads", follower=self.name, epoch=led.epoch, position=led.position)
        self._led, self._kept_at = led, monotonic()
        if led is not None:
            self._aside = led.aside
            if led.end == self._position == self._kept and not led.aside:
                self._behind = self._postponed = False
        return led is not None

    async def _catch_up(self, connection: Connection) -> None:
        while True:
            stretch = await following(connection, self._position, self.topics, BATCH)
            if stretch.events:
                try:
                    await self._see_to(connection, stretch.events, stretch.upto)
                except (*PASSING, Superseded):
                    raise
                except Exception:
                    await self._one_by_one(connection, stretch.events, stretch.upto)
                FOLLOWED.labels(self.name).inc(len(stretch.events))
            self._position = stretch.upto
            if stretch.last:
                break
            # a lease that lapses meanwhile gives another process the same way to go, and neither comes to its end
            if monotonic() - self._kept_at >= RENEW_SECONDS:
                await self._keep(connection, self._position)
        # while the log is busy this is done now and then; what held nothing for us may be read twice
        self._postponed = monotonic() - self._tidied_at < SOON_SECONDS
        if not self._postponed:
            self._tidied_at = monotonic()
            if self._position != self._kept:
                await self._keep(connection, self._position)
            for event in await to_try_again(connection, self.name) if self._aside else ():
                with suppress(_NotDone):
                    await self._try(connection, event, again=True)

    async def _keep(self, connection: Connection, position: int) -> None:
        assert self._led is not None
        if not await move(connection, self.name, self._led.epoch, position):
            raise Superseded
        self._kept, self._kept_at = position, monotonic()

    async def _see_to(self, connection: Connection, events: Sequence[Happened], upto: int) -> None:
        async with connection.transaction():
            if await self._follow(connection, events):
                await self._keep(connection, upto)

    async def _one_by_one(self, connection: Connection, events: Sequence[Happened], upto: int) -> None:
        for event in events:
            with suppress(_NotDone):
                await self._try(connection, event, again=False)
            await self._keep(connection, event.position)
        await self._keep(connection, upto)

    async def _try(self, connection: Connection, event: Happened, *, again: bool) -> None:
        try:
            async with connection.transaction():
                await self._follow(connection, [event])
                if again:
                    await done_after_all(connection, self.name, event.position)
        except PASSING:
            raise
        except Exception as error:
            said = f"{type(error).__name__}: {error}"[:500]
            await set_aside(connection, self.name, event, said)
            self._aside = True
            SET_ASIDE.labels(self.name).inc()
            flow_id, version = str(event.recorded.flow_id), event.recorded.version
            log.exception("event set aside", follower=self.name, flow_id=flow_id, version=version)
            raise _NotDone from error


class _NotDone(Exception):
    """The event lies set aside now."""


class Followers:
    """All followers of a process, woken by one connection that listens to the log."""

    def __init__(self, config: ServiceConfig, followers: Sequence[Follower]) -> None:
        self._config = config
        self._followers = followers

    @property
    def leading(self) -> dict[str, bool]:
        """Which of them lead here."""
        return {follower.name: follower.leading for follower in self._followers}

    async def run(self) -> None:
        """Follow for as long as the process lives."""
        async with asyncio.TaskGroup() as group:
            wanted = [Wanted(Channel.EVENTS, follower.wake, follower.topics) for follower in self._followers]
            group.create_task(listen(self._config, *wanted), name="follower hints")
            for follower in self._followers:
                group.create_task(follower.run(), name="follower")
