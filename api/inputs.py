"""The inbox: what flows of the tenant ask people, and who may answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from psycopg import sql
from pydantic import Field
from starlette.responses import Response

from api import cursors
from api.answers import Json
from api.asking import DOOR, Asking
from api.cursors import Cursor
from api.documents import Document, FlowStatus
from api.flows import known_types
from api.openapi import answers
from api.reading import AsReadMany, list_is_due, words
from api.rows import FLOWS, OF_TENANT, Part, Row

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["inputs"])

ORDER = "inputs requested_at"

# the first question of each flow, and those that its other phases ask, which come after it where they are as old
FIRST = Part(
    sql.SQL("(select * from {flows} where input_request is not null) asking").format(flows=sql.Identifier(FLOWS)),
    sql.SQL("(input_request ->> 'requested_at') collate \"C\""),
)
OTHERS = Part(
    sql.SQL(
        "(select flow_id, flow_name, flow_type, flow_status, client_account_id, engagement_id, version,"
        " asked as input_request"
        " from {flows}, jsonb_path_query(flow_metadata, '$.lanes.input_request') asked"
        " where input_request ? 'also_asking' and input_request -> 'also_asking' ? (asked ->> 'phase_name')) asking"
    ).format(flows=sql.Identifier(FLOWS)),
    sql.SQL("((input_request ->> 'requested_at') || ' ' || (input_request ->> 'phase_name')) collate \"C\""),
)
USERS = "coalesce(input_request #> '{assignees,users}', '[]')"
OPEN = sql.SQL(f"{USERS} = '[]'")
# to answer now: named, or everybody's, and not answered by the same person before
MINE = sql.SQL(
    f"({USERS} = '[]' or {USERS} ? %(user)s) and not coalesce(input_request -> 'answered_by', '[]')"
    " @> jsonb_build_array(jsonb_build_object('user_id', %(user)s::text))"
)
OVERDUE = sql.SQL(
    "(coalesce((input_request ->> 'reminded')::int, 0) > 0"
    " or coalesce((input_request ->> 'expires_at')::timestamptz <= mfo_now(), false)"
    " or coalesce((input_request ->> 'reminder_at')::timestamptz <= mfo_now(), false))"
)
COLUMNS = sql.SQL(
    "flow_id, flow_name, flow_type, flow_status, input_request, version, {overdue} as overdue,"
    " coalesce({mine}, false) as may_answer"
).format(overdue=OVERDUE, mine=MINE)


class Assigned(Document):
    """Who may answer a question."""

    users: list[str] = Field(description="None named: everybody of the tenant.")
    need: int = Field(description="How many different people must give the same answer.")


class AnswerSoFar(Document):
    """Somebody who has answered, where two must."""

    user_id: str
    at: datetime


class InputWanted(Document):
    """A question of a flow."""

    flow_id: UUID
    flow_name: str
    flow_type: str
    flow_status: FlowStatus
    phase_name: str
    message: str
    fields: list[str]
    schema_: dict[str, Any] | None = Field(alias="schema", description="JSON Schema of the answer, where there is one.")
    suggestions: dict[str, int | None] = Field(
        description="How many of each sort the flow's status shows; null where they are kept as an artifact."
    )
    requested_at: datetime
    expires_at: datetime | None = Field(description="Empty while the flow is paused, too.")
    on_expiry: str | None = Field(description="What follows then; null: what the phase says.")
    assignees: Assigned
    answered_by: list[AnswerSoFar]
    reminded: int = Field(description="How many reminders there have been.")
    reminder_at: datetime | None
    overdue: bool = Field(description="Somebody has been reminded of it, or its time is up.")
    may_answer: bool = Field(description="Whether the caller may answer, and has not yet.")
    version: int


class InputList(Document):
    """A page of questions, the oldest first."""

    inputs: list[InputWanted]
    total: int
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which questions a list shows; what is none does not narrow it."""

    flow_types: list[str] | None
    phases: list[str] | None
    mine: bool
    open_to_all: bool
    overdue: bool

    def conditions(self, values: Row) -> sql.Composable:
        """The questions as SQL; what it needs is put into `values`."""
        found: list[sql.Composable] = [OF_TENANT]
        if self.flow_types is not None:
            found.append(sql.SQL("flow_type = any(%(types)s)"))
            values["types"] = self.flow_types
        if self.phases is not None:
            found.append(sql.SQL("input_request ->> 'phase_name' = any(%(phases)s)"))
            values["phases"] = self.phases
        for wanted, condition in ((self.mine, MINE), (self.open_to_all, OPEN), (self.overdue, OVERDUE)):
            if wanted:
                found.append(condition)
        return sql.SQL(" and ").join(found)


@router.get("/inputs", summary="What flows ask people", responses=answers(200, InputList, 400, 422, 503, 504))
async def list_inputs(
    *,
    asking: Asking,
    mine: Annotated[bool, Query(description="Only what the caller may answer and has not yet.")] = False,
    open_to_all: Annotated[bool, Query(alias="open", description="Only what everybody may answer.")] = False,
    overdue: Annotated[
        bool, Query(description="Only what somebody has been reminded of, or whose time is up.")
    ] = False,
    flow_type: Annotated[str | None, Query(max_length=1000, description="Comma list of flow types.")] = None,
    phase: Annotated[str | None, Query(max_length=1000, description="Comma list of phases.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
    how: AsReadMany,
) -> Response:
    """The questions of the tenant's flows that wait for an answer, the oldest first; `POST /flows/{id}/input` answers."""
    wanted = Filter(known_types(asking, words(flow_type)), words(phase), mine, open_to_all, overdue)
    after = cursors.read(cursor, ORDER, str)
    await list_is_due(asking, FLOWS, how)
    values: Row = {"user": asking.tenant.user_id, "limit": limit + 1}
    where = wanted.conditions(values)
    rows, total = await asking.rows.page((FIRST, OTHERS), COLUMNS, where, values, after)
    last = rows[limit - 1] if len(rows) > limit else None
    return Json(
        {
            "inputs": [_shown(row) for row in rows[:limit]],
            "total": total,
            "next_cursor": cursors.write(ORDER, Cursor(last["place"], last["flow_id"])) if last else None,
        }
    )


def _shown(row: Row) -> Row:
    asked = row["input_request"]
    return {
        **{name: row[name] for name in ("flow_id", "flow_name", "flow_type", "flow_status")},
        **{name: asked[name] for name in ("phase_name", "message", "fields", "requested_at")},
        # a row from before questions had these has none of them
        **{name: asked.get(name) for name in ("schema", "expires_at", "on_expiry", "reminder_at")},
        "assignees": asked.get("assignees", {"users": [], "need": 1}),
        "answered_by": asked.get("answered_by", []),
        "reminded": asked.get("reminded", 0),
        "suggestions": {name: _count(given) for name, given in (asked.get("suggestions") or {}).items()},
        "overdue": row["overdue"],
        "may_answer": row["may_answer"],
        "version": row["version"],
    }


def _count(given: Any) -> int | None:
    if isinstance(given, dict):
        return None if "$artifact" in given else len(given)
    return len(given) if isinstance(given, list) else 1
