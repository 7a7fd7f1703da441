"""The projections of a process read the topic once, each at its own pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from eventstore.config import ServiceConfig
from projections import consumer, feed
from projections.consumer import Runner
from projections.feed import Feed, Parcel
from projections.flow_intervals import FlowIntervals
from projections.projection import Projection
from projections.told import Told
from tests.projections.conftest import House, running
from tests.projections.test_following import Counting, arrived, live, position
from tests.waiting import until


class Watched(FlowIntervals):
    """The projection of intervals, noting each batch; it stands still while it is held."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[Told]] = []
        self.free = asyncio.Event()
        self.free.set()

    async def apply(self, connection: Any, batch: Any, *, singly: bool = False) -> Any:
        self.seen(batch)
        self.batches.append(list(batch))
        await self.free.wait()
        return await super().apply(connection, batch, singly=singly)

    def seen(self, batch: list[Told]) -> None:
        """Called before each batch is applied."""

    @property
    def told(self) -> list[Told]:
        return [event for batch in self.batches for event in batch]


@asynccontextmanager
async def followed(config: ServiceConfig, *projections: Projection) -> AsyncIterator[tuple[Feed, list[Runner]]]:
    """Members of each projection's group in one process, with one feed."""
    one = Feed(config)
    runners = [Runner(config, each, one) for each in projections]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(runner.run()) for runner in runners]
        for runner in runners:
            await live(runner)
        yield one, runners
        for task in tasks:
            task.cancel()


async def reached(house: House, name: str) -> None:
    """Wait until the projection has the whole log."""
    end = await house.side.store.end()

    async def there() -> bool:
        return await position(house, name) >= end

    await until(there)


async def test_each_record_is_read_once_for_all(told_house: House, config: ServiceConfig) -> None:
    flows, intervals = Counting(told_house), Watched()
    async with followed(config, flows, intervals):
        flow_id = await told_house.begin()
        await told_house.finish(flow_id)
        await arrived(told_house, flow_id)
        await reached(told_house, intervals.name)
    other = {(event.flow_id, event.version): event for event in intervals.told}
    assert flows.told
    assert all(event is other[event.flow_id, event.version] for event in flows.told)


async def test_a_projection_that_is_slower_than_the_topic_holds_up_nobody_and_misses_nothing(
    told_house: House, config: ServiceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    flows, slow = Counting(told_house), Watched()
    async with followed(config, flows, slow):
        first = await told_house.begin()
        await until(lambda: slow.told)
        monkeypatch.setattr(feed, "MOST_EVENTS", 6)
        slow.free.clear()
        flow_ids = [first, await told_house.begin()]
        for flow_id in flow_ids:
            await told_house.finish(flow_id)
        await arrived(told_house, *flow_ids)
        monkeypatch.undo()
        slow.free.set()
        await reached(told_house, slow.name)
    for flow_id in flow_ids:
        done = await told_house.one(
            "select flow_status from flow_intervals where flow_id = %s and valid_to = 'infinity'", flow_id
        )
        assert done == (await told_house.side.store.flow(flow_id)).status
    assert not await told_house.all("select 1 from parked_flows")


async def test_nothing_is_read_while_each_projection_holds_enough(
    told_house: House, config: ServiceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Watched()
    async with followed(config, slow) as (one, [runner]):
        reader, tap = one._reader, runner._tap
        assert reader is not None
        assert tap is not None
        monkeypatch.setattr(feed, "ENOUGH_EVENTS", 1)
        slow.free.clear()
        await told_house.begin()
        await until(lambda: slow.told)
        second = await told_house.begin()
        await until(lambda: tap.full)
        read = dict(reader._at)
        await told_house.finish(second)
        end = await told_house.side.store.end()

        async def relayed() -> bool:
            return (await told_house.one("select position from relay")) >= end

        await until(relayed)
        assert reader._at == read
        slow.free.set()
        await reached(told_house, slow.name)
        assert not tap.lost


async def test_a_patient_projection_takes_many_events_at_once(
    told_house: House, config: ServiceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = Watched()
    patient.patience = 3600.0
    monkeypatch.setattr(consumer, "BATCH", 7)
    async with followed(config, patient) as (_, [runner]):
        gathered: list[int] = []
        tap = runner._tap
        assert tap is not None
        monkeypatch.setattr(patient, "seen", lambda batch: gathered.append(len(batch) + tap.events))
        # what comes after a rest is applied at once, and then it gathers until there is enough
        flow_id = await told_house.begin()
        await until(lambda: patient.batches)
        await told_house.finish(flow_id)
        await until(lambda: len(patient.batches) > 1)
    assert gathered[0] < 7 <= gathered[1]


async def test_a_reading_that_ends_is_begun_anew(told_house: House, config: ServiceConfig) -> None:
    flows = told_house.flows()
    async with followed(config, flows) as (one, _):
        broken = one._reader
        assert broken is not None

        async def ends(**_: Any) -> Any:
            raise KafkaError("a test")

        broken._consumer.getmany = ends
        await until(lambda: broken.ended)
        flow_id = await told_house.begin()
        await arrived(told_house, flow_id)
        assert one._reader is not broken


async def test_a_tap_hands_out_parcels_in_order_up_to_what_is_wanted(told_house: House, config: ServiceConfig) -> None:
    await told_house.begin()
    told = tuple(await told_house.told())
    async with Feed(config).tap("x") as tap:
        tap.begin(frozenset({1}))
        for n in range(3):
            tap.hold(Parcel(1, told, n + 1, told[-1].position, 10))
        tap.hold(Parcel(2, told, 9, told[-1].position, 10))
        assert [parcel.next_offset for parcel in tap.take(2 * len(told))] == [1, 2]
        assert [parcel.next_offset for parcel in tap.take(1)] == [3]
        tap.nudge()
        await tap.come(3600)
        assert tap.take(1) == []
        tap.lose()
        tap.hold(Parcel(1, told, 10, told[-1].position, 10))
        assert (tap.take(1), tap.events, tap.lost) == ([], 0, True)
        tap.fail(KafkaError("a test"))
        with pytest.raises(KafkaError):
            tap.take(1)


async def test_the_feed_ends_with_its_last_tap(config: ServiceConfig, told_house: House) -> None:
    one = Feed(config)
    runner = Runner(config, told_house.flows(), one)
    async with running(runner.run()):
        await live(runner)
        reader = one._reader
        assert reader is not None
    assert reader.ended
    assert one._reader is None
