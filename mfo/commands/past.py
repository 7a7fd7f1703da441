"""`mfo flow history` and `mfo flow diff`: what happened to a flow, and what that changed."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any, Literal, cast

import typer

from mfo.client import Client
from mfo.commands.connection import talk
from mfo.commands.flows import FlowId, some
from mfo.commands.output import AsJson, give, plain, short, table

Json = dict[str, Any]
WIDEST = 60


class Form(StrEnum):
    """How a history is written."""

    TABLE = "table"
    NDJSON = "ndjson"
    CSV = "csv"


def history(
    flow_id: FlowId,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many events; left out: all.")] = None,
    written_as: Annotated[
        Form, typer.Option("--format", help="ndjson and csv give all that is known of each event, as it comes.")
    ] = Form.TABLE,
    as_json: AsJson = False,
) -> None:
    """Every event of a flow, from the first."""
    if written_as is not Form.TABLE:
        if as_json:
            raise typer.BadParameter("--json and --format exclude each other; --format ndjson is JSON, an event a line")
        lines = cast(Literal["ndjson", "csv"], str(written_as))
        # the header of a csv is no event
        most = limit + (written_as is Form.CSV) if limit is not None else None
        talk(lambda client: _stream(client, flow_id, lines, most))
        return

    async def converse(client: Client) -> list[Json]:
        size = min(limit or 1000, 1000)
        return await some(client.pages(f"/flows/{flow_id}/history", "events", params={"limit": size}), limit)

    events = talk(converse)
    give({"events": events}, _events(events), as_json)


def _events(events: list[Json]) -> str:
    rows = [
        [event["version"], event["occurred_at"], event["type"], event["data"].get("phase_name"), event["actor"]]
        for event in events
    ]
    return table(["version", "at", "event", "phase", "actor"], rows)


async def _stream(client: Client, flow_id: str, written_as: Literal["ndjson", "csv"], most: int | None) -> None:
    end = "\r\n" if written_as == "csv" else "\n"
    n = 0
    async for line in client.history_lines(flow_id, written_as):
        sys.stdout.write(line + end)
        n += 1
        if n == most:
            break
    sys.stdout.flush()


def diff(
    flow_id: FlowId,
    before: Annotated[
        str | None,
        typer.Option("--from", metavar="VERSION|TIME", help="Left out: the flow's beginning; with --other: now."),
    ] = None,
    after: Annotated[str | None, typer.Option("--to", metavar="VERSION|TIME", help="Left out: now.")] = None,
    other: Annotated[str | None, typer.Option(metavar="ID", help="Compare with this flow.")] = None,
    as_json: AsJson = False,
) -> None:
    """What differs between two moments of a flow, or between two flows: fields, outputs, and the events in between."""
    found = talk(lambda client: client.diff(flow_id, before, after, other=other))
    give(found, _text(found), as_json)


def _text(found: Json) -> str:
    first, second = found["from"], found["to"]
    parts = [" -> ".join(f"{one['flow_id']} version {one['version']} ({one['at']})" for one in (first, second))]
    for name in ("fields", "outputs"):
        rows = [[each["path"], _short(each, "before"), _short(each, "after")] for each in found[name]]
        parts.append(table([name, "before", "after"], rows) if rows else f"{name}: the same")
    if found["events"]:
        parts.append(_events(found["events"]))
    elif found["event_counts"]:
        rows = [[each["type"], each["from"], each["to"]] for each in found["event_counts"]]
        parts.append(table(["event", "before", "after"], rows))
    more = found["events_total"] - len(found["events"])
    return "\n\n".join(parts) + (f"\nand {more} events more" if more else "")


def _short(each: Json, side: str) -> str:
    return short(plain(each[side]), WIDEST) if side in each else ""
