"""Make one asset of every machine."""

from __future__ import annotations

from consumers.context import Outputs, PhaseContext
from consumers.phases.discovery.handover import keep, of_phase


async def build_inventory(ctx: PhaseContext) -> Outputs:
    """Bring the clean rows together.

    Outputs `{assets, issues (artifact references), assets_total, by_type, by_environment, by_os_family,
    by_operating_system,
    by_power_state, totals, completeness, with_conflicts, rows, issues_summary, message}`.
    """
    from estate.cleansing import CleanTable
    from estate.inventory import build
    from estate.issues import summary

    refs = of_phase(ctx, "data_cleansing")["tables"]
    tables = [CleanTable.load(await ctx.artifacts.get(ref)) for ref in refs]
    await ctx.heartbeat(1, 3, f"{sum(len(table.records) for table in tables)} rows read")
    found = build(tables, ctx.flow_id)
    await ctx.heartbeat(2, 3, f"{len(found.assets)} assets found")
    figures = dict(found.summary)
    return {
        "assets": await keep(ctx, found.assets),
        "issues": await keep(ctx, found.issues),
        "assets_total": figures.pop("assets"),
        **figures,
        "issues_summary": summary(found.issues),
        "message": f"{len(found.assets)} assets were made of {figures['rows']} rows;"
        f" {figures['with_conflicts']} have conflicting values.",
    }
