"""History told to a real Kafka: everything, in order, by one leader, whatever is cut on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from eventstore.codec import decode_data
from eventstore.relay import Relay
from tests.eventstore.house import House, config_for, create, open_house
from tests.eventstore.proxy import Proxy
from tests.waiting import until


@pytest.fixture
async def house(database_url: str, kafka: str, topic_prefix: str) -> AsyncIterator[House]:
    async with open_house(database_url, kafka_bootstrap=kafka, topic_prefix=topic_prefix) as house:
        yield house


@asynccontextmanager
async def told(house: House) -> AsyncIterator[list[ConsumerRecord[bytes, bytes]]]:
    """What a subscriber has received so far."""
    consumer = AIOKafkaConsumer(
        house.side.config.topics.events,
        bootstrap_servers=house.side.config.kafka_bootstrap,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
    )
    records: list[ConsumerRecord[bytes, bytes]] = []

    async def receive() -> None:
        async for record in consumer:
            records.append(record)  # noqa: PERF401 - the list is read while it grows

    await consumer.start()
    task = asyncio.create_task(receive())
    try:
        yield records
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await consumer.stop()


@asynccontextmanager
async def running(*relays: Relay) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.create_task(relay.run()) for relay in relays]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def header(record: ConsumerRecord[bytes, bytes], name: str) -> str:
    found: bytes = dict(record.headers)[name]
    return found.decode()


def histories(records: list[ConsumerRecord[bytes, bytes]]) -> dict[UUID, list[int]]:
    """Each flow's versions in the order of their first arrival."""
    seen: dict[UUID, list[int]] = {}
    for record in records:
        versions = seen.setdefault(UUID(header(record, "ce_subject")), [])
        version = int(header(record, "ce_sequence"))
        if version not in versions:
            versions.append(version)
    return seen


async def kept(house: House) -> dict[UUID, list[int]]:
    found: dict[UUID, list[int]] = {}
    for event in await house.side.store.tail(0, 100_000):
        found.setdefault(event.flow_id, []).append(event.version)
    return found


async def write(house: House, flows: int) -> None:
    for _ in range(flows):
        flow = await house.begin()
        await house.complete(flow.id)


async def test_every_event_arrives_once_and_in_order_with_its_headers(house: House) -> None:
    relay = Relay(house.side.config)
    async with running(relay), told(house) as records:
        flow = await house.begin(initial_data={"notes": "n" * 20_000})
        await house.complete(flow.id, correlation_id="corr-9", causation_id="cause-9", source="worker")
        await write(house, 20)
        events = await house.side.store.tail(0, 1000)
        await until(lambda: len(records) == len(events))
        await until(lambda: house.one("select position = %s from relay", events[-1].position))
    assert histories(records) == await kept(house)
    by_id = {header(record, "ce_id"): record for record in records}
    for event in events:
        record = by_id[f"{event.flow_id}:{event.version}"]
        assert record.key == str(event.flow_id).encode()
        assert header(record, "ce_position") == f"mfo:{event.position}"
        decode_data(header(record, "ce_type"), record.value or b"")
    third = by_id[f"{flow.id}:3"]
    at = header(third, "ce_time")
    assert {name: header(third, name) for name, _ in third.headers} == {
        "ce_specversion": "1.0",
        "ce_id": f"{flow.id}:3",
        "ce_source": "/mfo/flows",
        "ce_type": "mfo.flow.PhaseCompleted.v1",
        "ce_subject": str(flow.id),
        "ce_time": at,
        "ce_sequence": "3",
        "ce_position": "mfo:3",
        "ce_clientaccountid": str(house.tenant.client_account_id),
        "ce_engagementid": str(house.tenant.engagement_id),
        "ce_userid": "maria",
        "ce_correlationid": "corr-9",
        "ce_causationid": "cause-9",
        "ce_commandid": header(third, "ce_commandid"),
        "ce_origin": "worker",
        "content-type": "application/json",
    }


async def test_two_relays_one_killed_nothing_lost(house: House) -> None:
    relays = [Relay(house.side.config), Relay(house.side.config)]
    async with running(*relays) as tasks, told(house) as records:
        await until(lambda: any(relay.leading for relay in relays))
        assert sum(relay.leading for relay in relays) == 1
        writing = asyncio.create_task(write(house, 60))
        await until(lambda: len(records) > 40)
        leader = 0 if relays[0].leading else 1
        # the lock goes with the connection, as when the leader's machine dies; the leader itself does not come back for it
        tasks[leader].cancel()
        await house.rows(
            "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and objsubid = 2 and granted"
            " and objid = 2 and database = (select oid from pg_database where datname = current_database())"
        )
        await until(lambda: relays[1 - leader].leading)
        await writing
        expected = await kept(house)
        await until(lambda: histories(records) == expected)
    assert await house.one("select epoch from relay") >= 2


