"""Waiting to be woken, for a while; and letting others have a turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

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


async def in_turns(items: Iterable[T], every: int = 64) -> AsyncIterator[T]:
    """The items one by one; so many of them at a time, and then whatever else waits in this loop."""
    for n, item in enumerate(items, 1):
        yield item
        if n % every == 0:
            await asyncio.sleep(0)
