"""How long a command takes through the house, stage by stage, at 10, 200, 1,000 and 3,000 commands a second; and saturation.

Commands leave at their rate whatever becomes of those before them (an open loop), and each stage counts from the moment a command
was due. `commit` ends when another connection reads the event, `topic` when a consumer of mfo.events.v1 has it, `read model` when a
query finds the row. These three are measured on creations alone. `first phase` and `next phase` are measured on whole flows of six
phases, seven commands each: from due to the first handler being called, and from one handler's answer, by way of its commit, to the
call of the next. Saturation is a closed loop with more and more flows in flight: what it settles at queues up nowhere.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal
from uuid import UUID, uuid4

import msgspec
import psycopg
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from bench.flows import COMMANDS, WARM_SECONDS, Load, creation, versions_of
from bench.processor import Parts, spent
from bench.report import Figure, Report, figure
from bench.spread import in_ms
from bench.stack import whole_service
from mfo.running import Running

RATES = (10, 200, 1000, 3000)
IN_FLIGHT = (64, 256, 512)
PARTS = ("p50", "p99", "p99.9")
PATIENCE_SECONDS = 60.0
# asked for at once; the oldest go first
ASKED = 1000
LEAST_COMMANDS_PER_SECOND = 7000
MOST_MS = {("read model", 200, "p50"): 10.0, ("read model", 200, "p99"): 30.0, ("next phase", 200, "p50"): 2.0}
MOST_P99_AT_HALF_MS = 50.0

Mix = Literal["creations", "flows"]
STAGES: dict[Mix, tuple[str, ...]] = {
    "creations": ("commit", "topic", "read model"),
    "flows": ("first phase", "next phase", "completed"),
}
COMMITTED = "select originator_id, notification_id, originator_version from stored_events where notification_id > %s"
SHOWN = "select flow_id, flow_status from crewai_flow_state_extensions where flow_id = any(%b)"


@dataclass(slots=True)
class Seen:
    """Seconds that each stage took, and which flows are still to be seen."""

    mix: Mix
    due: dict[UUID, float] = field(default_factory=dict)
    waiting: dict[UUID, None] = field(default_factory=dict)
    took: dict[str, list[float]] = field(default_factory=dict)

    def note(self, stage: str, flow_id: UUID, at: float) -> None:
        """A stage was reached."""
        if flow_id in self.due:
            self.took.setdefault(stage, []).append(at - self.due[flow_id])


class Watcher:
    """Sees what becomes of commands: in the store, on the topic and in the read model, for as long as the block lasts."""

    def __init__(self, where: Running) -> None:
        self._variables = where.environment
        self._real = where.kafka == "jars"
        self.seen = Seen("creations")
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._ends: dict[UUID, dict[str, float]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._connections: list[Any] = []

    async def __aenter__(self) -> Watcher:
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        for channel, work in (("mfo_events", self._committed), ("mfo_projected", self._shown)):
            url = self._variables["MFO_DATABASE_URL"]
            listen = await psycopg.AsyncConnection.connect(url, autocommit=True)
            ask = await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=0)
            self._connections += [listen, ask]
            await listen.execute(f"listen {channel}".encode())
            self._tasks.append(asyncio.create_task(work(listen, ask)))
        await asyncio.to_thread(self._ready.wait, PATIENCE_SECONDS)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._thread.join)
        for connection in self._connections:
            await connection.close()
        for error in ended:
            if isinstance(error, Exception):
                raise error

    async def _committed(self, listen: Any, ask: Any) -> None:
        cursor = await ask.execute("select coalesce(max(notification_id), 0) from stored_events")
        [(position,)] = await cursor.fetchall()
        async for _ in listen.notifies():
            rows = await (await ask.execute(COMMITTED, (position,))).fetchall()
            now = time.time()
            for flow_id, place, version in rows:
                position = max(position, place)
                if version == 1:
                    self.seen.note("commit", flow_id, now)

    async def _shown(self, listen: Any, ask: Any) -> None:
        async for _ in listen.notifies():
            seen = self.seen
            # copied whole: another thread adds to it
            while wanted := list(seen.waiting)[:ASKED]:
                rows = await (await ask.execute(SHOWN, (wanted,), binary=True)).fetchall()
                now = time.time()
                over = [flow_id for flow_id, status in rows if seen.mix == "creations" or status == "completed"]
                for flow_id in over:
                    del seen.waiting[flow_id]
                    seen.note("read model" if seen.mix == "creations" else "completed", flow_id, now)
                if len(over) < ASKED:
                    break

    def _follow(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self._variables["MFO_KAFKA_BOOTSTRAP"],
                "group.id": str(uuid4()),
                "enable.auto.commit": False,
                # a real broker answers as soon as something comes
                "fetch.wait.max.ms": 250 if self._real else 5,
                "log_level": 2,
            }
        )
        topic = "mfo.events.v1"
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        ends = [consumer.get_watermark_offsets(TopicPartition(topic, n), timeout=30)[1] for n in partitions]
        consumer.assign([TopicPartition(topic, n, end) for n, end in zip(partitions, ends, strict=True)])
        self._ready.set()
        while not self._stop.is_set():
            # a full batch would be waited for
            if (first := consumer.poll(0.2)) is not None:
                for message in [first, *consumer.consume(500, timeout=0)]:
                    self._told(message, time.time())
        consumer.close()

    def _told(self, message: Message, now: float) -> None:
        key, value = message.key(), message.value()
        kind = dict(message.headers() or ()).get("ce_type", b"")
        if not isinstance(key, bytes) or not isinstance(value, bytes):
            return
        if kind == b"mfo.flow.FlowCreated.v1":
            self.seen.note("topic", UUID(key.decode()), now)
        elif kind == b"mfo.flow.PhaseCompleted.v1":
            data = msgspec.json.decode(value)
            # repeats are possible
            self._ends.setdefault(UUID(key.decode()), {})[data["phase_name"]] = data["outputs"]["at"]

    def called(self) -> None:
        """Note when the handlers of the flows were called, the first and those after it."""
        for flow_id, by_phase in self._ends.items():
            times = sorted(by_phase.values())
            self.seen.note("first phase", flow_id, times[0])
            gaps = [after - before for before, after in pairwise(times)]
            self.seen.took.setdefault("next phase", []).extend(gaps)
        self._ends.clear()


def offer(variables: dict[str, str], seen: Seen, rate: float, seconds: float) -> None:
    """Send creations at a rate; each is noted with the time at which it was due."""
    producer = Producer(
        {
            "bootstrap.servers": variables["MFO_KAFKA_BOOTSTRAP"],
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 1,
            "log_level": 2,
        }
    )
    producer.list_topics("mfo.commands.v1", timeout=30)
    options = {"auto_execute": seen.mix == "flows", "save_checkpoints": False}
    flow_type = "noop_timed"
    # an idempotent producer is given its number first, and what is due meanwhile would wait for that
    began = time.time() + 1.0
    for n in range(int(rate * seconds)):
        flow_id, due = uuid4(), began + n / rate
        body, headers = creation(variables, flow_id, flow_type, options=options)
        while (left := due - time.time()) > 0:
            producer.poll(0)
            time.sleep(min(left, 0.05))
        seen.due[flow_id] = due
        seen.waiting[flow_id] = None
        producer.produce("mfo.commands.v1", body, key=str(flow_id), headers=[*headers])
    if producer.flush(PATIENCE_SECONDS):
        raise RuntimeError("Kafka did not confirm the commands in time")


async def at_rate(where: Running, mix: Mix, commands: float, seconds: float) -> dict[str, Any]:
    """Latencies in ms by stage at so many commands a second, and how many flows were not seen through in time."""
    rate, parts = commands / (COMMANDS if mix == "flows" else 1), Parts(where.pid)
    async with Watcher(where) as watcher:
        seen = watcher.seen = Seen(mix)
        before = parts.take()
        began = time.perf_counter()
        await asyncio.to_thread(offer, where.environment, seen, rate, seconds)
        until = time.monotonic() + PATIENCE_SECONDS
        while seen.waiting and time.monotonic() < until:
            await asyncio.sleep(0.05)
        took = time.perf_counter() - began
        processor = spent(before, parts.take(), max(1, len(seen.due)) * commands / rate, "command")
        # the topic may be a moment behind the read model
        await asyncio.sleep(0.5)
        watcher.called()
    return {
        "mix": mix,
        "commands_per_second": commands,
        "offered": len(seen.due),
        "not_seen_in_time": len(seen.waiting),
        "drained_after_seconds": round(took - seconds, 2),
        "ms": {stage: in_ms(seen.took.get(stage, []), PARTS) for stage in STAGES[mix]},
        "processor": processor,
    }


async def saturation(where: Running, in_flight: tuple[int, ...], seconds: float) -> list[dict[str, Any]]:
    """Commands a second with so many flows in flight, one step after the other."""
    found, parts = [], Parts(where.pid)
    async with Load(where, save_checkpoints=False) as load:
        rate, _ = await load.many(300, in_flight[0])
        for each in in_flight:
            before = parts.take()
            flows = max(each * 2, int(rate * seconds))
            rate, took = await load.many(flows, each)
            found.append(
                {
                    "in_flight": each,
                    "flows_per_second": round(rate, 1),
                    "commands_per_second": round(rate * COMMANDS, 1),
                    "ms": in_ms(took, PARTS),
                    "processor": spent(before, parts.take(), flows * COMMANDS, "command"),
                }
            )
    return found


async def _measured(where: Running, seconds: float, repeats: int, rates: tuple[int, ...]) -> tuple[list[Any], ...]:
    async with Load(where, save_checkpoints=False) as load:
        await load.warm(min(2 * WARM_SECONDS, 3 * seconds))
    steps: list[dict[str, Any]] = []
    full: list[list[dict[str, Any]]] = []
    half: list[dict[str, Any]] = []
    for _ in range(repeats):
        for rate in rates:
            steps += [await at_rate(where, mix, rate, seconds) for mix in STAGES]
        full.append(await saturation(where, IN_FLIGHT, seconds))
        most = max(each["commands_per_second"] for each in full[-1])
        half.append(await at_rate(where, "creations", most / 2, seconds))
    return steps, full, half


def run(*, seconds: float = 8.0, repeats: int = 2, rate: tuple[str, ...] = ()) -> Report:
    """Every rate in turn, then saturation, again and again."""
    sys.setswitchinterval(0.0005)
    rates = tuple(map(int, rate)) or RATES
    with whole_service(MFO_FLOW_TYPES="bench.noop") as where:
        steps, full, half = asyncio.run(_measured(where, seconds, repeats, rates))
        versions = asyncio.run(versions_of(where))
    figures: list[Figure] = []
    for each in rates:
        for mix, stages in STAGES.items():
            found = [step for step in steps if (step["mix"], step["commands_per_second"]) == (mix, each)]
            figures += _latencies(f"{each:,}/s", found, stages, each)
    figures.append(
        figure(
            "saturation",
            "commands/s",
            [max(each["commands_per_second"] for each in turn) for turn in full],
            at_least=LEAST_COMMANDS_PER_SECOND,
            share_of="commands in groups of 64",
        )
    )
    figures += _latencies("half of it", half, ("commit", "topic", "read model"), 0)
    last = full[-1]
    best = max(last, key=lambda each: float(each["commands_per_second"]))
    return Report(
        "commands from due on Kafka, stage by stage; saturation",
        figures,
        processor={
            f"{each['commands_per_second']:,} {each['mix']}/s": each["processor"] for each in steps[-2 * len(rates) :]
        }
        | {"saturation": best["processor"]},
        versions=versions,
        runs=[*steps, *({"saturation": turn} for turn in full), *half],
    )


def _latencies(title: str, found: list[dict[str, Any]], stages: tuple[str, ...], rate: int) -> list[Figure]:
    figures = []
    for stage in stages:
        for part in PARTS:
            values = [step["ms"][stage][part] for step in found if part in step["ms"].get(stage, {})]
            if not values:
                continue
            limit = MOST_MS.get((stage, rate, part))
            if (stage, part, title) == ("read model", "p99", "half of it"):
                limit = MOST_P99_AT_HALF_MS
            figures.append(figure(f"{title}, {stage} {part}", "ms", values, at_most=limit))
    if lost := [step["not_seen_in_time"] for step in found if step["not_seen_in_time"]]:
        figures.append(figure(f"{title}, not seen in time", "flows", lost, at_most=0))
    return figures
