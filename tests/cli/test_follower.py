"""Where a follower of events goes on after it was cut short; Kafka and the service are played."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast
from uuid import UUID

import msgspec
from aiokafka import TopicPartition

from mfo.client import Client
from mfo.kafka_client import EventFollower, Place

FLOWS = [str(UUID(int=number)) for number in range(1, 4)]
PART = TopicPartition("mfo.events.v1", 0)


class Kafka:
    """A topic that has dropped all of its records but knows how many there were."""

    def assignment(self) -> set[TopicPartition]:
        return {PART}

    async def beginning_offsets(self, parts: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(parts, 9)

    end_offsets = beginning_offsets

    def seek(self, part: TopicPartition, offset: int) -> None:
        assert (part, offset) == (PART, 9)

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        raise StopAsyncIteration

    async def stop(self) -> None:
        """Nothing was opened."""


class Service:
    """Three flows of two events each."""

    async def pages(self, path: str, name: str, *, params: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        for flow_id in FLOWS if "status" not in params else ():
            yield {"flow_id": flow_id, "version": 2}

    async def history_lines(self, flow_id: str, *, after: int = 0) -> AsyncIterator[str]:
        for version in range(after + 1, 3):
            about = dict.fromkeys(("actor", "command_id", "correlation_id", "causation_id", "position"), "x")
            at = "2026-11-21T20:00:00+00:00"
            event = {"version": version, "type": "mfo.flow.FlowPaused.v1", "occurred_at": at, "data": {}, **about}
            yield msgspec.json.encode(event).decode()


async def told(start: Any, most: int) -> tuple[list[tuple[str, int]], Place]:
    """The first events from there on, and the place as it is kept after the last of them."""
    follower = EventFollower("", "a", "e", start=start, client=cast(Client, Service()))
    follower._consumer = cast(Any, Kafka())
    found: list[tuple[str, int]] = []
    async with aclosing(cast(Any, follower.__aiter__())) as events:
        while len(found) < most:
            event = await anext(events)
            found.append((str(event.flow_id), event.sequence))
    return found, msgspec.json.decode(msgspec.json.encode(follower.place), type=Place)


async def test_who_is_cut_short_while_the_store_tells_what_kafka_lacks_hears_the_rest() -> None:
    every = [(flow_id, version) for flow_id in FLOWS for version in (1, 2)]
    whole, _ = await told("beginning", 6)
    assert whole == every
    before, place = await told("beginning", 3)
    after, _ = await told(place, 3)
    assert before + after == every
