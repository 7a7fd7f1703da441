"""The door to schedules: their commands decided and appended one by one, their rows read, and which of them are due.

A schedule's events lie in `stored_events` beside those of the flows, in the same chain of hashes, under the same lock, with
the same command log; the row in `schedules`, its folded history, is written by the same statement.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import msgspec
import psycopg
import structlog
from psycopg import sql
from psycopg_pool import PoolTimeout

from domain.addresses import Addressing
from domain.commands import Envelope, Tenant
from domain.deciding.story import OVER
from domain.errors import KeyReused, MfoError, StoreBusy, StoreUnavailable
from domain.flow import Flow, Meta
from domain.flow_types import FlowTypes
from domain.schedules.commands import INTERNAL_SCHEDULE, CreateSchedule, ScheduleCommand, UpdateSchedule
from domain.schedules.decide import decide
from domain.schedules.schedule import Schedule, ScheduleRecorded, fold, look_at, waits
from domain.words import Status
from eventstore.artifacts import ArtifactStore
from eventstore.codec import FIRST_HASH, decode_schedule, encode_meta, encode_schedule
from eventstore.committer import ACCEPTED, REFUSED, REPEATED, Answer
from eventstore.database import Connection
from eventstore.keys import Keyring
from eventstore.metrics import COMMANDS, CONFLICTS
from eventstore.store import APPEND, CommandRow, Decision, FirstAnswer, Store, append

log = structlog.get_logger()

MAX_TRIES = 20
TRIES_WHILE_AWAY = 4
CLAIMED_SECONDS = 10.0
EMAILS = "flow.options.notification_emails"
# the clock went back while somebody had it in hand
ODD_SECONDS = 60.0

LOAD = """
select s.snapshot, h.version, h.hash, e.notification_id, mfo_now()
from (select %b::uuid as id) i
left join heads h on h.id = i.id
left join schedules s on s.id = i.id
left join stored_events e on e.originator_id = h.id and e.originator_version = h.version
"""
KEEP = f"""
with won as materialized ({APPEND}),
kept as (
    insert into schedules as s (id, version, client_account_id, engagement_id, name, state, flow_type, created_at, snapshot,
                                wake_at, waits)
    select %b::uuid, %b::bigint, %b::uuid, %b::uuid, %b::text, %b::text, %b::text, %b::timestamptz, n.snapshot,
           %b::timestamptz, %b::boolean
    from (select %b::bytea as snapshot) n where n.snapshot is not null and exists (select from won)
    on conflict (id) do update set version = excluded.version, name = excluded.name, state = excluded.state,
        flow_type = excluded.flow_type, snapshot = excluded.snapshot, wake_at = excluded.wake_at, waits = excluded.waits
    where s.version < excluded.version
)
select * from won
"""
CLAIM = """
with due as (
    select id from schedules
    where wake_at <= mfo_now() or (waits and wake_at > mfo_now() + make_interval(secs => %(odd)s))
    order by wake_at limit %(limit)s for update skip locked
), claimed as (
    update schedules s set wake_at = mfo_now() + make_interval(secs => %(claimed)s) from due where s.id = due.id
    returning s.id
)
select array(select id from claimed),
       (select extract(epoch from min(wake_at) - mfo_now())::float8 from schedules where wake_at > mfo_now())
"""
LOOK_AGAIN = """
update schedules set wake_at = %s where id = %s and version = %s
"""
ONE = """
select snapshot from schedules where id = %s and client_account_id = %s and engagement_id = %s
"""

_snapshots = msgspec.json.Decoder(Schedule)


@dataclass(frozen=True, slots=True)
class ScheduleAnswer(Answer):
    """What became of a command for a schedule; `flow_id` is the schedule's id, `schedule` the schedule after it."""

    schedule: Schedule | None = None


class _Loaded(NamedTuple):
    schedule: Schedule
    hash: bytes
    position: int
    now: datetime


class Placed(NamedTuple):
    """A fact of a schedule with its place in the log."""

    position: int
    recorded: ScheduleRecorded


