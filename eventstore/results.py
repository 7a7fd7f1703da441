"""What phases brought that other runs of the same tenant may take: kept by the key of all that it follows from.

A row is written before its run is reported, so it counts only once the flow's history says that the run completed. A row that
is lost, or that nobody can use any more, costs work and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg_pool import AsyncConnectionPool

from domain.commands import Tenant
from domain.events import TOPICS, FlowDeleted, PhaseCompleted
from domain.words import SPILLED
from eventstore.codec import decode_data, split
from eventstore.database import Connection

Json = dict[str, Any]

FORGET_SECONDS = 90 * 86_400.0
MAX_FILES = 1000

KEEP = """
insert into results (client_account_id, engagement_id, key, flow_id, run_id, flow_type, phase_name, outputs, kept_at, used_at)
values (%s, %s, %s, %s, %s, %s, %s, %s, mfo_now(), mfo_now())
on conflict (client_account_id, engagement_id, key) do update
set flow_id = excluded.flow_id, run_id = excluded.run_id, outputs = excluded.outputs, kept_at = excluded.kept_at,
    used_at = excluded.used_at
"""
FIND = """
update results set used_at = mfo_now() where client_account_id = %s and engagement_id = %s and key = %s
returning flow_id, run_id, outputs::text
"""
TOLD = """
select originator_version, topic, state from stored_events
where originator_id = %s and topic = any(%s) order by originator_version desc
"""
HELD = "select count(*) from artifacts where client_account_id = %s and sha256 = any(%s)"
FILES = """
select id, sha256, filename, import_options from imports
where client_account_id = %s and engagement_id = %s and id = any(%s)
"""


class Result(NamedTuple):
    """What a run brought, and where it is told: the version of its PhaseCompleted in the history of its flow."""

    flow_id: UUID
    run_id: UUID
    version: int
    outputs: Json


class Results:
    """The statements about results; every one but the last names the tenant."""

    def __init__(self, pool: AsyncConnectionPool[Connection]) -> None:
        self._pool = pool

    async def keep(
        self, tenant: Tenant, key: bytes, flow_id: UUID, run_id: UUID, *, flow_type: str, phase_name: str, outputs: Json
    ) -> None:
        """Keep what a run is about to be reported with, for others with the same key."""
        written = msgspec.json.encode(outputs).decode()
        who = (tenant.client_account_id, tenant.engagement_id, key)
        async with self._pool.connection() as connection:
            await connection.execute(KEEP, (*who, flow_id, run_id, flow_type, phase_name, written))

    async def find(self, tenant: Tenant, key: bytes) -> Result | None:
        """The result under this key; none where its run has not completed, its flow is deleted or an artifact is gone."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(FIND, (tenant.client_account_id, tenant.engagement_id, key))
            row = await cursor.fetchone()
            if row is None:
                return None
            flow_id, run_id, outputs = row[0], row[1], msgspec.json.decode(row[2])
            version = await self._version(connection, flow_id, run_id)
            if version is None or not await self._held(
                connection, tenant.client_account_id, set(artifacts_in(outputs))
            ):
                return None
        return Result(flow_id, run_id, version, outputs)

    async def _version(self, connection: Connection, flow_id: UUID, run_id: UUID) -> int | None:
        """Where the history of a flow that is not deleted says that the run completed."""
        told = TOPICS[PhaseCompleted], TOPICS[FlowDeleted]
        cursor = await connection.execute(TOLD, (flow_id, list(told)), binary=True)
        for version, topic, state in await cursor.fetchall():
            fact = decode_data(topic, split(state)[1])
            if isinstance(fact, FlowDeleted):
                return None
            if isinstance(fact, PhaseCompleted) and fact.run_id == run_id:
                return int(version)
        return None

    async def _held(self, connection: Connection, account: UUID, wanted: set[bytes]) -> bool:
        if not wanted:
            return True
        row = await (await connection.execute(HELD, (account, list(wanted)))).fetchone()
        return row is not None and row[0] == len(wanted)

    async def files(self, tenant: Tenant, ids: Iterable[UUID]) -> dict[str, Json]:
        """What tells the tenant's uploads among these ids from others: `{sha256, filename, import_options}` by id."""
        wanted = list(ids)
        if not wanted:
            return {}
        async with self._pool.connection() as connection:
            cursor = await connection.execute(FILES, (tenant.client_account_id, tenant.engagement_id, wanted))
            rows = await cursor.fetchall()
        return {
            str(row[0]): {"sha256": bytes(row[1]).hex(), "filename": row[2], "import_options": row[3]} for row in rows
        }

    async def forget(self, seconds: float = FORGET_SECONDS) -> None:
        """Drop what nobody has taken for so long."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "delete from results where used_at < mfo_now() - make_interval(secs => %s)", (seconds,)
            )


def artifacts_in(value: Any) -> Iterator[bytes]:
    """The digests of the artifacts that a JSON value refers to, at any depth."""
    if isinstance(value, dict):
        for name in ("artifact", SPILLED):
            if isinstance(value.get(name), str) and len(value[name]) == 64:
                try:
                    yield bytes.fromhex(value[name])
                except ValueError:
                    continue
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from artifacts_in(inner)
