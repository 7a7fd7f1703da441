"""`mfo parked ...`: flows that wait because a command of theirs could not be applied, or that a read model set aside."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mfo.client import Client
from mfo.commands.connection import talk
from mfo.commands.output import AsJson, Code, facts, give, table

Json = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="Parked flows: what waits, and what is to become of it.")

FlowId = Annotated[str, typer.Argument(metavar="ID", help="The flow's id.")]


@app.command("list")
def list_parked(
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50, as_json: AsJson = False
) -> None:
    """The parked flows of this engagement, the longest parked first."""

    async def converse(client: Client) -> list[Json]:
        found: list[Json] = []
        async for row in client.pages("/parked", "parked", params={"limit": min(limit, 200)}):
            found.append(row)
            if len(found) == limit:
                break
        return found

    parked = talk(converse)
    rows = [
        [
            row["flow_id"],
            row["kind"],
            row["since"],
            row["waiting"],
            row["command"] or row["projection"],
            (row["error"] or {}).get("code"),
        ]
        for row in parked
    ]
    headings = ["flow_id", "kind", "since", "waiting", "what", "why"]
    give({"parked": parked}, table(headings, rows) if rows else "no flow is parked", as_json)


@app.command()
def show(flow_id: FlowId, as_json: AsJson = False) -> None:
    """Why a flow is parked, and the commands that wait there in order."""
    found = talk(lambda client: client.parked(flow_id))
    told = [
        facts(
            {
                "flow_id": flow_id,
                "kind": row["kind"],
                "projection": row["projection"],
                "since": row["since"],
                "error": (row["error"] or {}).get("code"),
                "detail": (row["error"] or {}).get("detail"),
                "waiting": row["waiting"],
                "attempts": row["attempts"],
                "retry_at": row["retry_at"],
            }
        )
        for row in found["parked"]
    ]
    if found["commands"]:
        rows = [
            [each["command"], each["command_id"], each["user_id"], each["source"], each["received_at"]]
            for each in found["commands"]
        ]
        told.append(table(["command", "command_id", "user", "source", "received_at"], rows))
    give(found, "\n\n".join(told), as_json)


@app.command()
def retry(flow_id: FlowId, as_json: AsJson = False) -> None:
    """Apply the waiting commands in order; ends with 1 when one cannot be applied still."""
    answer = talk(lambda client: client.retry_parked(flow_id))
    _end(answer, as_json)


@app.command()
def discard(
    flow_id: FlowId,
    reason: Annotated[str, typer.Option(help="Why; the command's sender is told.")],
    command: Annotated[str | None, typer.Option(metavar="COMMAND_ID", help="Left out: the first that waits.")] = None,
    as_json: AsJson = False,
) -> None:
    """Give up a waiting command: it is refused. Then those behind it are tried."""
    answer = talk(lambda client: client.discard_parked(flow_id, reason, command_id=command))
    _end(answer, as_json)


def _end(answer: Json, as_json: bool) -> None:
    error = answer["error"] or {}
    give(
        answer,
        facts(
            {
                "flow_id": answer["flow_id"],
                "state": answer["state"],
                "discarded": answer.get("discarded"),
                "applied": answer["applied"],
                "waiting": answer["waiting"],
                "read models told": answer["projections"] or None,
                "error": error.get("code"),
                "detail": error.get("detail"),
            }
        ),
        as_json,
    )
    if answer["waiting"]:
        raise typer.Exit(Code.REFUSED)
