"""How long each service takes from the start of its process to being ready.

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

from bench.flows import versions_of
from bench.processor import SERVICES, Parts
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
PATIENCE_SECONDS = 60.0


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


def until_settled(where: Running) -> None:
    """Wait until the service is whole again after a process of it has left: an api that begins says so of all of it."""
    until = time.monotonic() + PATIENCE_SECONDS
    with httpx.Client(trust_env=False) as client:
        while not client.get(f"{where.url}/health/ready", timeout=5).is_success:
            if time.monotonic() > until:
                raise RuntimeError("the service was not whole in time")
            time.sleep(0.05)


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
    until_settled(where)
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


def run(*, repeats: int = 5) -> Report:
    """The starts in turn, again and again."""
    found: dict[str, list[tuple[float, float]]] = {service: [] for service in SERVICES}
    with whole_service(MFO_FLOW_TYPES="bench.noop") as where:
        for _ in range(repeats):
            for service in SERVICES:
                found[service].append(started(where, service))
        versions = asyncio.run(versions_of(where))
    figures: list[Figure] = []
    for service, starts in found.items():
        figures += [
            figure(f"{service}, start to ready", "s", [seconds for seconds, _ in starts], at_most=MOST_SECONDS),
            figure(f"{service}, processor until ready", "s", [used for _, used in starts], share_of="json decode"),
        ]
    return Report("start of each service's process to ready", figures, versions=versions)
