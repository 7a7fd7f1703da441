"""`mfo subscriptions ...`: whom to tell of what happens to the flows, over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mfo.client import Client
from mfo.commands.connection import talk
from mfo.commands.flows import some
from mfo.commands.given import duration
from mfo.commands.output import AsJson, facts, give, say, table

Json = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="Whom to tell of what happens to flows: webhooks and mail.")

SubscriptionId = Annotated[str, typer.Argument(metavar="ID", help="The subscription's id.")]
Url = Annotated[str | None, typer.Option(help="Of a webhook: where news are posted.")]
Address = Annotated[str | None, typer.Option("--email", help="An address of mail.")]
Events = Annotated[
    list[str] | None,
    typer.Option(
        "--event",
        help="flow.completed, flow.failed, flow.input_requested, flow.input_reminded or flow.paused_by_rule; may be"
        " repeated. Left out: all.",
    ),
]
FlowType = Annotated[str | None, typer.Option("--type", help="Only of flows of this type.")]
FlowTag = Annotated[str | None, typer.Option("--tag", help="Only of flows with this tag.")]
Description = Annotated[str | None, typer.Option(help="What it is for.")]


@app.command()
def create(
    *,
    url: Url = None,
    email: Address = None,
    event: Events = None,
    flow_type: FlowType = None,
    tag: FlowTag = None,
    description: Description = None,
    as_json: AsJson = False,
) -> None:
    """Tell a --url or an --email from now on. A webhook's secret is printed once, here."""
    if (url is None) == (email is None):
        raise typer.BadParameter("give one of --url and --email")
    body = _given(
        kind="webhook" if url else "email",
        url=url,
        address=email,
        events=event,
        filter=_given(flow_type=flow_type, tag=tag) or None,
        description=description,
    )
    made = talk(lambda client: client.create_subscription(body))
    if made.get("secret"):
        say("keep the secret: it is not shown again")
    _show(made, as_json)


@app.command("list")
def list_subscriptions(
    *,
    state: Annotated[str | None, typer.Option(help="Only active or disabled ones.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """The subscriptions of this engagement, the newest first."""
    params = _given(state=state, limit=min(limit, 200))

    async def converse(client: Client) -> list[Json]:
        return await some(client.pages("/subscriptions", "subscriptions", params=params), limit)

    found = talk(converse)
    rows = [
        [each["subscription_id"], each["state"], each["kind"], each["url"] or each["address"], each["events"] or "all"]
        for each in found
    ]
    headings = ["subscription_id", "state", "kind", "told", "events"]
    give({"subscriptions": found}, table(headings, rows) if rows else "no subscriptions", as_json)


@app.command()
def show(subscription_id: SubscriptionId, as_json: AsJson = False) -> None:
    """A subscription as it stands, without its secret."""
    _show(talk(lambda client: client.subscription(subscription_id)), as_json)


@app.command()
def update(
    *,
    subscription_id: SubscriptionId,
    url: Url = None,
    email: Address = None,
    event: Events = None,
    all_events: Annotated[bool, typer.Option("--all-events", help="Of all news.")] = False,
    flow_type: FlowType = None,
    tag: FlowTag = None,
    all_flows: Annotated[bool, typer.Option("--all-flows", help="Of all flows, whatever their type and tags.")] = False,
    description: Description = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given; --type and --tag together take the place of those before."""
    wanted = _given(flow_type=flow_type, tag=tag)
    if (event and all_events) or (wanted and all_flows):
        raise typer.BadParameter("--all-events goes without --event, --all-flows without --type and --tag")
    changes = _given(
        url=url,
        address=email,
        events=[] if all_events else event,
        filter={} if all_flows else wanted or None,
        description=description,
    )
    if not changes:
        raise typer.BadParameter("say what is to change, such as --url or --event")
    _show(talk(lambda client: client.update_subscription(subscription_id, changes)), as_json)


@app.command()
def enable(subscription_id: SubscriptionId, as_json: AsJson = False) -> None:
    """Tell it again; what was dropped meanwhile can be replayed."""
    _show(talk(lambda client: client.update_subscription(subscription_id, {"enabled": True})), as_json)


@app.command()
def disable(subscription_id: SubscriptionId, as_json: AsJson = False) -> None:
    """Tell it nothing; what waits is dropped."""
    _show(talk(lambda client: client.update_subscription(subscription_id, {"enabled": False})), as_json)


@app.command()
def rotate(
    subscription_id: SubscriptionId,
    keep_former: Annotated[
        str | None, typer.Option(metavar="TIME", help="Sign with the former secret too for so long; left out: 1d.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Have a new secret, which is printed once, here."""
    seconds = duration(keep_former, "--keep-former")
    kept = int(seconds) if seconds is not None else None
    rotated = talk(lambda client: client.rotate_subscription(subscription_id, keep_former_seconds=kept))
    say("keep the secret: it is not shown again")
    _show(rotated, as_json)


@app.command()
def delete(
    subscription_id: SubscriptionId,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the command log.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell it nothing more; what waits is dropped."""
    talk(lambda client: client.delete_subscription(subscription_id, reason))
    give({"subscription_id": subscription_id, "state": "deleted"}, "deleted", as_json)


def _given(**fields: Any) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def _show(found: Json, as_json: bool) -> None:
    told = {
        "subscription_id": found["subscription_id"],
        "state": found["state"],
        "reason": found["reason"],
        "url": found["url"],
        "email": found["address"],
        "events": found["events"] or "all",
        "type": found["filter"]["flow_type"],
        "tag": found["filter"]["tag"],
        "description": found["description"],
        "secret": found.get("secret"),
        "former secret until": found["former_until"],
    }
    give(found, facts(told), as_json)
