"""What happens to flows, as it happens: server-sent events."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query
from starlette.responses import Response, StreamingResponse

from api.asking import DOOR, Asking
from api.flows import known_types
from api.listening import Listener, position_after
from api.openapi import EVENT_STREAM, answers
from api.problems import wrong_parameter
from api.reading import words
from domain.errors import FlowNotFound

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["flows"])

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@router.get(
    "/events",
    summary="Hear what happens to flows",
    responses=answers(200, None, 400, 404, 422, 503, extra=EVENT_STREAM),
)
async def hear_events(
    *,
    asking: Asking,
    flow_id: Annotated[UUID | None, Query(description="The events of this flow alone.")] = None,
    flow_type: Annotated[str | None, Query(max_length=1000, description="Comma list of flow types.")] = None,
    last_event_id: Annotated[
        str | None,
        Header(max_length=100, description="The id of the last event that was heard; left out: from now on."),
    ] = None,
) -> Response:
    """The tenant's events as server-sent events, `event: flow`, the place in the log as `id`, in the order of the log.

    Whoever comes back with `Last-Event-ID` misses none and hears none twice. A listener that does not fetch what is held
    for it is let go, and comes back likewise. Comments come every 15 seconds; the id beside them may be newer than the
    last event.
    """
    types = known_types(asking, words(flow_type))
    tail = asking.service.tail
    try:
        after = position_after(last_event_id, asking.side.store.shard)
        if after is not None and after > tail.position and after > await tail.end():
            raise ValueError("lies beyond the end of the log; begin without one")
    except ValueError as error:
        raise wrong_parameter("Last-Event-ID", str(error)) from None
    if flow_id is not None and await asking.rows.version(flow_id) is None:
        raise FlowNotFound(f"there is no flow {flow_id}")
    tenant = (asking.tenant.client_account_id, asking.tenant.engagement_id)
    listener = Listener(tenant, flow_id, frozenset(types) if types is not None else None)
    events = tail.events(listener, after)
    return StreamingResponse(events, media_type="text/event-stream", headers=HEADERS)
