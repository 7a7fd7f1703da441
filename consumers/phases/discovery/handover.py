"""What one phase of discovery hands to the next: artifacts named in its outputs."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from consumers.context import Invalid, Outputs, Permanent, PhaseContext

if TYPE_CHECKING:
    from estate.clean import CleanTable
    from estate.tables import Table

NDJSON = "application/x-ndjson"
CLEAN_MEDIA_TYPE = "application/vnd.mfo.clean-table+zstd"
# an output that discovery 1.0 did not hand over: without it the others cannot be read
SINCE_COLUMNS = {"data_import": "learned", "field_mapping": "incomplete", "data_cleansing": "quality"}


class Rows:
    """Documents on their way into one ndjson artifact: written to a file in the run's folder as they come.

    A context manager: `with Rows(ctx) as rows: rows.write({...}); ref = await rows.keep()`.
    """

    def __init__(self, ctx: PhaseContext) -> None:
        from estate.ndjson import Lines

        self._ctx = ctx
        self.path: Path = ctx.folder() / f"rows-{uuid4()}"
        self._file = self.path.open("wb")
        self._lines = Lines(self._file)

    def write(self, document: Any) -> None:
        """One more of them."""
        self._lines.write(document)

    @property
    def count(self) -> int:
        """How many have been written."""
        return self._lines.count

    def write_all(self, documents: Iterable[Any]) -> None:
        """Write each of them."""
        for document in documents:
            self.write(document)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    async def keep(self) -> dict[str, Any]:
        """Keep what was written as one artifact; the reference, with how many `rows` it has. Nothing is written after it."""
        self._file.close()
        return await self._ctx.artifacts.put_file(self.path, NDJSON) | {"rows": self.count}


class IssueRows(Rows):
    """Issues on their way into an artifact, counted as they pass."""

    def __init__(self, ctx: PhaseContext) -> None:
        super().__init__(ctx)
        self._severities: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()

    def write(self, document: Any) -> None:
        """One more issue."""
        super().write(document)
        self._severities[document["severity"]] += 1
        self._kinds[document["kind"]] += 1

    def summary(self) -> dict[str, Any]:
        """`{total, by_severity, by_kind}` of those written."""
        from estate.issues import SEVERITIES

        found = self._severities
        return {
            "total": self.count,
            "by_severity": {severity: found[severity] for severity in SEVERITIES if found[severity]},
            "by_kind": dict(self._kinds.most_common()),
        }


async def keep(ctx: PhaseContext, rows: Iterable[Any]) -> dict[str, Any]:
    """Keep rows as one ndjson artifact; the reference, with how many `rows` it has."""
    with Rows(ctx) as kept:
        kept.write_all(rows)
        return await kept.keep()


def place_of(table: Table | CleanTable) -> dict[str, Any]:
    """Which table it is and how large: `{file, sheet, kind, role, rows}`."""
    return {"file": table.file, "sheet": table.sheet, "kind": table.kind, "role": table.role, "rows": len(table)}


async def raw_table(ctx: PhaseContext, ref: Mapping[str, Any]) -> Table:
    """A table as data_import kept it; raises Permanent `phase_outputs_outdated` for one of an older version."""
    from estate.tables import TABLE_MEDIA_TYPE, load_table

    return load_table(await _bytes_of(ctx, ref, TABLE_MEDIA_TYPE, "data_import"))


async def keep_clean(ctx: PhaseContext, table: CleanTable) -> dict[str, Any]:
    """Keep a cleansed table; the reference, with the table's place."""
    return place_of(table) | await ctx.artifacts.put(table.dump(), CLEAN_MEDIA_TYPE)


async def clean_table(ctx: PhaseContext, ref: Mapping[str, Any]) -> CleanTable:
    """A table as data_cleansing kept it; raises Permanent `phase_outputs_outdated` for one of an older version."""
    from estate.clean import CleanTable

    return CleanTable.load(await _bytes_of(ctx, ref, CLEAN_MEDIA_TYPE, "data_cleansing"))


async def _bytes_of(ctx: PhaseContext, ref: Mapping[str, Any], media_type: str, phase: str) -> bytes:
    if ref.get("media_type") != media_type:
        raise _outdated(ctx, phase)
    return await ctx.artifacts.get(ref)


def _outdated(ctx: PhaseContext, phase: str) -> Permanent:
    return Permanent(
        "phase_outputs_outdated",
        f"{phase} was done by an older version, whose tables {ctx.phase} cannot read; begin a new flow with the same files.",
    )


def of_phase(ctx: PhaseContext, phase: str) -> Outputs:
    """The outputs of an earlier phase; raises Permanent `phase_outputs_missing`, `phase_outputs_outdated`."""
    outputs = ctx.outputs.get(phase)
    if outputs is None:
        raise Permanent(
            "phase_outputs_missing", f"{ctx.phase} needs the outputs of {phase}, which has not been completed."
        )
    if phase in SINCE_COLUMNS and SINCE_COLUMNS[phase] not in outputs:
        raise _outdated(ctx, phase)
    return dict(outputs)


def reference_date(ctx: PhaseContext) -> dt.date:
    """The day as of which the estate is judged: the input `reference_date`, else the day of the run (UTC).

    Raises Permanent `inputs_invalid` on what is no date.
    """
    given = ctx.inputs.get("reference_date")
    if given is None:
        return ctx.today
    try:
        return dt.date.fromisoformat(str(given))
    except ValueError as error:
        wrong = Invalid("reference_date", "reference_date must be a date, YYYY-MM-DD")
        raise Permanent("inputs_invalid", wrong.message, [wrong]) from error


async def reference_date_valid(ctx: PhaseContext) -> list[Invalid]:
    """`reference_date`, where given, is a date."""
    try:
        reference_date(ctx)
    except Permanent as error:
        return error.fields
    return []


def listed(counts: Mapping[str, int]) -> str:
    """`3 totals_row, 1 comment`, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {name}" for name, count in ordered)