async def test_what_the_own_process_commits_is_told_between_what_others_do(house: House) -> None:
    """The leader is handed the commits of one committer, and finds those of the other in the log."""
    relay, other = Relay(house.side.config), house.another_committer()
    house.committer.heard_by = relay.hear
    await other.start()
    async with told(house) as records, running(relay):
        await until(lambda: relay.leading)
        for n in range(12):
            await (other if n % 3 == 2 else house.committer).submit(create(), house.envelope())
        await asyncio.gather(write(house, 3), write(house, 3))
        whole = await kept(house)
        await until(lambda: histories(records) == whole)
        versions = [(header(record, "ce_subject"), header(record, "ce_sequence")) for record in records]
        assert len(versions) == len(set(versions))
    await other.stop()


async def test_others_that_have_the_number_of_an_own_connection_from_before_are_heard(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    # nothing is found by looking now and then
    monkeypatch.setattr("eventstore.relay.POLL_SECONDS", 3600.0)
    relay, other = Relay(house.side.config), house.another_committer()
    await other.start()
    backends: list[int] = []
    other.heard_by = lambda backend, _: backends.append(backend)
    await other.submit(create(), house.envelope())
    # as if it had been ours before PostgreSQL was started anew
    relay.hear(backends[0], [])
    async with told(house) as records, running(relay):
        await until(lambda: house.one("select position = (select max(notification_id) from stored_events) from relay"))
        await other.submit(create(), house.envelope())
        whole = await kept(house)
        await until(lambda: histories(records) == whole)
    await other.stop()


async def test_what_kafka_refuses_is_not_passed_over(house: House, real_kafka: str) -> None:
    admin = AdminClient({"bootstrap.servers": real_kafka, "log_level": 0})

    def takes(size: int) -> None:
        changed = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
        topic = ConfigResource(ResourceType.TOPIC, house.side.config.topics.events, incremental_configs=[changed])
        admin.incremental_alter_configs([topic])[topic].result(timeout=30)

    relay = Relay(house.side.config)
    async with running(relay), told(house) as records:
        await until(lambda: relay.leading)
        await asyncio.to_thread(takes, 100)

        async def refused() -> bool:
            await house.begin()
            return not relay.leading

        await until(refused)
        await asyncio.to_thread(takes, 1 << 20)
        whole = await kept(house)
        await until(lambda: histories(records) == whole)


async def test_a_relay_that_is_stopped_while_it_clears_up_ends(house: House) -> None:
    relay = Relay(house.side.config)
    async with running(relay) as tasks:
        await until(lambda: relay.leading)
        await house.rows("update relay set epoch = epoch + 1")
        listener = next(task for task in asyncio.all_tasks() if task.get_name() == "relay listener")
        listener.add_done_callback(lambda _: tasks[0].cancel())
        await asyncio.wait(tasks, timeout=60)
        assert tasks[0].cancelled()


async def test_a_superseded_leader_stops_and_moves_nothing(house: House) -> None:
    relay = Relay(house.side.config)
    async with running(relay), told(house) as records:
        await write(house, 1)
        await until(lambda: house.one("select position = 5 from relay"))
        # another leads by now and stands elsewhere
        await house.rows("update relay set epoch = epoch + 1, position = 3")
        await house.begin()
        await until(lambda: not relay.leading)
        assert await house.one("select position from relay") == 3
        # its turn comes again, under an epoch of its own, from where the other stood
        await until(lambda: house.one("select epoch = 3 and position = 7 from relay"))
        await until(lambda: len(records) >= 9)
    assert histories(records) == await kept(house)


async def test_a_kafka_that_is_gone_for_a_while_is_waited_for(house: House, kafka: str) -> None:
    async with Proxy(kafka) as proxy:
        config = config_for(
            house.side.config.database_url,
            kafka_bootstrap=proxy.address,
            topic_prefix=house.side.config.topic_prefix,
        )
        relay = Relay(config)
        async with running(relay), told(house) as records:
            await write(house, 2)
            await until(lambda: histories(records) and sum(map(len, histories(records).values())) == 10)
            await proxy.cut()
            await write(house, 3)
            # without Kafka the store goes on
            assert (await house.ask(create())).outcome == "accepted"
            assert await house.one("select position from relay") <= 10
            await proxy.mend()
            expected = await kept(house)
            await until(lambda: histories(records) == expected, 60)


async def test_a_relay_waits_for_a_kafka_that_is_not_there_yet(house: House, kafka: str) -> None:
    async with Proxy(kafka) as proxy:
        await proxy.cut()
        settings: dict[str, Any] = {"kafka_bootstrap": proxy.address, "topic_prefix": house.side.config.topic_prefix}
        relay = Relay(config_for(house.side.config.database_url, **settings))
        async with running(relay) as tasks, told(house) as records:
            await house.begin()
            await until(lambda: proxy.refused >= 1)
            assert not relay.leading
            assert not tasks[0].done()
            await proxy.mend()
            await until(lambda: len(records) == 2)
