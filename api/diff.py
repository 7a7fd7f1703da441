"""What differs between two moments of a flow, or between two flows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.answers import Json
from api.asking import DOOR, Asking, Caller, OfFlow, Wanted
from api.flows import event_shown
from api.openapi import answers
from api.past import history_then
from api.past_documents import FlowDiff
from domain.difference import compared, differences
from domain.errors import FlowNotFound
from domain.events import TOPICS
from domain.flow import Recorded

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["flows"])

MAX_EVENTS = 1000


@router.get(
    "/flows/{flow_id}/diff",
    summary="What differs between two moments of a flow, or between two flows",
    responses=answers(200, FlowDiff, 400, 404, 422, 503),
)
async def flow_diff(
    *,
    asking: Asking,
    wanted: OfFlow,
    before: Annotated[
        str | None,
        Query(
            alias="from",
            max_length=40,
            description="A version or a time; left out: the flow's beginning, with other: now.",
        ),
    ] = None,
    after: Annotated[
        str | None,
        Query(
            alias="to", max_length=40, description="A version or a time, of the other flow with other; left out: now."
        ),
    ] = None,
    other: Annotated[UUID | None, Query(description="Compare with this flow instead of with the flow itself.")] = None,
) -> Response:
    """Fields, inputs, phases and outputs member by member, and the events in between. What is sealed stays sealed."""
    if other is None:
        against = wanted
        first = await history_then(asking, wanted, before or "1", "from")
    else:
        against = await _other(asking, other)
        first = await history_then(asking, wanted, before or str(wanted.version), "from")
    second = await history_then(asking, against, after or str(against.version), "to")
    rows = [
        (await asking.rows.replayed(history[-1].flow_id, upto=history[-1].version))[1] for history in (first, second)
    ]
    # the older of the two comes first in the list of events, whichever was named first
    low, high = sorted((first[-1].version, second[-1].version))
    between = high - low if other is None else 0
    events = await asking.side.store.history(wanted.flow_id, after=low, upto=high, limit=MAX_EVENTS) if between else []
    return Json(
        {
            "from": _moment(first),
            "to": _moment(second),
            "fields": list(differences(compared(rows[0]), compared(rows[1]))),
            "outputs": list(differences(*(row["flow_state"]["outputs"] for row in rows))),
            "events": [event_shown(asking, position, recorded) for position, recorded in events],
            "events_total": between,
            "event_counts": _counts(first, second),
        }
    )


async def _other(asking: Caller, flow_id: UUID) -> Wanted:
    version = await asking.rows.version(flow_id)
    if version is None:
        raise FlowNotFound(f"there is no flow {flow_id} to compare with")
    return Wanted(flow_id, version)


def _moment(history: Sequence[Recorded]) -> dict[str, Any]:
    last = history[-1]
    return {"flow_id": last.flow_id, "version": last.version, "at": last.meta.at}


def _counts(first: Sequence[Recorded], second: Sequence[Recorded]) -> list[dict[str, Any]]:
    """How often each type of event had happened, where that differs."""
    before, after = (Counter(TOPICS[type(recorded.fact)] for recorded in history) for history in (first, second))
    return [
        {"type": topic, "from": before[topic], "to": after[topic]}
        for topic in sorted({*before, *after})
        if before[topic] != after[topic]
    ]
