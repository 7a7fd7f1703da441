"""A write side on a real database, and what a test asks of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec

from domain.commands import (
    Command,
    CompletePhase,
    CreateFlow,
    CreateOptions,
    Envelope,
    FailPhase,
    ImportFlow,
    Tenant,
)
from domain.events import FlowImported, ImportedPhase, Origin
from domain.flow import Flow, Run
from eventstore.claims import Claims, Offer, kind
from eventstore.committer import Answer, Committer
from eventstore.database import connect
from eventstore.runs import RunRow
from eventstore.service import ServiceConfig, WriteSide, write_side

Json = dict[str, Any]
MASTER_KEY = bytes(range(32))
FLOWS = "tests.consumers.flows"


def config_for(database_url: str, **settings: Any) -> ServiceConfig:
    """Settings of a service; without more said it finds no Kafka."""
    given = {"kafka_bootstrap": "127.0.0.1:1", "master_key": MASTER_KEY, "flow_type_modules": (FLOWS,), **settings}
    return ServiceConfig(database_url=database_url, **given)


def new_tenant() -> Tenant:
    return Tenant(uuid4(), uuid4(), "maria")


def create(flow_id: UUID | None = None, **fields: Any) -> CreateFlow:
    """A flow of three quick phases, under way at once unless said otherwise."""
    given = {"flow_type": "inline", "flow_name": "Estate", "options": CreateOptions(auto_execute=True), **fields}
    return CreateFlow(flow_id=flow_id or uuid4(), **given)


def imported(**fields: Any) -> ImportFlow:
    """A flow of three quick phases, taken over from elsewhere; nothing of it is done."""
    at = datetime(2025, 7, 1, tzinfo=UTC)
    told = FlowImported(
        flow_type="inline",
        flow_version="1.0.0",
        flow_name="Of old",
        phases=tuple(ImportedPhase(name=f"count_{n}", weight=1.0) for n in range(3)),
        status="initialized",
        origin=Origin(import_id="import-1", table="crewai_flow_state_extensions", sha256="ab" * 32),
        created_at=at,
        updated_at=at,
        created_by="ann",
        updated_by="ann",
        **fields,
    )
    return ImportFlow(flow_id=uuid4(), told=msgspec.to_builtins(told))


@dataclass
class House:
    """One committer, with a tenant to ask for."""

    side: WriteSide
    tenant: Tenant = field(default_factory=new_tenant)

    @property
    def committer(self) -> Committer:
        return self.side.committer

    def envelope(self, command_id: str | None = None, tenant: Tenant | None = None, **fields: Any) -> Envelope:
        who = tenant or self.tenant
        return Envelope(
            command_id=command_id or str(uuid4()),
            client_account_id=who.client_account_id,
            engagement_id=who.engagement_id,
            user_id=who.user_id,
            **{"correlation_id": "c-1", **fields},
        )

    async def ask(self, command: Command, command_id: str | None = None, **fields: Any) -> Answer:
        return await self.committer.submit(command, self.envelope(command_id, **fields))

    async def begin(self, **fields: Any) -> Flow:
        """A new flow; its first phase runs."""
        answer = await self.ask(create(**fields))
        assert answer.outcome == "accepted", answer
        assert answer.flow is not None
        return answer.flow

    async def run_of(self, flow_id: UUID) -> Run:
        run = (await self.side.store.flow(flow_id)).run
        assert run is not None
        return run

    async def complete(self, flow_id: UUID, outputs: Json | None = None, **fields: Any) -> Answer:
        """What a worker says about the run that is under way."""
        run = await self.run_of(flow_id)
        done = CompletePhase(flow_id=flow_id, run_id=run.run_id, token=run.token, outputs=outputs or {"rows": 3})
        return await self.ask(done, **fields)

    async def fail(self, flow_id: UUID, *, retryable: bool = True) -> Answer:
        run = await self.run_of(flow_id)
        error = {"class": "network", "code": "io_failed", "message": "no", "retryable": retryable}
        return await self.ask(FailPhase(flow_id=flow_id, run_id=run.run_id, token=run.token, error=error))

    def offer(self, owner: str = "me", exclusive: tuple[str, ...] = (), **limits: Any) -> Offer:
        """A process that can run every phase there is; those of the types `exclusive` in places of their own."""
        lanes: dict[bool, list[str]] = {True: [], False: []}
        for config in self.side.types.versions():
            kinds = [kind(config.name, config.version, phase.name) for phase in config.phases]
            lanes[config.name in exclusive].extend(kinds)
        return Offer(owner=owner, exclusive=lanes[True], shared=lanes[False], **limits)

    async def claim(self, owner: str = "me", most: int = 5, **limits: Any) -> list[RunRow]:
        """What a process with so many free places of the shared sort is given."""
        _, shared = await Claims(self.side.pool).claim(self.offer(owner, **limits), exclusive=0, shared=most)
        return shared.runs

    async def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        async with self.side.pool.connection() as connection:
            cursor = await connection.execute(statement, parameters)
            return await cursor.fetchall() if cursor.description else []

    async def one(self, statement: str, *parameters: Any) -> Any:
        """The first value of the first row."""
        found = await self.rows(statement, *parameters)
        return found[0][0] if found else None

    async def shift_clock(self, seconds: float) -> None:
        """Move the store's time; the committer learns of it with the next commit."""
        await self.rows("update clock set shift = shift + make_interval(secs => %s)", seconds)

    async def facts(self, flow_id: UUID) -> list[str]:
        """The flow's history by the names of its facts."""
        return [type(recorded.fact).__name__ for _, recorded in await self.side.store.history(flow_id)]

    def another_committer(self, **options: Any) -> Committer:
        """A committer as another process has it, not started yet."""
        side = self.side

        async def connection() -> Any:
            return await connect(side.config.database_url, side.config.shard, lock_timeout="5s")

        given = {"connect": connection, **options}
        return Committer(side.store, side.types, side.keyring, side.artifacts, **given)


@asynccontextmanager
async def open_house(database_url: str, **settings: Any) -> AsyncIterator[House]:
    async with write_side(config_for(database_url, **settings), pool_size=4) as side:
        yield House(side)


@asynccontextmanager
async def started(committer: Committer) -> AsyncIterator[Committer]:
    await committer.start()
    try:
        yield committer
    finally:
        await committer.stop()
