"""A projection follows Kafka, remembers where it was beside its rows, and takes from the store what Kafka lost."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from uuid import UUID

import psycopg
import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from domain.commands import CompletePhase
from eventstore.database import connect
from eventstore.relay import Relay, message, producer
from eventstore.service import ServiceConfig
from eventstore.store import Stored
from projections import consumer
from projections.consumer import Runner
from projections.flows import NAME, Flows
from projections.told import Told
from tests.projections.conftest import Following, House, house_of, running
from tests.waiting import until

NUL = {"text": "a\x00b"}


class Counting(Flows):
    """The projection of flows, noting what it was told."""

    def __init__(self, house: House) -> None:
        super().__init__(house.side.types, _nothing_to_learn)
        self.told: list[Told] = []

    async def apply(self, connection: Any, batch: Any, *, singly: bool = False) -> Any:
        self.told.extend(batch)
        return await super().apply(connection, batch, singly=singly)


async def _nothing_to_learn() -> None:
    return None


async def live(runner: Runner) -> None:
    await until(lambda: runner.state == "live" and runner.partitions, 60)


async def position(house: House, name: str = NAME) -> int:
    return int(await house.one("select position from projections where name = %s", name) or 0)


async def arrived(house: House, *flow_ids: UUID, timeout: float = 60) -> None:  # noqa: ASYNC109 - as in until
    await until(lambda: house.up_to_date(*flow_ids), timeout)


async def test_rows_offsets_and_position_follow(told_house: House, following: Following) -> None:
    async with following(told_house.flows()) as runner:
        await live(runner)
        flow_ids = [await told_house.begin(f"flow {n}") for n in range(5)]
        for flow_id in flow_ids[1:]:
            await told_house.finish(flow_id)
        await arrived(told_house, *flow_ids)
        for flow_id in flow_ids:
            found, expected = await told_house.projected(flow_id), await told_house.expected(flow_id)
            assert found is not None
            assert (found["version"], found["flow_status"], found["log_position"], found["phases"]) == (
                *(expected["version"], expected["flow_status"], expected["log_position"], expected["phases"]),
            )
        end = await told_house.side.store.end()
        await until(lambda: _reached(told_house, end))
        assert await position(told_house) == end
        assert await told_house.one("select state from projections where name = %s", NAME) == "live"
        assert (
            await told_house.one("select sum(next_offset) from projection_offsets where projection = %s", NAME) == end
        )


async def _reached(house: House, place: int) -> bool:
    return await position(house) >= place


async def test_postgresql_is_told_what_new_tables_hold(
    told_house: House, following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "ANALYZED_AT_ROWS", (1,))
    flows = told_house.flows()

    async def known() -> bool:
        counted = "select bool_and(last_analyze is not null) from pg_stat_user_tables where relname = any(%s)"
        return bool(await told_house.one(counted, list(flows.tables)))

    async with following(flows) as runner:
        await live(runner)
        assert not await known()
        await told_house.begin()
        await until(known)


async def test_waiting_readers_are_woken(told_house: House, following: Following) -> None:
    listener = await connect(told_house.side.config.database_url)
    await listener.execute("listen mfo_projected")
    try:
        async with following(told_house.flows()) as runner:
            await live(runner)
            await told_house.begin()
            async for notice in listener.notifies(timeout=60, stop_after=1):
                assert notice.payload == NAME
                break
            else:
                raise AssertionError("nobody was woken")
    finally:
        await listener.close()


async def test_one_that_is_told_to_end_again_as_it_ends_lets_go_of_the_database(told_house: House) -> None:
    runner = Runner(told_house.side.config, told_house.flows())
    following = asyncio.create_task(runner.run())
    await live(runner)
    assert runner._connection is not None
    # its member leaves the group, which takes an answer of Kafka's
    following.cancel()
    while runner._member is not None:  # noqa: ASYNC110 - no longer than a turn of the loop
        await asyncio.sleep(0)
    assert not following.done()
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    assert runner._connection is None


async def test_a_restart_goes_on_at_the_stored_offsets(told_house: House, following: Following) -> None:
    first = await told_house.begin()
    async with following(told_house.flows()) as runner:
        await live(runner)
        await arrived(told_house, first)
        end = await told_house.side.store.end()
        await until(lambda: _reached(told_house, end))
    await told_house.complete(first)
    second = await told_house.begin()
    again = Counting(told_house)
    async with following(again) as runner:
        await arrived(told_house, first, second)
        await live(runner)
        third = await told_house.begin()
        await arrived(told_house, third)
    # nothing of what had been applied before the restart was told again
    assert min(event.position for event in again.told) > end
    assert len(again.told) == len({(event.flow_id, event.version) for event in again.told})


async def test_the_store_tells_what_kafka_never_did(config: ServiceConfig, following: Following) -> None:
    """No relay runs: an empty topic, as after the restart of a broker that keeps nothing."""
    async with house_of(config) as house:
        flow_ids = [await house.begin() for _ in range(3)]
        for flow_id in flow_ids:
            await house.finish(flow_id)
        async with following(house.flows()) as runner:
            await arrived(house, *flow_ids)
            await live(runner)
            assert await position(house) == await house.side.store.end()


async def test_a_topic_shorter_than_the_stored_offset_is_begun_anew(told_house: House, following: Following) -> None:
    first = await told_house.begin()
    async with following(told_house.flows()) as runner:
        await live(runner)
        await arrived(told_house, first)
        await until(lambda: _reached(told_house, 2))
    await told_house.all("update projection_offsets set next_offset = next_offset + 1000 returning 1")
    async with following(told_house.flows()) as runner:
        await live(runner)
        assert await told_house.one("select max(next_offset) from projection_offsets") < 1000
        await told_house.complete(first)
        second = await told_house.begin()
        await arrived(told_house, first, second)


async def test_a_topic_made_anew_while_we_follow_loses_nothing(
    real_kafka: str, config: ServiceConfig, following: Following
) -> None:
    topic = config.topics.events
    admin = AdminClient({"bootstrap.servers": real_kafka})
    async with house_of(config) as house, following(house.flows()) as runner:
        await live(runner)
        async with running(Relay(config).run()):
            first = await house.begin()
            await arrived(house, first)
        await house.complete(first)
        for gone in admin.delete_topics([topic]).values():
            gone.result(timeout=30)

        def made() -> bool:
            try:
                admin.create_topics([NewTopic(topic, 4, 1)])[topic].result(timeout=30)
            except KafkaException:
                return False
            return True

        await until(made, 60)
        async with running(Relay(config).run()):
            second = await house.begin()
            await arrived(house, first, second)


async def test_a_gap_on_kafka_is_filled_and_repeats_are_dropped(config: ServiceConfig, following: Following) -> None:
    async with house_of(config) as house:
        flow_id = await house.begin()
        async with following(house.flows()) as runner:
            await live(runner)
            await house.finish(flow_id)
            events = await house.side.store.tail(0, 100)
            kafka: AIOKafkaProducer = producer(config.kafka_bootstrap)
            await kafka.start()
            try:
                await _tell(kafka, config, [*events[:4], *events[:2], *events[9:], *events])
            finally:
                await kafka.stop()
            await arrived(house, flow_id)


async def _tell(kafka: AIOKafkaProducer, config: ServiceConfig, events: list[Stored]) -> None:
    for event in events:
        key, value, headers = message(event, config.shard)
        await kafka.send_and_wait(config.topics.events, value, key=key, headers=headers)


async def test_a_flow_that_cannot_be_projected_is_set_aside(told_house: House, following: Following) -> None:
    flows = told_house.flows()
    async with following(flows) as runner:
        await live(runner)
        bad, good = await told_house.begin(), await told_house.begin()
        await arrived(told_house, bad, good)
        await told_house.complete(bad, NUL)
        await told_house.finish(good)
        await arrived(told_house, good)
        await until(lambda: told_house.one("select parked from projections where name = %s", NAME))
        rows = await told_house.all("select flow_id, version, error from parked_flows where projection = %s", NAME)
        assert [(row[0], row[1] > 2) for row in rows] == [(bad, True)]
        assert "\\u0000" in rows[0][2]
        # its later events are passed over, and the log is followed to its end all the same
        await told_house.complete(bad)
        end = await told_house.side.store.end()
        await until(lambda: _reached(told_house, end))
        assert await told_house.one("select version from crewai_flow_state_extensions where flow_id = %s", bad) == 2


async def test_a_flow_set_aside_is_told_anew_at_a_start_and_when_somebody_asks(
    told_house: House, following: Following
) -> None:
    flow_id = await told_house.begin()
    park = (
        "insert into parked_flows (projection, flow_id, version, error, since) values (%s, %s, 1, 'a test', mfo_now())"
    )
    await told_house.all(f"{park} returning 1", NAME, flow_id)
    async with following(told_house.flows()) as runner:
        await arrived(told_house, flow_id)
        assert await told_house.one("select count(*) from parked_flows") == 0
        await told_house.all(f"{park} returning 1", NAME, flow_id)
        runner._parked.add(flow_id)
        await told_house.complete(flow_id)
        await told_house.all("update parked_flows set retry_at = mfo_now() returning 1")
        await arrived(told_house, flow_id)
        await until(lambda: told_house.one("select count(*) = 0 from parked_flows"))


async def test_records_that_are_no_events_stop_nothing(told_house: House, following: Following) -> None:
    config = told_house.side.config
    async with following(told_house.flows()) as runner:
        await live(runner)
        kafka = producer(config.kafka_bootstrap)
        await kafka.start()
        try:
            for headers in ([], [("ce_position", b"mfo:x")], [("ce_position", b"other:1")]):
                await kafka.send_and_wait(config.topics.events, b"junk", key=b"k", headers=headers)
        finally:
            await kafka.stop()
        flow_id = await told_house.begin()
        await arrived(told_house, flow_id)


async def test_a_lost_connection_sets_nobody_aside(told_house: House, following: Following) -> None:
    async with following(told_house.flows()) as runner:
        await live(runner)
        flow_id = await told_house.begin()
        for _ in range(3):
            # every session but ours ends, the projection's too
            with suppress(psycopg.OperationalError):
                assert runner._connection is not None
                await told_house.all("select pg_terminate_backend(%s)", runner._connection.info.backend_pid)
            await told_house.complete(flow_id)
            await arrived(told_house, flow_id)
        assert await told_house.one("select count(*) from parked_flows") == 0


async def test_two_members_share_the_partitions(real_kafka: str, told_house: House, following: Following) -> None:
    async with following(told_house.flows()) as one:
        await live(one)
        early = [await told_house.begin() for _ in range(4)]
        async with following(told_house.flows()) as other:
            await until(lambda: len(one.partitions) == 2 and len(other.partitions) == 2, 60)
            assert set(one.partitions) | set(other.partitions) == {0, 1, 2, 3}
            late = [await told_house.begin() for _ in range(8)]
            await asyncio.gather(*(told_house.finish(flow_id) for flow_id in [*early, *late]))
            await arrived(told_house, *early, *late)
            end = await told_house.side.store.end()
            await until(lambda: _reached(told_house, end))
        await until(lambda: len(one.partitions) == 4, 60)
        last = await told_house.begin()
        await arrived(told_house, last)


async def test_the_mark_never_passes_what_is_not_applied(told_house: House, following: Following) -> None:
    """Whenever the position moves, every event up to it is in the rows."""
    async with following(told_house.flows()) as runner:
        await live(runner)
        flow_ids = [await told_house.begin() for _ in range(6)]

        async def behind() -> Any:
            return await told_house.one(
                "select count(*) from stored_events e left join flow_state_extensions_v1 f on f.flow_id = e.originator_id"
                " where e.notification_id <= (select position from projections where name = %s)"
                " and coalesce(f.version, 0) < e.originator_version",
                NAME,
            )

        for _ in range(6):
            for flow_id in flow_ids:
                run = (await told_house.side.store.flow(flow_id)).run
                assert run is not None
                await told_house.ask(CompletePhase(flow_id=flow_id, run_id=run.run_id, token=run.token))
                assert await behind() == 0
        end = await told_house.side.store.end()
        await until(lambda: _reached(told_house, end))
        assert await behind() == 0
