"""History told to Kafka: one leader tails the log and passes on every event, in order, never beyond an unconfirmed one.

The leader holds an advisory lock on a connection of its own and the newest epoch in the row `relay`; moving the position
under an older epoch changes nothing and ends that leadership. Two relays at once can therefore only repeat events. A
subscriber drops repeats by `(subject, sequence)`.

What the leader's own process commits it is handed, and does not read back: numbers in the log follow the order of commits, so
between an event and the one with the next number nothing can lie. Where a number is missing, or another process says that it
has committed, the log is read.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import takewhile
from time import monotonic
from typing import Any

import psycopg
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder
from prometheus_client import Counter, Gauge

from domain.events import TOPICS, CheckpointCreated, PhaseCompleted, PhaseStarted, StepsCompleted
from domain.fleet.events import OPERATION_PREFIX, PAUSE_RULE_PREFIX, STANDING_PAUSE_PREFIX
from domain.schedules.events import SCHEDULE_PREFIX
from eventstore import tracing
from eventstore.codec import split, split_text
from eventstore.config import ServiceConfig
from eventstore.database import Connection, connect, conninfo
from eventstore.faults import heed_the_end
from eventstore.notices import Channel, Wanted, listen
from eventstore.store import Stored, tail
from eventstore.tasks import close
from eventstore.topic import told_upto
from eventstore.wake import woken

log = structlog.get_logger()

# kept here, so that a process without a relay shows no figures of one
RELAY_LAG = Gauge("mfo_relay_lag_events", "Events in the store that are not yet on Kafka")
RELAY_OLDEST = Gauge("mfo_relay_oldest_seconds", "Age of the oldest event that is not yet on Kafka")
RELAY_LEADER = Gauge("mfo_relay_leader", "1 where this process tells Kafka")
RELAYED = Counter("mfo_relayed_events_total", "Events told to Kafka")

BATCH = 1000
# every commit wakes the leader; this is for a notice that was lost, and how often an idle one shows that it is alive
POLL_SECONDS = 4.0
TAKE_OVER_SECONDS = 1.0
# from one look at a busy log to the next, and a fifth more than the last one took where that is more: every record told alone is
# work for Kafka and each of its readers, and takes it from the next commit
GAP_SECONDS = 0.005
GAP_TIMES = 1.2
# and to the next one where nothing has come but what happens between two phases: the flow's next phase, or its end, is near
COMPANY_SECONDS = 0.02
BETWEEN = frozenset(TOPICS[event] for event in (PhaseStarted, PhaseCompleted, StepsCompleted, CheckpointCreated))
# the place is kept so often at most: a leader that dies has its successor repeat what it told since
KEEP_SECONDS = 0.05
# how often an idle leader looks whether the topic still holds what it was told
TOPIC_CHECK_SECONDS = 15.0
LOCK_CLASS = 2
# events in hand; beyond that they are read back
MOST_HANDED = 4 * BATCH
# connections that this process commits over; those before are gone, and others may have their numbers
OWN_BACKENDS = 1

LEAD = """
update relay set epoch = epoch + 1, leader = %s, moved_at = mfo_now() where name = %s returning epoch, position
"""
MOVE = """
update relay set position = %s, moved_at = mfo_now() where name = %s and epoch = %s
returning (select coalesce(max(notification_id), 0) from stored_events)
"""

# where an event that is no flow's comes from
SOURCES = {
    SCHEDULE_PREFIX: b"/mfo/schedules",
    OPERATION_PREFIX: b"/mfo/operations",
    STANDING_PAUSE_PREFIX: b"/mfo/standing-pauses",
    PAUSE_RULE_PREFIX: b"/mfo/pause-rules",
}

Headers = list[tuple[str, bytes]]
TRACEPARENT = "ce_traceparent"


def message(event: Stored, shard: str) -> tuple[bytes, bytes, Headers]:
    """An event as a Kafka record: key, value and CloudEvents 1.0 headers in binary mode."""
    meta, data = split_text(event.state)
    flow_id = str(event.flow_id)
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", f"{flow_id}:{event.version}".encode()),
        ("ce_source", _source(event.topic)),
        ("ce_type", event.topic.encode()),
        ("ce_subject", flow_id.encode()),
        ("ce_time", meta.at.encode()),
        ("ce_sequence", str(event.version).encode()),
        ("ce_position", f"{shard}:{event.position}".encode()),
        ("ce_clientaccountid", meta.client_account_id.encode()),
        ("ce_engagementid", meta.engagement_id.encode()),
        ("ce_userid", meta.user_id.encode()),
        ("ce_correlationid", meta.correlation_id.encode()),
        ("ce_commandid", meta.command_id.encode()),
        ("ce_origin", meta.source.encode()),
        ("content-type", b"application/json"),
    ]
    if meta.causation_id:
        headers.append(("ce_causationid", meta.causation_id.encode()))
    if meta.traceparent:
        headers.append((TRACEPARENT, meta.traceparent.encode()))
    return flow_id.encode(), data, headers


@cache
def _source(topic: str) -> bytes:
    return next((at for prefix, at in SOURCES.items() if topic.startswith(prefix)), b"/mfo/flows")


@lru_cache(maxsize=16_384)
def _place(key: bytes) -> int:
    """Where Kafka's own clients put a key, before it is divided by the number of partitions."""
    place: int = murmur2(key) & 0x7FFFFFFF
    return place


