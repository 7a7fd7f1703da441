"""Flows: made, listed, read, deleted; where they stand and what happened to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID, uuid5

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from api import cursors
from api.answers import Json, deleted, etag, not_modified
from api.asking import DOOR, NO_BODY, Asking, Caller, OfFlow, build, command_id, json_body, no_body, no_if_match, submit
from api.csv_lines import csv_lines
from api.cursors import Cursor
from api.documents import CommandParked, FlowDetail, FlowList, FlowMade, FlowStatusAnswer, History
from api.expected import estimated_completion
from api.lists import FlowFilter
from api.openapi import DELETE_FLOW, NDJSON_OR_CSV, answers, takes
from api.parked import waits
from api.past import At, AtTime, intervals_are_due, past_time, row_then
from api.problems import problem, wrong_parameter
from api.reading import (
    AsRead,
    AsReadMany,
    Consistency,
    IsoTime,
    MinVersion,
    WaitMs,
    aware,
    flow_row,
    list_is_due,
    words,
)
from api.rows import FLOWS, Row
from api.runs import run_shown
from api.tree import tree_counts
from api.waiting import waiting
from domain.commands import CreateFlow, DeleteFlow
from domain.deciding.following import next_action
from domain.errors import BodyInvalid, FieldError, ParameterInvalid, ReadModelBehind
from domain.events import TOPICS
from domain.flow import FROZEN, Recorded
from domain.words import Status, status_of
from eventstore.committer import WAITS
from eventstore.definitions import remember

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["flows"])

Sort = Literal["created_at", "-created_at", "updated_at", "-updated_at", "flow_name", "-flow_name", "status", "-status"]
NO_TIME_IS_SAVED = frozenset({Status.PROCESSING})
# an event's JSON may be 256 KiB
STREAM_BATCH = 100
HISTORY_CSV = (
    *("version", "position", "occurred_at", "type", "phase_name", "actor", "source"),
    *("command_id", "causation_id", "correlation_id", "data"),
)
SUGGESTIONS = "mapping_suggestions"


@router.post(
    "/flows",
    status_code=201,
    summary="Create a flow",
    responses=answers(201, FlowMade, 202, 400, 404, 409, 413, 422, 503, also={202: CommandParked}),
    openapi_extra=takes(CreateFlow, required=True, if_match=False),
)
async def create_flow(
    request: Request,
    asking: Asking,
    wait: Annotated[
        bool,
        Query(
            description="Answer when the flow has completed, failed, been cancelled or paused, or asks for something, as it"
            " stands then; as it stands after `wait_ms` at the latest."
        ),
    ] = False,
    wait_ms: WaitMs = 2000,
) -> Response:
    """Begin a flow of a type. Only `flow_type` and `flow_name` are required."""
    return await begin(request, asking, seconds=wait_ms / 1000 if wait else 0)


async def begin(request: Request, asking: Caller, *, seconds: float = 0, **given: str) -> Response:
    """A new flow as the body says it; what is `given` stands in for what it leaves out.

    One that goes on by itself is waited for that long.
    """
    no_if_match(request, "a flow that is new")
    key = command_id(request)
    flow_id = uuid5(asking.tenant.client_account_id, key)
    body = await json_body(request, asking.side.config.max_body_bytes)
    command = build(CreateFlow, {**given, **body}, flow_id)
    answer = await submit(request, asking, command, command_id=key)
    if answer.outcome == WAITS:
        return waits(answer)
    flow = answer.flow
    if answer.error is not None or flow is None:
        return problem(request, answer.error or BodyInvalid())
    version, position = answer.version, answer.position
    if seconds and flow.status is Status.PROCESSING:
        await asking.service.watch.rest(flow.id, version + 1, seconds)
        flow, _, place = (await asking.side.store.load([flow.id]))[flow.id]
        version, position = flow.version, asking.side.store.position(place)
    made = {
        "flow_id": flow.id,
        "flow_type": flow.flow_type,
        "flow_name": flow.flow_name,
        "status": flow.status,
        "current_phase": flow.current_phase,
        "next_action": next_action(flow, asking.side.types),
        "created_at": flow.created_at,
        "version": version,
        "position": position,
    }
    return Json(made, 201, {"ETag": etag(version), "Location": f"/api/v1/flows/{flow.id}"})


@router.get("/flows", summary="List flows", responses=answers(200, FlowList, 400, 422, 503, 504))
async def list_flows(
    *,
    request: Request,
    asking: Asking,
    flow_type: Annotated[str | None, Query(max_length=1000, description="Comma list of flow types.")] = None,
    status: Annotated[
        str | None, Query(max_length=1000, description="Comma list of statuses or their aliases.")
    ] = None,
    created_after: Annotated[IsoTime | None, Query(description="Made later than this; without a zone: UTC.")] = None,
    created_before: Annotated[IsoTime | None, Query(description="Made earlier than this; without a zone: UTC.")] = None,
    parent_flow_id: UUID | None = None,
    tag: Annotated[str | None, Query(min_length=1, max_length=100)] = None,
    search: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=255,
            description="Words, each of which begins a word of the name, the description or a tag.",
        ),
    ] = None,
    sort: Annotated[Sort, Query(description="`-`: descending.")] = "-created_at",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
    how: AsReadMany,
    at: AtTime = None,
) -> Response:
    """The tenant's flows of every status but deleted, which show only with `status=deleted`.

    With `at` as they stood then; `version` and `updated_at` are then those of the last change that a list shows.
    """
    wanted = FlowFilter(
        flow_types=await types_asked(asking, words(flow_type)),
        statuses=statuses_of(words(status)),
        created_after=aware(created_after),
        created_before=aware(created_before),
        parent_flow_id=parent_flow_id,
        tag=tag,
        search=search,
    )
    after = cursors.read(cursor, sort, datetime if sort.endswith("_at") else str)
    await list_is_due(asking, FLOWS, how)
    if at is None:
        rows, total, is_estimate = await asking.lists.flows(
            wanted, sort, limit, after, shared=how.min_position is None and how.consistency is None
        )
    else:
        then = await past_time(asking, at, "at")
        await intervals_are_due(asking, then, how.wait_ms)
        rows, total, is_estimate = await asking.lists.flows_then(wanted, then, sort, limit, after)
    asking.looked("ListFlows", None, query=request.url.query[:1000], total=total)
    column = {"status": "flow_status"}.get(sort.removeprefix("-"), sort.removeprefix("-"))
    last = rows[limit - 1] if len(rows) > limit else None
    return Json(
        {
            "flows": [{**row, "status": row["flow_status"]} for row in rows[:limit]],
            "total": total,
            "total_is_estimate": is_estimate,
            "next_cursor": cursors.write(sort, Cursor(last[column], last["flow_id"])) if last else None,
        }
    )


async def types_asked(asking: Caller, names: list[str] | None) -> list[str] | None:
    """As `known_types`; a type that only flows imported by another process have is looked up first."""
    try:
        return known_types(asking, names)
    except ParameterInvalid:
        await remember(asking.side.pool, asking.side.types)
        return known_types(asking, names)


def known_types(asking: Caller, names: list[str] | None) -> list[str] | None:
    """The flow types that a list asks for, as they are called; raises ParameterInvalid for one that there is not."""
    if names is None:
        return None
    known = asking.side.types.names()
    found = [name.lower().replace("-", "_").replace(" ", "_") for name in names]
    # of others there may be flows that were imported
    there = {config.name for config in asking.side.types.versions()}
    unknown = [name for name, word in zip(names, found, strict=True) if word not in there]
    if unknown or not names:
        message = f"{', '.join(unknown) or 'the list'} is no flow type; use {', '.join(known)}"
        raise ParameterInvalid(f"flow_type: {message}", allowed=known, errors=[FieldError("flow_type", message)])
    return found


def statuses_of(names: list[str] | None) -> list[str] | None:
    """The statuses that a list asks for, as they are called; raises ParameterInvalid for one that there is not."""
    if names is None:
        return None
    try:
        found = [str(status_of(name)) for name in names]
        if not found:
            raise ValueError(f"the list is empty; use one of {', '.join(Status)}")
    except ValueError as error:
        raise ParameterInvalid(
            f"status: {error}", allowed=[str(status) for status in Status], errors=[FieldError("status", str(error))]
        ) from None
    return found


@router.get(
    "/flows/{flow_id}",
    summary="Everything about a flow",
    responses=answers(200, FlowDetail, 304, 400, 404, 422, 503, 504),
)
async def get_flow(
    *,
    request: Request,
    asking: Asking,
    wanted: OfFlow,
    how: AsRead,
    at: At = None,
) -> Response:
    """The flow's row of the read model, with its phases, outputs and errors; with `at` as it was then."""
    if at is not None:
        row = await row_then(asking, wanted, at, min_version=how.min_version)
    else:
        row = await flow_row(asking, wanted, how)
    asking.looked("CheckStatus", wanted.flow_id, path=request.url.path)
    same = not_modified(request, row["version"])
    if same is not None:
        return same
    position = asking.side.store.position(row.pop("log_position"))
    extra = {
        "status": row["flow_status"],
        "flow_persistence_data": row["flow_state"],
        "outputs": row["flow_state"].get("outputs", {}),
        "errors": row["error_log"],
        "allowed": row["flow_metadata"].get("allowed", []),
        "active_phases": row["flow_metadata"].get("active_phases", []),
        "position": position,
    }
    return Json({**row, **extra}, headers={"ETag": etag(row["version"])})


