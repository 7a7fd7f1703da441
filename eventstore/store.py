"""The event store of one shard: histories read back, groups of decisions appended, first answers remembered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import msgspec
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from domain.commands import Envelope
from domain.events import FLOW_PREFIX
from domain.flow import Flow, Recorded, Run, fold
from eventstore.arrays import bigints, blobs, floats, ints, texts, times, uuids
from eventstore.codec import FIRST_HASH, Row, decode
from eventstore.config import DEFAULT_SHARD
from eventstore.database import Connection

LEASE_SECONDS = 6.0

APPEND = (
    "select * from append_group("
    + ", ".join(
        f"%b::{kind}"
        for kind in (
            *("uuid[]", "bigint[]", "bytea[]", "bigint[]", "bytea[]", "uuid[]", "uuid[]"),
            *("int[]", "bigint[]", "text[]", "bytea[]", "bytea[]"),
            *(
                "int[]",
                "uuid[]",
                "uuid[]",
                "text[]",
                "bytea[]",
                "text[]",
                "bigint[]",
                "text[]",
                "text[]",
                "text[]",
                "text[]",
            ),
            *("text[]", "text[]", "bigint[]", "text[]", "text[]", "bytea[]"),
            *("int[]", "uuid[]", "text[]", "text[]", "text[]", "int[]", "bigint[]", "text[]", "float8[]", "int[]"),
            *("int[]", "uuid[]"),
            *("int[]", "text[]", "bigint[]", "float8[]", "timestamptz[]"),
            *("int[]", "text[]"),
            "float8",
        )
    )
    + ")"
)

LOAD = """
select originator_id, originator_version, topic, state, hash, notification_id from stored_events
where originator_id = any(%b) order by originator_id, originator_version
"""

DISJOINTED = """
select f.id from unnest(%b::uuid[]) as f(id) left join heads h on h.id = f.id
left join lateral (select e.originator_version as version, e.hash from stored_events e
                   where e.originator_id = f.id order by e.originator_version desc limit 1) e on true
where (h.version, h.hash) is distinct from (e.version, e.hash)
"""

FIRST_ANSWERS = """
select i.command_id, i.body_hash, i.outcome, i.flow_id, i.version, i.position, i.error,
       i.client_account_id, i.engagement_id
from command_ids i join unnest(%b::uuid[], %b::uuid[], %b::text[]) as a(c, e, id)
  on (i.client_account_id, i.engagement_id, i.command_id) = (a.c, a.e, a.id)
"""

# whoever appends to the command log holds the store's lock, so that its numbers follow the order of commits
LOG_REPEAT = """
with alone as materialized (select pg_advisory_xact_lock(hashtext(current_schema()), 1))
insert into command_log (at, client_account_id, engagement_id, user_id, command_id, command, flow_id, source, outcome,
                         version, position, error, correlation_id, causation_id, expected_version, ip_address, user_agent)
select mfo_now(), %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s from alone
"""


class Loaded(NamedTuple):
    """A flow as its history tells it, with the hash of its last event and that event's place in the log (0: none)."""

    flow: Flow
    hash: bytes
    position: int


class FirstAnswer(NamedTuple):
    """What a command id was answered when it was new."""

    body_hash: bytes
    outcome: str
    flow_id: UUID
    version: int
    position: int | None
    error: dict[str, Any] | None


class CommandRow(NamedTuple):
    """A command with its outcome, as the log keeps it. `version` is the flow's after it."""

    name: str
    envelope: Envelope
    body_hash: bytes
    outcome: str
    version: int
    error: str | None
    body: bytes | None


