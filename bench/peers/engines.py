"""This service and its peers as engines that run flows of six durable no-op steps, each on a fresh database for as long as a block
lasts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import httpx

from bench.flows import Load, versions_of
from bench.http import created_and_known
from bench.peers.packages import (
    RESTATE,
    ZEEBE,
    PeerMissing,
    java_home,
    pinned,
    python,
    restate_server,
    zeebe_home,
)
from bench.peers.running import START_SECONDS, Done, Driver, Engine, ports, postgres, scratch, started
from bench.processor import Parts
from bench.stack import whole_service
from mfo.embedded.processes import answers, tail, wait_until

FLOW_TYPE = "noop_with_output"


@contextmanager
def ours() -> Iterator[Engine]:
    """This service: from the command on Kafka to `completed` in the read model; alone, over HTTP."""
    with whole_service(MFO_FLOW_TYPES="bench.noop") as where:

        def many(flows: int, in_flight: int) -> Done:
            async def hold() -> Done:
                async with Load(where, save_checkpoints=False, flow_type=FLOW_TYPE) as load:
                    return await load.many(flows, in_flight)

            return asyncio.run(hold())

        yield Engine(
            many,
            lambda flows: asyncio.run(created_and_known(where, flows, FLOW_TYPE)),
            Parts(where.pid),
            asyncio.run(versions_of(where)),
        )


@contextmanager
def dbos(kind: str = "coroutines", processes: int = 1, pool: int = 20) -> Iterator[Engine]:
    """DBOS in the process of its caller; with more processes, each takes its part of the flows."""
    interpreter = str(python())
    with scratch("dbos") as (stack, home):
        server, server_pid = postgres(stack, home)
        # one after the other: the first one makes the tables
        drivers = [
            Driver(
                stack,
                [interpreter, "dbos_driver.py", server.dsn(), kind, f"bench-{n}", str(pool)],
                home / f"driver-{n}.log",
            )
            for n in range(processes)
        ]

        def many(flows: int, in_flight: int) -> Done:
            share, places = max(1, flows // processes), max(1, in_flight // processes)
            began = time.perf_counter()
            for driver in drivers:
                driver.order(share, places)
            took = [seconds for driver in drivers for seconds in driver.answer()["took"]]
            return share * processes / (time.perf_counter() - began), took

        parts = Parts(
            others={f"worker {n}": driver.pid for n, driver in enumerate(drivers)} | {"PostgreSQL": server_pid}
        )
        yield Engine(many, drivers[0].alone, parts, {"dbos": pinned("dbos"), "postgresql": "as ours"})


@contextmanager
def restate() -> Iterator[Engine]:
    """Restate's server with one worker process; flows are asked for over its ingress, and answer when they are done."""
    binary, interpreter = restate_server(), python()
    with scratch("restate") as (stack, home):
        at = {name: f"127.0.0.1:{port}" for name, port in ports("node", "admin", "ingress", "worker").items()}
        server = started(
            stack,
            [str(binary), "--base-dir", str(home / "data")],
            home / "server.log",
            {
                "RESTATE_LISTEN_MODE": "tcp",
                "RESTATE_BIND_ADDRESS": at["node"],
                "RESTATE_ADMIN__BIND_ADDRESS": at["admin"],
                "RESTATE_INGRESS__BIND_ADDRESS": at["ingress"],
                "RESTATE_DISABLE_TELEMETRY": "true",
            },
        )
        worker = started(
            stack,
            [str(interpreter), "-m", "hypercorn", "--bind", at["worker"], "restate_worker:app"],
            home / "worker.log",
        )
        if not wait_until(lambda: _registered(at["admin"], at["worker"]), START_SECONDS, every=0.2):
            raise PeerMissing(f"Restate was not ready: {tail(home / 'server.log')} {tail(home / 'worker.log')}")
        url = f"http://{at['ingress']}/bench/flow"

        def many(flows: int, in_flight: int) -> Done:
            return asyncio.run(_asked(url, flows, in_flight))

        parts = Parts(others={"server": server.pid, "worker": worker.pid})
        versions = {"restate-server": RESTATE.rpartition("@")[2]}
        versions |= {name: pinned(name) for name in ("restate-sdk", "hypercorn")}
        yield Engine(many, lambda flows: many(flows, 1)[1], parts, versions)


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


@contextmanager
def zeebe() -> Iterator[Engine]:
    """Zeebe's broker with its gateway, one partition, no exporter, its own settings; one worker to which jobs are streamed."""
    distribution, java, interpreter = zeebe_home(), java_home(), str(python())
    with scratch("zeebe") as (stack, home):
        at = ports("command", "internal", "gateway", "management")
        server = started(
            stack,
            # it becomes the Java process
            [str(distribution / "bin" / "broker")],
            home / "server.log",
            {
                "JAVA_HOME": str(java),
                "ZEEBE_BROKER_NETWORK_HOST": "127.0.0.1",
                "ZEEBE_BROKER_NETWORK_COMMANDAPI_PORT": str(at["command"]),
                "ZEEBE_BROKER_NETWORK_INTERNALAPI_PORT": str(at["internal"]),
                "ZEEBE_BROKER_GATEWAY_NETWORK_HOST": "127.0.0.1",
                "ZEEBE_BROKER_GATEWAY_NETWORK_PORT": str(at["gateway"]),
                "SERVER_PORT": str(at["management"]),
                "SERVER_ADDRESS": "127.0.0.1",
                "ZEEBE_BROKER_DATA_DIRECTORY": str(home / "data"),
                # how many are in flight is the caller's choice; a broker that has just started would turn them away
                "ZEEBE_BROKER_BACKPRESSURE_ENABLED": "false",
                "ZEEBE_LOG_LEVEL": "warn",
                "ATOMIX_LOG_LEVEL": "warn",
            },
        )
        if not wait_until(lambda: answers(at["gateway"]), START_SECONDS, every=0.2):
            raise PeerMissing(f"Zeebe was not ready: {tail(home / 'server.log')}")
        address = f"127.0.0.1:{at['gateway']}"
        command = [interpreter, "zeebe_driver.py"]
        worker = started(stack, [*command, "worker", address], home / "worker.log")
        caller = Driver(stack, [*command, "caller", address], home / "caller.log", home / "server.log")
        parts = Parts(others={"server": server.pid, "worker": worker.pid, "caller": caller.pid})
        versions = {"zeebe": ZEEBE.rpartition(":")[2], "pyzeebe": pinned("pyzeebe")}
        yield Engine(caller.many, caller.alone, parts, versions)
