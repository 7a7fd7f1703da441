"""What is said of batches that are decided, in their order, and their acknowledgement, which follows it.

While one batch is decided, those before it are told: as many as have come together, in one go. Acknowledgements are an append
to a topic of Kafka's own each, and are made every 0.1 s at most. What was told and not acknowledged when a process dies comes
once more, finds its ids used and is answered with the first outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from time import monotonic
from typing import Any, NamedTuple

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from eventstore.config import Topics
from eventstore.wake import woken

log = structlog.get_logger()

NO_SUCH_TOPIC = (UnknownTopicOrPartitionError, InvalidTopicError, TopicAuthorizationFailedError)
ACKNOWLEDGE_SECONDS = 0.1
IDLE_SECONDS = 60.0
# beyond that the next batch waits
MOST_MESSAGES = 1000
AGAIN_SECONDS = (0.1, 2.0)


class Outgoing(NamedTuple):
    """A message on its way out."""

    topic: str
    value: bytes | None
    key: bytes | None
    headers: list[tuple[str, bytes]]


class Answers:
    """What is still to be told and to be acknowledged; `run` ends only when it is cancelled."""

    def __init__(self, producer: AIOKafkaProducer | None, topics: Topics) -> None:
        # whether Kafka does not take what is to be told
        self.waiting = False
        # set unless `full`
        self.room = asyncio.Event()
        self._producer = producer
        self._topics = topics
        self._consumer: Any = None
        self._outgoing: list[Outgoing] = []
        self._decided: dict[TopicPartition, int] = {}
        self._done: dict[TopicPartition, int] = {}
        self._put = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        self._hurry = False
        self._acknowledged = 0.0

    def put(self, outgoing: Iterable[Outgoing], records: Iterable[Any], consumer: Any) -> None:
        """Have this told, and then these records acknowledged by their consumer."""
        self._outgoing.extend(outgoing)
        self._decided |= {TopicPartition(each.topic, each.partition): each.offset + 1 for each in records}
        self._consumer = consumer
        self._settled.clear()
        if self.full:
            self.room.clear()
        self._put.set()

    @property
    def full(self) -> bool:
        """Whether so much is to be told that nothing should be added; `room` is set when there is less again."""
        return len(self._outgoing) >= MOST_MESSAGES

    async def settle(self) -> None:
        """Wait until all that was put has been told and acknowledged."""
        self._hurry = True
        self._put.set()
        await self._settled.wait()

    async def run(self) -> None:
        """Tell and acknowledge what is put, for as long as the service lives; a Kafka that is away is waited for."""
        while True:
            if not (self._outgoing or self._decided or self._done):
                self._hurry = False
                self._settled.set()
            due = self._acknowledged + ACKNOWLEDGE_SECONDS - monotonic() if self._done else IDLE_SECONDS
            if await woken(self._put, due):
                self._put.clear()
            outgoing, self._outgoing = self._outgoing, []
            self.room.set()
            decided, self._decided = self._decided, {}
            if outgoing:
                await self.tell(outgoing)
            self._done |= decided
            if self._done and (self._hurry or monotonic() >= self._acknowledged + ACKNOWLEDGE_SECONDS):
                await self._acknowledge()

    async def _acknowledge(self) -> None:
        self._acknowledged = monotonic()
        ours = self._consumer.assignment()
        offsets = {each: offset for each, offset in self._done.items() if each in ours}
        try:
            if offsets:
                await self._consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError):
            log.info("partitions have gone to another member, which answers their last commands once more")
        except KafkaError as error:
            log.warning("acknowledgement waits for Kafka", error=type(error).__name__)
            return
        self._done = {}

    async def tell(self, outgoing: list[Outgoing]) -> None:
        """Send all of it, in order; a broker that cannot take it now is waited for, because the batch counts as done after."""
        assert self._producer is not None
        pause = AGAIN_SECONDS[0]
        while outgoing:
            futures: list[tuple[Outgoing, asyncio.Future[Any]]] = []
            failed: list[Outgoing] = []
            left: list[Outgoing] = []
            for n, one in enumerate(outgoing):
                try:
                    sent = await self._producer.send(one.topic, one.value, key=one.key, headers=one.headers)
                    futures.append((one, sent))
                except MessageSizeTooLargeError:
                    failed.extend(_smaller(one))
                except NO_SUCH_TOPIC as error:
                    failed.extend(self._redirected(one, error))
                except KafkaError:
                    left = outgoing[n:]
                    break
            for one, sent in futures:
                try:
                    await sent
                except MessageSizeTooLargeError:
                    failed.extend(_smaller(one))
                except NO_SUCH_TOPIC as error:
                    failed.extend(self._redirected(one, error))
                except KafkaError:
                    failed.append(one)
            outgoing = failed + left
            self.waiting = bool(outgoing)
            if outgoing:
                log.warning("replies wait for Kafka", messages=len(outgoing))
                await asyncio.sleep(pause)
                pause = min(pause * 2, AGAIN_SECONDS[1])

    def _redirected(self, one: Outgoing, error: KafkaError) -> list[Outgoing]:
        """An answer whose own topic is not there goes to the topic of all replies; that one, and dead letters, are waited for."""
        if one.topic in {self._topics.replies, self._topics.dead_letters}:
            return [one]
        log.warning(
            "reply topic is not there", topic=one.topic, error=type(error).__name__, instead=self._topics.replies
        )
        return [one._replace(topic=self._topics.replies)]


def _smaller(one: Outgoing) -> list[Outgoing]:
    """What is left of a message that no broker takes: the reasons of a dead letter; it is still found by its offset."""
    log.error("message is too large for Kafka", topic=one.topic, bytes=len(one.value or b""))
    reasons = [header for header in one.headers if header[0].startswith("mfo_")]
    return [Outgoing(one.topic, None, None, reasons)] if one.value is not None and reasons else []
