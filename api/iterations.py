"""The rounds of a flow: which there were, and what the phases of each brought."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from api.answers import Json, etag, not_modified
from api.asking import DOOR, Asking, OfFlow
from api.documents import IterationDetail, IterationList
from api.openapi import answers
from domain.errors import IterationNotFound
from domain.flow import DONE, Flow, Round, rounds_of

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["flows"])

Number = Annotated[int, Path(ge=1, le=1_000_000, description="The round's number, from 1.")]


@router.get(
    "/flows/{flow_id}/iterations",
    summary="The rounds of a flow",
    responses=answers(200, IterationList, 304, 400, 404, 422, 503),
)
async def list_iterations(request: Request, asking: Asking, wanted: OfFlow) -> Response:
    """Every round, the first one first, straight from the flow's history."""
    flow, _ = await asking.rows.replayed(wanted.flow_id)
    same = not_modified(request, flow.version)
    if same is not None:
        return same
    capabilities = asking.side.types.version(flow.flow_type, flow.flow_version).capabilities
    shown = [_shown(one, flow) for one in rounds_of(flow)]
    body = {
        "iterations": shown,
        "total": len(shown),
        "next_cursor": None,
        "max_iterations": capabilities.max_iterations if capabilities.supports_iterations else 1,
    }
    return Json(body, headers={"ETag": etag(flow.version)})


@router.get(
    "/flows/{flow_id}/iterations/{number}",
    summary="A round of a flow",
    responses=answers(200, IterationDetail, 304, 400, 404, 422, 503),
)
async def get_iteration(request: Request, asking: Asking, wanted: OfFlow, number: Number) -> Response:
    """A round with its phases and outputs, as they stood at its end; of the one at hand, as they stand."""
    flow, row = await asking.rows.replayed(wanted.flow_id)
    found = next((one for one in rounds_of(flow) if one.number == number), None)
    if found is None:
        raise IterationNotFound(
            f"the flow has no round {number}; it is in round {flow.iteration_number}",
            allowed=[str(one.number) for one in rounds_of(flow)],
        )
    version = flow.version
    same = not_modified(request, version)
    if same is not None:
        return same
    if found.last_version is not None:
        flow, row = await asking.rows.replayed(wanted.flow_id, upto=found.last_version)
    state = row["flow_state"]
    body = {
        **_shown(found, flow),
        "flow_id": wanted.flow_id,
        "inputs": state["inputs"],
        "phases": row["phases"],
        "outputs": state["outputs"],
    }
    return Json(body, headers={"ETag": etag(version)})


def _shown(one: Round, flow: Flow) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.structs.asdict(one)
    if one.last_version is None:
        shown["status"], shown["ended_at"] = flow.status, flow.completed_at
        shown["phases_completed"] = [phase.name for phase in flow.phases if phase.status in DONE]
    return shown
