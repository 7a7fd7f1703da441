"""Histories told to the shadow of a read model, part by part, by as many processes as are wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from eventstore.config import ServiceConfig
from eventstore.database import Connection, connect
from eventstore.garbage import collecting_seldom
from projections.app import read_side
from projections.histories import Range, histories
from projections.parked import park
from projections.projection import ROW_ERRORS, Applied, Projection
from projections.shadows import shadow_of
from projections.told import Told

CLAIM = 'select n, first, "end" from rebuild_parts where done_at is null order by n limit 1 for update skip locked'
FILLED = "update rebuild_parts set done_at = mfo_now(), events = %s where n = %s"


def fill_here(config: ServiceConfig, name: str) -> None:
    """Fill parts in a process of its own."""
    asyncio.run(fill(config, name))


async def fill(config: ServiceConfig, name: str, *, alive: Callable[[], bool] = lambda: True) -> None:
    """Tell part after part to the shadow until none is left; each with its note in one transaction."""
    async with read_side(config) as (_, known):
        projection = known[name]
        path = f"{shadow_of(config.shard, name)},{config.shard}"
        # a crash of the server forgets whole parts, with their notes
        connection = await connect(config.database_url, path, synchronous_commit="off")
        try:
            with collecting_seldom():
                while alive() and await _part(connection, projection):
                    pass
        finally:
            await connection.close()


async def _part(connection: Connection, projection: Projection) -> bool:
    async with connection.transaction():
        row = await (await connection.execute(CLAIM)).fetchone()
        if row is None:
            return False
        events = 0
        async for batch in histories(connection, Range(row[1], row[2]), projection):
            await retold(connection, projection, batch)
            events += len(batch)
        await connection.execute(FILLED, (events, row[0]))
    return True


async def retold(connection: Connection, projection: Projection, batch: Sequence[Told]) -> Applied:
    """Tell a batch, in savepoints of the caller's transaction; flows that cannot be told are noted as set aside."""
    applied = await told_once(connection, projection, batch)
    if applied.parked:
        await park(connection, projection.name, applied.parked)
    return applied


async def told_once(connection: Connection, projection: Projection, batch: Sequence[Told]) -> Applied:
    """Tell a batch, in savepoints of the caller's transaction; flows that cannot be told are in the answer."""
    try:
        async with connection.transaction():
            return await projection.apply(connection, batch)
    except ROW_ERRORS:
        projection.forget()
    async with connection.transaction():
        return await projection.apply(connection, batch, singly=True)
