"""A process of six service tasks on Zeebe, its one job worker or the caller who asks for it. Runs in the peers' environment."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from driver import OUTPUT, serve
from pyzeebe import ZeebeClient, ZeebeWorker, create_insecure_channel
from pyzeebe.errors import PyZeebeError

PROCESS = Path(__file__).parent / "zeebe_flow.bpmn"
FLOW = "bench"
START_SECONDS = 60.0
# of these there are never so many: at its limit the worker would rest for seconds
JOBS = 10_000


async def work(address: str) -> None:
    """Jobs are streamed to the worker as they come about."""
    worker = ZeebeWorker(create_insecure_channel(address), max_connection_retries=-1, stream_enabled=True)

    # a job's variables are all fetched unless one is named
    @worker.task(
        task_type="step",
        timeout_ms=60_000,
        max_jobs_to_activate=JOBS,
        max_running_jobs=JOBS,
        variables_to_fetch=["none"],
    )
    async def step() -> dict[str, str]:
        return {"output": OUTPUT}

    await worker.work()


async def ask(address: str) -> None:
    """A caller hears of a flow's end by the call that began it."""
    client = ZeebeClient(create_insecure_channel(address), max_connection_retries=-1)

    async def flow() -> None:
        await client.run_process_with_result(FLOW, timeout=60_000, variables_to_fetch=["none"])

    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                await client.deploy_resource(PROCESS)
                break
            except PyZeebeError:
                # its partition has no leader yet
                await asyncio.sleep(0.5)
    await flow()
    await serve(flow)


if __name__ == "__main__":
    asyncio.run({"worker": work, "caller": ask}[sys.argv[1]](sys.argv[2]))
