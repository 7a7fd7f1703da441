"""The audit trail over HTTP: what was asked and what became of it, for whoever must answer for it. Reading it is noted in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args
from uuid import UUID, uuid4

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response, StreamingResponse

from api import cursors
from api.answers import Json, in_utc
from api.asking import DOOR, Asking, Caller, OfFlow, command_id, document_in, no_body
from api.audit_documents import (
    AuditEventList,
    LegalHold,
    LegalHoldList,
    Outcome,
    PlaceHold,
    RetentionList,
    SetRetention,
)
from api.audit_rows import COLUMNS, AuditFilter, AuditRows, Row
from api.csv_lines import csv_lines
from api.cursors import Cursor
from api.dlq import holds_token, operator
from api.openapi import CSV, answers, body_of
from api.reading import IsoTime, aware, words
from domain.auditing.trail import Category, Level
from domain.errors import FieldError, FlowNotFound, ParameterInvalid
from eventstore.audit.notes import Note
from eventstore.audit.retention import Retention

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["audit"])

ORDER = "-at"
BATCH = 200
MEDIA_TYPES = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8; header=present",
}
OPERATOR = [Depends(operator)]
OPERATOR_TOO = {"x-mfo-headers": ["OperatorToken", "IdempotencyKey"]}
NO_HOLD_BODY = "a DELETE takes no body; give the reason as query parameter"

HoldId = Annotated[UUID, Path(description="The hold's id.")]


def _words(name: str, given: str | None, known: type[StrEnum] | None = None) -> list[str] | None:
    """The words of a comma list; raises ParameterInvalid for one that is not known."""
    found = words(given)
    allowed = (
        {str(word) for word in known} if known is not None else set(get_args(Outcome)) if name == "outcome" else None
    )
    wrong = [word for word in found or () if allowed is not None and word not in allowed]
    if wrong:
        message = f"{wrong[0]!r} is none of {', '.join(sorted(allowed or ()))}"
        raise ParameterInvalid(f"{name}: {message}", errors=[FieldError(name, message)])
    return found


async def filters(
    *,
    category: Annotated[str | None, Query(max_length=1000, description="Comma list of categories.")] = None,
    level: Annotated[str | None, Query(max_length=1000, description="Comma list of levels.")] = None,
    operation: Annotated[str | None, Query(max_length=1000, description="Comma list, such as `pause,delete`.")] = None,
    actor: Annotated[str | None, Query(max_length=255)] = None,
    outcome: Annotated[str | None, Query(max_length=1000, description="Comma list of outcomes.")] = None,
    correlation_id: Annotated[str | None, Query(max_length=255)] = None,
    causation_id: Annotated[str | None, Query(max_length=255)] = None,
    ip_address: Annotated[str | None, Query(max_length=100, description="The address it came from.")] = None,
    user_agent: Annotated[
        str | None, Query(max_length=1000, description="All of what the caller's program said.")
    ] = None,
    reason_contains: Annotated[
        str | None,
        Query(min_length=1, max_length=1000, description="A part of the reason that was given, in any case."),
    ] = None,
    since: Annotated[IsoTime | None, Query(alias="from", description="Not before.")] = None,
    until: Annotated[IsoTime | None, Query(alias="to", description="Before.")] = None,
) -> AuditFilter:
    """The filters of a list; raises ParameterInvalid."""
    return AuditFilter(
        category=_words("category", category, Category),
        level=_words("level", level, Level),
        operation=_words("operation", operation),
        actor=actor,
        outcome=_words("outcome", outcome),
        correlation_id=correlation_id,
        causation_id=causation_id,
        ip_address=ip_address,
        user_agent=user_agent,
        reason_contains=reason_contains,
        since=aware(since),
        until=aware(until),
    )


Filters = Annotated[AuditFilter, Depends(filters)]
Format = Annotated[
    Literal["json", "ndjson", "csv"] | None,
    Query(alias="format", description="Stream all that match, in this format; left out: a page."),
]
Reason = Annotated[str | None, Query(max_length=4000, description="Why it is exported; kept in the trail.")]
Limit = Annotated[int, Query(ge=1, le=200)]
PageCursor = Annotated[str | None, Query(max_length=2000)]


@router.get("/audit", summary="The audit trail", responses=answers(200, AuditEventList, 400, 422, 503, extra=CSV))
async def list_audit_events(
    *,
    request: Request,
    asking: Asking,
    wanted: Filters,
    flow_id: UUID | None = None,
    written_as: Format = None,
    reason: Reason = None,
    limit: Limit = 50,
    cursor: PageCursor = None,
) -> Response:
    """Every command with its answer, refused and repeated ones too, what the system did, and who read what is sensitive; the
    newest first. Whoever sends the operator's token also sees attempts at other tenants' flows."""
    return await _answer(
        request,
        asking,
        replace(wanted, flow_id=flow_id),
        written_as=written_as,
        reason=reason,
        limit=limit,
        cursor=cursor,
    )


@router.get(
    "/flows/{flow_id}/audit",
    summary="The audit trail of a flow",
    responses=answers(200, AuditEventList, 400, 404, 422, 503, extra=CSV),
)
async def list_flow_audit_events(
    *,
    request: Request,
    asking: Asking,
    flow: OfFlow,
    wanted: Filters,
    written_as: Format = None,
    reason: Reason = None,
    limit: Limit = 50,
    cursor: PageCursor = None,
) -> Response:
    """What was asked of one flow, and what became of it; the newest first."""
    return await _answer(
        request,
        asking,
        replace(wanted, flow_id=flow.flow_id),
        written_as=written_as,
        reason=reason,
        limit=limit,
        cursor=cursor,
    )


async def _answer(
    request: Request,
    asking: Caller,
    wanted: AuditFilter,
    *,
    written_as: str | None,
    reason: str | None,
    limit: int,
    cursor: str | None,
) -> Response:
    after = cursors.read(cursor, ORDER, datetime)
    rows = AuditRows(asking.side, asking.tenant, operator=holds_token(request, asking))
    said: dict[str, Any] = {"filters": msgspec.to_builtins(wanted.named())}
    if written_as is None:
        await noted(asking, Note("ReadAuditTrail", wanted.flow_id, said))
        found, total = await rows.page(wanted, limit + 1, after)
        last = found[limit - 1] if len(found) > limit else None
        more = cursors.write(ORDER, Cursor(last["at"], last["audit_event_id"])) if last else None
        return Json({"audit_events": found[:limit], "total": total, "next_cursor": more})
    await noted(asking, Note("ExportAuditTrail", wanted.flow_id, {**said, "format": written_as, "reason": reason}))
    write = {"json": _as_json, "ndjson": _as_lines, "csv": _as_csv}[written_as]
    headers = {
        "Content-Disposition": f'attachment; filename="audit.{written_as}"',
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(write(rows, wanted), headers=headers, media_type=MEDIA_TYPES[written_as])


async def noted(asking: Caller, what: Note) -> None:
    """Keep that this is read before it is; raises what the store raises."""
    await asking.service.notes.keep(asking.envelope(str(uuid4())), what)


async def _as_lines(rows: AuditRows, wanted: AuditFilter) -> AsyncIterator[bytes]:
    async for some in _batches(rows, wanted):
        yield b"".join(msgspec.json.encode(row) + b"\n" for row in some)


async def _as_json(rows: AuditRows, wanted: AuditFilter) -> AsyncIterator[bytes]:
    before = b'{"audit_events":['
    async for some in _batches(rows, wanted):
        yield before + b",".join(msgspec.json.encode(row) for row in some)
        before = b","
    yield (b"" if before == b"," else before) + b'],"total":null,"next_cursor":null}'


async def _as_csv(rows: AuditRows, wanted: AuditFilter) -> AsyncIterator[bytes]:
    yield csv_lines([list(COLUMNS)])
    async for some in _batches(rows, wanted):
        yield csv_lines([[_cell(row[name]) for name in COLUMNS] for row in some])


async def _batches(rows: AuditRows, wanted: AuditFilter) -> AsyncIterator[list[Row]]:
    some: list[Row] = []
    async for row in rows.every(wanted):
        some.append(row)
        if len(some) == BATCH:
            yield some
            some = []
    if some:
        yield some


def _cell(value: Any) -> str | None:
    """A value as text: ids and times as in JSON, objects as JSON."""
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode().strip('"')


@router.get(
    "/audit/retention", summary="How long the trail is kept", responses=answers(200, RetentionList, 400, 422, 503)
)
async def list_retention(asking: Asking) -> Response:
    """How many days entries of each category are kept for the client account."""
    rows = await Retention(asking.side.pool).all(asking.tenant.client_account_id)
    return Json({"retention": [in_utc(row) for row in rows], "next_cursor": None})


@router.put(
    "/audit/retention/{category}",
    summary="Set how long a category is kept",
    dependencies=OPERATOR,
    responses=answers(200, RetentionList, 400, 403, 413, 422, 503),
    openapi_extra=body_of(SetRetention, required=True) | OPERATOR_TOO,
)
async def set_retention(request: Request, asking: Asking, category: Category) -> Response:
    """Remove entries of the client account that are older than so many days, once they have been signed; holds excepted."""
    given = await document_in(request, asking, SetRetention)
    await Retention(asking.side.pool).set(asking.envelope(command_id(request)), category, given.keep_days, given.reason)
    return await list_retention(asking)


@router.get("/audit/holds", summary="Legal holds", responses=answers(200, LegalHoldList, 400, 422, 503))
async def list_holds(asking: Asking) -> Response:
    """What of the engagement must not be removed, the newest first; released holds too."""
    rows = await Retention(asking.side.pool).holds(asking.tenant)
    return Json({"holds": [in_utc(row) for row in rows], "next_cursor": None})


@router.post(
    "/audit/holds",
    status_code=201,
    summary="Place a legal hold",
    dependencies=OPERATOR,
    responses=answers(201, LegalHold, 400, 403, 404, 413, 422, 503),
    openapi_extra=body_of(PlaceHold, required=True) | OPERATOR_TOO,
)
async def place_hold(request: Request, asking: Asking) -> Response:
    """Keep the entries of a flow, or of the engagement, whatever the retention says."""
    given = await document_in(request, asking, PlaceHold)
    if given.flow_id is not None and await asking.rows.version(given.flow_id) is None:
        raise FlowNotFound
    keeping = Retention(asking.side.pool)
    hold = await keeping.place(asking.envelope(command_id(request)), given.flow_id, given.reason)
    return Json(in_utc((await keeping.holds(asking.tenant, hold))[0]), 201)


@router.delete(
    "/audit/holds/{hold_id}",
    status_code=204,
    summary="Release a legal hold",
    dependencies=OPERATOR,
    responses=answers(204, None, 400, 403, 404, 413, 422, 503),
    openapi_extra=OPERATOR_TOO,
)
async def release_hold(request: Request, asking: Asking, hold_id: HoldId, reason: Reason = None) -> Response:
    """Let retention remove what was held."""
    await no_body(request, asking, NO_HOLD_BODY)
    await Retention(asking.side.pool).release(asking.envelope(command_id(request)), hold_id, reason)
    return Response(status_code=204)
