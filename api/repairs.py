"""What does not fit the history of flows: found, with how sure that is, and set right by events."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any
from uuid import UUID, uuid4

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from api import cursors
from api.answers import Json, etag
from api.asking import DOOR, Asking, Caller, command_id, document_in
from api.cursors import Cursor
from api.openapi import answers
from api.problems import problem, wrong_parameter
from api.repair_documents import Orphans, Reconciliation, Repair, Repaired, RepairOptions
from domain.children import child_status, master_status
from domain.commands import ImportFlow, RepairFlow
from domain.deciding.following import next_action
from domain.errors import FlowNotFound
from domain.events import Origin
from domain.flow import Flow
from eventstore import orphans as store
from eventstore.acts import Act, acting
from eventstore.definitions import remember
from eventstore.legacy import keep_types
from eventstore.orphans import ADOPT, LINK_ASSETS, LINK_IMPORT, REWRITE

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["repairs"])

ORDER = "flow_id"
DESCRIBED = {
    ADOPT: "Take the flow over as its row of the read model tells it; its own history is lost",
    LINK_ASSETS: "Make a discovery flow for what was found under this id",
    LINK_IMPORT: "Make a discovery flow, under the upload's own id, that reads it",
    REWRITE: "Have the read model write the flow's row anew, from its history",
}
RECOMMENDED = {
    "row": "high: flows without a history; adopt them with POST /flows/{flow_id}/repair",
    "import": "medium: uploads of the last two days that no flow has read; make a flow that does, or leave them",
    "assets": "low: assets of flows that are not there; link them, or leave them",
    "disagreement": "high: rows that are not what history tells; have them written anew",
}
Limit = Annotated[int, Query(ge=1, le=200)]
PageCursor = Annotated[str | None, Query(max_length=2000)]
FlowId = Annotated[UUID, Path(description="The flow's id, of one without a history too.")]


@router.get(
    "/flows/orphans", summary="What does not fit the history of flows", responses=answers(200, Orphans, 400, 422, 503)
)
async def list_orphans(*, asking: Asking, limit: Limit = 50, cursor: PageCursor = None) -> Response:
    """Rows of the read model and of what discovery found whose flow has no history, uploads of the last two days that no flow
    has read, and rows not at their flow's version."""
    after = _after(cursor)
    found, total = await _find(asking, after=after, limit=limit + 1)
    page, more = found[:limit], len(found) > limit
    kinds = dict.fromkeys(one["kind"] for one in page)
    return Json(
        {
            "orphans": page,
            "total": total,
            "recommendations": [RECOMMENDED[kind] for kind in RECOMMENDED if kind in kinds],
            "repair_complexity": _complexity(total),
            "next_cursor": cursors.write(ORDER, Cursor(str(page[-1]["flow_id"]), page[-1]["flow_id"]))
            if more
            else None,
        }
    )


@router.get(
    "/flows/{flow_id}/repair-options",
    summary="What can be repaired of a flow",
    responses=answers(200, RepairOptions, 400, 404, 422, 503),
)
async def repair_options(asking: Asking, flow_id: FlowId) -> Response:
    """What of the flow does not fit, and what can be done; nothing where all of it fits. Of an id of which nothing is known:
    what of the last 24 hours has no history, by `timestamp`."""
    found = await _options(asking, flow_id)
    best = found[0] if found else None
    return Json(
        {
            "flow_id": flow_id,
            "available_repairs": [
                {
                    "flow_id": one["flow_id"],
                    "type": one["repair"],
                    "description": DESCRIBED[one["repair"]],
                    "affected_items": one["affected_items"],
                    "confidence": one["confidence"],
                    "method": one["method"],
                }
                for one in found
            ],
            "recommended_action": best["repair"] if best else None,
            "confidence": best["confidence"] if best else None,
        }
    )


