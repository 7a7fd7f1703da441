"""Whether Kafka still holds what the relay has told it."""

from __future__ import annotations

import asyncio

from aiokafka.errors import KafkaError

from domain.words import counted
from eventstore.database import Connection
from eventstore.doctor.checks import rows
from eventstore.doctor.findings import Finding
from eventstore.topic import told_upto

TIMEOUT_SECONDS = 15.0
LAST = """
select notification_id as position from stored_events
where notification_id <= (select position from relay where name = 'kafka') order by notification_id desc limit 1
"""


async def examine_topic(connection: Connection, bootstrap: str, topic: str) -> list[Finding]:
    """Compare the place of the newest record on the topic with the relay's; an unreachable Kafka is a finding too."""
    told = await rows(connection, LAST)
    if not told:
        return []
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            newest = await told_upto(bootstrap, topic)
    except (KafkaError, OSError, TimeoutError) as error:
        return [
            Finding(
                code="relay_silent",
                severity="critical",
                message=f"Kafka cannot be asked for {topic}: {type(error).__name__}.",
                mend="start Kafka, or check MFO_KAFKA_BOOTSTRAP",
            )
        ]
    if newest is None or newest >= told[0]["position"]:
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
