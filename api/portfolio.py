"""The flows that are not over: what they wait for, which of them decide the end, and when that should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.analytics_documents import Portfolio
from api.answers import Json
from api.asking import DOOR, Asking, Caller
from api.flows import types_asked
from api.openapi import answers
from api.reading import AsReadMany, list_is_due, words
from api.rows import FLOWS, Row
from api.sums import ANALYTICS, OF_TENANT, Sums
from domain.forecast import AT_LEAST, Past, back_tested, critical_path, finishes, medians, whole
from domain.graph import at_once
from domain.relations import AT_REST, Dependency
from domain.words import Status

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["analytics"])

PAST_FLOWS = 200
DONE = frozenset({"completed", "skipped"})
IN_HAND = frozenset({"running", "waiting"})

LIVE = f"""
select flow_id from analytics_flows
where {OF_TENANT} and ended_at is null and (%(types)s::text[] is null or flow_type = any(%(types)s))
order by created_at, flow_id limit %(limit)s
"""
# the outputs of phases are large, and nothing is asked of them
SHOWN = f"""
select flow_id, flow_name, flow_type, flow_version, flow_status, current_phase, progress_percentage, parent_flow_id,
       input_request ->> 'requested_at' as asked_at, input_request ->> 'message' as asked, next_action,
       flow_metadata -> 'paused' as paused, flow_metadata -> 'dependencies' as dependencies,
       flow_configuration #>> '{{options,on_dependency_failure}}' = 'ignore' as ignores,
       (select coalesce(jsonb_agg(jsonb_build_object('name', p ->> 'name', 'status', p ->> 'status',
                                                     'started_at', p ->> 'started_at')), '[]')
        from jsonb_array_elements(phases) p) as phases
from {FLOWS} where {OF_TENANT} and flow_id = any(%(ids)s) order by created_at, flow_id
"""
PAST = f"""
select f.flow_type, f.created_at, f.ended_at, p.phases
from unnest(%(types)s::text[]) as t (name)
cross join lateral (select * from analytics_flows where {OF_TENANT} and flow_type = t.name and flow_status = 'completed'
                    order by ended_at desc limit %(past)s) f
cross join lateral (select jsonb_object_agg(x.s ->> 1, (x.s ->> 5)::float8 / (x.s ->> 2)::float8 / 1000) as phases
                    from jsonb_array_elements(f.shares) as x (s) where x.s ->> 0 = 'phase' and (x.s ->> 2)::int > 0) p
