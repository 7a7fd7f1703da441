"""`mfo pauses ...`: new flows that begin paused, and rules that pause by themselves, over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mfo.client import Client
from mfo.commands.connection import talk
from mfo.commands.flows import some
from mfo.commands.output import AsJson, facts, give, table
from mfo.commands.schedules import seconds_of

Json = dict[str, Any]

app = typer.Typer(
    no_args_is_help=True, help="Let new flows begin paused: a type, a tag or all under maintenance; rules."
)
rules = typer.Typer(no_args_is_help=True, help="Pause by itself when a figure passes its limit.")
app.add_typer(rules, name="rule")

PauseId = Annotated[str, typer.Argument(metavar="ID", help="The standing pause's id.")]
RuleId = Annotated[str, typer.Argument(metavar="ID", help="The rule's id.")]
Reason = Annotated[str | None, typer.Option(help="Why; kept in the history.")]
FlowType = Annotated[str | None, typer.Option("--type", help="Flows of this type.")]


@app.command("set")
def set_pause(
    *,
    flow_type: FlowType = None,
    tag: Annotated[str | None, typer.Option(help="Flows with this tag.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every new flow of the engagement.")] = False,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """From now on new flows of a type, with a tag, or all begin paused."""
    fields = _given(flow_type=flow_type, tag=tag, all=every or None, reason=reason)
    _show(talk(lambda client: client.set_standing_pause(**fields)), as_json)


@app.command("list")
def list_pauses(
    *,
    state: Annotated[str | None, typer.Option(help="active or removed, comma between; left out: active.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """The standing pauses of this engagement, the newest first."""
    found = talk(lambda client: _some(client, "standing_pauses", "/standing-pauses", state, limit))
    rows = [
        [each["standing_pause_id"], each["state"], _held(each), each["created_at"], each["reason"]] for each in found
    ]
    text = (
        table(["standing_pause_id", "state", "holds", "created_at", "reason"], rows) if rows else "no standing pauses"
    )
    give({"standing_pauses": found}, text, as_json)


@app.command()
def show(pause_id: PauseId, as_json: AsJson = False) -> None:
    """A standing pause as it stands."""
    _show(talk(lambda client: client.request("GET", f"/standing-pauses/{pause_id}")), as_json)


@app.command()
def remove(
    *,
    pause_id: PauseId,
    resume: Annotated[bool, typer.Option("--resume", help="Also resume the flows that it holds.")] = False,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """New flows begin as they would; what it holds stays paused unless --resume."""
    _show(talk(lambda client: client.remove_standing_pause(pause_id, resume=resume, reason=reason)), as_json)


@rules.command("set")
def set_rule(
    *,
    measure: Annotated[str, typer.Argument(metavar="MEASURE", help="error_rate, tokens, flows_begun or slow_runs.")],
    limit: Annotated[float, typer.Option(help="It trips above this; an error rate is a part of 1.")],
    flow_type: FlowType = None,
    window: Annotated[
        str | None, typer.Option(metavar="TIME", help="Count the last 90s, 15m, 6h, 1d; left out: 10m.")
    ] = None,
    at_least: Annotated[int | None, typer.Option(min=1, help="error_rate: not before so many attempts ended.")] = None,
    pause_running: Annotated[
        bool, typer.Option("--pause-running", help="Also pause the flows that are there.")
    ] = False,
    alert_only: Annotated[bool, typer.Option("--alert-only", help="Pause nothing; tripping is an event.")] = False,
    slower_than: Annotated[
        str | None, typer.Option(metavar="TIME", help="slow_runs: what counts as slow, such as 90s or 15m.")
    ] = None,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Watch a figure of the engagement's flows, counting from now."""
    more = _given(
        flow_type=flow_type,
        window_seconds=seconds_of(window, "--window"),
        at_least=at_least,
        pause_running=pause_running or None,
        alert_only=alert_only or None,
        slower_than_seconds=seconds_of(slower_than, "--slower-than"),
        reason=reason,
    )
    _show_rule(talk(lambda client: client.set_pause_rule(measure, limit, **more)), as_json)


@rules.command("list")
def list_rules(
    *,
    state: Annotated[str | None, typer.Option(help="armed, tripped, deleted, comma between.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """The rules of this engagement, the newest first."""
    found = talk(lambda client: _some(client, "pause_rules", "/pause-rules", state, limit))
    rows = [
        [each["pause_rule_id"], each["state"], each["measure"], each["limit"], each["flow_type"], each["message"]]
        for each in found
    ]
    headings = ["pause_rule_id", "state", "measure", "limit", "type", "tripped"]
    give({"pause_rules": found}, table(headings, rows) if rows else "no rules", as_json)


@rules.command("show")
def show_rule(rule_id: RuleId, as_json: AsJson = False) -> None:
    """A rule as it stands, with its numbers of when it tripped last."""
    _show_rule(talk(lambda client: client.request("GET", f"/pause-rules/{rule_id}")), as_json)


@rules.command()
def arm(rule_id: RuleId, reason: Reason = None, as_json: AsJson = False) -> None:
    """Let a rule that has tripped watch again; what it paused stays paused."""
    _show_rule(talk(lambda client: client.arm_pause_rule(rule_id, reason)), as_json)


@rules.command()
def delete(rule_id: RuleId, reason: Reason = None, as_json: AsJson = False) -> None:
    """Let a rule watch no more; what it paused stays paused."""
    _show_rule(talk(lambda client: client.delete_pause_rule(rule_id, reason)), as_json)


async def _some(client: Client, name: str, path: str, state: str | None, limit: int) -> list[Json]:
    return await some(client.pages(path, name, params=_given(state=state, limit=min(limit, 200))), limit)


def _given(**fields: Any) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def _held(pause: Json) -> str:
    parts = [f"type {pause['flow_type']}" if pause["flow_type"] else "", f"tag {pause['tag']}" if pause["tag"] else ""]
    return ", ".join(filter(None, parts)) or "all"


def _show(found: Json, as_json: bool) -> None:
    names = (
        "standing_pause_id",
        "state",
        "reason",
        "changed_because",
        "operation_id",
        "cause",
        "created_by",
        "version",
    )
    shown = {"holds": _held(found)} | {name: found[name] for name in names}
    give(found, facts(shown), as_json)


def _show_rule(found: Json, as_json: bool) -> None:
    names = (
        *("pause_rule_id", "state", "measure", "limit", "window_seconds", "at_least", "flow_type", "pause_running"),
        *("alert_only", "slower_than_seconds"),
        *("since", "tripped_at", "message", "standing_pause_id", "operation_id", "reason", "version"),
    )
    give(found, facts({name: found[name] for name in names}), as_json)