@dataclass(slots=True)
class Decision:
    """What one group holds for one flow: decided on `before`, ending in `after`."""

    before: Flow
    before_hash: bytes
    after: Flow
    hash: bytes
    client_account_id: UUID
    engagement_id: UUID
    rows: list[Row] = field(default_factory=list)
    commands: list[CommandRow] = field(default_factory=list)
    # who has a place for those of the runs that it begins
    owners: dict[UUID, str] = field(default_factory=dict)

    @property
    def begun(self) -> list[Run]:
        """The runs whose rows are to be written: new ones, and known ones under a new token."""
        known = {(run.run_id, run.token) for run in self.before.runs}
        return [run for run in self.after.runs if (run.run_id, run.token) not in known]

    @property
    def ended(self) -> list[Run]:
        """The runs that are over with it."""
        left = {run.run_id for run in self.after.runs}
        return [run for run in self.before.runs if run.run_id not in left]


class Stored(NamedTuple):
    """An event as it lies in the log."""

    position: int
    flow_id: UUID
    version: int
    topic: str
    state: bytes
    hash: bytes


class Store:
    """History in PostgreSQL. Reads use a pool; each committer appends on a connection of its own."""

    def __init__(self, pool: AsyncConnectionPool[Connection], shard: str = DEFAULT_SHARD) -> None:
        self.pool = pool
        self.shard = shard

    def position(self, number: int | None) -> str | None:
        """A place in the log as the outside sees it: `<shard>:<n>`."""
        return None if number is None else f"{self.shard}:{number}"

    async def now(self) -> datetime:
        async with self.pool.connection() as connection:
            row = await (await connection.execute("select mfo_now()")).fetchone()
        assert row is not None
        now: datetime = row[0]
        return now

    async def load(self, flow_ids: Iterable[UUID], broken: dict[UUID, Exception] | None = None) -> dict[UUID, Loaded]:
        """The flows with these ids, folded from their events; one that has no history is new, at version 0.

        Where `broken` is given, flows that cannot be read are put there with why.
        """
        async with self.pool.connection() as connection:
            return await load(connection, flow_ids, broken)

    async def history(
        self, flow_id: UUID, *, after: int = 0, limit: int | None = None, upto: int | None = None
    ) -> list[tuple[int, Recorded]]:
        """A flow's events in order, from the one after version `after`, each with its place in the log."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                "select originator_version, topic, state, notification_id from stored_events"
                " where originator_id = %s and originator_version > %s and originator_version <= %s"
                " order by originator_version limit %s",
                (flow_id, after, upto if upto is not None else 2**62, limit),
                binary=True,
            )
            rows = await cursor.fetchall()
        return [(position, decode(flow_id, version, topic, state)) for version, topic, state, position in rows]

    async def flow(self, flow_id: UUID, *, upto: int | None = None) -> Flow:
        """The flow as its history up to version `upto` tells it."""
        return fold(Flow(id=flow_id), [recorded for _, recorded in await self.history(flow_id, upto=upto)])

    async def tail(self, after: int, limit: int) -> list[Stored]:
        """The events after a place in the log, in the order of their commits."""
        async with self.pool.connection() as connection:
            return await tail(connection, after, limit)

    async def end(self) -> int:
        """The place of the last event in the log; 0 for an empty one."""
        async with self.pool.connection() as connection:
            row = await (
                await connection.execute("select coalesce(max(notification_id), 0) from stored_events")
            ).fetchone()
        assert row is not None
        return int(row[0])

    async def first_answers(self, envelopes: Sequence[Envelope]) -> dict[tuple[UUID, UUID, str], FirstAnswer]:
        """The answers these command ids were given before, by (client account, engagement, id)."""
        if not envelopes:
            return {}
        async with self.pool.connection() as connection:
            cursor = await connection.execute(
                FIRST_ANSWERS,
                (
                    [envelope.client_account_id for envelope in envelopes],
                    [envelope.engagement_id for envelope in envelopes],
                    [envelope.command_id for envelope in envelopes],
                ),
            )
            return {
                (row[7], row[8], row[0]): FirstAnswer(
                    bytes(row[1]), row[2], row[3], row[4], row[5], msgspec.json.decode(row[6]) if row[6] else None
                )
                for row in await cursor.fetchall()
            }

    async def log_again(self, command: CommandRow, flow_id: UUID, first: FirstAnswer) -> None:
        """Keep a repeat, or the reuse of an id, beside its first answer."""
        async with self.pool.connection() as connection:
            await log_again(connection, command, flow_id, first)


async def log_again(connection: AsyncConnection[Any], command: CommandRow, flow_id: UUID, first: FirstAnswer) -> None:
    """As `Store.log_again`, on a given connection."""
    envelope = command.envelope
    await connection.execute(
        LOG_REPEAT,
        (
            *(envelope.client_account_id, envelope.engagement_id, envelope.user_id, envelope.command_id),
            *(command.name, flow_id, envelope.source, command.outcome, first.version, first.position),
            *(command.error, envelope.correlation_id, envelope.causation_id, envelope.expected_version),
            *(envelope.ip_address, envelope.user_agent),
        ),
    )


async def load(
    connection: AsyncConnection[Any], flow_ids: Iterable[UUID], broken: dict[UUID, Exception] | None = None
) -> dict[UUID, Loaded]:
    """As `Store.load`, on a given connection. Where `broken` is given, flows that cannot be read are put there with why."""
    wanted = list(flow_ids)
    loaded = {flow_id: Loaded(Flow(id=flow_id), FIRST_HASH, 0) for flow_id in wanted}
    if not wanted:
        return loaded
    cursor = await connection.execute(LOAD, (wanted,), binary=True)
    histories: dict[UUID, list[tuple[Any, ...]]] = {}
    for row in await cursor.fetchall():
        histories.setdefault(row[0], []).append(row)
    for flow_id, rows in histories.items():
        try:
            if not rows[0][2].startswith(FLOW_PREFIX):
                loaded[flow_id] = Loaded(_no_flow(flow_id, rows[-1][1]), bytes(rows[-1][4]), rows[-1][5])
                continue
            facts = (decode(flow_id, version, topic, state) for _, version, topic, state, _, _ in rows)
            loaded[flow_id] = Loaded(fold(Flow(id=flow_id), facts), bytes(rows[-1][4]), rows[-1][5])
        except Exception as why:
            if broken is None:
                raise
            broken[flow_id] = why
    return loaded


async def disjointed(connection: AsyncConnection[Any], flow_ids: Iterable[UUID]) -> set[UUID]:
    """Those of the flows whose head does not stand at the last event of their history: nothing can follow there."""
    cursor = await connection.execute(DISJOINTED, (list(flow_ids),))
    return {row[0] for row in await cursor.fetchall()}


def _no_flow(flow_id: UUID, version: int) -> Flow:
    """What stands for a flow where something else has the id: nobody's, so that every tenant is told that there is none."""
    nobody = uuid5(flow_id, "no flow")
    return Flow(id=flow_id, version=version, client_account_id=nobody, engagement_id=nobody)


