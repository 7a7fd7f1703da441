"""Waiting to be woken, for a while."""

from __future__ import annotations

import asyncio


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
