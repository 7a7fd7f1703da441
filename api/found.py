"""What discovery found in a flow's files: assets, dependencies, issues, doubtful matches and what has changed since an
earlier discovery, a page at a time or all of them as csv."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from api import cursors, report
from api.answers import Json, etag, not_modified
from api.asking import DOOR, Asking, Caller, OfFlow, Wanted
from api.cursors import Cursor
from api.discovered import AssetList, ChangeKind, ChangeList, DependencyList, IssueList, ReviewKind, ReviewList
from api.documents import AssetType, Severity
from api.openapi import CSV, answers
from api.problems import problem
from api.reading import Consistency, MinVersion, WaitMs, found_is_due, words
from api.report import ReportFailed, ReportTooLarge
from api.rows import FoundFilter, raw
from domain.errors import FieldError, ParameterInvalid

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["discovery"])

# the projection that all of them are made by
PROJECTION = "inventory"

WordList = Annotated[str | None, Query(max_length=1000, description="Comma list.")]
WrittenAs = Annotated[
    Literal["json", "csv"],
    Query(alias="format", description="`csv`: all rows that match, with texts that no spreadsheet runs."),
]
# the words of a list's filters, where there are only so many
WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "assets": {"asset_type": get_args(AssetType)},
    "issues": {"severity": get_args(Severity)},
    "reviews": {"kind": get_args(ReviewKind)},
    "changes": {"kind": get_args(ChangeKind)},
}
ReviewKinds = Annotated[
    str | None, Query(max_length=1000, description=f"Comma list of {', '.join(get_args(ReviewKind))}.")
]
ChangeKinds = Annotated[
    str | None, Query(max_length=1000, description=f"Comma list of {', '.join(get_args(ChangeKind))}.")
]


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page is wanted, and as of when."""

    limit: int
    cursor: str | None
    min_version: int | None
    wait_ms: int
    consistency: str | None
    as_csv: bool = False


# what a page is asked for by
OF_PAGES = ("limit", "cursor")


async def paging(
    *,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    cursor: Annotated[str | None, Query(max_length=2000, description="`next_cursor` of the page before.")] = None,
    min_version: MinVersion = None,
    wait_ms: WaitMs = 2000,
    consistency: Consistency = None,
    written_as: WrittenAs = "json",
) -> Paging:
    """The page that the query asks for."""
    return Paging(limit, cursor, min_version, wait_ms, consistency, written_as == "csv")


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
    if paging.as_csv:
        return await _csv(request, asking, wanted, kind, filters=filters, headers=headers)
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


async def _csv(
    request: Request, asking: Caller, wanted: Wanted, kind: str, *, filters: FoundFilter, headers: dict[str, str]
) -> Response:
    """All rows that match, written by the same program as the report, so that texts are defused in one place."""
    paged = [FieldError(name, "csv gives all rows at once") for name in OF_PAGES if name in request.query_params]
    if paged:
        raise ParameterInvalid("; ".join(f"{error.field}: {error.message}" for error in paged), errors=paged)
    try:
        async with report.folder() as place:
            with (place / f"{kind}.ndjson").open("wb") as lines:
                async with aclosing(asking.rows.every(kind, wanted.flow_id, filters)) as documents:
                    async for document in documents:
                        lines.write(document.encode() + b"\n")
            file = await report.make(place, "csv", "--kind", kind)
    except (ReportFailed, ReportTooLarge) as error:
        return problem(request, error)
    flow = await asking.rows.flow(wanted.flow_id)
    name = str(flow["flow_name"] if flow else wanted.flow_id)
    return report.download(file, "csv", f"{name} - {kind}", headers)


def _lists(of: str, /, **lists: str | None) -> dict[str, list[str]]:
    """The wanted values by column; raises ParameterInvalid for an empty list and for words that no row can have."""
    columns = {}
    for name, text in lists.items():
        named = words(text)
        if named is None:
            continue
        if not named:
            raise ParameterInvalid(f"{name}: the list is empty", errors=[FieldError(name, "the list is empty")])
        _check(name, named, WORDS[of].get(name))
        columns[name] = named
    return columns


def _check(name: str, named: list[str], known: tuple[str, ...] | None) -> None:
    unknown = [word for word in named if known is not None and word not in known]
    if known is not None and unknown:
        message = f"{unknown[0][:100]!r} is none of {', '.join(known)}"
        raise ParameterInvalid(f"{name}: {message}", allowed=known, errors=[FieldError(name, message)])


@router.get(
    "/flows/{flow_id}/assets",
    summary="Assets found",
    responses=answers(200, AssetList, 304, 400, 404, 422, 500, 503, 504, extra=CSV),
)
async def list_assets(
    request: Request,
    asking: Asking,
    wanted: OfFlow,
    paging: OnePage,
    asset_type: WordList = None,
) -> Response:
    """One row for every machine, with where it was found; unknown is null."""
    return await _page(
        request, asking, wanted, "assets", filters=FoundFilter(_lists("assets", asset_type=asset_type)), paging=paging
    )


@router.get(
    "/flows/{flow_id}/dependencies",
    summary="Dependencies found",
    responses=answers(200, DependencyList, 304, 400, 404, 422, 500, 503, 504, extra=CSV),
)
async def list_dependencies(
    request: Request,
    asking: Asking,
    wanted: OfFlow,
    paging: OnePage,
    noise: Annotated[
        Literal["true", "false"] | None, Query(description="Only shared-service noise, or only what is not.")
    ] = None,
) -> Response:
    """Who talks to whom."""
    filters = FoundFilter(noise=None if noise is None else noise == "true")
    return await _page(request, asking, wanted, "dependencies", filters=filters, paging=paging)


@router.get(
    "/flows/{flow_id}/issues",
    summary="Issues found",
    responses=answers(200, IssueList, 304, 400, 404, 422, 500, 503, 504, extra=CSV),
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
    return await _page(
        request,
        asking,
        wanted,
        "issues",
        filters=FoundFilter(_lists("issues", severity=severity, kind=kind)),
        paging=paging,
    )


@router.get(
    "/flows/{flow_id}/reviews",
    summary="Doubtful matches",
    responses=answers(200, ReviewList, 304, 400, 404, 422, 500, 503, 504, extra=CSV),
)
async def list_reviews(
    request: Request, asking: Asking, wanted: OfFlow, paging: OnePage, kind: ReviewKinds = None
) -> Response:
    """Assets that may be one, or rows that may mean any of several: kept apart until a person has settled it."""
    filters = FoundFilter(_lists("reviews", kind=kind))
    return await _page(request, asking, wanted, "reviews", filters=filters, paging=paging)


@router.get(
    "/flows/{flow_id}/changes",
    summary="What has changed since an earlier discovery",
    responses=answers(200, ChangeList, 304, 400, 404, 422, 500, 503, 504, extra=CSV),
)
async def list_changes(
    *,
    request: Request,
    asking: Asking,
    wanted: OfFlow,
    paging: OnePage,
    kind: ChangeKinds = None,
    name: Annotated[
        str | None, Query(min_length=1, max_length=255, description="A part of the asset's name, whatever its case.")
    ] = None,
) -> Response:
    """Assets that are new, gone, changed or renamed against the inventory that `compare_with` named, by default the latest
    of the engagement; none where this was the first. A csv has one row for every field that differs."""
    filters = FoundFilter(_lists("changes", kind=kind), name=name)
    return await _page(request, asking, wanted, "changes", filters=filters, paging=paging)
