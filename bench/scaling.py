"""More consumers on this machine, measured; and more stores than fit on it, simulated with the times measured here.

1, 2 and 4 consumers processes share out what two cores can do. The simulation gives each store a PostgreSQL, consumers, a relay and
projections of its own, all of them on one Kafka of three brokers that keep every record three times. Its unit is a group of 64
commands; its times are processor times measured by this run, the relay's by the bench `relay`, a commit's by `limits`. It has no
network and no disk but the commit: it says which part is the limit first, not what a data centre will reach.
"""

from __future__ import annotations

import asyncio
import math
import random
import statistics
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

from bench.flows import COMMANDS, Load, versions_of
from bench.processor import Parts, spent
from bench.report import Figure, Report, figure, known_limits, newest
from bench.spread import quantile
from bench.stack import whole_service
from bench.start import further, until_ready
from mfo.embedded.processes import free_port

PROCESSES = (1, 2, 4)
GROUP = 64
COPIES = 3
EVENTS = 14
GOAL = 100_000
# of what is needed when nothing waits
SPARE = 1.3
LOADS = (0.5, 0.7, 0.8, 0.9, 1.0, 1.1)
# over its limit a queue grows for as long as the simulation lasts
BENT_TIMES = 2.0


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds for one command: of a consumers process, of projections, of PostgreSQL and of one broker; of its part of a group's
    commit, which is alone in its store; of the relay, one to a store."""

    consumers: float
    projections: float
    postgresql: float
    kafka: float
    commit: float
    relay: float


@dataclass(frozen=True, slots=True)
class Cluster:
    """What there is: brokers with their cores, and for each store the cores of its PostgreSQL and the processes beside it."""

    stores: int
    brokers: int = 3
    broker_cores: int = 16
    postgresql_cores: int = 8
    consumers: int = 4
    projections: int = 4

    @property
    def cores(self) -> int:
        """All of them, the relay's in its consumers."""
        return self.brokers * self.broker_cores + self.stores * (
            self.postgresql_cores + self.consumers + self.projections
        )

    def bounds(self, times: Times) -> dict[str, float]:
        """Commands a second that each part can do with nothing to wait for."""
        return {
            "kafka": self.brokers * self.broker_cores / COPIES / times.kafka,
            "consumers": self.stores * self.consumers / times.consumers,
            "commit": self.stores / times.commit,
            "relay": self.stores / times.relay,
            "postgresql": self.stores * self.postgresql_cores / times.postgresql,
            "projections": self.stores * self.projections / times.projections,
        }


def simulate(times: Times, cluster: Cluster, commands: float, seconds: float, seed: int = 8) -> dict[str, Any]:
    """Groups that come at random at so many commands a second: seconds through the house by quantile, and how many got through."""
    import simpy

    world, chance = simpy.Environment(), random.Random(seed)
    brokers = [simpy.Resource(world, cluster.broker_cores) for _ in range(cluster.brokers)]
    sizes = {
        "consumers": cluster.consumers,
        "commit": 1,
        "relay": 1,
        "postgresql": cluster.postgresql_cores,
        "projections": cluster.projections,
    }
    stores = [{name: simpy.Resource(world, size) for name, size in sizes.items()} for _ in range(cluster.stores)]
    took: list[float] = []
    begun = 0

    def work(part: Any, time: float) -> Generator[Any, Any, None]:
        with part.request() as turn:
            yield turn
            yield world.timeout(time * GROUP)

    def kept(time: float) -> Any:
        # acks=all: each of them has it
        return world.all_of([world.process(work(broker, time)) for broker in chance.sample(brokers, COPIES)])

    def group() -> Generator[Any, Any, None]:
        store, came = chance.choice(stores), world.now
        # commands in, then events out; the broker's time is for both
        yield kept(times.kafka / 2)
        yield from work(store["consumers"], times.consumers)
        yield from work(store["commit"], times.commit)
        yield from work(store["relay"], times.relay)
        yield kept(times.kafka / 2)
        yield from work(store["projections"], times.projections)
        yield from work(store["postgresql"], times.postgresql)
        took.append(world.now - came)

    def arrivals() -> Generator[Any, Any, None]:
        nonlocal begun
        while world.now < seconds:
            yield world.timeout(chance.expovariate(commands / GROUP))
            begun += 1
            world.process(group())

    world.process(arrivals())
    world.run(until=seconds)
    return {
        "p50_ms": round(quantile(took, 0.5) * 1000, 2) if took else None,
        "p99_ms": round(quantile(took, 0.99) * 1000, 2) if took else None,
        "through": round(len(took) / max(1, begun), 4),
    }


