"""What this machine can do without our code: group commits, produce, consume, decode, hash, sync.

The rows of a group commit are those of commands that each complete a phase: an event of 400 bytes and a second one of 200, the
flow's head, the command's id and its line in the log, a run that ends and one that begins, with the keys that these must have.
One connection, prepared statements, one transaction a group, fsync and synchronous_commit on; and how many of them a core could do
with the processor time that they took, PostgreSQL's and the caller's. Kafka: 400-byte records with a key,
acks=all, idempotent. JSON and hashes are counted a second of one core's time, so that processor times can be told in them
whatever else runs. Rounds take turns.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from bench.processor import Parts, spent
from bench.report import Figure, Report, figure
from mfo.embedded import Postgres, choose_kafka

GROUPS = (64, 256)
FLOWS = 2048
TOPIC = "bench.limits"
RECORD_BYTES = 400

TABLES = """
create table bare_events (
    flow_id uuid, version bigint, topic text, state bytea, position bigserial unique, hash bytea, primary key (flow_id, version)
);
create table bare_heads (id uuid primary key, version bigint, hash bytea) with (fillfactor = 70);
create table bare_ids (tenant uuid, command_id text, hash bytea, outcome text, primary key (tenant, command_id));
create table bare_log (at timestamptz, tenant uuid, command_id text, flow_id uuid, outcome text, version bigint, body bytea);
create index on bare_log (flow_id);
create table bare_runs (id uuid primary key, flow_id uuid, token bigint, owner text, lease_until timestamptz) with (fillfactor = 50);
"""
COMMIT = """
with f as (select * from unnest(%b::uuid[], %b::bytea[], %b::text[], %b::uuid[], %b::uuid[]) as f(id, hash, command, ended, begun)),
h as (
    insert into bare_heads select id, 2, hash from f
    on conflict (id) do update set version = bare_heads.version + 2, hash = excluded.hash returning id, version
),
e as (
    insert into bare_events (flow_id, version, topic, state, hash)
    select f.id, h.version - n, 'mfo.flow.PhaseCompleted.v1', case n when 1 then %b::bytea else %b::bytea end, f.hash
    from f join h using (id), generate_series(1, 0, -1) n
),
c as (insert into bare_ids select %b::uuid, command, hash, 'accepted' from f),
l as (insert into bare_log select now(), %b::uuid, command, id, 'accepted', 2, null from f),
d as (delete from bare_runs where id = any(%b::uuid[]))
insert into bare_runs select begun, id, 1, 'owner', now() from f
"""


class Event(msgspec.Struct):
    """An event as it lies in the store and on the topic."""

    flow_id: UUID
    phase_name: str
    attempt: int
    outputs: dict[str, Any]
    meta: dict[str, Any]


SAMPLE = msgspec.json.encode(
    Event(
        UUID(int=7),
        "data_import",
        1,
        {"rows": 1200, "quality": {"completeness": 0.93, "issues": ["no owner", "no environment"]}},
        {
            "actor": "bench",
            "tenant": [str(UUID(int=1)), str(UUID(int=2))],
            "at": "2026-01-01T00:00:00Z",
            "why": "x" * 60,
        },
    )
)


def rate(
    work: Callable[[int], None], seconds: float, batch: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """How many a second of this clock, done `batch` at a time for about so many seconds."""
    work(batch)
    done, began = 0, clock()
    while (took := clock() - began) < seconds:
        work(batch)
        done += batch
    return done / took


def decode(count: int) -> None:
    """Read event-shaped JSON into typed objects."""
    decoder = msgspec.json.Decoder(Event)
    for _ in range(count):
        decoder.decode(SAMPLE)


def chain(count: int) -> None:
    """Hash an event and the hash before it."""
    last = bytes(32)
    for _ in range(count):
        last = hashlib.sha256(b"\x01" + last + SAMPLE).digest()


class Syncs:
    """8 KiB written and synchronised, one after the other."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / "syncs", os.O_RDWR | os.O_CREAT)
        self._page = os.urandom(8192)
        os.pwrite(self._file, bytes(1 << 24), 0)

    def __call__(self, count: int) -> None:
        for n in range(count):
            os.pwrite(self._file, self._page, n * 8192 % (1 << 24))
            os.fdatasync(self._file)


