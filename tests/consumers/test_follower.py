"""What follows from history is done for every event, in order, by one process of all, and nothing poisoned stands in the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from consumers.follower import Follower, Followers
from domain.events import TOPICS, FlowCreated, PhaseCompleted
from eventstore.database import Connection
from eventstore.followers import Happened
from eventstore.tasks import end_all
from tests.eventstore.house import House, open_house
from tests.waiting import until

WANTED = (TOPICS[FlowCreated], TOPICS[PhaseCompleted])


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    async with open_house(database_url) as house:
        await house.rows(
            "create table noted (n bigint generated always as identity, who text, flow_id uuid, fact text)"
        )
        await house.rows("insert into followers (name) values ('notes')")
        yield house


class Notes:
    """A follower's function: writes down each event, and stumbles over the flows it is told to."""

    def __init__(self, who: str = "first") -> None:
        self.who = who
        self.poison: set[UUID] = set()

    async def follow(self, connection: Connection, events: Sequence[Happened]) -> bool:
        for event in events:
            flow_id = event.recorded.flow_id
            if flow_id in self.poison:
                raise ValueError("cannot make anything of this")
            await connection.execute(
                "insert into noted (who, flow_id, fact) values (%s, %s, %s)",
                (self.who, flow_id, type(event.recorded.fact).__name__),
            )
        return True


@asynccontextmanager
async def following(house: House, *notes: Notes) -> AsyncIterator[list[Follower]]:
    followers = [Follower(house.side.config, "notes", WANTED, each.follow) for each in notes]
    tasks = [asyncio.create_task(Followers(house.side.config, [each]).run()) for each in followers]
    try:
        yield followers
    finally:
        await end_all(tasks)


async def noted(house: House) -> list[tuple[UUID, str]]:
    return [(row[0], row[1]) for row in await house.rows("select flow_id, fact from noted order by n")]


async def test_every_wanted_event_is_seen_to_once_and_in_order(house: House) -> None:
    flows = [(await house.begin()).id for _ in range(3)]
    async with following(house, Notes()):
        await until(lambda: _all_noted(house, 3))
        for flow in flows:
            await house.complete(flow)
        await until(lambda: _all_noted(house, 6))
    facts = await noted(house)
    assert facts == [(flow, name) for name in ("FlowCreated", "PhaseCompleted") for flow in flows]


async def test_who_comes_after_goes_on_where_the_other_stopped(house: House) -> None:
    await house.begin()
    async with following(house, Notes()):
        await until(lambda: _all_noted(house, 1))
    await house.begin()
    async with following(house, Notes("second")):
        await until(lambda: _all_noted(house, 2))
    assert await house.rows("select who from noted order by n") == [("first",), ("second",)]


async def test_of_two_one_leads_and_the_other_takes_over_a_lease_that_lapsed(house: House) -> None:
    async with following(house, Notes()) as [first]:
        await until(lambda: first.leading)
        async with following(house, Notes("second")) as [second]:
            await house.begin()
            await until(lambda: _all_noted(house, 1))
            assert not second.leading
            # what a process that stands still looks like: it holds the row, and renews nothing
            await house.rows("update followers set leader = 'frozen', epoch = epoch + 1")
            await house.begin()
            await house.shift_clock(13)
            await until(lambda: _all_noted(house, 2))
    assert await house.one("select count(*) from noted") == 2


async def test_the_lead_is_kept_on_a_long_way_on_which_nothing_follows(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.follower.BATCH", 1)
    monkeypatch.setattr("consumers.follower.RENEW_SECONDS", 0.0)
    kept: list[int] = []

    async def look(connection: Connection, events: Sequence[Happened]) -> bool:
        kept.append(await house.one("select position from followers where name = 'notes'"))
        return False

    for _ in range(3):
        await house.begin()
    follower = Follower(house.side.config, "notes", WANTED, look)
    task = asyncio.create_task(follower.run())
    try:
        await until(lambda: len(kept) == 3)
        assert kept == sorted(set(kept))
    finally:
        await end_all([task])


async def test_one_that_was_superseded_keeps_nothing_of_its_batch(house: House) -> None:
    notes = Notes()
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow(connection: Connection, events: Sequence[Happened]) -> bool:
        await notes.follow(connection, events)
        began.set()
        await go_on.wait()
        return True

    follower = Follower(house.side.config, "notes", WANTED, slow)
    task = asyncio.create_task(follower.run())
    try:
        await house.begin()
        follower.wake()
        await asyncio.wait_for(began.wait(), 30)
        await house.rows(
            "update followers set leader = 'another', epoch = epoch + 1, lease_until = mfo_now() + interval '12 s'"
        )
        go_on.set()
        await until(lambda: not follower.leading)
        assert await noted(house) == []
    finally:
        await end_all([task])


async def test_a_poisoned_event_is_set_aside_and_tried_again_while_the_others_go_on(house: House) -> None:
    notes = Notes()
    ill, well = (await house.begin()).id, (await house.begin()).id
    notes.poison.add(ill)
    async with following(house, notes):
        await until(lambda: _all_noted(house, 1))
        assert await noted(house) == [(well, "FlowCreated")]
        [(flow, error, attempts)] = await house.rows("select flow_id, error, attempts from followers_set_aside")
        assert (flow, error, attempts) == (ill, "ValueError: cannot make anything of this", 1)
        await house.shift_clock(6)
        await house.begin()
        await until(lambda: _tried(house, 2))
        notes.poison.clear()
        await house.shift_clock(601)
        await house.begin()
        await until(lambda: _all_noted(house, 4))
    assert (ill, "FlowCreated") in await noted(house)
    assert await house.rows("select 1 from followers_set_aside") == []


async def _all_noted(house: House, number: int) -> bool:
    return len(await noted(house)) >= number


async def _tried(house: House, number: int) -> bool:
    return bool(await house.one("select attempts from followers_set_aside") == number)
