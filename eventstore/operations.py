"""Operations in the store: which flows a filter chooses, whose turn is next, what became of each, and how far it is.

Flows are chosen from the read model, by one tenant's rows alone. An operation is in one process's hand at a time: the hand
lapses, and whoever writes an outcome still has it then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row, dict_row
from psycopg_pool import AsyncConnectionPool

from domain.fleet.commands import FlowFilter
from domain.fleet.subjects import AnySubject, Operation, PauseRule, StandingPause
from eventstore.database import Connection
from eventstore.fleet import read_snapshot

CLAIMED_SECONDS = 10.0
# the clock went back while somebody had it in hand
ODD_SECONDS = 60.0
# in all hands; the others of a tenant wait for one of them to end
MOST_OF_TENANT = 16
FLOWS = "crewai_flow_state_extensions"
ACCEPTED, REFUSED, PARKED, LEFT = "accepted", "refused", "parked", "left"

# turns go round the tenants, so that one with many operations keeps nobody waiting
CLAIM = """
with at as materialized (select mfo_now() as now, mfo_now() + make_interval(secs => %(odd)s) as odd),
due as (
    select o.id, o.wake_at, row_number() over (partition by o.client_account_id, o.engagement_id order by o.wake_at, o.id) + (
        select count(*) from operations h where h.wake_at > at.now and h.wake_at <= at.odd
          and (h.client_account_id, h.engagement_id) = (o.client_account_id, o.engagement_id)) as turn
    from operations o cross join at where o.wake_at <= at.now or o.wake_at > at.odd
), running as (
    select o.id from operations o cross join at
    where o.id in (select id from due where turn <= %(of_tenant)s order by turn, wake_at limit %(limit)s)
      and (o.wake_at <= at.now or o.wake_at > at.odd) for update of o skip locked
), operation as (
    update operations o set wake_at = mfo_now() + make_interval(secs => %(claimed)s) from running r where o.id = r.id
    returning o.id, o.snapshot
), owned as (
    insert into operation_progress as p (operation_id, owner) select id, %(owner)s from operation
    on conflict (operation_id) do update set owner = excluded.owner
), standing_pause as (
    update standing_pauses s set wake_at = mfo_now() + make_interval(secs => %(claimed)s)
    where s.id in (select id from standing_pauses where wake_at <= mfo_now() for update skip locked) returning s.snapshot
), rule as (
    update pause_rules s set wake_at = mfo_now() + make_interval(secs => %(claimed)s)
    where s.id in (select id from pause_rules where wake_at <= mfo_now() for update skip locked) returning s.snapshot
)
select 'operation', snapshot from operation
union all select 'standing_pause', snapshot from standing_pause
union all select 'rule', snapshot from rule
union all select 'armed', null where exists (select from pause_rules where state = 'armed')
"""
SORTS: dict[str, type[AnySubject]] = {"operation": Operation, "standing_pause": StandingPause, "rule": PauseRule}
SETTLED = "update {} set wake_at = null where id = %s and version = %s"
LOOK_AGAIN = """
update operations set wake_at = mfo_now() + make_interval(secs => %s)
where id = %s and version = %s and wake_at is not null
"""
# the read model shows everything up to there: it has come so far, or what is left concerns no flow
REACHED = """
select p.position, p.position >= h.place or not exists (
    select from stored_events e where e.notification_id > p.position and e.notification_id <= h.place
      and e.topic like 'mfo.flow.%%') as reached
