"""What discovery found in a flow's files: assets, dependencies and issues, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from api import cursors
from api.answers import Json, etag, not_modified
from api.asking import DOOR, Asking, Caller, OfFlow, Wanted
from api.cursors import Cursor
from api.documents import AssetList, DependencyList, IssueList
from api.openapi import answers
from api.reading import Consistency, MinVersion, WaitMs, found_is_due, words
from api.rows import FoundFilter, raw
from domain.errors import FieldError, ParameterInvalid

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["discovery"])

# the projection that all three are made by
PROJECTION = "inventory"

WordList = Annotated[str | None, Query(max_length=1000, description="Comma list.")]


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page is wanted, and as of when."""

    limit: int
    cursor: str | None
    min_version: int | None
    wait_ms: int
    consistency: str | None


async def paging(
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    cursor: Annotated[str | None, Query(max_length=2000, description="`next_cursor` of the page before.")] = None,
    min_version: MinVersion = None,
    wait_ms: WaitMs = 2000,
    consistency: Consistency = None,
) -> Paging:
    """The page that the query asks for."""
    return Paging(limit, cursor, min_version, wait_ms, consistency)


OnePage = Annotated[Paging, Depends(paging)]


async def _page(
    request: Request, asking: Caller, wanted: Wanted, kind: str, *, filters: FoundFilter, paging: Paging
) -> Response:
    after = cursors.read(paging.cursor, kind, int, uuids=False)
    min_version, limit = paging.min_version, paging.limit
    if paging.consistency == "strong":
        min_version = max(min_version or 0, wanted.version)
    complete = await found_is_due(asking, wanted, PROJECTION, min_version=min_version, wait_ms=paging.wait_ms)
    # rows that are still on their way would be hidden by a tag, so a tag is given only when all are here
    headers = {"ETag": etag(wanted.version)} if complete else {}
    same = not_modified(request, wanted.version) if complete else None
    if same is not None:
        return same
    rows, total = await asking.rows.found(kind, wanted.flow_id, filters, limit, after)
    last = rows[limit - 1] if len(rows) > limit else None
    return Json(
        {
            kind: [raw(row["document"]) for row in rows[:limit]],
            "total": total,
            "next_cursor": cursors.write(kind, Cursor(last["n"], last["id"])) if last else None,
        },
        headers=headers,
    )


def _wanted(**lists: str | None) -> FoundFilter:
    columns = {}
    for name, text in lists.items():
        named = words(text)
        if named is None:
            continue
        if not named:
            raise ParameterInvalid(f"{name}: the list is empty", errors=[FieldError(name, "the list is empty")])
        columns[name] = named
    return FoundFilter(columns)


@router.get(
    "/flows/{flow_id}/assets", summary="Assets found", responses=answers(200, AssetList, 304, 400, 404, 422, 503, 504)
)
async def list_assets(
    request: Request,
    asking: Asking,
    wanted: OfFlow,
    paging: OnePage,
    asset_type: WordList = None,
) -> Response:
    """One row for every machine, with where it was found; unknown is null."""
    return await _page(request, asking, wanted, "assets", filters=_wanted(asset_type=asset_type), paging=paging)


@router.get(
    "/flows/{flow_id}/dependencies",
    summary="Dependencies found",
    responses=answers(200, DependencyList, 304, 400, 404, 422, 503, 504),
)
async def list_dependencies(
    request: Request,
    asking: Asking,
    wanted: OfFlow,
    paging: OnePage,
    noise: Annotated[bool | None, Query(description="Only shared-service noise, or only what is not.")] = None,
) -> Response:
    """Who talks to whom."""
    return await _page(request, asking, wanted, "dependencies", filters=FoundFilter(noise=noise), paging=paging)


@router.get(
    "/flows/{flow_id}/issues", summary="Issues found", responses=answers(200, IssueList, 304, 400, 404, 422, 503, 504)
)
async def list_issues(
    *,
    request: Request,
    asking: Asking,
    wanted: OfFlow,
    paging: OnePage,
    severity: WordList = None,
    kind: WordList = None,
) -> Response:
    """What is wrong with the data, and where."""
    return await _page(request, asking, wanted, "issues", filters=_wanted(severity=severity, kind=kind), paging=paging)
