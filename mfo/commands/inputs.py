"""`mfo inputs list|show|answer`: what flows ask people."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from mfo.client import Client, ServiceError
from mfo.commands.connection import talk
from mfo.commands.flows import FlowId, give_input, some
from mfo.commands.output import AsJson, facts, give, table

Json = dict[str, Any]

app = typer.Typer(help="What flows ask people, and answering it.", no_args_is_help=True)

COLUMNS = ("flow_id", "type", "phase", "asks for", "of", "since", "until", "message")


@app.command("list")
def list_inputs(
    *,
    mine: Annotated[bool, typer.Option("--mine", help="Only what you may answer and have not yet.")] = False,
    open_to_all: Annotated[bool, typer.Option("--open", help="Only what everybody may answer.")] = False,
    overdue: Annotated[
        bool, typer.Option("--overdue", help="Only what somebody was reminded of, or whose time is up.")
    ] = False,
    flow_type: Annotated[str | None, typer.Option("--type", help="Only of these flow types, comma between.")] = None,
    phase: Annotated[str | None, typer.Option(help="Only of these phases, comma between.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """The questions that wait for an answer, the oldest first."""

    async def converse(client: Client) -> list[Json]:
        questions = client.inputs(
            mine=mine, open_to_all=open_to_all, overdue=overdue, flow_type=flow_type, phase=phase, limit=min(limit, 200)
        )
        return await some(questions, limit)

    found = talk(converse)
    rows = [
        [
            *(one["flow_id"], one["flow_type"], one["phase_name"], ", ".join(one["fields"]), people(one)),
            *(one["requested_at"], one["expires_at"], one["message"]),
        ]
        for one in found
    ]
    give({"inputs": found}, table(COLUMNS, rows) if rows else "nobody is asked anything", as_json)


@app.command()
def show(flow_id: FlowId, as_json: AsJson = False) -> None:
    """What a flow asks, with its schema and suggestions; exit 1 where it asks nothing."""
    status = talk(lambda client: client.status(flow_id))
    asked = status.get("input_request")
    if asked is None:
        raise ServiceError(
            409, {"code": "nothing_to_answer", "detail": f"The flow is {status['status']}; it asks nothing."}
        )
    schema = json.dumps(asked["schema"], indent=2, ensure_ascii=False) if asked.get("schema") else None
    told = {
        "flow_id": flow_id,
        "phase": asked["phase_name"],
        "message": asked["message"],
        "asks for": asked["fields"],
        "of": people(asked),
        "answered by": [one["user_id"] for one in asked.get("answered_by") or []],
        "since": asked["requested_at"],
        "until": asked.get("expires_at"),
        "reminders": asked.get("reminded"),
        "also asking": asked.get("also_asking"),
    }
    text = facts(told) + (f"\n\n{schema}" if schema else "")
    if asked.get("suggestions"):
        text += f"\n\n{json.dumps(asked['suggestions'], indent=2, ensure_ascii=False)}"
    give({"flow_id": flow_id, **asked}, text, as_json)


app.command("answer", help="Answer what a flow asks, such as --input approval=true; the same as `mfo flow input`.")(
    give_input
)


def people(asked: Json) -> str:
    """Who may answer a question, in words."""
    assignees = asked.get("assignees") or {}
    users, two = assignees.get("users") or [], assignees.get("need", 1) == 2
    if not users:
        return "two people" if two else "everybody"
    return f"two of {', '.join(users)}" if two else " or ".join(users)
