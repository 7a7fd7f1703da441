"""How a projection follows history: batches from Kafka, rows and offsets in one transaction, the event store for what Kafka lost.

A batch of either source goes through the same `apply`. What comes from Kafka is read once for all projections of the process
(`feed.py`); a consumer group for each says which partitions it follows here. How far each partition is lies in PostgreSQL,
beside the rows. `projections.position` is a low-water mark: every event up to there has been applied, or its flow set aside. A
partition that is read to its end has everything that the relay had told before that end was asked for; the mark is the
least of what is so known of each partition. Whoever takes partitions over catches up from the store between the mark and the
end of the log, so that a topic that was emptied, made anew or shortened, and a projection that is slower than it, lose nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from time import monotonic, perf_counter
from typing import Any
from uuid import UUID

import psycopg
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from psycopg import sql
from psycopg_pool import PoolTimeout

from domain.errors import SchemaAhead
from eventstore import tracing
from eventstore.config import ServiceConfig
from eventstore.database import Connection, connect
from eventstore.faults import heed_the_end, lived_through
from eventstore.schema import not_ahead
from eventstore.store import tail
from eventstore.tasks import close, end_all
from projections.feed import BATCH, Feed, Parcel, Tap
from projections.held import MANY_FLOWS, Held, Portion
from projections.metrics import BATCH_SECONDS, EVENTS, POSITION, ROWS
from projections.parked import park, parked, retry, still_parked
from projections.projection import ROW_ERRORS, Applied, Projection
from projections.shadows import ensure
from projections.told import Told, from_store, short

log = structlog.get_logger()

STORE_BATCH = 2000
STORE_BATCH_BYTES = 4 << 20
MEASURE_SECONDS = 0.05
IDLE_SECONDS = 6.0
MOST_REST_SECONDS = 0.03
# a projection that gathers does so from its first event on: most of what a short flow brings comes within this, and its row,
# for which somebody may wait, is written before anything else is made of it
GATHER_SECONDS = 0.05
# how soon a flow that was set aside is tried again when somebody asks
PARKED_SECONDS = 1.0
PAUSES = (0.1, 5.0)
# of a new table PostgreSQL knows nothing for minutes, takes a tenant's rows for one, and plans to sort them all for a page
ANALYZED_AT_ROWS = (500, 10_000)
LOCK_CLASS = 3
RELAY = "kafka"
PROCESS = f"mfo-{socket.gethostname()}-{os.getpid()}"

FAULTS = (psycopg.Error, KafkaError, PoolTimeout, OSError, TimeoutError)


class OtherVersion(Exception):
    """The tables are of another version of the projection, or of a schema that only a newer program knows; this one must not
    write to them."""


REGISTER = """
insert into projections as p (name, version, state, tables, patience, updated_at)
values (%s, %s, 'starting', %s, %s, mfo_now())
on conflict (name) do update set state = 'starting', tables = excluded.tables, patience = excluded.patience,
    updated_at = mfo_now()
where p.version = excluded.version returning position
"""
SERVED = """
select p.version, (select version_num from schema_version)
from (select 1) as one left join projections p on p.name = %s
"""
# this process may be of a version that can follow where others could not
ASK_AGAIN = "update parked_flows set retry_at = mfo_now() where projection = %s and retry_at is null"
# whoever has nothing to do says that it is alive
RELAYED = """
with alive as (
    update projections set state = 'live', updated_at = mfo_now() where %(idle)s and name = %(name)s and version = %(version)s
)
select coalesce((select position from relay where name = %(relay)s), 0), p.version, p.position, p.parked > 0,
       (select array_agg(flow_id) from parked_flows where projection = %(name)s and retry_at is not null),
       (select version_num from schema_version)
