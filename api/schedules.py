"""Schedules: made, listed, read, changed, paused, triggered, made up; their firings and their times to come."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from api import cursors
from api.answers import Json, deleted, etag, not_modified
from api.asking import (
    DOOR,
    NO_BODY,
    Asking,
    Caller,
    build,
    command_id,
    expected_version,
    json_body,
    no_body,
    no_if_match,
)
from api.cursors import Cursor
from api.flows import known_types
from api.openapi import DELETE_FLOW, answers, takes
from api.problems import problem, wrong_parameter
from api.reading import words
from api.schedule_documents import FiringList, NextTimes, ScheduleAnswered, ScheduleEvents, ScheduleList, ScheduleView
from domain.errors import FieldError, ParameterInvalid, ScheduleNotFound
from domain.schedules.commands import (
    BackfillSchedule,
    CreateSchedule,
    DeleteSchedule,
    PauseSchedule,
    ResumeSchedule,
    ScheduleCommand,
    TriggerSchedule,
    UpdateSchedule,
    new_schedule_id,
)
from domain.schedules.events import (
    SCHEDULE_TOPICS,
    FiringBuffered,
    FiringSkipped,
    FiringsMissed,
    Kind,
    ScheduleFlowCreated,
    ScheduleFlowRefused,
)
from domain.schedules.schedule import Schedule, State, upcoming, view
from domain.schedules.timing import zone_of
from eventstore.schedules import Placed, ScheduleAnswer

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["schedules"])
S = TypeVar("S", bound=ScheduleCommand)

ORDER = "schedules -created_at"
SHOWN = (State.ACTIVE, State.PAUSED, State.ENDED)
OUTCOMES: dict[type[Any], str] = {
    ScheduleFlowCreated: "flow",
    ScheduleFlowRefused: "refused",
    FiringSkipped: "skipped",
    FiringBuffered: "buffered",
    FiringsMissed: "missed",
}
# what needs no body, so that it can be kept as refused where there is no such schedule
VERBS: dict[str, type[ScheduleCommand]] = {
    "pause": PauseSchedule,
    "resume": ResumeSchedule,
    "trigger": TriggerSchedule,
}
CHANGED = (400, 404, 409, 412, 413, 422, 503)
PageCursor = Annotated[str | None, Query(max_length=30, description="`next_cursor` of the page before.")]


async def wanted_schedule(
    request: Request, schedule_id: Annotated[UUID, Path(description="The schedule's id.")], asking: Asking
) -> Schedule:
    """The schedule in the path; raises ScheduleNotFound, for another tenant's too. A verb for it is kept as refused."""
    schedule = await asking.side.schedules.find(asking.tenant, schedule_id)
    if schedule is None:
        asked = DeleteSchedule if request.method == "DELETE" else VERBS.get(request.url.path.rpartition("/")[2])
        if request.method != "GET" and asked is not None:
            # version 0 is no schedule's: should it begin just now, this is refused all the same
            envelope = asking.envelope(command_id(request), 0)
            await asking.side.schedules.submit(asked(schedule_id=schedule_id), envelope)
        raise ScheduleNotFound
    return schedule


OfSchedule = Annotated[Schedule, Depends(wanted_schedule)]


async def _command(request: Request, asking: Caller, kind: type[S], schedule_id: UUID) -> S:
    """The command in the body; raises BodyNotJson, BodyTooLarge and BodyInvalid listing what is wrong."""
    return build(kind, await json_body(request, asking.side.config.max_body_bytes), schedule_id, named="schedule_id")


async def _submit(request: Request, asking: Caller, command: ScheduleCommand) -> ScheduleAnswer:
    envelope = asking.envelope(command_id(request), expected_version(request))
    return await asking.side.schedules.submit(command, envelope)


async def _answered(request: Request, asking: Caller, command: ScheduleCommand, status: int = 200) -> Response:
    return _told(request, await _submit(request, asking, command), status)


def _told(request: Request, answer: ScheduleAnswer, status: int) -> Response:
    if answer.error is not None or answer.schedule is None:
        return problem(request, answer.error or ScheduleNotFound())
    headers = {"ETag": etag(answer.version)}
    if status == 201:
        headers["Location"] = f"/api/v1/schedules/{answer.flow_id}"
    return Json({**view(answer.schedule), "position": answer.position}, status, headers)


@router.post(
    "/schedules",
    status_code=201,
    summary="Create a schedule",
    responses=answers(201, ScheduleAnswered, 400, 409, 413, 422, 503),
    openapi_extra=takes(CreateSchedule, required=True, if_match=False),
)
async def create_schedule(request: Request, asking: Asking) -> Response:
    """Make flows of a type at times: cron in a time zone, an interval, or one moment."""
    no_if_match(request, "a schedule that is new")
    key = command_id(request)
    schedule_id = new_schedule_id(asking.tenant.client_account_id, key)
    command = await _command(request, asking, CreateSchedule, schedule_id)
    return _told(request, await asking.side.schedules.submit(command, asking.envelope(key)), 201)