DELETED = answers(204, None, 202, 400, 404, 412, 413, 422, 503, also={202: CommandParked})


@router.delete(
    "/flows/{flow_id}",
    status_code=204,
    summary="Delete a flow",
    responses=DELETED,
    openapi_extra=DELETE_FLOW,
)
async def delete_flow(
    request: Request,
    asking: Asking,
    wanted: OfFlow,
    reason: Annotated[str | None, Query(max_length=4000)] = None,
    tree: Annotated[bool, Query(description="With all flows under it; `false`: this flow alone.")] = True,
) -> Response:
    """Hide the flow; its history stays. The answer's version and position are in `ETag` and `X-MFO-Position`."""
    await no_body(request, asking, NO_BODY)
    command = DeleteFlow(flow_id=wanted.flow_id, reason=reason, tree=None if tree else False)
    answer = await submit(request, asking, command, command_id=command_id(request))
    if answer.outcome == WAITS:
        return waits(answer)
    if answer.error is not None:
        return problem(request, answer.error)
    return deleted(answer.version, answer.position)


@router.get(
    "/flows/{flow_id}/status",
    summary="Where a flow stands",
    responses=answers(200, FlowStatusAnswer, 304, 400, 404, 422, 503, 504),
)
async def flow_status(
    *,
    request: Request,
    asking: Asking,
    wanted: OfFlow,
    how: AsRead,
    at: At = None,
) -> Response:
    """Status, progress, times and what comes next. A flow in progress is never answered with 304.

    With `at` as its history tells it then: without the progress inside of a run, what it waited for, and the flows under it.
    """
    if at is not None:
        row = await row_then(asking, wanted, at, min_version=how.min_version)
        asking.looked("CheckStatus", wanted.flow_id, path=request.url.path)
        return Json(await _status(asking, row, then=True), headers={"ETag": etag(row["version"])})
    row = await flow_row(asking, wanted, how)
    asking.looked("CheckStatus", wanted.flow_id, path=request.url.path)
    # of the flows under it the version says nothing
    if row["flow_status"] not in NO_TIME_IS_SAVED and not row["child_flow_ids"]:
        same = not_modified(request, row["version"])
        if same is not None:
            return same
    return Json(await _status(asking, row), headers={"ETag": etag(row["version"])})