@router.post(
    "/flows/{flow_id}/repair",
    summary="Repair a flow",
    responses=answers(200, Repaired, 400, 404, 409, 413, 422, 503),
    openapi_extra={
        "x-mfo-headers": ["IdempotencyKey"],
        "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Repair"}}}},
    },
)
async def repair_flow(request: Request, asking: Asking, flow_id: FlowId) -> Response:
    """Set right what does not fit, by an event with whoever asks. A second time there is nothing left to do."""
    wanted = await document_in(request, asking, Repair)
    envelope = asking.envelope(command_id(request))
    act = Act("RepairFlow", flow_id, {}, b"RepairFlow" + flow_id.bytes + wanted.model_dump_json().encode())
    async with acting(asking.side.pool) as doing:
        first = await doing.again(envelope, act)
    if first is not None:
        return Json(msgspec.json.decode(first.answer))
    found = await _options(asking, flow_id)
    if wanted.repair_type is None and found and found[0]["flow_id"] != flow_id:
        message = "must be named where only its time speaks for it; GET .../repair-options tells of which flow"
        possible = list(dict.fromkeys(str(one["repair"]) for one in found))
        raise wrong_parameter("repair_type", message, allowed=possible)
    chosen = next((one for one in found if wanted.repair_type in (None, one["repair"])), None)
    if wanted.repair_type is not None and chosen is None and found:
        possible = [str(one["repair"]) for one in found]
        raise wrong_parameter("repair_type", f"is not possible here; use {', '.join(possible)}", allowed=possible)
    told: dict[str, Any] = {
        "flow_id": chosen["flow_id"] if chosen else flow_id,
        "repair_type": chosen["repair"] if chosen else wanted.repair_type,
        "items_processed": chosen["affected_items"] if chosen else 0,
        "items_repaired": 0,
        "errors": [],
        "master_flow_created": False,
        "status": None,
        "position": None,
        "version": 0,
    }
    if chosen is None:
        flow = await asking.side.store.flow(flow_id)
        told |= {"status": flow.status, "version": flow.version}
        return Json(told, headers={"ETag": etag(flow.version)})
    command = await _command(asking, chosen, wanted)
    answer = await asking.side.committer.submit(command, asking.envelope(f"repair:{uuid4()}"))
    if answer.error is not None or answer.flow is None:
        return problem(request, answer.error or {"code": "refused", "detail": "the flow did not answer"})
    told |= {
        "items_repaired": chosen["affected_items"],
        "master_flow_created": isinstance(command, ImportFlow),
        "status": answer.flow.status,
        "version": answer.version,
        "position": answer.position,
    }
    # the log has the flow's own command already
    async with acting(asking.side.pool) as doing:
        await doing.keep(envelope, act._replace(answer=msgspec.json.encode(told).decode()), logged=False)
    return Json(told, headers={"ETag": etag(answer.version)})


@router.get(
    "/reconciliation",
    summary="Hold the read model against history",
    responses=answers(200, Reconciliation, 400, 422, 503),
)
async def reconcile(*, asking: Asking, limit: Limit = 50, cursor: PageCursor = None) -> Response:
    """Replay the tenant's flows, one page of them, and compare each with its row, column by column."""
    tenant = asking.tenant
    async with asking.side.pool.connection() as connection:
        ids, total = await store.heads(
            connection, tenant.client_account_id, tenant.engagement_id, after=_after(cursor), limit=limit + 1
        )
        page = ids[:limit]
        rows = await store.shown_rows(connection, tenant.client_account_id, tenant.engagement_id, page)
    loaded = await asking.side.store.load(page)
    if any(not asking.side.types.knows(each.flow.flow_type, each.flow.flow_version) for each in loaded.values()):
        await remember(asking.side.pool, asking.side.types)
    reached = await asking.rows.projected(store.FLOWS)
    wrong = []
    for flow_id in page:
        flow, position = loaded[flow_id].flow, loaded[flow_id].position
        found = _compared(asking, flow, rows.get(flow_id), passed=position <= reached)
        if found is not None:
            wrong.append(found)
    return Json(
        {
            "total_flows": total,
            "checked": len(page),
            "reconciled_flows": len(page) - len(wrong),
            "inconsistencies": wrong,
            "healthy": not wrong,
            "next_cursor": cursors.write(ORDER, Cursor(str(page[-1]), page[-1])) if len(ids) > limit else None,
        }
    )