from projections p cross join (
    select notification_id as place from stored_events where originator_id = %s and originator_version = 1
) h where p.name = %s
"""
OWNED = "select total, position from operation_progress where operation_id = %s and owner = %s for update"
LISTED = """
update operation_progress set total = %s, position = %s, began_at = mfo_now(), moved_at = mfo_now() where operation_id = %s
"""
LEFT_FLOWS = """
select n, flow_id from operation_flows where operation_id = %s and outcome is null and n > %s order by n limit %s
"""
TELL = """
with operation as materialized (
    -- in the order of a claim, or the two would wait for each other
    select id from operations where id = %(id)s for update
),
held as materialized (
    select p.operation_id from operation_progress p join operation on p.operation_id = operation.id
    where p.owner = %(owner)s for update of p
),
told as (
    update operation_flows f set outcome = u.outcome, version = u.version, code = u.code, detail = u.detail, at = mfo_now()
    from unnest(%(n)s::int[], %(outcome)s::text[], %(version)s::bigint[], %(code)s::text[], %(detail)s::text[])
        as u(n, outcome, version, code, detail)
    where f.operation_id = %(id)s and f.n = u.n and f.outcome is null and exists (select from held)
    returning f.outcome
),
moved as (
    update operation_progress p set
        accepted = p.accepted + (select count(*) from told where outcome = 'accepted'),
        refused = p.refused + (select count(*) from told where outcome = 'refused'),
        parked = p.parked + (select count(*) from told where outcome = 'parked'),
        per_second = %(per_second)s,
        moved_at = case when exists (select from told) then mfo_now() else p.moved_at end
    from held where p.operation_id = held.operation_id
)
update operations o set wake_at = mfo_now() + make_interval(secs => %(claimed)s)
from held where o.id = held.operation_id and o.state = 'running' and o.wake_at is not null
returning o.version
"""
FORGET = """
delete from pause_rule_counts c
where not exists (select from pause_rules r where r.id = c.pause_rule_id and r.state = 'armed')
"""
# one operation after the other; parked flows that have answered by now are counted first, for their outcomes go with the list
FORGET_FLOWS = """
with over as materialized (
    select o.id, o.client_account_id, o.engagement_id from operations o join operation_progress p on p.operation_id = o.id
    where o.state in ('completed', 'cancelled') and o.created_at < mfo_now() - make_interval(days => %(days)s)
      and exists (select from operation_flows f where f.operation_id = o.id)
      and (convert_from(o.snapshot, 'UTF8')::jsonb ->> 'ended_at')::timestamptz < mfo_now() - make_interval(days => %(days)s)
    order by o.created_at limit 1 for update of p skip locked
),
late as (
    select over.id, count(i.command_id) filter (where i.error is null)::int as accepted,
           count(i.command_id) filter (where i.error is not null)::int as refused
    from over join operation_flows f on f.operation_id = over.id and f.outcome = 'parked'
    join command_ids i on (i.client_account_id, i.engagement_id, i.command_id)
                        = (over.client_account_id, over.engagement_id, f.detail)
    group by over.id
),
counted as (
    update operation_progress p set accepted = p.accepted + l.accepted, refused = p.refused + l.refused,
           parked = p.parked - l.accepted - l.refused
    from late l where p.operation_id = l.id
),
gone as (delete from operation_flows f using over where f.operation_id = over.id)
select count(*) from over
"""
COUNTS = "select accepted, refused, parked from operation_progress where operation_id = %s"
# a parked flow's command comes to its outcome later, kept under its id
PROGRESS = """
select p.operation_id, p.total, p.accepted, p.refused, p.parked, p.per_second, p.began_at, p.moved_at, p.owner,
       coalesce(l.accepted, 0)::int as late_accepted, coalesce(l.refused, 0)::int as late_refused,
       p.total > 0 and not exists (select from operation_flows f where f.operation_id = p.operation_id) as forgotten
from operation_progress p left join lateral (
    select count(*) filter (where i.error is null) as accepted, count(*) filter (where i.error is not null) as refused
    from operation_flows f join operations o on o.id = f.operation_id
    join command_ids i on (i.client_account_id, i.engagement_id, i.command_id)
                        = (o.client_account_id, o.engagement_id, f.detail)
    where p.parked > 0 and f.operation_id = p.operation_id and f.outcome = 'parked'
) l on true
where p.operation_id = any(%s)
"""
FLOWS_OF = """
select f.n, f.flow_id, f.at,
       case when f.outcome = 'parked' and i.command_id is not null
            then case when i.error is null then 'accepted' else 'refused' end else coalesce(f.outcome, 'left') end as outcome,
       coalesce(f.version, i.version) as version,
       case when f.outcome = 'parked' then i.error::jsonb ->> 'code' else f.code end as code,
       case when f.outcome = 'parked' then i.error::jsonb ->> 'detail' else f.detail end as detail
from operation_flows f join operations o on o.id = f.operation_id
left join command_ids i on f.outcome = 'parked'
    and (i.client_account_id, i.engagement_id, i.command_id) = (o.client_account_id, o.engagement_id, f.detail)
