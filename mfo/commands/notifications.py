"""`mfo notifications ...`: what was told to whom, what came of it, and sending it again, over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mfo.client import Client
from mfo.commands.connection import talk
from mfo.commands.flows import some
from mfo.commands.output import AsJson, facts, give, table

Json = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="What was told of flows, to whom, and what came of it.")

Limit = Annotated[int, typer.Option(min=1, help="At most so many.")]


@app.command("list")
def list_notifications(
    *,
    state: Annotated[str | None, typer.Option(help="Only pending, sent, dead or dropped ones.")] = None,
    event: Annotated[str | None, typer.Option(help="Only of this kind, such as flow.failed.")] = None,
    flow: Annotated[str | None, typer.Option(metavar="ID", help="Only of this flow.")] = None,
    subscription: Annotated[str | None, typer.Option(metavar="ID", help="Only to this subscription.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """The notifications of this engagement, the newest first."""
    wanted = {"state": state, "event": event, "flow_id": flow, "subscription_id": subscription}

    async def converse(client: Client) -> list[Json]:
        return await some(client.pages("/notifications", "notifications", params=_params(wanted, limit)), limit)

    found = talk(converse)
    rows = [
        [
            *(each["notification_id"], each["state"], each["event"], each["url"] or each["address"], each["attempts"]),
            *(each["due_at"] or each["ended_at"], each["last_error"]),
        ]
        for each in found
    ]
    headings = ["notification_id", "state", "event", "told", "attempts", "when", "last error"]
    give({"notifications": found}, table(headings, rows) if rows else "no notifications", as_json)


@app.command()
def show(
    notification_id: Annotated[str, typer.Argument(metavar="ID", help="The notification's id.")],
    as_json: AsJson = False,
) -> None:
    """What is said, to whom, and how the last attempts ended."""
    found = talk(lambda client: client.notification(notification_id))
    told = {
        name: found[name]
        for name in (
            *("notification_id", "state", "event", "url", "address", "flow_id", "version", "attempts", "replays"),
            *("due_at", "ended_at", "payload"),
        )
    }
    rows = [[each["at"], each["status"], each["took_ms"], each["error"]] for each in found["tries"]]
    tries = f"\n\n{table(['at', 'status', 'ms', 'error'], rows)}" if rows else ""
    give(found, facts(told) + tries, as_json)


@app.command()
def replay(
    *,
    notification_ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID...", help="The notifications' ids.", show_default=False)
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", help="All that were given up, the newest first.")] = False,
    limit: Limit = 1000,
    as_json: AsJson = False,
) -> None:
    """Send notifications again, each under the id that it has."""
    if bool(notification_ids) == dead:
        raise typer.BadParameter("give ids, or --dead")

    async def converse(client: Client) -> list[Json]:
        ids = list(notification_ids or ())
        if dead:
            pages = client.pages("/notifications", "notifications", params=_params({"state": "dead"}, limit))
            ids = [each["notification_id"] for each in await some(pages, limit)]
        return [await client.replay_notification(each) for each in ids]

    replayed = talk(converse)
    rows = [[each["notification_id"], each["state"], each["url"] or each["address"]] for each in replayed]
    give(
        {"notifications": replayed},
        table(["notification_id", "state", "told"], rows) if rows else "no notification is dead",
        as_json,
    )


def _params(wanted: Json, limit: int) -> Json:
    return {name: value for name, value in wanted.items() if value is not None} | {"limit": min(limit, 200)}
