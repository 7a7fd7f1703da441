"""How long the audit trail is kept, by category, and what is held back from that.

What is removed goes together: the entries of one command with its row in the command log, of which the digest stays as a leaf
of the checkpoints; or the entries of one event, of which hashes stay, for the event itself is history and stays. Only what
has been signed is removed, and nothing that is under a hold. Who set what, and what was removed, are commands themselves.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple
from uuid import UUID, uuid4, uuid5

from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from domain.auditing.trail import NOBODY, Category, Entry, Source
from domain.commands import Envelope, Tenant
from domain.errors import NotHere
from domain.words import SYSTEM_USER
from eventstore.acts import Act, acting
from eventstore.audit.leaves import COMMAND_SELECT, command_digest
from eventstore.audit.notes import Note, note
from eventstore.audit.trail import digest
from eventstore.database import Connection

Json = dict[str, Any]

BATCH = 2000
STAYS = [
    *("apply_audit_retention", "set_audit_retention", "place_legal_hold", "release_legal_hold", "adopt_audit_policy"),
]
"""Operations whose rows of the command log are never removed."""

SET = """
insert into audit_retention (client_account_id, category, keep_days, set_by, set_at) values (%s, %s, %s, %s, mfo_now())
on conflict (client_account_id, category) do update
set keep_days = excluded.keep_days, set_by = excluded.set_by, set_at = excluded.set_at
"""
UNSET = "delete from audit_retention where client_account_id = %s and category = %s"
RETENTION = "select category, keep_days, set_by, set_at from audit_retention where client_account_id = %s"
HOLD = """
insert into audit_holds (id, client_account_id, engagement_id, flow_id, reason, placed_by, placed_at)
values (%s, %s, %s, %s, %s, %s, mfo_now()) on conflict do nothing
"""
RELEASE = """
update audit_holds set released_by = %s, released_at = mfo_now()
where id = %s and client_account_id = %s and engagement_id = %s and released_at is null
"""
HOLDS = """
select id as hold_id, flow_id, reason, placed_by, placed_at, released_by, released_at from audit_holds
where client_account_id = %s and engagement_id = %s and (%s::uuid is null or id = %s) order by placed_at desc, id
"""
# what removal goes by: nothing of it may change meanwhile
GROUNDS = """
select (select count(*) from audit_holds where client_account_id = %(account)s),
       (select array_agg((category, keep_days, set_at)::text order by category) from audit_retention
        where client_account_id = %(account)s)
