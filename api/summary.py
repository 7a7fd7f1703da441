"""A flow and all flows under it, added up: how they stand, what they found, and how good that is."""

from __future__ import annotations

from asyncio import gather
from collections import Counter
from typing import Any

from fastapi import APIRouter
from psycopg import sql
from starlette.responses import Response

from api.answers import Json
from api.asking import DOOR, Asking, OfFlow
from api.found import PROJECTION
from api.openapi import answers
from api.reading import AsReadMany, Read, flow_row, list_is_due
from api.rows import FLOWS, MAX_BELOW, OF_TENANT, Row
from api.summary_documents import FlowSummary

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["flows"])

COUNTED = sql.SQL(
    "select {column} as name, count(*) as n from {table} where {mine} and flow_id = any(%(flows)s) group by 1"
)
# quality is what a phase says of itself: `quality.overall` of its outputs, 0 to 100
PHASES = sql.SQL(
    """
    select f.flow_type, p.phase ->> 'name' as phase_name, p.phase ->> 'status' as status, count(*) as n,
           avg(case when jsonb_typeof(o.quality) = 'number' then o.quality::float8 end) as quality
    from {flows} f cross join lateral jsonb_array_elements(f.phases) as p (phase)
    cross join lateral (select f.flow_state #> array['outputs', p.phase ->> 'name', 'quality', 'overall'] as quality) o
    where {mine} and f.flow_id = any(%(flows)s) group by 1, 2, 3 order by 1, 2, 3
    """
).format(flows=sql.Identifier(FLOWS), mine=OF_TENANT)


@router.get(
    "/flows/{flow_id}/summary",
    summary="A flow and all flows under it, added up",
    responses=answers(200, FlowSummary, 400, 404, 422, 503, 504),
)
async def flow_summary(
    *,
    asking: Asking,
    wanted: OfFlow,
    how: AsReadMany,
) -> Response:
    """Flows by type and status, assets by type, dependencies, issues by severity, and phases with the quality of their results.

    `consistency=strong` waits until the read models have all that has happened.
    """
    for projection in (FLOWS, PROJECTION):
        await list_is_due(asking, projection, how)
    row = await flow_row(asking, wanted, Read(wait_ms=how.wait_ms))
    below = await asking.rows.below(wanted.flow_id)
    flows = [row, *below[:MAX_BELOW]]
    values = {"flows": [flow["flow_id"] for flow in flows]}

    async def counted(table: str, column: sql.Composable) -> dict[str, int]:
        statement = COUNTED.format(table=sql.Identifier(table), column=column, mine=OF_TENANT)
        return {found["name"]: found["n"] for found in await asking.rows.asked(statement, values)}

    assets, dependencies, issues, phases = await gather(
        counted("assets", sql.SQL("coalesce(asset_type, 'other')")),
        counted("dependencies", sql.SQL("''")),
        counted("issues", sql.SQL("coalesce(severity, 'info')")),
        asking.rows.asked(PHASES, values),
    )
    return Json(
        {
            "flow_id": row["flow_id"],
            "flow_name": row["flow_name"],
            "flow_type": row["flow_type"],
            "status": row["flow_status"],
            "flows": len(flows),
            "flow_types": Counter(flow["flow_type"] for flow in flows),
            "statuses": Counter(flow["flow_status"] for flow in flows),
            "total_assets": sum(assets.values()),
            "asset_types": assets,
            "total_dependencies": sum(dependencies.values()),
            "issues": issues,
            "phases": _by_phase(phases),
            "truncated": len(below) > MAX_BELOW,
        }
    )


def _by_phase(rows: list[Row]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        named = (row["flow_type"], row["phase_name"])
        shown = found.setdefault(
            named, {"flow_type": named[0], "phase_name": named[1], "statuses": {}, "quality": None}
        )
        shown["statuses"][row["status"]] = row["n"]
        if row["quality"] is not None:
            shown["quality"] = round(row["quality"], 1)
    return list(found.values())
