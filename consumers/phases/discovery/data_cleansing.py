"""Bring the values to one form; keep what was changed and what was rejected."""

from __future__ import annotations

from collections import Counter
from typing import Any

from consumers.context import Outputs, Permanent, PhaseContext
from consumers.phases.discovery.handover import (
    IssueRows,
    Rows,
    keep_clean,
    listed,
    of_phase,
    raw_table,
    reference_date,
)
from domain.words import counted


async def cleanse_records(ctx: PhaseContext) -> Outputs:
    """Cleanse every mapped table, judged as of `reference_date` (default: today, UTC).

    Outputs `{tables[], changes, rejected, issues (artifact references), rows_read, rows, rows_rejected, values_changed,
    by_rule, by_reason, quality, reference_date, issues_summary, message}`; `rows_read` = `rows` + `rows_rejected`, the rows
    that the import had set aside among them.
    Raises Permanent `nothing_left` when every row was rejected.
    """
    from estate.clean import Use
    from estate.cleansing import cleanse
    from estate.quality import score

    today = reference_date(ctx)
    mapped = of_phase(ctx, "field_mapping")["tables"]
    kept: list[dict[str, Any]] = []
    by_rule: Counter[str] = Counter()
    by_reason: Counter[str] = Counter()
    rows_read = 0
    qualities = []
    with Rows(ctx) as changes, Rows(ctx) as rejected, IssueRows(ctx) as issues:
        for done, one in enumerate(mapped, 1):
            table = await raw_table(ctx, one["raw"])
            # those that the import set aside are told again among the rejected
            rows_read += len(table) + len(table.set_aside)
            found = cleanse(table, [Use(**use) for use in one["uses"]], ctx.flow_id, today=today)
            del table
            for change in found.changes:
                by_rule[change["rule"]] += change["count"]
                changes.write(change)
            for row in found.rejected:
                by_reason[row["reason"]] += 1
                rejected.write(row)
            issues.write_all(found.issues)
            qualities.append(found.quality)
            clean = found.table
            # what was read is not needed any more once its changes are written
            del found
            kept.append(await keep_clean(ctx, clean))
            await ctx.heartbeat(done, len(mapped), f"{clean.place}: {len(clean)} rows cleansed")
        rows = sum(ref["rows"] for ref in kept)
        if not rows:
            raise Permanent("nothing_left", f"All {rejected.count} rows were rejected: {listed(by_reason)}.")
        values_changed = by_rule.total()
        return {
            "tables": kept,
            "rows_read": rows_read,
            "rows": rows,
            "rows_rejected": rejected.count,
            "values_changed": values_changed,
            "by_rule": dict(by_rule.most_common()),
            "by_reason": dict(by_reason.most_common()),
            "quality": score(qualities, today),
            "reference_date": today.isoformat(),
            "changes": await changes.keep(),
            "rejected": await rejected.keep(),
            "issues": await issues.keep(),
            "issues_summary": issues.summary(),
            "message": f"{counted(rows_read, 'row')}: {rows} clean, {rejected.count} rejected"
            + (f" ({listed(by_reason)})" if by_reason else "")
            + f"; {counted(values_changed, 'value')} changed.",
        }
