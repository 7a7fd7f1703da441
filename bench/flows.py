"""Durable flows of six no-op phases a second: from the command on Kafka to `completed` in the read model.

Everything runs on this machine: PostgreSQL, Kafka, the three services and this load. A fixed number of flows is in flight;
each next one starts when one has ended. Afterwards flows are sent one at a time for the latency of one alone.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
from aiokafka import AIOKafkaProducer

from bench.processor import Parts, spent
from bench.report import Report, figure
from bench.spread import in_ms
from bench.stack import whole_service
from mfo.running import Running
from projections.flows import NAME as FLOWS_TABLE

FLOWS = 3000
IN_FLIGHT = 64
ALONE = 60
# Kafka's machine code is made while it is used: what it costs in its first seconds says little
WARM_SECONDS = 10.0
FLOW_TYPE = "noop"
# a creation, and six completions
COMMANDS = 7
LEAST_FLOWS_PER_SECOND = 1050

# by key: while the table's statistics are young, an index on the status would have every completed flow read each time
ASKED = "select flow_id, flow_status from crewai_flow_state_extensions where flow_id = any(%b)"


def creation(
    variables: dict[str, str], flow_id: UUID, flow_type: str = FLOW_TYPE, **body: Any
) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Body and headers of a CreateFlow on Kafka; the command's id is the flow's."""
    headers = {
        "ce_specversion": "1.0",
        "ce_id": str(flow_id),
        "ce_source": "/bench",
        "ce_type": "mfo.command.CreateFlow.v1",
        "ce_subject": str(flow_id),
        "ce_clientaccountid": variables["MFO_CLIENT_ACCOUNT_ID"],
        "ce_engagementid": variables["MFO_ENGAGEMENT_ID"],
        "ce_userid": "bench",
        "content-type": "application/json",
    }
    data = {"flow_id": str(flow_id), "flow_type": flow_type, "flow_name": "bench", **body}
    return msgspec.json.encode(data), [(name, value.encode()) for name, value in headers.items()]


class Load:
    """Sends flows and learns from the read model which have completed."""

    def __init__(self, where: Running, *, save_checkpoints: bool, flow_type: str = FLOW_TYPE) -> None:
        self._variables = where.environment
        self._flow_type = flow_type
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
        self._written = asyncio.Event()
        self._readers = [asyncio.create_task(self._hear()), asyncio.create_task(self._look())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        await self._producer.stop()
        await self._listen.close()
        await self._ask.close()

    async def _hear(self) -> None:
        async for said in self._listen.notifies():
            if said.payload == FLOWS_TABLE:
                self._written.set()

    async def _look(self) -> None:
        """One question at a time; what is written meanwhile is one more question as soon as this one is answered."""
        while True:
            await self._written.wait()
            self._written.clear()
            if not self._pending:
                continue
            cursor = await self._ask.execute(ASKED, (list(self._pending),), binary=True)
            now = time.perf_counter()
            for flow_id, status in await cursor.fetchall():
                if status == "completed":
                    self._pending.pop(flow_id).set_result(now)

    async def flow(self) -> float:
        """Seconds from sending the command to seeing the flow completed."""
        flow_id = uuid4()
        body, headers = creation(self._variables, flow_id, self._flow_type, options=self._options)
        ended = self._pending[flow_id] = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        await self._producer.send("mfo.commands.v1", body, key=str(flow_id).encode(), headers=headers)
        seen: float = await asyncio.wait_for(ended, 60)
        return seen - began

    async def warm(self, seconds: float, in_flight: int = IN_FLIGHT) -> None:
        """Flows for so long, of which nothing is told."""
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            await self.many(in_flight, in_flight)

    async def many(self, flows: int, in_flight: int) -> tuple[float, list[float]]:
        """Flows a second, and each flow's seconds."""
        left = iter(range(flows))
        took: list[float] = []

        async def worker() -> None:
            took.extend([await self.flow() for _ in left])

        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(in_flight)))
        return flows / (time.perf_counter() - began), took


async def measure(where: Running, *, flows: int, alone: int, in_flight: int, save_checkpoints: bool) -> dict[str, Any]:
    """The figures of one run."""
    parts = Parts(where.pid)
    async with Load(where, save_checkpoints=save_checkpoints) as load:
        await load.warm(min(WARM_SECONDS, flows / 300), in_flight)
        before = parts.take()
        rate, took = await load.many(flows, in_flight)
        processor = spent(before, parts.take(), flows, "flow")
        single = in_ms([await load.flow() for _ in range(alone)])
    return {
        "flows": flows,
        "in_flight": in_flight,
        "save_checkpoints": save_checkpoints,
        "flows_per_second": round(rate, 1),
        "in_flight_p50_ms": round(statistics.median(took) * 1000, 1),
        "alone_p50_ms": single["p50"],
        "alone_p99_ms": single["p99"],
        "processor": processor,
    }


async def versions_of(where: Running) -> dict[str, Any]:
    """The servers that a measurement ran on."""
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
        "kafka": f"{where.kafka} ({where.kafka_reason})",
    }


def run(*, flows: int = FLOWS, alone: int = ALONE, in_flight: int = IN_FLIGHT, repeats: int = 3) -> Report:
    """Both ways a flow may be kept, taking turns: with a checkpoint after each phase, and without."""
    with whole_service(MFO_FLOW_TYPES="bench.noop") as where:
        runs = [
            asyncio.run(measure(where, flows=flows, alone=alone, in_flight=in_flight, save_checkpoints=checkpoints))
            for _ in range(repeats)
            for checkpoints in (False, True)
        ]
        versions = asyncio.run(versions_of(where))
    without, with_checkpoints = runs[::2], runs[1::2]
    figures = []
    for kept, found in (("", without), (", with checkpoints", with_checkpoints)):
        figures += [
            figure(
                f"flows{kept}",
                "flows/s",
                [each["flows_per_second"] for each in found],
                at_least=None if kept else LEAST_FLOWS_PER_SECOND,
                share_of="commands in groups of 64",
                units=COMMANDS,
            ),
            figure(
                f"processor{kept}",
                "ms/flow",
                [each["processor"]["total_ms"] for each in found],
                share_of="commands of a core, groups of 64",
                units=COMMANDS,
            ),
            figure(f"one of {in_flight} in flight{kept}, p50", "ms", [each["in_flight_p50_ms"] for each in found]),
            figure(f"one alone{kept}, p50", "ms", [each["alone_p50_ms"] for each in found]),
            figure(f"one alone{kept}, p99", "ms", [each["alone_p99_ms"] for each in found]),
        ]
    rates = [statistics.median(each["flows_per_second"] for each in found) for found in (with_checkpoints, without)]
    return Report(
        f"flows of 6 no-op phases, {in_flight} in flight, Kafka command to completed in the read model",
        figures,
        processor={
            "without checkpoints": without[-1]["processor"],
            "with checkpoints": with_checkpoints[-1]["processor"],
        },
        versions=versions,
        runs=runs,
        ratios={"with_checkpoints": round(rates[0] / rates[1], 2)},
    )
