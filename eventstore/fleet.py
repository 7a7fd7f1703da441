"""The door to operations, standing pauses and rules: their commands decided and appended one by one, and their rows read."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg import sql

from domain.commands import Envelope, Tenant
from domain.fleet.commands import (
    INTERNAL_FLEET,
    FleetCommand,
    OperationCommand,
    PauseRuleCommand,
    StandingPauseCommand,
    StartOperation,
)
from domain.fleet.decide import decide
from domain.fleet.subjects import AnySubject, FleetRecorded, Operation, PauseRule, StandingPause, fold, owes
from domain.flow import Meta
from domain.flow_types import FlowTypes
from eventstore.artifacts import ArtifactStore
from eventstore.codec import Row, decode_fleet, encode_fleet
from eventstore.committer import Answer
from eventstore.database import Connection
from eventstore.door import Door
from eventstore.keys import Keyring
from eventstore.store import APPEND, Store

TABLES: dict[type[AnySubject], str] = {
    Operation: "operations",
    StandingPause: "standing_pauses",
    PauseRule: "pause_rules",
}
KINDS: dict[type[FleetCommand], type[AnySubject]] = {
    OperationCommand: Operation,
    StandingPauseCommand: StandingPause,
    PauseRuleCommand: PauseRule,
}
KEEP = """
with won as materialized ({append}),
kept as (
    insert into {table} as s (id, version, client_account_id, engagement_id, state, created_at, snapshot, wake_at)
    select %b::uuid, %b::bigint, %b::uuid, %b::uuid, %b::text, %b::timestamptz, n.snapshot, %b::timestamptz
    from (select %b::bytea as snapshot) n where n.snapshot is not null and exists (select from won)
    on conflict (id) do update set version = excluded.version, state = excluded.state, snapshot = excluded.snapshot,
        wake_at = excluded.wake_at
    where s.version < excluded.version
    returning id
){more}
select * from won
"""
# what was decided with another number does not count
RENUMBERED = """,
renumbered as (
    update standing set number = number + 1 where exists (select from kept)
)"""
KEEPS = {
    kind: KEEP.format(append=APPEND, table=table, more=RENUMBERED if kind is StandingPause else "")
    for kind, table in TABLES.items()
}
_snapshots = {kind: msgspec.json.Decoder(kind) for kind in TABLES}


class FleetAnswer(Answer, frozen=True):
    """What became of a command; `flow_id` is the subject's id, `named` what it is called, `subject` the subject after it."""

    subject: AnySubject | None = None
    named: str = ""


def kind_of(command: FleetCommand) -> type[AnySubject]:
    """What a command is about."""
    return next(kind for base, kind in KINDS.items() if isinstance(command, base))


def read_snapshot(kind: type[AnySubject], snapshot: bytes) -> Any:
    """The subject in a row."""
    return _snapshots[kind].decode(snapshot)


