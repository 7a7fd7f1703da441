"""What a command, a claim, a timer, a list and a status cost with 1,000, 100,000 and 1,000,000 flows in the store.

Cost is processor time, ours and PostgreSQL's, so that it does not depend on who else uses the machine; latency stands beside it.
Commands are creations, and deletions of old flows drawn at random, decided by a committer in this process over real histories.
Claims take from as many queued runs, timers lie before as many that wait, lists and statuses are asked over HTTP of as many rows
in the read model. At last one flow is given a long history, and the cost of a command on it compared with a short one's.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

import psycopg

from bench import analytics, queue
from bench.flows import versions_of
from bench.history import ask, create, load
from bench.http import answered, at_most, at_rate, calls, session
from bench.processor import LOAD, Parts, spent
from bench.report import Figure, Report, figure, named
from bench.spread import in_ms, quantile
from bench.stack import whole_service
from bench.store import OwnStore, own_store
from domain.commands import Command, DeleteFlow, PauseFlow, ResumeFlow
from eventstore.database import pool
from eventstore.garbage import collecting_seldom
from eventstore.service import WriteSide, write_side
from eventstore.timers import drop, due
from mfo.running import Running

AT_WORK = "select count(*) from pg_stat_activity where backend_type = 'autovacuum worker'"
PARTS = ("commands", "claims", "timers", "reads", "history")
SIZES = ("1000", "100000", "1000000")
COMMANDS = 4000
IN_FLIGHT = 64
LEAST_QUEUED = 5000
REAL_FLOWS = 500
TIMERS = 500
MOST_TIMES = 1.2
MOST_P99_MS = 10.0
SEED = 8

WAITING = """
insert into timers select gen_random_uuid(), 'start', 1, gen_random_uuid(), gen_random_uuid(),
                          mfo_now() + interval '6 h' + n * interval '1 s' from generate_series(1, %s) n
