"""A flow with all flows under it, from the read model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.answers import Json
from api.asking import DOOR, Asking, OfFlow
from api.documents import FlowTree
from api.openapi import answers
from api.reading import AsReadMany, Read, flow_row, list_is_due
from api.rows import FLOWS, MAX_BELOW, Row

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["flows"])


@router.get(
    "/flows/{flow_id}/tree",
    summary="A flow with all flows under it",
    responses=answers(200, FlowTree, 400, 404, 422, 503, 504),
)
async def flow_tree(
    *,
    asking: Asking,
    wanted: OfFlow,
    how: AsReadMany,
) -> Response:
    """Where each of them stands, nested. `consistency=strong` waits until the read model has all that has happened."""
    await list_is_due(asking, FLOWS, how)
    row = await flow_row(asking, wanted, Read(wait_ms=how.wait_ms))
    below = await asking.rows.below(wanted.flow_id)
    shown = below[:MAX_BELOW]
    return Json({**nested(row, shown), "below": tree_counts(shown), "truncated": len(below) > MAX_BELOW})


def nested(root: Row, below: Sequence[Row]) -> dict[str, Any]:
    """The flow as a node with its children, and theirs; `below` holds each flow after the one above it."""
    top = _node(root)
    nodes = {root["flow_id"]: top}
    for row in below:
        node = nodes[row["flow_id"]] = _node(row)
        nodes[row["parent_flow_id"]]["children"].append(node)
    return top


def _node(row: Row) -> dict[str, Any]:
    return {
        "flow_id": row["flow_id"],
        "flow_name": row["flow_name"],
        "flow_type": row["flow_type"],
        "status": row["flow_status"],
        "current_phase": row["current_phase"],
        "progress": row["progress_percentage"],
        "draining": row["draining"],
        "children": [],
    }


def tree_counts(below: Sequence[Row]) -> dict[str, Any]:
    """How many flows there are under a flow, and how they stand."""
    return {
        "flows": len(below),
        "draining": sum(bool(row["draining"]) for row in below),
        "statuses": dict(Counter(row["flow_status"] for row in below)),
    }
