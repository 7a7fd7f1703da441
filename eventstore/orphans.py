"""What belongs to a flow and does not fit its history: rows of flows that have none, and rows that say something else.

A tenant's own alone; every statement names it. Nothing here changes history: that is for commands.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg.rows import dict_row

from domain.errors import TypeUnknown
from domain.events import FlowImported, ImportedPhase, Origin
from domain.flow import Flow
from domain.flow_types import FlowTypeConfig, FlowTypes, placeholder
from domain.view import COLUMNS, row
from domain.words import PhaseStatus, Status
from eventstore.database import Connection

Json = dict[str, Any]

FLOWS = "crewai_flow_state_extensions"
ADOPT, LINK_ASSETS, LINK_IMPORT, REWRITE = "link_discovery_flow", "link_assets", "link_data_import", "rewrite_row"
PERSISTENCE, CONTEXT, REPLAY, TIMESTAMP = "persistence", "context", "replay", "timestamp"
ACCEPTED_ABOVE = 0.5
"""How sure it has to be that rows belong to a flow."""
SURE_OF_IMPORT, SURE_BY_TIME = 0.7, 0.8
YOUNG = "2 hours"
UPLOADED = "48 hours"
NEAR = "24 hours"
MOST_NEAR = 5

# rows without a history, what phases found for a flow that is not there, uploads that no flow has taken (whichever did has
# changed since), rows that are not at their flow's version
ORPHANS = """
with mine as (select * from crewai_flow_state_extensions
         where client_account_id = %(client)s and engagement_id = %(engagement)s and {one}),
found as (
    select flow_id, sum(assets) as assets, sum(dependencies) as dependencies, sum(issues) as issues,
           array_agg(distinct phase_name) as phases
    from (
        select flow_id, phase_name, count(*) as assets, 0 as dependencies, 0 as issues from assets
        where client_account_id = %(client)s and engagement_id = %(engagement)s and {one} group by 1, 2
        union all
        select flow_id, phase_name, 0, count(*), 0 from dependencies
        where client_account_id = %(client)s and engagement_id = %(engagement)s and {one} group by 1, 2
        union all
        select flow_id, phase_name, 0, 0, count(*) from issues
        where client_account_id = %(client)s and engagement_id = %(engagement)s and {one} group by 1, 2
    ) rows group by flow_id
),
orphans as (
    select m.flow_id, 'row' as kind, m.version as row_version, null::bigint as flow_version from mine m
    where not exists (select from heads h where h.id = m.flow_id) and {one}
    union all
    select f.flow_id, 'assets', null, null from found f
    where not exists (select from heads h where h.id = f.flow_id) and not exists (select from mine m where m.flow_id = f.flow_id)
    union all
    select i.id, 'import', null, null from imports i
    where i.client_account_id = %(client)s and i.engagement_id = %(engagement)s and {upload}
      and i.created_at > mfo_now() - interval '{uploaded}' and not exists (select from heads h where h.id = i.id)
      and i.id::text not in (
        select file from crewai_flow_state_extensions r, lateral (
            select r.flow_state -> 'inputs' ->> 'import_file_id' as file
            union all
            select jsonb_array_elements_text(case when jsonb_typeof(r.flow_state -> 'inputs' -> 'import_file_ids') = 'array'
                                             then r.flow_state -> 'inputs' -> 'import_file_ids' else '[]' end)
        ) files
        where r.client_account_id = %(client)s and r.engagement_id = %(engagement)s
          and r.updated_at > mfo_now() - interval '{uploaded}' and file is not null)
    union all
    select h.id, 'disagreement', m.version, h.version from heads h
    join stored_events e on e.originator_id = h.id and e.originator_version = h.version
    left join mine m on m.flow_id = h.id
    where h.client_account_id = %(client)s and h.engagement_id = %(engagement)s and {head}
      and starts_with(e.topic, 'mfo.flow.') and m.version is distinct from h.version
      and (m.version > h.version or e.notification_id <= (select position from projections where name = 'crewai_flow_state_extensions'))
)
select o.*, count(*) over () as total, m.flow_name, m.flow_type, m.flow_status,
    coalesce(m.created_at, u.created_at) as created_at, m.updated_at,
    coalesce(f.assets, 0)::int as assets, coalesce(f.dependencies, 0)::int as dependencies, coalesce(f.issues, 0)::int as issues,
    coalesce(f.phases, array[]::text[]) as phases,
    exists (select from imports i where i.client_account_id = %(client)s and i.engagement_id = %(engagement)s
            and i.state = 'readable') as import_completed,
    coalesce(m.created_at > mfo_now() - interval '{young}', false) as young