@router.get("/schedules", summary="List schedules", responses=answers(200, ScheduleList, 400, 422, 503))
async def list_schedules(
    asking: Asking,
    state: Annotated[str | None, Query(max_length=200, description="Comma list of states.")] = None,
    flow_type: Annotated[str | None, Query(max_length=1000, description="Comma list of flow types.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> Response:
    """The tenant's schedules, the newest first; deleted ones only with `state=deleted`."""
    after = cursors.read(cursor, ORDER, datetime)
    found, total = await asking.side.schedules.page(
        asking.tenant,
        states=_states(words(state)),
        flow_types=known_types(asking, words(flow_type)),
        limit=limit,
        after=(after.key, after.id) if after is not None else None,  # type: ignore[arg-type]
    )
    last = found[limit - 1] if len(found) > limit else None
    return Json(
        {
            "schedules": [view(each) for each in found[:limit]],
            "total": total,
            "next_cursor": cursors.write(ORDER, Cursor(last.created_at, last.id)) if last and last.created_at else None,
        }
    )


def _states(names: list[str] | None) -> list[str]:
    if names is None:
        return [str(state) for state in SHOWN]
    known = [str(state) for state in State]
    unknown = [name for name in names if name.lower() not in known]
    if unknown or not names:
        message = f"{', '.join(unknown) or 'the list'} is no state; use {', '.join(known)}"
        raise ParameterInvalid(f"state: {message}", allowed=known, errors=[FieldError("state", message)])
    return [name.lower() for name in names]


@router.get(
    "/schedules/{schedule_id}", summary="One schedule", responses=answers(200, ScheduleView, 304, 400, 404, 422, 503)
)
async def get_schedule(request: Request, wanted: OfSchedule) -> Response:
    """The schedule as it stands, straight from the store."""
    return not_modified(request, wanted.version) or Json(view(wanted), headers={"ETag": etag(wanted.version)})


@router.patch(
    "/schedules/{schedule_id}",
    summary="Change a schedule",
    responses=answers(200, ScheduleAnswered, *CHANGED),
    openapi_extra=takes(UpdateSchedule),
)
async def update_schedule(request: Request, asking: Asking, wanted: OfSchedule) -> Response:
    """Change what is given; `timing` and `flow` are replaced as a whole. An ended schedule with times to come goes on."""
    return await _answered(request, asking, await _command(request, asking, UpdateSchedule, wanted.id))


@router.delete(
    "/schedules/{schedule_id}",
    status_code=204,
    summary="Delete a schedule",
    responses=answers(204, None, 400, 404, 412, 413, 422, 503),
    openapi_extra=DELETE_FLOW,
)
async def delete_schedule(
    request: Request, asking: Asking, wanted: OfSchedule, reason: Annotated[str | None, Query(max_length=4000)] = None
) -> Response:
    """End the schedule and hide it; its flows and its history stay."""
    await no_body(request, asking, NO_BODY)
    answer = await _submit(request, asking, DeleteSchedule(schedule_id=wanted.id, reason=reason))
    if answer.error is not None:
        return problem(request, answer.error)
    return deleted(answer.version, answer.position)


@router.post(
    "/schedules/{schedule_id}/pause",
    summary="Pause a schedule",
    responses=answers(200, ScheduleAnswered, *CHANGED),
    openapi_extra=takes(PauseSchedule),
)
async def pause_schedule(request: Request, asking: Asking, wanted: OfSchedule) -> Response:
    """Let the times pass until it is resumed; its flows go on."""
    return await _answered(request, asking, await _command(request, asking, PauseSchedule, wanted.id))


@router.post(
    "/schedules/{schedule_id}/resume",
    summary="Resume a schedule",
    responses=answers(200, ScheduleAnswered, *CHANGED),
    openapi_extra=takes(ResumeSchedule),
)
async def resume_schedule(request: Request, asking: Asking, wanted: OfSchedule) -> Response:
    """Go on with the next time; those that passed are kept as missed and not made up."""
    return await _answered(request, asking, await _command(request, asking, ResumeSchedule, wanted.id))


@router.post(
    "/schedules/{schedule_id}/trigger",
    status_code=202,
    summary="Make a flow now",
    responses=answers(202, ScheduleAnswered, *CHANGED),
    openapi_extra=takes(TriggerSchedule),
)
async def trigger_schedule(request: Request, asking: Asking, wanted: OfSchedule) -> Response:
    """Make a flow now, also while paused; `requested` in the answer names the flow's id to come."""
    return await _answered(request, asking, await _command(request, asking, TriggerSchedule, wanted.id), 202)


@router.post(
    "/schedules/{schedule_id}/backfill",
    status_code=202,
    summary="Make up a range of times",
    responses=answers(202, ScheduleAnswered, *CHANGED),
    openapi_extra=takes(BackfillSchedule, required=True),
)
async def backfill_schedule(request: Request, asking: Asking, wanted: OfSchedule) -> Response:
    """Make flows for the times of a range in the past, the oldest first; a time that has its flow is left alone."""
    return await _answered(request, asking, await _command(request, asking, BackfillSchedule, wanted.id), 202)


@router.get(
    "/schedules/{schedule_id}/history",
    summary="The firings of a schedule",
    responses=answers(200, FiringList, 400, 404, 422, 503),
)
async def schedule_history(
    asking: Asking,
    wanted: OfSchedule,
    outcome: Annotated[
        Literal["flow", "skipped", "missed", "buffered", "refused"] | None, Query(description="Only these.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    cursor: PageCursor = None,
) -> Response:
    """What became of each nominal time, the newest first."""
    topics = [SCHEDULE_TOPICS[fact] for fact, name in OUTCOMES.items() if outcome in (None, name)]
    before = _version(cursor)
    placed = await asking.side.schedules.history(
        wanted.id,
        upto=before - 1 if before is not None else wanted.version,
        limit=limit + 1,
        topics=topics,
        newest_first=True,
    )
    page = placed[:limit]
    return Json(
        {
            "firings": [_firing(asking, each) for each in page],
            "next_cursor": str(page[-1].recorded.version) if len(placed) > limit else None,
        }
    )


@router.get(
    "/schedules/{schedule_id}/events",
    summary="What happened to a schedule",
    responses=answers(200, ScheduleEvents, 400, 404, 422, 503),
)
async def schedule_events(
    asking: Asking, wanted: OfSchedule, limit: Annotated[int, Query(ge=1, le=1000)] = 200, cursor: PageCursor = None
) -> Response:
    """Every event of the schedule, in order, straight from the store."""
    placed = await asking.side.schedules.history(wanted.id, after=_version(cursor) or 0, limit=limit + 1)
    page = placed[:limit]
    return Json(
        {
            "events": [_event(asking, each) for each in page],
            "total": wanted.version,
            "next_cursor": str(page[-1].recorded.version) if len(placed) > limit else None,
        }
    )


@router.get(
    "/schedules/{schedule_id}/next",
    summary="The times to come",
    responses=answers(200, NextTimes, 400, 404, 422, 503),
)
async def schedule_next(
    asking: Asking, wanted: OfSchedule, count: Annotated[int, Query(ge=1, le=100)] = 10
) -> Response:
    """The next times as the timetable has them now; of a paused schedule those that it would have."""
    zone = zone_of(wanted.known.timing)
    times = [
        {"nominal_at": nominal, "local": nominal.astimezone(zone).isoformat(), "fire_at": due}
        for nominal, due in upcoming(wanted, await asking.side.store.now(), count)
    ]
    return Json({"times": times, "total": len(times), "next_cursor": None})


def _version(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise wrong_parameter("cursor", "is not a cursor of this list; begin without one")
    return int(text)


def _firing(asking: Caller, placed: Placed) -> dict[str, Any]:
    recorded = placed.recorded
    fact: Any = recorded.fact
    return {
        "nominal_at": fact.nominal_at,
        "occurred_at": recorded.meta.at,
        "kind": getattr(fact, "kind", Kind.SCHEDULED),
        "outcome": OUTCOMES[type(fact)],
        "flow_id": getattr(fact, "flow_id", None),
        "flow_name": getattr(fact, "flow_name", None),
        "reason": getattr(fact, "reason", None),
        "error": getattr(fact, "error", None),
        "count": getattr(fact, "count", 1),
        "before_at": getattr(fact, "before_at", None),
        "version": recorded.version,
        "position": asking.side.store.position(placed.position),
    }


def _event(asking: Caller, placed: Placed) -> dict[str, Any]:
    recorded = placed.recorded
    meta = recorded.meta
    return {
        "version": recorded.version,
        "position": asking.side.store.position(placed.position),
        "type": SCHEDULE_TOPICS[type(recorded.fact)],
        "occurred_at": meta.at,
        "actor": meta.user_id,
        "command_id": meta.command_id,
        "causation_id": meta.causation_id,
        "correlation_id": meta.correlation_id,
        "source": meta.source,
        "data": recorded.fact,
    }
