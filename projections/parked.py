"""Flows that a projection could not follow: set aside with the reason, so that the others go on; tried again when asked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from eventstore.database import Connection
from eventstore.store import Stored
from projections.projection import ROW_ERRORS, Parked, Projection
from projections.told import from_store, short

PARK = """
insert into parked_flows (projection, flow_id, version, error, since)
select %s, f, v, e, mfo_now() from unnest(%s::uuid[], %s::bigint[], %s::text[]) as p (f, v, e)
on conflict (projection, flow_id) do update set version = excluded.version, error = excluded.error
"""
COUNT = """
update projections set parked = (select count(*) from parked_flows where projection = %(name)s) where name = %(name)s
"""
HISTORY = """
select notification_id, originator_id, originator_version, topic, state, hash from stored_events
where originator_id = %s order by originator_version
"""


async def park(connection: Connection, projection: str, flows: Sequence[Parked]) -> None:
    """Set flows aside; part of the caller's transaction."""
    await connection.execute(
        PARK,
        (
            projection,
            [each.flow_id for each in flows],
            [each.version for each in flows],
            [each.error for each in flows],
        ),
    )
    await connection.execute(COUNT, {"name": projection})


async def parked(connection: Connection, projection: str) -> set[UUID]:
    """All flows that are set aside."""
    cursor = await connection.execute("select flow_id from parked_flows where projection = %s", (projection,))
    return {row[0] for row in await cursor.fetchall()}


async def still_parked(connection: Connection, projection: str, flow_ids: Collection[UUID]) -> set[UUID]:
    """Those of the flows that are set aside still; a retry under way is waited for, so that no event falls between."""
    cursor = await connection.execute(
        "select flow_id from parked_flows where projection = %s and flow_id = any(%s) for share",
        (projection, list(flow_ids)),
    )
    return {row[0] for row in await cursor.fetchall()}


async def retry(connection: Connection, projection: Projection, flow_id: UUID) -> str | None:
    """Tell a parked flow's whole history once more; None when the projection holds it now, else why it stays aside.

    The same call serves a flow that is not parked: it does nothing then.
    """
    async with connection.transaction():
        cursor = await connection.execute(
            "select version from parked_flows where projection = %s and flow_id = %s for update",
            (projection.name, flow_id),
        )
        if await cursor.fetchone() is None:
            return None
        rows = await (await connection.execute(HISTORY, (flow_id,), binary=True)).fetchall()
        wanted = projection.topics
        history = [
            from_store(event) for event in (Stored(*row) for row in rows) if wanted is None or event.topic in wanted
        ]
        try:
            async with connection.transaction():
                applied = await projection.apply(connection, history, singly=True)
        except ROW_ERRORS as error:
            failed = [Parked(flow_id, history[-1].version, short(error))]
        else:
            failed = applied.parked
        if failed:
            await park(connection, projection.name, failed)
            return failed[0].error
        await connection.execute(
            "delete from parked_flows where projection = %s and flow_id = %s", (projection.name, flow_id)
        )
        await connection.execute(COUNT, {"name": projection.name})
        await connection.execute("select pg_notify('mfo_projected', %s)", (projection.name,))
    applied.committed()
    return None
