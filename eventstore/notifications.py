"""Notifications: one row for every event and address, claimed under a lease by whoever sends it.

A claim counts as an attempt and has a number of its own. Whoever died between sending and noting is found by its lease: the
row is claimed again and sent once more under the same id, by which its receiver can tell.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import msgspec
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from domain.commands import Envelope, Tenant
from domain.errors import NotHere, SubscriptionDisabled
from domain.events import FlowCreated, FlowImported
from eventstore.acts import Act, acting
from eventstore.codec import decode
from eventstore.database import Connection
from eventstore.notices import Channel

Json = dict[str, Any]

FOLLOWER = "notifications"
PENDING, SENT, DEAD, DROPPED = "pending", "sent", "dead", "dropped"
STATES = (PENDING, SENT, DEAD, DROPPED)
KEPT_TRIES = 10
NEVER_SAID = "the process that sent it never said what came of it"

BEGINNINGS = (
    "select originator_id, topic, state from stored_events where originator_id = any(%s) and originator_version = 1"
)
INSERT = """
with kept as (
    insert into notifications (id, flow_id, version, client_account_id, engagement_id, event, subscription_id, kind, target,
                               addressed, payload, due_at, created_at)
    select n.*, at, at
    from unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::uuid[], %s::uuid[], %s::text[], %s::uuid[], %s::text[], %s::text[],
                %s::text[], %s::json[]) as n, mfo_now() as at
    on conflict do nothing returning 1
)
select count(*), pg_notify('mfo_notifications', current_schema()) from kept having count(*) > 0
"""
# The addresses that something waits for are found by jumping from one to the next. Each may have so many in hand; then turns
# go round the tenants, so that neither a slow receiver nor a tenant with many keeps the others waiting.
CLAIM = """
with recursive waiting(addressed) as (
    (select addressed from notifications where state = 'pending' order by addressed limit 1)
    union all
    select (select n.addressed from notifications n where n.state = 'pending' and n.addressed > w.addressed
            order by n.addressed limit 1)
    from waiting w where w.addressed is not null
),
at as materialized (select mfo_now() as now),
due as materialized (
    select d.id, d.due_at,
           row_number() over (partition by d.client_account_id, d.engagement_id order by d.turn, d.due_at, d.id) as turn
    from waiting w cross join at cross join lateral (
        select n.id, n.due_at, n.client_account_id, n.engagement_id, row_number() over (order by n.due_at, n.id) as turn
        from notifications n
        where n.state = 'pending' and n.addressed = w.addressed and n.due_at <= at.now
          and (n.lease_until is null or n.lease_until < at.now)
        order by n.due_at, n.id
        limit greatest(0, %(per_address)s - (
            select count(*) from notifications l
            where l.state = 'pending' and l.lease_until is not null and l.addressed = w.addressed and l.lease_until >= at.now))
    ) d where w.addressed is not null
    order by turn, d.due_at limit %(most)s
),
mine as materialized (
    select n.id, n.lease_until is not null as lapsed from notifications n cross join at
    where n.id in (select id from due) and n.state = 'pending' and (n.lease_until is null or n.lease_until < at.now)
    for update of n skip locked
)
update notifications n set claims = n.claims + 1, attempts = n.attempts + 1,
       lease_until = at.now + make_interval(secs => %(lease)s),
       tries = case when mine.lapsed then n.tries || %(silent)s::jsonb else n.tries end
from mine cross join at
where n.id = mine.id
returning n.id, n.claims, n.attempts, n.flow_id, n.version, n.client_account_id, n.engagement_id, n.event,
          n.subscription_id, n.kind, n.target, n.payload::text, n.tries, n.due_at, at.now
"""
NEXT = """
select extract(epoch from min(due_at) - mfo_now())::float8 from notifications where state = 'pending' and due_at > mfo_now()
"""
SIGNING = """
select state, secret, case when former_until > mfo_now() then former_secret end from subscriptions where id = %s
"""
NOTE = """
update notifications set state = %(state)s, tries = %(tries)s, lease_until = null,
       due_at = mfo_now() + make_interval(secs => %(after)s), ended_at = case when %(state)s <> 'pending' then mfo_now() end
where id = %(id)s and claims = %(claims)s and state = 'pending' returning 1
"""
DROP = """
update notifications set state = 'dropped', lease_until = null, ended_at = mfo_now(),
       tries = tries || jsonb_build_array(jsonb_build_object('at', mfo_now(), 'status', null, 'error', %s::text, 'took_ms', null))
