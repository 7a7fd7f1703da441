"""The event topic read once for all projections of a process: each record is fetched, unpacked and read a single time.

Every projection has its own tap, and takes from it at its own pace. The quickest sets the pace of the reading. What another has
not taken is held up to a bound; beyond that its tap is cut off, so that one that is slow holds up nobody, and its projection
goes on from the event store. Who follows
which partitions is not decided here: that is the business of each projection's consumer group.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from eventstore.config import ServiceConfig
from eventstore.tasks import close, end_all
from eventstore.wake import woken
from projections.metrics import CUT_OFF, STRANGE
from projections.told import MessageStrange, Told, from_kafka

log = structlog.get_logger()

BATCH = 2000
POLL_SECONDS = 2.0
REST_SECONDS = 0.004
# nothing is fetched while each tap holds this
ENOUGH_EVENTS = BATCH
ENOUGH_BYTES = 2 << 20
# beyond that a tap is slower than the others, and is cut off
MOST_EVENTS = 2 * BATCH
MOST_BYTES = 6 << 20


class Parcel(NamedTuple):
    """Records of a partition, one after the other: the events in them, where the partition goes on, and the last place in the
    log that they name (0: none)."""

    partition: int
    told: tuple[Told, ...]
    next_offset: int
    reached: int
    size: int


class Tap:
    """What one projection is still to take, in the order of each partition."""

    def __init__(self, name: str, reader: _Reader) -> None:
        self.name = name
        self.partitions: frozenset[int] = frozenset()
        self.lost = False
        self.events = 0
        self._size = 0
        self._parcels: deque[Parcel] = deque()
        self._reader = reader
        self._change = asyncio.Event()
        self._nudged = False
        self._error: BaseException | None = None

    async def follow(self, partitions: Iterable[int]) -> dict[int, int]:
        """Have these partitions from now on, and nothing from before; answers the offset at which each begins.

        Whatever lies before these offsets was in the event store before this returns. Raises KafkaError.
        """
        return await self._reader.follow(self, frozenset(partitions))

    async def come(self, seconds: float) -> None:
        """Wait until something is there, so many seconds at most."""
        await self._until(lambda: bool(self._parcels), seconds)

    async def gather(self, seconds: float, enough: int) -> None:
        """Let events come together for so long, or until there are enough."""
        await self._until(lambda: self.events >= enough, seconds)

    def take(self, most: int) -> list[Parcel]:
        """What is there, a parcel or up to `most` events. Raises what ended the reading."""
        self._nudged = False
        if self._error is not None:
            raise self._error
        taken: list[Parcel] = []
        events = 0
        while self._parcels and (not taken or events + len(self._parcels[0].told) <= most):
            parcel = self._parcels.popleft()
            taken.append(parcel)
            events += len(parcel.told)
            self._size -= parcel.size
        self.events -= events
        self._reader.taken.set()
        return taken

    @property
    def full(self) -> bool:
        """Whether it holds enough for a while, or can hold nothing."""
        return self.lost or not self.partitions or self.events >= ENOUGH_EVENTS or self._size >= ENOUGH_BYTES

    def nudge(self) -> None:
        """End all waiting until something is taken again: there is something else to be seen to."""
        self._nudged = True
        self._change.set()

    async def _until(self, come: Callable[[], bool], seconds: float) -> None:
        end = monotonic() + seconds
        while not (come() or self.lost or self._nudged or self._error) and (left := end - monotonic()) > 0:
            self._change.clear()
            await woken(self._change, left)

    def begin(self, partitions: frozenset[int]) -> None:
        """Forget what was held, and hold what comes of these partitions."""
        self.partitions = partitions
        self.lost = False
        self._empty()
        self._reader.taken.set()

    def lose(self) -> None:
        """Hold nothing any more until it is told anew what to follow."""
        self.lost = True
        self._empty()
        self._change.set()

    def hold(self, parcel: Parcel) -> None:
        """Keep a parcel until it is taken."""
        if self.lost or parcel.partition not in self.partitions:
            return
        self._parcels.append(parcel)
        self.events += len(parcel.told)
        self._size += parcel.size
        if self.events > MOST_EVENTS or self._size > MOST_BYTES:
            CUT_OFF.labels(self.name).inc()
            log.info("projection is slower than the topic; it goes on from the store", projection=self.name)
            self.lose()
        self._change.set()

    def fail(self, error: BaseException) -> None:
        """Have whoever takes next learn why nothing comes any more."""
        self._error = error
        self._change.set()

    def _empty(self) -> None:
        self._parcels.clear()
        self.events = self._size = 0


class Feed:
    """Taps on one reading of the topic, which goes on while there are any. One that ended by a fault is begun anew."""

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._reader: _Reader | None = None
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def tap(self, name: str) -> AsyncIterator[Tap]:
        """A tap for the projection of that name; raises KafkaError."""
        async with self._opening:
            if self._reader is None or self._reader.ended:
                reader = _Reader(self._config)
                await reader.start()
                self._reader = reader
            reader = self._reader
            tap = Tap(name, reader)
            reader.taps.add(tap)
        try:
            yield tap
        finally:
            reader.taps.discard(tap)
            if not reader.taps:
                if self._reader is reader:
                    self._reader = None
                await reader.stop()


class _Reader:
    """One consumer without a group, and the task that reads from it."""

    def __init__(self, config: ServiceConfig) -> None:
        self.taps: set[Tap] = set()
        self.taken = asyncio.Event()
        self.ended = False
        self._topic = config.topics.events
        self._shard = config.shard
        self._at: dict[int, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=config.kafka_bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=config.kafka_fetch_wait_ms,
            # an answer is held as it came while its records are read
            fetch_max_bytes=4 << 20,
            max_partition_fetch_bytes=1 << 19,
            max_poll_records=BATCH,
            metadata_max_age_ms=10_000,
            # it learns of the topic by asking in vain once
            retry_backoff_ms=20,
        )

    async def start(self) -> None:
        """Connect and begin to read; raises KafkaError."""
        try:
            await self._consumer.start()
        except BaseException:
            await self.stop()
            raise
        self._task = asyncio.create_task(self._run(), name="projections feed")

    async def stop(self) -> None:
        """End, whatever state it is in."""
        self.ended = True
        try:
            if self._task is not None:
                await end_all([self._task])
        finally:
            await close(self._consumer.stop)

    async def follow(self, tap: Tap, partitions: frozenset[int]) -> dict[int, int]:
        """See `Tap.follow`."""
        before = dict(self._at)
        # all taps ask side by side: once one is followed, an answer waits for the broker's answer to a fetch
        ends = await self._consumer.end_offsets([TopicPartition(self._topic, each) for each in partitions])
        for each in partitions:
            end = ends[TopicPartition(self._topic, each)]
            if each not in self._at:
                self._at[each] = end
            elif before.get(each, 0) > end:
                log.warning("topic was shortened", partition=each, offset=before[each], end=end)
                self._jump(each, end)
        tap.begin(partitions)
        self._assign()
        return {each: self._at[each] for each in partitions}

    def _assign(self) -> None:
        """Read what any tap follows, each partition where it was left."""
        followed = frozenset[int]().union(*(each.partitions for each in self.taps))
        self._at = {each: offset for each, offset in self._at.items() if each in followed}
        wanted = {TopicPartition(self._topic, each): offset for each, offset in self._at.items()}
        self._consumer.assign(list(wanted))
        for each, offset in wanted.items():
            self._consumer.seek(each, offset)

    def _jump(self, partition: int, offset: int) -> None:
        """Go on somewhere else; what may lie between is in the store."""
        self._at[partition] = offset
        for tap in self.taps:
            if partition in tap.partitions:
                tap.lose()

    async def _run(self) -> None:
        try:
            while True:
                await self._room()
                records = await self._consumer.getmany(timeout_ms=int(POLL_SECONDS * 1000), max_records=BATCH)
                for place, batch in records.items():
                    self._hand_out(place.partition, batch)
                # under load a fetch brings more for the same work, and whoever waits gets its turn
                await asyncio.sleep(REST_SECONDS)
        # whatever it is, those who wait for events must learn of it
        except Exception as error:
            self.ended = True
            for tap in self.taps:
                tap.fail(error)

    async def _room(self) -> None:
        """Wait until somebody can hold more."""
        while self.taps and all(tap.full for tap in self.taps):
            self.taken.clear()
            await woken(self.taken, POLL_SECONDS)

    def _hand_out(self, partition: int, batch: list[Any]) -> None:
        expected = self._at.get(partition)
        if expected is None or not batch:
            return
        goes_on = batch[-1].offset + 1
        if batch[0].offset != expected:
            log.warning("topic jumped", partition=partition, expected=expected, offset=batch[0].offset)
            self._jump(partition, goes_on)
            return
        told: list[Told] = []
        size = 0
        for record in batch:
            try:
                event = from_kafka(record.value, record.headers, self._shard)
            except MessageStrange as error:
                STRANGE.inc()
                log.warning("record is no event", partition=partition, offset=record.offset, detail=error.detail)
                continue
            if event is not None:
                told.append(event)
                size += len(event.body)
        self._at[partition] = goes_on
        parcel = Parcel(partition, tuple(told), goes_on, max((each.position for each in told), default=0), size)
        for tap in self.taps:
            tap.hold(parcel)
