"""How many may listen: 1,000 streams of server-sent events of one tenant, one service process, flows made at a fixed rate.

Each listener is a connection of its own. What is measured goes from an event's time, which the store gives it before the
commit, to its bytes being in the listener's hands; and whether each listener was given every event once, in order.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from bench.flows import versions_of
from bench.processor import SERVICES, Parts, spent
from bench.report import Report, figure
from bench.spread import in_ms
from bench.stack import whole_service
from mfo.client import Client
from mfo.running import Running

LISTENERS = 1000
A_SECOND = 10
SECONDS = 20
PATIENCE_SECONDS = 60
EVENT = re.compile(rb"id: mfo:(\d+)\nevent: flow\ndata: [^\n]*?\"occurred_at\":\"([^\"]+)\"[^\n]*\n\n")


@dataclass(slots=True)
class Heard:
    """What one listener was given: places in the log, and how long each event was under way."""

    places: list[int] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    open: bool = False

    async def listen(self, where: Running) -> None:
        """Read the stream until cancelled."""
        at = urlsplit(where.url)
        variables = where.environment
        reader, writer = await asyncio.open_connection(at.hostname, at.port, limit=1 << 20)
        try:
            writer.write(
                f"GET /api/v1/events HTTP/1.1\r\nHost: {at.netloc}\r\nX-User-ID: bench\r\n"
                f"X-Client-Account-ID: {variables['MFO_CLIENT_ACCOUNT_ID']}\r\n"
                f"X-Engagement-ID: {variables['MFO_ENGAGEMENT_ID']}\r\n\r\n".encode()
            )
            rest = b""
            while part := await reader.read(1 << 16):
                self.open = True
                now = time.time()
                rest += part
                end = 0
                for found in EVENT.finditer(rest):
                    self.places.append(int(found[1]))
                    self.late.append(now - datetime.fromisoformat(found[2].decode()).timestamp())
                    end = found.end()
                rest = rest[end:]
        finally:
            writer.close()


async def measure(where: Running, *, listeners: int, a_second: int, seconds: int) -> dict[str, Any]:
    """The figures of one run; raises RuntimeError when a listener is not let in, or does not hear all, in time."""
    parts = Parts(where.pid)
    heard = [Heard() for _ in range(listeners)]
    began = time.perf_counter()
    tasks = []
    for one in heard:
        tasks.append(asyncio.create_task(one.listen(where)))
        if len(tasks) % 50 == 0:
            await asyncio.sleep(0)
    await _until(lambda: all(one.open for one in heard), "listeners were not let in")
    let_in = time.perf_counter() - began
    before = parts.take()
    variables = where.environment
    account, engagement = variables["MFO_CLIENT_ACCOUNT_ID"], variables["MFO_ENGAGEMENT_ID"]
    began = time.perf_counter()
    async with Client(where.url, account, engagement, "bench") as client:
        for n in range(a_second * seconds):
            await asyncio.sleep(max(0.0, began + n / a_second - time.perf_counter()))
            await client.create_flow("noop", f"flow {n}")
        made = a_second * seconds
        await _until(lambda: all(len(one.places) >= made for one in heard), "events were not heard")
    took = time.perf_counter() - began
    processor = spent(before, parts.take(), listeners * made, "delivery")
    memory = parts.memory_mb()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    late = [seconds for one in heard for seconds in one.late]
    return {
        "listeners": listeners,
        "let_in_seconds": round(let_in, 2),
        "events": made,
        "delivered": len(late),
        "delivered_per_second": round(len(late) / took),
        "alike": len({tuple(one.places) for one in heard}) == 1,
        "in_order_and_once": all(one.places == sorted(set(one.places)) for one in heard),
        "ms": in_ms(late),
        "processor": processor,
        "service_memory_mb": round(max(memory[name] for name in SERVICES if name in memory)),
    }


async def _until(condition: Any, otherwise: str) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(otherwise)
        await asyncio.sleep(0.05)


def run(*, listeners: int = LISTENERS, a_second: int = A_SECOND, seconds: int = SECONDS) -> Report:
    """Many listeners of one tenant."""
    with whole_service(MFO_FLOW_TYPES="bench.noop") as where:
        found = asyncio.run(measure(where, listeners=listeners, a_second=a_second, seconds=seconds))
        versions = asyncio.run(versions_of(where))
    if not (found["alike"] and found["in_order_and_once"]):
        raise RuntimeError("not every listener was given every event once, in order")
    return Report(
        f"server-sent events: {listeners:,} listeners of one tenant, {a_second} flows made a second",
        [
            figure("delivered", "events/s", found["delivered_per_second"], share_of="json decode"),
            figure("event to listener, p50", "ms", found["ms"]["p50"]),
            figure("event to listener, p99", "ms", found["ms"]["p99"]),
            figure("all let in after", "s", found["let_in_seconds"]),
            figure("largest service process", "MB", found["service_memory_mb"]),
        ],
        processor={"delivering": found["processor"]},
        versions=versions,
        runs=[found],
    )
