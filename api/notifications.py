"""Notifications: what was told to whom, what came of it, and sending it once more."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from api import cursors
from api.answers import Json, in_utc
from api.asking import DOOR, Asking, Caller, command_id, json_body
from api.cursors import Cursor
from api.openapi import RETRY, answers
from api.telling_documents import NotificationDetail, NotificationList, NotificationState
from domain.errors import BodyInvalid, FieldError
from domain.telling import News
from eventstore.notifications import Notifications

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["notifications"])

ORDER = "notifications -created_at"
NotificationId = Annotated[UUID, Path(description="The notification's id.")]


@router.get("/notifications", summary="List notifications", responses=answers(200, NotificationList, 400, 422, 503))
async def list_notifications(
    *,
    asking: Asking,
    state: NotificationState | None = None,
    event: News | None = None,
    flow_id: UUID | None = None,
    subscription_id: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> Response:
    """What the tenant's flows had told, the newest first."""
    after = cursors.read(cursor, ORDER, datetime)
    rows = await _notifications(asking).page(
        asking.tenant,
        limit + 1,
        state=state,
        event=event,
        flow_id=flow_id,
        subscription_id=subscription_id,
        before=(after.key, after.id) if after is not None else None,  # type: ignore[arg-type]
    )
    last = rows[limit - 1] if len(rows) > limit else None
    more = cursors.write(ORDER, Cursor(last["created_at"], last["notification_id"])) if last else None
    return Json({"notifications": [in_utc(row) for row in rows[:limit]], "next_cursor": more})


@router.get(
    "/notifications/{notification_id}",
    summary="One notification",
    responses=answers(200, NotificationDetail, 400, 404, 422, 503),
)
async def get_notification(asking: Asking, notification_id: NotificationId) -> Response:
    """What is said, to whom, and how the last attempts ended."""
    return Json(in_utc(await _notifications(asking).one(asking.tenant, notification_id)))


@router.post(
    "/notifications/{notification_id}/replay",
    summary="Send a notification again",
    responses=answers(200, NotificationDetail, 400, 404, 409, 413, 422, 503),
    openapi_extra=RETRY,
)
async def replay_notification(request: Request, asking: Asking, notification_id: NotificationId) -> Response:
    """Send it at once, whatever became of it, under the id that it has: its receiver can tell that it is the same."""
    if await json_body(request, asking.side.config.max_body_bytes):
        raise BodyInvalid("a replay takes no body", errors=[FieldError("body", "must be empty")])
    envelope = asking.envelope(command_id(request))
    return Json(in_utc(await _notifications(asking).replay(envelope, notification_id)))


def _notifications(asking: Caller) -> Notifications:
    return Notifications(asking.side.pool)
