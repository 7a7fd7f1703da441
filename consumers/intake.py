"""Commands taken in from Kafka in batches, acknowledged when every one has its answer.

While the answers to one batch are told (`answers.py`), the next one is decided. A message that is no command goes to the dead
letters with its bytes and headers. While the store cannot be reached, or has enough to do, the batch waits with its partitions
paused; nothing is acknowledged before it is kept. A command of a parked flow is kept, and holds up no partition: its sender is
told `parked` now and the outcome later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import structlog
from aiokafka import AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from pydantic import BaseModel, Field

from consumers.answers import Answers, Outgoing
from consumers.messages import Incoming, name_of, read, sender
from consumers.metrics import PARTITIONS_PAUSED, TAKEN_IN
from consumers.subscribing import Subscribing, SubscriptionAnswer
from domain.commands import Json
from domain.errors import MfoError, Unavailable
from domain.fleet.commands import FleetCommand
from domain.schedules.commands import ScheduleCommand
from domain.subscriptions import SubscriptionCommand
from eventstore import tracing
from eventstore.committer import ACCEPTED, REFUSED, REPEATED, WAITS, Answer, Committer
from eventstore.config import ServiceConfig
from eventstore.fleet import Fleet, FleetAnswer
from eventstore.parking import LateReply
from eventstore.schedules import ScheduleAnswer, Schedules
from eventstore.tasks import end_all
from eventstore.wake import woken

log = structlog.get_logger()

BATCH_RECORDS = 500
# a hundred years: FastStream sleeps as long again where nothing came in that time, and would not see what comes meanwhile
BATCH_MS = 3_155_760_000_000
# fetched ahead of the batch in hand
FETCH_BYTES = 4 << 20
SESSION_MS = 6_000
POLL_MS = 600_000
GRACE_SECONDS = 2.0
# how long partitions that go to another member wait for what is in hand
RELEASE_SECONDS = 1.0
# a batch that takes longer pauses its partitions
PATIENCE_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 0.02
# the dead letters' topic takes 2 MiB, headers and reasons included
MAX_DEAD_LETTER = (2 << 20) - (64 << 10)
REPLY_NAMES = {ACCEPTED: "Accepted", REPEATED: "Repeated", REFUSED: "Refused", WAITS: "Parked"}


class ReplyError(BaseModel):
    """Why a command was refused."""

    code: str
    detail: str
    allowed: list[str] = Field(default_factory=list)
    errors: list[dict[str, str]] = Field(default_factory=list)
    details: dict[str, Any] = Field(default_factory=dict)


class Reply(BaseModel):
    """What became of a command."""

    command_id: str
    outcome: str = Field(
        description="accepted, repeated or refused; a repeat carries the first version, position and error. parked: the"
        " command is kept and waits behind one that could not be applied; a second reply brings its outcome"
    )
    flow_id: str | None
    schedule_id: str | None = Field(default=None, description="In place of flow_id, for commands about a schedule.")
    operation_id: str | None = Field(default=None, description="In place of flow_id, for commands about an operation.")
    standing_pause_id: str | None = Field(
        default=None, description="In place of flow_id, for commands about a standing pause."
    )
    pause_rule_id: str | None = Field(default=None, description="In place of flow_id, for commands about a pause rule.")
    subscription_id: str | None = Field(
        default=None, description="In place of flow_id, for commands about a subscription, which has no version."
    )
    version: int
    position: str | None
    error: ReplyError | None = None


def kafka_broker(config: ServiceConfig, **options: Any) -> KafkaBroker:
    """The broker for the intake; it only consumes and creates no topics."""
    return KafkaBroker(
        config.kafka_bootstrap,
        consumer_only=True,
        allow_auto_create_topics=False,
        client_id="mfo-intake",
        # a batch that waits for the store is not acknowledged and comes again; there is no use in waiting for it
        graceful_timeout=GRACE_SECONDS,
        logger=None,
        **options,
    )


class Intake(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka tells no types
    """The door for commands from Kafka, from `start` to `stop`."""

    def __init__(
        self,
        config: ServiceConfig,
        committer: Callable[[], Committer],
        producer: AIOKafkaProducer | None,
        schedules: Callable[[], Schedules] | None = None,
        fleet: Callable[[], Fleet] | None = None,
        *,
        subscribing: Subscribing | None = None,
    ) -> None:
        self._topics = config.topics
        self._allowed = config.reply_topics
        self._committer = committer
        self._schedules = schedules
        self._fleet = fleet
        self._subscribing = subscribing
        self._answers = Answers(producer, config.topics)
        self._store_waits = False
        self._stops = False
        self._in_hand = asyncio.Lock()
        # from `start` on; it ends by no fault of Kafka's
        self.telling: asyncio.Task[None] | None = None
        self.broker = kafka_broker(config)
        self.broker.subscriber(
            self._topics.commands,
            group_id=f"{config.topic_prefix}-commands",
            batch=True,
            max_records=BATCH_RECORDS,
            batch_timeout_ms=BATCH_MS,
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="earliest",
            fetch_max_bytes=FETCH_BYTES,
            fetch_max_wait_ms=config.kafka_fetch_wait_ms,
            session_timeout_ms=SESSION_MS,
            # whoever joins waits until the others hear of it, which they do with their heartbeat
            heartbeat_interval_ms=500,
            max_poll_interval_ms=POLL_MS,
            listener=self,
            parser=_as_it_came,
            decoder=_as_it_is,
            title="commands",
            description="Commands as CloudEvents 1.0, keyed by flow id; data is the body of the same HTTP call plus flow_id.",
        )(self.on_commands)

    @property
    def waiting(self) -> bool:
        """Whether a batch waits for the store, or what is to be said of it for Kafka."""
        return self._store_waits or self._answers.waiting

    async def start(self) -> None:
        """Begin to take in; raises KafkaError."""
        if self.telling is None:
            self.telling = asyncio.create_task(self._answers.run(), name="answers")
        await self.broker.start()

    async def stop(self) -> None:
        """Take in nothing more; what is decided is told and acknowledged, where that can be done in a moment."""
        self._stops = True
        await self._settle(GRACE_SECONDS)
        await self.broker.stop()
        if self.telling is not None:
            await end_all([self.telling])

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Have what is in hand acknowledged before others read on behind it."""
        if revoked:
            await self._settle(RELEASE_SECONDS)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Whoever had them before has acknowledged what he answered, or it is answered again."""

    async def _settle(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._in_hand:
                await self._answers.settle()

    async def on_commands(self, body: list[Any], message: KafkaMessage) -> None:
        """Decide a batch and leave every message's answer to be told, and then acknowledged."""
        records = message.raw_message if isinstance(message.raw_message, tuple) else (message.raw_message,)
        async with self._in_hand:
            if self._stops:
                return
            try:
                await self._take_in(records, message)
            except Exception:
                # FastStream would say nothing and go on, and the next acknowledgement would be that of this batch too
                log.exception("commands are read once more", commands=len(records))
                self._read_again(records, message.consumer)
                await asyncio.sleep(PATIENCE_SECONDS)

    def _read_again(self, records: Sequence[Any], consumer: Any) -> None:
        first = {TopicPartition(each.topic, each.partition): each.offset for each in reversed(records)}
        for partition, offset in first.items():
            # those that have gone to another member are read by it
            with suppress(IllegalStateError):
                consumer.seek(partition, offset)
        self._resume(consumer)

    async def _take_in(self, records: Sequence[Any], message: KafkaMessage) -> None:
        while self._answers.full:
            if not await woken(self._answers.room, PATIENCE_SECONDS):
                await self._pause(message.consumer)
        outgoing: list[Outgoing] = []
        waiting: list[tuple[Any, Incoming]] = []
        spans: list[tracing.Span | None] = []
        for record in records:
            try:
                incoming = read(
                    record.key,
                    record.headers,
                    record.value,
                    reply_topic=self._topics.replies,
                    allowed_reply_topics=self._allowed,
                )
            except Exception as error:
                outgoing.extend(self._dead_letter(record, _fault(error, offset=record.offset)))
                continue
            spans.append(span := _span(incoming))
            if span is not None:
                envelope = msgspec.structs.replace(incoming.envelope, traceparent=span.traceparent)
                incoming = incoming._replace(envelope=envelope)
            waiting.append((record, incoming))
        answers = await self._decide([incoming for _, incoming in waiting], message.consumer)
        for (record, incoming), answer, span in zip(waiting, answers, spans, strict=True):
            if span is not None:
                span.end(outcome="unreadable" if isinstance(answer, MfoError) else answer.outcome)
            if isinstance(answer, MfoError):
                outgoing.extend(self._dead_letter(record, answer))
                continue
            TAKEN_IN.labels(answer.outcome).inc()
            outgoing.append(self._reply(incoming.reply_topic, answer, incoming.envelope.correlation_id))
        self._answers.put(outgoing, records, message.consumer)
        self._resume(message.consumer)

    async def _pause(self, consumer: Any) -> None:
        """Pause the partitions of a batch that waits. What was fetched ahead is let go, and the group still hears of us."""
        partitions = consumer.assignment()
        consumer.pause(*partitions)
        PARTITIONS_PAUSED.set(len(partitions))
        if partitions:
            # paused partitions bring nothing; one that was assigned anew just now may, and is read again
            for partition, records in (await consumer.getmany(*partitions, timeout_ms=0)).items():
                consumer.seek(partition, records[0].offset)

    def _resume(self, consumer: Any) -> None:
        for partition in consumer.paused():
            with suppress(IllegalStateError):
                consumer.resume(partition)
        PARTITIONS_PAUSED.set(0)

    async def _decide(self, incoming: list[Incoming], consumer: Any) -> list[Answer | MfoError]:
        """The answer to each, in order; what the store could not take now is asked again until it can."""
        results: list[Answer | MfoError | None] = [None] * len(incoming)
        left = list(range(len(incoming)))
        pause = FIRST_PAUSE_SECONDS
        while left:
            futures: list[tuple[int, Any]] = []
            again: list[int] = []
            for place, n in enumerate(left):
                try:
                    futures.append((n, await self._put(incoming[n])))
                except Unavailable:
                    # order is kept: what follows waits too
                    again.extend(left[place:])
                    break
                except Exception as error:
                    results[n] = _fault(error, command_id=incoming[n].envelope.command_id)
            await self._answered([future for _, future in futures], consumer)
            for n, future in futures:
                try:
                    results[n] = await future
                except Unavailable:
                    again.append(n)
                except Exception as error:
                    results[n] = _fault(error, command_id=incoming[n].envelope.command_id)
            if len(again) < len(left):
                pause = FIRST_PAUSE_SECONDS
            left = sorted(again)
            self._store_waits = bool(left)
            if left:
                await self._pause(consumer)
                await asyncio.sleep(pause)
                pause = min(pause * 2, PATIENCE_SECONDS)
        return [result for result in results if result is not None]

    async def _put(self, incoming: Incoming) -> asyncio.Future[Any]:
        command, envelope = incoming.command, incoming.envelope
        if isinstance(command, ScheduleCommand):
            assert self._schedules is not None
            return await self._schedules().put(command, envelope)
        if isinstance(command, FleetCommand):
            assert self._fleet is not None
            return await self._fleet().put(command, envelope)
        if isinstance(command, SubscriptionCommand):
            assert self._subscribing is not None
            return await self._subscribing.put(command, envelope)
        return await self._committer().put(command, envelope, reply_to=incoming.reply_topic)

    async def _answered(self, pending: Sequence[asyncio.Future[Answer]], consumer: Any) -> None:
        """Wait until all are answered, which may take as long as the store is away."""
        while pending:
            _, left = await asyncio.wait(pending, timeout=PATIENCE_SECONDS)
            pending = list(left)
            if pending:
                self._store_waits = True
                await self._pause(consumer)

    async def tell_late(self, replies: Sequence[LateReply]) -> None:
        """The outcomes of commands that had waited behind parked flows."""
        outgoing = []
        for reply in replies:
            position = self._committer().store.position(reply.position)
            answer = Answer(reply.command_id, reply.outcome, reply.flow_id, reply.version, position, reply.error)
            outgoing.append(self._reply(reply.reply_to, answer, reply.correlation_id))
        await self._answers.tell(outgoing)

    def _reply(self, topic: str, answer: Answer, correlation_id: str) -> Outgoing:
        body: Json = {
            "command_id": answer.command_id,
            "outcome": answer.outcome,
            "flow_id": str(answer.flow_id),
            "version": answer.version,
            "position": answer.position,
        }
        if isinstance(answer, ScheduleAnswer):
            body["flow_id"], body["schedule_id"] = None, str(answer.flow_id)
        if isinstance(answer, SubscriptionAnswer):
            body["flow_id"], body["subscription_id"] = None, str(answer.flow_id)
        if isinstance(answer, FleetAnswer):
            body["flow_id"], body[answer.named] = None, str(answer.flow_id)
        if answer.error is not None:
            body["error"] = answer.error
        return self._message(
            topic,
            REPLY_NAMES[answer.outcome],
            body,
            flow_id=str(answer.flow_id),
            correlation_id=correlation_id,
        )

    def _message(self, topic: str, name: str, body: Json, *, flow_id: str | None, correlation_id: str) -> Outgoing:
        headers = {
            "ce_specversion": "1.0",
            "ce_id": str(uuid4()),
            "ce_source": "/mfo/commands",
            "ce_type": f"mfo.reply.{name}.v1",
            "ce_time": datetime.now(UTC).isoformat(),
            "ce_correlationid": correlation_id,
            "ce_causationid": str(body["command_id"]),
            "content-type": "application/json",
        }
        if flow_id:
            headers["ce_subject"] = flow_id
        return Outgoing(
            topic,
            msgspec.json.encode(body),
            flow_id.encode() if flow_id else None,
            [(name, value.encode()) for name, value in headers.items()],
        )

    def _dead_letter(self, record: Any, error: MfoError) -> list[Outgoing]:
        """Keep a message that is no command, byte for byte, with the reason; tell its sender where one is named."""
        TAKEN_IN.labels("dead_letter").inc()
        log.warning(
            "dead letter", code=error.code, topic=record.topic, partition=record.partition, offset=record.offset
        )
        reason = [
            ("mfo_error_code", error.code.encode()),
            ("mfo_error_detail", error.detail.encode()),
            ("mfo_source_topic", record.topic.encode()),
            ("mfo_source_partition", str(record.partition).encode()),
            ("mfo_source_offset", str(record.offset).encode()),
        ]
        value = record.value
        if value is not None and len(value) > MAX_DEAD_LETTER:
            # compressed on its way in, it was under the broker's limit
            reason.append(("mfo_original_bytes", str(len(value)).encode()))
            value = value[:MAX_DEAD_LETTER]
        sent = [Outgoing(self._topics.dead_letters, value, record.key, [*record.headers, *reason])]
        who = sender(record.headers, record.value)
        if who.command_id:
            body: Json = {
                "command_id": who.command_id,
                "outcome": REFUSED,
                "flow_id": None,
                who.named: who.subject,
                "version": 0,
                "position": None,
                "error": error.as_dict(),
            }
            sent.append(
                self._message(
                    self._topics.replies,
                    "Refused",
                    body,
                    flow_id=who.subject,
                    correlation_id=who.correlation_id or who.command_id,
                )
            )
        return sent


def _span(incoming: Incoming) -> tracing.Span | None:
    """A span from the reading of a command to its answer, under the sender's."""
    return tracing.begin(
        f"take in {name_of(incoming.command)}",
        incoming.envelope.traceparent,
        kind="consumer",
        attributes={"correlation_id": incoming.envelope.correlation_id},
    )


def _fault(error: Exception, **whose: Any) -> MfoError:
    """Why a command can be kept neither now nor later."""
    if isinstance(error, MfoError):
        return error
    log.error("command cannot be kept", exc_info=error, **whose)
    return MfoError(f"the command could not be kept: {type(error).__name__}")


async def _as_it_came(records: Any, original: Any) -> Any:
    """The batch without a look at its headers: FastStream's own reading fails on one that is not UTF-8."""
    batch = records if isinstance(records, tuple) else (records,)
    message = await original((replace(batch[0], headers=()),))
    message.raw_message = batch
    return message


async def _as_it_is(message: Any, original: Any = None) -> Any:
    """Bodies are read by `read`, one by one, so that a broken one spoils no batch."""
    return message.body