class Schedules:
    """Decides commands for schedules, in the order in which they come, on a connection of its own; reads use the pool."""

    def __init__(
        self,
        store: Store,
        types: FlowTypes,
        keyring: Keyring,
        artifacts: ArtifactStore,
        connect: Callable[[], Awaitable[Connection]],
        *,
        addressing: Addressing | None = None,
    ) -> None:
        self._store = store
        self._addressing = addressing or Addressing()
        self._types = types
        self._keyring = keyring
        self._artifacts = artifacts
        self._connect = connect
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._asked: set[asyncio.Task[ScheduleAnswer]] = set()

    async def stop(self) -> None:
        """Finish what was asked, then close the connection."""
        await asyncio.gather(*self._asked, return_exceptions=True)
        await self._disconnect()

    # commands

    async def put(self, command: ScheduleCommand, envelope: Envelope) -> asyncio.Future[ScheduleAnswer]:
        """As `submit`, without waiting; commands put one after the other are decided in that order."""
        task = asyncio.create_task(self._submit(command, envelope))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)
        return task

    async def submit(self, command: ScheduleCommand, envelope: Envelope) -> ScheduleAnswer:
        """Decide and keep a command; returns when it is committed. A refusal is an answer, not an error.

        A command of the scheduler that brings nothing about is not kept. Raises StoreUnavailable and StoreBusy, and MfoError
        for a command that could not be decided for a reason of ours.
        """
        # a caller that goes away must not cut a statement in two
        return await asyncio.shield(await self.put(command, envelope))

    async def _submit(self, command: ScheduleCommand, envelope: Envelope) -> ScheduleAnswer:
        internal = type(command).__name__ in INTERNAL_SCHEDULE
        async with self._turn:
            away = 0
            for _ in range(MAX_TRIES):
                try:
                    prepared, body_hash, body = await self._prepare(command, envelope, internal)
                    answer = await self._decided(prepared, envelope, body_hash, body, internal=internal)
                except (psycopg.Error, PoolTimeout, OSError) as error:
                    await self._disconnect()
                    if isinstance(error, psycopg.DataError | psycopg.IntegrityError):
                        raise MfoError(f"the command could not be kept: {type(error).__name__}") from error
                    away += 1
                    log.warning("schedule could not be kept", error=type(error).__name__, tries=away)
                    if away >= TRIES_WHILE_AWAY:
                        raise StoreUnavailable from error
                    await asyncio.sleep(0.05)
                    continue
                if answer is not None:
                    COMMANDS.labels(type(command).__name__, answer.outcome).inc()
                    return answer
                CONFLICTS.inc()
        raise StoreBusy("the schedule is changed by others too fast; try again")

    async def _prepare(
        self, command: ScheduleCommand, envelope: Envelope, internal: bool
    ) -> tuple[ScheduleCommand, bytes, bytes | None]:
        """Seal what is sensitive in the template, move aside what is large, and take the hash of the body."""
        if internal:
            return command, b"", None
        account = envelope.client_account_id
        whole = command.model_dump(mode="json", exclude_unset=isinstance(command, UpdateSchedule))
        sealed, hashed = await self._keyring.seal(account, whole)
        name = type(command).__name__
        body_hash = hashlib.sha256(name.encode() + msgspec.json.encode(hashed, order="sorted")).digest()
        if isinstance(command, CreateSchedule | UpdateSchedule) and command.flow is not None:
            given = sealed["flow"].get("initial_data") or {}
            data = await self._artifacts.spill(account, given)
            if data is not command.flow.initial_data:
                flow = command.flow.model_copy(update={"initial_data": data})
                command = command.model_copy(update={"flow": flow})
            if data is not given:
                sealed = {**sealed, "flow": {**sealed["flow"], "initial_data": data}}
        return command, body_hash, msgspec.json.encode(sealed)

    async def _decided(
        self, command: ScheduleCommand, envelope: Envelope, body_hash: bytes, body: bytes | None, *, internal: bool
    ) -> ScheduleAnswer | None:
        """The answer, or none where the schedule moved on meanwhile."""
        known = await self._store.first_answers([envelope])
        if known:
            return await self._repeat(command, envelope, body_hash, next(iter(known.values())), internal=internal)
        connection = await self._connected()
        before = await _load(connection, command.schedule_id)
        meta = Meta(
            at=before.now,
            client_account_id=envelope.client_account_id,
            engagement_id=envelope.engagement_id,
            user_id=envelope.user_id,
            command_id=envelope.command_id,
            correlation_id=envelope.correlation_id,
            causation_id=envelope.causation_id,
            source=envelope.source,
        )
        after, rows, link, error = before.schedule, [], before.hash, None
        try:
            if isinstance(command, CreateSchedule | UpdateSchedule) and command.flow is not None:
                self._addressing.check_emails(command.flow.options.notification_emails, EMAILS)
            story = decide(before.schedule, command, meta, self._types, expected_version=envelope.expected_version)
            written = encode_meta(meta)
            for fact in story.facts:
                rows.append(encode_schedule(fact, written, link))
                link = rows[-1].hash
            after = story.schedule
        except MfoError as refusal:
            if refusal.status >= 500:
                raise
            rows, link, error = [], before.hash, refusal.as_dict()
        outcome = REFUSED if error else ACCEPTED if rows else REPEATED
        ours = (after.client_account_id, after.engagement_id) == (envelope.client_account_id, envelope.engagement_id)
        version = after.version if ours else 0
        answer = ScheduleAnswer(
            envelope.command_id,
            outcome,
            command.schedule_id,
            version,
            self._store.position(before.position) if version and before.position else None,
            error,
            None,
            after if ours else None,
        )
        if internal and not rows:
            return answer
        text = msgspec.json.encode(error).decode() if error else None
        decision = Decision(
            Flow(id=after.id, version=before.schedule.version),
            before.hash,
            Flow(id=after.id, version=after.version),
            link,
            after.client_account_id if ours and after.client_account_id else envelope.client_account_id,
            after.engagement_id if ours and after.engagement_id else envelope.engagement_id,
            rows=rows,
            commands=[CommandRow(type(command).__name__, envelope, body_hash, outcome, version, text, body)],
        )
        winners, _ = await append(connection, [decision], KEEP, _row(after if rows else None, command.schedule_id))
        if 0 not in winners:
            return None
        if not rows:
            return answer
        return ScheduleAnswer(
            envelope.command_id,
            outcome,
            after.id,
            after.version,
            self._store.position(winners[0][after.version]),
            None,
            None,
            after,
        )

    async def _repeat(
        self, command: ScheduleCommand, envelope: Envelope, body_hash: bytes, first: FirstAnswer, *, internal: bool
    ) -> ScheduleAnswer:
        """The first answer again; or a refusal, when the body is another. Either is kept in the log."""
        error, outcome, schedule_id = first.error, REPEATED, first.flow_id
        version, position, schedule = first.version, first.position, None
        if first.body_hash != body_hash:
            error, outcome, schedule_id, version, position = (
                KeyReused().as_dict(),
                REFUSED,
                command.schedule_id,
                0,
                None,
            )
        elif version and not internal:
            placed = await self.history(schedule_id, upto=version)
            schedule = fold(Schedule(id=schedule_id), [each.recorded for each in placed])
            position = position or placed[-1].position
        text = msgspec.json.encode(error).decode() if error else None
        row = CommandRow(type(command).__name__, envelope, body_hash, outcome, version, text, None)
        await self._store.log_again(row, schedule_id, first)
        return ScheduleAnswer(
            envelope.command_id, outcome, schedule_id, version, self._store.position(position), error, None, schedule
        )

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed or self._connection.broken:
            self._connection = await self._connect()
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error, OSError):
                await connection.close()

    # reads

    async def load(self, schedule_id: UUID) -> tuple[Schedule, datetime]:
        """The schedule, whoever's it is, at version 0 where there is none; and the store's time."""
        async with self._store.pool.connection() as connection:
            loaded = await _load(connection, schedule_id)
        return loaded.schedule, loaded.now

    async def find(self, tenant: Tenant, schedule_id: UUID) -> Schedule | None:
        """The tenant's schedule; none where the tenant has no such schedule."""
        async with self._store.pool.connection() as connection:
            cursor = await connection.execute(ONE, (schedule_id, tenant.client_account_id, tenant.engagement_id))
            row = await cursor.fetchone()
        return _snapshots.decode(row[0]) if row is not None else None

    async def page(
        self,
        tenant: Tenant,
        *,
        states: Sequence[str],
        flow_types: Sequence[str] | None = None,
        limit: int,
        after: tuple[datetime, UUID] | None = None,
    ) -> tuple[list[Schedule], int]:
        """The tenant's schedules, the newest first, and how many there are in all; one more than `limit` says there is
        another page. `after`: the time of creation and id of the last one of the page before."""
        where = [
            sql.SQL("client_account_id = %(client)s and engagement_id = %(engagement)s and state = any(%(states)s)")
        ]
        values: dict[str, Any] = {
            "client": tenant.client_account_id,
            "engagement": tenant.engagement_id,
            "states": list(states),
            "limit": limit + 1,
        }
        if flow_types is not None:
            where.append(sql.SQL("flow_type = any(%(types)s)"))
            values["types"] = list(flow_types)
        counted = sql.SQL("select count(*) from schedules where {}").format(sql.SQL(" and ").join(where))
        if after is not None:
            where.append(sql.SQL("(created_at, id) < (%(at)s, %(id)s)"))
            values |= {"at": after[0], "id": after[1]}
        listed = sql.SQL(
            "select snapshot from schedules where {} order by created_at desc, id desc limit %(limit)s"
        ).format(sql.SQL(" and ").join(where))
        async with self._store.pool.connection() as connection:
            total = await (await connection.execute(counted, values)).fetchone()
            rows = await (await connection.execute(listed, values)).fetchall()
        return [_snapshots.decode(row[0]) for row in rows], int(total[0]) if total else 0

    async def history(
        self,
        schedule_id: UUID,
        *,
        after: int = 0,
        upto: int = 2**62,
        limit: int | None = None,
        topics: Collection[str] | None = None,
        newest_first: bool = False,
    ) -> list[Placed]:
        """The schedule's facts with versions after `after` and up to `upto`, of these topics only where any are given."""
        statement = sql.SQL(
            "select originator_version, topic, state, notification_id from stored_events"
            " where originator_id = %s and originator_version > %s and originator_version <= %s"
            " and (%s::text[] is null or topic = any(%s)) order by originator_version {} limit %s"
        ).format(sql.SQL("desc" if newest_first else "asc"))
        named = list(topics) if topics is not None else None
        async with self._store.pool.connection() as connection:
            cursor = await connection.execute(statement, (schedule_id, after, upto, named, named, limit), binary=True)
            rows = await cursor.fetchall()
        return [
            Placed(place, decode_schedule(schedule_id, version, topic, state)) for version, topic, state, place in rows
        ]

    # what the scheduler needs

    async def claim(self, limit: int) -> tuple[list[UUID], float | None]:
        """Take schedules that have to be looked at into hand for ten seconds, each by one process at a time.

        Also answers in how many seconds the next of the others will have to be; none where there is none.
        """
        async with self._store.pool.connection() as connection:
            cursor = await connection.execute(CLAIM, {"odd": ODD_SECONDS, "limit": limit, "claimed": CLAIMED_SECONDS})
            row = await cursor.fetchone()
        assert row is not None
        return list(row[0]), row[1]

    async def flows(self, flow_ids: Collection[UUID]) -> dict[UUID, bool]:
        """Those of these flows that there are, and whether each has ended; one that cannot be read has not."""
        broken: dict[UUID, Exception] = {}
        loaded = await self._store.load(flow_ids, broken)
        there = {flow_id: one.flow for flow_id, one in loaded.items() if one.flow.exists}
        return {
            flow_id: flow_id not in broken and (flow.status in OVER or flow.status is Status.FAILED)
            for flow_id, flow in there.items()
        } | dict.fromkeys(broken, False)

    async def look_again(self, schedule: Schedule, at: datetime | None) -> None:
        """Let a schedule out of hand, to be looked at then; one that has changed meanwhile is left as it is."""
        async with self._store.pool.connection() as connection:
            await connection.execute(LOOK_AGAIN, (at, schedule.id, schedule.version))