"""
IS_DUE = """
insert into timers select gen_random_uuid(), 'start', 1, gen_random_uuid(), gen_random_uuid(), mfo_now() - interval '1 s'
from generate_series(1, %s)
"""
HEADS = """
insert into heads (id, version, hash, client_account_id, engagement_id)
select flow_id, version, sha256(flow_id::text::bytea), client_account_id, engagement_id from flow_state_extensions_v1
on conflict do nothing
"""

# processor ms of one, and what is kept beside it
Cost = dict[str, Any]


async def commands(store: OwnStore, size: int, count: int) -> dict[str, Cost]:
    """The cost of creating flows, and of deleting old ones."""
    chance, parts = random.Random(SEED), Parts(others=store.pids)
    old = [uuid5(NAMESPACE_OID, f"flow {n}") for n in chance.sample(range(1, size), min(count, size - 1) // 4)]
    kinds: dict[str, list[Command]] = {
        "create": [create(f"new {size} {n}") for n in range(count)],
        "command on an old flow": [DeleteFlow(flow_id=flow_id) for flow_id in old],
    }
    found = {}
    await _settled(store.config.database_url)
    # as a service does
    gc.collect()
    gc.freeze()
    async with write_side(store.config) as side:
        warm = iter(enumerate([create(f"warm {size} {n}") for n in range(1000)]))
        await asyncio.gather(*(_one_by_one(side, warm, f"warm {size}", []) for _ in range(IN_FLIGHT)))
        for name, wanted in kinds.items():
            took: list[float] = []
            left = iter(enumerate(wanted))
            before = parts.take()
            await asyncio.gather(*(_one_by_one(side, left, f"{name} {size}", took) for _ in range(IN_FLIGHT)))
            processor = spent(before, parts.take(), len(wanted), "command")
            found[name] = {"cost_ms": cost_of(processor), "ms": in_ms(took), "processor": processor}
    return found


def cost_of(processor: dict[str, Any]) -> float:
    """What the deciding or answering process and PostgreSQL spent; who asked over HTTP, and Kafka at rest, are left out."""
    answering = "api" if "api" in processor["ms"] else LOAD
    return float(processor["ms"].get(answering, 0.0) + processor["ms"].get("PostgreSQL", 0.0))


async def _one_by_one(side: WriteSide, left: Any, name: str, took: list[float]) -> None:
    for n, command in left:
        began = time.perf_counter()
        answer = await ask(side, command, f"{name} {n}")
        if answer.error is not None:
            raise RuntimeError(f"{name} {n}: {answer.error}")
        took.append(time.perf_counter() - began)


async def timers(url: str, size: int) -> Cost:
    """The cost of finding and dropping due timers before so many that wait, for each of them."""
    connections = pool(url, size=1)
    await connections.open(wait=True)
    try:
        async with connections.connection() as connection:
            watched = queue.Bench(connections, connection.info.backend_pid)
        await watched.execute("truncate timers")
        await watched.execute(WAITING, size)
        await watched.execute("vacuum analyze timers")

        async def fire() -> None:
            async with connections.connection() as connection:
                await drop(connection, (await due(connection, TIMERS)).timers)

        total = {"p50_ms": 0.0, "processor_p50_ms": 0.0}
        rounds = 10
        for _ in range(rounds):
            await watched.execute(IS_DUE, TIMERS)
            once = await watched.measure(fire, 1)
            total = {name: total[name] + once[name] for name in total}
        return {
            "cost_ms": total["processor_p50_ms"] / rounds / TIMERS,
            "ms": {"p50": round(total["p50_ms"] / rounds / TIMERS, 4)},
        }
    finally:
        await connections.close()


async def reads(where: Running, size: int, rate: float, seconds: float) -> dict[str, Cost]:
    """The cost of a list and of a status, and their latency at a rate."""
    variables, parts, chance = where.environment, Parts(where.pid), random.Random(SEED)
    who = variables["MFO_CLIENT_ACCOUNT_ID"], variables["MFO_ENGAGEMENT_ID"]
    await asyncio.to_thread(analytics.load, variables["MFO_DATABASE_URL"], *who, size)
    async with await psycopg.AsyncConnection.connect(variables["MFO_DATABASE_URL"], autocommit=True) as connection:
        await connection.execute(HEADS)
        await connection.execute("vacuum analyze heads")
    await _settled(variables["MFO_DATABASE_URL"])
    found, known = {}, list[str]()
    async with session(where) as asking:
        # a status is asked of flows that have a history
        made = calls(asking, known)["create"]
        for _ in range(REAL_FLOWS // 10):
            await asyncio.gather(*(made() for _ in range(10)))

        async def listed() -> None:
            # of which 1,000 flows fill a page, too
            await answered(asking.get("/api/v1/flows", params={"flow_type": "discovery", "status": "completed"}))

        async def newest() -> None:
            await answered(asking.get("/api/v1/flows"))

        async def status() -> None:
            await answered(asking.get(f"/api/v1/flows/{chance.choice(known)}/status"))

        for name, call in (("list, newest", newest), ("list, type and status", listed), ("status", status)):
            await at_most(call, 8, 1.0)
            due_calls = await at_rate(call, rate, seconds)
            before = parts.take()
            _, busy = await at_most(call, 8, seconds)
            processor = spent(before, parts.take(), len(busy.took), "call")
            found[name] = {
                "cost_ms": cost_of(processor),
                "ms": in_ms(due_calls.took),
                "failed": due_calls.failed + busy.failed,
                "processor": processor,
            }
    return found


async def _settled(url: str) -> None:
    """Wait until what so many rows at once leave behind has been seen to: pages to write, tables to vacuum and analyze."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("checkpoint")
        while (await (await connection.execute(AT_WORK)).fetchone()) != (0,):
            await asyncio.sleep(0.5)


async def long_history(store: OwnStore, events: int) -> dict[str, float]:
    """Milliseconds of a command on a flow with so many events and on a short one: by a process that has not seen it, and after."""
    long, short = UUID(int=10_000), UUID(int=10_001)
    async with write_side(store.config) as side:
        for flow_id in (long, short):
            made = create(f"history {flow_id}")
            await ask(side, made.model_copy(update={"flow_id": flow_id}), str(flow_id))
        for n in range(0, events, IN_FLIGHT):
            verbs = (PauseFlow if each % 2 == 0 else ResumeFlow for each in range(n, n + IN_FLIGHT))
            orders = [ask(side, verb(flow_id=long), str(uuid4())) for verb in verbs]
            for answer in await asyncio.gather(*orders):
                if answer.error is not None:
                    raise RuntimeError(str(answer.error))
        version = (await side.store.flow(long)).version
    found: dict[str, float] = {"events": version}
    for name, flow_id in (("long", long), ("short", short)):
        cold, warm = list[float](), list[float]()
        for _ in range(3):
            async with write_side(store.config) as side:
                # what every process has to read once is not the history's
                await ask(side, create(f"first {uuid4()}"), str(uuid4()))
                for n in range(10):
                    verb = ResumeFlow if n % 2 else PauseFlow
                    began = time.perf_counter()
                    await ask(side, verb(flow_id=flow_id), str(uuid4()))
                    (warm if n else cold).append((time.perf_counter() - began) * 1000)
        found |= {f"{name}, not seen before": quantile(cold, 0.5), f"{name}, seen before": quantile(warm, 0.5)}
    return found


