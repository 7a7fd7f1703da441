"""The process that keeps the read models: every projection, its figures and its health."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from types import ModuleType
from typing import Any

import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from domain.errors import SettingsError
from domain.flow_types import FlowTypes
from eventstore.artifacts import ArtifactStore
from eventstore.codec import split
from eventstore.config import ServiceConfig
from eventstore.database import Connection
from eventstore.definitions import flow_types, modules, remember
from eventstore.doctor import examine
from eventstore.doctor.metrics import shown
from eventstore.health import Parts, health_door
from eventstore.schema import opened
from projections.analytics import Analytics
from projections.audit_trail import Keeping
from projections.consumer import Runner
from projections.feed import Feed
from projections.field_mappings import FieldMappings
from projections.flow_intervals import FlowIntervals
from projections.flows import Flows
from projections.inventory import Inventory
from projections.metrics import ACTIVE, LAG_EVENTS, LAG_SECONDS, PARKED, RATE
from projections.projection import Projection
from projections.signer import Signing

log = structlog.get_logger()

MEASURE_SECONDS = 5.0
EXAMINE_SECONDS = 30.0
RUNNING = frozenset({"live", "catching_up"})

ACTIVE_FLOWS = """
select flow_type, count(*) from crewai_flow_state_extensions
where flow_status in ('initialized', 'processing', 'waiting_for_input', 'paused') group by flow_type
"""
# several processes measure; whoever comes first does it for all
FIGURES = """
with measured as (
    update projections set
        rate = greatest(0, position - measured_position)
               / nullif(extract(epoch from mfo_now() - measured_at)::float8, 0),
        measured_position = position, measured_at = mfo_now()
    where measured_at is null or abs(extract(epoch from mfo_now() - measured_at)) > %s
)
select p.name, p.position, p.parked, (select coalesce(max(notification_id), 0) from stored_events),
       (select state from stored_events where notification_id > p.position order by notification_id limit 1)
from projections p
"""


def projections(
    connections: AsyncConnectionPool[Connection], types: FlowTypes, extra: Sequence[ModuleType] = ()
) -> dict[str, Projection]:
    """Every projection there is, by name; further modules offer PROJECTIONS. Raises SettingsError for a name used twice."""
    every: tuple[Projection, ...] = (
        Flows(types, partial(remember, connections, types)),
        Inventory(ArtifactStore(connections)),
        FieldMappings(ArtifactStore(connections)),
        Analytics(),
        FlowIntervals(),
        *(each for module in extra for each in getattr(module, "PROJECTIONS", ())),
    )
    names = Counter(each.name for each in every)
    if twice := [name for name, times in names.items() if times > 1]:
        raise SettingsError(f"MFO_PROJECTIONS brings a projection whose name is taken: {', '.join(twice)}")
    return {each.name: each for each in every}


@asynccontextmanager
async def read_side(
    config: ServiceConfig,
) -> AsyncIterator[tuple[AsyncConnectionPool[Connection], dict[str, Projection]]]:
    """The projections and the connections they read with, for as long as the block lasts; raises StoreUnavailable,
    SchemaBehind, SchemaAhead and SettingsError."""
    connections = await opened(config, size=4, name="projections")
    try:
        types = flow_types(modules(config.flow_type_modules))
        await remember(connections, types)
        yield connections, projections(connections, types, modules(config.projection_modules, "MFO_PROJECTIONS"))
    finally:
        await connections.close()


async def run(config: ServiceConfig) -> None:
    """Keep all projections until cancelled or told to stop by SIGTERM or SIGINT; raises StoreUnavailable, SettingsError."""
    stop = asyncio.Event()
    signing, keeping = Signing(config), Keeping(config)
    async with AsyncExitStack() as stack:
        connections, known = await stack.enter_async_context(read_side(config))
        feed = Feed(config)
        runners = [Runner(config, projection, feed) for projection in known.values()]
        stack.enter_context(_signals(stop))
        # events and flows hold no cycles: fewer searches for some save a quarter of the time per event
        stack.callback(gc.set_threshold, *gc.get_threshold())
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        tasks = [asyncio.create_task(runner.run(), name=f"projection {runner.name}") for runner in runners]
        tasks.append(asyncio.create_task(signing.run(), name="checkpoints"))
        tasks.append(asyncio.create_task(keeping.run(), name="audit trail"))
        tasks.append(asyncio.create_task(_measure(connections, runners), name="projection figures"))
        tasks.append(asyncio.create_task(_examine(connections), name="doctor"))
        stopping = asyncio.create_task(stop.wait(), name="projections stop")
        try:
            await stack.enter_async_context(
                health_door(config.http_host, config.health_port, partial(_parts, runners, signing, keeping))
            )
            # none of them ends by itself; one that does takes the process down, to be started anew
            done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                task.result()
        finally:
            await _end([stopping, *tasks])


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set the event while the block lasts; in a thread of its own a service is stopped by cancelling."""
    here = threading.current_thread() is threading.main_thread()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT) if here else ():
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT) if here else ():
            loop.remove_signal_handler(number)


