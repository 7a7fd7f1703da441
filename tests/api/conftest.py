"""The service on a real PostgreSQL, with a client that speaks as one tenant, and the parts that other services play."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from api.app import create_app
from api.asking import Service
from domain.commands import Command, CompletePhase, Envelope, FailPhase, RequestInput
from domain.flow import Run
from eventstore.committer import Answer
from eventstore.service import ServiceConfig, WriteSide
from projections.app import projections
from projections.told import from_store
from tests.stack import Stack

Json = dict[str, Any]

REACHED = """
insert into projections (name, version, state, position, updated_at) values (%s, 1, 'live', %s, mfo_now())
on conflict (name) do update set position = greatest(projections.position, excluded.position), updated_at = mfo_now()
"""


def config_for(database_url: str, **settings: Any) -> ServiceConfig:
    """Settings of a service that finds no Kafka."""
    given = {"kafka_bootstrap": "127.0.0.1:1", "master_key": bytes(range(32)), **settings}
    return ServiceConfig(database_url=database_url, **given)


def new_tenant(user: str = "maria@example.com") -> dict[str, str]:
    """Headers of a tenant that nobody else is."""
    return {"X-Client-Account-ID": str(uuid4()), "X-Engagement-ID": str(uuid4()), "X-User-ID": user}


@dataclass
class Api:
    """The running service and a client of it; every test is a tenant of its own."""

    app: FastAPI
    client: httpx.AsyncClient
    tenant: dict[str, str] = field(default_factory=new_tenant)

    @property
    def service(self) -> Service:
        service: Service = self.app.state.service
        return service

    @property
    def side(self) -> WriteSide:
        return self.service.side

    @property
    def account(self) -> UUID:
        return UUID(self.tenant["X-Client-Account-ID"])

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A call under /api/v1 as this tenant; `headers` are added to the tenant's."""
        headers = {**self.tenant, **options.pop("headers", {})}
        return await self.client.request(method, f"/api/v1{path}", headers=headers, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.ask("GET", path, **options)

    async def shown(self, path: str, document: type[BaseModel]) -> Json:
        """What a GET is answered, which must be such a document."""
        answer = await self.get(path)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        document.model_validate(found)
        return found

    async def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        if body is not None:
            options["json"] = body
        return await self.ask("POST", path, **options)

    async def made(self, project: bool = True, **body: Any) -> Json:
        """A new discovery flow, and its row in the read model."""
        wanted = {"flow_type": "discovery", "flow_name": "Estate", "initial_data": {"import_file_id": "f1"}, **body}
        response = await self.post("/flows", wanted)
        assert response.status_code == 201, response.text
        flow: Json = response.json()
        if project:
            await self.project(flow["flow_id"])
        return flow

    async def project(self, flow_id: str | UUID) -> int:
        """What the projections do with a flow's events so far; answers the flow's version."""
        events = [
            from_store(event) for event in await self.side.store.tail(0, 100_000) if str(event.flow_id) == str(flow_id)
        ]
        async with self.side.pool.connection() as connection:
            for projection in projections(self.side.pool, self.side.types).values():
                wanted = projection.topics
                async with connection.transaction():
                    applied = await projection.apply(
                        connection, [e for e in events if wanted is None or e.topic in wanted]
                    )
                    assert not applied.parked, applied.parked
                    await connection.execute(REACHED, (projection.name, events[-1].position))
                    await connection.execute("select pg_notify('mfo_projected', %s)", (projection.name,))
        return events[-1].version

    async def logged(self, command_id: str) -> list[tuple[str, str, str | None]]:
        """What the command log says of this id: command, outcome and the code of the refusal, the oldest first."""
        async with self.side.pool.connection() as connection:
            cursor = await connection.execute(
                "select command, outcome, error::json ->> 'code' from command_log"
                " where client_account_id = %s and command_id = %s order by n",
                (self.account, command_id),
            )
            return await cursor.fetchall()

    async def work(self, command: Command) -> Answer:
        """What a worker says about a run."""
        envelope = Envelope(
            command_id=str(uuid4()),
            client_account_id=self.account,
            engagement_id=UUID(self.tenant["X-Engagement-ID"]),
            user_id="worker",
            correlation_id="work",
            source="worker",
        )
        answer = await self.side.committer.submit(command, envelope)
        assert answer.error is None, answer
        return answer

    async def run_of(self, flow_id: str) -> Run:
        run = (await self.side.store.flow(UUID(flow_id))).run
        assert run is not None
        return run

    async def complete(self, flow_id: str, **outputs: Any) -> Answer:
        run = await self.run_of(flow_id)
        done = CompletePhase(
            flow_id=UUID(flow_id), run_id=run.run_id, token=run.token, outputs=outputs, execution_time_ms=7
        )
        return await self.work(done)

    async def fail(self, flow_id: str, error: Json) -> Answer:
        run = await self.run_of(flow_id)
        return await self.work(FailPhase(flow_id=UUID(flow_id), run_id=run.run_id, token=run.token, error=error))

    async def want(self, flow_id: str, fields: tuple[str, ...], suggestions: Json) -> Answer:
        run = await self.run_of(flow_id)
        asked = RequestInput(
            flow_id=UUID(flow_id),
            run_id=run.run_id,
            token=run.token,
            fields=fields,
            message="?",
            suggestions=suggestions,
        )
        return await self.work(asked)


@asynccontextmanager
async def started(config: ServiceConfig) -> AsyncIterator[Api]:
    """The service for as long as the block lasts."""
    app = create_app(config)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            yield Api(app, client)


@pytest.fixture(scope="session")
def shared_database_url(stack: Stack) -> Iterator[str]:
    """One database for all tests that are content with a tenant of their own."""
    with stack.database(migrated=True) as url:
        yield url


@pytest.fixture
async def api(shared_database_url: str) -> AsyncIterator[Api]:
    async with started(config_for(shared_database_url)) as running:
        yield running


@pytest.fixture(scope="session")
def api_document() -> Json:
    """The OpenAPI document."""
    document: Json = create_app(config_for("postgresql://nobody@127.0.0.1:1/none")).openapi()
    return document


@pytest.fixture
def key() -> str:
    return f"key-{secrets.token_hex(6)}"


def problem(response: httpx.Response, status: int, code: str) -> Json:
    """The problem in an answer that must be one."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: Json = response.json()
    assert body["status"] == status
    assert body["code"] == code, body
    assert body["type"] == f"urn:mfo:error:{code}"
    assert body["title"]
    assert body["detail"]
    assert body["correlation_id"] == response.headers["x-correlation-id"]
    return body