async def _with_suggestions(asking: Caller, row: Row, asked: Row | None) -> Row | None:
    """A question, with suggestions that were moved to an artifact."""
    if not asked or not asked.get("suggestions"):
        return asked
    found = await asking.side.artifacts.unspill(row["client_account_id"], asked["suggestions"])
    return {**asked, "suggestions": found}


async def _lane_shown(asking: Caller, row: Row, lane: Row, *, then: bool) -> Row:
    """What is in hand of one phase, with what the store knows of its run; of one that was, only what the flow says."""
    return {
        **{name: lane[name] for name in ("phase_name", "state", "suspended", "attempts")},
        "run": await run_shown(None if then else asking.rows, lane["run"]),
        "waiting": None if then else await waiting(asking, row, lane),
        "input_request": await _with_suggestions(asking, row, lane["input_request"]),
    }


async def _status(asking: Caller, row: Row, *, then: bool = False) -> dict[str, Any]:
    done = row["phases_completed"]
    asked = await _with_suggestions(asking, row, row["input_request"])
    suggestions: list[Any] = asked["suggestions"].get(SUGGESTIONS, []) if asked and asked.get("suggestions") else []
    performance, metadata = row["performance_metrics"], row["flow_metadata"]
    lanes = [await _lane_shown(asking, row, lane, then=then) for lane in metadata.get("lanes", [])]
    held = next((lane["waiting"] for lane in lanes if lane["waiting"]), None)
    paused = metadata.get("paused")
    if paused:
        # a row may be older than these
        paused = {"timers": FROZEN, "drained_at": None} | paused
    return {
        "flow_id": row["flow_id"],
        "flow_type": row["flow_type"],
        "flow_version": row["flow_version"],
        "flow_name": row["flow_name"],
        "status": row["flow_status"],
        "current_phase": row["current_phase"],
        "active_phases": metadata.get("active_phases", []),
        "lanes": lanes,
        "progress": {
            "percentage": row["progress_percentage"],
            "phases_completed": done,
            "phases_remaining": [phase["name"] for phase in row["phases"] if phase["name"] not in done],
            "estimated_completion": await estimated_completion(asking, row),
        },
        "performance": {
            "total_execution_time_ms": performance.get("total_execution_time_ms", 0),
            "phase_times": performance.get("phase_times", {}),
        },
        "next_action": row["next_action"],
        "run": await run_shown(None if then else asking.rows, metadata.get("run")),
        "waiting": held if lanes or then else await waiting(asking, row, metadata),
        "phases": row["phases"],
        "paused": paused,
        "draining": row["draining"],
        "draining_runs": metadata.get("draining_runs", 0),
        "drained_at": paused.get("drained_at") if paused else None,
        "tree": tree_counts(await asking.rows.below(row["flow_id"])) if row["child_flow_ids"] and not then else None,
        "input_request": asked,
        SUGGESTIONS: suggestions,
        "errors": row["error_log"],
        "error": metadata.get("error"),
        "suspended": metadata.get("suspended"),
        "signals": metadata.get("signals", {}),
        "dependencies": metadata.get("dependencies", []),
        "timers": metadata.get("timers", []),
        "attempts": metadata.get("attempts", []),
        "advice": metadata.get("advice"),
        "iteration_number": row["iteration_number"],
        "recovery": metadata.get("recovery"),
        "rollback": metadata.get("rollback"),
        "allowed": metadata.get("allowed", []),
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "version": row["version"],
        "position": asking.side.store.position(row["log_position"]),
    }


