"""What one phase of discovery hands to the next: artifacts named in its outputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from consumers.context import Outputs, Permanent, PhaseContext

NDJSON = "application/x-ndjson"


async def keep(ctx: PhaseContext, rows: Iterable[Any]) -> dict[str, Any]:
    """Keep rows as one ndjson artifact; the reference, with how many `rows` it has."""
    from estate.tables import dump_ndjson

    listed = list(rows)
    return await ctx.artifacts.put(dump_ndjson(listed), NDJSON) | {"rows": len(listed)}


async def keep_table(ctx: PhaseContext, data: bytes, table: Any, rows: int) -> dict[str, Any]:
    """Keep one table; the reference, with the table's name, kind and number of rows."""
    place = {"file": table.file, "sheet": table.sheet, "kind": table.kind, "role": table.role, "rows": rows}
    return place | await ctx.artifacts.put(data, NDJSON)


def of_phase(ctx: PhaseContext, phase: str) -> Outputs:
    """The outputs of an earlier phase; raises Permanent `phase_outputs_missing`."""
    outputs = ctx.outputs.get(phase)
    if outputs is None:
        raise Permanent(
            "phase_outputs_missing", f"{ctx.phase} needs the outputs of {phase}, which has not been completed."
        )
    return dict(outputs)