from (select 1) as one left join projections p on p.name = %(name)s
"""
WRITTEN = """
with going_on as (
    insert into projection_offsets as o (projection, topic, partition, next_offset)
    select %(name)s, %(topic)s, p, n from unnest(%(partitions)s::int[], %(offsets)s::bigint[]) as u (p, n) order by p
    on conflict (projection, topic, partition) do update set next_offset = excluded.next_offset
    where o.next_offset < excluded.next_offset
)
select version, (select version_num from schema_version), case when %(wrote)s then pg_notify('mfo_projected', name) end
from projections where name = %(name)s
"""
RESET = """
insert into projection_offsets as o (projection, topic, partition, next_offset, position)
select %s, %s, p, n, %s from unnest(%s::int[], %s::bigint[]) as u (p, n) order by p
on conflict (projection, topic, partition)
do update set next_offset = excluded.next_offset, position = greatest(o.position, excluded.position)
"""
MARK = """
with known as (select p, at from unnest(%(partitions)s::int[], %(known)s::bigint[]) as u (p, at)),
kept as (
    update projection_offsets o set position = known.at from known
    where o.projection = %(name)s and o.topic = %(topic)s and o.partition = known.p and o.position < known.at
),
low as (
    select min(greatest(o.position, known.at)) as position, count(*) as partitions
    from projection_offsets o left join known on known.p = o.partition
    where o.projection = %(name)s and o.topic = %(topic)s and o.partition < %(count)s
),
before as (select position from projections where name = %(name)s),
moved as (
    update projections p set state = 'live', updated_at = mfo_now(),
           position = case when low.partitions >= %(count)s then greatest(p.position, low.position) else p.position end
    from low where p.name = %(name)s returning p.position
)
select moved.position, case when moved.position > before.position then pg_notify('mfo_projected', %(name)s) end
from moved, before
"""


class Runner(ConsumerRebalanceListener):  # type: ignore[misc]
    """One member of a projection's consumer group; `run` ends only when it is cancelled."""

    def __init__(self, config: ServiceConfig, projection: Projection, feed: Feed | None = None) -> None:
        """`feed` is what the process reads the topic with; without one the runner has its own."""
        self.projection = projection
        self.name = projection.name
        self.topic = config.topics.events
        self.group = f"{config.topic_prefix}-projections-{projection.name}"
        self.state = "starting"
        self.reason = "it has not begun yet"
        self.position = 0
        self.rows = 0
        self.partitions: tuple[int, ...] = ()
        self._config = config
        self._connection: Connection | None = None
        self._feed = feed or Feed(config)
        self._tap: Tap | None = None
        self._member: Any = None
        self._parked: set[UUID] = set()
        self._held = Held()
        self._next: dict[int, int] = {}
        self._reached: dict[int, int] = {}
        self._marks: dict[int, tuple[int, int]] = {}
        self._assigned = False
        self._some_parked = False
        self._analyzed = 0
        self._looks: set[asyncio.Task[None]] = set()
        self._rested = self._measured = 0.0
        self._relayed = 0

    async def run(self) -> None:
        """Follow history for as long as the service lives; faults of PostgreSQL and Kafka are waited out."""
        pause = PAUSES[0]
        while True:
            begun = monotonic()
            try:
                await self._follow()
            except OtherVersion as error:
                if self.state != "rebuild_needed":
                    log.warning("projection writes no more", projection=self.name, reason=str(error))
                self.state, self.reason, pause = "rebuild_needed", str(error), PAUSES[1] / 10
                self.projection.forget()
            except FAULTS as error:
                heed_the_end()
                log.warning("projection interrupted", projection=self.name, error=short(error))
                await self._say_waiting(error)
            pause = PAUSES[0] if monotonic() - begun > PAUSES[1] else min(pause * 2, PAUSES[1])
            await asyncio.sleep(pause)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """What these partitions bring from now on is for others."""
        self._next.clear()
        self._marks.clear()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Take the partitions over before the next batch; the feed reads them, not this member of the group."""
        self._next.clear()
        self._marks.clear()
        for each in assigned:
            self._member.seek(each, 0)
            self._member.pause(each)
        self._assigned = True
        if self._tap is not None:
            self._tap.nudge()

    async def _follow(self) -> None:
        try:
            await self._register()
            async with self._feed.tap(self.name) as tap:
                self._tap, self._assigned = tap, False
                self._member = self._make_member()
                self._member.subscribe([self.topic], listener=self)
                await self._member.start()
                while True:
                    await self._turn(tap)
        finally:
            self._tap = None
            member, self._member = self._member, None
            # whoever is cancelled while one of them ends, ends the others too
            async with AsyncExitStack() as stack:
                stack.push_async_callback(self._disconnect)
                stack.push_async_callback(end_all, self._looks.copy())
                if member is not None:
                    stack.push_async_callback(close, member.stop)

    async def _turn(self, tap: Tap) -> None:
        """Apply what has come, after the rest that the projection takes, and measure when it is time to."""
        if self._assigned or tap.lost:
            await self._take_over(tap)
        patience = self.projection.patience
        behind = self.position < max(self._relayed, *self._reached.values(), 0)
        idle = PARKED_SECONDS if self._some_parked else IDLE_SECONDS
        wait = max(MEASURE_SECONDS, patience) if behind else idle
        await tap.come(min(self._measured + wait, self._held.due) - monotonic())
        if tap.events or self._held:
            at_least = GATHER_SECONDS if patience else 0.0
            await tap.gather(max(self._rested - monotonic(), at_least), BATCH)
        told, moved, reached = self._read(tap.take(BATCH))
        if told or moved:
            begun = monotonic()
            await self.apply(told, moved)
            for partition, position in reached.items():
                self._reached[partition] = max(self._reached.get(partition, 0), position)
            self._rested = begun + patience
            if not patience and (self._held or len(told) >= MANY_FLOWS):
                # as long a rest as the work took: under load the next batch holds more of each flow
                self._rested = min(2 * monotonic() - begun, begun + MOST_REST_SECONDS)
        since = monotonic() - self._measured
        if self._next and since >= (MEASURE_SECONDS if moved else wait):
            await self._measure(idle=not (behind or moved))
        elif since >= idle:
            await self._stay()

    def _make_member(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            bootstrap_servers=self._config.kafka_bootstrap,
            group_id=self.group,
            # members are shared out in the order of their ids: so that each projection of a process follows the same partitions
            client_id=PROCESS,
            enable_auto_commit=False,
            session_timeout_ms=6_000,
            # whoever joins waits until the others hear of it, which they do with their heartbeat
            heartbeat_interval_ms=500,
            # a catch-up from the store is no reason to leave the group
            max_poll_interval_ms=3_600_000,
            metadata_max_age_ms=10_000,
        )

    async def _stay(self) -> None:
        """Remain a member of the group, which asks for records now and then; raises KafkaError."""
        self._measured = monotonic()
        await self._member.getmany(timeout_ms=0)

    async def _register(self) -> None:
        connection = await self._connect()
        await self._check_version(connection)
        await ensure(connection, self.projection)
        registered = (
            *(self.name, self.projection.version, list(self.projection.tables)),
            self.projection.patience,
        )
        row = await (await connection.execute(REGISTER, registered)).fetchone()
        if row is None:
            raise OtherVersion("the tables have just been replaced")
        await connection.execute(ASK_AGAIN, (self.name,))
        self.position = int(row[0])
        self._parked = await parked(connection, self.name)

    async def _check_version(self, connection: Connection) -> None:
        row = await (await connection.execute(SERVED, (self.name,))).fetchone()
        self._is_ours(*(row or (None, None)))

    def _is_ours(self, version: int | None, revision: str | None) -> None:
        try:
            not_ahead(revision)
        except SchemaAhead as error:
            raise OtherVersion(str(error)) from None
        if version is not None and version != self.projection.version:
            raise OtherVersion(
                f"the tables that serve are of version {version}, this program writes version {self.projection.version};"
                f" run: mfo projections rebuild {self.name}"
            )

    async def _take_over(self, tap: Tap) -> None:
        """Follow the assigned partitions from their ends; whatever lies before comes from the store."""
        self._assigned = False
        partitions = sorted(each.partition for each in self._member.assignment())
        self.partitions = tuple(partitions)
        self.projection.forget()
        self._held.clear()
        # before the store's end is asked for: whatever lies before these offsets lies before that end
        begins = await tap.follow(partitions)
        if not partitions:
            # more members than partitions: ready to step in
            self.state = "live"
            return
        connection = await self._connect()
        self._parked = await parked(connection, self.name)
        position = await self._catch_up()
        connection = await self._connect()
        await connection.execute(
            RESET, (self.name, self.topic, position, partitions, [begins[each] for each in partitions])
        )
        self._next = begins
        self._marks, self._reached = {}, {}
        await self._measure()
        self.state = "live"
        log.info("projection goes on", projection=self.name, partitions=partitions, position=self.position)

    async def _catch_up(self) -> int:
        """Apply the log from the low-water mark to its end, one member at a time; answers the place reached."""
        lock = await connect(self._config.database_url, self._config.shard)
        try:
            await lock.execute("select pg_advisory_lock(hashtext(current_schema() || %s), %s)", (self.name, LOCK_CLASS))
            cursor = await lock.execute(
                "select (select position from projections where name = %s), coalesce(max(notification_id), 0) from stored_events",
                (self.name,),
            )
            row = await cursor.fetchone()
            assert row is not None
            position, end, limit = int(row[0] or 0), int(row[1]), STORE_BATCH
            if position < end:
                self.state = "catching_up"
                log.info("projection catches up", projection=self.name, position=position, end=end)
                await lock.execute("update projections set state = 'catching_up' where name = %s", (self.name,))
            while position < end:
                events = await tail(lock, position, limit)
                position = events[-1].position if events else end
                wanted = self.projection.topics
                told = [from_store(event) for event in events if wanted is None or event.topic in wanted]
                size = sum(len(event.state) for event in events)
                limit = max(100, limit // 2) if size > STORE_BATCH_BYTES else min(STORE_BATCH, limit * 2)
                await self.apply(told, {})
                await lock.execute(
                    "update projections set position = greatest(position, %s), updated_at = mfo_now() where name = %s",
                    (position, self.name),
                )
                self.position = max(self.position, position)
                POSITION.labels(self.name).set(self.position)
            return position
        finally:
            await lock.close()

    def _read(self, parcels: Iterable[Parcel]) -> Portion:
        """The events that the projection wants now, and how far their partitions are after them."""
        read = Portion([], {}, {})
        wanted, now = self.projection.topics, monotonic()
        for parcel in parcels:
            if parcel.partition not in self._next:
                continue
            told = parcel.told if wanted is None else [event for event in parcel.told if event.topic in wanted]
            if self.projection.patience:
                read.told.extend(told)
                read.pass_by(parcel)
            else:
                self._held.add(parcel, told, now)
        return read if self.projection.patience else self._held.take(now)

    async def apply(self, told: Sequence[Told], moved: dict[int, int]) -> None:
        """Write what the events make of the rows, and the offsets, in one transaction; asks again until it is done."""
        begun, since = perf_counter(), tracing.now()
        singly, pause = False, PAUSES[0]
        while True:
            try:
                applied = await self._apply_once(told, moved, singly=singly)
                break
            except ROW_ERRORS as error:
                log.warning("a row was refused", projection=self.name, error=short(error))
                if singly:
                    await self._wait_out(error, pause)
                    pause = min(pause * 2, PAUSES[1])
                singly = True
            except FAULTS as error:
                await self._wait_out(error, pause)
                pause = min(pause * 2, PAUSES[1])
        applied.committed()
        for each in applied.parked:
            self._parked.add(each.flow_id)
            log.error(
                "flow set aside",
                projection=self.name,
                flow_id=str(each.flow_id),
                version=each.version,
                error=each.error,
            )
        for partition, offset in moved.items():
            if partition in self._next:
                self._next[partition] = offset
        if self.state == "waiting":
            self.state = "live"
        self.rows += applied.rows
        ROWS.labels(self.name).inc(applied.rows)
        EVENTS.labels(self.name).inc(len(told))
        if told:
            BATCH_SECONDS.labels(self.name).observe(perf_counter() - begun)
            if tracing.on():
                tracing.passed(f"project {self.name}", "consumer", [event.traceparent() for event in told], since)

    async def _apply_once(self, told: Sequence[Told], moved: dict[int, int], *, singly: bool) -> Applied:
        connection = await self._connect()
        async with connection.transaction():
            aside = {event.flow_id for event in told if event.flow_id in self._parked} if self._parked else set()
            if aside:
                still = await still_parked(connection, self.name, aside)
                self._parked -= aside - still
                told = [event for event in told if event.flow_id not in still]
            applied = await self.projection.apply(connection, told, singly=singly) if told else Applied()
            if applied.parked:
                await park(connection, self.name, applied.parked)
            if moved or applied.rows or applied.parked:
                written = {
                    "name": self.name,
                    "topic": self.topic,
                    "partitions": list(moved),
                    "offsets": list(moved.values()),
                    "wrote": applied.rows > 0,
                }
                # at the end: tables that were replaced before this transaction had one of them are noticed here
                row = await (await connection.execute(WRITTEN, written)).fetchone()
                self._is_ours(*(row[:2] if row is not None else (None, None)))
        return applied

    async def _wait_out(self, error: BaseException, pause: float) -> None:
        """A fault of the whole store: nobody is set aside, the batch is kept and tried again."""
        log.warning("projection waits", projection=self.name, seconds=pause, error=short(error))
        await self._disconnect()
        await self._say_waiting(error)
        await asyncio.sleep(pause)
        with suppress(*FAULTS):
            await self._check_version(await self._connect())

    async def _say_waiting(self, error: BaseException) -> None:
        self.state, self.reason = "waiting", short(error)
        with suppress(*FAULTS):
            connection = await self._connect()
            await connection.execute("update projections set state = 'waiting' where name = %s", (self.name,))

    async def _measure(self, *, idle: bool = False) -> None:
        """Find how far the log has been applied, partition by partition, and say so."""
        await self._stay()
        connection = await self._connect()
        self._analyze()
        asked = {"name": self.name, "version": self.projection.version, "relay": RELAY, "idle": idle}
        row = await (await connection.execute(RELAYED, asked)).fetchone()
        assert row is not None
        self._relayed, position, self._some_parked = int(row[0]), row[2], bool(row[3])
        self._is_ours(row[1], row[5])
        for flow_id in row[4] or ():
            await self._again(connection, flow_id)
        going_on = dict(self._next)
        if not going_on:
            return
        places = {each: TopicPartition(self.topic, each) for each in going_on}
        ends = await self._member.end_offsets(list(places.values()))
        known: dict[int, int] = {}
        for partition, offset in going_on.items():
            end_now = ends[places[partition]]
            if offset > end_now:
                log.warning("topic was shortened", projection=self.name, partition=partition, offset=offset)
                self._assigned = True
                return
            # a mark is left standing until it is reached, so that the low-water mark moves under steady load too
            end, at = self._marks.setdefault(partition, (end_now, self._relayed))
            if offset >= end:
                known[partition] = max(at, self._reached.get(partition, 0))
                if offset >= end_now:
                    known[partition] = max(known[partition], self._relayed)
                self._marks.pop(partition, None)
            elif partition in self._reached:
                known[partition] = self._reached[partition]
        self.position = max(self.position, int(position or 0))
        if self.position < max(known.values(), default=0):
            count = len(self._member.partitions_for_topic(self.topic) or going_on)
            marked = {"partitions": list(known), "known": list(known.values()), "count": count}
            cursor = await connection.execute(MARK, {"name": self.name, "topic": self.topic, **marked})
            row = await cursor.fetchone()
            self.position = int(row[0]) if row is not None else self.position
        POSITION.labels(self.name).set(self.position)

    def _analyze(self) -> None:
        """Have PostgreSQL look at the tables as soon as there is something in them, while they are written on."""
        due = sum(self.rows >= rows for rows in ANALYZED_AT_ROWS)
        if due > self._analyzed:
            self._analyzed = due
            look = asyncio.create_task(self._look_at_tables(), name=f"{self.name} analyzed")
            self._looks.add(look)
            look.add_done_callback(self._looks.discard)

    async def _look_at_tables(self) -> None:
        """It takes a third of a second, for which no row should wait."""
        with lived_through(f"looking at the tables of {self.name}"):
            connection = await connect(self._config.database_url, self._config.shard)
            try:
                for table in self.projection.tables:
                    await connection.execute(sql.SQL("analyze (skip_locked) {}").format(sql.Identifier(table)))
            finally:
                await connection.close()

    async def _again(self, connection: Connection, flow_id: UUID) -> None:
        """Tell a parked flow's history once more, as somebody asked."""
        why = await retry(connection, self.projection, flow_id)
        await connection.execute(
            "update parked_flows set retry_at = null where projection = %s and flow_id = %s", (self.name, flow_id)
        )
        log.info("flow was told anew", projection=self.name, flow_id=str(flow_id), error=why)

    async def _connect(self) -> Connection:
        if self._connection is None or self._connection.closed or self._connection.broken:
            self._connection = await connect(self._config.database_url, self._config.shard)
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                await connection.close()
