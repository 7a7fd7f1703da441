"""Runs on the store's side: claimed, kept alive by their lease, found when it lapses.

A run row exists while an attempt is queued or under way. Times are the store's (`mfo_now()`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from eventstore.database import Connection
from eventstore.signals import PAUSED, PAUSED_OR_NOT
from eventstore.store import LEASE_SECONDS

# the flow's head says how far it was seen, so that the next look at its history begins there
HEARTBEAT = """
with mine as (
    select r.id, h.seen, h.progress
    from runs r join unnest(%b::uuid[], %b::bigint[], %b::bigint[], %b::text[]) as h(id, token, seen, progress)
        on r.id = h.id and r.token = h.token
    where r.owner = %b and r.state = 'running' order by r.id for update of r skip locked
),
renewed as (
    update runs r set lease_until = mfo_now() + make_interval(secs => %b),
           progress = coalesce(mine.progress, r.progress)
    from mine where r.id = mine.id returning r.id, r.flow_id, r.deadline, mine.seen
)
select n.id, coalesce(h.version, n.seen),
       (select e.topic = %b from stored_events e
        where e.originator_id = n.flow_id and e.originator_version > n.seen and e.topic = any(%b::text[])
        order by e.originator_version desc limit 1),
       n.deadline, extract(epoch from n.deadline - mfo_now())::float8
from renewed n left join heads h on h.id = n.flow_id
"""

STILL_MINE = """
select r.id from runs r join unnest(%b::uuid[], %b::bigint[]) as h(id, token) on r.id = h.id and r.token = h.token
where r.owner = %b and r.state = 'running'
"""

# a lease that ends later than any that is given now is one from before the clock went back
UNATTENDED = """
with at as materialized (select mfo_now() as now)
select at.now, extract(epoch from soon.lease_until - at.now)::float8, r.deadline < at.now,
       r.id, r.flow_id, r.client_account_id, r.engagement_id, r.phase_name, r.token
from at
cross join lateral (
    select min(lease_until) as lease_until from runs where state = 'running' and lease_until >= at.now
) soon
left join lateral (
    select * from runs
    where state = 'running' and id <> all(%s)
      and (lease_until < at.now or lease_until > at.now + make_interval(secs => %s))
      and not exists (select from parked_commands p where p.flow_id = runs.flow_id)
    order by lease_until limit %s
) r on true
"""


class RunRow(NamedTuple):
    """A run as its row names it."""

    run_id: UUID
    flow_id: UUID
    client_account_id: UUID
    engagement_id: UUID
    phase_name: str
    token: int


class Beat(NamedTuple):
    """What a process says of a run in its hands: its token, how far it has seen the flow's history, and how far the work
    is, as JSON, where that has changed."""

    token: int
    seen: int
    progress: str | None = None


class Wish(NamedTuple):
    """What the flow wants of a run that is still ours: paused or not (none: nothing new), ended by its deadline.

    `version` is how far the flow's history has been looked at."""

    version: int
    paused: bool | None
    deadline: datetime
    seconds_left: float


class Unattended(NamedTuple):
    """Runs whose lease has run out, and whether their deadline has passed too.

    `now` is the store's time at that moment, `next_seconds` the time until the next lease may run out (none: none is held).
    """

    now: datetime
    next_seconds: float | None
    runs: list[tuple[RunRow, bool]]


class Runs:
    """The statements about runs."""

    def __init__(self, pool: AsyncConnectionPool[Connection]) -> None:
        self._pool = pool

    async def heartbeat(self, owner: str, beats: Mapping[UUID, Beat]) -> tuple[dict[UUID, Wish], set[UUID]]:
        """Renew the leases of all runs in one statement and keep their progress; answers what is wanted of those that were
        renewed, and which are no longer ours: their flow is over, or somebody else has them.

        A row that somebody holds a lock on is passed over, and is in neither unless a plain read says that it is not ours.
        """
        if not beats:
            return {}, set()
        said = (
            list(beats),
            [beat.token for beat in beats.values()],
            [beat.seen for beat in beats.values()],
            [beat.progress for beat in beats.values()],
        )
        asked = (*said, owner, LEASE_SECONDS, PAUSED, PAUSED_OR_NOT)
        wishes = {row[0]: Wish(*row[1:]) for row in await self._rows(HEARTBEAT, asked)}
        doubtful = [run_id for run_id in beats if run_id not in wishes]
        if not doubtful:
            return wishes, set()
        tokens = [beats[run_id].token for run_id in doubtful]
        return wishes, set(doubtful) - {row[0] for row in await self._rows(STILL_MINE, (doubtful, tokens, owner))}

    async def unattended(self, in_hand: Collection[UUID], limit: int = 100) -> Unattended:
        """Runs that nobody holds, whoever owned them, but for those that the caller has in hand.

        A row may name us and yet not be in hand: the acknowledgement of the commit, or of the claim, was lost. Who holds a
        run ends it himself at its deadline.
        """
        rows = await self._rows(UNATTENDED, (list(in_hand), LEASE_SECONDS + 1.0, limit))
        now, next_seconds = rows[0][:2]
        return Unattended(now, next_seconds, [(RunRow(*row[3:]), bool(row[2])) for row in rows if row[3] is not None])

    async def _rows(self, statement: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(statement, parameters)
            return await cursor.fetchall()
