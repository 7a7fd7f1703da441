"""The links among flows: who is whose child, and who waits for whom."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple
from uuid import UUID

from eventstore.database import Connection

Kind = Literal["child", "waits"]

LINK = """
insert into flow_links (kind, other_id, flow_id) select * from unnest(%s::text[], %s::uuid[], %s::uuid[])
on conflict do nothing
"""
# those above a flow that it is a child of, and those that wait for it
CONCERNED = """
select f.id, l.kind, case l.kind when 'child' then l.other_id else l.flow_id end
from unnest(%b::uuid[]) as f (id)
join flow_links l on (l.kind = 'child' and l.flow_id = f.id) or (l.kind = 'waits' and l.other_id = f.id)
"""
PARENTS = "select distinct other_id from flow_links where kind = 'child' and other_id = any(%b)"
# the nearest first, so that who passes work on hears of it before those who would take it; what was begun after a verb was
# said is not what it was said of
BELOW = """
with recursive below (flow_id, depth) as (
    select flow_id, 1 from flow_links where kind = 'child' and other_id = %b
    union all
    select l.flow_id, b.depth + 1 from below b join flow_links l on l.kind = 'child' and l.other_id = b.flow_id
    where b.depth < 16
)
select b.flow_id from below b join stored_events e on e.originator_id = b.flow_id and e.originator_version = 1
where e.notification_id < coalesce(%b::bigint, e.notification_id + 1) order by b.depth, b.flow_id
"""


# a child has its place in the log from its first event on; one that was taken over was there before
BEGUN_SINCE = """
select l.flow_id from flow_links l
join stored_events e on e.originator_id = l.flow_id and e.originator_version = 1
where l.kind = 'child' and l.other_id = %b and e.notification_id > (
    select notification_id from stored_events where originator_id = %b and originator_version = %b
) and e.notification_id < %b and e.topic <> 'mfo.flow.FlowImported.v1'
order by e.notification_id
"""


class Concerned(NamedTuple):
    """Whom it concerns that a flow came to rest: its parent (`child`), or a flow that waits for it (`waits`)."""

    kind: Kind
    flow_id: UUID


async def link(connection: Connection, links: Iterable[tuple[Kind, UUID, UUID]]) -> None:
    """Keep links `(kind, other flow, flow)`, those that are there already too."""
    found = list(links)
    if found:
        kinds, others, flows = zip(*found, strict=True)
        await connection.execute(LINK, (list(kinds), list(others), list(flows)))


async def concerned(connection: Connection, flow_ids: Iterable[UUID]) -> dict[UUID, list[Concerned]]:
    """Whom it concerns that these flows came to rest, by flow."""
    cursor = await connection.execute(CONCERNED, (list(flow_ids),), binary=True)
    found: dict[UUID, list[Concerned]] = {}
    for flow_id, kind, other in await cursor.fetchall():
        found.setdefault(flow_id, []).append(Concerned(kind, other))
    return found


async def with_children(connection: Connection, flow_ids: Iterable[UUID]) -> set[UUID]:
    """Those of the flows that have children."""
    cursor = await connection.execute(PARENTS, (list(flow_ids),), binary=True)
    return {row[0] for row in await cursor.fetchall()}


async def below(connection: Connection, flow_id: UUID, until: int | None = None) -> list[UUID]:
    """All flows under a flow, the nearest first; with `until` those that were there at that place of the log."""
    cursor = await connection.execute(BELOW, (flow_id, until), binary=True)
    return [row[0] for row in await cursor.fetchall()]


async def begun_since(connection: Connection, flow_id: UUID, version: int, until: int) -> list[UUID]:
    """The children of a flow that were begun after it stood at that version and before the place `until` of the log, and all
    flows under them."""
    cursor = await connection.execute(BEGUN_SINCE, (flow_id, flow_id, version, until), binary=True)
    children = [row[0] for row in await cursor.fetchall()]
    found = dict.fromkeys(children)
    for child in children:
        found |= dict.fromkeys(await below(connection, child))
    return list(found)
