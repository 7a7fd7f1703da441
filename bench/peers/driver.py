"""Runs flows as lines of JSON on standard input say, for the drivers of the peers; a part of their environment, not of ours."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

STEPS = 6
OUTPUT = "x" * 230


async def many(flow: Callable[[], Awaitable[object]], flows: int, in_flight: int) -> dict[str, Any]:
    """Seconds in all and of each flow, so many in flight at a time; `flow` answers when one has ended."""
    left, took = iter(range(flows)), list[float]()

    async def worker() -> None:
        for _ in left:
            began = time.perf_counter()
            await flow()
            took.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return {"seconds": time.perf_counter() - began, "took": took}


async def serve(flow: Callable[[], Awaitable[object]]) -> None:
    """Say that all is ready, then do what each line orders until there are no more."""
    loop = asyncio.get_running_loop()
    print(json.dumps({"ready": True}), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        print(json.dumps(await many(flow, order["flows"], order["in_flight"])), flush=True)