from orphans o left join mine m using (flow_id) left join found f using (flow_id)
left join imports u on o.kind = 'import' and u.id = o.flow_id
{tail}
"""
PAGED = "where %(after)s::uuid is null or o.flow_id > %(after)s order by o.flow_id limit %(limit)s"
NEWEST = f"""
where o.kind in ('row', 'import') and coalesce(m.created_at, u.created_at) > mfo_now() - interval '{NEAR}'
order by coalesce(m.created_at, u.created_at) desc limit %(limit)s
"""
OF_ALL = {"one": "true", "upload": "true", "young": YOUNG, "uploaded": UPLOADED}
EVERY = ORPHANS.format(**OF_ALL, head="true", tail=PAGED)
LATELY = ORPHANS.format(**OF_ALL, head="false", tail=NEWEST)
OF_ONE = ORPHANS.format(
    one="flow_id = %(flow)s",
    head="h.id = %(flow)s",
    upload="i.id = %(flow)s",
    young=YOUNG,
    uploaded=UPLOADED,
    tail=PAGED,
)

TABLE = "select version from projections where name = 'crewai_flow_state_extensions'"
HEADS = """
select h.id from heads h where client_account_id = %(client)s and engagement_id = %(engagement)s
and exists (select from stored_events e where e.originator_id = h.id and e.originator_version = 1 and starts_with(e.topic, 'mfo.flow.'))
and (%(after)s::uuid is null or h.id > %(after)s) order by h.id limit %(limit)s
"""
TOTAL = """
select count(*) from heads h where client_account_id = %(client)s and engagement_id = %(engagement)s
and exists (select from stored_events e where e.originator_id = h.id and e.originator_version = 1 and starts_with(e.topic, 'mfo.flow.'))
"""


async def orphans(
    connection: Connection,
    client: UUID,
    engagement: UUID,
    *,
    flow: UUID | None = None,
    after: UUID | None = None,
    limit: int,
) -> tuple[list[Json], int]:
    """What is found in the order of the flows' ids, at most `limit`, and how much there is from `after` on:
    `{flow_id, kind, method, confidence, repair, data_sources[], ...}` each."""
    values = {"client": client, "engagement": engagement, "flow": flow, "after": after, "limit": limit}
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(EVERY if flow is None else OF_ONE, values)
        rows = await cursor.fetchall()
    return [_told(one) for one in rows], int(rows[0]["total"]) if rows else 0


async def near(connection: Connection, client: UUID, engagement: UUID) -> list[Json]:
    """What has no history and is of the last 24 hours, the newest five: what an id may be about of which nothing is known."""
    values = {"client": client, "engagement": engagement, "limit": MOST_NEAR}
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(LATELY, values)
        found = [_told(row) for row in await cursor.fetchall()]
    return [
        one | {"method": TIMESTAMP, "confidence": min(one["confidence"], SURE_BY_TIME), "accepted": True}
        for one in found
    ]


def _told(found: Json) -> Json:
    kind = found["kind"]
    items = {name: found[name] for name in ("assets", "dependencies", "issues") if found[name]}
    sources: list[Json] = [{"type": name, "rows": n} for name, n in items.items()]
    if kind == "assets":
        method, repair = CONTEXT, LINK_ASSETS
        # a phase of a discovery wrote them; what a flow writes beside them makes it surer
        confidence = 0.3 * bool(found["assets"]) + 0.4 * bool(found["phases"])
        confidence += 0.2 * bool(found["import_completed"]) + 0.1 * bool(found["young"])
    elif kind == "import":
        sources.insert(0, {"type": "data_import", "rows": 1})
        method, repair, confidence = TIMESTAMP, LINK_IMPORT, SURE_OF_IMPORT
    else:
        sources.insert(0, {"type": "discovery_flow", "rows": 1})
        method, repair, confidence = (PERSISTENCE, ADOPT, 0.9) if kind == "row" else (REPLAY, REWRITE, 1.0)
    return {
        "flow_id": found["flow_id"],
        "kind": kind,
        "method": method,
        "confidence": round(confidence, 2),
        "accepted": confidence > ACCEPTED_ABOVE,
        "repair": repair,
        "data_sources": sources,
        "affected_items": sum(items.values()) + (kind != "assets"),
        "flow_name": found["flow_name"],
        "flow_type": found["flow_type"],
        "flow_status": found["flow_status"],
        "row_version": found["row_version"],
        "flow_version": found["flow_version"],
        "phases": sorted(found["phases"]),
        "created_at": found["created_at"],
        "updated_at": found["updated_at"],
    }


async def shown_row(connection: Connection, client: UUID, engagement: UUID, flow_id: UUID) -> Json | None:
    """The flow's row in the read model, none where the tenant has none."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            f"select {', '.join(COLUMNS)} from {FLOWS}"
            " where flow_id = %s and client_account_id = %s and engagement_id = %s",
            (flow_id, client, engagement),
        )
        found = await cursor.fetchone()
    return _in_utc(found) if found is not None else None


