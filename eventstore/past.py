"""What a flow may know of others: mappings that the client's people approved, and earlier inventories of the engagement."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from domain.commands import Tenant
from domain.flow import Flow, fold
from domain.words import PhaseStatus
from eventstore.database import Connection
from eventstore.results import Results
from eventstore.store import Store

MAX_LEARNED = 5000
INVENTORY_PHASE = "asset_inventory"

# a flow counts once, however many of its files have the field
LEARNED = """
select min(source_field) as source_field, kind, target_field, unit,
       count(distinct flow_id) filter (where status = 'approved') as approvals,
       count(distinct flow_id) filter (where status = 'rejected') as rejections
from import_field_mappings m
where client_account_id = %s and flow_id <> %s and status in ('approved', 'rejected')
  and not exists (select from crewai_flow_state_extensions f where f.flow_id = m.flow_id and f.flow_status = 'deleted')
group by header_key, kind, target_field, unit
order by count(distinct flow_id) desc, header_key, kind, target_field, unit nulls first limit %s
"""
LATEST = """
select flow_id from crewai_flow_state_extensions
where client_account_id = %s and engagement_id = %s and flow_type = 'discovery' and flow_id <> %s
  and flow_status <> 'deleted' and phase_results -> 'asset_inventory' ->> 'status' = 'success'
order by phase_execution_times -> 'asset_inventory' ->> 'completed_at' desc, flow_id limit 1
"""


class Past:
    """Questions about other flows; every one names the tenant that asks."""

    def __init__(self, pool: AsyncConnectionPool[Connection], store: Store) -> None:
        self._pool = pool
        self._store = store
        self.results = Results(pool)

    async def learned(self, client_account_id: UUID, flow_id: UUID) -> list[dict[str, Any]]:
        """What people of this client account approved or rejected in other flows than this one that are not deleted.

        `{source_field, kind, target_field, unit, approvals, rejections}`, counted in flows, the most frequent first. It
        is what the read model knows by now; empty where that is.
        """
        async with self._pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(LEARNED, (client_account_id, flow_id, MAX_LEARNED))
            return await cursor.fetchall()

    async def children(self, tenant: Tenant, flow_id: UUID, wanted: Iterable[UUID]) -> dict[UUID, Flow]:
        """Those of the flows that are the tenant's and children of this flow, as their histories tell them."""
        loaded = await self._store.load(wanted)
        return {
            each.flow.id: each.flow
            for each in loaded.values()
            if each.flow.parent_flow_id == flow_id
            and (each.flow.client_account_id, each.flow.engagement_id)
            == (tenant.client_account_id, tenant.engagement_id)
        }

    async def latest_inventory(self, tenant: Tenant, flow_id: UUID) -> UUID | None:
        """The other discovery of the engagement whose inventory was completed last, as far as the read model knows."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(LATEST, (tenant.client_account_id, tenant.engagement_id, flow_id))
            row = await cursor.fetchone()
        return row[0] if row is not None else None

    async def round_of(self, tenant: Tenant, flow_id: UUID, number: int) -> dict[str, dict[str, Any]] | None:
        """The outputs of a former round's phases as the flow's history holds them; none where there is no such round."""
        history = [recorded for _, recorded in await self._store.history(flow_id)]
        flow = fold(Flow(id=flow_id), history)
        if (flow.client_account_id, flow.engagement_id) != (tenant.client_account_id, tenant.engagement_id):
            return None
        for one in flow.rounds:
            if one.number == number and one.last_version is not None:
                then = fold(Flow(id=flow_id), history[: one.last_version])
                return {phase.name: dict(phase.outputs) for phase in then.phases if phase.outputs}
        return None

    async def inventory_of(self, tenant: Tenant, flow_id: UUID) -> dict[str, Any] | None:
        """The outputs of a flow's inventory as its history holds them; none where the tenant has no such flow or inventory."""
        flow: Flow = await self._store.flow(flow_id)
        if (flow.client_account_id, flow.engagement_id) != (tenant.client_account_id, tenant.engagement_id):
            return None
        done = [
            phase for phase in flow.phases if phase.name == INVENTORY_PHASE and phase.status is PhaseStatus.COMPLETED
        ]
        return dict(done[0].outputs) if done and flow.deletion is None else None
