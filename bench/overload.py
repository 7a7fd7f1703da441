"""Three times as much as can be done, for a minute: memory stays flat, what was accepted is done, and it goes on at once after.

First the capacity is measured, then commands come at three times that over HTTP, then over Kafka, each from a process of its
own, at a fixed rate whatever is answered. Memory of every process is taken each second. After each load: how long until an
answer is as quick as before, until Kafka's backlog is worked off, and whether everything that was accepted is in the store.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg

from bench.flows import versions_of
from bench.openloop import BODY
from bench.processor import SERVICES, Parts
from bench.report import Report, figure
from bench.spread import in_ms
from bench.stack import whole_service
from mfo.running import Running

SECONDS = 60
TIMES = 3.0
MEASURED_SECONDS = 8.0
IN_FLIGHT = 64
BURST = 20_000
MOST_MB = 150
# a create is as quick as before when it takes at most so many times as long, or so many ms
AS_QUICK_TIMES, AS_QUICK_MS = 3.0, 50.0


class Memory:
    """Resident memory in MiB of each service, taken every second while the block lasts."""

    def __init__(self, where: Running) -> None:
        self._parts = Parts(where.pid)
        self._stop = threading.Event()
        self.seen: dict[str, list[float]] = {}

    def __enter__(self) -> Memory:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(1.0):
            for name, mb in self._parts.memory_mb().items():
                if name in SERVICES:
                    self.seen.setdefault(name, []).append(mb)

    def figures(self) -> dict[str, Any]:
        """By service: at the start, a third of the way, at the end, and the most."""
        return {
            name: {
                "first": round(seen[0]),
                "third": round(seen[len(seen) // 3]),
                "last": round(seen[-1]),
                "most": round(max(seen)),
            }
            for name, seen in self.seen.items()
        }


def load(where: Running, ids: Path, *words: str) -> dict[str, Any]:
    """One run of `bench.openloop` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.openloop", *words, "--ids", str(ids)],
        env=os.environ | where.environment | {"PYTHONPATH": str(Path(__file__).parents[1])},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def missing(where: Running, ids: Path) -> int:
    """How many of the accepted flows are not in the store."""
    raw = ids.read_bytes()
    wanted = [UUID(bytes=raw[n : n + 16]) for n in range(0, len(raw), 16)]
    with psycopg.connect(where.environment["MFO_DATABASE_URL"]) as connection:
        row = connection.execute(
            "select count(*) from unnest(%s::uuid[]) as f where not exists (select from heads h where h.id = f)",
            (wanted,),
        ).fetchone()
    assert row is not None
    return int(row[0])


def kept(where: Running) -> int:
    """How many flows are in the store."""
    with psycopg.connect(where.environment["MFO_DATABASE_URL"]) as connection:
        row = connection.execute("select count(*) from heads").fetchone()
    assert row is not None
    return int(row[0])


class Probe:
    """Creates a flow ten times a second while the block lasts, as a patient caller beside the load."""

    def __init__(self, where: Running) -> None:
        found = where.environment
        self._url = f"{found['MFO_URL']}/api/v1/flows"
        self._headers = {
            "X-Client-Account-ID": found["MFO_CLIENT_ACCOUNT_ID"],
            "X-Engagement-ID": found["MFO_ENGAGEMENT_ID"],
            "X-User-ID": "probe",
        }
        self.took: list[float] = []
        self.away = 0

    def once(self) -> float | None:
        """Seconds of one create; none where it was turned away."""
        began = time.perf_counter()
        try:
            answer = httpx.post(self._url, json=BODY, headers=self._headers, timeout=30, trust_env=False)
        except httpx.HTTPError:
            return None
        return time.perf_counter() - began if answer.status_code == httpx.codes.CREATED else None

    async def beside(self, work: asyncio.Future[Any]) -> None:
        while not work.done():
            took = await asyncio.to_thread(self.once)
            if took is None:
                self.away += 1
            else:
                self.took.append(took)
            await asyncio.sleep(0.1)

    def usual(self) -> float:
        """Seconds of a create where nothing else is asked, the median of 30."""
        return sorted(self.once() or 0.0 for _ in range(30))[15]

    def recovered_after(self, usual: float) -> float:
        """Seconds until three creates in a row are about as quick as usual."""
        began, quick = time.perf_counter(), 0
        while quick < 3:
            took = self.once()
            quick = quick + 1 if took is not None and took < max(AS_QUICK_TIMES * usual, AS_QUICK_MS / 1000) else 0
            if time.perf_counter() - began > 120:
                raise RuntimeError("not as quick as before within 120 s")
        return time.perf_counter() - began


