"""All that a run left behind: store, log, topics, read model, ledger and journal, read once and then only looked at."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg
from aiokafka import AIOKafkaConsumer
from psycopg.rows import dict_row

from domain.flow import Flow, Recorded, evolve
from domain.flow_types import FlowTypes
from domain.view import COLUMNS
from eventstore.audit.signing import SigningKey, trusted
from eventstore.audit.verify import checkpoints, histories
from eventstore.codec import decode
from eventstore.config import DEFAULT_SHARD
from eventstore.definitions import flow_types, modules
from mfo.auditing import published_on
from tests.chaos.driver import EVENTS, REPLIES
from tests.chaos.faults import Struck
from tests.chaos.ledger import Entry, entries, lines
from tests.chaos.scenario import Planned

Json = dict[str, Any]
DEAD_LETTERS = "mfo.commands.dlq.v1"
CHECKPOINTS = "mfo.audit.checkpoints.v1"
MODULE = "tests.chaos.shapes"
OF_FLOWS = "mfo.flow."
OPERATIONS = """
select id, client_account_id, engagement_id, state, total
from operations left join operation_progress on operation_id = id order by created_at
"""
OUTCOMES = "select flow_id, outcome, code from operation_flows where operation_id = %s order by n"

Key = tuple[UUID, UUID, str]
"""Client account, engagement and command id."""


@dataclass
class Stored:
    """A row of `stored_events`."""

    position: int
    flow_id: UUID
    version: int
    topic: str
    state: bytes
    hash: bytes


@dataclass
class Head:
    """A row of `heads`."""

    version: int
    hash: bytes


@dataclass
class First:
    """A row of `command_ids`: the first answer of a command."""

    outcome: str
    flow_id: UUID
    version: int
    position: int | None
    error: Json | None


@dataclass
class Logged:
    """A row of `command_log`."""

    key: Key
    at: datetime
    user_id: str
    command: str
    flow_id: UUID
    source: str
    outcome: str
    version: int
    error: Json | None
    expected_version: int | None
    body: bytes | None


@dataclass
class Told:
    """A record of the topic of events."""

    flow_id: UUID
    version: int
    topic: str
    data: Json


@dataclass
class Reply:
    """A record of the topic of replies."""

    name: str
    command_id: str
    version: int
    position: str | None
    error: Json | None


@dataclass
class Asked:
    """A command as the driver sent it, through which doors, how many times, and what HTTP answered each time."""

    key: Key
    name: str
    flow_id: UUID
    doors: list[str] = field(default_factory=list)
    answers: list[Json] = field(default_factory=list)


class Asking(NamedTuple):
    """An operation, and what became of its flows: `(flow_id, outcome, code)` of each."""

    operation_id: UUID
    owner: tuple[UUID, UUID]
    state: str
    total: int | None
    outcomes: list[tuple[UUID, str | None, str | None]]


@dataclass
class Record:
    """Everything, by what it is found by. `topic` is in the order of each partition.

    `events` are those of flows, `others` those of operations.
    """

    plan: list[Planned]
    types: FlowTypes
    events: list[Stored] = field(default_factory=list)
    others: list[Stored] = field(default_factory=list)
    operations: list[Asking] = field(default_factory=list)
    heads: dict[UUID, Head] = field(default_factory=dict)
    firsts: dict[Key, First] = field(default_factory=dict)
    log: list[Logged] = field(default_factory=list)
    topic: list[Told] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    dead_letters: list[str] = field(default_factory=list)
    rows: dict[UUID, Json] = field(default_factory=dict)
    set_aside: list[str] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)
    runs: list[Json] = field(default_factory=list)
    timers: list[Json] = field(default_factory=list)
    ledger: list[Entry] = field(default_factory=list)
    asked: dict[Key, Asked] = field(default_factory=dict)
    struck: list[Struck] = field(default_factory=list)

    @property
    def everything(self) -> list[Stored]:
        """The events of flows and operations."""
        return [*self.events, *self.others]

    def of_flow(self, flow_id: UUID) -> list[Stored]:
        """A flow's events by version."""
        return sorted((event for event in self.events if event.flow_id == flow_id), key=lambda event: event.version)


class Group(NamedTuple):
    """What one command brought about: the flow before it, and the events."""

    before: Flow
    events: list[Recorded]


@dataclass
class History:
    """A flow's events read; `states[n]` is the flow at version n."""

    flow_id: UUID
    stored: list[Stored]
    recorded: list[Recorded]
    states: list[Flow]

    @classmethod
    def of(cls, flow_id: UUID, stored: list[Stored]) -> History:
        """Read and folded; the versions must have no gap."""
        recorded = [decode(flow_id, event.version, event.topic, event.state) for event in stored]
        states = [Flow(id=flow_id)]
        for one in recorded:
            states.append(evolve(states[-1], one))
        return cls(flow_id, stored, recorded, states)

    @property
    def flow(self) -> Flow:
        """The flow as it stands."""
        return self.states[-1]

    def groups(self) -> Iterator[Group]:
        """The events of each command."""
        for _, together in groupby(self.recorded, key=lambda one: one.meta.command_id):
            events = list(together)
            yield Group(self.states[events[0].version - 1], events)