where p.phases is not null
"""


@router.get("/portfolio", summary="The flows that are not over", responses=answers(200, Portfolio, 400, 422, 503, 504))
async def portfolio(
    *,
    asking: Asking,
    flow_type: Annotated[str | None, Query(max_length=1000, description="Comma list of flow types.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many flows at most, the oldest first.")] = 200,
    how: AsReadMany,
) -> Response:
    """Dependencies between flows, what each waits for, the critical path, and a forecast of the finish with its error on past
    flows."""
    types = await types_asked(asking, words(flow_type))
    for projection in (ANALYTICS, FLOWS):
        await list_is_due(asking, projection, how)
    told = Sums(asking.side, asking.tenant)
    ids = [row["flow_id"] for row in await told.all(LIVE, types=types, limit=limit + 1)]
    rows = await told.all(SHOWN, ids=ids[:limit])
    rows = [row for row in rows if row["flow_status"] not in AT_REST]
    past = _past(await told.all(PAST, types=sorted({row["flow_type"] for row in rows}), past=PAST_FLOWS))
    return Json(_portfolio(asking, rows, past) | {"truncated": len(ids) > limit})


def _portfolio(asking: Caller, rows: Sequence[Row], past: Mapping[str, Sequence[Past]]) -> dict[str, Any]:
    now = asking.side.committer.now()
    usual = {name: medians(flows) if len(flows) >= AT_LEAST else {} for name, flows in past.items()}
    waits = {row["flow_id"]: [each.flow_id for each in _waits(row)] for row in rows}
    left = {row["flow_id"]: _left(asking, row, usual.get(row["flow_type"], {}), now) for row in rows}
    found = finishes({flow_id: seconds for flow_id, (seconds, _) in left.items()}, waits)
    path = critical_path(found)
    critical = set(path)
    return {
        "generated_at": now,
        "flows": [
            {
                "flow_id": row["flow_id"],
                "flow_name": row["flow_name"],
                "flow_type": row["flow_type"],
                "status": row["flow_status"],
                "current_phase": row["current_phase"],
                "progress_percentage": row["progress_percentage"],
                "parent_flow_id": row["parent_flow_id"],
                "depends_on": [each["flow_id"] for each in row["dependencies"] or ()],
                "remaining_seconds": round(left[row["flow_id"]][0], 3),
                "basis": left[row["flow_id"]][1],
                "forecast_finish_at": now + timedelta(seconds=found[row["flow_id"]].seconds),
                "critical": row["flow_id"] in critical,
            }
            for row in rows
        ],
        "gates": [gate for row in rows for gate in _gates(row)],
        "critical_path": {
            "flow_ids": path,
            "seconds": round(found[path[-1]].seconds, 3),
            "finish_at": now + timedelta(seconds=found[path[-1]].seconds),
        }
        if path
        else None,
        "forecast_error": [
            _tested(asking, name, past.get(name, ())) for name in sorted({row["flow_type"] for row in rows})
        ],
    }


def _past(rows: Sequence[Row]) -> dict[str, list[Past]]:
    found: dict[str, list[Past]] = {}
    for row in rows:
        found.setdefault(row["flow_type"], []).append(Past(row["created_at"], row["ended_at"], row["phases"]))
    return found


def _tested(asking: Caller, name: str, flows: Sequence[Past]) -> dict[str, Any]:
    types = asking.side.types
    tested = back_tested(flows, at_once(types.get(name)) if name in types.names() else {})
    return {
        "flow_type": name,
        "past_flows": len(flows),
        "tested_flows": tested.flows if tested else 0,
        "median_error": tested.median_error if tested else None,
        "p90_error": tested.p90_error if tested else None,
        "bias": tested.bias if tested else None,
    }


def _left(asking: Caller, row: Row, usual: Mapping[str, float], now: datetime) -> tuple[float, str]:
    """The seconds that the flow's own phases should take from now on, and what that goes by."""
    types = asking.side.types
    known = types.knows(row["flow_type"], row["flow_version"])
    config = types.version(row["flow_type"], row["flow_version"]) if known else None
    left, bases = {}, set()
    for phase in row["phases"]:
        if phase["status"] in DONE:
            continue
        name = phase["name"]
        bases.add("history" if name in usual else "expected")
        seconds = usual[name] if name in usual else config.phase(name).expected_seconds if config is not None else 0.0
        if phase["status"] in IN_HAND and phase["started_at"]:
            seconds -= (now - datetime.fromisoformat(phase["started_at"])).total_seconds()
        left[name] = max(seconds, 0.0)
    follows = at_once(config) if config is not None else {}
    return whole(left, follows), "mixed" if len(bases) > 1 else next(iter(bases), "expected")


def _waits(row: Row) -> list[Dependency]:
    """The flows that it still waits for."""
    known = [Dependency(flow_id=UUID(each["flow_id"]), status=each.get("status")) for each in row["dependencies"] or ()]
    return [each for each in known if each.holds(ignored=bool(row["ignores"]))]


def _gates(row: Row) -> list[dict[str, Any]]:
    found = [
        _gate(
            row,
            "dependency",
            f"waits for the flow {each.flow_id}" + (f", which is {each.status}" if each.status else ""),
            other=each,
        )
        for each in _waits(row)
    ]
    if row["paused"]:
        reason = row["paused"].get("reason")
        found.append(
            _gate(
                row,
                "pause",
                f"paused by {row['paused']['by']}" + (f": {reason}" if reason else ""),
                row["paused"]["at"],
            )
        )
    if row["asked_at"]:
        found.append(_gate(row, "input", row["asked"] or "waits for an answer", row["asked_at"]))
    elif row["next_action"].get("type") == "execute_phase" and not found:
        found.append(_gate(row, "start", row["next_action"].get("message") or "waits to be executed"))
    return found


def _gate(
    row: Row, kind: str, message: str, since: str | None = None, other: Dependency | None = None
) -> dict[str, Any]:
    stuck = other is not None and other.status is not None and other.status != Status.COMPLETED
    return {
        "flow_id": row["flow_id"],
        "kind": kind,
        "other_flow_id": other.flow_id if other is not None else None,
        "other_status": other.status if other is not None else None,
        "blocked": stuck,
        "since": since,
        "message": message,
    }