def bend(times: Times, cluster: Cluster, seconds: float) -> dict[str, Any]:
    """The flows a second up to which the p99 stays near that at half load, and the part that is the limit."""
    bounds = cluster.bounds(times)
    limit = min(bounds, key=lambda name: bounds[name])
    steps = []
    for load in LOADS:
        commands = bounds[limit] * load
        steps.append(
            {"load": load, "flows_per_second": commands / COMMANDS, **simulate(times, cluster, commands, seconds)}
        )
    usual = steps[0]["p99_ms"]
    good = [step for step in steps if usual and step["p99_ms"] and step["p99_ms"] <= BENT_TIMES * usual]
    rate = max((step["flows_per_second"] for step in good), default=0.0)
    return {
        "stores": cluster.stores,
        "brokers": cluster.brokers,
        "cores": cluster.cores,
        "limit": limit,
        "flows_per_second": round(rate, 1),
        "core_hours_per_million_flows": round(cluster.cores * 1e6 / rate / 3600, 2) if rate else None,
        "steps": steps,
    }


def times_from(spent_per_flow: dict[str, float], commands_a_second: float, relay_ms: float) -> Times:
    """Times of a command, from processor ms a flow by part, commands/s in groups by a bare store, and the relay's processor ms
    for 1,000 events."""
    a_command = {name: ms / 1000 / COMMANDS for name, ms in spent_per_flow.items()}
    return Times(
        consumers=a_command["consumers"],
        projections=a_command["projections"],
        postgresql=a_command["PostgreSQL"],
        kafka=a_command["Kafka"],
        commit=1 / commands_a_second,
        relay=EVENTS / COMMANDS * relay_ms / 1e6,
    )


async def _many(dev: Any, flows: int, in_flight: int) -> dict[str, Any]:
    parts = Parts(dev.pid)
    async with Load(dev, save_checkpoints=False) as load:
        await load.many(min(300, flows), in_flight)
        before = parts.take()
        rate, _ = await load.many(flows, in_flight)
        return {"flows_per_second": rate, "processor": spent(before, parts.take(), flows, "flow")}


def _measured(processes: int, flows: int, in_flight: int) -> tuple[dict[str, Any], dict[str, Any]]:
    with whole_service(MFO_FLOW_TYPES="bench.noop") as where:
        more = []
        try:
            for _ in range(processes - 1):
                port = free_port()
                more.append(further(where, "consumers", port))
                until_ready(more[-1], port)
            return asyncio.run(_many(where, flows, in_flight)), asyncio.run(versions_of(where))
        finally:
            for process in more:
                process.terminate()
            for process in more:
                process.wait(30)


def run(*, flows: int = 2000, in_flight: int = 256, repeats: int = 2, simulated_seconds: float = 5.0) -> Report:
    """The processes in turn, again and again; then the simulation, with more and more stores."""
    found: dict[int, list[dict[str, Any]]] = {}
    for _ in range(repeats):
        for processes in PROCESSES:
            each, versions = _measured(processes, flows, in_flight)
            found.setdefault(processes, []).append(each)
    figures = [
        figure(
            f"{processes} consumers process{'es' if processes > 1 else ''}",
            "flows/s",
            [each["flows_per_second"] for each in turns],
            share_of="commands in groups of 64",
            units=COMMANDS,
        )
        for processes, turns in found.items()
    ]
    told = newest("relay")
    commits = known_limits().get("commands in groups of 64")
    simulated: list[dict[str, Any]] = []
    notes = []
    if told and commits:
        parts = found[1][0]["processor"]["ms"]
        spent_ms = {
            name: statistics.median(each["processor"]["ms"].get(name, 0.0) for each in found[1])
            for name in ("consumers", "projections", "PostgreSQL", "Kafka")
            if name in parts
        }
        times = times_from(spent_ms, commits, told["processor"]["telling"]["ms"]["relay"])
        simulated = list(_grown(times, simulated_seconds))
        figures += _of_simulation(simulated)
    else:
        notes.append("not simulated: run `python -m bench limits` and `python -m bench relay` before")
    return Report(
        "consumers processes on one machine, and stores in a simulation",
        figures,
        processor={f"{processes} processes": turns[-1]["processor"] for processes, turns in found.items()},
        versions=versions,
        runs=[{"measured": {str(key): turns for key, turns in found.items()}, "simulated": simulated}],
        notes=notes,
    )


def _grown(times: Times, seconds: float) -> Iterator[dict[str, Any]]:
    """Twice as many stores each time, until the goal is reached or more stores do not help."""
    stores, last = 1, 0.0
    while True:
        found = bend(times, Cluster(stores), seconds)
        yield found
        rate = found["flows_per_second"]
        if rate >= GOAL or rate <= last * 1.05 or stores >= 1024:
            break
        stores, last = stores * 2, rate
    # and with as many brokers as that takes
    brokers = math.ceil(GOAL * COMMANDS * times.kafka * COPIES / Cluster(1).broker_cores * SPARE)
    while rate < GOAL and stores <= 1024:
        found = bend(times, Cluster(stores, brokers=brokers), seconds)
        yield found
        rate, stores = found["flows_per_second"], stores * 2


def _of_simulation(simulated: list[dict[str, Any]]) -> list[Figure]:
    figures = []
    for found in simulated:
        title = f"simulated, {found['stores']} stores and {found['brokers']} brokers"
        figures.append(figure(f"{title}, until {found['limit']} bends", "flows/s", found["flows_per_second"]))
        if found["core_hours_per_million_flows"]:
            figures.append(figure(f"{title}, cost", "core h/M flows", found["core_hours_per_million_flows"]))
    return figures
