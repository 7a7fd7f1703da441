"""How each flow stood from when to when."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from domain.commands import PauseFlow, ResumeFlow
from eventstore.database import Connection
from projections.flow_intervals import FlowIntervals
from projections.told import Told
from tests.projections.conftest import House

ROWS = """
select version, valid_from, nullif(valid_to, 'infinity'), flow_status, current_phase, progress_percentage
from flow_intervals where flow_id = %s order by version
"""


async def rows(house: House, flow_id: UUID) -> list[tuple[Any, ...]]:
    return await house.all(ROWS, flow_id)


async def tell(projection: FlowIntervals, connection: Connection, *batches: list[Told], singly: bool = False) -> None:
    for batch in batches:
        async with connection.transaction():
            applied = await projection.apply(connection, batch, singly=singly)
        assert not applied.parked, applied.parked
        applied.committed()


async def lived(house: House) -> UUID:
    """A flow that was paused, went on and completed."""
    flow_id = await house.begin()
    await house.ask(PauseFlow(flow_id=flow_id))
    await house.complete(flow_id)
    await house.ask(ResumeFlow(flow_id=flow_id))
    await house.finish(flow_id)
    return flow_id


async def test_the_intervals_of_a_flow_follow_one_another_to_this_day(house: House, connection: Connection) -> None:
    flow_id = await lived(house)
    await tell(FlowIntervals(), connection, await house.told())
    found = await rows(house, flow_id)
    assert [row[3] for row in found][:3] == ["processing", "paused", "paused"]
    assert found[-1][2:4] == (None, "completed")
    assert all(row[2] == following[1] for row, following in pairwise(found))
    assert all(row[1] < row[2] for row in found[:-1])


async def test_however_the_events_come_the_rows_are_the_same(house: House, connection: Connection) -> None:
    flow_id = await lived(house)
    events = await house.told()
    await tell(FlowIntervals(), connection, events)
    expected = await rows(house, flow_id)

    for batches in (
        [[event] for event in events],
        [events[:4], events[2:7], events, events[:1]],
        [events[3:5], events[:2], events[-1:]],
    ):
        await connection.execute("truncate flow_intervals_v1")
        await tell(FlowIntervals(), connection, *batches)
        assert await rows(house, flow_id) == expected
    # another process goes on, then the first batch comes again
    await tell(FlowIntervals(), connection, events[5:], events, singly=True)
    assert await rows(house, flow_id) == expected


async def test_a_clock_that_was_set_back_makes_no_interval_end_before_it_began(
    house: House, connection: Connection
) -> None:
    flow_id = await house.begin()
    before = await house.one("select mfo_now()")
    await connection.execute("update clock set shift = interval '-1 hour'")
    await house.ask(PauseFlow(flow_id=flow_id))
    await tell(FlowIntervals(), connection, await house.told())
    found = await rows(house, flow_id)
    assert all(row[2] is None or row[1] < row[2] for row in found)
    assert found[-1][3] == "paused"
    assert before - found[-1][1] < timedelta(minutes=1)


async def test_a_flow_that_cannot_be_read_is_set_aside_and_the_others_go_on(
    house: House, connection: Connection
) -> None:
    good, bad = await house.begin(), await house.begin()
    events = await house.told()
    broken = [replace(e, body=b'{"meta": 1}') if e.flow_id == bad else e for e in events]
    async with connection.transaction():
        applied = await FlowIntervals().apply(connection, broken)
    assert [each.flow_id for each in applied.parked] == [bad]
    assert len(await rows(house, good)) >= 1
    assert await rows(house, bad) == []


async def test_flows_that_go_on_are_remembered_up_to_a_bound(
    house: House, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.flow_intervals.CACHE_BYTES", 30_000)
    projection, over = FlowIntervals(), await lived(house)
    going = [await house.begin() for _ in range(6)]
    told = await house.told()
    await tell(projection, connection, told)
    assert over not in projection._cache
    assert 0 < len(projection._cache) < 6
    assert projection._cost <= 30_000
    # what is not remembered is read from the store
    for flow_id in going:
        await house.complete(flow_id)
    await tell(projection, connection, await house.told(told[-1].position))
    assert [[row[3] for row in await rows(house, flow_id)] for flow_id in going] == [["processing"] * 2] * 6


async def test_a_flow_that_ran_through_is_one_row_for_each_status(house: House, connection: Connection) -> None:
    flow_id = await house.begin()
    await house.finish(flow_id)
    events = await house.told()
    for batches in ([events], [[event] for event in events]):
        await connection.execute("truncate flow_intervals_v1")
        await tell(FlowIntervals(), connection, *batches)
        stays = await house.all(
            "select flow_status, jsonb_array_length(before) from flow_intervals_v1 where flow_id = %s order by version",
            flow_id,
        )
        assert [status for status, _ in stays] == ["processing", "completed"]
        assert stays[0][1] == len(await rows(house, flow_id)) - 2
        assert stays[1][1] is None


async def test_an_interval_that_never_held_leaves_the_stay_as_it_was(house: House, connection: Connection) -> None:
    flow_id = await house.begin()
    await house.complete(flow_id)
    told = await house.told()
    before = told[-1].at()
    await house.complete(flow_id)
    await house.ask(PauseFlow(flow_id=flow_id))
    events = await house.told()
    # the second completion happened, and was followed by the pause, in the moment of the first one
    moved = [replace(e, body=e.body.replace(_stamp(e), _stamp(told[-1]))) if e.at() > before else e for e in events]
    await tell(FlowIntervals(), connection, moved)
    expected = await rows(house, flow_id)
    assert [row[3] for row in expected] == ["processing", "paused"]
    for batches in ([[event] for event in moved], [moved[:4], moved[2:], moved]):
        await connection.execute("truncate flow_intervals_v1")
        await tell(FlowIntervals(), connection, *batches)
        assert await rows(house, flow_id) == expected


async def test_what_was_written_and_never_held_goes_whoever_tells_the_rest(
    house: House, connection: Connection
) -> None:
    flow_id = await lived(house)
    events = await house.told()
    await tell(FlowIntervals(), connection, events)
    expected = await rows(house, flow_id)
    # what one command brought about is parted, and another process goes on
    for cut in range(1, len(events)):
        await connection.execute("truncate flow_intervals_v1")
        await tell(FlowIntervals(), connection, events[:cut])
        await tell(FlowIntervals(), connection, events[cut:])
        assert await rows(house, flow_id) == expected


def _stamp(event: Told) -> bytes:
    return event.body[event.body.index(b'"at":') :][:34]