async def overload_http(where: Running, folder: Path, seconds: float) -> dict[str, Any]:
    """Capacity over HTTP, then three times that."""
    ids = folder / "http"
    usual = await asyncio.to_thread(Probe(where).usual)
    capacity = await asyncio.to_thread(
        load, where, ids, "http", "--closed", str(IN_FLIGHT), "--seconds", str(MEASURED_SECONDS)
    )
    rate = capacity["accepted_per_second"] * TIMES
    with Memory(where) as memory:
        found = await asyncio.to_thread(load, where, ids, "http", "--rate", str(rate), "--seconds", str(seconds))
    after = await asyncio.to_thread(Probe(where).recovered_after, usual)
    return {
        "alone_p50_ms": round(usual * 1000, 1),
        "capacity_per_second": capacity["accepted_per_second"],
        "capacity_ms": capacity["accepted_ms"],
        **found,
        "memory_mb": memory.figures(),
        "as_quick_as_before_after_seconds": round(after, 2),
        "accepted_and_missing": missing(where, ids),
    }


async def overload_kafka(where: Running, folder: Path, seconds: float) -> dict[str, Any]:
    """Capacity over Kafka, then three times that, with a patient caller over HTTP beside it."""
    ids = folder / "kafka"
    before = kept(where)
    began = time.perf_counter()
    await asyncio.to_thread(load, where, ids, "kafka", "--rate", "100000", "--seconds", str(BURST / 100_000))
    while kept(where) < before + BURST:
        await asyncio.sleep(0.05)
    capacity = BURST / (time.perf_counter() - began)
    probe = Probe(where)
    before = kept(where)
    with Memory(where) as memory:
        work = asyncio.ensure_future(
            asyncio.to_thread(load, where, ids, "kafka", "--rate", str(capacity * TIMES), "--seconds", str(seconds))
        )
        await probe.beside(work)
        found = work.result()
        backlog = found["confirmed"] + len(probe.took) - (kept(where) - before)
        ended = time.perf_counter()
        while missing(where, ids):
            await asyncio.sleep(1.0)
            if time.perf_counter() - ended > 20 * seconds + 60:
                break
        drained = time.perf_counter() - ended
    return {
        "capacity_per_second": round(capacity, 1),
        **found,
        "backlog_at_the_end": backlog,
        "worked_off_after_seconds": round(drained, 1),
        "worked_off_per_second": round(backlog / drained, 1) if drained else None,
        "http_beside_it_ms": in_ms(probe.took),
        "http_beside_it_turned_away": probe.away,
        "memory_mb": memory.figures(),
        "accepted_and_missing": missing(where, ids),
    }


def run(*, seconds: float = SECONDS) -> Report:
    """Both loads, one after the other, on one service."""
    with whole_service(MFO_FLOW_TYPES="bench.noop") as where, tempfile.TemporaryDirectory() as folder:
        http = asyncio.run(overload_http(where, Path(folder), seconds))
        kafka = asyncio.run(overload_kafka(where, Path(folder), seconds))
        versions = asyncio.run(versions_of(where))
    figures = []
    for over, found in (("HTTP", http), ("Kafka", kafka)):
        figures += [
            figure(
                f"capacity over {over}",
                "commands/s",
                found["capacity_per_second"],
                share_of="commands in groups of 256",
            ),
            figure(f"accepted over {over} and missing", "flows", found["accepted_and_missing"], at_most=0),
            *(
                figure(f"{name} under {over}, {when}", "MB", mb[when], at_most=MOST_MB if when == "most" else None)
                for name, mb in found["memory_mb"].items()
                for when in ("first", "most")
            ),
        ]
    figures += [
        figure("HTTP as quick as before, after", "s", http["as_quick_as_before_after_seconds"]),
        figure("Kafka's backlog worked off", "commands/s", kafka["worked_off_per_second"] or 0.0),
        figure("HTTP beside Kafka, p99", "ms", kafka["http_beside_it_ms"].get("p99", 0.0)),
    ]
    return Report(
        f"CreateFlow at {TIMES:g} times the capacity for {seconds:g} s",
        figures,
        versions=versions,
        runs=[{"over": "http", **http}, {"over": "kafka", **kafka}],
    )
