"""Durable flows of six no-op phases a second: from the command on Kafka to `completed` in the read model.

Everything runs on this machine: PostgreSQL, Kafka, the three services and this load. A fixed number of flows is in flight;
each next one starts when one has ended. Afterwards flows are sent one at a time for the latency of one alone.
"""

from __future__ import annotations

import asyncio
import os
import platform
import statistics
import time
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
from aiokafka import AIOKafkaProducer

from bench.stack import whole_service
from mfo.running import Running

FLOWS = 3000
IN_FLIGHT = 64
ALONE = 60
WARM_UP = 300
FLOW_TYPE = "noop"

DONE = """
select flow_id from crewai_flow_state_extensions
where flow_id = any(%b) and flow_status = 'completed'
"""


class Load:
    """Sends flows and learns from the read model which have completed."""

    def __init__(self, where: Running, *, save_checkpoints: bool) -> None:
        self._variables = where.environment
        self._options = {"auto_execute": True, "save_checkpoints": save_checkpoints}
        self._pending: dict[UUID, asyncio.Future[float]] = {}
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._variables["MFO_KAFKA_BOOTSTRAP"], acks="all", enable_idempotence=True
        )

    async def __aenter__(self) -> Load:
        await self._producer.start()
        url = self._variables["MFO_DATABASE_URL"]
        self._listen = await psycopg.AsyncConnection.connect(url, autocommit=True)
        self._ask = await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=0)
        await self._listen.execute("listen mfo_projected")
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._producer.stop()
        await self._listen.close()
        await self._ask.close()

    async def _read(self) -> None:
        async for _ in self._listen.notifies():
            if not self._pending:
                continue
            cursor = await self._ask.execute(DONE, (list(self._pending),), binary=True)
            now = time.perf_counter()
            for (flow_id,) in await cursor.fetchall():
                self._pending.pop(flow_id).set_result(now)

    async def flow(self) -> float:
        """Seconds from sending the command to seeing the flow completed."""
        flow_id = uuid4()
        body = {"flow_id": str(flow_id), "flow_type": FLOW_TYPE, "flow_name": "bench", "options": self._options}
        headers = {
            "ce_specversion": "1.0",
            "ce_id": str(flow_id),
            "ce_source": "/bench",
            "ce_type": "mfo.command.CreateFlow.v1",
            "ce_subject": str(flow_id),
            "ce_clientaccountid": self._variables["MFO_CLIENT_ACCOUNT_ID"],
            "ce_engagementid": self._variables["MFO_ENGAGEMENT_ID"],
            "ce_userid": "bench",
            "content-type": "application/json",
        }
        ended = self._pending[flow_id] = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        await self._producer.send(
            "mfo.commands.v1",
            msgspec.json.encode(body),
            key=str(flow_id).encode(),
            headers=[(name, value.encode()) for name, value in headers.items()],
        )
        return await asyncio.wait_for(ended, 60) - began

    async def many(self, flows: int, in_flight: int) -> tuple[float, list[float]]:
        """Flows a second, and each flow's seconds."""
        left = iter(range(flows))
        took: list[float] = []

        async def worker() -> None:
            took.extend([await self.flow() for _ in left])

        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(in_flight)))
        return flows / (time.perf_counter() - began), took


async def measure(where: Running, *, flows: int, alone: int, save_checkpoints: bool) -> dict[str, Any]:
    """The figures of one run."""
    async with Load(where, save_checkpoints=save_checkpoints) as load:
        await load.many(min(WARM_UP, flows), IN_FLIGHT)
        rate, took = await load.many(flows, IN_FLIGHT)
        single = sorted([await load.flow() for _ in range(alone)])
        versions = await versions_of(where)
    return {
        "flows": flows,
        "in_flight": IN_FLIGHT,
        "save_checkpoints": save_checkpoints,
        "flows_per_second": round(rate, 1),
        "in_flight_p50_ms": round(statistics.median(took) * 1000, 1),
        "alone_p50_ms": round(statistics.median(single) * 1000, 1),
        "alone_p99_ms": round(single[int(len(single) * 0.99) - 1] * 1000, 1),
        **versions,
    }


async def versions_of(where: Running) -> dict[str, Any]:
    """What a measurement ran on."""
    async with await psycopg.AsyncConnection.connect(where.environment["MFO_DATABASE_URL"]) as connection:
        row = await (
            await connection.execute(
                "select current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit')"
            )
        ).fetchone()
    assert row is not None
    return {
        "postgresql": row[0],
        "fsync": row[1],
        "synchronous_commit": row[2],
        "kafka": where.kafka,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }


def run(flows: int = FLOWS, alone: int = ALONE) -> dict[str, Any]:
    """Both ways a flow may be kept, taking turns: with a checkpoint after each phase, and without."""
    with whole_service(MFO_FLOW_TYPES="bench.noop") as where:
        figures = [
            asyncio.run(measure(where, flows=flows, alone=alone, save_checkpoints=checkpoints))
            for checkpoints in (False, True)
        ]
    without, with_checkpoints = figures
    return {
        "what": "flows of 6 no-op phases, Kafka command to completed in the read model",
        "runs": figures,
        "ratios": {
            "with_checkpoints": round(with_checkpoints["flows_per_second"] / without["flows_per_second"], 2),
        },
    }
