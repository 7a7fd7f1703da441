"""`mfo schedule ...`: flows at times, over HTTP."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from mfo.client import Client, ScheduleVerb
from mfo.commands.connection import talk
from mfo.commands.flows import Inputs, some, values
from mfo.commands.output import AsJson, facts, give, table

Json = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="Make flows at times: cron in a time zone, intervals, one moment.")

ScheduleId = Annotated[str, typer.Argument(metavar="ID", help="The schedule's id.")]
Reason = Annotated[str | None, typer.Option(help="Why; kept in the history.")]
Cron = Annotated[str | None, typer.Option(help='Five fields, such as "30 6 * * MON-FRI".')]
Zone = Annotated[str | None, typer.Option(help="The time zone of --cron, such as Europe/Berlin; left out: UTC.")]
Every = Annotated[str | None, typer.Option(metavar="TIME", help="An interval: 90s, 15m, 6h, 2d.")]
Anchor = Annotated[str | None, typer.Option(metavar="WHEN", help="The times are this one plus whole intervals.")]
At = Annotated[str | None, typer.Option(metavar="WHEN", help="One moment, such as 2026-12-01T06:00:00+01:00.")]
FlowType = Annotated[str | None, typer.Option("--type", help="The type of its flows.")]
FlowName = Annotated[
    str | None, typer.Option(help="Name of each flow; {schedule}, {number}, {nominal}, {date}, {time} are filled in.")
]
Overlap = Annotated[str | None, typer.Option(help="skip, buffer_one, allow or cancel_running.")]
CatchUp = Annotated[str | None, typer.Option(metavar="TIME", help="How late a firing may be and is still made up.")]
Jitter = Annotated[str | None, typer.Option(metavar="TIME", help="Each firing is later by up to this.")]
Start = Annotated[str | None, typer.Option(metavar="WHEN", help="No time before it.")]
End = Annotated[str | None, typer.Option(metavar="WHEN", help="No time after it.")]
Most = Annotated[int | None, typer.Option("--max-firings", min=1, help="It ends after so many flows.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="A tag of its flows; may be repeated.")]

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds_of(text: str | None, option: str) -> int | None:
    """The seconds in `90`, `90s`, `15m`, `6h` or `2d`; raises a usage error that names the option."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,9})([smhd]?)", text.strip())
    if found is None:
        raise typer.BadParameter(f"{option} {text!r} is no time; use 90s, 15m, 6h or 2d")
    return int(found[1]) * UNITS[found[2] or "s"]


def _given(**fields: Any) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def _timing(*, cron: str | None, zone: str | None, every: str | None, anchor: str | None, at: str | None) -> Json:
    return _given(cron=cron, time_zone=zone, interval_seconds=seconds_of(every, "--every"), anchor_at=anchor, at=at)


def _bounds(
    *,
    overlap: str | None,
    catch_up: str | None,
    jitter: str | None,
    start: str | None,
    end: str | None,
    max_firings: int | None,
) -> Json:
    return _given(
        overlap=overlap,
        catch_up_window_seconds=seconds_of(catch_up, "--catch-up"),
        jitter_seconds=seconds_of(jitter, "--jitter"),
        start_at=start,
        end_at=end,
        max_firings=max_firings,
    )


