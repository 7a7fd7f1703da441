"""History flow by flow, each flow whole: for whoever makes read models anew, and where events in hand do not join on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import structlog
from psycopg import sql

from eventstore.database import Connection
from eventstore.store import LOAD
from projections.projection import Projection, about
from projections.told import Told

log = structlog.get_logger()

LOAD_AT_ONCE = 200
READ_ROWS = 2000
BATCH_EVENTS = 4000
BATCH_BYTES = 8 << 20

EVENTS = "select notification_id, originator_id, originator_version, topic, state from stored_events"
BY_FLOW = " order by originator_id, originator_version"


class Range(NamedTuple):
    """Flows by their ids: from `first` on, and before `end` where there is one."""

    first: UUID
    end: UUID | None

    def holds(self, column: str) -> tuple[sql.Composable, dict[str, Any]]:
        """The condition that a column of ids lies in the range, with its values."""
        name = sql.Identifier(column)
        if self.end is None:
            return sql.SQL("{} >= %(first)s").format(name), {"first": self.first}
        return sql.SQL("{0} >= %(first)s and {0} < %(end)s").format(name), {"first": self.first, "end": self.end}


class Some(NamedTuple):
    """Flows by their ids, one by one."""

    flow_ids: Sequence[UUID]

    def holds(self, column: str) -> tuple[sql.Composable, dict[str, Any]]:
        """The condition that a column of ids is one of them, with its values."""
        return sql.SQL("{} = any(%(flow_ids)s)").format(sql.Identifier(column)), {"flow_ids": list(self.flow_ids)}


Which = Range | Some


async def histories(connection: Connection, which: Which, projection: Projection) -> AsyncIterator[list[Told]]:
    """The events that the projection wants of these flows, some flows at a time; part of the caller's transaction.

    A list holds whole flows, at most 4,000 events or 8 MiB unless one flow has more.
    """
    condition, values = which.holds("originator_id")
    statement = sql.SQL(EVENTS + " where {}" + BY_FLOW).format(condition)
    told: list[Told] = []
    size = 0
    async with connection.cursor(f"h{uuid4().hex}", binary=True) as cursor:
        await cursor.execute(statement, values)
        while rows := await cursor.fetchmany(READ_ROWS):
            for position, flow_id, version, topic, state in rows:
                if told and told[-1].flow_id != flow_id and (len(told) >= BATCH_EVENTS or size >= BATCH_BYTES):
                    yield told
                    told, size = [], 0
                if about(projection, topic):
                    told.append(Told(flow_id, version, position, topic, state))
                    size += len(state)
    if told:
        yield told


async def whole(connection: Connection, behind: Mapping[UUID, int]) -> AsyncIterator[dict[UUID, list[Told]]]:
    """The histories of these flows, 200 at a time; `behind` says which version of each was told.

    An event of which the store knows nothing is logged, and its flow left out.
    """
    ids = sorted(behind)
    for n in range(0, len(ids), LOAD_AT_ONCE):
        part = ids[n : n + LOAD_AT_ONCE]
        found: dict[UUID, list[Told]] = {}
        for flow_id, version, topic, state, _, position in await (
            await connection.execute(LOAD, (part,), binary=True)
        ).fetchall():
            found.setdefault(flow_id, []).append(Told(flow_id, version, position, topic, state))
        for flow_id in part:
            if flow_id not in found or found[flow_id][-1].version < behind[flow_id]:
                found.pop(flow_id, None)
                log.warning("event of no flow in this store", flow_id=str(flow_id), version=behind[flow_id])
        yield found


async def ranges(connection: Connection, flows: int) -> list[tuple[Range, int]]:
    """All ids of the store in ranges of about so many aggregates, with how many each has; at least one range."""
    cursor = await connection.execute(
        "select id, n from (select id, row_number() over (order by id) - 1 as n from heads) h where n %% %s = 0 order by n",
        (flows,),
    )
    rows = await cursor.fetchall()
    row = await (await connection.execute("select count(*) from heads")).fetchone()
    total = int(row[0]) if row else 0
    firsts = [UUID(int=0), *(row[0] for row in rows[1:])]
    counts = [flows] * (len(firsts) - 1) + [total - flows * (len(firsts) - 1)]
    return [(Range(first, end), count) for first, end, count in zip(firsts, [*firsts[1:], None], counts, strict=True)]
