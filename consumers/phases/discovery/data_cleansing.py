"""Bring the values to one form; keep what was changed and what was rejected."""

from __future__ import annotations

from collections import Counter
from typing import Any

from consumers.context import Outputs, Permanent, PhaseContext
from consumers.phases.discovery.handover import keep, keep_table, of_phase


async def cleanse_records(ctx: PhaseContext) -> Outputs:
    """Cleanse every mapped table.

    Outputs `{tables[], changes, rejected, issues (artifact references), rows, rows_rejected, values_changed, by_rule,
    by_reason,
    completeness, message}`. Raises Permanent `nothing_left` when every row was rejected.
    """
    from estate.cleansing import CleanTable, MappedTable, cleanse, completeness
    from estate.issues import summary

    refs = of_phase(ctx, "field_mapping")["tables"]
    changes: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    issues: list[dict[str, Any]] = []
    clean: list[CleanTable] = []
    kept = []
    for done, ref in enumerate(refs, 1):
        found = cleanse(MappedTable.load(await ctx.artifacts.get(ref)), ctx.flow_id)
        changes += found.changes
        rejected += found.rejected
        issues += found.issues
        clean.append(found.table)
        kept.append(await keep_table(ctx, found.table.dump(), found.table, len(found.table.records)))
        await ctx.heartbeat(done, len(refs), f"{ref['file']}: {len(found.table.records)} rows cleansed")
    rows = sum(len(table.records) for table in clean)
    by_reason = dict(Counter(row["reason"] for row in rejected).most_common())
    if not rows:
        raise Permanent("nothing_left", f"All {len(rejected)} rows were rejected: {by_reason}.")
    return {
        "tables": kept,
        "rows": rows,
        "rows_rejected": len(rejected),
        "values_changed": len(changes),
        "by_rule": dict(Counter(change["rule"] for change in changes).most_common()),
        "by_reason": by_reason,
        "completeness": completeness(clean),
        "changes": await keep(ctx, changes),
        "rejected": await keep(ctx, rejected),
        "issues": await keep(ctx, issues),
        "issues_summary": summary(issues),
        "message": f"{rows} rows are clean, {len(rejected)} were rejected; {len(changes)} values were changed.",
    }
