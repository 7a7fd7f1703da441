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

HEARTBEAT = """
with mine as (
    select r.id from runs r join unnest(%b::uuid[], %b::bigint[]) as h(id, token) on r.id = h.id and r.token = h.token
    where r.owner = %b and r.state = 'running' order by r.id for update of r skip locked
)
update runs r set lease_until = mfo_now() + make_interval(secs => %b)
from mine where r.id = mine.id returning r.id
"""

STILL_MINE = """
select r.id from runs r join unnest(%b::uuid[], %b::bigint[]) as h(id, token) on r.id = h.id and r.token = h.token
where r.owner = %b and r.state = 'running'
"""

LAPSED = """
select id, flow_id, client_account_id, engagement_id, phase_name, token from runs
where state = 'running' and lease_until < mfo_now() and id <> all(%s)
  and not exists (select from parked_commands p where p.flow_id = runs.flow_id) order by lease_until limit %s
"""

OVERDUE = """
select id, flow_id, client_account_id, engagement_id, phase_name, token from runs
where state = 'running' and deadline < mfo_now()
  and not exists (select from parked_commands p where p.flow_id = runs.flow_id) order by deadline limit %s
"""

HAND_BACK = """
update runs set state = 'queued', owner = null, lease_until = null, deadline = null
where owner = %s and state = 'running' and id = any(%s)
"""


class RunRow(NamedTuple):
    """A run as its row names it."""

    run_id: UUID
    flow_id: UUID
    client_account_id: UUID
    engagement_id: UUID
    phase_name: str
    token: int


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

    async def heartbeat(self, owner: str, runs: Mapping[UUID, int]) -> set[UUID]:
        """Renew the leases of all runs (id to token) in one statement; answers those that are no longer ours.

        A row that somebody holds a lock on is passed over and counts as ours until a plain read says otherwise.
        """
        if not runs:
            return set()
        renewed = {
            row[0] for row in await self._rows(HEARTBEAT, (list(runs), list(runs.values()), owner, LEASE_SECONDS))
        }
        doubtful = [run_id for run_id in runs if run_id not in renewed]
        if not doubtful:
            return set()
        tokens = [runs[run_id] for run_id in doubtful]
        return set(doubtful) - {row[0] for row in await self._rows(STILL_MINE, (doubtful, tokens, owner))}

    async def lapsed(self, in_hand: Collection[UUID], limit: int = 100) -> list[RunRow]:
        """Runs whose lease has run out, but for those that the caller has in hand.

        A row may name us and yet not be in hand: the acknowledgement of the commit, or of the claim, was lost.
        """
        return [RunRow(*row) for row in await self._rows(LAPSED, (list(in_hand), limit))]

    async def overdue(self, limit: int = 100) -> list[RunRow]:
        """Runs past their deadline, whoever owns them."""
        return [RunRow(*row) for row in await self._rows(OVERDUE, (limit,))]

    async def hand_back(self, owner: str, run_ids: Sequence[UUID]) -> None:
        """Queue our runs again, unfinished, for others to claim."""
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(HAND_BACK, (owner, list(run_ids)))
            await connection.execute("select pg_notify('mfo_runs', current_schema())")

    async def progress(self, run_id: UUID, token: int, text: str) -> None:
        """Keep how far a run is, as JSON."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "update runs set progress = %s where id = %s and token = %s", (text, run_id, token)
            )

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
            " (select min(least(lease_until, deadline)) from runs where state = 'running'"
            "  and not exists (select from parked_commands p where p.flow_id = runs.flow_id))) - mfo_now())::float8",
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
