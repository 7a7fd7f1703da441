"""A workflow of six activities on Temporal, its one worker or the caller who asks for it. Runs in the peers' environment."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta
from uuid import uuid4

from driver import OUTPUT, STEPS, serve
from google.protobuf.duration_pb2 import Duration
from temporalio import activity, workflow
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

QUEUE = "bench"
START_SECONDS = 60.0
LIMIT = timedelta(seconds=60)


@activity.defn
async def step(number: int) -> str:
    return f"{number}{OUTPUT}"


@workflow.defn
class Steps:
    """Every activity is a task of its own, recorded before the next one."""

    @workflow.run
    async def run(self) -> int:
        for number in range(STEPS):
            await workflow.execute_activity(step, number, start_to_close_timeout=LIMIT)
        return STEPS


@workflow.defn
class LocalSteps:
    """All activities are a part of one workflow task, recorded together at its end."""

    @workflow.run
    async def run(self) -> int:
        for number in range(STEPS):
            await workflow.execute_local_activity(step, number, start_to_close_timeout=LIMIT)
        return STEPS


FLOWS = {"activities": Steps, "local": LocalSteps}


async def connected(address: str) -> Client:
    """A client, as soon as the server answers and knows the namespace."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                client = await Client.connect(address)
                await client.workflow_service.register_namespace(
                    RegisterNamespaceRequest(
                        namespace="default", workflow_execution_retention_period=Duration(seconds=86_400)
                    )
                )
            except RPCError as error:
                if error.status == RPCStatusCode.ALREADY_EXISTS:
                    return client
            except RuntimeError:
                # no server yet
                pass
            await asyncio.sleep(0.3)


async def work(address: str, kind: str) -> None:
    worker = Worker(
        await connected(address),
        task_queue=QUEUE,
        workflows=[FLOWS[kind]],
        activities=[step],
        # its sandbox looks at every import of a flow's code
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    await worker.run()


async def ask(address: str, kind: str) -> None:
    client = await connected(address)
    name = FLOWS[kind].__name__

    async def flow() -> None:
        await client.execute_workflow(name, id=str(uuid4()), task_queue=QUEUE)

    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                await flow()
                break
            except RPCError:
                # a namespace is known everywhere only after some seconds
                await asyncio.sleep(0.5)
    await serve(flow)
    # the SDK's threads may abort an interpreter that ends in good order
    os._exit(0)


if __name__ == "__main__":
    asyncio.run({"worker": work, "caller": ask}[sys.argv[1]](*sys.argv[2:4]))
