"""Compare what was found with the dates at which support ends."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from consumers.context import Invalid, Outputs, Permanent, PhaseContext
from consumers.phases.discovery.handover import keep, of_phase


async def reference_date_valid(ctx: PhaseContext) -> list[Invalid]:
    """`reference_date`, where given, is a date."""
    try:
        _reference_date(ctx.inputs)
    except ValueError:
        return [Invalid("reference_date", "reference_date must be a date, YYYY-MM-DD")]
    return []


async def assess_tech_debt(ctx: PhaseContext) -> Outputs:
    """Assess every asset as of `reference_date` (default: today, UTC).

    Outputs `{findings, scores, issues (artifact references), findings_total, score, formula, by_severity, by_kind,
    support,
    out_of_support_systems, systems_ending_soon, worst, reference_date, assets_scored, assets_not_scored,
    issues_summary, message}`.
    Raises Permanent `inputs_invalid` on a wrong date.
    """
    from estate.debt import assess
    from estate.issues import summary
    from estate.tables import load_rows

    try:
        today = _reference_date(ctx.inputs)
    except ValueError as error:
        raise Permanent("inputs_invalid", "reference_date must be a date, YYYY-MM-DD") from error
    assets = load_rows(await ctx.artifacts.get(of_phase(ctx, "asset_inventory")["assets"]))
    found = assess(assets, ctx.flow_id, today)
    await ctx.heartbeat(1, 1, f"{len(found.findings)} findings")
    figures = dict(found.summary)
    severe = sum(figures["by_severity"].get(severity, 0) for severity in ("critical", "high"))
    return {
        "findings": await keep(ctx, found.findings),
        "scores": await keep(ctx, found.scores),
        # a reader of the estate's issues meets what is out of support among them, told apart by its finding_id
        "issues": await keep(ctx, [*found.issues, *(_as_issue(finding) for finding in found.findings)]),
        "findings_total": figures.pop("findings"),
        **figures,
        "issues_summary": summary(found.issues),
        "message": f"{len(found.findings)} findings as of {today}, {severe} of them critical or high.",
    }


def _as_issue(finding: Mapping[str, Any]) -> dict[str, Any]:
    shape = ("kind", "severity", "message", "asset_id")
    issue = {"issue_id": finding["finding_id"], **{name: finding[name] for name in shape}, "field": None}
    return {**issue, "source": finding["source"], **finding}


def _reference_date(inputs: Mapping[str, Any]) -> dt.date:
    given = inputs.get("reference_date")
    if given is None:
        return dt.datetime.now(dt.UTC).date()
    return dt.date.fromisoformat(str(given))
