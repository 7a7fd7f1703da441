"""HTTP: create, status and list at 200 a second and as fast as 64 callers can ask; and a flow from create to known as completed.

At a rate (an open loop) latency counts from the moment a call was due. The clients are aiohttp's, in this process. The lists read
a tenant that has some thousand flows; `growth` and `analytics` measure lists over a million.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp

from bench.flows import versions_of
from bench.processor import Parts, spent
from bench.report import Figure, Report, figure
from bench.spread import in_ms, quantile
from bench.stack import whole_service
from mfo.running import Running

IN_FLIGHT = 64
MADE_BEFORE = 2000
MOST_P99_MS = {"create": 30.0, "status": 10.0, "list": 10.0}

Call = Callable[[], Awaitable[None]]


def session(where: Running) -> aiohttp.ClientSession:
    """Calls as the one tenant that `mfo dev` knows."""
    found = where.environment
    headers = {
        "X-Client-Account-ID": found["MFO_CLIENT_ACCOUNT_ID"],
        "X-Engagement-ID": found["MFO_ENGAGEMENT_ID"],
        "X-User-ID": "bench",
    }
    return aiohttp.ClientSession(
        where.url, headers=headers, connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(60)
    )


async def answered(call: Any) -> Any:
    """The JSON of an answer; raises aiohttp.ClientResponseError where it is no success."""
    async with call as answer:
        if not answer.ok:
            raise RuntimeError(f"{answer.status}: {(await answer.text())[:500]}")
        return await answer.json()


async def created_and_known(where: Running, flows: int, flow_type: str = "noop") -> list[float]:
    """Seconds of the call that asks for a flow of six phases and answers when it is completed, one flow after the other."""
    options = {"auto_execute": True, "save_checkpoints": False}
    body = {"flow_type": flow_type, "flow_name": "bench", "options": options}
    took = []
    async with session(where) as asking:
        for _ in range(flows):
            began = time.perf_counter()
            flow = await answered(asking.post("/api/v1/flows", json=body, params={"wait": "true", "wait_ms": "20000"}))
            took.append(time.perf_counter() - began)
            if flow["status"] != "completed":
                raise RuntimeError(f"a flow at version {flow['version']} is {flow['status']}")
    return took


@dataclass(slots=True)
class Asked:
    """Seconds of each call that was answered as it should be, and how many were not."""

    took: list[float] = field(default_factory=list)
    failed: int = 0

    async def once(self, call: Call, due: float) -> None:
        """Make the call, and count from when it was due."""
        try:
            await call()
        except (RuntimeError, OSError, TimeoutError, aiohttp.ClientError):
            # turned away, most often
            self.failed += 1
        else:
            self.took.append(time.perf_counter() - due)


async def at_rate(call: Call, rate: float, seconds: float) -> Asked:
    """Calls from when each was due, whatever becomes of those before it."""
    asked = Asked()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for n in range(int(rate * seconds)):
            due = began + n / rate
            if (left := due - time.perf_counter()) > 0:
                await asyncio.sleep(left)
            tasks.create_task(asked.once(call, due))
    return asked


async def at_most(call: Call, in_flight: int, seconds: float) -> tuple[float, Asked]:
    """Answers a second by so many callers who each wait for theirs, and the calls."""
    asked = Asked()
    began = time.perf_counter()

    async def caller() -> None:
        while (due := time.perf_counter()) < began + seconds:
            await asked.once(call, due)

    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return len(asked.took) / (time.perf_counter() - began), asked


def calls(asking: aiohttp.ClientSession, known: list[str]) -> dict[str, Call]:
    """The three calls; flows that were made become `known`."""

    async def create() -> None:
        body = {"flow_type": "noop", "flow_name": "bench"}
        made = await answered(asking.post("/api/v1/flows", json=body, headers={"Idempotency-Key": str(uuid4())}))
        known.append(made["flow_id"])

    async def status() -> None:
        # another one each time
        known.append(known.pop(0))
        await answered(asking.get(f"/api/v1/flows/{known[-1]}/status"))

    async def listed() -> None:
        await answered(asking.get("/api/v1/flows", params={"flow_type": "noop", "limit": "50"}))

    return {"create": create, "status": status, "list": listed}


async def _measured(where: Running, rate: float, seconds: float, repeats: int) -> list[dict[str, Any]]:
    parts, known = Parts(where.pid), list[str]()
    runs = []
    async with session(where) as asking:
        by_name = calls(asking, known)
        while len(known) < MADE_BEFORE:
            await asyncio.gather(*(by_name["create"]() for _ in range(IN_FLIGHT)))
        for _ in range(repeats):
            for name, call in by_name.items():
                before = parts.take()
                due = await at_rate(call, rate, seconds)
                between = parts.take()
                most, busy = await at_most(call, IN_FLIGHT, seconds)
                if not (due.took and busy.took):
                    raise RuntimeError(f"no {name} was answered")
                runs.append(
                    {
                        "call": name,
                        "failed": due.failed + busy.failed,
                        "rate": rate,
                        "ms": in_ms(due.took),
                        "processor": spent(before, between, len(due.took), "call"),
                        "saturation_per_second": round(most, 1),
                        "saturation_ms": in_ms(busy.took),
                        "saturation_processor": spent(between, parts.take(), len(busy.took), "call"),
                    }
                )
    return runs


def run(*, rate: float = 200.0, seconds: float = 5.0, repeats: int = 3, alone: int = 60) -> Report:
    """The three calls in turn, at the rate and at saturation, again and again."""
    with whole_service(MFO_FLOW_TYPES="bench.noop") as where:
        known = [each * 1000 for each in asyncio.run(created_and_known(where, alone))]
        runs = asyncio.run(_measured(where, rate, seconds, repeats))
        versions = asyncio.run(versions_of(where))
    figures: list[Figure] = []
    for name, most in MOST_P99_MS.items():
        found = [each for each in runs if each["call"] == name]
        figures += [
            figure(f"{name} at {rate:g}/s, p50", "ms", [each["ms"]["p50"] for each in found]),
            figure(f"{name} at {rate:g}/s, p99", "ms", [each["ms"]["p99"] for each in found], at_most=most),
            figure(
                f"{name} at saturation",
                "calls/s",
                [each["saturation_per_second"] for each in found],
                share_of="commands in groups of 64" if name == "create" else "json decode",
            ),
            figure(f"{name}, turned away", "calls", [float(each["failed"]) for each in found], at_most=0),
            figure(f"{name} at saturation, p99", "ms", [each["saturation_ms"]["p99"] for each in found]),
            figure(
                f"{name}, processor",
                "ms/call",
                [each["saturation_processor"]["total_ms"] for each in found],
                share_of="json decode",
            ),
        ]
    figures += [
        figure("a flow of 6 phases, create to known as completed, p50", "ms", quantile(known, 0.5)),
        figure("a flow of 6 phases, create to known as completed, p99", "ms", quantile(known, 0.99)),
    ]
    last = runs[-len(MOST_P99_MS) :]
    return Report(
        f"HTTP calls at {rate:g}/s and with {IN_FLIGHT} callers",
        figures,
        processor={f"{each['call']} at {rate:g}/s": each["processor"] for each in last}
        | {f"{each['call']} at saturation": each["saturation_processor"] for each in last},
        versions=versions,
        runs=runs,
    )
