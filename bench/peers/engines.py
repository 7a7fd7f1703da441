"""This service and its peers as engines that run flows of six durable no-op steps, each on a fresh database for as long as a block
lasts."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import psutil

from bench.flows import Load, versions_of
from bench.http import created_and_known
from bench.processor import Parts
from bench.stack import whole_service
from mfo.embedded import Postgres
from mfo.embedded.processes import end_processes, free_port, tail, wait_until

HERE = Path(__file__).parent
RESTATE = "@restatedev/restate-server@1.7.12"
START_SECONDS = 60.0
GENTLY = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))

# flows a second, and each flow's seconds
Done = tuple[float, list[float]]


class PeerMissing(Exception):
    """A peer cannot be had on this machine."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that is up: `many(flows, in_flight)` runs flows to their end; `alone` answers one caller's seconds."""

    many: Callable[[int, int], Done]
    alone: Callable[[int], list[float]]
    parts: Parts
    versions: dict[str, Any]


def folder() -> Path:
    """Where the peers' packages are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mfo" / "bench-peers"


def python() -> Path:
    """The interpreter of the peers' environment, made on first use; raises PeerMissing."""
    wanted, home = (HERE / "requirements.txt").read_text(), folder() / "venv"
    note = home / "requirements.txt"
    if not note.exists() or note.read_text() != wanted:
        _said(sys.executable, "-m", "venv", "--clear", str(home))
        _said(str(home / "bin" / "pip"), "install", "--quiet", "-r", str(HERE / "requirements.txt"))
        note.write_text(wanted)
    return home / "bin" / "python"


def restate_server() -> Path:
    """The server's own binary, fetched on first use: the package's command would be a wrapper around it; raises PeerMissing."""
    home = folder() / "node"
    pattern = "node_modules/@restatedev/restate-server-*/bin/restate-server"
    note = home / "wanted"
    if not note.exists() or note.read_text() != RESTATE:
        home.mkdir(parents=True, exist_ok=True)
        _said("npm", "install", "--silent", "--ignore-scripts", "--prefix", str(home), RESTATE)
        note.write_text(RESTATE)
    found = next(home.glob(pattern), None)
    if found is None:
        raise PeerMissing(f"{RESTATE} has no binary for this machine")
    return found


