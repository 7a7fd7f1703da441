"""Read models brought up to the end of the log without a service."""

from __future__ import annotations

from projections.app import projections
from projections.told import from_store
from tests.eventstore.house import House


async def project(house: House) -> tuple[str, ...]:
    """Tell every read model the whole log; their names. No flow may be set aside."""
    events = [from_store(event) for event in await house.side.store.tail(0, 100_000)]
    known = projections(house.side.pool, house.side.types)
    async with house.side.pool.connection() as connection, connection.transaction():
        for projection in known.values():
            told = [event for event in events if projection.topics is None or event.topic in projection.topics]
            applied = await projection.apply(connection, told)
            assert not applied.parked, applied.parked
    return tuple(known)
