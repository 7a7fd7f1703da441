"""Waiting to be woken, for a while; and letting others have a turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from time import monotonic
from typing import TypeVar

TURN_SECONDS = 0.002

T = TypeVar("T")


async def woken(event: asyncio.Event, within: float) -> bool:
    """Wait until the event is set, at most so many seconds; whether it was.

    `asyncio.wait_for` of Python 3.11 forgets a cancellation that comes in the moment in which the event is set, and a
    loop that is told to end would go on for ever.
    """
    try:
        async with asyncio.timeout(within):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """The items one by one; after each turn of 2 ms, whatever else waits in this loop has its own.

    Whoever waits for several answers of the store meanwhile waits for a turn with each of them.
    """
    until = monotonic() + TURN_SECONDS
    for item in items:
        yield item
        if monotonic() >= until:
            await asyncio.sleep(0)
            until = monotonic() + TURN_SECONDS
