"""Find who talks to whom, what is noise, and what must move together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from consumers.context import Outputs, PhaseContext
from consumers.phases.discovery.handover import IssueRows, Rows, clean_table, keep, of_phase
from domain.words import counted

if TYPE_CHECKING:
    from estate.clean import CleanTable

MAX_LISTED = 5
MAX_NAMES = 12


async def analyse_dependencies(ctx: PhaseContext) -> Outputs:
    """Turn connections and stated relations into dependencies between assets.

    Outputs `{dependencies, move_groups, issues (artifact references), dependencies_total, without_noise, noise, cycles,
    groups, largest_group, largest_groups[], unknown_endpoints, by_kind, observations, ..., issues_summary, message}`: the
    figures of `estate.dependencies.analyse`. Without connection data it completes, and says so.
    """
    from estate.assets import read_facts
    from estate.dependencies import analyse
    from estate.dependencies.rows import needed
    from estate.issues import issue
    from estate.roles import APPLICATIONS, CONNECTIONS, MACHINES

    cleansed, inventory = of_phase(ctx, "data_cleansing")["tables"], of_phase(ctx, "asset_inventory")
    refs = [ref for ref in cleansed if ref["role"] in (CONNECTIONS, APPLICATIONS, MACHINES)]
    tables = []
    for done, ref in enumerate(refs, 1):
        tables.append(await clean_table(ctx, ref))
        await ctx.heartbeat(done, len(refs) + 1, f"{tables[-1].place}: {len(tables[-1])} rows read")
    telling = needed(_given_up(tables))
    # where nothing names two ends, the assets need not be read to know that none has a dependency
    assets = read_facts(await ctx.artifacts.fetch(inventory["assets"])) if telling else ()
    with Rows(ctx) as dependencies, IssueRows(ctx) as issues:
        found = analyse(telling, assets, ctx.flow_id, dependencies.write)
        figures = dict(found.summary)
        del figures["dependencies"]
        if not telling:
            figures["assets_without_dependencies"] = inventory["assets_total"]
        issues.write_all(found.issues)
        observed = any(ref["role"] == CONNECTIONS for ref in refs)
        if not observed:
            issues.write(issue(ctx.flow_id, "no_connection_data", "medium", _unobserved(dependencies.count)))
        await ctx.heartbeat(len(refs) + 1, len(refs) + 1, f"{dependencies.count} dependencies")
        return {
            "dependencies": await dependencies.keep(),
            "move_groups": await keep(ctx, found.groups),
            "issues": await issues.keep(),
            "dependencies_total": dependencies.count,
            **figures,
            "largest_groups": [_group(one) for one in found.groups[:MAX_LISTED]],
            "issues_summary": issues.summary(),
            "message": _sentence(figures, dependencies.count, observed=observed),
        }


NOT_OBSERVED = "No file holds connections, so who talks to whom at run time is unknown"


def _unobserved(dependencies: int) -> str:
    if not dependencies:
        return f"{NOT_OBSERVED}, not absent."
    count = counted(dependencies, "dependency is", "dependencies are")
    return f"{NOT_OBSERVED}; the {count} only what columns of the files say of other assets."


def _sentence(figures: Mapping[str, Any], dependencies: int, *, observed: bool) -> str:
    if not observed and not dependencies:
        return _unobserved(0)
    rows = figures["observations"]
    made = counted(dependencies, "dependency", "dependencies")
    if observed:
        said = f"{counted(rows, 'statement')} of two ends {'makes' if rows == 1 else 'make'} {made}"
    elif rows == 1:
        said = f"{NOT_OBSERVED}; 1 row or cell names two ends and makes {made}"
    else:
        said = f"{NOT_OBSERVED}; {rows} rows or cells name two ends and make {made}"
    return (
        f"{said}, {figures['noise']['total']} of them noise;"
        f" groups of assets that belong together: {figures['groups']}."
    )


def _group(group: Mapping[str, Any]) -> dict[str, Any]:
    """A move group in short; all of it is in the artifact."""
    return {
        **{name: group[name] for name in ("group_id", "size", "edges", "applications", "environments", "totals")},
        "names": group["names"][:MAX_NAMES],
        "cycles": [names[:MAX_NAMES] for names in group["cycles"][:MAX_LISTED]],
    }


def _given_up(tables: list[CleanTable]) -> Iterator[CleanTable]:
    """The tables, none of them held on to."""
    while tables:
        yield tables.pop(0)
