"""This service and its peers side by side: flows of six durable no-op steps, 64 in flight and one alone, taking turns in one run.

Every engine has its turn once a round, on a fresh database, PostgreSQL with the settings of the embedded one; each step keeps 230
bytes, and all are asked by the same loop: so many callers, each of whom begins a flow when the last one has ended. Each gets its
documented fast path: DBOS as coroutines in the caller's process, on threads, and in two processes on one database; Restate with one
worker under hypercorn, asked over its ingress by aiohttp; Zeebe with one worker to which jobs are streamed, Temporal on PostgreSQL
with one worker, by activities and by local ones, both asked over their SDK by a process of its own. Ours counts from the command on
Kafka to `completed` in the read model, and for one alone over HTTP, by the one call that answers when the flow has ended.
A peer that cannot be had here is named with the reason. Their packages are fetched, or compiled, once and kept in
~/.cache/mfo/bench-peers.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from bench.peers.engines import dbos, ours, restate, zeebe
from bench.peers.packages import PeerMissing
from bench.peers.running import Engine
from bench.peers.temporal import temporal
from bench.processor import spent
from bench.report import Figure, Report, figure, named
from bench.spread import quantile

OURS = "mfo"
ENGINES: dict[str, Callable[[], AbstractContextManager[Engine]]] = {
    OURS: ours,
    "restate": restate,
    "dbos": dbos,
    "dbos_pool_64": partial(dbos, pool=64),
    "dbos_threads": partial(dbos, "threads"),
    "dbos_x2": partial(dbos, processes=2),
    "zeebe": zeebe,
    "temporal": temporal,
    "temporal_local": partial(temporal, "local"),
}
# the best of a peer's variants counts as the peer
VARIANTS = {
    "restate": ("restate",),
    "dbos": ("dbos", "dbos_pool_64", "dbos_threads"),
    "dbos_x2": ("dbos_x2",),
    "zeebe": ("zeebe",),
    "temporal": ("temporal",),
    "temporal_local": ("temporal_local",),
}
# after a peer's name: the ratio of one flow alone
ALONE = " alone"
AT_LEAST_TIMES = {"restate": 4.0, "zeebe": 11.0, "dbos": 15.0, "temporal": 25.0}


def run(
    *,
    flows: int = 300,
    seconds: float = 5.0,
    in_flight: int = 64,
    alone: int = 100,
    warm_seconds: float = 10.0,
    repeats: int = 3,
    only: tuple[str, ...] = (),
) -> Report:
    """Rounds in which every engine has its turn; `only` names engines beside ours.

    Flows that count are so many at least, and as many as the engine does in so many seconds. Raises WrongUse where an
    engine is not known.
    """
    named("engine", only, ENGINES)
    runs: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    for _ in range(repeats):
        for name, engine in ENGINES.items():
            if name in missing or (only and name not in (OURS, *only)):
                continue
            try:
                with engine() as up:
                    most = max(flows, round(_warmed(up, in_flight, warm_seconds) * seconds))
                    runs.append({"engine": name, **_turn(up, most, in_flight, alone), "versions": up.versions})
            except PeerMissing as reason:
                missing[name] = str(reason)
    rates = {name: [each["flows_per_second"] for each in runs if each["engine"] == name] for name in ENGINES}
    alones = {name: [each["alone_p50_ms"] for each in runs if each["engine"] == name] for name in ENGINES}
    ratios = _ratios(rates, alones)
    return Report(
        f"flows of 6 durable no-op steps: {in_flight} in flight, and one alone; engines take turns",
        _figures(runs, in_flight, ratios, alones),
        processor={
            name: next(each["processor"] for each in reversed(runs) if each["engine"] == name) for name in _there(rates)
        },
        versions={key: said for each in runs for key, said in each["versions"].items() if said != "as ours"},
        runs=runs,
        ratios=ratios,
        notes=[f"{name} could not be had: {reason}" for name, reason in missing.items()],
    )


def _ratios(rates: dict[str, list[float]], alones: dict[str, list[float]]) -> dict[str, float]:
    """How many times as many flows a second as each peer's best variant, and how many times as quick one alone is."""
    found = {}
    for peer, names in VARIANTS.items():
        if there := [name for name in names if rates[name]]:
            most = max(statistics.median(rates[name]) for name in there)
            least = min(statistics.median(alones[name]) for name in there)
            found[peer] = round(statistics.median(rates[OURS]) / most, 2)
            found[f"{peer}{ALONE}"] = round(least / statistics.median(alones[OURS]), 2)
    return found


def _there(rates: dict[str, list[float]]) -> list[str]:
    return [name for name, found in rates.items() if found]


def _warmed(up: Engine, in_flight: int, seconds: float) -> float:
    """Flows a second after so many seconds: compilers that work at run time, Kafka's among them, are given their time."""
    until = time.perf_counter() + seconds
    while True:
        rate, _ = up.many(in_flight * 2, in_flight)
        if time.perf_counter() >= until:
            return rate


def _turn(up: Engine, flows: int, in_flight: int, alone: int) -> dict[str, Any]:
    before = up.parts.take()
    rate, took = up.many(flows, in_flight)
    processor = spent(before, up.parts.take(), flows, "flow")
    memory = {part: round(mb) for part, mb in up.parts.memory_mb().items()}
    single = [seconds * 1000 for seconds in up.alone(alone)]
    return {
        "flows": flows,
        "flows_per_second": round(rate, 1),
        "in_flight_p50_ms": round(statistics.median(took) * 1000, 1),
        "alone_p50_ms": round(statistics.median(single), 2),
        "alone_p99_ms": round(quantile(single, 0.99), 2),
        "processor": processor,
        "memory_mb": memory,
    }


def _figures(
    runs: list[dict[str, Any]], in_flight: int, ratios: dict[str, float], alones: dict[str, list[float]]
) -> list[Figure]:
    figures = []
    for name in _there(alones):
        found = [each for each in runs if each["engine"] == name]
        figures += [
            figure(f"{name}, {in_flight} in flight", "flows/s", [each["flows_per_second"] for each in found]),
            figure(f"{name}, one alone, p50", "ms", alones[name]),
            figure(f"{name}, one alone, p99", "ms", [each["alone_p99_ms"] for each in found]),
            figure(f"{name}, processor", "ms/flow", [each["processor"]["total_ms"] for each in found]),
        ]
    figures += [
        figure(f"as many as {peer}, times", "times", ratios[peer], at_least=AT_LEAST_TIMES.get(peer))
        for peer in VARIANTS
        if peer in ratios
    ]
    costs = {
        name: statistics.median(each["processor"]["total_ms"] for each in runs if each["engine"] == name)
        for name in _there(alones)
    }
    figures += [
        figure(f"as many as {peer} for the same processor time, times", "times", min(there) / costs[OURS])
        for peer, names in VARIANTS.items()
        if (there := [costs[name] for name in names if name in costs]) and OURS in costs
    ]
    best = min((statistics.median(found) for name, found in alones.items() if found and name != OURS), default=None)
    if best is not None and alones[OURS]:
        figures.append(
            figure("one alone, of the best peer's p50", "times", statistics.median(alones[OURS]) / best, at_most=1.0)
        )
    return figures
