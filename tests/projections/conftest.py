"""Real flows on a real PostgreSQL, told by the real relay, and projections that follow them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.commands import Command, CompletePhase, CreateFlow, CreateOptions, Envelope
from domain.flow import Flow, fold
from domain.view import COLUMNS, row
from eventstore.committer import Answer
from eventstore.database import Connection, connect
from eventstore.definitions import remember
from eventstore.relay import Relay
from eventstore.service import AuditConfig, ServiceConfig, WriteSide, write_side
from projections.consumer import Runner
from projections.flows import Flows
from projections.inventory import Inventory
from projections.projection import Projection
from projections.told import Told, from_store

Json = dict[str, Any]
Following = Callable[..., AbstractAsyncContextManager[Runner]]


def config_for(database_url: str, **settings: Any) -> ServiceConfig:
    """Settings of a service; without more said it finds no Kafka."""
    given = {
        "kafka_bootstrap": "127.0.0.1:1",
        "master_key": bytes(range(32)),
        "audit": AuditConfig(seed=bytes(32)),
        **settings,
    }
    return ServiceConfig(database_url=database_url, **given)


@dataclass
class House:
    """The write side, and what a test asks of it."""

    side: WriteSide
    account: UUID
    engagement: UUID

    async def ask(self, command: Command) -> Answer:
        envelope = Envelope(
            command_id=str(uuid4()),
            client_account_id=self.account,
            engagement_id=self.engagement,
            user_id="maria",
            correlation_id="c-1",
        )
        answer = await self.side.committer.submit(command, envelope)
        assert answer.error is None, answer
        return answer

    async def begin(self, name: str = "Estate", **options: Any) -> UUID:
        """A discovery flow whose first phase runs."""
        flow_id = uuid4()
        await self.ask(
            CreateFlow(
                flow_id=flow_id,
                flow_type="discovery",
                flow_name=name,
                flow_description="all of it",
                initial_data={"import_file_id": "f1"},
                options=CreateOptions(auto_execute=True, **options),
            )
        )
        return flow_id

    async def complete(self, flow_id: UUID, outputs: Json | None = None) -> Answer:
        """End the running phase; the next one starts with it."""
        run = (await self.side.store.flow(flow_id)).run
        assert run is not None
        done = CompletePhase(
            flow_id=flow_id, run_id=run.run_id, token=run.token, outputs=outputs or {"rows": 3}, execution_time_ms=7
        )
        return await self.ask(done)

    async def finish(self, flow_id: UUID) -> Flow:
        """Complete phase after phase."""
        while (await self.side.store.flow(flow_id)).run is not None:
            await self.complete(flow_id)
        return await self.side.store.flow(flow_id)

    async def told(self, after: int = 0) -> list[Told]:
        """The log, as the store tells it."""
        return [from_store(event) for event in await self.side.store.tail(after, 100_000)]

    async def expected(self, flow_id: UUID) -> Json:
        """The row that the flow's replayed history makes."""
        history = await self.side.store.history(flow_id)
        flow = fold(Flow(id=flow_id), [recorded for _, recorded in history])
        return row(flow, self.side.types) | {"log_position": history[-1][0]}

    async def projected(self, flow_id: UUID) -> Json | None:
        """The row that the read model holds."""
        names = (*COLUMNS, "log_position")
        async with self.side.pool.connection() as connection:
            cursor = await connection.execute(
                f"select {', '.join(names)} from crewai_flow_state_extensions where flow_id = %s", (flow_id,)
            )
            found = await cursor.fetchone()
        return dict(zip(names, found, strict=True)) if found is not None else None

    async def up_to_date(self, *flow_ids: UUID) -> bool:
        for flow_id in flow_ids:
            found = await self.projected(flow_id)
            if found is None or found["version"] != (await self.side.store.flow(flow_id)).version:
                return False
        return True

    async def one(self, statement: str, *parameters: Any) -> Any:
        """The first value of the first row."""
        async with self.side.pool.connection() as connection:
            found = await (await connection.execute(statement, parameters)).fetchone()
        return found[0] if found is not None else None

    async def all(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        async with self.side.pool.connection() as connection:
            return await (await connection.execute(statement, parameters)).fetchall()

    def flows(self) -> Flows:
        """The projection of flows, with a memory of its own."""
        return Flows(self.side.types, partial(remember, self.side.pool, self.side.types))

    def inventory(self) -> Inventory:
        return Inventory(self.side.artifacts)


@asynccontextmanager
async def house_of(config: ServiceConfig) -> AsyncIterator[House]:
    async with write_side(config) as side:
        yield House(side, uuid4(), uuid4())


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    """The write side without Kafka."""
    async with house_of(config_for(database_url)) as opened:
        yield opened


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """A projection's own connection."""
    opened = await connect(database_url)
    yield opened
    await opened.close()


@pytest.fixture
def config(database_url: str, kafka: str, topic_prefix: str) -> ServiceConfig:
    return config_for(database_url, kafka_bootstrap=kafka, topic_prefix=topic_prefix)


@asynccontextmanager
async def running(task: Any) -> AsyncIterator[None]:
    """A service's `run()` for as long as the block lasts."""
    started = asyncio.create_task(task)
    try:
        yield
    finally:
        started.cancel()
        with suppress(asyncio.CancelledError):
            await started


@pytest.fixture
async def told_house(config: ServiceConfig) -> AsyncIterator[House]:
    """The write side with a relay that tells Kafka."""
    async with house_of(config) as opened, running(Relay(config).run()):
        yield opened


@pytest.fixture
def following(config: ServiceConfig) -> Following:
    """Starts members of a projection's group: `async with following(projection) as runner`."""

    @asynccontextmanager
    async def follow(projection: Projection) -> AsyncIterator[Runner]:
        runner = Runner(config, projection)
        async with running(runner.run()):
            yield runner

    return follow
