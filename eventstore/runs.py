"""Runs on the store's side: claimed, kept alive by their lease, found when they lapse or pass their deadline.

A run row exists while an attempt is queued or under way. Times are the store's (`mfo_now()`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from eventstore.database import Connection
from eventstore.signals import PAUSED, PAUSED_OR_NOT
from eventstore.store import LEASE_SECONDS

CLAIM = """
with due as (
    select id from runs where state = 'queued' and (flow_type || '/' || phase_name = any(%s)) = %s
    order by queued_at, id limit %s for update skip locked
)
update runs r set state = 'running', owner = %s, lease_until = mfo_now() + make_interval(secs => %s),
       deadline = mfo_now() + make_interval(secs => r.timeout_seconds)
from due where r.id = due.id
returning r.id, r.flow_id, r.client_account_id, r.engagement_id, r.phase_name, r.token
"""

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

LAPSED = """
select id, flow_id, client_account_id, engagement_id, phase_name, token from runs
where state = 'running' and lease_until < mfo_now() and id <> all(%s) order by lease_until limit %s
"""

OVERDUE = """
select id, flow_id, client_account_id, engagement_id, phase_name, token from runs
where state = 'running' and deadline < mfo_now() order by deadline limit %s
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


class DueTimer(NamedTuple):
    """A timer whose time has come."""

    flow_id: UUID
    name: str
    token: int
    client_account_id: UUID
    engagement_id: UUID
    due_at: datetime


class Runs:
    """The statements about runs and timers."""

    def __init__(self, pool: AsyncConnectionPool[Connection]) -> None:
        self._pool = pool

    async def claim(self, owner: str, limit: int, phases: Sequence[str], *, among: bool) -> list[RunRow]:
        """Take up to `limit` queued runs, oldest first; their token stays the one they were born with.

        `phases` are `<flow type>/<phase>`; only those are taken, or with `among=False` only the others.
        """
        return [RunRow(*row) for row in await self._rows(CLAIM, (list(phases), among, limit, owner, LEASE_SECONDS))]

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

    async def lapsed(self, in_hand: Collection[UUID], limit: int = 100) -> list[RunRow]:
        """Runs whose lease has run out, but for those that the caller has in hand.

        A row may name us and yet not be in hand: the acknowledgement of the commit, or of the claim, was lost.
        """
        return [RunRow(*row) for row in await self._rows(LAPSED, (list(in_hand), limit))]

    async def overdue(self, limit: int = 100) -> list[RunRow]:
        """Runs past their deadline, whoever owns them."""
        return [RunRow(*row) for row in await self._rows(OVERDUE, (limit,))]

    async def due_timers(self, limit: int = 500) -> list[DueTimer]:
        """Timers whose time has come, oldest first."""
        return [
            DueTimer(*row)
            for row in await self._rows(
                "select flow_id, name, token, client_account_id, engagement_id, due_at from timers"
                " where due_at <= mfo_now() order by due_at limit %s",
                (limit,),
            )
        ]

    async def next_due(self) -> float | None:
        """Seconds until something of ours is due: a timer, a lease that may lapse, a deadline; none: nothing is."""
        rows = await self._rows(
            "select extract(epoch from least((select min(due_at) from timers),"
            " (select min(least(lease_until, deadline)) from runs where state = 'running')) - mfo_now())::float8",
            (),
        )
        return None if rows[0][0] is None else max(0.0, rows[0][0])

    async def drop_timer(self, timer: DueTimer) -> None:
        """Remove a timer that has fired and that its flow no longer holds."""
        await self._execute(
            "delete from timers where flow_id = %s and name = %s and token = %s",
            (timer.flow_id, timer.name, timer.token),
        )

    async def _execute(self, statement: str, parameters: tuple[Any, ...]) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(statement, parameters)

    async def _rows(self, statement: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(statement, parameters)
            return await cursor.fetchall()