where subscription_id = %s and state = 'pending'
"""
COLUMNS = (
    "n.id as notification_id, n.event, n.state, n.kind, n.target, n.subscription_id, n.flow_id, n.version, n.attempts, n.replays,"
    " case when n.state = 'pending' then n.due_at end as due_at, n.created_at, n.ended_at,"
    " n.tries -> -1 ->> 'error' as last_error, (n.tries -> -1 ->> 'status')::int as last_status"
)
OF_TENANT = "n.client_account_id = %(client)s and n.engagement_id = %(engagement)s"
PAGE = f"""
select {COLUMNS} from notifications n
where {OF_TENANT} and (%(state)s::text is null or n.state = %(state)s) and (%(event)s::text is null or n.event = %(event)s)
  and (%(flow)s::uuid is null or n.flow_id = %(flow)s)
  and (%(subscription)s::uuid is null or n.subscription_id = %(subscription)s)
  and (%(before)s::timestamptz is null or (n.created_at, n.id) < (%(before)s, %(below)s))
order by n.created_at desc, n.id desc limit %(limit)s
"""
ONE = f"""
select {COLUMNS}, n.tries, n.payload, s.state as subscription_state from notifications n
left join subscriptions s on s.id = n.subscription_id
where n.id = %(id)s and {OF_TENANT}
"""
REPLAY = """
update notifications set attempts = case when state = 'pending' then attempts else 0 end, state = 'pending', due_at = mfo_now(),
       ended_at = null, replays = replays + 1
where id = %s
"""
# one that is in somebody's hand is counted as waiting
COUNTS = """
select (select count(*) from notifications where state = 'pending'),
       (select count(*) from notifications where state = 'dead'),
       (select coalesce(greatest(extract(epoch from mfo_now() - min(due_at)), 0), 0)::float8
        from notifications where state = 'pending')
"""
FORGET = """
delete from notifications where id in (
    select id from notifications where ended_at < mfo_now() - make_interval(days => %s) order by ended_at limit 10000)
"""


class NotificationNotFound(NotHere):
    """There is no notification with this id."""

    code = "notification_not_found"


class ToTell(NamedTuple):
    """A notification to be made; `subscription_id` is none where the flow itself names the address."""

    flow_id: UUID
    version: int
    client_account_id: UUID
    engagement_id: UUID
    event: str
    subscription_id: UUID | None
    kind: str
    target: str
    payload: Json

    @property
    def addressed(self) -> str:
        """What the event is told once to: an address of mail, or the subscription of a webhook."""
        return f"webhook:{self.subscription_id}" if self.kind == "webhook" else f"email:{self.target.lower()}"

    @property
    def id(self) -> UUID:
        """It follows from the event and whom it is told to."""
        return uuid5(self.flow_id, f"notification:{self.version}:{self.addressed}")


class Claimed(NamedTuple):
    """A notification in hand; `now` is the store's time, `tries` are the attempts before."""

    id: UUID
    claims: int
    attempts: int
    flow_id: UUID
    version: int
    client_account_id: UUID
    engagement_id: UUID
    event: str
    subscription_id: UUID | None
    kind: str
    target: str
    payload: str
    tries: list[Json]
    due_at: datetime
    now: datetime


class Signing(NamedTuple):
    """Whether a subscription is told anything, and its secrets, sealed."""

    state: str
    secret: Json | None
    former: Json | None


class Counts(NamedTuple):
    """How many wait or are dead, and for how many seconds the first has been due."""

    pending: int
    dead: int
    lag_seconds: float


async def beginnings(connection: Connection, flow_ids: Collection[UUID]) -> dict[UUID, FlowCreated | FlowImported]:
    """How these flows began; raises UnknownTopic for one that only a newer version understands."""
    rows = await (await connection.execute(BEGINNINGS, (list(flow_ids),), binary=True)).fetchall()
    found = [decode(flow_id, 1, topic, state) for flow_id, topic, state in rows]
    return {each.flow_id: each.fact for each in found if isinstance(each.fact, FlowCreated | FlowImported)}


async def make(connection: Connection, wanted: Sequence[ToTell]) -> int:
    """Make rows in the caller's transaction, and wake the senders; those that are there already stay. How many are new."""
    if not wanted:
        return 0
    columns = (
        [each.id for each in wanted],
        [each.flow_id for each in wanted],
        [each.version for each in wanted],
        [each.client_account_id for each in wanted],
        [each.engagement_id for each in wanted],
        [each.event for each in wanted],
        [each.subscription_id for each in wanted],
        [each.kind for each in wanted],
        [each.target for each in wanted],
        [each.addressed for each in wanted],
        [msgspec.json.encode(each.payload).decode() for each in wanted],
    )
    row = await (await connection.execute(INSERT, columns)).fetchone()
    return int(row[0]) if row else 0


