"""Tasks that are ended for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from time import monotonic
from typing import Any

AGAIN_SECONDS = 0.5
CLOSE_SECONDS = 5.0


async def end_all(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel the tasks, again and again, until all have ended; what they raise is of no interest.

    Once is not enough: `asyncio.wait_for` of Python 3.11, by which psycopg waits too, loses a cancellation that comes in the
    moment of a result.
    """
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)


async def close(stop: Callable[[], Awaitable[Any]]) -> None:
    """Have `stop` close something, for 5 s at most; what it raises is of no interest.

    Whoever is cancelled meanwhile is cancelled afterwards: a client of Kafka that is left half closed keeps its connections.
    """
    closing = asyncio.ensure_future(stop())
    until = monotonic() + CLOSE_SECONDS
    cancelled: asyncio.CancelledError | None = None
    while not closing.done() and (left := until - monotonic()) > 0:
        try:
            await asyncio.wait([closing], timeout=left)
        except asyncio.CancelledError as error:
            cancelled = error
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    if cancelled is not None:
        raise cancelled
