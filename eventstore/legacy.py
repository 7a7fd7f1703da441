"""Imports of an older system's flows, as rows: what was planned, what became of it, and by whom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from domain.errors import MfoError
from domain.flow_types import FlowTypeConfig, FlowTypes
from eventstore.database import Connection

Json = dict[str, Any]

PLANNED, IMPORTED, THERE, REFUSED, UNDONE = "planned", "imported", "there", "refused", "undone"

BEGIN = """
insert into legacy_imports (import_id, source, user_id, started_at, document) values (%s, %s, %s, mfo_now(), %s)
on conflict (import_id) do update set undone_at = null, finished_at = null, document = excluded.document
"""
PLAN = """
insert into legacy_import_flows (import_id, flow_id, client_account_id, engagement_id, sha256)
select %s, f.* from unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::text[]) as f on conflict do nothing
"""
NOTE = """
update legacy_import_flows i set outcome = n.outcome, version = coalesce(n.version, i.version), detail = n.detail
from unnest(%s::uuid[], %s::text[], %s::bigint[], %s::text[]) as n (flow_id, outcome, version, detail)
where i.import_id = %s and i.flow_id = n.flow_id
"""
# which of these flows a former import had taken over and given back
GIVEN_BACK = """
select distinct flow_id from legacy_import_flows f where flow_id = any(%s::uuid[]) and outcome = 'undone'
and not exists (select from legacy_import_flows o where o.flow_id = f.flow_id and o.outcome = 'imported')
"""
# that a flow under it came to its end is no work of anybody
WORKED_ON = """
select distinct e.originator_id from unnest(%s::uuid[], %s::bigint[]) as n (flow_id, version)
join stored_events e on e.originator_id = n.flow_id and e.originator_version > n.version
where e.topic <> 'mfo.flow.ChildEnded.v1'
"""
LIST = """
select i.import_id, i.source, i.user_id, i.started_at, i.finished_at, i.undone_at, i.document,
       count(f.flow_id) as flows, count(f.flow_id) filter (where f.outcome = 'imported') as imported,
       count(f.flow_id) filter (where f.outcome = 'planned') as planned,
       count(f.flow_id) filter (where f.outcome = 'refused') as refused,
       count(f.flow_id) filter (where f.outcome = 'undone') as undone
from legacy_imports i left join legacy_import_flows f using (import_id)
group by i.import_id order by i.started_at
"""
KEEP_TYPE = """
insert into flow_types (name, version, sha256, definition, first_seen_at) values (%s, %s, %s, %s, mfo_now())
on conflict do nothing
"""


class LegacyImportNotFound(MfoError):
    """There is no such import; `mfo legacy imports` lists them."""

    code = "legacy_import_not_found"
    status = 404


class Noted(NamedTuple):
    """What became of a flow of an import; `version` is the flow's then, none where it stays as it was."""

    flow_id: UUID
    outcome: str
    version: int | None = None
    detail: str | None = None


class Taken(NamedTuple):
    """A flow of an import as it is noted."""

    flow_id: UUID
    client_account_id: UUID
    engagement_id: UUID
    outcome: str
    version: int | None


class LegacyImports:
    """The rows of all imports."""

    def __init__(self, pool: AsyncConnectionPool[Connection]) -> None:
        self._pool = pool

    async def begin(
        self, import_id: UUID, source: str, user_id: str, document: Json, flows: Sequence[tuple[UUID, UUID, UUID, str]]
    ) -> None:
        """Note what is to be taken over, before any of it is: `flows` are (flow, client account, engagement, sha256)."""
        columns = list(zip(*flows, strict=True)) or [(), (), (), ()]
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(BEGIN, (import_id, source, user_id, Jsonb(document)))
            await connection.execute(PLAN, (import_id, *(list(column) for column in columns)))

    async def note(self, import_id: UUID, noted: Sequence[Noted]) -> None:
        columns = list(zip(*noted, strict=True)) or [(), (), (), ()]
        async with self._pool.connection() as connection:
            await connection.execute(NOTE, (*(list(column) for column in columns), import_id))

    async def end(self, import_id: UUID, document: Json, *, undone: bool = False) -> None:
        column = "undone_at = mfo_now()" if undone else "finished_at = mfo_now()"
        async with self._pool.connection() as connection:
            await connection.execute(
                f"update legacy_imports set {column}, document = document || %s where import_id = %s",
                (Jsonb(document), import_id),
            )

    async def flows(self, import_id: UUID) -> list[Taken]:
        """The flows of an import, by id; raises LegacyImportNotFound."""
        async with self._pool.connection() as connection:
            known = await connection.execute("select from legacy_imports where import_id = %s", (import_id,))
            if await known.fetchone() is None:
                raise LegacyImportNotFound
            cursor = await connection.execute(
                "select flow_id, client_account_id, engagement_id, outcome, version from legacy_import_flows"
                " where import_id = %s order by flow_id",
                (import_id,),
            )
            return [Taken(*row) for row in await cursor.fetchall()]

    async def given_back(self, flow_ids: Iterable[UUID]) -> set[UUID]:
        """Those of the flows whose last import was undone."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(GIVEN_BACK, (list(flow_ids),))
            return {row[0] for row in await cursor.fetchall()}

    async def worked_on(self, taken: Iterable[Taken]) -> set[UUID]:
        """Those of the flows that something was done with since they were taken over."""
        known = [(one.flow_id, one.version) for one in taken]
        async with self._pool.connection() as connection:
            cursor = await connection.execute(WORKED_ON, ([each[0] for each in known], [each[1] for each in known]))
            return {row[0] for row in await cursor.fetchall()}

    async def list(self) -> list[Json]:
        """Every import with its counts, the oldest first."""
        async with self._pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(LIST)
            return await cursor.fetchall()


async def keep_types(
    pool: AsyncConnectionPool[Connection], types: FlowTypes, configs: Iterable[FlowTypeConfig]
) -> None:
    """Have the store and this process know definitions that nobody registers."""
    async with pool.connection() as connection:
        for config in configs:
            types.remember(config)
            await connection.execute(
                KEEP_TYPE, (config.name, config.version, config.digest(), Jsonb(msgspec.to_builtins(config)))
            )
