"""Compare what was found with the dates at which support ends, and with what machines use of their size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from consumers.context import Invalid, Outputs, Permanent, PhaseContext
from consumers.phases.discovery.handover import IssueRows, Rows, of_phase, reference_date
from domain.words import counted

DEFAULT_COMFORT = 1.3
MAX_COMFORT = 10.0


async def comfort_factor_valid(ctx: PhaseContext) -> list[Invalid]:
    """`comfort_factor`, where given, is a number from 1 to 10."""
    try:
        _comfort(ctx.inputs)
    except Permanent as error:
        return error.fields
    return []


async def assess_tech_debt(ctx: PhaseContext) -> Outputs:
    """Assess every asset as of `reference_date` (default: today, UTC); sizes are recommended with `comfort_factor` to spare.

    Outputs `{findings, scores, issues (artifact references), findings_total, score, formula, by_severity, by_kind, support,
    out_of_support_systems, systems_ending_soon, worst, reference_date, comfort_factor, assets_scored, assets_not_scored,
    issues_summary, message}`. Raises Permanent `inputs_invalid` on a wrong date or factor.
    """
    from estate.assets import read_facts
    from estate.debt import assess

    today, comfort = reference_date(ctx), _comfort(ctx.inputs)
    path = await ctx.artifacts.fetch(of_phase(ctx, "asset_inventory")["assets"])
    with Rows(ctx) as findings, Rows(ctx) as scores, IssueRows(ctx) as doubts, IssueRows(ctx) as issues:

        def each_finding(finding: dict[str, Any]) -> None:
            findings.write(finding)
            # a reader of the estate's issues meets what is out of support among them, told apart by its finding_id
            issues.write(_as_issue(finding))

        found = assess(
            read_facts(path),
            ctx.flow_id,
            today,
            each_finding=each_finding,
            each_score=scores.write,
            comfort=comfort,
        )
        for one in found.issues:
            doubts.write(one)
            issues.write(one)
        await ctx.heartbeat(1, 1, f"{findings.count} findings")
        figures = dict(found.summary)
        del figures["findings"]
        severe = sum(figures["by_severity"].get(severity, 0) for severity in ("critical", "high"))
        return {
            "findings": await findings.keep(),
            "scores": await scores.keep(),
            "issues": await issues.keep(),
            "findings_total": findings.count,
            **figures,
            "comfort_factor": comfort,
            "issues_summary": doubts.summary(),
            "message": f"{counted(findings.count, 'finding')} as of {today}, {severe} of them critical or high.",
        }


def _as_issue(finding: Mapping[str, Any]) -> dict[str, Any]:
    shape = ("kind", "severity", "message", "asset_id")
    issue = {"issue_id": finding["finding_id"], **{name: finding[name] for name in shape}, "field": None}
    return {**issue, "source": finding["source"], **finding}


def _comfort(inputs: Mapping[str, Any]) -> float:
    given = inputs.get("comfort_factor")
    if given is None:
        return DEFAULT_COMFORT
    if isinstance(given, bool) or not isinstance(given, int | float) or not 1 <= given <= MAX_COMFORT:
        wrong = Invalid("comfort_factor", f"comfort_factor must be a number from 1 to {MAX_COMFORT:g}, such as 1.3")
        raise Permanent("inputs_invalid", wrong.message, [wrong])
    return float(given)
