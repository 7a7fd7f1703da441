"""The report as a workbook: the same figures, and every row behind them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import xlsxwriter

from estate.bulk import bulk
from estate.report.cells import as_text, is_formula_like, visible
from estate.report.columns import (
    ASSETS,
    CHANGED_VALUES,
    CHANGES,
    CONFLICTS,
    DEPENDENCIES,
    FINDINGS,
    GROUPS,
    ISSUES,
    QUALITY,
    REJECTED,
    REVIEWS,
    SIZING,
    SUMMARY,
    Field,
    expanded,
)
from estate.report.data import ReportData
from estate.report.doubts import quality_rows
from estate.report.figures import SIZES, AssetFigures, Figures, Row, figures, sizes
from estate.report.page import Mask, mask, shown
from estate.roles import IGNORED

MOST_ROWS = 1_048_575
"""Rows of a sheet under its header (Excel specifications and limits)."""
MOST_CHARACTERS = 32_767
"""Characters of a cell."""
MOST_VALUES = 100
"""Values of one column that the summary tells one by one."""
EXACT = 10**15
"""A spreadsheet keeps 15 digits of a number; a larger one is written as text."""
_CUT = "… ({} characters)"


def write_xlsx(data: ReportData, path: Path, *, personal: bool = True, most_rows: int = MOST_ROWS) -> None:
    """Write the workbook; with `personal` e-mail addresses and telephone numbers are masked.

    Texts are texts, never formulas or links, and such as look like formulas stay texts when they are edited. Numbers
    are numbers. A sheet takes `most_rows`; the sheet Summary says where more of them exist. Rows are written as they
    are read, through temporary files beside `path`.
    """
    found = figures(data)
    options = {
        "constant_memory": True,
        "tmpdir": str(path.parent),
        "strings_to_numbers": False,
        "strings_to_formulas": False,
        "strings_to_urls": False,
    }
    with xlsxwriter.Workbook(str(path), options) as workbook:
        made = dt.datetime.fromisoformat(data.made_at) if data.made_at else dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
        workbook.set_properties({"title": "Discovery", "created": made.astimezone(dt.UTC).replace(tzinfo=None)})
        book = _Book(workbook, mask(personal))
        # the first sheet by place; written last, when it is known what the others hold
        summary = workbook.add_worksheet("Summary")
        for title, columns, rows in _sheets(data, found):
            book.sheet(workbook.add_worksheet(title), columns, rows, most_rows)
        book.sheet(summary, SUMMARY, _summary(data, found, dict(book.rows)), MOST_ROWS)


def _sheets(data: ReportData, found: Figures) -> Iterator[tuple[str, Sequence[Field], Iterable[Row]]]:
    names = found.assets.names
    scores = {row["asset_id"]: row.get("score") for row in data.rows("scores")}
    scored = (Field("debt_score", lambda row: scores.get(row["asset_id"])), *ASSETS[-2:])
    named = Field("asset", lambda row: names.get(row.get("asset_id") or ""), 30)
    issues = (row for row in data.rows("issues") if not row.get("finding_id"))
    yield "Assets", (*ASSETS[:-2], *scored), data.rows("assets")
    yield "Conflicts", CONFLICTS, _conflicts(data.rows("assets"))
    yield "Dependencies", DEPENDENCIES, (row for row in data.rows("dependencies") if not row.get("noise"))
    yield "Noise", DEPENDENCIES, (row for row in data.rows("dependencies") if row.get("noise"))
    yield "Move groups", GROUPS, _members(data.rows("move_groups"))
    yield "Findings", FINDINGS, data.rows("findings")
    yield "Sizing", SIZING, sizes(data)
    yield "Issues", (*ISSUES[:2], named, *ISSUES[2:]), issues
    yield "Reviews", REVIEWS, data.rows("reviews")
    yield "Changes", CHANGES, expanded("changes", data.rows("changes"))
    yield "Rejected rows", REJECTED, data.not_taken()
    yield "Cleansed values", CHANGED_VALUES, data.rows("changes_made")
    yield "Quality", QUALITY, quality_rows(data)


def _conflicts(assets: Iterable[Row]) -> Iterator[Row]:
    for asset in assets:
        for conflict in asset.get("conflicts") or ():
            for told in conflict.get("values") or ():
                yield {
                    "name": asset["name"],
                    "field": conflict.get("field"),
                    "value": told.get("value"),
                    "chosen": told.get("value") == conflict.get("chosen"),
                    "why": conflict.get("why"),
                    "sources": told.get("sources"),
                    "asset_id": asset["asset_id"],
                }


def _members(groups: Iterable[Row]) -> Iterator[Row]:
    for at, group in enumerate(groups, 1):
        circles = [set(cycle) for cycle in group.get("cycles") or ()]
        for name, asset_id in zip(group.get("names") or (), group.get("asset_ids") or (), strict=False):
            circle = next((number for number, names in enumerate(circles, 1) if name in names), None)
            yield group | {"group": at, "name": name, "asset_id": asset_id, "circle": circle}  # type: ignore[operator]


def _summary(data: ReportData, found: Figures, sheets: Mapping[str, tuple[int, int]]) -> Iterator[Row]:
    def line(what: str, value: Any, more: str | None = None, sheet: str | None = None) -> Row:
        return {"what": what, "value": value, "more": more, "sheet": sheet}

    flow = data.flow
    for name, value in (
        ("flow", flow.get("flow_name")),
        ("flow_id", flow.get("flow_id")),
        ("engagement", flow.get("engagement_id")),
        ("report made", data.made_at),
    ):
        yield line(name, value)
    yield from (line(*told) for told in _capacity(found.assets))
    yield from (line(*told) for told in _issues(found))
    for one in data.of("data_import").get("files") or ():
        yield line(
            "file read",
            one.get("filename"),
            f"{one.get('rows')} rows used, {one.get('recognised_as')}, sha256 {one.get('sha256')}",
        )
    for table in data.tables():
        used = "left out, holds nothing that discovery uses" if table.get("role") == IGNORED else table.get("kind")
        yield line("table read", table.get("rows"), f"{table.get('file')}, sheet {table.get('sheet')}: {used}")
    for sheet, (written, all_rows) in sheets.items():
        more = None if written == all_rows else f"only the first {written} fit into the sheet; the csv has all of them"
        yield line(f"rows of {sheet}", all_rows, more, sheet)
    yield from (line(*told) for told in _figures(found))


def _capacity(assets: AssetFigures) -> Iterator[tuple[str, Any, str | None, str | None]]:
    """What is to be moved, then what is not, by reason."""
    for what, why, part in (
        ("to be moved", None, assets.to_move),
        *(("not moved", why, part) for why, part in assets.not_moved.items()),
    ):
        yield f"{what}, machines", part["cpu_cores"].count, why, "Assets"
        for name, size in part.items():
            known = f"known of {size.known}, unknown of {size.unknown}"
            total = round(size.total, 2) if size.known else None
            yield f"{what}, {name}", total, f"{why}; {known}" if why else known, "Assets"


def _issues(found: Figures) -> Iterator[tuple[str, Any, str | None, str | None]]:
    """The two sheets that together hold what the list of issues does."""
    issues = found.issues
    if issues.findings:
        yield "issues in the API and as csv", issues.total + issues.findings, "issues for the owners and findings", None
        yield "of them findings", issues.findings, None, "Findings"
        yield "of them issues for the owners", issues.total, None, "Issues"


def _figures(found: Figures) -> Iterator[tuple[str, Any, str | None, str | None]]:
    assets, edges = found.assets, found.edges
    yield "assets", assets.total, None, "Assets"
    for facet, tally in assets.by.items():
        listed = tally.most(MOST_VALUES)
        for value, count in listed.items():
            yield f"assets, {facet}", count, value, "Assets"
        left = len(tally.counts) - len(listed)
        if left:
            yield f"assets, {facet}", tally.total - sum(listed.values()), f"{left} other values", "Assets"
    for name in SIZES:
        for kind, part in sorted(assets.sizes[name].items()):
            known = f"{kind}: known of {part.known}, unknown of {part.unknown}"
            yield name, round(part.total, 2) if part.known else None, known, "Assets"
    yield "assets with conflicting values", assets.with_conflicts, None, "Conflicts"
    yield "dependencies", edges.kept, None, "Dependencies"
    yield "dependencies set apart as noise", edges.noise.total, None, "Noise"
    yield "dependencies with an end that is no asset", edges.unknown_edges, None, "Dependencies"
    for severity, count in found.debt.by_severity.most().items():
        yield "findings", count, severity, "Findings"
    for severity, count in found.issues.by_severity.most().items():
        yield "issues", count, severity, "Issues"


class _Book:
    """Writes sheets and remembers how many rows went into each, of how many."""

    def __init__(self, workbook: Any, mask: Mask) -> None:
        self.rows: dict[str, tuple[int, int]] = {}
        self._mask = mask
        self._head = workbook.add_format({"bold": True, "bg_color": "#E8EDF3", "bottom": 1})
        # a text that looks like a formula stays a text when somebody edits it
        self._guarded = workbook.add_format({"quote_prefix": True})

    @bulk
    def sheet(self, sheet: Any, columns: Sequence[Field], rows: Iterable[Row], most: int) -> None:
        """One sheet: header, frozen, with filters; then the rows, `most` of them."""
        for at, column in enumerate(columns):
            sheet.set_column(at, at, column.width)
            sheet.write_string(0, at, column.name.replace("_", " "), self._head)
        sheet.freeze_panes(1, 1)
        written = total = 0
        for row in rows:
            total += 1
            if written < most:
                written += 1
                self._row(sheet, written, columns, row)
        if written < total:
            sheet.set_footer(f"&L{written} of {total} rows")
        sheet.autofilter(0, 0, max(written, 1), len(columns) - 1)
        self.rows[sheet.get_name()] = (written, total)

    def _row(self, sheet: Any, at: int, columns: Sequence[Field], row: Row) -> None:
        for place, column in enumerate(columns):
            value = column.of(row)
            if value is None or value == "":
                continue
            if isinstance(value, bool):
                sheet.write_boolean(at, place, value)
            elif isinstance(value, int | float) and -EXACT < value < EXACT:
                sheet.write_number(at, place, value)
            else:
                name = str(row.get(column.named_in)) if column.named_in else column.name
                text = self._text(name, value)
                sheet.write_string(at, place, text, self._guarded if is_formula_like(text) else None)

    def _text(self, name: str, value: Any) -> str:
        text = visible(as_text(shown(self._mask, name, value)), breaks=True)
        if len(text) <= MOST_CHARACTERS:
            return text
        cut = _CUT.format(len(text))
        return text[: MOST_CHARACTERS - len(cut)] + cut