class Commits:
    """Groups of rows, each in a transaction of its own; flows come round again, so heads are updated and runs replaced."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True, prepare_threshold=0)
        self._connection.execute("drop table if exists bare_events, bare_heads, bare_ids, bare_log, bare_runs")
        for statement in TABLES.split(";\n"):
            self._connection.execute(statement.encode())
        self._ids = [uuid4() for _ in range(FLOWS)]
        self._running: dict[UUID, UUID] = {}
        self.done = 0

    def __call__(self, commands: int) -> None:
        flows = [self._ids[(self.done + n) % FLOWS] for n in range(commands)]
        self.done += commands
        begun = [uuid4() for _ in flows]
        ended = [self._running.get(flow, flow) for flow in flows]
        self._running.update(zip(flows, begun, strict=True))
        hashes, names = [flow.bytes * 2 for flow in flows], [str(run) for run in begun]
        tenant = UUID(int=1)
        self._connection.execute(
            COMMIT,
            (flows, hashes, names, ended, begun, bytes(RECORD_BYTES), bytes(RECORD_BYTES // 2), tenant, tenant, ended),
        )

    def close(self) -> None:
        self._connection.close()


class Topic:
    """One topic of 12 partitions (4 on the built-in broker), written and read with librdkafka."""

    def __init__(self, bootstrap: str, kind: str) -> None:
        self._bootstrap, self._partitions = bootstrap, 12 if kind == "jars" else 4
        if kind == "jars":
            # the built-in broker makes topics by itself; the client must live until the answer is there
            admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
            admin.create_topics([NewTopic(TOPIC, self._partitions, 1)])[TOPIC].result()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 5,
                "log_level": 2,
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        self._record = os.urandom(RECORD_BYTES)
        self.written = 0

    def produce(self, count: int) -> None:
        """Written and confirmed."""
        failed: list[str] = []

        def confirmed(error: Any, _: Any) -> None:
            if error is not None:
                failed.append(str(error))

        for n in range(count):
            self._producer.produce(TOPIC, self._record, key=f"{n % 1000:036}", on_delivery=confirmed)
            if n % 1000 == 0:
                self._producer.poll(0)
        if (left := self._producer.flush(60)) or failed:
            raise RuntimeError(f"{len(failed) + left} of {count} records were not confirmed: {failed[:1]}")
        self.written += count

    def consume(self) -> float:
        """Records a second, of all that was written, read from the beginning."""
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": str(uuid4()),
                "enable.auto.commit": False,
                "log_level": 2,
            }
        )
        consumer.assign([TopicPartition(TOPIC, n, 0) for n in range(self._partitions)])
        seen, began = 0, 0.0
        until = time.monotonic() + 60
        try:
            while seen < self.written and time.monotonic() < until:
                found = consumer.consume(10_000, timeout=1.0)
                # the connection is not what is measured
                began = began or time.perf_counter()
                seen += len(found)
            took = time.perf_counter() - began
        finally:
            consumer.close()
        if seen < self.written:
            raise RuntimeError(f"{seen} of {self.written} records came back")
        return seen / took


def run(*, seconds: float = 2.0, repeats: int = 3, records: int = 50_000) -> Report:
    """Every limit in turn, so many seconds each, again and again."""
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    with TemporaryDirectory(prefix="mfo-bench-limits-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        server = Postgres(folder)
        kafka, why = choose_kafka("auto", folder)
        try:
            url = server.start()
            topic = Topic(kafka.start(), kafka.kind)
            syncs, parts = Syncs(folder), Parts()
            for _ in range(repeats):
                commits = Commits(url)
                for group in GROUPS:
                    before, done = parts.take(), commits.done
                    note(f"commands in groups of {group}", rate(commits, seconds, group))
                    cost = spent(before, parts.take(), commits.done - done, "command")
                    note(f"commands of a core, groups of {group}", 1000 / cost["total_ms"])
                commits.close()
                began = time.perf_counter()
                topic.produce(records)
                note("produce", records / (time.perf_counter() - began))
                note("consume", topic.consume())
                note("json decode", rate(decode, seconds / 2, 1000, time.process_time))
                note("sha256 chain", rate(chain, seconds / 2, 1000, time.process_time))
                note("sync", rate(syncs, seconds / 2, 20))
            with psycopg.connect(url) as connection:
                version = connection.info.parameter_status("server_version")
        finally:
            kafka.stop()
            server.stop()
    return Report(
        "this machine's own limits, without our code",
        [*_figures(found)],
        versions={"postgresql": version, "kafka": f"{kafka.kind} ({why})"},
    )


def _figures(found: dict[str, list[float]]) -> list[Figure]:
    units = {"produce": "records/s", "consume": "records/s", "json decode": "events/s", "sha256 chain": "events/s"}
    figures = [
        figure(name, units.get(name, "syncs/s" if name == "sync" else "commands/s"), values)
        for name, values in found.items()
    ]
    groups = [
        figure(
            f"group commits of {group}", "commits/s", [each / group for each in found[f"commands in groups of {group}"]]
        )
        for group in GROUPS
    ]
    return groups + figures
