"""The limits that the service was first asked to keep, and by how much each is surpassed.

A flow created within 500 ms, less than 100 ms beside the work in each phase, 100 flows at once within 60 s, and fewer than one call
of a thousand failing. Phases do nothing here, and run as handlers of the service's own discovery would: in child processes.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp

from bench.flows import versions_of
from bench.http import answered, at_rate, calls, session
from bench.processor import Parts, spent
from bench.report import Report, figure
from bench.spread import quantile
from bench.stack import whole_service
from mfo.running import Running

CREATE_MS, PHASE_MS, AT_ONCE_SECONDS, ERRORS_PERCENT = 500.0, 100.0, 60.0, 0.1
PHASES = 6
LAST_VERSION = 14
WAIT = {"min_version": str(LAST_VERSION), "wait_ms": "30000"}


class Count:
    """Calls, and how many of them failed."""

    def __init__(self) -> None:
        self.calls = self.failed = 0

    async def __call__(self, call: Any) -> Any:
        """The answer; None where the call failed."""
        self.calls += 1
        try:
            return await call
        except (RuntimeError, OSError, TimeoutError, aiohttp.ClientError):
            self.failed += 1
            return None


async def _measured(where: Running, flows: int, rate: float, seconds: float) -> dict[str, Any]:
    count, parts = Count(), Parts(where.pid)
    body = {
        "flow_type": "noop_in_child",
        "flow_name": "bench",
        "options": {"auto_execute": True, "save_checkpoints": False},
    }
    async with session(where) as asking:

        async def whole() -> float:
            began = time.perf_counter()
            made = await count(answered(asking.post("/api/v1/flows", json=body)))
            if made is not None:
                done = await count(answered(asking.get(f"/api/v1/flows/{made['flow_id']}", params=WAIT)))
                if done is not None and done["status"] != "completed":
                    raise RuntimeError(f"a flow is {done['status']} at version {done['version']}")
            return time.perf_counter() - began

        for _ in range(5):
            await whole()
        one = [await whole() for _ in range(20)]
        before, began = parts.take(), time.perf_counter()
        await asyncio.gather(*(whole() for _ in range(flows)))
        at_once = time.perf_counter() - began
        processor = spent(before, parts.take(), flows, "flow")
        create = calls(asking, [])["create"]
        created = await at_rate(create, rate, seconds)
    made = count.calls + created.failed + len(created.took)
    return {
        "create_ms": quantile(created.took, 0.99) * 1000,
        "phase_ms": quantile(one, 0.5) * 1000 / PHASES,
        "at_once_seconds": at_once,
        "calls": made,
        "errors_percent": 100 * (count.failed + created.failed) / made,
        "processor": processor,
    }


def run(*, flows: int = 100, rate: float = 100.0, seconds: float = 10.0, repeats: int = 3) -> Report:
    """All four, again and again."""
    with whole_service(MFO_FLOW_TYPES="bench.noop") as where:
        runs = [asyncio.run(_measured(where, flows, rate, seconds)) for _ in range(repeats)]
        versions = asyncio.run(versions_of(where))

    def each(name: str) -> list[float]:
        return [found[name] for found in runs]

    figures = [
        figure(f"create at {rate:g}/s, p99", "ms", each("create_ms"), at_most=CREATE_MS),
        figure("a phase that does nothing, in a child process", "ms", each("phase_ms"), at_most=PHASE_MS),
        figure(f"{flows} flows at once", "s", each("at_once_seconds"), at_most=AT_ONCE_SECONDS),
        figure("calls that failed", "%", each("errors_percent"), at_most=ERRORS_PERCENT),
    ]
    return Report(
        "the limits that were asked for at first",
        figures,
        processor={f"{flows} flows at once": runs[-1]["processor"]},
        versions=versions,
        runs=runs,
        ratios={
            f"{found.name}: times better than asked": round(found.at_most / found.median, 1)
            for found in figures
            if found.at_most and found.median
        },
        notes=[f"{sum(found['calls'] for found in runs):,} calls in all"],
    )
