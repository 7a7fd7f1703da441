"""Tasks that are ended for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

AGAIN_SECONDS = 0.5


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