async def doubt(connection: Connection, client: UUID, engagement: UUID, flow_id: UUID) -> None:
    """Let the read model take its row of the flow for older than any history, so that the next event writes it anew."""
    version = await (await connection.execute(TABLE)).fetchone()
    table = f"flow_state_extensions_v{int(version[0]) if version else 1}"
    await connection.execute(
        f"update {table} set version = 0 where flow_id = %s and client_account_id = %s and engagement_id = %s",
        (flow_id, client, engagement),
    )


def adopted(shown: Json, types: FlowTypes, origin: Origin) -> tuple[FlowImported, FlowTypeConfig]:
    """The flow that a row of the read model tells, as it can be taken over, and its definition: work in hand is lost."""
    phases = {phase["name"]: phase for phase in shown["phases"]}
    config = _definition(types, shown["flow_type"], shown["flow_version"], phases)
    told = tuple(_phase(phase.name, phase.weight, phases.get(phase.name, {})) for phase in config.phases)
    status = Status(shown["flow_status"])
    if status in (Status.PROCESSING, Status.WAITING_FOR_INPUT, Status.INITIALIZED):
        begun = any(phase.status != PhaseStatus.PENDING for phase in told)
        status = Status.WAITING_FOR_INPUT if begun else Status.INITIALIZED
    configuration, metadata = shown["flow_configuration"], shown["flow_metadata"]
    fact = FlowImported(
        flow_type=config.name,
        flow_version=config.version,
        flow_name=shown["flow_name"] or repaired_name(shown["flow_id"]),
        phases=told,
        status=str(status),
        origin=origin,
        created_at=shown["created_at"],
        updated_at=shown["updated_at"],
        created_by=shown["created_by"] or shown["user_id"],
        updated_by=shown["updated_by"] or shown["user_id"],
        completed_at=shown["updated_at"] if status is Status.COMPLETED else None,
        flow_description=shown["flow_description"],
        flow_tags=tuple(shown["flow_tags"]),
        initial_data=shown["flow_state"].get("inputs") or configuration.get("initial_data") or {},
        options=configuration.get("options") or {},
        iteration_number=shown["iteration_number"],
        retry_count=shown["retry_count"],
        error=metadata.get("error"),
        errors=tuple(shown["error_log"]),
        transitions=tuple(shown["phase_transitions"]),
        deletion=shown["deletion_metadata"],
        former={
            "flow_status": shown["flow_status"],
            **{name: shown[name] for name in ("agent_insights", "learning_patterns") if shown[name]},
        },
    )
    return fact, config


