"""The `eventsourcing` library's own classes read what our committer wrote."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from eventsourcing.application import AggregateNotFoundError
from eventsourcing.persistence import StoredEvent
from eventsourcing.utils import resolve_topic

from domain.commands import PauseFlow
from domain.events import BY_TOPIC, TOPICS
from eventstore.library import FlowEvent, FlowHistory
from tests.eventstore.house import House


@pytest.fixture
async def library(house: House) -> AsyncIterator[FlowHistory]:
    app = await asyncio.to_thread(FlowHistory, house.side.config.database_url)
    yield app
    await asyncio.to_thread(app.close)


async def test_its_repository_gives_the_flow_as_of_now_and_as_of_then(house: House, library: FlowHistory) -> None:
    flow = await house.begin(initial_data={"notes": "n" * 20_000})
    then = await house.side.store.flow(flow.id)
    await house.complete(flow.id)
    await house.ask(PauseFlow(flow_id=flow.id))
    now = await house.side.store.flow(flow.id)
    assert await asyncio.to_thread(library.repository.get, flow.id) == now
    assert await asyncio.to_thread(library.repository.get, flow.id, version=2) == then
    assert flow.id in library.repository
    with pytest.raises(AggregateNotFoundError):
        await asyncio.to_thread(library.repository.get, uuid4())


async def test_its_notification_log_is_ours(house: House, library: FlowHistory) -> None:
    for _ in range(3):
        await house.begin()
    ours = await house.side.store.tail(0, 100)
    theirs = await asyncio.to_thread(library.recorder.select_notifications, 1, 100)
    assert [(n.id, n.originator_id, n.originator_version, n.topic, n.state) for n in theirs] == [
        (event.position, event.flow_id, event.version, event.topic, event.state) for event in ours
    ]
    assert library.recorder.max_notification_id() == await house.side.store.end()
    assert [n.id for n in library.notification_log["1,3"].items] == [1, 2, 3]
    only = await asyncio.to_thread(library.recorder.select_notifications, 1, 100, topics=["mfo.flow.FlowCreated.v1"])
    assert [n.originator_version for n in only] == [1, 1, 1]


async def test_its_mapper_goes_both_ways(house: House, library: FlowHistory) -> None:
    flow = await house.begin(initial_data={"notes": "n" * 20_000})
    for stored in await asyncio.to_thread(library.recorder.select_events, flow.id):
        event = library.mapper.to_domain_event(stored)
        assert isinstance(event, FlowEvent)
        assert library.mapper.to_stored_event(event) == stored


def test_topics_are_wire_names() -> None:
    assert {topic: resolve_topic(topic) for topic in TOPICS.values()} == BY_TOPIC


async def test_it_does_not_write(house: House, library: FlowHistory) -> None:
    flow = await house.begin()
    row = StoredEvent(flow.id, 3, "mfo.flow.FlowPaused.v1", b"{}")
    with pytest.raises(PermissionError):
        await asyncio.to_thread(library.recorder.insert_events, [row])
    assert (await house.side.store.flow(flow.id)).version == 2