@router.get(
    "/flows/{flow_id}/history",
    summary="What happened to a flow",
    responses=answers(200, History, 304, 400, 404, 422, 503, 504, extra=NDJSON_OR_CSV),
)
async def flow_history(
    *,
    request: Request,
    asking: Asking,
    wanted: OfFlow,
    after: Annotated[int, Query(ge=0, le=2**62, description="Only events with a higher version.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    cursor: Annotated[str | None, Query(max_length=30, description="`next_cursor` of the page before.")] = None,
    written_as: Annotated[
        Literal["json", "ndjson", "csv"],
        Query(
            alias="format",
            description="`ndjson` and `csv` stream all events, one a line; in a csv no text is one that spreadsheets run.",
        ),
    ] = "json",
    min_version: MinVersion = None,
    wait_ms: WaitMs = 2000,
    consistency: Consistency = None,
) -> Response:
    """Every event of the flow, in order, straight from the store."""
    version = wanted.version
    if min_version is not None and min_version > version:
        if not await asking.service.watch.history(wanted.flow_id, min_version, wait_ms / 1000):
            raise ReadModelBehind(f"the flow has not reached version {min_version}")
        version = min_version
    same = not_modified(request, version)
    if same is not None:
        return same
    headers = {"ETag": etag(version)}
    start = max(after, _history_cursor(cursor))
    if written_as == "ndjson":
        lines: AsyncIterator[bytes] = (_json_lines(batch) async for batch in _stream(asking, wanted.flow_id, start))
        return StreamingResponse(lines, media_type="application/x-ndjson", headers=headers)
    if written_as == "csv":
        named = {"Content-Disposition": f'attachment; filename="history-{wanted.flow_id}.csv"'}
        lines = _csv(_stream(asking, wanted.flow_id, start))
        return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers | named)
    events = await asking.side.store.history(wanted.flow_id, after=start, limit=limit + 1)
    page = events[:limit]
    return Json(
        {
            "events": [event_shown(asking, position, recorded) for position, recorded in page],
            "total": max(version, page[-1][1].version if page else 0),
            "next_cursor": str(page[-1][1].version) if len(events) > limit else None,
        },
        headers=headers,
    )


def _history_cursor(text: str | None) -> int:
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise wrong_parameter("cursor", "is not a cursor of this list; begin without one")
    return int(text)


async def _stream(asking: Caller, flow_id: UUID, after: int) -> AsyncIterator[list[dict[str, Any]]]:
    """All events behind a version, some at a time; at most one batch is held."""
    while events := await asking.side.store.history(flow_id, after=after, limit=STREAM_BATCH):
        yield [event_shown(asking, position, recorded) for position, recorded in events]
        after = events[-1][1].version


def _json_lines(events: list[dict[str, Any]]) -> bytes:
    return b"\n".join(msgspec.json.encode(event) for event in events) + b"\n"


async def _csv(batches: AsyncIterator[list[dict[str, Any]]]) -> AsyncIterator[bytes]:
    yield csv_lines([HISTORY_CSV])
    async for events in batches:
        for event in events:
            event["phase_name"] = getattr(event["data"], "phase_name", None)
            event["data"] = msgspec.json.encode(event["data"]).decode()
            event["occurred_at"] = event["occurred_at"].isoformat()
        yield csv_lines([event[name] for name in HISTORY_CSV] for event in events)


def event_shown(asking: Caller, position: int, recorded: Recorded) -> dict[str, Any]:
    """An event as histories show it."""
    meta = recorded.meta
    return {
        "version": recorded.version,
        "position": asking.side.store.position(position),
        "type": TOPICS[type(recorded.fact)],
        "occurred_at": meta.at,
        "actor": meta.user_id,
        "command_id": meta.command_id,
        "causation_id": meta.causation_id,
        "correlation_id": meta.correlation_id,
        "source": meta.source,
        "data": recorded.fact,
    }