def linked(found: Json, types: FlowTypes, origin: Origin, by: str, at: datetime) -> tuple[FlowImported, FlowTypeConfig]:
    """A discovery flow for rows that a phase of one had found, done up to the last such phase; or for an upload, which it has
    still to read."""
    config = types.get("discovery")
    names = [phase.name for phase in config.phases]
    last = max((names.index(name) for name in found["phases"] if name in names), default=-1)
    status = Status.COMPLETED if last == len(names) - 1 else Status.WAITING_FOR_INPUT
    of_import = found["kind"] == "import"
    fact = FlowImported(
        flow_type=config.name,
        flow_version=config.version,
        flow_name=repaired_name(found["flow_id"]),
        phases=tuple(
            ImportedPhase(name=phase.name, weight=phase.weight, status="completed" if n <= last else "pending")
            for n, phase in enumerate(config.phases)
        ),
        status=str(Status.INITIALIZED if of_import else status),
        origin=origin,
        created_at=at,
        updated_at=at,
        created_by=by,
        updated_by=by,
        completed_at=at if last == len(names) - 1 else None,
        initial_data={"import_file_id": str(found["flow_id"])} if of_import else {},
        former={"created_via": "repair_service"},
    )
    return fact, config


def repaired_name(flow_id: UUID) -> str:
    """What a flow is called whose own name nobody knows."""
    return f"Repaired Flow {str(flow_id)[:8]}"


def _definition(types: FlowTypes, name: str, version: str, phases: Json) -> FlowTypeConfig:
    if types.knows(name, version):
        return types.version(name, version)
    try:
        return types.get(name)
    except TypeUnknown:
        return placeholder(name, phases or ("unknown",))


def _phase(name: str, weight: float, shown: Json) -> ImportedPhase:
    status = shown.get("status", "pending")
    at_rest = status in ("completed", "skipped", "failed")
    times = {at: datetime.fromisoformat(shown[at]) for at in ("started_at", "completed_at") if shown.get(at)}
    return ImportedPhase(
        name=name,
        weight=weight,
        status=status if at_rest else "pending",
        **(times if at_rest else {}),
        execution_time_ms=int(shown.get("execution_time_ms") or 0),
        outputs=(shown.get("outputs") or {}) if at_rest else {},
        error=shown.get("error") if status == "failed" else None,
    )


async def heads(
    connection: Connection, client: UUID, engagement: UUID, *, after: UUID | None, limit: int
) -> tuple[list[UUID], int]:
    """The ids of the tenant's flows, in order, and how many it has in all."""
    values = {"client": client, "engagement": engagement, "after": after, "limit": limit}
    found = await (await connection.execute(HEADS, values)).fetchall()
    total = await (await connection.execute(TOTAL, values)).fetchone()
    return [each[0] for each in found], int(total[0]) if total else 0


async def shown_rows(
    connection: Connection, client: UUID, engagement: UUID, flow_ids: Sequence[UUID]
) -> dict[UUID, Json]:
    """The rows of these flows in the read model, by id."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            f"select {', '.join(COLUMNS)} from {FLOWS}"
            " where flow_id = any(%s) and client_account_id = %s and engagement_id = %s",
            (list(flow_ids), client, engagement),
        )
        return {each["flow_id"]: _in_utc(each) for each in await cursor.fetchall()}


def differing(flow: Flow, shown: Json, types: FlowTypes) -> list[str]:
    """The columns of a row that are not what the flow's history tells."""
    return [name for name, value in row(flow, types).items() if _plain(value) != _plain(shown[name])]


def _in_utc(found: Json) -> Json:
    return {name: value.astimezone(UTC) if isinstance(value, datetime) else value for name, value in found.items()}


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    return msgspec.json.decode(msgspec.json.encode(value))
