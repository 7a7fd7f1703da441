"""How long an operation over 10,000 flows takes: from its start over HTTP to every flow having been asked.

The flows lie there, made and not begun; they are paused, then resumed, by one operation each, while nothing else is done.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

import psycopg
from aiokafka import AIOKafkaProducer

from bench.flows import creation, versions_of
from bench.processor import Parts, spent
from bench.report import Report, figure
from bench.stack import whole_service
from mfo.client import Client
from mfo.running import Running

FLOWS = 10_000
PATIENCE_SECONDS = 300
SHOWN = "select count(*) from crewai_flow_state_extensions where flow_tags @> '[\"many\"]'"


async def measure(where: Running, *, flows: int) -> list[dict[str, Any]]:
    """The figures of a pause and of a resume of all flows."""
    variables = where.environment
    account, engagement = variables["MFO_CLIENT_ACCOUNT_ID"], variables["MFO_ENGAGEMENT_ID"]
    await _make(where, flows)
    figures, parts = [], Parts(where.pid)
    async with Client(variables["MFO_URL"], account, engagement, "bench") as client:
        for verb in ("pause", "resume"):
            began, before = time.perf_counter(), parts.take()
            started = await client.start_operation(verb, {"tag": "many"}, reason="bench")
            answered = time.perf_counter() - began
            done = await client.await_operation(started["operation_id"], patience_seconds=PATIENCE_SECONDS)
            took = time.perf_counter() - began
            progress = done["progress"]
            figures.append(
                {
                    "verb": verb,
                    "flows": progress["total"],
                    "state": done["state"],
                    "accepted": progress["accepted"],
                    "refused": progress["refused"],
                    "answered_ms": round(answered * 1000, 1),
                    "seconds": round(took, 2),
                    "flows_per_second": round(progress["done"] / took, 1),
                    "processor": spent(before, parts.take(), max(progress["total"], 1), "flow"),
                }
            )
    return figures


async def _make(where: Running, flows: int) -> None:
    """Flows with the tag `many`, made over Kafka, until the read model shows all of them."""
    variables = where.environment
    async with AIOKafkaProducer(bootstrap_servers=variables["MFO_KAFKA_BOOTSTRAP"]) as producer:
        for _ in range(flows):
            flow_id = uuid4()
            body, headers = creation(variables, flow_id, flow_tags=["many"])
            await producer.send("mfo.commands.v1", body, key=str(flow_id).encode(), headers=headers)
        await producer.flush()
    async with await psycopg.AsyncConnection.connect(variables["MFO_DATABASE_URL"], autocommit=True) as connection:
        for _ in range(PATIENCE_SECONDS):
            row = await (await connection.execute(SHOWN)).fetchone()
            if row is not None and row[0] == flows:
                return
            await asyncio.sleep(1)
    raise RuntimeError("the flows were not made in time")


def run(*, flows: int = FLOWS) -> Report:
    """A pause and a resume of many flows."""
    with whole_service(MFO_FLOW_TYPES="bench.noop", MFO_OPERATION_MAX_FLOWS=str(max(flows, FLOWS))) as where:
        runs = asyncio.run(measure(where, flows=flows))
        versions = asyncio.run(versions_of(where))
    return Report(
        f"an operation over {flows:,} flows: from its start over HTTP to every flow asked",
        [
            part
            for found in runs
            for part in (
                figure(found["verb"], "flows/s", found["flows_per_second"], share_of="commands in groups of 64"),
                figure(f"{found['verb']}, start answered", "ms", found["answered_ms"]),
                figure(f"{found['verb']}, refused", "flows", found["refused"], at_most=0),
            )
        ],
        processor={found["verb"]: found["processor"] for found in runs},
        versions=versions,
        runs=runs,
    )