where f.operation_id = %(id)s
"""


class InHand(NamedTuple):
    """What this process is to see to now, and whether any rule watches."""

    operations: list[Operation]
    standing_pauses: list[StandingPause]
    rules: list[PauseRule]
    armed: bool


class Outcome(NamedTuple):
    """What one flow answered; of one that is parked `detail` is the command's id."""

    n: int
    outcome: str
    version: int | None
    code: str | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an operation is. `late_*`: parked flows that have answered by now; `forgotten`: what became of each flow was
    removed, so long ago has it ended."""

    operation_id: UUID
    total: int | None
    accepted: int
    refused: int
    parked: int
    per_second: float | None
    began_at: datetime | None
    moved_at: datetime | None
    owner: str
    late_accepted: int
    late_refused: int
    forgotten: bool | None

    @property
    def done(self) -> int:
        """How many flows were asked."""
        return self.accepted + self.refused + self.parked


class Operations:
    """What the service and the api need of operations beside their history."""

    def __init__(self, pool: AsyncConnectionPool[Connection]) -> None:
        self._pool = pool

    # which flows

    async def count(self, account: UUID, engagement: UUID, wanted: FlowFilter, verb: str) -> tuple[int, int]:
        """How many flows a filter chooses now, and the place in the log that the read model has come to."""
        where, values = _conditions(account, engagement, wanted, verb)
        statement = sql.SQL(
            "select count(*), coalesce((select position from projections where name = %(projection)s), 0) from {} where {}"
        ).format(sql.Identifier(FLOWS), where)
        async with self._pool.connection() as connection:
            row = await (await connection.execute(statement, {**values, "projection": FLOWS})).fetchone()
        assert row is not None
        return int(row[0]), int(row[1])

    async def chosen(
        self,
        account: UUID,
        engagement: UUID,
        wanted: FlowFilter,
        verb: str,
        *,
        limit: int,
        after: tuple[datetime, UUID] | None,
    ) -> list[dict[str, Any]]:
        """A page of the flows that a filter chooses now, in the order in which they would be asked; one more than `limit` says
        there is another page."""
        where, values = _conditions(account, engagement, wanted, verb)
        if after is not None:
            where = sql.SQL("{} and (created_at, flow_id) > (%(key)s, %(last)s)").format(where)
            values |= {"key": after[0], "last": after[1]}
        statement = sql.SQL(
            "select flow_id, flow_type, flow_name, flow_status as status, current_phase, version, created_at,"
            " flow_metadata -> 'allowed' as allowed from {} where {} order by created_at, flow_id limit %(limit)s"
        ).format(sql.Identifier(FLOWS), where)
        async with self._pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(statement, {**values, "limit": limit + 1})
            return await cursor.fetchall()

    # what the runner needs

    async def claim(self, owner: str, limit: int) -> InHand:
        """Take what is to be done into hand for ten seconds, each by one process at a time."""
        values = {"owner": owner, "limit": limit, "odd": ODD_SECONDS, "claimed": CLAIMED_SECONDS}
        values["of_tenant"] = MOST_OF_TENANT
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(CLAIM, values, binary=True)).fetchall()
        found: dict[str, list[Any]] = {sort: [] for sort in SORTS}
        for sort, snapshot in rows:
            if sort in SORTS:
                found[sort].append(read_snapshot(SORTS[sort], snapshot))
        armed = any(sort == "armed" for sort, _ in rows)
        return InHand(found["operation"], found["standing_pause"], found["rule"], armed)

    async def settled(self, subject: StandingPause | PauseRule) -> None:
        """What followed from it has been done; one that has changed meanwhile is left as it is."""
        table = "standing_pauses" if isinstance(subject, StandingPause) else "pause_rules"
        async with self._pool.connection() as connection:
            await connection.execute(SETTLED.format(table), (subject.id, subject.version))

    async def look_again(self, operation: Operation, seconds: float) -> None:
        """Let an operation out of hand, to be looked at again in so many seconds."""
        async with self._pool.connection() as connection:
            await connection.execute(LOOK_AGAIN, (seconds, operation.id, operation.version))

    async def reached(self, operation: Operation) -> int | None:
        """The place in the log that the read model has come to, once everything before the operation's start is in it."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(REACHED, (operation.id, FLOWS))).fetchone()
        return int(row[0]) if row is not None and row[1] else None

    async def choose(self, operation: Operation, owner: str, most: int, place: int) -> tuple[int, int] | None:
        """Write down the flows of an operation, `most` and one at most, in the order in which they were made; how many, and the
        place in the log that the read model had come to: `place`, or that of who wrote them down before.

        None where another process has the operation.
        """
        assert operation.client_account_id is not None
        assert operation.engagement_id is not None
        wanted = FlowFilter.model_validate(operation.filter)
        where, values = _conditions(operation.client_account_id, operation.engagement_id, wanted, operation.verb)
        statement = sql.SQL(
            "insert into operation_flows (operation_id, n, flow_id) select %(id)s, row_number() over (), f.flow_id from ("
            " select flow_id from {} where {} order by created_at, flow_id limit %(limit)s) f"
        ).format(sql.Identifier(FLOWS), where)
        async with self._pool.connection() as connection, connection.transaction():
            row = await (await connection.execute(OWNED, (operation.id, owner))).fetchone()
            if row is None:
                return None
            if row[0] is not None:
                return int(row[0]), int(row[1])
            cursor = await connection.execute(statement, {**values, "id": operation.id, "limit": most + 1})
            total = cursor.rowcount
            await connection.execute(LISTED, (total, place, operation.id))
        return total, place

    async def left(self, operation_id: UUID, after: int, limit: int) -> list[tuple[int, UUID]]:
        """The next flows that have not been asked, by their number."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(LEFT_FLOWS, (operation_id, after, limit))).fetchall()
        return [(int(n), flow_id) for n, flow_id in rows]

    async def tell(self, operation_id: UUID, owner: str, outcomes: Sequence[Outcome], per_second: float | None) -> bool:
        """Write down what flows answered, and keep the operation in hand; False where it is to be left alone: paused, cancelled
        or in another process's hand."""
        values = {
            "id": operation_id,
            "owner": owner,
            "claimed": CLAIMED_SECONDS,
            "per_second": per_second,
            **{name: [getattr(each, name) for each in outcomes] for name in Outcome._fields},
        }
        async with self._pool.connection() as connection:
            return await (await connection.execute(TELL, values)).fetchone() is not None

    async def forget(self, keep_days: int = 0) -> None:
        """Forget what was counted for rules that watch no more, and what became of each flow of operations that ended more than
        so many days ago (0: never)."""
        async with self._pool.connection() as connection:
            await connection.execute(FORGET)
            while keep_days and (await (await connection.execute(FORGET_FLOWS, {"days": keep_days})).fetchone()) == (
                1,
            ):
                pass

    async def counts(self, operation_id: UUID) -> tuple[int, int, int]:
        """How many flows took it, refused it, and keep it waiting."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(COUNTS, (operation_id,))).fetchone()
        return (int(row[0]), int(row[1]), int(row[2])) if row is not None else (0, 0, 0)

    # what readers ask

    async def progress(self, operation_ids: Sequence[UUID]) -> dict[UUID, Progress]:
        """How far operations are; one that nobody has taken in hand yet is not among them."""
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Progress)) as cursor:
            await cursor.execute(PROGRESS, (list(operation_ids),))
            return {each.operation_id: each for each in await cursor.fetchall()}

    async def flows(
        self, operation_id: UUID, *, outcome: str | None, limit: int, after: int
    ) -> tuple[list[dict[str, Any]], int]:
        """What became of an operation's flows, those after number `after`, and how many there are of this outcome in all; one
        more than `limit` says there is another page."""
        rows = (
            sql.SQL("select * from (")
            + sql.SQL(FLOWS_OF)
            + sql.SQL(") f where (%(outcome)s::text is null or outcome = ")
        )
        rows += sql.SQL("%(outcome)s)")
        counted = sql.SQL("select count(*) as total from ({}) f").format(rows)
        listed = sql.SQL("{} and n > %(after)s order by n limit %(limit)s").format(rows)
        values = {"id": operation_id, "outcome": outcome, "after": after, "limit": limit + 1}
        async with self._pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(counted, values)
            total = (await cursor.fetchone() or {"total": 0})["total"]
            await cursor.execute(listed, values)
            return await cursor.fetchall(), int(total)


def _conditions(
    account: UUID, engagement: UUID, wanted: FlowFilter, verb: str
) -> tuple[sql.Composable, dict[str, Any]]:
    """The rows of the read model that a filter chooses: the tenant's, and of a retry those that have failed."""
    values: dict[str, Any] = {"client": account, "engagement": engagement}
    parts = ["client_account_id = %(client)s and engagement_id = %(engagement)s"]

    def add(condition: str, name: str, value: Any) -> None:
        if value is not None:
            parts.append(condition)
            values[name] = value

    if wanted.status is None:
        parts.append("flow_status <> 'deleted'")
    if verb == "retry":
        parts.append("flow_status = 'failed'")
    add("flow_status = any(%(statuses)s)", "statuses", list(wanted.status) if wanted.status else None)
    add("flow_type = any(%(types)s)", "types", list(wanted.type) if wanted.type else None)
    add("flow_tags ? %(tag)s", "tag", wanted.tag)
    add("(current_phase = %(phase)s or flow_metadata -> 'active_phases' ? %(phase)s)", "phase", wanted.phase)
    add("created_at > %(after)s", "after", wanted.created_after)
    add("created_at < %(before)s", "before", wanted.created_before)
    add("flow_id = any(%(ids)s)", "ids", list(wanted.flow_ids) if wanted.flow_ids else None)
    held = str(wanted.standing_pause_id) if wanted.standing_pause_id else None
    add("flow_metadata -> 'paused' ->> 'standing_pause_id' = %(held)s", "held", held)
    return sql.SQL(" and ").join(map(sql.SQL, parts)), values
