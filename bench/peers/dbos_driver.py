"""Flows of six steps on DBOS, in this process; told what to run by lines of JSON on standard input. Runs in the peers' environment."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from dbos import DBOS

STEPS = 6
OUTPUT = "x" * 230


@DBOS.step()
async def step(number: int) -> str:
    return f"{number}{OUTPUT}"


@DBOS.workflow()
async def flow() -> int:
    for number in range(STEPS):
        await step(number)
    return STEPS


@DBOS.step()
def step_in_thread(number: int) -> str:
    return f"{number}{OUTPUT}"


@DBOS.workflow()
def flow_in_thread() -> int:
    for number in range(STEPS):
        step_in_thread(number)
    return STEPS


async def one(kind: str) -> float:
    """Seconds of one flow."""
    began = time.perf_counter()
    done = await (flow() if kind == "coroutines" else asyncio.to_thread(flow_in_thread))
    assert done == STEPS
    return time.perf_counter() - began


async def many(kind: str, flows: int, in_flight: int) -> dict[str, Any]:
    left, took = iter(range(flows)), list[float]()

    async def worker() -> None:
        took.extend([await one(kind) for _ in left])

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return {"seconds": time.perf_counter() - began, "took": took}


async def serve(kind: str) -> None:
    loop = asyncio.get_running_loop()
    print(json.dumps({"ready": True}), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        print(json.dumps(await many(kind, order["flows"], order["in_flight"])), flush=True)


def main() -> None:
    url, kind, name, pool = sys.argv[1:5]
    # what it prints must not be mixed with our answers
    DBOS(
        config={
            "name": "bench",
            "system_database_url": url,
            "executor_id": name,
            "log_level": "ERROR",
            "sys_db_pool_size": int(pool),
            "run_admin_server": False,
        }
    )
    DBOS.launch()
    try:
        asyncio.run(serve(kind))
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    main()
