"""Where a flow can go back to: its checkpoints, made and looked at, and what a rollback would do."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from api.answers import Json, etag
from api.asking import DOOR, Asking, Caller, OfFlow, Wanted, command_id, command_of, expected_version, submit
from api.documents import CheckpointList, CheckpointMade, CheckpointShown, CommandParked
from api.lists import FlowFilter
from api.openapi import answers, takes
from api.parked import waits
from api.problems import problem
from domain.commands import CreateCheckpoint, RollbackFlow
from domain.errors import CheckpointNotFound
from domain.flow import Checkpoint, Meta
from domain.preview import preview
from domain.view import checkpoint_view
from eventstore.committer import WAITS

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["verbs"])

MAX_CHILDREN = 200


@router.post(
    "/flows/{flow_id}/checkpoints",
    status_code=201,
    summary="Record a checkpoint",
    responses=answers(201, CheckpointMade, 202, 400, 404, 409, 412, 413, 422, 503, also={202: CommandParked}),
    openapi_extra=takes(CreateCheckpoint),
)
async def create_checkpoint(request: Request, asking: Asking, wanted: OfFlow) -> Response:
    """Record a point to roll back to, now. Where the newest one holds the same state it is that one."""
    command = await command_of(request, asking, CreateCheckpoint, wanted.flow_id)
    answer = await submit(request, asking, command, command_id=command_id(request))
    if answer.outcome == WAITS:
        return waits(answer)
    if answer.error is not None or answer.flow is None:
        return problem(request, answer.error or {"code": "refused", "detail": "the flow did not answer"})
    point = answer.flow.checkpoints[-1]
    body = {
        "flow_id": answer.flow_id,
        "checkpoint_id": point.checkpoint_id,
        "phase_name": point.phase_name or None,
        "state_sha256": point.state_sha256,
        "status": answer.flow.status,
        "version": answer.version,
        "position": answer.position,
    }
    return Json(body, 201, {"ETag": etag(answer.version)})


@router.get(
    "/flows/{flow_id}/checkpoints",
    summary="Where a flow can go back to",
    responses=answers(200, CheckpointList, 400, 404, 422, 503),
)
async def list_checkpoints(
    asking: Asking,
    wanted: OfFlow,
    verify: Annotated[bool, Query(description="Replay the history up to each, and look for its artifacts.")] = False,
) -> Response:
    """The points that the flow can go back to, the oldest first, straight from its history."""
    flow, _ = await asking.rows.replayed(wanted.flow_id)
    shown = [await _shown(asking, flow.id, point, verify=verify) for point in flow.checkpoints]
    body = {"checkpoints": shown, "total": len(shown), "next_cursor": None}
    return Json(body, headers={"ETag": etag(flow.version)})


@router.get(
    "/flows/{flow_id}/checkpoints/{checkpoint_id}",
    summary="Verify a checkpoint",
    responses=answers(200, CheckpointShown, 400, 404, 422, 503),
)
async def get_checkpoint(
    asking: Asking, wanted: OfFlow, checkpoint_id: Annotated[UUID, Path(description="The checkpoint's id.")]
) -> Response:
    """One checkpoint, verified: its history replayed, the hash of the state compared, its artifacts looked for."""
    flow, _ = await asking.rows.replayed(wanted.flow_id)
    for point in flow.checkpoints:
        if point.checkpoint_id == checkpoint_id:
            return Json(await _shown(asking, flow.id, point, verify=True), headers={"ETag": etag(flow.version)})
    raise CheckpointNotFound


async def _shown(asking: Caller, flow_id: UUID, point: Checkpoint, *, verify: bool) -> dict[str, Any]:
    fault = await asking.side.checkpoints.fault(flow_id, point) if verify else None
    return {**checkpoint_view(point), "verified": fault is None if verify else None, "detail": fault}


async def previewed(request: Request, asking: Caller, wanted: Wanted) -> Response:
    """What the rollback in the body would do; raises what it would be refused with, and nothing is kept of it."""
    command = await command_of(request, asking, RollbackFlow, wanted.flow_id)
    flow, _ = await asking.rows.replayed(wanted.flow_id)
    meta = Meta(
        at=asking.side.committer.now(),
        client_account_id=asking.tenant.client_account_id,
        engagement_id=asking.tenant.engagement_id,
        user_id=asking.tenant.user_id,
        command_id=command_id(request),
        correlation_id=asking.correlation_id,
    )
    shown = preview(flow, command, meta, asking.side.types, expected_version=expected_version(request))
    rows = (await asking.lists.flows(FlowFilter(parent_flow_id=flow.id), "created_at", MAX_CHILDREN, None)).rows
    names = ("flow_id", "flow_type", "flow_name")
    children = [{**{name: row[name] for name in names}, "status": row["flow_status"]} for row in rows]
    return Json({**shown, "children": children}, headers={"ETag": etag(flow.version)})
