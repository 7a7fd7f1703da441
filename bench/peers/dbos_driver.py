"""Flows of six steps on DBOS, in this process; told what to run by lines of JSON on standard input. Runs in the peers' environment."""

from __future__ import annotations

import asyncio
import sys

from dbos import DBOS
from driver import OUTPUT, STEPS, serve


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


# no more at a time than Python's own executor has threads
async def one_in_thread() -> int:
    return await asyncio.to_thread(flow_in_thread)


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
        asyncio.run(serve(flow if kind == "coroutines" else one_in_thread))
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    main()