class Fleet(Door[FleetCommand, AnySubject, FleetRecorded, FleetAnswer]):
    """Decides commands for operations, standing pauses and rules; reads use the pool."""

    def __init__(
        self,
        store: Store,
        types: FlowTypes,
        keyring: Keyring,
        artifacts: ArtifactStore,
        connect: Callable[[], Awaitable[Connection]],
    ) -> None:
        super().__init__(store, connect)
        self._types = types
        self._keyring = keyring
        self._artifacts = artifacts

    def _subject_of(self, command: FleetCommand) -> UUID:
        return command.subject_id

    def _internal(self, command: FleetCommand) -> bool:
        return type(command).__name__ in INTERNAL_FLEET

    def _table(self, command: FleetCommand) -> str:
        return TABLES[kind_of(command)]

    async def _prepare(self, command: FleetCommand, envelope: Envelope) -> tuple[FleetCommand, bytes, bytes]:
        """Seal what is sensitive in the arguments, move aside what is large, and take the hash of the body."""
        account = envelope.client_account_id
        sealed, hashed = await self._keyring.seal(account, command.model_dump(mode="json"))
        name = type(command).__name__
        body_hash = hashlib.sha256(name.encode() + msgspec.json.encode(hashed, order="sorted")).digest()
        if isinstance(command, StartOperation) and command.arguments:
            arguments, outputs = sealed["arguments"], sealed["arguments"].get("outputs")
            if isinstance(outputs, dict):
                # as each flow would keep them: their members are moved, so that whoever reads them finds them
                arguments = {**arguments, "outputs": await self._artifacts.spill(account, outputs)}
            arguments = await self._artifacts.spill(account, arguments)
            command = command.model_copy(update={"arguments": arguments})
            sealed = {**sealed, "arguments": arguments}
        return command, body_hash, msgspec.json.encode(sealed)

    def _new(self, command: FleetCommand, **fields: Any) -> AnySubject:
        return kind_of(command)(**fields)

    def _read(self, command: FleetCommand, snapshot: bytes) -> AnySubject:
        subject: AnySubject = read_snapshot(kind_of(command), snapshot)
        return subject

    def _decide(
        self, before: AnySubject, command: FleetCommand, meta: Meta, expected_version: int | None
    ) -> tuple[AnySubject, Sequence[FleetRecorded]]:
        story = decide(before, command, meta, self._types, expected_version=expected_version)
        return story.subject, story.facts

    def _fold(self, subject: AnySubject, history: Sequence[FleetRecorded]) -> AnySubject:
        return fold(subject, history)

    def _encode(self, recorded: FleetRecorded, meta: bytes, previous: bytes) -> Row:
        return encode_fleet(recorded, meta, previous)

    def _decode(self, subject_id: UUID, version: int, topic: str, state: bytes) -> FleetRecorded:
        return decode_fleet(subject_id, version, topic, state)

    def _keep(self, command: FleetCommand) -> str:
        return KEEPS[kind_of(command)]

    def _row(self, command: FleetCommand, after: AnySubject | None) -> tuple[Any, ...]:
        if after is None:
            return (command.subject_id, *(None,) * 7)
        return (
            after.id,
            after.version,
            after.client_account_id,
            after.engagement_id,
            str(after.state),
            after.created_at,
            after.updated_at if owes(after) else None,
            msgspec.json.encode(after),
        )

    def _answer(self, command: FleetCommand, answer: Answer, subject: AnySubject | None) -> FleetAnswer:
        return FleetAnswer(
            answer.command_id,
            answer.outcome,
            answer.flow_id,
            answer.version,
            answer.position,
            answer.error,
            subject=subject,
            named=command.named,
        )

    # reads

    async def find(self, tenant: Tenant, kind: type[AnySubject], subject_id: UUID) -> Any:
        """The tenant's operation, standing pause or rule; none where the tenant has no such thing."""
        statement = sql.SQL(
            "select snapshot from {} where id = %s and client_account_id = %s and engagement_id = %s"
        ).format(sql.Identifier(TABLES[kind]))
        async with self._store.pool.connection() as connection:
            cursor = await connection.execute(statement, (subject_id, tenant.client_account_id, tenant.engagement_id))
            row = await cursor.fetchone()
        return read_snapshot(kind, row[0]) if row is not None else None

    async def page(
        self,
        tenant: Tenant,
        kind: type[AnySubject],
        *,
        states: Sequence[str],
        limit: int,
        after: tuple[datetime, UUID] | None = None,
    ) -> tuple[list[Any], int]:
        """The tenant's operations, standing pauses or rules, the newest first, and how many there are in all; one more than
        `limit` says there is another page. `after`: the time of creation and id of the last one of the page before."""
        where: sql.Composable = sql.SQL(
            "client_account_id = %(client)s and engagement_id = %(engagement)s and state = any(%(states)s)"
        )
        values: dict[str, Any] = {
            "client": tenant.client_account_id,
            "engagement": tenant.engagement_id,
            "states": list(states),
            "limit": limit + 1,
        }
        table = sql.Identifier(TABLES[kind])
        counted = sql.SQL("select count(*) from {} where {}").format(table, where)
        if after is not None:
            where = sql.SQL("{} and (created_at, id) < (%(at)s, %(id)s)").format(where)
            values |= {"at": after[0], "id": after[1]}
        listed = sql.SQL("select snapshot from {} where {} order by created_at desc, id desc limit %(limit)s").format(
            table, where
        )
        async with self._store.pool.connection() as connection:
            total = await (await connection.execute(counted, values)).fetchone()
            rows = await (await connection.execute(listed, values)).fetchall()
        return [read_snapshot(kind, row[0]) for row in rows], int(total[0]) if total else 0
