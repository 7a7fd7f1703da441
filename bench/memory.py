"""Resident memory of each process, the largest of each part: at rest, and after many flows.

Flows of six phases, 64 in flight; what is used at rest in processor time stands beside it.
"""

from __future__ import annotations

import asyncio
import time

from bench.flows import Load, versions_of
from bench.processor import SERVICES, Parts, spent
from bench.report import Report, figure
from bench.stack import whole_service
from mfo.running import Running

FLOWS = 2000
MOST_MB = 150.0
REST_SECONDS = 5.0


async def _many(where: Running, flows: int) -> None:
    async with Load(where, save_checkpoints=False) as load:
        await load.many(flows, 64)


def run(*, flows: int = FLOWS) -> Report:
    """Memory at rest, then after so many flows."""
    with whole_service(MFO_FLOW_TYPES="bench.noop") as where:
        parts = Parts(where.pid)
        # what a start needs is given back first
        time.sleep(REST_SECONDS)
        resting, before = parts.memory_mb(), parts.take()
        time.sleep(REST_SECONDS)
        idle = spent(before, parts.take(), REST_SECONDS, "second at rest")
        before = parts.take()
        asyncio.run(_many(where, flows))
        busy, after = spent(before, parts.take(), flows, "flow"), parts.memory_mb()
        versions = asyncio.run(versions_of(where))
    shown = (*SERVICES, *(part for part in ("PostgreSQL", "Kafka") if part in after))
    return Report(
        "memory of the largest process of each part",
        [
            figure(f"{part}, {when}", "MB", found[part], at_most=MOST_MB if part in SERVICES else None)
            for part in shown
            for when, found in (("at rest", resting), (f"after {flows:,} flows", after))
        ],
        processor={"at rest": idle, "under load": busy},
        versions=versions,
    )
