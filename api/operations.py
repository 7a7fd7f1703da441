"""Operations over many flows: tried, started, read, paused, resumed, cancelled; and what became of each flow."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api import cursors
from api.answers import Json, etag, in_utc, not_modified
from api.asking import DOOR, Asking, Caller
from api.cursors import Cursor
from api.fleet import (
    OPERATION,
    Limit,
    OfOperation,
    PageCursor,
    States,
    answered,
    events_of,
    made,
    page,
    states_of,
    told,
    version_of,
)
from api.fleet_documents import AskedFlows, DryRun, FleetEvents, OperationAnswered, OperationList, OperationView
from api.openapi import answers, takes
from domain.errors import OperationTooLarge
from domain.fleet.commands import CancelOperation, PauseOperation, ResumeOperation, StartOperation
from domain.fleet.decide import check
from domain.fleet.subjects import Operation, State, view
from eventstore.fleet import FleetAnswer
from eventstore.operations import FLOWS, Progress

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["operations"])

STATES = ("running", "paused", "completed", "cancelled")
CHANGED = (400, 404, 409, 412, 413, 422, 503)
DRY_ORDER = "dry created_at"
# how long a dry run waits for the read model to show what was made just before
DRY_RUN_SECONDS = 2.0


@router.post(
    "/operations",
    status_code=202,
    summary="Ask the same of many flows",
    responses=answers(202, OperationAnswered, 400, 409, 413, 422, 503, also={200: DryRun}),
    openapi_extra=takes(StartOperation, required=True, if_match=False),
)
async def start_operation(request: Request, asking: Asking, limit: Limit = 50, cursor: PageCursor = None) -> Response:
    """Choose flows by a filter and ask each of them once. With `dry_run` the answer is 200 with the flows that would be asked,
    paged by `limit` and `cursor`, and nothing is done."""
    command, key = await made(request, asking, StartOperation)
    tenant = asking.tenant
    if command.dry_run:
        return await _dry_run(asking, command, limit, cursor)
    check(command, tenant.engagement_id, asking.side.types)
    count, _ = await asking.side.operations.count(
        tenant.client_account_id, tenant.engagement_id, command.filter, command.verb
    )
    most = asking.side.config.operation_max_flows
    # a repeat gets the first answer, however many flows there are by now
    if count > most and await asking.side.fleet.find(tenant, Operation, command.operation_id) is None:
        raise OperationTooLarge(f"the filter chooses {count} flows; one operation takes {most} at most: narrow it")
    answer = await asking.side.fleet.submit(command, asking.envelope(key))
    return await _answered(request, asking, answer, 202)


async def _dry_run(asking: Caller, command: StartOperation, limit: int, cursor: str | None) -> Response:
    tenant, operations = asking.tenant, asking.side.operations
    check(command, tenant.engagement_id, asking.side.types)
    after = cursors.read(cursor, DRY_ORDER, datetime)
    await asking.service.watch.projection(FLOWS, await asking.side.store.end(), DRY_RUN_SECONDS)
    whose = (tenant.client_account_id, tenant.engagement_id, command.filter, command.verb)
    total, place = await operations.count(*whose)
    found = await operations.chosen(
        *whose,
        limit=limit,
        after=(after.key, after.id) if after is not None else None,  # type: ignore[arg-type]
    )
    last = found[limit - 1] if len(found) > limit else None
    return Json(
        {
            "dry_run": True,
            "verb": command.verb,
            "filter": command.filter.model_dump(mode="json", exclude_none=True, exclude_defaults=True),
            "total": total,
            "most": asking.side.config.operation_max_flows,
            "position": asking.side.store.position(place),
            "flows": [in_utc(row) for row in found[:limit]],
            "next_cursor": cursors.write(DRY_ORDER, Cursor(last["created_at"], last["flow_id"])) if last else None,
        }
    )


@router.get("/operations", summary="List operations", responses=answers(200, OperationList, 400, 422, 503))
async def list_operations(
    asking: Asking, state: States = None, limit: Limit = 50, cursor: PageCursor = None
) -> Response:
    """The tenant's operations, the newest first."""
    found, total, following = await page(asking, OPERATION, states_of(state, STATES), limit, cursor)
    shown = await _shown(asking, found)
    return Json({"operations": shown, "total": total, "next_cursor": following})


