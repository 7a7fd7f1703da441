"""The other systems that handlers call: which of them are left alone, why and until when."""

from __future__ import annotations

from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from api import cursors
from api.answers import Json
from api.asking import DOOR, Asking, Caller
from api.cursors import Cursor
from api.documents import TargetList, TargetView
from api.openapi import answers
from api.problems import TargetNotFound
from api.reading import words
from domain.errors import FieldError, ParameterInvalid
from eventstore.breakers import SHARED, STATES, Breaker

log = structlog.get_logger()
router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["targets"])

ORDER = "target"


@router.get("/targets", summary="List targets", responses=answers(200, TargetList, 400, 422, 503))
async def list_targets(
    *,
    asking: Asking,
    state: Annotated[
        str | None, Query(max_length=100, description="Comma list of `closed`, `open`, `half_open`.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> Response:
    """The targets that have failed at some time, by name: those that all tenants share, and the client account's own."""
    states = words(state)
    if states is not None and (not states or set(states) - set(STATES)):
        message = f"use one or more of {', '.join(STATES)}"
        raise ParameterInvalid(f"state: {message}", allowed=STATES, errors=[FieldError("state", message)])
    last = cursors.read(cursor, ORDER, str, uuids=False)
    after = _breaker(asking, str(last.key), own=last.id != SHARED) if last else None
    rows, total = await asking.side.breakers.page(
        asking.tenant.client_account_id, states=states, after=after, limit=limit + 1
    )
    page, end = rows[:limit], rows[limit - 1] if len(rows) > limit else None
    more = cursors.write(ORDER, Cursor(end["target"], SHARED if end["shared"] else "own")) if end else None
    return Json({"targets": page, "total": total, "next_cursor": more})


@router.post(
    "/targets/{target}/retry",
    summary="Have a target tried at once",
    responses=answers(200, TargetView, 400, 404, 422, 503),
)
async def retry_target(
    *,
    asking: Asking,
    target: Annotated[str, Path(max_length=200, description="Its name, as the list has it.")],
    own: Annotated[bool, Query(description="The client account's own target, not the one that all share.")] = False,
) -> Response:
    """The next call of an open target tries it, whatever its time; its outcome decides. Changes nothing for others.

    Flows that wait for it go on when their own time comes; execute one to have it try now.
    """
    breaker = _breaker(asking, target, own=own)
    if await asking.side.breakers.ask_again(breaker, asking.tenant.user_id):
        log.info("target is to be tried", target=target, scope=breaker.scope, user_id=asking.tenant.user_id)
    found: dict[str, Any] | None = await asking.side.breakers.one(breaker)
    if found is None:
        raise TargetNotFound(f"no target {target!r} has ever failed here; see GET /api/v1/targets")
    return Json(found)


def _breaker(asking: Caller, target: str, *, own: bool) -> Breaker:
    return Breaker(str(asking.tenant.client_account_id) if own else SHARED, target)
