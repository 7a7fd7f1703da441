"""Parked flows: which they are, what waits there, and having it tried again or given up."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Path, Query, Request
from pydantic import ValidationError
from starlette.responses import Response

from api import cursors
from api.answers import Json, etag
from api.asking import DOOR, Asking, Caller, command_id, json_body
from api.cursors import Cursor
from api.documents import DiscardAnswer, DiscardParked, ParkedDetail, ParkedList, RetryAnswer
from api.openapi import DISCARD, RETRY, answers
from api.problems import field_errors
from domain.errors import BodyInvalid, FieldError
from eventstore.committer import Answer
from eventstore.parking import Drained, FlowNotParked, Parking

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["parked"])

FlowId = Annotated[UUID, Path(description="The flow's id.")]


def waits(answer: Answer) -> Response:
    """The 202 for a command that waits behind a parked flow."""
    body = {
        "flow_id": answer.flow_id,
        "command_id": answer.command_id,
        "outcome": answer.outcome,
        "status": answer.outcome,
        "version": answer.version,
        "position": None,
    }
    return Json(body, 202, {"ETag": etag(answer.version), "Location": f"/api/v1/parked/{answer.flow_id}"})


@router.get("/parked", summary="List parked flows", responses=answers(200, ParkedList, 400, 422, 503))
async def list_parked(
    asking: Asking,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> Response:
    """The tenant's flows whose commands wait, and those that a read model had to set aside; the longest parked first."""
    after = cursors.read(cursor, "parked", datetime, uuids=False)
    place = (after.key, str(after.id)) if after else None
    rows = await _parking(asking).page(asking.tenant, limit + 1, place)  # type: ignore[arg-type]
    last = rows[limit - 1] if len(rows) > limit else None
    place_of_last = f"{last['flow_id']}{last['kind']}{last['projection'] or ''}" if last else ""
    return Json(
        {
            "parked": rows[:limit],
            "next_cursor": cursors.write("parked", Cursor(last["since"], place_of_last)) if last else None,
        }
    )


@router.get("/parked/{flow_id}", summary="What waits there", responses=answers(200, ParkedDetail, 400, 404, 422, 503))
async def get_parked(
    asking: Asking,
    flow_id: FlowId,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> Response:
    """Why a flow is parked, and the commands that wait, in order."""
    after = cursors.read(cursor, "waiting", int, uuids=False)
    rows = await _rows(asking, flow_id)
    found = []
    if any(row["kind"] == "command" for row in rows):
        found = await _parking(asking).waiting(flow_id, limit + 1, int(after.key) if after else 0)  # type: ignore[arg-type]
    last = found[limit - 1] if len(found) > limit else None
    commands = [
        {
            "command_id": each.command_id,
            "command": each.name,
            "user_id": each.envelope.user_id,
            "source": each.envelope.source,
            "received_at": each.received_at,
            "correlation_id": each.envelope.correlation_id,
            "expected_version": each.envelope.expected_version,
            "error": each.error,
            "body": msgspec.Raw(each.body),
        }
        for each in found[:limit]
    ]
    return Json(
        {
            "flow_id": flow_id,
            "parked": rows,
            "commands": commands,
            "next_cursor": cursors.write("waiting", Cursor(last.n, last.command_id)) if last else None,
        }
    )


@router.post(
    "/parked/{flow_id}/retry",
    summary="Try a parked flow again",
    responses=answers(200, RetryAnswer, 400, 404, 413, 422, 503),
    openapi_extra=RETRY,
)
async def retry_parked(request: Request, asking: Asking, flow_id: FlowId) -> Response:
    """Apply the waiting commands in order, until none waits or the first cannot be applied again; and have read models that
    set the flow aside told its history once more."""
    rows, key = await _rows_or_repeat(request, asking, flow_id)
    if await json_body(request, asking.side.config.max_body_bytes):
        raise BodyInvalid("a retry takes no body", errors=[FieldError("body", "must be empty")])
    parking, drained, projections = _parking(asking), Drained(0, 0, None), 0
    if any(row["kind"] == "command" for row in rows):
        await parking.ask_retry(flow_id, asking.envelope(key))
        drained = await asking.side.committer.drain(flow_id)
    if any(row["kind"] == "projection" for row in rows):
        projections = await parking.retry_projections(asking.tenant, flow_id)
    return Json(_drained(flow_id, drained) | {"projections": projections})


@router.post(
    "/parked/{flow_id}/discard",
    summary="Give up a waiting command",
    responses=answers(200, DiscardAnswer, 400, 404, 413, 422, 503),
    openapi_extra=DISCARD,
)
async def discard_parked(request: Request, asking: Asking, flow_id: FlowId) -> Response:
    """Refuse the first waiting command, or the one named, with a reason; then those behind it are tried."""
    _, key = await _rows_or_repeat(request, asking, flow_id)
    body = await json_body(request, asking.side.config.max_body_bytes)
    try:
        wanted = DiscardParked.model_validate(body)
    except ValidationError as invalid:
        errors = field_errors(invalid.errors(include_url=False, include_input=False, include_context=False))
        raise BodyInvalid("; ".join(f"{e.field}: {e.message}" for e in errors[:3]), errors=errors) from None
    errors = [
        FieldError(name, "must not contain NUL") for name, value in wanted if isinstance(value, str) and "\x00" in value
    ]
    if errors:
        raise BodyInvalid("text must not contain NUL", errors=errors)
    discarded = await _parking(asking).discard(flow_id, asking.envelope(key), wanted.reason, wanted.command_id)
    drained = await asking.side.committer.drain(flow_id)
    return Json(_drained(flow_id, drained) | {"projections": 0, "discarded": discarded})


def _parking(asking: Caller) -> Parking:
    return asking.side.committer.parking


async def _rows(asking: Caller, flow_id: UUID) -> list[dict[str, Any]]:
    """The flow's rows of the list; raises FlowNotParked, for another tenant's flow too."""
    rows = await _parking(asking).page(asking.tenant, 200, flow_id=flow_id)
    if not rows:
        raise FlowNotParked
    return rows


async def _rows_or_repeat(request: Request, asking: Caller, flow_id: UUID) -> tuple[list[dict[str, Any]], str]:
    """The flow's rows of the list and the command's id; raises FlowNotParked, but where the id was used before: it is asked
    again, and the flow may be free by now."""
    key = command_id(request)
    rows = await _parking(asking).page(asking.tenant, 200, flow_id=flow_id)
    if not rows and not await asking.side.store.first_answers([asking.envelope(key)]):
        raise FlowNotParked
    return rows, key


def _drained(flow_id: UUID, drained: Drained) -> dict[str, Any]:
    return {
        "flow_id": flow_id,
        "state": "parked" if drained.waiting else "free",
        "applied": drained.applied,
        "waiting": drained.waiting,
        "error": drained.error,
    }