def run(
    *,
    size: tuple[str, ...] = (),
    count: int = COMMANDS,
    rate: float = 200.0,
    seconds: float = 5.0,
    events: int = 10_000,
    only: tuple[str, ...] = (),
) -> Report:
    """Every cost at each size; `only` names some of PARTS. Raises WrongUse where a part is not known."""
    named("part", only, PARTS)
    sizes = sorted(int(each) for each in size or SIZES)
    costs: dict[str, dict[int, Cost]] = {}
    history: dict[str, float] = {}

    def wanted(part: str) -> bool:
        return not only or part in only

    with own_store() as store, collecting_seldom():
        there = 1
        for each in sizes:
            if wanted("commands"):
                asyncio.run(load(store.config, each, there))
                there = each
                for name, cost in asyncio.run(commands(store, each, count)).items():
                    costs.setdefault(name, {})[each] = cost
            if wanted("timers"):
                costs.setdefault("timer", {})[each] = asyncio.run(timers(store.config.database_url, each))
        if wanted("history"):
            history = asyncio.run(long_history(store, events))
    # the claims that are measured take some thousand
    for each in sorted({max(each, LEAST_QUEUED) for each in sizes}) if wanted("claims") else []:
        with own_store() as claiming:
            found = asyncio.run(queue.measure(claiming.config.database_url, each, min(1000, each // 10)))["claim of 8"]
        costs.setdefault("claim of 8", {})[each] = {
            "cost_ms": found["processor_p50_ms"],
            "ms": {"p50": found["p50_ms"], "max": found["max_ms"]},
        }
    versions: dict[str, Any] = dict(store.versions)
    for each in sizes if wanted("reads") else []:
        with whole_service(MFO_FLOW_TYPES="bench.noop") as where:
            for name, cost in asyncio.run(reads(where, each, rate, seconds)).items():
                costs.setdefault(name, {})[each] = cost
            versions |= asyncio.run(versions_of(where))
    return Report(
        f"cost with {', '.join(f'{each:,}' for each in sizes)} flows, and of a flow with a long history",
        [*_figures(costs, rate), *_of_history(history)],
        processor={
            f"{name}, {each:,}": cost["processor"]
            for name, by_size in costs.items()
            for each, cost in by_size.items()
            if "processor" in cost
        },
        versions=versions,
        runs=[{"costs": costs, "history": history}],
    )


def _figures(costs: dict[str, dict[int, Cost]], rate: float) -> list[Figure]:
    figures = []
    for name, by_size in costs.items():
        for each, cost in by_size.items():
            figures.append(figure(f"{name}, {each:,}: processor", "ms", cost["cost_ms"], share_of="json decode"))
            at = f" at {rate:g}/s" if name == "status" or name.startswith("list") else ""
            most = MOST_P99_MS if at and each == 1_000_000 else None
            figures += [
                figure(f"{name}, {each:,}{at}: {part}", "ms", ms, at_most=most if part == "p99" else None)
                for part, ms in cost["ms"].items()
                if part != "max"
            ]
            if "failed" in cost:
                figures.append(figure(f"{name}, {each:,}: turned away", "calls", float(cost["failed"]), at_most=0))
        if len(by_size) > 1:
            least, most_there = min(by_size), max(by_size)
            times = by_size[most_there]["cost_ms"] / by_size[least]["cost_ms"]
            figures.append(figure(f"{name}: cost at {most_there:,} / at {least:,}", "times", times, at_most=MOST_TIMES))
    return figures


def _of_history(found: dict[str, float]) -> list[Figure]:
    return [
        figure(f"command on a flow of {found['events']:,.0f} events, not seen before: of a short one's", "times",
               found["long, not seen before"] / found["short, not seen before"]),
        figure(f"command on a flow of {found['events']:,.0f} events, not seen before", "ms", found["long, not seen before"]),
        figure(f"command on a flow of {found['events']:,.0f} events, seen before", "ms", found["long, seen before"]),
        figure("command on a short flow, not seen before", "ms", found["short, not seen before"]),
    ] if found else []  # fmt: skip
