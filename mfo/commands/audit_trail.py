"""`mfo audit list|report|retention|holds|hold|release`: the audit trail and what the rules found in it, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from domain.words import counted
from mfo.client import AuditFormat, Client
from mfo.commands.connection import talk
from mfo.commands.flows import some
from mfo.commands.output import AsJson, facts, give, table

Json = dict[str, Any]

OfFlow = Annotated[str | None, typer.Option("--flow", metavar="FLOW", help="Of one flow.")]
Since = Annotated[str | None, typer.Option("--from", metavar="TIME", help="Not before this time, ISO 8601.")]
Until = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Before this time, ISO 8601.")]
Reason = Annotated[str | None, typer.Option(help="Why, and who approved it; kept in the audit trail.")]


def list_events(
    *,
    flow: OfFlow = None,
    category: Annotated[str | None, typer.Option(help="Only these categories, comma between.")] = None,
    level: Annotated[str | None, typer.Option(help="Only these levels, comma between.")] = None,
    operation: Annotated[str | None, typer.Option(help="Only these operations, comma between.")] = None,
    actor: Annotated[str | None, typer.Option(help="Only what this user did.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Only these outcomes, comma between.")] = None,
    correlation: Annotated[str | None, typer.Option(help="Only with this correlation id.")] = None,
    causation: Annotated[str | None, typer.Option(help="Only with this causation id.")] = None,
    address: Annotated[str | None, typer.Option(help="Only from this address.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only by this user agent.")] = None,
    because: Annotated[str | None, typer.Option(help="Only where the reason given has these words.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    written_as: Annotated[
        str | None, typer.Option("--format", metavar="json|ndjson|csv", help="Write all that match to --out.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file of --format.")] = None,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """What was asked and what became of it, the newest first."""
    wanted = {
        "category": category,
        "level": level,
        "operation": operation,
        "actor": actor,
        "outcome": outcome,
        "correlation_id": correlation,
        "causation_id": causation,
        "ip_address": address,
        "user_agent": agent,
        "reason_contains": because,
        "from": since,
        "to": until,
    }
    if (written_as is None) is not (out is None):
        raise typer.BadParameter("--format and --out go together")
    if out is not None:
        if written_as not in {"json", "ndjson", "csv"}:
            raise typer.BadParameter("--format is one of json, ndjson, csv")
        file, chosen = out, cast(AuditFormat, written_as)
        made = talk(lambda client: client.export_audit(file, chosen, flow_id=flow, reason=reason, **wanted))
        give(made, f"{made['path']}: {made['size_bytes']} bytes", as_json)
        return

    async def converse(client: Client) -> list[Json]:
        return await some(client.audit_events(flow_id=flow, limit=min(limit, 200), **wanted), limit)

    found = talk(converse)
    rows = [
        [one["at"], one["level"], one["operation"], one["outcome"], one["actor"], one["flow_id"], one["error_code"]]
        for one in found
    ]
    headings = ["at", "level", "operation", "outcome", "actor", "flow_id", "error"]
    give({"audit_events": found}, table(headings, rows) if rows else "no audit events", as_json)


def report(
    *,
    flow: OfFlow = None,
    account: Annotated[
        bool, typer.Option("--account", help="All engagements of the client account; needs MFO_OPERATOR_TOKEN.")
    ] = False,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """How compliance rules were kept, and what touched security, with the scores that follow."""
    params = {"flow_id": flow, "scope": "client_account" if account else None, "from": since, "to": until}
    told = talk(lambda client: client.compliance_report(**params), as_operator=account)
    shown = {
        "scope": told["scope"],
        "flow": told["flow_id"],
        "from": told["period"]["from"],
        "to": told["period"]["to"],
        "events": told["total_events"],
        "compliance": f"{told['compliance_score']} ({counted(told['compliance_violations'], 'violation')})",
        "security": f"{told['security_score']} ({counted(told['security_alerts'], 'alert')}, {counted(told['security_events'], 'event')})",
        "score": told["formula"],
    }
    rules = table(
        ["rule", "severity", "violations", "title"],
        [[one["rule"], one["severity"], one["violations"], one["title"]] for one in told["rules"]],
    )
    lines = [facts(shown), "", rules]
    for name in ("violations", "alerts"):
        rows = [
            [
                one["at"],
                one["details"].get("operation") or one["operation"],
                one["actor"],
                one["flow_id"],
                one["error_code"],
            ]
            for one in told[name]
        ]
        lines += ["", table([name, "operation", "actor", "flow_id", "rule or error"], rows)] if rows else []
    give(told, "\n".join(lines), as_json)


def retention(
    category: Annotated[str | None, typer.Argument(help="The category to change; left out: show all.")] = None,
    *,
    days: Annotated[int | None, typer.Option(min=1, help="Keep it for so many days.")] = None,
    for_ever: Annotated[bool, typer.Option("--for-ever", help="Keep it for ever.")] = False,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """How long the audit trail is kept, by category; to change it needs MFO_OPERATOR_TOKEN."""
    if category is None:
        if days is not None or for_ever:
            raise typer.BadParameter("name the category that is to be changed")
        found = talk(lambda client: client.audit_retention())
    else:
        if (days is None) is not for_ever:
            raise typer.BadParameter("give one of --days and --for-ever")
        name = category
        found = talk(lambda client: client.set_audit_retention(name, days, reason), as_operator=True)
    rows = [[one["category"], one["keep_days"] or "for ever", one["set_by"], one["set_at"]] for one in found]
    give({"retention": found}, table(["category", "days", "set_by", "set_at"], rows), as_json)


def holds(as_json: AsJson = False) -> None:
    """What of this engagement must not be removed, whatever its age; released holds too."""
    found = talk(lambda client: client.legal_holds())
    rows = [
        [one["hold_id"], one["flow_id"] or "all", one["placed_by"], one["placed_at"], one["released_at"], one["reason"]]
        for one in found
    ]
    headings = ["hold_id", "flow", "placed_by", "placed_at", "released_at", "reason"]
    give({"holds": found}, table(headings, rows) if rows else "no holds", as_json)


def hold(
    *,
    flow: OfFlow = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit trail.")],
    as_json: AsJson = False,
) -> None:
    """Keep the entries of a flow, or of the engagement, whatever the retention says; needs MFO_OPERATOR_TOKEN."""
    made = talk(lambda client: client.place_hold(reason, flow), as_operator=True)
    give(made, f"held: {made['hold_id']}", as_json)


def release(
    hold_id: Annotated[str, typer.Argument(metavar="ID", help="The hold's id.")],
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Let retention remove what was held; needs MFO_OPERATOR_TOKEN."""
    talk(lambda client: client.release_hold(hold_id, reason), as_operator=True)
    give({"hold_id": hold_id}, "released", as_json)
