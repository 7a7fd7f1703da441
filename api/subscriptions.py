"""Subscriptions: whom to tell of what happens to the tenant's flows, by webhook or by mail."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from api import cursors
from api.answers import Json, in_utc
from api.asking import DOOR, NO_BODY, Asking, Caller, command_id, document_in, no_body
from api.cursors import Cursor
from api.openapi import answers, body_of
from api.telling_documents import SubscriptionList, SubscriptionMade, SubscriptionView
from domain.subscriptions import (
    CreateSubscription,
    Kind,
    RotateSubscriptionSecret,
    SubscriptionFilter,
    UpdateSubscription,
)
from eventstore.subscriptions import Subscriptions

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["subscriptions"])

ORDER = "subscriptions -created_at"
SubscriptionId = Annotated[UUID, Path(description="The subscription's id.")]


@router.post(
    "/subscriptions",
    status_code=201,
    summary="Create a subscription",
    responses=answers(201, SubscriptionMade, 400, 409, 413, 422, 503),
    openapi_extra=body_of(CreateSubscription, required=True),
)
async def create_subscription(request: Request, asking: Asking) -> Response:
    """Tell a URL or an address of mail what happens to the tenant's flows from now on. A webhook's `secret` is in this
    answer and nowhere else."""
    wanted = await document_in(request, asking, CreateSubscription)
    wanted = wanted.model_copy(update={"filter": _known(asking, wanted.filter)})
    made = await _subscriptions(asking).create(asking.envelope(command_id(request)), wanted)
    return Json(in_utc(made), 201, {"Location": f"/api/v1/subscriptions/{made['subscription_id']}"})


@router.get("/subscriptions", summary="List subscriptions", responses=answers(200, SubscriptionList, 400, 422, 503))
async def list_subscriptions(
    *,
    asking: Asking,
    kind: Kind | None = None,
    state: Literal["active", "disabled"] | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> Response:
    """The tenant's subscriptions, the newest first."""
    after = cursors.read(cursor, ORDER, datetime)
    before = (after.key, after.id) if after is not None else None
    rows = await _subscriptions(asking).page(asking.tenant, limit + 1, kind=kind, state=state, before=before)  # type: ignore[arg-type]
    last = rows[limit - 1] if len(rows) > limit else None
    more = cursors.write(ORDER, Cursor(last["created_at"], last["subscription_id"])) if last else None
    return Json({"subscriptions": [in_utc(row) for row in rows[:limit]], "next_cursor": more})


@router.get(
    "/subscriptions/{subscription_id}",
    summary="One subscription",
    responses=answers(200, SubscriptionView, 400, 404, 422, 503),
)
async def get_subscription(asking: Asking, subscription_id: SubscriptionId) -> Response:
    """The subscription as it stands, without its secret."""
    return Json(in_utc(await _subscriptions(asking).one(asking.tenant, subscription_id)))


@router.patch(
    "/subscriptions/{subscription_id}",
    summary="Change a subscription",
    responses=answers(200, SubscriptionView, 400, 404, 409, 413, 422, 503),
    openapi_extra=body_of(UpdateSubscription),
)
async def update_subscription(request: Request, asking: Asking, subscription_id: SubscriptionId) -> Response:
    """Change what is given; `filter` is replaced as a whole. `enabled: false` drops what waits."""
    changes = await document_in(request, asking, UpdateSubscription)
    if changes.filter is not None:
        changes = changes.model_copy(update={"filter": _known(asking, changes.filter)})
    envelope = asking.envelope(command_id(request))
    return Json(in_utc(await _subscriptions(asking).update(envelope, subscription_id, changes)))


@router.delete(
    "/subscriptions/{subscription_id}",
    status_code=204,
    summary="Delete a subscription",
    responses=answers(204, None, 400, 404, 413, 422, 503),
    openapi_extra={"x-mfo-headers": ["IdempotencyKey"]},
)
async def delete_subscription(
    request: Request,
    asking: Asking,
    subscription_id: SubscriptionId,
    reason: Annotated[str | None, Query(max_length=4000)] = None,
) -> Response:
    """Tell it nothing more: what waits is dropped, its secret is removed."""
    await no_body(request, asking, NO_BODY)
    await _subscriptions(asking).delete(asking.envelope(command_id(request)), subscription_id, reason)
    return Response(status_code=204)


@router.post(
    "/subscriptions/{subscription_id}/rotate",
    summary="Have a new secret",
    responses=answers(200, SubscriptionMade, 400, 404, 409, 413, 422, 503),
    openapi_extra=body_of(RotateSubscriptionSecret),
)
async def rotate_subscription(request: Request, asking: Asking, subscription_id: SubscriptionId) -> Response:
    """Sign with a new secret, and for `keep_former_seconds` with the one before too, so that the receiver can change over."""
    wanted = await document_in(request, asking, RotateSubscriptionSecret)
    envelope = asking.envelope(command_id(request))
    return Json(in_utc(await _subscriptions(asking).rotate(envelope, subscription_id, wanted)))


def _subscriptions(asking: Caller) -> Subscriptions:
    side = asking.side
    return Subscriptions(side.pool, side.keyring, side.config.telling.addressing)


def _known(asking: Caller, wanted: SubscriptionFilter) -> SubscriptionFilter:
    """The filter with the flow type as it is called; raises TypeUnknown."""
    if wanted.flow_type is None:
        return wanted
    return wanted.model_copy(update={"flow_type": asking.side.types.get(wanted.flow_type).name})