class Notifications:
    """The statements about notifications."""

    def __init__(self, pool: AsyncConnectionPool[Connection]) -> None:
        self._pool = pool

    async def claim(self, most: int, *, per_address: int, lease_seconds: float) -> list[Claimed]:
        """At most so many that are due, in nobody's hand, and not more of one address than `per_address` in all hands."""
        silent = msgspec.json.encode([{"at": None, "status": None, "error": NEVER_SAID, "took_ms": None}]).decode()
        values = {"most": most, "per_address": per_address, "lease": lease_seconds, "silent": silent}
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(CLAIM, values)).fetchall()
        return sorted((Claimed(*row) for row in rows), key=lambda one: (one.due_at, one.id))

    async def next_seconds(self) -> float | None:
        """In how many seconds the next one will be due; none: no other waits for its time."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(NEXT)).fetchone()
        return row[0] if row else None

    async def signing(self, subscription_id: UUID) -> Signing | None:
        """A subscription as its sender needs it."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(SIGNING, (subscription_id,))).fetchone()
        return Signing(*row) if row else None

    async def note(self, claimed: Claimed, state: str, tried: Json, after_seconds: float = 0.0) -> bool:
        """Keep what an attempt came to; `pending` with the seconds until the next. False where somebody else has it by now."""
        tries = [*claimed.tries, tried][-KEPT_TRIES:]
        values = {
            "id": claimed.id,
            "claims": claimed.claims,
            "state": state,
            "tries": msgspec.json.encode(tries).decode(),
            "after": after_seconds,
        }
        async with self._pool.connection() as connection:
            return await (await connection.execute(NOTE, values)).fetchone() is not None

    async def counts(self) -> Counts:
        """How it stands with all of them."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(COUNTS)).fetchone()
        assert row is not None
        return Counts(*row)

    async def forget(self, days: int) -> int:
        """Remove what was ended longer ago; at most 10,000 of them. How many."""
        async with self._pool.connection() as connection:
            return (await connection.execute(FORGET, (days,))).rowcount

    async def page(
        self,
        tenant: Tenant,
        limit: int,
        *,
        state: str | None = None,
        event: str | None = None,
        flow_id: UUID | None = None,
        subscription_id: UUID | None = None,
        before: tuple[datetime, UUID] | None = None,
    ) -> list[Json]:
        """The tenant's notifications, the newest first; `before` is `(created_at, id)` of the last one seen."""
        at, below = before or (None, None)
        wanted = {"state": state, "event": event, "flow": flow_id, "subscription": subscription_id}
        values = wanted | {"before": at, "below": below, "limit": limit}
        return [_view(row) for row in await self._rows(PAGE, tenant, values)]

    async def one(self, tenant: Tenant, notification_id: UUID) -> Json:
        """A notification with its `payload` and the last of its attempts, `tries[]`. Raises NotificationNotFound."""
        rows = await self._rows(ONE, tenant, {"id": notification_id})
        if not rows:
            raise NotificationNotFound
        row = _view(rows[0])
        del row["subscription_state"]
        return row

    async def replay(self, envelope: Envelope, notification_id: UUID) -> Json:
        """Send it at once, whatever became of it, under the id that it has; the notification after it.

        Raises NotificationNotFound, SubscriptionDisabled and KeyReused.
        """
        tenant = Tenant(envelope.client_account_id, envelope.engagement_id, envelope.user_id)
        async with acting(self._pool) as doing:
            connection = doing.connection
            rows = await _rows(connection, f"{ONE} for update of n", tenant, {"id": notification_id})
            if not rows:
                raise NotificationNotFound
            off = rows[0]["subscription_id"] is not None and rows[0]["subscription_state"] != "active"
            act = Act("ReplayNotification", notification_id, {})
            before = await doing.keep(envelope, act, SubscriptionDisabled() if off else None)
            if before is None and not off:
                await connection.execute(REPLAY, (notification_id,))
            # a repeat too: a sender that looked just now passed by the row, which is ours until the end of this
            await connection.execute("select pg_notify(%s, current_schema())", (Channel.NOTIFICATIONS.value,))
        if before is None and off:
            raise SubscriptionDisabled
        return await self.one(tenant, notification_id)

    async def _rows(self, statement: str, tenant: Tenant, values: Json) -> list[Json]:
        async with self._pool.connection() as connection:
            return await _rows(connection, statement, tenant, values)


async def _rows(connection: Connection, statement: str, tenant: Tenant, values: Json) -> list[Json]:
    who = {"client": tenant.client_account_id, "engagement": tenant.engagement_id}
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement, values | who)
        return await cursor.fetchall()


def _view(row: Json) -> Json:
    shown = {name: value for name, value in row.items() if name != "target"}
    webhook = row["kind"] == "webhook"
    return shown | {"url": row["target"] if webhook else None, "address": None if webhook else row["target"]}
