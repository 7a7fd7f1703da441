"""The door to schedules: their commands decided and appended one by one, their rows read, and which of them are due.

A schedule's events lie in `stored_events` beside those of the flows, in the same chain of hashes, under the same lock, with
the same command log; the row in `schedules`, its folded history, is written by the same statement.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg import sql

from domain.addresses import Addressing
from domain.commands import Envelope, Tenant
from domain.deciding.story import OVER
from domain.flow import Meta
from domain.flow_types import FlowTypes
from domain.schedules.commands import INTERNAL_SCHEDULE, CreateSchedule, ScheduleCommand, UpdateSchedule
from domain.schedules.decide import decide
from domain.schedules.schedule import Schedule, ScheduleRecorded, fold, look_at, waits
from domain.words import Status
from eventstore.artifacts import ArtifactStore
from eventstore.codec import Row, decode_schedule, encode_schedule
from eventstore.committer import Answer
from eventstore.database import Connection
from eventstore.door import Door, Told
from eventstore.keys import Keyring
from eventstore.store import APPEND, Store

CLAIMED_SECONDS = 10.0
EMAILS = "flow.options.notification_emails"
# the clock went back while somebody had it in hand
ODD_SECONDS = 60.0

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


class ScheduleAnswer(Answer, frozen=True):
    """What became of a command for a schedule; `flow_id` is the schedule's id, `schedule` the schedule after it."""

    schedule: Schedule | None = None


Placed = Told[ScheduleRecorded]


class Schedules(Door[ScheduleCommand, Schedule, ScheduleRecorded, ScheduleAnswer]):
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
        super().__init__(store, connect)
        self._addressing = addressing or Addressing()
        self._types = types
        self._keyring = keyring
        self._artifacts = artifacts

    def _subject_of(self, command: ScheduleCommand) -> UUID:
        return command.schedule_id

    def _internal(self, command: ScheduleCommand) -> bool:
        return type(command).__name__ in INTERNAL_SCHEDULE

    def _table(self, command: ScheduleCommand) -> str:
        return "schedules"

    async def _prepare(self, command: ScheduleCommand, envelope: Envelope) -> tuple[ScheduleCommand, bytes, bytes]:
        """Seal what is sensitive in the template, move aside what is large, and take the hash of the body."""
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

    def _new(self, command: ScheduleCommand, **fields: Any) -> Schedule:
        return Schedule(**fields)

    def _read(self, command: ScheduleCommand, snapshot: bytes) -> Schedule:
        return _snapshots.decode(snapshot)

    def _decide(
        self, before: Schedule, command: ScheduleCommand, meta: Meta, expected_version: int | None
    ) -> tuple[Schedule, Sequence[ScheduleRecorded]]:
        if isinstance(command, CreateSchedule | UpdateSchedule) and command.flow is not None:
            self._addressing.check_emails(command.flow.options.notification_emails, EMAILS)
        story = decide(before, command, meta, self._types, expected_version=expected_version)
        return story.schedule, story.facts

    def _fold(self, subject: Schedule, history: Sequence[ScheduleRecorded]) -> Schedule:
        return fold(subject, history)

    def _encode(self, recorded: ScheduleRecorded, meta: bytes, previous: bytes) -> Row:
        return encode_schedule(recorded, meta, previous)

    def _decode(self, subject_id: UUID, version: int, topic: str, state: bytes) -> ScheduleRecorded:
        return decode_schedule(subject_id, version, topic, state)

    def _keep(self, command: ScheduleCommand) -> str:
        return KEEP

    def _row(self, command: ScheduleCommand, after: Schedule | None) -> tuple[Any, ...]:
        if after is None:
            return (command.schedule_id, *(None,) * 10)
        at = after.updated_at
        assert at is not None
        return (
            after.id,
            after.version,
            after.client_account_id,
            after.engagement_id,
            after.known.name,
            str(after.state),
            after.known.flow.flow_type,
            after.created_at,
            look_at(after, at),
            waits(after),
            msgspec.json.encode(after),
        )

    def _answer(self, command: ScheduleCommand, answer: Answer, subject: Schedule | None) -> ScheduleAnswer:
        return ScheduleAnswer(
            answer.command_id,
            answer.outcome,
            answer.flow_id,
            answer.version,
            answer.position,
            answer.error,
            schedule=subject,
        )

    # reads

    async def load(self, schedule_id: UUID) -> tuple[Schedule, datetime]:
        """The schedule, whoever's it is, at version 0 where there is none; and the store's time."""
        async with self._store.pool.connection() as connection:
            loaded = await self._load(connection, ScheduleCommand(schedule_id=schedule_id))
        return loaded.subject, loaded.now

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