async def _measure(connections: AsyncConnectionPool[Connection], runners: Sequence[Runner]) -> None:
    """Keep the gauges true; what the store does not answer now it answers the next time."""
    rows, then = {runner.name: runner.rows for runner in runners}, monotonic()
    while True:
        with suppress(psycopg.Error, PoolTimeout, OSError):
            await figures(connections)
        now = monotonic()
        for runner in runners:
            if now > then:
                RATE.labels(runner.name).set((runner.rows - rows[runner.name]) / (now - then))
            rows[runner.name] = runner.rows
        then = now
        await asyncio.sleep(MEASURE_SECONDS)


async def _examine(connections: AsyncConnectionPool[Connection]) -> None:
    """Keep the doctor's figures true; they are asked for here because the consumers are among the patients."""
    while True:
        with suppress(psycopg.Error, PoolTimeout, OSError):
            async with connections.connection() as connection:
                shown(await examine(connection))
            await active_flows(connections)
        await asyncio.sleep(EXAMINE_SECONDS)


async def figures(connections: AsyncConnectionPool[Connection]) -> None:
    """Read lag and parked flows into the gauges. Every process of the service reports the same figures."""
    async with connections.connection() as connection:
        found = await (await connection.execute(FIGURES, (MEASURE_SECONDS - 0.5,))).fetchall()
    for name, position, parked, end, oldest in found:
        LAG_EVENTS.labels(name).set(max(0, end - position))
        age = (datetime.now(UTC) - split(oldest)[0].at).total_seconds() if oldest is not None else 0.0
        LAG_SECONDS.labels(name).set(max(0.0, age))
        PARKED.labels(name).set(parked)


async def active_flows(connections: AsyncConnectionPool[Connection]) -> None:
    """Count the flows that have not ended; it reads each of them, so it is not asked often."""
    async with connections.connection() as connection:
        active = await (await connection.execute(ACTIVE_FLOWS)).fetchall()
    ACTIVE.clear()
    for flow_type, flows in active:
        ACTIVE.labels(flow_type).set(flows)


async def _parts(runners: Sequence[Runner], signing: Signing, keeping: Keeping) -> Parts:
    """A projection is up while it follows, or catches up with, the log."""
    checkpoints = {"state": "down", "reason": signing.reason} if signing.reason else {"state": "up"}
    parts: Parts = {"checkpoints": checkpoints | {"leading": signing.leading}}
    trail = {"state": "down", "reason": keeping.reason} if keeping.reason else {"state": "up"}
    parts["audit_events"] = trail | {
        "leading": keeping.leading,
        "position": keeping.trail.position,
        "lag": keeping.trail.lag,
    }
    for runner in runners:
        up = runner.state in RUNNING
        reason = {} if up else {"reason": runner.reason}
        parts[runner.name] = {
            "state": "up" if up else "down",
            "doing": runner.state,
            "position": runner.position,
            "partitions": list(runner.partitions),
            **reason,
        }
    return parts