async def _load(connection: Connection, schedule_id: UUID) -> _Loaded:
    cursor = await connection.execute(LOAD, (schedule_id,), binary=True)
    row = await cursor.fetchone()
    assert row is not None
    snapshot, version, link, position, now = row
    if version is None:
        return _Loaded(Schedule(id=schedule_id), FIRST_HASH, 0, now)
    if snapshot is None:
        # a flow has this id: it is nobody's schedule, and no new one may take it
        nobody = uuid5(schedule_id, "no schedule")
        schedule = Schedule(id=schedule_id, version=version, client_account_id=nobody, engagement_id=nobody)
        return _Loaded(schedule, bytes(link), position, now)
    return _Loaded(_snapshots.decode(snapshot), bytes(link), position, now)


def _row(schedule: Schedule | None, schedule_id: UUID) -> tuple[Any, ...]:
    """The parameters of the row in `schedules`; without a schedule the row stays as it is."""
    if schedule is None:
        return (schedule_id, *(None,) * 10)
    at = schedule.updated_at
    assert at is not None
    return (
        schedule.id,
        schedule.version,
        schedule.client_account_id,
        schedule.engagement_id,
        schedule.known.name,
        str(schedule.state),
        schedule.known.flow.flow_type,
        schedule.created_at,
        look_at(schedule, at),
        waits(schedule),
        msgspec.json.encode(schedule),
    )
