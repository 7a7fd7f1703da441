"""How late timers fire: from the time a flow is to begin to its phase's start being there to read, by the store's clock.

While 100,000 timers wait that are not due for hours, flows begin 200 a second, each by a timer of its own. What is measured
ends when another connection sees the event, so it holds the commit too; `written` ends in the transaction that writes it.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
from aiokafka import AIOKafkaProducer

from bench.flows import creation, versions_of
from bench.processor import Parts, spent
from bench.report import Report, figure
from bench.spread import in_ms
from bench.stack import whole_service
from mfo.running import Running

PENDING = 100_000
A_SECOND = 200
SECONDS = 20
LEAD_SECONDS = 5
PATIENCE_SECONDS = 120
MOST_MS = {("read", "p99"): 300.0}
WAITING = """
insert into timers select gen_random_uuid(), 'start', 1, %s, %s, mfo_now() + interval '6 h' + n * interval '1 s'
from generate_series(1, %s) n
"""
SET = """
update timers t set due_at = mfo_now() + make_interval(secs => %s + d.n / %s)
from unnest(%s::uuid[]) with ordinality as d(flow_id, n) where t.flow_id = d.flow_id
returning t.flow_id, t.due_at
"""
FIRED = "select flow_id, at from command_log where flow_id = any(%s) and command = 'FireTimer' and outcome = 'accepted'"
STARTED = """
select originator_id, notification_id, mfo_now() from stored_events
where notification_id > %s and topic = 'mfo.flow.PhaseStarted.v1' order by notification_id
"""


async def measure(where: Running, *, pending: int, a_second: int, seconds: int) -> dict[str, Any]:
    """The figures of one run."""
    variables = where.environment
    url, parts = variables["MFO_DATABASE_URL"], Parts(where.pid)
    account, engagement = variables["MFO_CLIENT_ACCOUNT_ID"], variables["MFO_ENGAGEMENT_ID"]
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as listener,
    ):
        await connection.execute(WAITING, (account, engagement, pending))
        await connection.execute("analyze timers")
        due = await _create(where, connection, a_second * seconds, a_second)
        before = parts.take()
        read = await _watch(listener, due)
        processor = spent(before, parts.take(), len(due), "timer")
        cursor = await connection.execute(FIRED, (list(due),))
        written = [(at - due[flow_id]).total_seconds() for flow_id, at in await cursor.fetchall()]
    return {
        "pending": pending,
        "due_a_second": a_second,
        "fired": len(read),
        "processor": processor,
        "read": in_ms(read),
        "written": in_ms(written),
    }


async def _create(where: Running, connection: Any, flows: int, a_second: int) -> dict[UUID, datetime]:
    """Flows whose times to begin lie evenly in the time to come; the times are set when all of them are there."""
    variables = where.environment
    ids = [uuid4() for _ in range(flows)]
    async with AIOKafkaProducer(bootstrap_servers=variables["MFO_KAFKA_BOOTSTRAP"]) as producer:
        for flow_id in ids:
            body, headers = creation(variables, flow_id, options={"start_after_seconds": 86_400})
            await producer.send("mfo.commands.v1", body, key=str(flow_id).encode(), headers=headers)
        await producer.flush()
    for _ in range(PATIENCE_SECONDS):
        row = await (await connection.execute("select count(*) from timers where flow_id = any(%s)", (ids,))).fetchone()
        if row[0] == flows:
            break
        await asyncio.sleep(1)
    else:
        raise RuntimeError("the flows were not made in time")
    cursor = await connection.execute(SET, (LEAD_SECONDS, float(a_second), ids))
    due: dict[UUID, datetime] = dict(await cursor.fetchall())
    await connection.execute("select pg_notify('mfo_timers', current_schema())")
    return due


async def _watch(listener: Any, due: dict[UUID, datetime]) -> list[float]:
    """Seconds from each flow's time to its start being there to read."""
    late: dict[UUID, float] = {}
    position = 0
    await listener.execute("listen mfo_events")
    end = max(due.values()) + timedelta(seconds=PATIENCE_SECONDS)
    while len(late) < len(due):
        async for _ in listener.notifies(timeout=1.0, stop_after=1):
            pass
        for flow_id, place, now in await (await listener.execute(STARTED, (position,))).fetchall():
            position = place
            if flow_id in due:
                late.setdefault(flow_id, (now - due[flow_id]).total_seconds())
        row = await (await listener.execute("select mfo_now() > %s", (end,))).fetchone()
        if row[0]:
            raise RuntimeError(f"only {len(late)} of {len(due)} timers fired")
    return list(late.values())


def run(*, pending: int = PENDING, a_second: int = A_SECOND, seconds: int = SECONDS) -> Report:
    """Timers that fire while many others wait."""
    with whole_service(MFO_FLOW_TYPES="bench.noop") as where:
        found = asyncio.run(measure(where, pending=pending, a_second=a_second, seconds=seconds))
        versions = asyncio.run(versions_of(where))
    return Report(
        f"timers, {a_second} due a second while {pending:,} wait: from due to the start of the phase being committed and read",
        [
            figure(f"{name}, {part}", "ms", ms, at_most=MOST_MS.get((name, part)))
            for name in ("written", "read")
            for part, ms in found[name].items()
        ],
        processor={"firing": found["processor"]},
        versions=versions,
        runs=[found],
    )
