"""What the store says aloud (NOTIFY), heard over one connection a process.

PostgreSQL wakes every connection that listens to anything, whatever was said, so each further one costs every commit.
A notice that was lost costs time and nothing else: whoever listens looks now and then all the same. One about the log names
the topics of what was appended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from enum import StrEnum
from typing import NamedTuple, NoReturn
from weakref import WeakKeyDictionary

from psycopg import Notify

from eventstore.config import ServiceConfig
from eventstore.database import connect
from eventstore.faults import lived_through
from eventstore.tasks import end_all

AGAIN_SECONDS = 1.0

Wake = Callable[[], None]


class Channel(StrEnum):
    """What notices are about."""

    EVENTS = "mfo_events"
    RUNS = "mfo_runs"
    TIMERS = "mfo_timers"
    SIGNALS = "mfo_signals"
    SCHEDULES = "mfo_schedules"
    IMPORTS = "mfo_imports"
    OPERATIONS = "mfo_operations"
    NOTIFICATIONS = "mfo_notifications"


class Wanted(NamedTuple):
    """What somebody is to be woken by: notices of a channel, of those about the log only such as name one of the `topics`,
    and none of what PostgreSQL's backends with the numbers in `deaf_to` say. Either may change at any time."""

    channel: Channel
    wake: Wake
    topics: Collection[str] | None = None
    deaf_to: Collection[int] = ()

    def hears(self, notice: Notify, said: Collection[str]) -> bool:
        """Whether this notice, which names these topics, is one of them."""
        return (
            self.channel == notice.channel
            and notice.pid not in self.deaf_to
            and (self.topics is None or about(said, self.topics))
        )


class _Ear:
    """The connection, for as long as anybody wants to be woken."""

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._connected = False
        self.wakes: list[Wanted] = []
        self.task = asyncio.create_task(self._listen(), name="notices")

    def add(self, wakes: list[Wanted]) -> None:
        self.wakes.extend(wakes)
        if self._connected:
            _all(wakes)

    async def _listen(self) -> NoReturn:
        while True:
            with lived_through("listening to the store"):
                connection = await connect(self._config.database_url, self._config.shard)
                try:
                    for channel in Channel:
                        await connection.execute(f"listen {channel}".encode())
                    # what was said before is not heard
                    self._connected = True
                    _all(self.wakes)
                    async for notice in connection.notifies():
                        said = notice.payload.split()
                        for one in self.wakes:
                            if one.hears(notice, said):
                                one.wake()
                finally:
                    self._connected = False
                    await connection.close()
            await asyncio.sleep(AGAIN_SECONDS)


_ears: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], _Ear]] = WeakKeyDictionary()


async def listen(config: ServiceConfig, *wanted: Wanted | tuple[Channel, Wake]) -> NoReturn:
    """Call each function whenever there is something on its channel, and once the connection stands, first or again.

    Ends only when cancelled.
    """
    ears = _ears.setdefault(asyncio.get_running_loop(), {})
    store = (config.database_url, config.shard)
    ear = ears.get(store)
    if ear is None or ear.task.done():
        ear = ears[store] = _Ear(config)
    mine = [Wanted(*one) for one in wanted]
    ear.add(mine)
    try:
        await asyncio.wait([ear.task])
        # it ends by what is no fault of the store, and nobody lives through that
        ear.task.result()
    finally:
        ear.wakes = [each for each in ear.wakes if not any(each is one for one in mine)]
        if not ear.wakes:
            if ears.get(store) is ear:
                del ears[store]
            await end_all([ear.task])


def about(said: Collection[str], topics: Collection[str]) -> bool:
    """Whether a notice that names these topics is about one of those."""
    return any(topic in said for topic in topics)


def _all(wakes: list[Wanted]) -> None:
    for one in wakes:
        one.wake()