def load_store(record: Record, dsn: str) -> None:
    """Read what PostgreSQL holds."""
    with psycopg.connect(dsn) as connection:
        for row in connection.execute(
            "select notification_id, originator_id, originator_version, topic, state, hash from stored_events order by 1"
        ):
            kept = record.events if row[3].startswith(OF_FLOWS) else record.others
            kept.append(Stored(row[0], row[1], row[2], row[3], bytes(row[4]), bytes(row[5])))
        for flow_id, version, digest in connection.execute("select id, version, hash from heads"):
            record.heads[flow_id] = Head(version, bytes(digest))
        for row in connection.execute(
            "select client_account_id, engagement_id, command_id, outcome, flow_id, version, position, error from command_ids"
        ):
            record.firsts[row[0], row[1], row[2]] = First(row[3], row[4], row[5], row[6], _json(row[7]))
        for row in connection.execute(
            "select client_account_id, engagement_id, command_id, at, user_id, command, flow_id, source, outcome, version,"
            " error, expected_version, body from command_log"
            # what the audit trail notes of itself is decided by nobody
            " where source <> 'audit' order by n"
        ):
            record.log.append(
                Logged(
                    key=(row[0], row[1], row[2]),
                    at=row[3],
                    user_id=row[4],
                    command=row[5],
                    flow_id=row[6],
                    source=row[7],
                    outcome=row[8],
                    version=row[9],
                    error=_json(row[10]),
                    expected_version=row[11],
                    body=bytes(row[12]) if row[12] else None,
                )
            )
        record.operations = [
            Asking(row[0], (row[1], row[2]), row[3], row[4], connection.execute(OUTCOMES, (row[0],)).fetchall())
            for row in connection.execute(OPERATIONS).fetchall()
        ]
        record.set_aside = [
            f"{name}: {flow_id} at version {version}: {error}"
            for name, flow_id, version, error in connection.execute(
                "select projection, flow_id, version, error from parked_flows"
            )
        ]
    with psycopg.connect(dsn, row_factory=dict_row) as shown:
        for found in shown.execute("select * from crewai_flow_state_extensions").fetchall():
            record.rows[found["flow_id"]] = {name: found[name] for name in COLUMNS}
        record.runs = shown.execute("select * from runs").fetchall()
        record.timers = shown.execute("select * from timers").fetchall()


async def verify(record: Record, dsn: str, bootstrap: str, seed: bytes) -> None:
    """Hold the store against the checkpoints that were signed meanwhile, and those against their copies on Kafka."""
    keys = trusted([SigningKey(seed).public_key])
    published = await published_on(bootstrap, CHECKPOINTS)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        for verdict in (await histories(connection), await checkpoints(connection, keys, published=published)):
            record.untrue += [f"{trouble.code}: {trouble.message}" for trouble in verdict.troubles]
    if not published:
        record.untrue.append("no checkpoint was published")


async def load_topics(record: Record, bootstrap: str) -> None:
    """Read the topics from their beginning to the end that they have now."""
    consumer = AIOKafkaConsumer(
        *(EVENTS, REPLIES, DEAD_LETTERS),
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for found in (await consumer.getmany(timeout_ms=200)).values():
                for one in found:
                    _keep(record, one)
    finally:
        await consumer.stop()


def _keep(record: Record, one: Any) -> None:
    headers = {name: value.decode(errors="replace") for name, value in one.headers}
    if one.topic == DEAD_LETTERS:
        record.dead_letters.append(f"{headers.get('ce_type')}: {headers.get('mfo_error_detail')}")
        return
    body = json.loads(one.value)
    if one.topic == EVENTS:
        record.topic.append(Told(UUID(headers["ce_subject"]), int(headers["ce_sequence"]), headers["ce_type"], body))
        return
    name = headers["ce_type"].split(".")[2]
    record.replies.append(Reply(name, body["command_id"], body["version"], body["position"], body.get("error")))


def load_files(record: Record, folder: Path) -> None:
    """Read what handlers and driver wrote."""
    record.ledger = entries(folder / "ledger.ndjson")
    for line in lines(folder / "journal.ndjson"):
        key = (UUID(line["account"]), UUID(line["engagement"]), line["id"])
        asked = record.asked.setdefault(key, Asked(key, line["name"], UUID(line["flow"])))
        if line["kind"] == "sent":
            asked.doors.append(line["door"])
        else:
            asked.answers.append(line)


def known_types() -> FlowTypes:
    """The flow types of the run."""
    return flow_types(modules((MODULE,)))


def position(number: int | None) -> str | None:
    """A place in the log as the outside sees it."""
    return None if number is None else f"{DEFAULT_SHARD}:{number}"


def _json(text: str | None) -> Json | None:
    return msgspec.json.decode(text) if text else None


def by_flow(events: Iterable[Stored]) -> dict[UUID, list[Stored]]:
    """The events of each flow, by version."""
    found: dict[UUID, list[Stored]] = {}
    for event in sorted(events, key=lambda event: event.version):
        found.setdefault(event.flow_id, []).append(event)
    return found
