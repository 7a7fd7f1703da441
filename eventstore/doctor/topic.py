"""Whether Kafka still holds what the relay has told it."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from domain.words import counted
from eventstore.database import Connection
from eventstore.doctor.checks import rows
from eventstore.doctor.findings import Finding

TIMEOUT_SECONDS = 15.0
LAST = """
select notification_id as position from stored_events
where notification_id <= (select position from relay where name = 'kafka') order by notification_id desc limit 1
"""


async def examine_topic(connection: Connection, bootstrap: str, topic: str) -> list[Finding]:
    """Compare the place of the newest record on the topic with the relay's; an unreachable Kafka is a finding too.

    The relay sends in order and waits for every confirmation, so a topic whose newest record lies before the relay's
    place has lost its end: it was made anew, or restored from an older copy.
    """
    told = await rows(connection, LAST)
    if not told:
        return []
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            newest = await _newest(bootstrap, topic)
    except (KafkaError, OSError, TimeoutError) as error:
        return [
            Finding(
                code="relay_silent",
                severity="critical",
                message=f"Kafka cannot be asked for {topic}: {type(error).__name__}.",
                mend="start Kafka, or check MFO_KAFKA_BOOTSTRAP",
            )
        ]
    if newest >= told[0]["position"]:
        return []
    lost = told[0]["position"] - newest
    return [
        Finding(
            code="topic_behind",
            severity="critical",
            count=lost,
            message=f"{topic} ends at place {newest} of the log, {counted(lost, 'event')} before what the relay has told"
            " it: the topic was made anew or lost its end.",
            mend="`mfo doctor --deep --repair` has the relay tell the whole history once more",
            repairable=True,
            subjects=({"topic": topic, "newest": newest, "told": told[0]["position"]},),
        )
    ]


async def _newest(bootstrap: str, topic: str) -> int:
    """The greatest place in the log that the last record of any partition names; 0 for an empty topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, fetch_max_wait_ms=50)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in await _partitions(consumer, topic)]
        if not partitions:
            return 0
        consumer.assign(partitions)
        first = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        waited = {part for part in partitions if ends[part] > first[part]}
        for part in partitions:
            consumer.seek(part, max(ends[part] - 1, first[part]))
        newest = 0
        while waited:
            for part, records in (await consumer.getmany(timeout_ms=500)).items():
                newest = max([newest, *(_place(record) for record in records)])
                if records[-1].offset >= ends[part] - 1:
                    waited.discard(part)
        return newest
    finally:
        await consumer.stop()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[int]:
    # the consumer knows no topic yet
    await consumer.topics()
    return sorted(consumer.partitions_for_topic(topic) or ())


def _place(record: Any) -> int:
    for name, value in record.headers:
        if name == "ce_position":
            return int(value.decode().rpartition(":")[2])
    return 0
