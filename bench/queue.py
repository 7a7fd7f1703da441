"""What it costs to claim runs from a long queue, and what the statements beside it cost meanwhile.

A PostgreSQL of its own with queued runs of many tenants; each figure is the time of one statement and the processor time
that its backend took for it, which does not depend on what else the machine does.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from psycopg_pool import AsyncConnectionPool

from bench.noop import FLOW_TYPES
from bench.report import Report, figure
from bench.store import own_store
from eventstore.claims import Claims, Offer, kind
from eventstore.database import Connection, pool
from eventstore.runs import Beat, Runs
from eventstore.waiting import for_place

QUEUED = 300_000
TENANTS = 1000
IN_HAND = 128
ROUNDS = 40

FILL = """
insert into runs (id, flow_id, client_account_id, engagement_id, flow_type, flow_version, phase_name, attempt, token, state,
                  timeout_seconds, priority, queued_at)
select gen_random_uuid(), gen_random_uuid(), md5(n %% %s || 'c')::uuid, md5(n %% %s || 'e')::uuid, %s, %s,
       'step_' || 1 + n / %s %% 6, 1, 1, 'queued', 300, 1 + n %% 5, mfo_now() - make_interval(secs => %s - n)
from generate_series(1, %s) n
"""
LINE = "insert into queues select distinct client_account_id, engagement_id, kind from runs where state = 'queued'"
SETTLE = """
delete from runs where state = 'running' and id not in (select id from runs where state = 'running' limit %s)
"""


class Bench:
    """A queue, and one connection to it whose backend is watched."""

    def __init__(self, connections: AsyncConnectionPool[Connection], pid: int) -> None:
        config = FLOW_TYPES[0]
        self.config = config
        self.pool = connections
        self.claims, self.runs = Claims(connections), Runs(connections)
        self.pid = pid
        kinds = [kind(config.name, config.version, phase.name) for phase in config.phases]
        others = [kind(f"other_{n}", "1.0.0", "work") for n in range(20)]
        self.offer = Offer(owner="bench", exclusive=others, shared=kinds, shared_places=64, exclusive_places=2)

    def processor_ms(self) -> float:
        """Processor time of the backend so far."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]) / 1e6

    async def execute(self, statement: str, *parameters: Any) -> None:
        async with self.pool.connection() as connection:
            await connection.execute(statement, parameters)

    async def measure(self, what: Callable[[], Awaitable[Any]], rounds: int = ROUNDS) -> dict[str, float]:
        """Median and worst milliseconds of a call, and the median of its processor time."""
        took, worked = [], []
        for _ in range(rounds):
            before, began = self.processor_ms(), time.perf_counter()
            await what()
            took.append((time.perf_counter() - began) * 1000)
            worked.append(self.processor_ms() - before)
        return {
            "p50_ms": round(statistics.median(took), 2),
            "max_ms": round(max(took), 2),
            "processor_p50_ms": round(statistics.median(worked), 2),
        }

    async def claim(self, places: int) -> dict[str, float]:
        """The cost of a claim for so many free places."""
        await self.execute(SETTLE, IN_HAND)
        return await self.measure(
            lambda: self.claims.claim(self.offer, exclusive=2, shared=places), ROUNDS if places < 64 else 5
        )


async def measure(url: str, queued: int, tenants: int) -> dict[str, Any]:
    """The cost of each statement with so many runs queued, by its name."""
    connections = pool(url, size=1)
    await connections.open(wait=True)
    try:
        async with connections.connection() as connection:
            bench = Bench(connections, connection.info.backend_pid)
        config = bench.config
        await bench.execute(FILL, tenants, tenants, config.name, config.version, tenants, queued, queued)
        await bench.execute(LINE)
        await bench.execute("vacuum analyze runs")
        # tenants that have just come are put in line some hundreds at a time
        while (await bench.claims.claim(bench.offer, exclusive=2, shared=8))[1].runs and await _new(bench):
            pass
        figures = {f"claim of {places}": await bench.claim(places) for places in (1, 8, 64)}
        await bench.execute(SETTLE, IN_HAND)
        figures["who waits, no place free"] = await bench.measure(
            lambda: bench.claims.claim(bench.offer, exclusive=0, shared=0)
        )
        async with connections.connection() as connection:
            cursor = await connection.execute("select id, token from runs where state = 'running' limit 64")
            mine = {run_id: Beat(token, 0) for run_id, token in await cursor.fetchall()}
            cursor = await connection.execute(
                "select id from runs where state = 'queued' order by priority desc limit 1"
            )
            [(last,)] = await cursor.fetchall()
        figures["heartbeat of 64"] = await bench.measure(lambda: bench.runs.heartbeat("bench", mine))
        figures["unattended"] = await bench.measure(lambda: bench.runs.unattended([uuid4()]))
        figures["why it waits"] = await bench.measure(lambda: for_place(connections, last))
        return figures
    finally:
        await connections.close()


async def _new(bench: Bench) -> bool:
    async with bench.pool.connection() as connection:
        cursor = await connection.execute("select exists (select from queues where used is null)")
        [(new,)] = await cursor.fetchall()
    return bool(new)


def run(*, queued: int = QUEUED, tenants: int = TENANTS) -> Report:
    """The figures on a PostgreSQL of its own."""
    with own_store() as store:
        found = asyncio.run(measure(store.config.database_url, queued, tenants))
    return Report(
        f"statements on {queued:,} queued runs of {tenants:,} tenants in 6 phases, {IN_HAND} runs in hand",
        [
            figure(f"{name}, {part}", "ms", figures[key])
            for name, figures in found.items()
            for part, key in (("p50", "p50_ms"), ("processor p50", "processor_p50_ms"))
        ],
        runs=[found],
    )
