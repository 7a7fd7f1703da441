"""Find who talks to whom, what is noise, and what must move together."""

from __future__ import annotations

from consumers.context import Outputs, PhaseContext
from consumers.phases.discovery.handover import keep, of_phase


async def analyse_dependencies(ctx: PhaseContext) -> Outputs:
    """Turn connections into dependencies between assets.

    Outputs `{dependencies, move_groups, issues (artifact references), dependencies_total, without_noise, noise,
    cycles, groups,
    largest_group, unknown_endpoints, by_kind, observations, issues_summary, message}`. Without connection data it
    completes
    with zero dependencies and says so.
    """
    from estate.cleansing import CleanTable
    from estate.dependencies import analyse
    from estate.formats import CONNECTIONS
    from estate.issues import issue, summary
    from estate.tables import load_rows

    refs = [ref for ref in of_phase(ctx, "data_cleansing")["tables"] if ref["role"] == CONNECTIONS]
    assets = load_rows(await ctx.artifacts.get(of_phase(ctx, "asset_inventory")["assets"]))
    tables = [CleanTable.load(await ctx.artifacts.get(ref)) for ref in refs]
    await ctx.heartbeat(1, 2, f"{sum(len(table.records) for table in tables)} connections read")
    found = analyse(tables, assets, ctx.flow_id)
    issues = found.issues
    figures = dict(found.summary)
    if not tables:
        message = "No file holds connections; dependencies are unknown, not absent."
        issues.append(issue(ctx.flow_id, "no_connection_data", "medium", message))
    else:
        message = (
            f"{figures['observations']} connections make {len(found.dependencies)} dependencies,"
            f" {figures['noise']['total']} of them noise;"
            f" groups of machines that belong together: {figures['groups']}."
        )
    await ctx.heartbeat(2, 2, f"{len(found.dependencies)} dependencies")
    return {
        "dependencies": await keep(ctx, found.dependencies),
        "move_groups": await keep(ctx, found.groups),
        "issues": await keep(ctx, issues),
        "dependencies_total": figures.pop("dependencies"),
        **figures,
        "issues_summary": summary(issues),
        "message": message,
    }
