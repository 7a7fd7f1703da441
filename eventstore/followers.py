"""Followers on the store's side: who leads, where each stands in the log, and the events set aside.

A follower reads the log in the order of its commits and does what follows from each event. Its position moves in the
transaction in which it writes, so what it writes happens once; what it asks of flows has ids that follow from the event, and
may be asked twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from domain.flow import Recorded
from eventstore.codec import decode
from eventstore.database import Connection

LEASE_SECONDS = 12.0
RETRY_SECONDS, LONGEST_RETRY_SECONDS = 5.0, 600.0

# a lease that ends later than any that is given now is one from before the clock went back
LEAD = """
update followers set epoch = epoch + (leader is distinct from %s)::int, leader = %s,
       lease_until = mfo_now() + make_interval(secs => %s)
where name = %s and (leader is null or leader = %s or lease_until < mfo_now()
                     or lease_until > mfo_now() + make_interval(secs => %s))
returning epoch, position, (select coalesce(max(notification_id), 0) from stored_events),
          exists (select from followers_set_aside a where a.follower = name)
"""
MOVE = """
update followers set position = %s, moved_at = mfo_now(), lease_until = mfo_now() + make_interval(secs => %s)
where name = %s and epoch = %s returning position
"""
RELEASE = "update followers set leader = null, lease_until = null where name = %s and leader = %s"

# a stretch of the log at a time, so that a follower of rare events does not read all of it in one statement
NEXT = """
with upto as materialized (
    select least(coalesce(max(notification_id), 0), %s::bigint + %s) as n from stored_events
)
select upto.n, e.notification_id, e.originator_id, e.originator_version, e.topic, e.state
from upto left join lateral (
    select * from stored_events
    where notification_id > %s and notification_id <= upto.n and topic = any(%s::text[])
    order by notification_id limit %s
) e on true order by e.notification_id
"""
SET_ASIDE = """
insert into followers_set_aside (follower, position, flow_id, version, error, since, retry_at)
values (%s, %s, %s, %s, %s, mfo_now(), mfo_now() + make_interval(secs => %s))
on conflict (follower, position) do update set error = excluded.error, attempts = followers_set_aside.attempts + 1,
    retry_at = mfo_now() + make_interval(secs => least(%s * power(2::float8, least(followers_set_aside.attempts, 20)), %s))
"""
AGAIN = """
select e.notification_id, e.originator_id, e.originator_version, e.topic, e.state
from followers_set_aside a join stored_events e on e.notification_id = a.position
where a.follower = %s and a.retry_at <= mfo_now() order by a.position limit %s
"""

STRETCH = 10_000


class Happened(NamedTuple):
    """An event with its place in the log."""

    position: int
    recorded: Recorded


class Lead(NamedTuple):
    """That this process leads, under which epoch, and where to go on; where the log ends, and whether events were set aside."""

    epoch: int
    position: int
    end: int
    aside: bool


class Stretch(NamedTuple):
    """What is new: the events that matter, up to where the log was read, and whether that was its end."""

    events: list[Happened]
    upto: int
    last: bool


async def lead(connection: Connection, name: str, who: str) -> Lead | None:
    """Take the lead, or keep it; none where another process has it."""
    asked = (who, who, LEASE_SECONDS, name, who, LEASE_SECONDS + 1.0)
    row = await (await connection.execute(LEAD, asked)).fetchone()
    return Lead(*row) if row is not None else None


async def release(connection: Connection, name: str, who: str) -> None:
    """Let another process lead at once."""
    await connection.execute(RELEASE, (name, who))


async def following(connection: Connection, position: int, topics: Sequence[str], limit: int) -> Stretch:
    """The next events of these topics after a place in the log."""
    rows: list[tuple[Any, ...]] = await (
        await connection.execute(NEXT, (position, STRETCH, position, list(topics), limit), binary=True)
    ).fetchall()
    events = [_happened(row[1:]) for row in rows if row[1] is not None]
    full = len(events) == limit
    upto = events[-1].position if full else max(position, int(rows[0][0]))
    return Stretch(events, upto, last=not full and upto < position + STRETCH)


async def move(connection: Connection, name: str, epoch: int, position: int) -> bool:
    """Keep where the follower stands; False where another one leads by now."""
    row = await (await connection.execute(MOVE, (position, LEASE_SECONDS, name, epoch))).fetchone()
    return row is not None


async def set_aside(connection: Connection, name: str, event: Happened, error: str) -> None:
    """Note that nothing could follow from an event; the next attempt is further off each time, ten minutes at most."""
    recorded = event.recorded
    about = (name, event.position, recorded.flow_id, recorded.version, error)
    await connection.execute(SET_ASIDE, (*about, RETRY_SECONDS, RETRY_SECONDS, LONGEST_RETRY_SECONDS))


async def to_try_again(connection: Connection, name: str, limit: int = 50) -> list[Happened]:
    """The events set aside whose time has come."""
    rows = await (await connection.execute(AGAIN, (name, limit), binary=True)).fetchall()
    return [_happened(row) for row in rows]


async def done_after_all(connection: Connection, name: str, position: int) -> None:
    """An event that was set aside has been seen to."""
    await connection.execute("delete from followers_set_aside where follower = %s and position = %s", (name, position))


def _happened(row: Sequence[Any]) -> Happened:
    position, flow_id, version, topic, state = row
    return Happened(int(position), decode(UUID(str(flow_id)), int(version), topic, state))
