"""Kafka goes away, loses its topics, comes back empty: history goes on without it and is told afterwards."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

from aiokafka.admin import AIOKafkaAdminClient

from eventstore.doctor import Finding
from eventstore.service import ServiceConfig
from mfo.doctoring import look
from mfo.embedded import ensure_topics
from mfo.embedded.processes import remove_tree
from tests.e2e.support import COMMANDS, EVENTS, Listener, listener, sender
from tests.faults.stand import Stand
from tests.waiting import until


async def told_whole(stand: Stand, flow_ids: list[str]) -> None:
    """A subscriber that begins now hears every flow to its end, without a gap."""
    async with listener(stand.kafka.bootstrap()) as heard:
        await heard.until(lambda: all(heard.ends(flow_id) for flow_id in flow_ids), 60)
        for flow_id in flow_ids:
            versions = [event.version for event in heard.flow(flow_id)]
            assert versions == list(range(1, len(versions) + 1))


async def told_once_more(stand: Stand, flow_ids: list[str]) -> None:
    """What was under way when the topic was lost may come first; then everything comes from the beginning, in order."""
    async with listener(stand.kafka.bootstrap()) as heard:
        await heard.until(lambda: all(_whole(heard, flow_id) for flow_id in flow_ids), 60)
    assert await found(stand) == {}


def config(stand: Stand) -> ServiceConfig:
    return ServiceConfig(database_url=stand.database_url, kafka_bootstrap=stand.kafka.bootstrap(), master_key=bytes(32))


async def found(stand: Stand) -> dict[str, Finding]:
    return {finding.code: finding for finding in await look(config(stand), deep=True)}


async def test_kafka_is_killed_and_comes_back(services: Stand) -> None:
    flows = await services.under_way()
    await services.end_kafka()
    # the phases of flows do not need Kafka
    await services.until_health("kafka", "down")
    made = await services.under_way(5)
    services.kafka.stop()
    services.kafka.start()
    await services.ready()
    await services.all_end_well([*flows, *made])
    await told_whole(services, [*flows, *made])


async def test_a_command_sent_to_kafka_before_its_death_is_done_once(services: Stand) -> None:
    flow_id, command_id = str(uuid4()), str(uuid4())
    account, engagement, user = services.tenant
    headers = {
        "specversion": "1.0",
        "id": command_id,
        "source": "/crm",
        "type": "mfo.command.CreateFlow.v1",
        "clientaccountid": account,
        "engagementid": engagement,
        "userid": user,
    }
    body = {
        "flow_id": flow_id,
        "flow_type": "slow_steps",
        "flow_name": "by Kafka",
        "initial_data": {"number": 1},
        "options": {"auto_execute": True},
    }

    async def send() -> None:
        async with sender(services.kafka.bootstrap()) as producer:
            await producer.send_and_wait(
                COMMANDS,
                json.dumps(body).encode(),
                key=flow_id.encode(),
                headers=[(f"ce_{name}", value.encode()) for name, value in headers.items()],
            )

    await send()
    await services.end_kafka()
    services.kafka.stop()
    services.kafka.start()
    # its sender cannot know whether it was taken, and sends it again
    await send()

    async def done() -> bool:
        return await services.unfinished([flow_id]) == 0

    await until(done, 90)
    await services.all_end_well([flow_id])
    async with listener(services.kafka.bootstrap()) as heard:
        assert {(await heard.reply(command_id)).name, (await heard.reply(command_id, 2)).name} == {
            "Accepted",
            "Repeated",
        }


async def test_kafka_comes_back_empty_and_is_told_everything_once_more(services: Stand) -> None:
    flows = await services.under_way()
    await services.end_kafka()
    services.kafka.stop()
    remove_tree(services.kafka.folder / "log")
    bootstrap = services.kafka.start()
    await ensure_topics(bootstrap, 4)
    await services.all_end_well(flows)
    await services.ready()
    await told_once_more(services, flows)


async def test_the_topic_of_events_is_deleted_under_way(services: Stand) -> None:
    flows = await services.under_way()
    admin = AIOKafkaAdminClient(bootstrap_servers=services.kafka.bootstrap())
    await admin.start()
    try:
        await admin.delete_topics([EVENTS])
        await until(lambda: _gone(admin), 60)
    finally:
        await admin.close()
    await asyncio.wait_for(ensure_topics(services.kafka.bootstrap(), 4), 30)
    await services.all_end_well(flows)
    await services.ready()
    await told_once_more(services, flows)


def _whole(heard: Listener, flow_id: str) -> bool:
    """Whether the flow's events have come in order, from the first to the last."""
    expected = 1
    for message in heard.heard[EVENTS]:
        if message.headers["ce_subject"] == flow_id and message.version == expected:
            expected += 1
            if message.name == "FlowCompleted":
                return True
    return False


async def _gone(admin: AIOKafkaAdminClient) -> bool:
    return EVENTS not in await admin.list_topics()
