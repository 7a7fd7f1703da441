"""Routes of the older system: the same answers as those that took their place, and word of when they end.

`Deprecation` (RFC 9745) and `Sunset` (RFC 8594) stand in every answer, `Link` names the route to use instead.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from api import flows, verbs
from api.answers import Json
from api.asking import DOOR, Asking
from api.documents import CommandParked, FlowDetail, FlowList, FlowMade, FlowStatusAnswer
from api.openapi import DELETE_FLOW, answers, flow_of_type, takes
from api.reading import ReadMany
from domain.commands import ExecutePhase, PauseFlow, ResumeFlow
from domain.errors import ParameterInvalid

SINCE = datetime(2026, 11, 1, tzinfo=UTC)
UNTIL = datetime(2027, 12, 31, tzinfo=UTC)
TYPES = ("discovery", "assessment")
MADE = answers(201, FlowMade, 202, 400, 404, 409, 413, 422, 503, also={202: CommandParked})
READ = (304, 400, 404, 422, 503, 504)


async def say_so(request: Request) -> None:
    """Have the answer say that the route is deprecated, whatever the answer is."""
    new = request.url.path
    for name in TYPES:
        new = new.replace(f"/{name}/flows", "/flows").replace(f"/flows/legacy/{name}/create", "/flows")
    # what the caller wrote into the path must not end the address
    new = quote(new)
    request.scope["state"]["headers"] = (
        (b"deprecation", f"@{int(SINCE.timestamp())}".encode()),
        (b"sunset", format_datetime(UNTIL, usegmt=True).encode()),
        (b"link", f'<{new}>; rel="successor-version"'.encode()),
    )


router = APIRouter(prefix="/api/v1", dependencies=[Depends(say_so), *DOOR], tags=["deprecated"], deprecated=True)


def _routes(flow_type: str) -> None:
    """The routes of one type, each the one that took its place."""
    title = flow_type.title()

    async def create(request: Request, asking: Asking) -> Response:
        """As POST /flows, where `flow_type` may be left out."""
        return await flows.begin(request, asking, flow_type=flow_type)

    async def listed(
        *,
        request: Request,
        asking: Asking,
        status: Annotated[str | None, Query(max_length=1000)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=2000)] = None,
    ) -> Response:
        """As GET /flows of this type."""
        try:
            return await flows.list_flows(
                request=request,
                asking=asking,
                flow_type=flow_type,
                status=status,
                limit=limit,
                cursor=cursor,
                how=ReadMany(),
            )
        except ParameterInvalid as invalid:
            if [error.field for error in invalid.errors] != ["flow_type"]:
                raise
            # nobody runs it here, and no flow of it has been imported
            return Json({"flows": [], "total": 0, "total_is_estimate": False, "next_cursor": None})

    body = flow_of_type()
    for path, name in ((f"/{flow_type}/flows", "create"), (f"/flows/legacy/{flow_type}/create", "create_legacy")):
        router.add_api_route(
            path,
            create,
            methods=["POST"],
            status_code=201,
            name=f"{name}_{flow_type}_flow",
            summary=f"Create a flow: {title}",
            responses=MADE,
            openapi_extra=body,
        )
    router.add_api_route(
        f"/{flow_type}/flows",
        listed,
        methods=["GET"],
        name=f"list_{flow_type}_flows",
        summary=f"List flows: {title}",
        responses=answers(200, FlowList, 400, 422, 503, 504),
    )
    one = f"/{flow_type}/flows/{{flow_id}}"
    for method, path, endpoint, told, extra in (
        ("GET", one, flows.get_flow, answers(200, FlowDetail, *READ), None),
        ("GET", f"{one}/status", flows.flow_status, answers(200, FlowStatusAnswer, *READ), None),
        ("DELETE", one, flows.delete_flow, flows.DELETED, DELETE_FLOW),
        ("POST", f"{one}/execute", verbs.execute_phase, verbs.EXECUTED, takes(ExecutePhase)),
        ("POST", f"{one}/pause", verbs.pause_flow, verbs.VERB_ANSWERS, takes(PauseFlow)),
        ("POST", f"{one}/resume", verbs.resume_flow, verbs.VERB_ANSWERS, takes(ResumeFlow)),
    ):
        router.add_api_route(
            path,
            endpoint,
            methods=[method],
            status_code={"DELETE": 204}.get(method, 202 if endpoint is verbs.execute_phase else 200),
            name=f"{endpoint.__name__}_of_{flow_type}",
            summary=f"{title}: as /flows{path.removeprefix(f'/{flow_type}/flows')}",
            responses=told,
            openapi_extra=extra,
        )


for each in TYPES:
    _routes(each)
