"""Standing pauses, under which new flows begin, and the rules that set them by themselves."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.answers import Json, etag, not_modified
from api.asking import DOOR, NO_BODY, Asking, command_id, expected_version, no_body
from api.fleet import (
    PAUSE_RULE,
    STANDING_PAUSE,
    Limit,
    OfPauseRule,
    OfStandingPause,
    PageCursor,
    States,
    answered,
    events_of,
    made,
    page,
    states_of,
    told,
)
from api.fleet_documents import (
    FleetEvents,
    PauseRuleAnswered,
    PauseRuleList,
    PauseRuleView,
    StandingPauseAnswered,
    StandingPauseList,
    StandingPauseView,
)
from api.openapi import DELETE_FLOW, answers, takes
from domain.fleet.commands import (
    ArmPauseRule,
    DeletePauseRule,
    RemoveStandingPause,
    SetPauseRule,
    SetStandingPause,
)
from domain.fleet.subjects import view

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["standing pauses"])

CHANGED = (400, 404, 409, 412, 413, 422, 503)
Reason = Annotated[str | None, Query(max_length=4000)]
EventLimit = Annotated[int, Query(ge=1, le=1000)]


@router.post(
    "/standing-pauses",
    status_code=201,
    summary="Let new flows begin paused",
    responses=answers(201, StandingPauseAnswered, 400, 409, 413, 422, 503),
    openapi_extra=takes(SetStandingPause, required=True, if_match=False),
)
async def set_standing_pause(request: Request, asking: Asking) -> Response:
    """From its answer on, every new flow of the type, with the tag, or of the engagement begins paused."""
    command, key = await made(request, asking, SetStandingPause)
    answer = await asking.side.fleet.submit(command, asking.envelope(key))
    return answered(request, STANDING_PAUSE, answer, None, status=201)


@router.get(
    "/standing-pauses", summary="List standing pauses", responses=answers(200, StandingPauseList, 400, 422, 503)
)
async def list_standing_pauses(
    asking: Asking, state: States = "active", limit: Limit = 50, cursor: PageCursor = None
) -> Response:
    """The tenant's standing pauses, the newest first; those that were removed with `state=removed`."""
    found, total, following = await page(asking, STANDING_PAUSE, states_of(state, ("active", "removed")), limit, cursor)
    return Json({"standing_pauses": [view(each) for each in found], "total": total, "next_cursor": following})


@router.get(
    "/standing-pauses/{standing_pause_id}",
    summary="One standing pause",
    responses=answers(200, StandingPauseView, 304, 400, 404, 422, 503),
)
async def get_standing_pause(request: Request, pause: OfStandingPause) -> Response:
    """The standing pause as it stands."""
    return not_modified(request, pause.version) or Json(view(pause), headers={"ETag": etag(pause.version)})


@router.get(
    "/standing-pauses/{standing_pause_id}/events",
    summary="What happened to a standing pause",
    responses=answers(200, FleetEvents, 400, 404, 422, 503),
)
async def standing_pause_events(
    asking: Asking, pause: OfStandingPause, limit: EventLimit = 200, cursor: PageCursor = None
) -> Response:
    """Every event of the standing pause, in order."""
    return await events_of(asking, pause, limit, cursor)


@router.delete(
    "/standing-pauses/{standing_pause_id}",
    summary="Remove a standing pause",
    responses=answers(200, StandingPauseAnswered, *CHANGED),
    openapi_extra=DELETE_FLOW,
)
async def remove_standing_pause(
    *,
    request: Request,
    asking: Asking,
    pause: OfStandingPause,
    resume: Annotated[bool, Query(description="Resume the flows that it holds, by an operation.")] = False,
    reason: Reason = None,
) -> Response:
    """New flows begin as they would. What it holds stays paused, unless `resume` is true: `operation_id` resumes it then."""
    await no_body(request, asking, NO_BODY)
    command = RemoveStandingPause(standing_pause_id=pause.id, resume=resume, reason=reason)
    envelope = asking.envelope(command_id(request), expected_version(request))
    return answered(request, STANDING_PAUSE, await asking.side.fleet.submit(command, envelope), None)


@router.post(
    "/pause-rules",
    status_code=201,
    summary="Pause by rule",
    responses=answers(201, PauseRuleAnswered, 400, 409, 413, 422, 503),
    openapi_extra=takes(SetPauseRule, required=True, if_match=False),
)
async def set_pause_rule(request: Request, asking: Asking) -> Response:
    """Watch a figure of the tenant's flows from now on; when it passes the limit, new flows begin paused."""
    command, key = await made(request, asking, SetPauseRule)
    answer = await asking.side.fleet.submit(command, asking.envelope(key))
    return answered(request, PAUSE_RULE, answer, None, status=201)


@router.get("/pause-rules", summary="List pause rules", responses=answers(200, PauseRuleList, 400, 422, 503))
async def list_pause_rules(
    asking: Asking, state: States = "armed,tripped", limit: Limit = 50, cursor: PageCursor = None
) -> Response:
    """The tenant's rules, the newest first; deleted ones with `state=deleted`."""
    states = states_of(state, ("armed", "tripped", "deleted"))
    found, total, following = await page(asking, PAUSE_RULE, states, limit, cursor)
    return Json({"pause_rules": [view(each) for each in found], "total": total, "next_cursor": following})


@router.get(
    "/pause-rules/{pause_rule_id}",
    summary="One pause rule",
    responses=answers(200, PauseRuleView, 304, 400, 404, 422, 503),
)
async def get_pause_rule(request: Request, rule: OfPauseRule) -> Response:
    """The rule as it stands, with the numbers of when it tripped last."""
    return not_modified(request, rule.version) or Json(view(rule), headers={"ETag": etag(rule.version)})


@router.get(
    "/pause-rules/{pause_rule_id}/events",
    summary="What happened to a pause rule",
    responses=answers(200, FleetEvents, 400, 404, 422, 503),
)
async def pause_rule_events(
    asking: Asking, rule: OfPauseRule, limit: EventLimit = 200, cursor: PageCursor = None
) -> Response:
    """Every event of the rule, in order."""
    return await events_of(asking, rule, limit, cursor)


@router.post(
    "/pause-rules/{pause_rule_id}/arm",
    summary="Arm a pause rule again",
    responses=answers(200, PauseRuleAnswered, *CHANGED),
    openapi_extra=takes(ArmPauseRule),
)
async def arm_pause_rule(request: Request, asking: Asking, rule: OfPauseRule) -> Response:
    """Let it watch again, counting anew. The standing pause that it set stays until that is removed."""
    return answered(request, PAUSE_RULE, await told(request, asking, ArmPauseRule, rule), None)


@router.delete(
    "/pause-rules/{pause_rule_id}",
    summary="Delete a pause rule",
    responses=answers(200, PauseRuleAnswered, *CHANGED),
    openapi_extra=DELETE_FLOW,
)
async def delete_pause_rule(request: Request, asking: Asking, rule: OfPauseRule, reason: Reason = None) -> Response:
    """Let it watch no more. What it paused stays paused."""
    await no_body(request, asking, NO_BODY)
    command = DeletePauseRule(pause_rule_id=rule.id, reason=reason)
    envelope = asking.envelope(command_id(request), expected_version(request))
    return answered(request, PAUSE_RULE, await asking.side.fleet.submit(command, envelope), None)
