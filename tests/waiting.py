"""Waiting for what a test expects, with a deadline."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any


async def until(condition: Callable[[], Any], timeout: float = 60) -> Any:  # noqa: ASYNC109 - a deadline in seconds
    """The first truthy answer of `condition`, plain or awaitable, asked again and again; raises AssertionError after `timeout` s."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    while True:
        answer = condition()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if loop.time() > end:
            raise AssertionError(f"not within {timeout} s: the last answer was {value!r}")
        await asyncio.sleep(0.01)