@app.command()
def create(
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")],
    flow_type: Annotated[str, typer.Option("--type", help="The type of its flows.")],
    cron: Cron = None,
    zone: Zone = None,
    every: Every = None,
    anchor: Anchor = None,
    at: At = None,
    flow_name: FlowName = None,
    inputs: Inputs = None,
    tag: Tags = None,
    auto: Annotated[bool, typer.Option("--auto/--no-auto", help="Run the phases by themselves.")] = True,
    overlap: Overlap = None,
    catch_up: CatchUp = None,
    jitter: Jitter = None,
    start: Start = None,
    end: End = None,
    max_firings: Most = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make flows at times; give one of --cron, --every and --at."""
    timing = _timing(cron=cron, zone=zone, every=every, anchor=anchor, at=at)
    flow = _given(
        flow_type=flow_type,
        flow_name=flow_name,
        initial_data=values(inputs) or None,
        flow_tags=tag or None,
        options=None if auto else {"auto_execute": False},
    )
    more = _bounds(
        overlap=overlap, catch_up=catch_up, jitter=jitter, start=start, end=end, max_firings=max_firings
    ) | _given(description=description)
    _show(talk(lambda client: client.create_schedule(name, timing, flow, **more)), as_json)


@app.command("list")
def list_schedules(
    *,
    state: Annotated[str | None, typer.Option(help="Only these states, comma between.")] = None,
    flow_type: Annotated[str | None, typer.Option("--type", help="Only of these flow types, comma between.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """The schedules of this engagement, the newest first."""
    params = _given(state=state, flow_type=flow_type, limit=min(limit, 200))

    async def converse(client: Client) -> list[Json]:
        return await some(client.pages("/schedules", "schedules", params=params), limit)

    found = talk(converse)
    rows = [
        [each["schedule_id"], each["state"], _when(each["timing"]), each["next_at"], each["firings"], each["name"]]
        for each in found
    ]
    headings = ["schedule_id", "state", "when", "next_at", "firings", "name"]
    give({"schedules": found}, table(headings, rows) if rows else "no schedules", as_json)


@app.command()
def show(schedule_id: ScheduleId, as_json: AsJson = False) -> None:
    """A schedule as it stands."""
    _show(talk(lambda client: client.schedule(schedule_id)), as_json)


@app.command()
def pause(schedule_id: ScheduleId, reason: Reason = None, as_json: AsJson = False) -> None:
    """Let the times pass until it is resumed; its flows go on."""
    _tell(schedule_id, "pause", _given(reason=reason), as_json)


@app.command()
def resume(schedule_id: ScheduleId, reason: Reason = None, as_json: AsJson = False) -> None:
    """Go on with the next time; those that passed are not made up."""
    _tell(schedule_id, "resume", _given(reason=reason), as_json)


@app.command()
def trigger(schedule_id: ScheduleId, overlap: Overlap = None, reason: Reason = None, as_json: AsJson = False) -> None:
    """Make a flow now, also while paused."""
    _tell(schedule_id, "trigger", _given(overlap=overlap, reason=reason), as_json)


@app.command()
def backfill(
    *,
    schedule_id: ScheduleId,
    first: Annotated[str, typer.Option("--from", metavar="WHEN", help="From this time on.")],
    last: Annotated[str, typer.Option("--to", metavar="WHEN", help="Up to this time, which must have passed.")],
    at_most: Annotated[int | None, typer.Option(min=1, help="So many of its flows at once; left out: 1.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Refuse a range with more times; left out: 100.")] = None,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Make flows for the times of a range in the past; a time that has its flow is left alone."""
    _tell(
        schedule_id,
        "backfill",
        _given(from_at=first, to_at=last, at_most=at_most, limit=limit, reason=reason),
        as_json,
    )


@app.command()
def update(
    *,
    schedule_id: ScheduleId,
    name: Annotated[str | None, typer.Option(help="What it is called.")] = None,
    cron: Cron = None,
    zone: Zone = None,
    every: Every = None,
    anchor: Anchor = None,
    at: At = None,
    flow_type: FlowType = None,
    flow_name: FlowName = None,
    inputs: Inputs = None,
    tag: Tags = None,
    overlap: Overlap = None,
    catch_up: CatchUp = None,
    jitter: Jitter = None,
    start: Start = None,
    end: End = None,
    max_firings: Most = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given; what is left out stays, --input values join those before."""
    timing = _timing(cron=cron, zone=zone, every=every, anchor=anchor, at=at)
    changes = _bounds(
        overlap=overlap, catch_up=catch_up, jitter=jitter, start=start, end=end, max_firings=max_firings
    ) | _given(name=name, timing=timing or None)
    given = values(inputs)
    flow = _given(flow_type=flow_type, flow_name=flow_name, flow_tags=tag or None)
    if not (changes or flow or given):
        raise typer.BadParameter("say what is to change, such as --cron or --overlap")

    async def converse(client: Client) -> Json:
        if not flow and not given and not (timing and set(timing) == {"time_zone"}):
            return await client.update_schedule(schedule_id, changes)
        found = await client.schedule(schedule_id)
        if timing and set(timing) == {"time_zone"}:
            changes["timing"] = found["timing"] | timing
        if flow or given:
            changes["flow"] = found["flow"] | flow | {"initial_data": found["flow"]["initial_data"] | given}
        return await client.update_schedule(schedule_id, changes)

    _show(talk(converse), as_json)


@app.command()
def delete(schedule_id: ScheduleId, reason: Reason = None, as_json: AsJson = False) -> None:
    """End a schedule and hide it; its flows and its history stay."""
    talk(lambda client: client.delete_schedule(schedule_id, reason))
    text = f"{schedule_id} is deleted; its flows and its history stay"
    give({"schedule_id": schedule_id, "state": "deleted"}, text, as_json)


@app.command()
def history(
    schedule_id: ScheduleId,
    outcome: Annotated[str | None, typer.Option(help="flow, skipped, missed, buffered or refused.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 100,
    as_json: AsJson = False,
) -> None:
    """What became of each time, the newest first."""
    params = _given(outcome=outcome, limit=min(limit, 1000))

    async def converse(client: Client) -> list[Json]:
        return await some(client.pages(f"/schedules/{schedule_id}/history", "firings", params=params), limit)

    found = talk(converse)
    rows = [[each["nominal_at"], each["occurred_at"], each["kind"], each["outcome"], _said(each)] for each in found]
    headings = ["nominal_at", "at", "kind", "outcome", "what"]
    give({"firings": found}, table(headings, rows) if rows else "no firings yet", as_json)


@app.command("next")
def next_times(
    schedule_id: ScheduleId,
    count: Annotated[int, typer.Option(min=1, max=100, help="So many.")] = 10,
    as_json: AsJson = False,
) -> None:
    """The times to come."""
    times = talk(lambda client: client.next_times(schedule_id, count))
    rows = [[each["local"], each["nominal_at"], each["fire_at"]] for each in times]
    give({"times": times}, table(["local", "nominal_at", "fire_at"], rows) if rows else "no times to come", as_json)


def _tell(schedule_id: str, verb: ScheduleVerb, body: Json, as_json: bool) -> None:
    _show(talk(lambda client: client.tell_schedule(schedule_id, verb, body)), as_json)


def _show(found: Json, as_json: bool) -> None:
    flow, paused = found["flow"], found.get("paused") or {}
    shown = {
        "schedule_id": found["schedule_id"],
        "name": found["name"],
        "state": found["state"],
        "paused": paused.get("reason"),
        "ended": found.get("end_reason"),
        "when": _when(found["timing"]),
        "next_at": found["next_at"],
        "flow_type": flow["flow_type"],
        "flow_name": flow["flow_name"],
        "overlap": found["overlap"],
        "firings": found["firings"],
        "last_flow_id": found["last_flow_id"],
        "buffered_at": found["buffered_at"],
        "requested": [each["flow_id"] for each in found["requested"]],
        "backfill": found["backfill"],
        "version": found["version"],
    }
    give(found, facts(shown), as_json)


def _when(timing: Mapping[str, Any]) -> str:
    if timing.get("cron"):
        return f"{timing['cron']} ({timing['time_zone']})"
    if timing.get("interval_seconds"):
        return f"every {timing['interval_seconds']} s"
    return f"at {timing['at']}"


def _said(firing: Json) -> str:
    if firing["outcome"] == "refused":
        return str(firing["error"].get("detail"))
    if firing["outcome"] == "missed":
        return f"{firing['count']} before {firing['before_at']} ({firing['reason']})"
    return str(firing["flow_id"] or firing["reason"] or "waits for the flow that is running")
