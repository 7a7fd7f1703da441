"""The service as other services see it on Kafka: commands and their replies, and events from any point on.

```python
async with CommandSender(bootstrap, client_account_id, engagement_id, "planner") as sender:
    reply = await sender.send(PauseFlow(flow_id=flow_id))
async with EventFollower(bootstrap, client_account_id, engagement_id, start=place, client=client) as follower:
    async for event in follower:
        ...  # then keep follower.place
```
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self
from uuid import UUID, uuid4

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from domain.commands import Command
from domain.errors import MfoError
from domain.events import FLOW_PREFIX
from eventstore.config import Topics
from eventstore.relay import producer
from eventstore.tasks import close, end_all
from mfo.client import Client, ServiceError
from mfo.running import Unreachable

Json = dict[str, Any]
Start = Literal["beginning", "end"] | datetime

REFUSED, REFUSED_STATUS = "refused", 409
POLL_MS = 500


class ReplyTimedOut(MfoError):
    """No reply came in time. The command may have been kept: send it again under the same id, and the first answer comes."""

    code = "reply_timed_out"
    status = 504


class EventsLost(MfoError):
    """Kafka does not hold all events from there on any more; give a client, and they are had from the store."""

    code = "events_lost"


class Reply(msgspec.Struct, frozen=True):
    """What became of a command: `outcome` is accepted, repeated or parked; `version` is the flow's after it."""

    command_id: str
    outcome: str
    flow_id: UUID | None = None
    version: int | None = None
    position: str | None = None
    error: Json | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a flow; `sequence` is its number in the flow, from 1, `type` its wire name (`mfo.flow.<Event>.v1`)."""

    flow_id: UUID
    sequence: int
    type: str
    at: datetime
    user_id: str
    command_id: str
    correlation_id: str
    causation_id: str | None
    position: str
    data: Json


class Place(msgspec.Struct):
    """Where a follower goes on: the next offset of each partition, and the last event of each flow, by which repeats and gaps
    are known. Plain values: `msgspec.json.encode(place)`, and `msgspec.json.decode(text, type=Place)`."""

    offsets: dict[str, int] = {}
    seen: dict[str, int] = {}
    # whether it began at the beginning, so that a flow that is new here must come with its first event
    whole: bool = False
    # the store is still telling what Kafka lacks, of this time on: whoever goes on from here has to hear the rest of it
    retelling: bool = False
    since: datetime | None = None


class CommandSender:
    """Sends commands of one tenant and actor, and waits for their replies; an async context manager.

    `reply_topic`: another than the service's own, which its settings must allow. Raises Unreachable where there is no Kafka.
    """

    def __init__(
        self,
        bootstrap: str,
        client_account_id: str,
        engagement_id: str,
        user_id: str,
        *,
        topic_prefix: str = "mfo",
        reply_topic: str | None = None,
        source: str = "/mfo/client",
    ) -> None:
        self._bootstrap = bootstrap
        self._topic = Topics(topic_prefix).commands
        self._replies = reply_topic or Topics(topic_prefix).replies
        self._attributes = {
            "ce_specversion": "1.0",
            "ce_source": source,
            "ce_clientaccountid": client_account_id,
            "ce_engagementid": engagement_id,
            "ce_userid": user_id,
            "content-type": "application/json",
        }
        if reply_topic is not None:
            self._attributes["ce_replyto"] = reply_topic
        self._waiting: dict[tuple[str, str], asyncio.Future[Reply]] = {}
        self._producer: AIOKafkaProducer | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._producer = producer(self._bootstrap)
        self._consumer = AIOKafkaConsumer(self._replies, bootstrap_servers=self._bootstrap, fetch_max_wait_ms=100)
        try:
            await self._producer.start()
            await self._consumer.start()
            # replies to what is sent from now on lie behind these ends
            await self._consumer.seek_to_end()
            for part in self._consumer.assignment():
                await self._consumer.position(part)
        except BaseException as error:
            await self._stop()
            if isinstance(error, KafkaError):
                raise Unreachable(f"Kafka cannot be reached at {self._bootstrap}: {error}") from None
            raise
        self._listening = asyncio.create_task(self._listen(), name="replies")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def send(
        self,
        command: Command,
        *,
        command_id: str | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        expected_version: int | None = None,
        traceparent: str | None = None,
        patience_seconds: float = 30.0,
    ) -> Reply:
        """Send a command and wait for its reply; the same `command_id` with the same command again gets the first answer.

        Raises ServiceError where the flow refuses, ReplyTimedOut, and Unreachable where Kafka does not take it.
        """
        assert self._producer is not None
        command_id, correlation_id = command_id or str(uuid4()), correlation_id or str(uuid4())
        flow_id = str(command.flow_id)
        attributes = self._attributes | {
            "ce_id": command_id,
            "ce_type": f"mfo.command.{type(command).__name__}.v1",
            "ce_subject": flow_id,
            "ce_correlationid": correlation_id,
        }
        optional = {"causationid": causation_id, "expectedversion": expected_version, "traceparent": traceparent}
        attributes |= {f"ce_{name}": str(value) for name, value in optional.items() if value is not None}
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[command_id, correlation_id] = answer
        try:
            await self._producer.send_and_wait(
                self._topic,
                command.model_dump_json(exclude_unset=True).encode(),
                key=flow_id.encode(),
                headers=[(name, value.encode()) for name, value in attributes.items()],
            )
            reply = await asyncio.wait_for(answer, patience_seconds)
        except TimeoutError:
            raise ReplyTimedOut(
                f"no reply to command {command_id} within {patience_seconds:g} s; send it again under this id"
            ) from None
        except KafkaError as error:
            raise Unreachable(f"Kafka did not take the command {command_id}: {error}") from None
        finally:
            del self._waiting[command_id, correlation_id]
        # a repeat of what was refused at first is refused, too
        if reply.error is not None:
            raise ServiceError(REFUSED_STATUS, {**reply.error, "correlation_id": correlation_id})
        return reply

    async def _listen(self) -> None:
        assert self._consumer is not None
        while True:
            try:
                async for record in self._consumer:
                    headers = _headers(record)
                    asked = headers.get("ce_causationid", ""), headers.get("ce_correlationid", "")
                    waiting = self._waiting.get(asked)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(msgspec.json.decode(record.value, type=Reply))
            except KafkaError:
                # the broker is away for a moment; whoever waits has a deadline
                await asyncio.sleep(0.2)

    async def _stop(self) -> None:
        async with AsyncExitStack() as stack:
            for part in (self._producer, self._consumer):
                if part is not None:
                    stack.push_async_callback(close, part.stop)
            if self._listening is not None:
                await end_all([self._listening])


class EventFollower:
    """The events of one tenant's flows, each once, those of a flow in order; an async context manager and async iterator.

    `start` is a Place that was kept, a time with its zone, `beginning` or `end`. What Kafka does not hold any more is had from
    the store by `client`, flow by flow; without one EventsLost is raised. `place` takes in the event that was given last: keep
    it once that is done. Of each flow the number of its last event is held in memory.
    """

    def __init__(
        self,
        bootstrap: str,
        client_account_id: str,
        engagement_id: str,
        *,
        start: Place | Start = "end",
        client: Client | None = None,
        topic_prefix: str = "mfo",
    ) -> None:
        self.place = (
            msgspec.structs.replace(start, offsets=dict(start.offsets), seen=dict(start.seen))
            if isinstance(start, Place)
            else Place()
        )
        self._start = start
        self._tenant = client_account_id.lower(), engagement_id.lower()
        self._client = client
        self._bootstrap = bootstrap
        self._topic = Topics(topic_prefix).events
        self._consumer: AIOKafkaConsumer | None = None

    async def __aenter__(self) -> Self:
        self._consumer = AIOKafkaConsumer(
            self._topic, bootstrap_servers=self._bootstrap, fetch_max_wait_ms=100, auto_offset_reset="earliest"
        )
        try:
            await self._consumer.start()
        except BaseException as error:
            await self.__aexit__(None, None, None)
            if isinstance(error, KafkaError):
                raise Unreachable(f"Kafka cannot be reached at {self._bootstrap}: {error}") from None
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._consumer is not None:
            await close(self._consumer.stop)

    async def __aiter__(self) -> AsyncIterator[Event]:
        consumer = self._consumer
        assert consumer is not None
        partitions = sorted(consumer.assignment())
        lost, since = await self._seek(consumer, partitions)
        if lost:
            self.place.retelling, self.place.since = True, since
            async for event in self._retold(since):
                yield event
            self.place.retelling, self.place.since = False, None
        while True:
            for part, records in (await consumer.getmany(timeout_ms=POLL_MS)).items():
                for record in records:
                    async for event in self._read(record):
                        yield event
                    self.place.offsets[str(part.partition)] = record.offset + 1

    async def _seek(self, consumer: Any, partitions: list[TopicPartition]) -> tuple[bool, datetime | None]:
        """Go to where it starts; answers whether Kafka lacks some of what comes from there on, and from which time that is."""
        first, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        match self._start:
            case "end":
                wanted, lost, since = ends, False, None
            case "beginning":
                self.place.whole = True
                # what was dropped of a topic that begins at 0 was dropped with the topic
                wanted, lost, since = first, self._client is not None or any(first.values()), None
            case datetime() as since:
                found = await consumer.offsets_for_times({part: int(since.timestamp() * 1000) for part in partitions})
                wanted = {part: at.offset if at is not None else ends[part] for part, at in found.items()}
                lost = any(first[part] > 0 and wanted[part] == first[part] for part in partitions)
            case Place():
                kept = {part: self.place.offsets.get(str(part.partition), first[part]) for part in partitions}
                beyond = any(not first[part] <= at <= ends[part] for part, at in kept.items())
                lost, since = beyond or self.place.retelling, None if beyond else self.place.since
                wanted = {part: at if first[part] <= at <= ends[part] else first[part] for part, at in kept.items()}
        if lost and self._client is not None:
            # all of them are told by the store; what comes after that lies behind these ends
            wanted = ends
        elif lost:
            raise EventsLost
        for part, offset in wanted.items():
            consumer.seek(part, offset)
            self.place.offsets[str(part.partition)] = offset
        return lost, since

    async def _retold(self, since: datetime | None) -> AsyncIterator[Event]:
        """What the store holds of every flow of the tenant beyond what was seen, from a time on if there is one."""
        assert self._client is not None
        known = dict(self.place.seen)
        for status in (None, "deleted"):
            # strong: flows too that the read model would show only in a moment
            params = {"status": status, "limit": 200, "sort": "created_at", "consistency": "strong"}
            given = {name: value for name, value in params.items() if value is not None}
            async for flow in self._client.pages("/flows", "flows", params=given):
                flow_id = flow["flow_id"]
                if flow["version"] > known.get(flow_id, 0):
                    async for event in self._stored(flow_id, since=since):
                        yield event

    async def _stored(
        self, flow_id: str, *, upto: int | None = None, since: datetime | None = None
    ) -> AsyncIterator[Event]:
        """A flow's events beyond what was seen, from the store."""
        assert self._client is not None
        async for line in self._client.history_lines(flow_id, after=self.place.seen.get(flow_id, 0)):
            told = msgspec.json.decode(line)
            if upto is not None and told["version"] > upto:
                return
            event = Event(
                flow_id=UUID(flow_id),
                sequence=told["version"],
                type=told["type"],
                at=datetime.fromisoformat(told["occurred_at"]),
                user_id=told["actor"],
                command_id=told["command_id"],
                correlation_id=told["correlation_id"],
                causation_id=told["causation_id"],
                position=told["position"],
                data=told["data"],
            )
            self.place.seen[flow_id] = event.sequence
            if since is None or event.at >= since:
                yield event

    async def _read(self, record: ConsumerRecord[bytes, bytes]) -> AsyncIterator[Event]:
        """The event in a record, after those of its flow that Kafka left out; none for a repeat or another tenant's."""
        headers = _headers(record)
        if not headers.get("ce_type", "").startswith(FLOW_PREFIX) or self._tenant != (
            headers["ce_clientaccountid"],
            headers["ce_engagementid"],
        ):
            return
        flow_id, sequence = headers["ce_subject"], int(headers["ce_sequence"])
        seen = self.place.seen.get(flow_id)
        if seen is not None and sequence <= seen:
            return
        if sequence > (seen or 0) + 1 and (seen is not None or self.place.whole):
            if self._client is None:
                raise EventsLost
            async for missed in self._stored(flow_id, upto=sequence - 1):
                yield missed
        self.place.seen[flow_id] = sequence
        yield Event(
            flow_id=UUID(flow_id),
            sequence=sequence,
            type=headers["ce_type"],
            at=datetime.fromisoformat(headers["ce_time"]),
            user_id=headers["ce_userid"],
            command_id=headers["ce_commandid"],
            correlation_id=headers["ce_correlationid"],
            causation_id=headers.get("ce_causationid"),
            position=headers["ce_position"],
            data=msgspec.json.decode(record.value or b"{}"),
        )


def _headers(record: ConsumerRecord[bytes, bytes]) -> Mapping[str, str]:
    return {name: (value or b"").decode(errors="replace") for name, value in record.headers}