def _said(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerMissing(f"{command[0]}: {error}") from error
    if done.returncode:
        raise PeerMissing(f"{' '.join(command[:2])} ended with {done.returncode}: {done.stderr.strip()[-300:]}")


@contextmanager
def ours() -> Iterator[Engine]:
    """This service: from the command on Kafka to `completed` in the read model; alone, over HTTP."""
    with whole_service(MFO_FLOW_TYPES="bench.noop") as where:

        def many(flows: int, in_flight: int) -> Done:
            async def hold() -> Done:
                async with Load(where, save_checkpoints=False) as load:
                    return await load.many(flows, in_flight)

            return asyncio.run(hold())

        yield Engine(
            many,
            lambda flows: asyncio.run(created_and_known(where, flows)),
            Parts(where.pid),
            asyncio.run(versions_of(where)),
        )


@contextmanager
def dbos(kind: str = "coroutines", processes: int = 1, pool: int = 20) -> Iterator[Engine]:
    """DBOS in the process of its caller; with more processes, each takes its part of the flows."""
    interpreter = python()
    with ExitStack() as stack:
        home = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="mfo-bench-dbos-", ignore_cleanup_errors=True))
        )
        server = Postgres(home)
        url = server.start()
        stack.callback(server.stop)
        drivers = []
        for n in range(processes):
            with (home / f"driver-{n}.log").open("wb") as log:
                driver = subprocess.Popen(
                    [interpreter, HERE / "dbos_driver.py", url, kind, f"bench-{n}", str(pool)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
            stack.callback(_end, driver)
            # one after the other: the first one makes the tables
            _answer(driver, home / f"driver-{n}.log")
            drivers.append(driver)

        def many(flows: int, in_flight: int) -> Done:
            share, places = max(1, flows // processes), max(1, in_flight // processes)
            began = time.perf_counter()
            for driver in drivers:
                assert driver.stdin is not None
                driver.stdin.write(json.dumps({"flows": share, "in_flight": places}) + "\n")
                driver.stdin.flush()
            answers = [_answer(driver, home / "driver-0.log") for driver in drivers]
            took = [seconds for answer in answers for seconds in answer["took"]]
            return share * processes / (time.perf_counter() - began), took

        parts = Parts(
            others={f"worker {n}": driver.pid for n, driver in enumerate(drivers)} | {"PostgreSQL": _child(home)}
        )
        yield Engine(many, lambda flows: _one_by_one(many, flows), parts, {"dbos": "3.4.0", "postgresql": "as ours"})


@contextmanager
def restate() -> Iterator[Engine]:
    """Restate's server with one worker process; flows are asked for over its ingress, and answer when they are done."""
    binary, interpreter = restate_server(), python()
    with ExitStack() as stack:
        home = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="mfo-bench-restate-", ignore_cleanup_errors=True))
        )
        ports = dict(zip(("node", "admin", "ingress", "worker"), _ports(4), strict=True))
        at = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        server = _started(
            [str(binary), "--base-dir", str(home / "data")],
            home / "server.log",
            environment={
                "RESTATE_LISTEN_MODE": "tcp",
                "RESTATE_BIND_ADDRESS": at["node"],
                "RESTATE_ADMIN__BIND_ADDRESS": at["admin"],
                "RESTATE_INGRESS__BIND_ADDRESS": at["ingress"],
                "RESTATE_DISABLE_TELEMETRY": "true",
            },
        )
        stack.callback(end_processes, [psutil.Process(server.pid)], GENTLY)
        worker = _started(
            [str(interpreter), "-m", "hypercorn", "--bind", at["worker"], "restate_worker:app"],
            home / "worker.log",
        )
        stack.callback(end_processes, [psutil.Process(worker.pid)], GENTLY)
        if not wait_until(lambda: _registered(at["admin"], at["worker"]), START_SECONDS, every=0.2):
            raise RuntimeError(f"Restate was not ready: {tail(home / 'server.log')} {tail(home / 'worker.log')}")
        url = f"http://{at['ingress']}/bench/flow"

        def many(flows: int, in_flight: int) -> Done:
            return asyncio.run(_asked(url, flows, in_flight))

        parts = Parts(others={"server": server.pid, "worker": worker.pid})
        versions = {"restate-server": RESTATE.rpartition("@")[2], "restate-sdk": "1.3.0", "hypercorn": "0.18.0"}
        yield Engine(many, lambda flows: _one_by_one(many, flows), parts, versions)


def _registered(admin: str, worker: str) -> bool:
    try:
        answer = httpx.post(
            f"http://{admin}/deployments", json={"uri": f"http://{worker}"}, timeout=10, trust_env=False
        )
    except httpx.HTTPError:
        return False
    return answer.is_success


async def _asked(url: str, flows: int, in_flight: int) -> Done:
    left, took = iter(range(flows)), list[float]()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one() -> float:
            began = time.perf_counter()
            async with session.post(url, json={}) as answer:
                answer.raise_for_status()
                await answer.read()
            return time.perf_counter() - began

        async def worker() -> None:
            took.extend([await one() for _ in left])

        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(in_flight)))
        return flows / (time.perf_counter() - began), took


def _one_by_one(many: Callable[[int, int], Done], flows: int) -> list[float]:
    return many(flows, 1)[1]


def _ports(count: int) -> list[int]:
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return list(found)


def _started(command: list[str], log: Path, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | (environment or {}),
            cwd=HERE,
            start_new_session=True,
        )


def _child(home: Path) -> int:
    """The PostgreSQL that was just started in this folder."""
    for child in psutil.Process().children():
        if any(str(home) in word for word in child.cmdline()):
            return child.pid
    raise RuntimeError("PostgreSQL ended as soon as it was up")


def _answer(driver: subprocess.Popen[str], log: Path) -> dict[str, Any]:
    assert driver.stdout is not None
    while line := driver.stdout.readline():
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(line)
            return found
    raise RuntimeError(f"DBOS ended: {tail(log)}")


def _end(driver: subprocess.Popen[str]) -> None:
    driver.terminate()
    driver.wait(20)
