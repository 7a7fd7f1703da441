"""`mfo operation ...`: the same asked of many flows, over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, cast, get_args

import typer

from mfo.client import Client, OperationVerb
from mfo.commands.connection import talk
from mfo.commands.flows import some, values
from mfo.commands.output import AsJson, facts, give, say, table

Json = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="Ask the same of many flows: choose them, try it, follow it, stop it.")

OperationId = Annotated[str, typer.Argument(metavar="ID", help="The operation's id.")]
Reason = Annotated[str | None, typer.Option(help="Why; kept in the history.")]
Several = Annotated[list[str] | None, typer.Option(metavar="ID", help="This flow; may be repeated.")]
ALREADY_SHOWN = 50


@app.command()
def start(
    *,
    verb: Annotated[str, typer.Argument(metavar="VERB", help=f"What is asked: {', '.join(get_args(OperationVerb))}.")],
    flow_type: Annotated[list[str] | None, typer.Option("--type", help="Flows of this type; may be repeated.")] = None,
    status: Annotated[list[str] | None, typer.Option(help="Flows of this status; may be repeated.")] = None,
    tag: Annotated[str | None, typer.Option(help="Flows with this tag.")] = None,
    phase: Annotated[str | None, typer.Option(help="Flows in this phase, or before it.")] = None,
    created_after: Annotated[str | None, typer.Option(metavar="WHEN", help="Made later than this.")] = None,
    created_before: Annotated[str | None, typer.Option(metavar="WHEN", help="Made earlier than this.")] = None,
    standing_pause: Annotated[str | None, typer.Option(metavar="ID", help="Flows held by this standing pause.")] = None,
    flow: Several = None,
    every: Annotated[bool, typer.Option("--all", help="Every flow of the engagement.")] = False,
    argument: Annotated[
        list[str] | None,
        typer.Option("--argument", metavar="K=V|@FILE.json", help="What the verb takes beside the reason."),
    ] = None,
    rate: Annotated[float | None, typer.Option(help="At most so many flows a second.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which flows would be asked.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Of a dry run: show so many flows.")] = ALREADY_SHOWN,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is done.")] = False,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Ask every flow for which all of the options hold, each once."""
    chosen = _given(
        type=flow_type,
        status=status,
        tag=tag,
        phase=phase,
        created_after=created_after,
        created_before=created_before,
        standing_pause_id=standing_pause,
        flow_ids=flow,
        all=every or None,
    )
    if not chosen:
        raise typer.BadParameter("say which flows: --type, --status, --tag, ..., or --all")
    more = _given(reason=reason, arguments=values(argument) or None, rate_per_second=rate)
    asked = cast("OperationVerb", verb)
    if dry_run:
        _show_trial(talk(lambda client: client.try_operation(asked, chosen, limit=limit, **more)), as_json)
        return

    async def converse(client: Client) -> Json:
        begun = await client.start_operation(asked, chosen, **more)
        return await client.await_operation(begun["operation_id"]) if wait else begun

    _show(talk(converse), as_json)


@app.command("list")
def list_operations(
    *,
    state: Annotated[str | None, typer.Option(help="Only these states, comma between.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """The operations of this engagement, the newest first."""
    params = _given(state=state, limit=min(limit, 200))

    async def converse(client: Client) -> list[Json]:
        return await some(client.pages("/operations", "operations", params=params), limit)

    found = talk(converse)
    rows = [
        [each["operation_id"], each["verb"], each["state"], _far(each), each["created_at"], each["reason"]]
        for each in found
    ]
    headings = ["operation_id", "verb", "state", "done", "created_at", "reason"]
    give({"operations": found}, table(headings, rows) if rows else "no operations", as_json)


@app.command()
def show(operation_id: OperationId, as_json: AsJson = False) -> None:
    """An operation as it stands: how far, how fast, what became of the flows."""
    _show(talk(lambda client: client.operation(operation_id)), as_json)


@app.command()
def flows(
    *,
    operation_id: OperationId,
    outcome: Annotated[str | None, typer.Option(help="accepted, refused, parked or left.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """What became of each flow, in the order in which they are asked."""
    params = _given(outcome=outcome, limit=min(limit, 1000))

    async def converse(client: Client) -> list[Json]:
        return await some(client.pages(f"/operations/{operation_id}/flows", "flows", params=params), limit)

    found = talk(converse)
    rows = [[each["flow_id"], each["outcome"], each["code"], each["detail"]] for each in found]
    text = table(["flow_id", "outcome", "code", "why"], rows) if rows else "no flows"
    give({"flows": found}, text, as_json)


@app.command()
def pause(operation_id: OperationId, reason: Reason = None, as_json: AsJson = False) -> None:
    """Ask no further flow until it is resumed."""
    _show(talk(lambda client: client.tell_operation(operation_id, "pause", reason)), as_json)


@app.command()
def resume(operation_id: OperationId, reason: Reason = None, as_json: AsJson = False) -> None:
    """Go on with the flows that are left."""
    _show(talk(lambda client: client.tell_operation(operation_id, "resume", reason)), as_json)


@app.command()
def cancel(operation_id: OperationId, reason: Reason = None, as_json: AsJson = False) -> None:
    """Ask none of the flows that are left; what was asked stands."""
    _show(talk(lambda client: client.tell_operation(operation_id, "cancel", reason)), as_json)


def _given(**fields: Any) -> Json:
    return {name: value for name, value in fields.items() if value not in (None, [])}


def _far(operation: Json) -> str:
    progress = operation["progress"]
    return f"{progress['done']} of {'?' if progress['total'] is None else progress['total']}"


def _show(found: Json, as_json: bool) -> None:
    progress = found["progress"]
    shown = {
        "operation_id": found["operation_id"],
        "verb": found["verb"],
        "state": found["state"],
        "filter": found["filter"],
        "reason": found["reason"],
        "changed_because": found["changed_because"],
        "done": _far(found),
        "accepted": progress["accepted"],
        "refused": progress["refused"],
        "parked": progress["parked"],
        "flows_removed": progress.get("flows_removed") or None,
        "per_second": progress["per_second"],
        "eta": progress["eta"],
        "chosen_at": found["position"],
        "cause": found["cause"],
        "version": found["version"],
    }
    give(found, facts(shown), as_json)


def _show_trial(found: Json, as_json: bool) -> None:
    rows = [
        [each["flow_id"], each["flow_type"], each["status"], each["current_phase"], each["flow_name"]]
        for each in found["flows"]
    ]
    if not as_json:
        say(f"{found['total']} flows would be asked, as of {found['position']}; nothing was done")
    text = table(["flow_id", "type", "status", "phase", "name"], rows) if rows else "no flows"
    give(found, text, as_json)