@router.get(
    "/operations/{operation_id}",
    summary="One operation",
    responses=answers(200, OperationView, 304, 400, 404, 422, 503),
)
async def get_operation(request: Request, asking: Asking, operation: OfOperation) -> Response:
    """The operation and how far it is, straight from the store. One under way is never answered with 304."""
    same = None if operation.under_way else not_modified(request, operation.version)
    if same is not None:
        return same
    return Json((await _shown(asking, [operation]))[0], headers={"ETag": etag(operation.version)})


@router.get(
    "/operations/{operation_id}/flows",
    summary="What became of each flow",
    responses=answers(200, AskedFlows, 400, 404, 422, 503),
)
async def operation_flows(
    asking: Asking,
    operation: OfOperation,
    outcome: Annotated[
        Literal["accepted", "refused", "parked", "left"] | None, Query(description="Only these.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    cursor: PageCursor = None,
) -> Response:
    """The flows in the order in which they are asked; `left` are those that were not asked. Long after the operation's end the
    list is `removed`, and its counts stay."""
    found, total = await asking.side.operations.flows(
        operation.id, outcome=outcome, limit=limit, after=version_of(cursor)
    )
    shown = [in_utc(row) for row in found[:limit]]
    following = str(shown[-1]["n"]) if len(found) > limit else None
    progress = None if total else (await asking.side.operations.progress([operation.id])).get(operation.id)
    removed = bool(progress and progress.forgotten)
    return Json({"flows": shown, "total": total, "removed": removed, "next_cursor": following})


@router.get(
    "/operations/{operation_id}/events",
    summary="What happened to an operation",
    responses=answers(200, FleetEvents, 400, 404, 422, 503),
)
async def operation_events(
    asking: Asking,
    operation: OfOperation,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    cursor: PageCursor = None,
) -> Response:
    """Every event of the operation, in order."""
    return await events_of(asking, operation, limit, cursor)


@router.post(
    "/operations/{operation_id}/pause",
    summary="Pause an operation",
    responses=answers(200, OperationAnswered, *CHANGED),
    openapi_extra=takes(PauseOperation),
)
async def pause_operation(request: Request, asking: Asking, operation: OfOperation) -> Response:
    """Ask no further flow until it is resumed; those that are being asked are asked."""
    return await _answered(request, asking, await told(request, asking, PauseOperation, operation))


@router.post(
    "/operations/{operation_id}/resume",
    summary="Resume an operation",
    responses=answers(200, OperationAnswered, *CHANGED),
    openapi_extra=takes(ResumeOperation),
)
async def resume_operation(request: Request, asking: Asking, operation: OfOperation) -> Response:
    """Go on with the flows that are left."""
    return await _answered(request, asking, await told(request, asking, ResumeOperation, operation))


@router.post(
    "/operations/{operation_id}/cancel",
    summary="Cancel an operation",
    responses=answers(200, OperationAnswered, *CHANGED),
    openapi_extra=takes(CancelOperation),
)
async def cancel_operation(request: Request, asking: Asking, operation: OfOperation) -> Response:
    """Ask none of the flows that are left; what was asked stands."""
    return await _answered(request, asking, await told(request, asking, CancelOperation, operation))


async def _answered(request: Request, asking: Caller, answer: FleetAnswer, status: int = 200) -> Response:
    shown = await _shown(asking, [answer.subject]) if isinstance(answer.subject, Operation) else [None]
    return answered(request, OPERATION, answer, shown[0], status=status)


async def _shown(asking: Caller, operations: list[Any]) -> list[Any]:
    progress = await asking.side.operations.progress([each.id for each in operations])
    now = asking.side.committer.now()
    return [view(each) | {"progress": _progress(each, progress.get(each.id), now)} for each in operations]


def _progress(operation: Operation, found: Progress | None, now: datetime) -> dict[str, Any]:
    total, done = operation.total, found.done if found else 0
    accepted, refused, parked = (found.accepted, found.refused, found.parked) if found else (0, 0, 0)
    late = (found.late_accepted, found.late_refused) if found else (0, 0)
    left = total - done if total is not None else None
    pace = found.per_second if found else None
    runs = operation.state is State.RUNNING and left is not None and pace
    return {
        "done": done,
        "total": total,
        "accepted": accepted + late[0],
        "refused": refused + late[1],
        "parked": parked - sum(late),
        "left": left,
        "percentage": None if total is None else round(100.0 * done / total, 1) if total else 100.0,
        "per_second": pace,
        "eta": now + timedelta(seconds=left / pace) if runs and left is not None and pace else None,
        "began_at": found.began_at if found else None,
        "moved_at": found.moved_at if found else None,
        "flows_removed": bool(found and found.forgotten),
    }