async def tail(connection: AsyncConnection[Any], after: int, limit: int) -> list[Stored]:
    """As `Store.tail`, on a given connection."""
    cursor = await connection.execute(
        "select notification_id, originator_id, originator_version, topic, state, hash from stored_events"
        " where notification_id > %s order by notification_id limit %s",
        (after, limit),
        binary=True,
    )
    return [Stored(*row) for row in await cursor.fetchall()]


def appended(decisions: Sequence[Decision], winners: Mapping[int, Mapping[int, int]]) -> list[Stored]:
    """The events of the winners of a group, as `append` answered them, in the order of the log."""
    return sorted(
        Stored(positions[row.version], decisions[n].after.id, row.version, row.topic, row.state, row.hash)
        for n, positions in winners.items()
        for row in decisions[n].rows
    )


async def append(
    connection: AsyncConnection[Any],
    decisions: Sequence[Decision],
    statement: str = APPEND,
    more: tuple[Any, ...] = (),
    *,
    first: tuple[Any, ...] = (),
) -> tuple[dict[int, dict[int, int]], datetime | None]:
    """Append a group in one transaction; answers the winners, each with the log positions of its new versions.

    The key of the answer is the decision's place in the group, from 0. A decision that is absent lost: its flow had moved
    on, or one of its command ids had been used; nothing of it was kept. Also answers the store's time. A `statement` around
    APPEND, with the parameters `first` before its own and `more` after them, keeps or asks something besides.
    """
    numbered = list(enumerate(decisions, 1))
    events = [(n, row) for n, decision in numbered for row in decision.rows]
    commands = [(n, row) for n, decision in numbered for row in decision.commands]
    begun = [(n, d, run) for n, d in numbered for run in d.begun]
    ended = [(n, run) for n, d in numbered for run in d.ended]
    timers = [(n, d.before.timers, d.after.timers) for n, d in numbered if d.before.timers or d.after.timers]
    timed = [(n, name, one) for n, before, after in timers for name, one in after.items() if one != before.get(name)]
    untimed = [(n, name) for n, before, after in timers for name in before if name not in after]
    parameters: tuple[Any, ...] = (
        uuids(d.after.id for d in decisions),
        bigints(d.before.version for d in decisions),
        blobs(d.before_hash for d in decisions),
        bigints(d.after.version for d in decisions),
        blobs(d.hash for d in decisions),
        uuids(d.client_account_id for d in decisions),
        uuids(d.engagement_id for d in decisions),
        ints(n for n, _ in events),
        bigints(row.version for _, row in events),
        texts(row.topic for _, row in events),
        blobs(row.state for _, row in events),
        blobs(row.hash for _, row in events),
        ints(n for n, _ in commands),
        uuids(row.envelope.client_account_id for _, row in commands),
        uuids(row.envelope.engagement_id for _, row in commands),
        texts(row.envelope.command_id for _, row in commands),
        blobs(row.body_hash for _, row in commands),
        texts(row.outcome for _, row in commands),
        bigints(row.version for _, row in commands),
        texts(row.error for _, row in commands),
        texts(row.name for _, row in commands),
        texts(row.envelope.user_id for _, row in commands),
        texts(row.envelope.source for _, row in commands),
        texts(row.envelope.correlation_id for _, row in commands),
        texts(row.envelope.causation_id for _, row in commands),
        bigints(row.envelope.expected_version for _, row in commands),
        texts(row.envelope.ip_address for _, row in commands),
        texts(row.envelope.user_agent for _, row in commands),
        blobs(row.body for _, row in commands),
        ints(n for n, _, _ in begun),
        uuids(run.run_id for _, _, run in begun),
        texts(d.after.flow_type for _, d, _ in begun),
        texts(d.after.flow_version for _, d, _ in begun),
        texts(run.phase_name for _, _, run in begun),
        ints(run.attempt for _, _, run in begun),
        bigints(run.token for _, _, run in begun),
        texts(d.owners.get(run.run_id) for _, d, run in begun),
        floats(run.timeout_seconds for _, _, run in begun),
        ints(d.after.priority for _, d, _ in begun),
        ints(n for n, _ in ended),
        uuids(run.run_id for _, run in ended),
        ints(n for n, _name, _timer in timed),
        texts(name for _n, name, _timer in timed),
        bigints(timer.token for _n, _name, timer in timed),
        floats(timer.delay_seconds for _n, _name, timer in timed),
        times(timer.due_at for _n, _name, timer in timed),
        ints(n for n, _ in untimed),
        texts(name for _, name in untimed),
        LEASE_SECONDS,
    )
    cursor = await connection.execute(statement, (*first, *parameters, *more), binary=True)
    winners: dict[int, dict[int, int]] = {}
    now: datetime | None = None
    for n, version, position, at in await cursor.fetchall():
        positions = winners.setdefault(n - 1, {})
        now = at
        if version is not None:
            positions[version] = position
    return winners, now
