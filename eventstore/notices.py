"""What the store says aloud (NOTIFY), heard over one connection a process.

PostgreSQL wakes every connection that listens to anything, whatever was said, so each further one costs every commit.
A notice that was lost costs time and nothing else: whoever listens looks now and then all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from enum import StrEnum
from typing import NamedTuple, NoReturn
from weakref import WeakKeyDictionary

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


class _Wanted(NamedTuple):
    """Whom to wake when something is said on a channel, but not by these backends."""

    channel: Channel
    wake: Wake
    deaf_to: Collection[int]


class _Ear:
    """The connection, for as long as anybody wants to be woken."""

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._connected = False
        self.wakes: list[_Wanted] = []
        self.task = asyncio.create_task(self._listen(), name="notices")

    def add(self, wakes: list[_Wanted]) -> None:
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
                        for each in self.wakes:
                            if each.channel == notice.channel and notice.pid not in each.deaf_to:
                                each.wake()
                finally:
                    self._connected = False
                    await connection.close()
            await asyncio.sleep(AGAIN_SECONDS)


_ears: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], _Ear]] = WeakKeyDictionary()


async def listen(config: ServiceConfig, *wanted: tuple[Channel, Wake], deaf_to: Collection[int] = ()) -> NoReturn:
    """Call each function whenever there is something on its channel, and once the connection stands, first or again.

    What PostgreSQL's backends with the numbers in `deaf_to` say is not heard; more may be added to it at any time. Ends only when cancelled.
    """
    ears = _ears.setdefault(asyncio.get_running_loop(), {})
    store = (config.database_url, config.shard)
    ear = ears.get(store)
    if ear is None or ear.task.done():
        ear = ears[store] = _Ear(config)
    mine = [_Wanted(channel, wake, deaf_to) for channel, wake in wanted]
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


def _all(wakes: Iterable[_Wanted]) -> None:
    for each in wakes:
        each.wake()
