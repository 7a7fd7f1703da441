"""How long each service takes from the start of its process to being ready, and its memory at rest and after many flows.

Each is started beside the whole service, on a port of its own, and asked for /health/ready all the time.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx

from bench.flows import Load, versions_of
from bench.processor import SERVICES, Parts, spent
from bench.report import Figure, Report, figure
from bench.stack import whole_service
from mfo.embedded.processes import free_port
from mfo.running import Running

PORTS = {
    "api": "MFO_HTTP_PORT",
    "consumers": "MFO_CONSUMERS_HEALTH_PORT",
    "projections": "MFO_PROJECTIONS_HEALTH_PORT",
}
MOST_SECONDS = 1.5
MOST_MB = 150.0
PATIENCE_SECONDS = 60.0
REST_SECONDS = 5.0


def further(where: Running, service: str, port: int) -> subprocess.Popen[bytes]:
    """One more process of a service, beside those that are there."""
    root = Path(__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-m", "mfo", service],
        env=os.environ
        | where.environment
        | {
            PORTS[service]: str(port),
            "PYTHONPATH": str(root),
            "MFO_FLOW_TYPES": "bench.noop",
            "MFO_DRAIN_SECONDS": "2",
        },
        cwd=root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until it says that it is ready; raises RuntimeError when it ends, or is not in time."""
    until = time.monotonic() + PATIENCE_SECONDS
    with httpx.Client(trust_env=False) as client:
        while time.monotonic() < until:
            if process.poll() is not None:
                raise RuntimeError(f"it ended with {process.returncode}")
            try:
                if client.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).is_success:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.005)
    raise RuntimeError("it was not ready in time")


def started(where: Running, service: str) -> tuple[float, float]:
    """Seconds from start to ready, and the processor seconds of the process until then."""
    port = free_port()
    began = time.perf_counter()
    process = further(where, service, port)
    try:
        until_ready(process, port)
        took = time.perf_counter() - began
        used = Parts(others={service: process.pid}).take().seconds[service]
    finally:
        process.terminate()
        process.wait(30)
    return took, used


async def _many(where: Running, flows: int) -> None:
    async with Load(where, save_checkpoints=False) as load:
        await load.many(flows, 64)


def run(*, flows: int = 2000, repeats: int = 5) -> Report:
    """Memory at rest, the starts in turn, then memory after so many flows."""
    took: dict[str, list[float]] = {service: [] for service in SERVICES}
    used: dict[str, list[float]] = {service: [] for service in SERVICES}
    with whole_service(MFO_FLOW_TYPES="bench.noop") as where:
        parts = Parts(where.pid)
        # what a start leaves behind is given back first
        time.sleep(REST_SECONDS)
        resting, before = parts.memory_mb(), parts.take()
        time.sleep(REST_SECONDS)
        idle = spent(before, parts.take(), REST_SECONDS, "second at rest")
        for _ in range(repeats):
            for service in SERVICES:
                seconds, worked = started(where, service)
                took[service].append(seconds)
                used[service].append(worked)
        asyncio.run(_many(where, flows))
        after = parts.memory_mb()
        versions = asyncio.run(versions_of(where))
    figures: list[Figure] = []
    for service in SERVICES:
        figures += [
            figure(f"{service}, start to ready", "s", took[service], at_most=MOST_SECONDS),
            figure(f"{service}, processor until ready", "s", used[service]),
        ]
    for service in SERVICES:
        figures += [
            figure(f"{service}, largest process at rest", "MB", resting[service], at_most=MOST_MB),
            figure(f"{service}, largest process after {flows:,} flows", "MB", after[service], at_most=MOST_MB),
        ]
    figures += [
        figure(f"{part} after {flows:,} flows", "MB", after[part]) for part in ("PostgreSQL", "Kafka") if part in after
    ]
    return Report(
        "start of each service, and memory of its largest process",
        figures,
        processor={"at rest": idle},
        versions=versions,
    )