def producer(bootstrap: str, **options: Any) -> AIOKafkaProducer:
    """An idempotent producer that waits for all replicas. Event bodies may reach 256 KiB, dead letters 2 MiB."""
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        enable_idempotence=True,
        acks="all",
        linger_ms=0,
        max_batch_size=262_144,
        max_request_size=2_097_152,
        **options,
    )


def tell_anew(database_url: str, shard: str) -> None:
    """Have the whole history told again, to a Kafka that has lost it; what it has after all is repeated."""
    with psycopg.connect(conninfo(database_url, shard), autocommit=True) as connection:
        connection.execute("update relay set position = 0, epoch = epoch + 1")


class Relay:
    """Leads when it can, waits for its turn when it cannot; `run` ends only when cancelled."""

    def __init__(self, config: ServiceConfig, name: str = "kafka") -> None:
        self._config = config
        self._name = name
        self._who = f"{socket.gethostname()}:{os.getpid()}"
        self._wake = asyncio.Event()
        # whether more has come than what happens between two phases
        self._at_once = asyncio.Event()
        self._handed: list[Stored] = []
        self._own: deque[int] = deque(maxlen=OWN_BACKENDS)
        # whether there may be something in the log that was not handed to us
        self._unread = True
        self._offsets: dict[int, int] = {}
        self.leading = False

    def hear(self, backend: int, events: list[Stored]) -> None:
        """Take what this process has just committed, in the order of the log, over the connection to this backend.

        Its notices are heard no more; should one not be followed by this call, the next look at the log is a few seconds away.
        """
        if backend not in self._own:
            self._own.append(backend)
        if not self.leading or not events:
            return
        self._handed.extend(events)
        if len(self._handed) > MOST_HANDED:
            self._handed.clear()
            self._look()
        if not BETWEEN.issuperset(event.topic for event in events):
            self._at_once.set()
        self._wake.set()

    def _look(self) -> None:
        self._unread = True
        self._hurry()

    def _hurry(self) -> None:
        self._at_once.set()
        self._wake.set()

    async def run(self) -> None:
        """Tell Kafka for as long as the service lives; faults of PostgreSQL and Kafka are waited out."""
        pause = 0.1
        while True:
            try:
                await self._lead()
                pause = TAKE_OVER_SECONDS
            except (psycopg.Error, KafkaError, OSError, TimeoutError) as error:
                heed_the_end()
                log.warning("relay interrupted", error=type(error).__name__, detail=str(error)[:200])
                pause = min(pause * 2, 5.0)
            finally:
                self.leading = False
                RELAY_LEADER.set(0)
            await asyncio.sleep(pause)

    async def _lead(self) -> None:
        connection = await connect(self._config.database_url, self._config.shard)
        listener: asyncio.Task[None] | None = None
        try:
            while True:
                if await self._try_lock(connection):
                    break
                await asyncio.sleep(TAKE_OVER_SECONDS)
            await connection.execute(
                "insert into relay (name, moved_at) values (%s, mfo_now()) on conflict do nothing", (self._name,)
            )
            row = await (await connection.execute(LEAD, (self._who, self._name))).fetchone()
            assert row is not None
            epoch, position = int(row[0]), int(row[1])
            listener = asyncio.create_task(
                listen(self._config, Wanted(Channel.EVENTS, self._look, deaf_to=self._own)), name="relay listener"
            )
            listener.add_done_callback(lambda _: self._wake.set())
            kafka = producer(self._config.kafka_bootstrap)
            try:
                await kafka.start()
                position = await self._held(position)
                self._offsets.clear()
                self._handed.clear()
                # a server that was started anew gives their numbers to others
                self._own.clear()
                self._look()
                self.leading = True
                RELAY_LEADER.set(1)
                log.info("relay leads", epoch=epoch, position=position)
                await self._tell(connection, kafka, epoch, position, listener)
            finally:
                await close(kafka.stop)
        finally:
            try:
                if listener is not None:
                    listener.cancel()
                    # its end is of no interest; our own cancellation, should it come just now, must not be taken for it
                    await asyncio.gather(listener, return_exceptions=True)
            finally:
                await connection.close()

    async def _try_lock(self, connection: Connection) -> bool:
        cursor = await connection.execute(
            "select pg_try_advisory_lock(hashtext(current_schema() || %s), %s)", (self._name, LOCK_CLASS)
        )
        row = await cursor.fetchone()
        return bool(row and row[0])

    async def _held(self, position: int) -> int:
        """Where to go on: at `position`, or from the beginning for a topic that has lost what it was told."""
        if not position:
            return 0
        newest = await told_upto(self._config.kafka_bootstrap, self._config.topics.events)
        if newest is None or newest >= position:
            return position
        log.warning("the topic lacks what it was told; all of it is told once more", told=position, newest=newest)
        return 0

    async def _tell(
        self,
        connection: Connection,
        kafka: AIOKafkaProducer,
        epoch: int,
        position: int,
        listener: asyncio.Task[None],
    ) -> None:
        checked = kept_at = monotonic()
        kept = position
        while True:
            looked_at = monotonic()
            events = await self._next(connection, position)
            if events:
                if await self._produce(kafka, events):
                    position = events[-1].position
                else:
                    position = 0
                    self._look()
                RELAYED.inc(len(events))
                self._measure(events, full=len(events) == BATCH)
            else:
                RELAY_LAG.set(0)
                RELAY_OLDEST.set(0)
            if position < kept or (position > kept and monotonic() - kept_at >= KEEP_SECONDS):
                if await self._move(connection, epoch, position) is None:
                    log.warning("relay was superseded", epoch=epoch)
                    return
                kept, kept_at = position, monotonic()
            if listener.done():
                listener.result()
                return
            if len(events) == BATCH and self._unread:
                continue
            took = monotonic() - looked_at
            patience = POLL_SECONDS if position == kept else max(KEEP_SECONDS - (monotonic() - kept_at), 0)
            while not await woken(self._wake, patience):
                if position == kept and monotonic() - checked > TOPIC_CHECK_SECONDS:
                    position, checked = await self._held(position), monotonic()
                # an idle leader shows that it is alive, and learns whether it has missed a notice
                newest = await self._move(connection, epoch, position)
                if newest is None:
                    return
                kept, kept_at, patience = position, monotonic(), POLL_SECONDS
                if newest > position:
                    self._look()
            await asyncio.sleep(max(GAP_SECONDS, GAP_TIMES * took) - (monotonic() - looked_at))
            if (left := COMPANY_SECONDS - (monotonic() - looked_at)) > 0:
                await woken(self._at_once, left)

    async def _next(self, connection: Connection, position: int) -> list[Stored]:
        """The events after a place in the log, a batch at most: those that were handed over where they go on from there."""
        self._wake.clear()
        self._at_once.clear()
        handed = sorted(event for event in self._handed if event.position > position)
        places = enumerate(handed[:BATCH], position + 1)
        events = [event for _, event in takewhile(lambda each: each[1].position == each[0], places)]
        self._handed = handed[len(events) :]
        if events:
            if self._handed or self._unread:
                self._hurry()
            return events
        if not (self._unread or self._handed):
            return []
        self._handed = []
        self._unread = False
        events = await tail(connection, position, BATCH)
        if len(events) == BATCH:
            self._look()
        return events

    async def _move(self, connection: Connection, epoch: int, position: int) -> int | None:
        """Keep the place; answers the end of the log, none where another one leads by now."""
        row = await (await connection.execute(MOVE, (position, self._name, epoch))).fetchone()
        return int(row[0]) if row is not None else None

    async def _produce(self, kafka: AIOKafkaProducer, events: Sequence[Stored]) -> bool:
        """Send a batch and wait for every confirmation; a failure leaves the position where it was.

        False where a partition begins anew: the topic was deleted and made again, and holds nothing from before.
        """
        topic = self._config.topics.events
        partitions = sorted(await kafka.partitions_for(topic))
        began, traced = tracing.now(), list[str]()
        batches: list[tuple[int, BatchBuilder]] = []
        filled: dict[int, BatchBuilder] = {}
        for event in events:
            key, value, headers = message(event, self._config.shard)
            if headers[-1][0] == TRACEPARENT:
                traced.append(headers[-1][1].decode())
            partition = partitions[_place(key) % len(partitions)]
            batch = filled.get(partition)
            record = {"timestamp": None, "key": key, "value": value, "headers": headers}
            if batch is None or batch.append(**record) is None:
                # the first record of a batch fits, however large
                batch = filled[partition] = kafka.create_batch()
                batch.append(**record)
                batches.append((partition, batch))
        futures = [await kafka.send_batch(batch, topic, partition=partition) for partition, batch in batches]
        begins_anew = False
        for kept, (partition, batch) in zip(await asyncio.gather(*futures), batches, strict=True):
            if kept.offset <= self._offsets.get(partition, -1):
                begins_anew = True
            self._offsets[partition] = kept.offset + batch.record_count() - 1
        tracing.passed("relay", "producer", traced, began)
        if begins_anew:
            log.warning("the topic was made anew; everything is told once more", topic=topic)
            self._offsets.clear()
        return not begins_anew

    def _measure(self, events: Sequence[Stored], *, full: bool) -> None:
        RELAY_LAG.set(len(events) if full else 0)
        oldest = datetime.now(UTC) - split(events[-1].state)[0].at if full else timedelta(0)
        RELAY_OLDEST.set(max(0.0, oldest.total_seconds()))