def _compared(asking: Caller, flow: Flow, shown: dict[str, Any] | None, *, passed: bool) -> dict[str, Any] | None:
    types = asking.side.types
    version = shown["version"] if shown is not None else None
    columns: list[str] = []
    if shown is None or version is None:
        kind = "missing"
    elif version != flow.version:
        kind = "ahead" if version > flow.version else "behind"
    else:
        columns = store.differing(flow, shown, types)
        kind = "differs"
        if not columns:
            return None
    doing = next_action(flow, types)["type"]
    repairable = passed or kind in ("ahead", "differs")
    return {
        "flow_id": flow.id,
        "kind": kind,
        "columns": columns,
        "row_version": version,
        "flow_version": flow.version,
        "master_status": master_status(flow.status),
        "child_status": child_status(flow.flow_type, flow.status, doing),
        "repair": REWRITE if repairable else None,
    }


async def _find(
    asking: Caller, *, flow: UUID | None = None, after: UUID | None = None, limit: int
) -> tuple[list[Any], int]:
    tenant = asking.tenant
    async with asking.side.pool.connection() as connection:
        return await store.orphans(
            connection, tenant.client_account_id, tenant.engagement_id, flow=flow, after=after, limit=limit
        )


async def _options(asking: Caller, flow_id: UUID) -> list[dict[str, Any]]:
    """What can be done about a flow, the surest first; raises FlowNotFound where the tenant has nothing of it."""
    found, _ = await _find(asking, flow=flow_id, limit=10)
    tenant, known = asking.tenant, await asking.rows.version(flow_id)
    if not found and known is None:
        async with asking.side.pool.connection() as connection:
            found = await store.near(connection, tenant.client_account_id, tenant.engagement_id)
        if not found:
            raise FlowNotFound
    if not found:
        flow = await asking.side.store.flow(flow_id)
        async with asking.side.pool.connection() as connection:
            shown = await store.shown_row(connection, tenant.client_account_id, tenant.engagement_id, flow_id)
        if shown is not None and shown["version"] == flow.version and store.differing(flow, shown, asking.side.types):
            found = [
                {"flow_id": flow_id, "repair": REWRITE, "method": store.REPLAY, "confidence": 1.0, "affected_items": 1}
            ]
    accepted = [one for one in found if one["confidence"] > store.ACCEPTED_ABOVE]
    return sorted(accepted, key=lambda one: (-one["confidence"], -one["affected_items"]))


async def _command(asking: Caller, chosen: dict[str, Any], wanted: Repair) -> ImportFlow | RepairFlow:
    """What is asked of the flow; its row is taken for older than its history first, so that the event writes it anew."""
    tenant, flow_id, side = asking.tenant, chosen["flow_id"], asking.side
    async with side.pool.connection() as connection:
        if chosen["repair"] == REWRITE:
            await store.doubt(connection, tenant.client_account_id, tenant.engagement_id, flow_id)
            return RepairFlow(
                flow_id=flow_id,
                kind=REWRITE,
                method=chosen["method"],
                confidence=chosen["confidence"],
                items=chosen["affected_items"],
                reason=wanted.reason,
            )
        shown = await store.shown_row(connection, tenant.client_account_id, tenant.engagement_id, flow_id)
        told = msgspec.json.encode(shown if shown is not None else chosen)
        origin = Origin(
            import_id=f"repair:{asking.correlation_id}",
            table=store.FLOWS if shown is not None else "imports" if chosen["kind"] == "import" else "assets",
            sha256=hashlib.sha256(told).hexdigest(),
            method=chosen["method"],
            confidence=chosen["confidence"],
        )
        if shown is not None:
            fact, config = store.adopted(shown, side.types, origin)
            await store.doubt(connection, tenant.client_account_id, tenant.engagement_id, flow_id)
        else:
            fact, config = store.linked(chosen, side.types, origin, tenant.user_id, side.committer.now())
    if config.is_placeholder:
        await keep_types(side.pool, side.types, [config])
    if wanted.reason:
        fact = msgspec.structs.replace(fact, former={**fact.former, "repair_reason": wanted.reason})
    return ImportFlow(flow_id=flow_id, told=msgspec.to_builtins(fact))


def _after(cursor: str | None) -> UUID | None:
    after = cursors.read(cursor, ORDER, str)
    return UUID(str(after.id)) if after is not None else None


def _complexity(total: int) -> str:
    if not total:
        return "none"
    return "low" if total <= 5 else "medium" if total <= 10 else "high"
