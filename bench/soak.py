"""Many minutes at half load: memory, lag, sizes of tables and indexes, and dead rows, as time goes by.

Whole flows of six phases are offered at a rate for half a minute at a time; between two such times everything is worked off and
looked at. What must stay flat is compared between the first and the last third: memory of each process, latency, dead rows.
"""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import Any

import psycopg

from bench.flows import COMMANDS, versions_of
from bench.pipeline import at_rate, saturation
from bench.processor import SERVICES, Parts
from bench.report import Figure, Report, figure
from bench.stack import whole_service
from mfo.running import Running

MOST_TIMES = 1.2
TABLES = """
select c.relname, pg_table_size(c.oid), pg_indexes_size(c.oid), coalesce(s.n_dead_tup, 0), coalesce(s.n_live_tup, 0),
       coalesce(s.autovacuum_count, 0)
from pg_class c left join pg_stat_user_tables s on s.relid = c.oid
where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'm')
"""
BEHIND = """
select (select coalesce(max(notification_id), 0) from stored_events), (select coalesce(max(position), 0) from relay),
       (select coalesce(max(position), 0) from projections where name = 'crewai_flow_state_extensions')
"""


async def looked_at(where: Running, parts: Parts) -> dict[str, Any]:
    """Memory in MB by part, and sizes in bytes, dead rows and vacuums by table."""
    async with await psycopg.AsyncConnection.connect(
        where.environment["MFO_DATABASE_URL"], autocommit=True
    ) as connection:
        rows = await (await connection.execute(TABLES)).fetchall()
    names = ("table_bytes", "index_bytes", "dead", "live", "vacuums")
    return {
        "memory_mb": parts.memory_mb(),
        "tables": {row[0]: dict(zip(names, row[1:], strict=True)) for row in rows},
    }


async def _measured(where: Running, minutes: float, commands: float, every: float) -> list[dict[str, Any]]:
    parts = Parts(where.pid)
    if not commands:
        found = await saturation(where, (64, 256), 5.0)
        commands = max(each["commands_per_second"] for each in found) / 2
    seen: list[dict[str, Any]] = []
    until = time.monotonic() + minutes * 60
    while time.monotonic() < until or len(seen) < 3:
        behind = {"relay": 0, "read model": 0}
        watch = asyncio.create_task(_watched(where, behind))
        try:
            step = await at_rate(where, "flows", commands, every)
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        seen.append({**step, "behind": behind, **await looked_at(where, parts)})
    return seen


async def _watched(where: Running, behind: dict[str, int]) -> None:
    """Look each second how many events relay and read model are behind, and keep the most."""
    async with await psycopg.AsyncConnection.connect(
        where.environment["MFO_DATABASE_URL"], autocommit=True
    ) as connection:
        while True:
            [(end, told, shown)] = await (await connection.execute(BEHIND)).fetchall()
            behind["relay"] = max(behind["relay"], end - told)
            behind["read model"] = max(behind["read model"], end - shown)
            await asyncio.sleep(1.0)


def run(*, minutes: float = 30.0, commands: float = 0.0, every: float = 30.0) -> Report:
    """So many minutes at `commands` a second; 0: half of the saturation that is measured first."""
    with whole_service(MFO_FLOW_TYPES="bench.noop") as where:
        seen = asyncio.run(_measured(where, minutes, commands, every))
        versions = asyncio.run(versions_of(where))
    return Report(
        f"{minutes:g} minutes at {seen[0]['commands_per_second']:,.0f} commands/s",
        list(_figures(seen)),
        processor={"first": seen[0]["processor"], "last": seen[-1]["processor"]},
        versions=versions,
        runs=seen,
    )


def _figures(seen: list[dict[str, Any]]) -> list[Figure]:
    third = max(1, len(seen) // 3)
    first, last = seen[:third], seen[-third:]
    flows = sum(each["offered"] for each in seen)

    def times(name: str, then: float, now: float, *, limited: bool = True) -> Figure:
        return figure(
            f"{name}: last third / first", "times", now / then if then else 1.0, at_most=MOST_TIMES if limited else None
        )

    def of_tables(each: dict[str, Any], name: str) -> float:
        return float(sum(table[name] for table in each["tables"].values()))

    figures = [
        times(f"memory of {service}", *(median(each["memory_mb"][service] for each in part) for part in (first, last)))
        for service in (*SERVICES, "PostgreSQL", "Kafka")
        if service in seen[0]["memory_mb"]
    ]
    figures += [
        times(f"completed {part}", *(median(each["ms"]["completed"][part] for each in some) for some in (first, last)))
        for part in ("p50", "p99")
    ]
    figures += [
        times(
            "processor of a command",
            *(median(each["processor"]["total_ms"] for each in some) for some in (first, last)),
        ),
        figure("not seen in time", "flows", float(sum(each["not_seen_in_time"] for each in seen)), at_most=0),
        figure("worked off after, most", "s", max(each["drained_after_seconds"] for each in seen)),
        figure("dead rows, most", "rows", max(of_tables(each, "dead") for each in seen)),
        figure("dead rows at the end", "rows", of_tables(seen[-1], "dead")),
        figure("vacuums", "vacuums", of_tables(seen[-1], "vacuums") - of_tables(seen[0], "vacuums")),
    ]
    rest = max(1, flows - seen[0]["offered"])
    for kind, name in (("table_bytes", "tables"), ("index_bytes", "indexes")):
        grown = of_tables(seen[-1], kind) - of_tables(seen[0], kind)
        figures.append(figure(f"{name} grow", "bytes/flow", grown / rest))
    for name in ("relay", "read model"):
        figures.append(figure(f"{name} behind, most", "events", max(each["behind"][name] for each in seen)))
    return [*figures, figure("commands", "commands", float(flows * COMMANDS))]
