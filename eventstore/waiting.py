"""Why a flow waits for its next attempt: which limit holds it, what is before it, or until when."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from eventstore.database import Connection
from eventstore.offering import lacking_for

Reason = Literal["no_process", "flow_type_limit", "tenant_limit", "no_free_place", "others_first", "starting", "retry"]
MOST_COUNTED = 10_000

# a limit that not every process keeps to holds nobody; the highest is the one that matters
WHY = """
with r as (
    select * from runs where id = %b and state = 'queued'
),
offering as materialized (
    select k.*, case when o.exclusive then k.exclusive_kinds else k.shared_kinds end as kinds,
           case when o.exclusive then k.exclusive_places else k.shared_places end as places
    from r, keepers k, lateral (select r.kind = any(k.exclusive_kinds) as exclusive) o
    where k.seen_at > mfo_now() - interval '10 s' and (o.exclusive or r.kind = any(k.shared_kinds))
),
in_hand as materialized (
    select h.kind, h.flow_type, h.client_account_id, h.engagement_id from runs h
    where h.state = 'running' and h.lease_until > mfo_now() - interval '10 s'
),
lane as materialized (
    select array(select distinct unnest(o.kinds) from offering o) as kinds
)
select r.flow_type, r.flow_version, r.phase_name, r.priority, r.queued_at,
       (select sum(o.places) from offering o)::int,
       (select count(*) from in_hand h, lane l where h.kind = any(l.kinds))::int,
       (select case when bool_and(o.tenant_runs is not null) then max(o.tenant_runs) end from offering o)::int,
       (select count(*) from in_hand h where h.client_account_id = r.client_account_id
          and h.engagement_id = r.engagement_id)::int,
       (select case when bool_and(t.most is not null) then max(t.most) end
        from (select (select l.most from unnest(o.limited_types, o.limits) as l(flow_type, most) where l.flow_type = r.flow_type)
              from offering o) t(most))::int,
       (select count(*) from in_hand h where h.flow_type = r.flow_type)::int,
       (select count(*) from (
            select from lane l cross join unnest(l.kinds) as k(kind) cross join lateral (
                select from runs b
                where b.state = 'queued' and b.kind = k.kind
                  and b.client_account_id = r.client_account_id and b.engagement_id = r.engagement_id
                  and (b.priority, b.queued_at, b.id) < (r.priority, r.queued_at, r.id)
                limit %b
            ) b limit %b
        ) b)::int
from r
"""


class Wait(NamedTuple):
    """What a flow waits for.

    `since` and `until` are times of the store. `before`: runs of its own tenant that go first, counted up to 10,000;
    `running` of `limit` are in hand where a limit holds it, or where all places are taken.
    """

    reason: Reason
    message: str
    since: datetime
    until: datetime | None = None
    priority: int | None = None
    before: int | None = None
    running: int | None = None
    limit: int | None = None


async def for_place(pool: AsyncConnectionPool[Connection], run_id: UUID) -> Wait | None:
    """Why a run has not begun; none where it has, or is over."""
    async with pool.connection() as connection:
        cursor = await connection.execute(WHY, (run_id, MOST_COUNTED, MOST_COUNTED))
        row = await cursor.fetchone()
        if row is None:
            return None
        missing = await lacking_for(connection, *row[:3]) if row[5] is None else []
    (
        flow_type,
        version,
        phase,
        priority,
        since,
        places,
        held,
        most_of_tenant,
        of_tenant,
        most_of_type,
        of_type,
        before,
    ) = row

    def wait(reason: Reason, message: str, running: int | None = None, limit: int | None = None) -> Wait:
        return Wait(reason, message, since, None, priority, before, running, limit)

    if places is None:
        there = f" Not known to be there: {', '.join(missing)}." if missing else ""
        return wait(
            "no_process",
            f"No process that is running offers phase {phase} of {flow_type} {version}; start mfo consumers that have its"
            f" handlers.{there}",
        )
    if most_of_type is not None and of_type >= most_of_type:
        return wait(
            "flow_type_limit",
            f"{of_type} runs of flow type {flow_type} are in hand, and its limit is {most_of_type}.",
            of_type,
            most_of_type,
        )
    if most_of_tenant is not None and of_tenant >= most_of_tenant:
        return wait(
            "tenant_limit",
            f"{of_tenant} runs of this tenant are in hand, and the limit is {most_of_tenant}.",
            of_tenant,
            most_of_tenant,
        )
    if held >= places:
        return wait("no_free_place", f"All {places} places for such work are taken.", held, places)
    if before:
        return wait("others_first", f"{before} runs of this tenant go first, by their priority or age.", held, places)
    return wait("starting", "A place is free; it begins in a moment.", held, places)


async def for_retry(pool: AsyncConnectionPool[Connection], flow_id: UUID, timer: str, since: datetime) -> Wait | None:
    """Until when a flow waits to try again; none where it no longer does."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "select due_at from timers where flow_id = %s and name = %s", (flow_id, timer)
        )
        row = await cursor.fetchone()
    return None if row is None else Wait("retry", "It is tried again when the time has come.", since, row[0])
