"""Faults that hit one flow alone, and their mending, on a real store."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from domain.flow import Flow
from tests.eventstore.house import House

CREATED, CLONED = "mfo.flow.FlowCreated.v1", "mfo.flow.FlowCloned.v1"


async def unreadable(house: House, flow_id: UUID) -> None:
    """Make the flow's first event one that only a newer version knows."""
    await house.rows(
        "update stored_events set topic = %s where originator_id = %s and topic = %s", CLONED, flow_id, CREATED
    )
    house.committer._cache.clear()


async def readable(house: House, flow_id: UUID) -> None:
    """Mend what `unreadable` did."""
    await house.rows(
        "update stored_events set topic = %s where originator_id = %s and topic = %s", CREATED, flow_id, CLONED
    )


async def broken(house: House, **fields: Any) -> Flow:
    """A flow under way whose history nobody can read."""
    flow = await house.begin(**fields)
    await unreadable(house, flow.id)
    return flow


async def refuse_events(house: House, flow_id: UUID, code: str = "P0001") -> None:
    """From now on the store takes no FlowPaused of this flow; the statement fails with this SQLSTATE."""
    await house.rows(
        "create function refuse() returns trigger language plpgsql as $$ begin"
        f" raise exception 'not this one' using errcode = '{code}'; end $$"
    )
    await house.rows(
        "create trigger refuse before insert on stored_events for each row when"
        f" (new.originator_id = '{flow_id}' and new.topic = 'mfo.flow.FlowPaused.v1') execute function refuse()"
    )


async def accept_events(house: House) -> None:
    """Mend what `refuse_events` did."""
    await house.rows("drop function if exists refuse cascade")


async def refuse_heads(house: House, flow_id: UUID) -> None:
    """From now on the store begins no flow with this id; `accept_events` mends it."""
    await house.rows(
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$"
    )
    await house.rows(
        "create trigger refuse before insert on heads for each row"
        f" when (new.id = '{flow_id}') execute function refuse()"
    )
