"""How far the topic of events goes: what Kafka still holds of what it was told."""

from __future__ import annotations

from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import UnknownTopicOrPartitionError

from eventstore.tasks import close

MAKE_TOPICS = "`python -m mfo.embedded.make_topics` makes the topics that are missing"


def fault(error: BaseException) -> str:
    """What is wrong with Kafka in a few words; where a topic is missing, what makes it."""
    name = type(error).__name__
    return f"{name}: {MAKE_TOPICS}" if isinstance(error, UnknownTopicOrPartitionError) else name


async def told_upto(bootstrap: str, topic: str) -> int | None:
    """The greatest place in the log that a record of the topic names; 0 where nothing was ever written to it.

    None where it cannot be known: what some partition held has expired. The relay tells in order and waits for every
    confirmation, so a topic that ends before the relay's place was made anew, or has lost its end. Raises KafkaError.
    """
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, enable_auto_commit=False, fetch_max_wait_ms=50)
    try:
        await consumer.start()
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        if not partitions:
            return 0
        first, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        newest, waited = 0, {part for part in partitions if ends[part] > first[part]}
        for part in partitions:
            consumer.seek(part, max(ends[part] - 1, first[part]))
        while waited:
            for part, records in (await consumer.getmany(timeout_ms=500)).items():
                newest = max([newest, *(_place(record) for record in records)])
                if records[-1].offset >= ends[part] - 1:
                    waited.discard(part)
        return None if any(first[part] == ends[part] > 0 for part in partitions) else newest
    finally:
        await close(consumer.stop)


def _place(record: Any) -> int:
    for name, value in record.headers:
        if name == "ce_position":
            return int(value.decode().rpartition(":")[2])
    return 0