"""
ACCOUNTS = "select distinct client_account_id from audit_retention"
DUE = """
with rules as (select category, keep_days from audit_retention where client_account_id = %(account)s),
signed as (
    select coalesce(max((convert_from(statement, 'UTF8')::json #>> '{commands,upto}')::bigint), 0) as upto
    from audit_checkpoints where client_account_id = %(account)s and number = (
        select max(number) from audit_checkpoints where client_account_id = %(account)s)
)
select a.source, a.place from audit_events_v1 a left join rules r on r.category = a.category
where a.client_account_id = %(account)s
  and a.at < mfo_now() - make_interval(days => (select min(keep_days) from rules))
group by a.source, a.place
-- what says what was removed, and under what, stays: verification holds removals, retention and holds against it
having not bool_or(a.operation = any(%(stays)s)) and bool_and(coalesce(a.at < mfo_now() - make_interval(days => r.keep_days), false))
   and not bool_or(exists (
        select from audit_holds h where h.client_account_id = a.client_account_id and h.engagement_id = a.engagement_id
        and h.released_at is null and (h.flow_id is null or h.flow_id = a.flow_id)))
   and (a.source = 'event' or a.place <= (select upto from signed))
order by a.source, a.place limit %(limit)s
"""
ENTRIES = """
select {columns}, policy from audit_events_v1 a
join unnest(%s::text[], %s::bigint[]) as d(source, place) on (a.source, a.place) = (d.source, d.place)
"""
LEAVE_ENTRIES = """
insert into audit_events_removed (source, place, part, policy, hash)
select * from unnest(%s::text[], %s::bigint[], %s::smallint[], %s::smallint[], %s::bytea[])
"""
COMMANDS = f"select at as moment, {COMMAND_SELECT} from command_log where n = any(%s) and at >= %s and at <= %s"
LEAVE_COMMANDS = """
insert into command_log_removed (n, client_account_id, digest, removed_at)
select n, client, digest, mfo_now() from unnest(%s::bigint[], %s::uuid[], %s::bytea[]) as d(n, client, digest)
"""
REMOVE_COMMANDS = "delete from command_log where n = any(%s) and at >= %s and at <= %s"
REMOVE = """
delete from audit_events_v1 a using unnest(%s::text[], %s::bigint[]) as d(source, place)
where (a.source, a.place) = (d.source, d.place)
"""


class HoldNotFound(NotHere):
    """There is no such hold, or it was released."""

    code = "hold_not_found"


class _ChangedMeanwhile(Exception):
    """A hold was placed, or retention set anew, while entries were being removed."""


class Removed(NamedTuple):
    """What retention removed of an engagement, by category."""

    client_account_id: UUID
    engagement_id: UUID
    entries: Counter[str]


class Retention:
    """How long a client account's audit trail is kept, and an engagement's holds."""

    def __init__(self, pool: AsyncConnectionPool[Connection]) -> None:
        self._pool = pool

    async def set(self, envelope: Envelope, category: Category, keep_days: int | None, reason: str | None) -> None:
        """Keep entries of a category for so many days from now on; none: for ever. Raises KeyReused."""
        account = envelope.client_account_id
        act = Act("SetAuditRetention", NOBODY, {"category": category, "keep_days": keep_days, "reason": reason})
        async with acting(self._pool) as doing:
            if await doing.keep(envelope, act) is not None:
                return
            if keep_days is None:
                await doing.connection.execute(UNSET, (account, category))
            else:
                await doing.connection.execute(SET, (account, category, keep_days, envelope.user_id))

    async def all(self, account: UUID) -> list[Json]:
        """Every category: `{category, keep_days, set_by, set_at}`, the days null where it is kept for ever."""
        rows = {row["category"]: row for row in await self._rows(RETENTION, (account,))}
        none = {"keep_days": None, "set_by": None, "set_at": None}
        return [rows.get(category) or {"category": category, **none} for category in Category]

    async def place(self, envelope: Envelope, flow_id: UUID | None, reason: str) -> UUID:
        """Hold back the engagement's entries, or those of a flow, from now on; answers the hold's id. Raises KeyReused."""
        hold = uuid5(envelope.client_account_id, f"hold:{envelope.engagement_id}:{envelope.command_id}")
        act = Act("PlaceLegalHold", flow_id or NOBODY, {"hold_id": hold, "reason": reason})
        whose = (envelope.client_account_id, envelope.engagement_id)
        async with acting(self._pool) as doing:
            if await doing.keep(envelope, act) is None:
                await doing.connection.execute(HOLD, (hold, *whose, flow_id, reason, envelope.user_id))
        return hold

    async def release(self, envelope: Envelope, hold: UUID, reason: str | None) -> None:
        """Let retention remove what was held; raises HoldNotFound and KeyReused."""
        found = await self.holds(_tenant(envelope), hold)
        subject = found[0]["flow_id"] if found else None
        act = Act("ReleaseLegalHold", subject or NOBODY, {"hold_id": hold, "reason": reason})
        whose = (envelope.client_account_id, envelope.engagement_id)
        async with acting(self._pool) as doing:
            if await doing.keep(envelope, act) is None:
                cursor = await doing.connection.execute(RELEASE, (envelope.user_id, hold, *whose))
                if not cursor.rowcount:
                    raise HoldNotFound

    async def holds(self, tenant: Tenant, hold: UUID | None = None) -> list[Json]:
        """The engagement's holds, the newest first, released ones too; or one of them."""
        return await self._rows(HOLDS, (tenant.client_account_id, tenant.engagement_id, hold, hold))

    async def _rows(self, statement: str, asked: tuple[Any, ...]) -> list[Json]:
        async with self._pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(statement.encode(), asked)
            return await cursor.fetchall()


async def apply(connection: Connection) -> list[Removed]:
    """Remove what may go by now, of every account; 2,000 origins of each in one transaction."""
    removed: list[Removed] = []
    for (account,) in await (await connection.execute(ACCOUNTS)).fetchall():
        while True:
            try:
                async with connection.transaction():
                    some = await _remove(connection, account)
            except _ChangedMeanwhile:
                continue
            removed += some
            if not some:
                break
    return removed


async def _remove(connection: Connection, account: UUID) -> list[Removed]:
    grounds = await (await connection.execute(GROUNDS, {"account": account})).fetchone()
    due = await (await connection.execute(DUE, {"account": account, "limit": BATCH, "stays": STAYS})).fetchall()
    if not due:
        return []
    which = ([row[0] for row in due], [row[1] for row in due])
    statement = ENTRIES.format(columns=", ".join(f"a.{name}" for name in Entry._fields))
    entries = await (await connection.execute(statement.encode(), which, binary=True)).fetchall()
    engagements: dict[UUID, Counter[str]] = {}
    places: dict[UUID, dict[str, set[int]]] = {}
    for row in entries:
        entry = Entry(*row[:-1])
        engagements.setdefault(entry.engagement_id, Counter())[entry.category] += 1
        places.setdefault(entry.engagement_id, {}).setdefault(f"{entry.source}s", set()).add(entry.place)
    of_events = [row for row in entries if row[0] == Source.EVENT]
    await connection.execute(
        LEAVE_ENTRIES,
        (*([row[place] for row in of_events] for place in (0, 1, 2, -1)), [digest(row[:-1]) for row in of_events]),
    )
    await _remove_commands(connection, account, [row for row in entries if row[0] == Source.COMMAND])
    await connection.execute(REMOVE, which)
    days = min(row[1] for row in await (await connection.execute(RETENTION, (account,))).fetchall())
    for engagement, counts in engagements.items():
        envelope = Envelope(
            command_id=str(uuid4()),
            client_account_id=account,
            engagement_id=engagement,
            user_id=SYSTEM_USER,
            correlation_id="retention",
            source="retention",
        )
        reason = "older than what is to be kept"
        said: Json = {"removed": dict(counts), "keep_days": days, "reason": reason}
        # verification holds what is gone against these
        said |= {name: sorted(some) for name, some in places[engagement].items()}
        await note(connection, envelope, Note("ApplyAuditRetention", None, said))
    # the notes hold the store's lock, under which both are changed: what is not seen now comes after this is committed
    if await (await connection.execute(GROUNDS, {"account": account})).fetchone() != grounds:
        raise _ChangedMeanwhile
    return [Removed(account, engagement, counts) for engagement, counts in engagements.items()]


async def _remove_commands(connection: Connection, account: UUID, entries: list[tuple[Any, ...]]) -> None:
    if not entries:
        return
    moments = [Entry(*row[:-1]).at for row in entries]
    which = (sorted({row[1] for row in entries}), min(moments), max(moments))
    rows = await (await connection.execute(COMMANDS.encode(), which, binary=True)).fetchall()
    digests = [command_digest(row[1:]) for row in rows]
    await connection.execute(LEAVE_COMMANDS, ([row[1] for row in rows], [account] * len(rows), digests))
    await connection.execute(REMOVE_COMMANDS, which)


def _tenant(envelope: Envelope) -> Tenant:
    return Tenant(envelope.client_account_id, envelope.engagement_id, envelope.user_id)
