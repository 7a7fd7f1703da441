"""`mfo flow rollback|checkpoint|checkpoints`: going back, and what it would undo."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mfo.commands.connection import talk
from mfo.commands.flows import PARKED, FlowId, Reason
from mfo.commands.output import AsJson, facts, give, plain, say, seconds, table

Json = dict[str, Any]


def rollback(
    *,
    flow_id: FlowId,
    phase: Annotated[str | None, typer.Argument(help="The phase that is to be done next, again.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="Or the id of the checkpoint to go back to.")] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Change nothing; show what would be undone, and at what cost.")
    ] = False,
    if_version: Annotated[
        int | None, typer.Option(min=1, help="Only if the flow is still at this version, such as that of a preview.")
    ] = None,
    compensate: Annotated[
        bool, typer.Option(help="Undo what the phases did outside, by their compensations, newest first.")
    ] = True,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Go back to a phase or checkpoint; history stays."""
    answer = talk(
        lambda client: client.rollback(
            flow_id,
            phase,
            checkpoint_id=checkpoint,
            reason=reason,
            compensate=compensate,
            preview=preview,
            if_version=if_version,
        )
    )
    _say_where_it_waits(answer)
    give(answer, preview_text(answer) if preview else facts(answer), as_json)


def checkpoint(flow_id: FlowId, reason: Reason = None, as_json: AsJson = False) -> None:
    """Record a point to roll back to, now."""
    answer = talk(lambda client: client.checkpoint(flow_id, reason))
    _say_where_it_waits(answer)
    give(answer, facts(answer), as_json)


def checkpoints(
    flow_id: FlowId,
    verify: Annotated[
        bool, typer.Option("--verify", help="Replay the history up to each, and look for its artifacts.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Where a flow can go back to, the oldest first."""
    found = talk(lambda client: client.checkpoints(flow_id, verify=verify))
    rows = [
        [
            point["checkpoint_id"],
            point["phase_name"],
            point["version"],
            point["created_at"],
            plain(point["verified"]) if verify else "not looked at",
            point["detail"] or point["reason"],
        ]
        for point in found
    ]
    heads = ["checkpoint_id", "after", "version", "created_at", "verified", "note"]
    give({"checkpoints": found}, table(heads, rows) if rows else "no checkpoints", as_json)


def _say_where_it_waits(answer: Json) -> None:
    if answer.get("outcome") == PARKED:
        say(f"The flow is parked and the command waits; see: mfo parked show {answer['flow_id']}")


def preview_text(found: Json) -> str:
    """What a rollback would do, for people."""
    cost, progress, target = found["cost"], found["progress"], found["target"]
    head = facts(
        {
            "goes back to": f"{target['phase_name']}, as at version {target['version']} of {target['created_at']}",
            "progress": f"{progress['before']:g} % to {progress['after']:g} %",
            "cost to do again": f"{seconds(cost['execution_time_ms'])}, {cost['total_tokens']} tokens",
            "compensations": _compensations(found["compensations"]) or "none",
            "inputs dropped": ", ".join(found["inputs_dropped"]) or None,
            "inputs restored": ", ".join(found["inputs_restored"]) or None,
            "artifacts left": len(found["artifacts"]),
            "child flows": ", ".join(f"{child['flow_id']} ({child['status']})" for child in found["children"]) or None,
            "goes on by itself": plain(found["goes_on"]),
            "version": found["version"],
        }
    )
    rows = [
        [one["phase_name"], one["status"], seconds(one["execution_time_ms"]), one["size_bytes"], one["message"]]
        for one in found["undone"]
    ]
    return f"{head}\n\n{table(['undone', 'status', 'took', 'bytes', 'result'], rows)}"


def _compensations(planned: list[Json]) -> str:
    return "; ".join(f"{one['phase_name']}: {', '.join(one['handlers'])}" for one in planned)
