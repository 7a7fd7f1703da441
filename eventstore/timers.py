"""Timers on the store's side: which are due, who fires them, and those that nobody needs any more.

A timer's row is written and removed with the events of its flow (`store.append`); times are the store's (`mfo_now()`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from eventstore.database import Connection

LOCK_CLASS = 5

LEAD = "select pg_try_advisory_lock(hashtext(current_schema() || 'timers'), %s)"

# one reading of the clock for both parts: between two readings a timer could be neither due nor to come
DUE = """
with at as materialized (select mfo_now() as now)
(select flow_id, name, token, client_account_id, engagement_id, extract(epoch from (select now from at) - due_at)::float8
 from timers where due_at <= (select now from at) order by due_at limit %s)
union all
(select null, null, null, null, null, extract(epoch from (select now from at) - due_at)::float8
 from timers where due_at > (select now from at) order by due_at limit 1)
"""

DROP = """
delete from timers t using unnest(%s::uuid[], %s::text[], %s::bigint[]) as d(flow_id, name, token)
where (t.flow_id, t.name, t.token) = (d.flow_id, d.name, d.token)
"""


class DueTimer(NamedTuple):
    """A timer whose time has come, `late_seconds` ago."""

    flow_id: UUID
    name: str
    token: int
    client_account_id: UUID
    engagement_id: UUID
    late_seconds: float

    @property
    def key(self) -> tuple[UUID, str, int]:
        """What tells this timer from every other, an earlier one under its name too."""
        return self.flow_id, self.name, self.token


class Due(NamedTuple):
    """What is due, the oldest first, and the seconds until the next one is (none: no other is set)."""

    timers: list[DueTimer]
    next_seconds: float | None


async def lead(connection: Connection) -> bool:
    """Whether this connection is, from now until it ends, the one whose process fires timers."""
    row = await (await connection.execute(LEAD, (LOCK_CLASS,))).fetchone()
    return bool(row and row[0])


async def due(connection: Connection, limit: int) -> Due:
    """At most `limit` timers that are due."""
    rows: list[tuple[Any, ...]] = await (await connection.execute(DUE, (limit,))).fetchall()
    timers = [DueTimer(*row) for row in rows if row[0] is not None]
    return Due(timers, next((-row[5] for row in rows if row[0] is None), None))


async def drop(connection: Connection, timers: Sequence[DueTimer]) -> None:
    """Remove timers that their flows let pass; one that was set anew meanwhile stays."""
    parts = [timer.key for timer in timers]
    await connection.execute(DROP, tuple([part[n] for part in parts] for n in range(3)))
