"""The parts of the page about how good the data is: quality by dimension, matches to look at, what has changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from estate.report import charts
from estate.report.cells import as_text
from estate.report.columns import Row
from estate.report.data import ReportData
from estate.report.figures import LISTED, Figures
from estate.report.page import Html, Page


def dimensions(data: ReportData) -> list[tuple[str, Mapping[str, Any]]]:
    """The dimensions of quality by name, as cleansing told them (`estate.quality.score`); empty where it did not."""
    told = data.of("data_cleansing").get("quality")
    found = told.get("dimensions") if isinstance(told, dict) else None
    return [(str(name), one) for name, one in found.items()] if isinstance(found, dict) else []


def quality_rows(data: ReportData) -> Iterator[Row]:
    """The dimensions as rows, each followed by its fields, its worst rows and its worst columns."""
    for name, one in dimensions(data):
        figures = f"{as_text(one.get('numerator'))} of {as_text(one.get('denominator'))}"
        note = one.get("note")
        yield {
            "dimension": name,
            "score": one.get("score"),
            "what": one.get("formula"),
            "figures": f"{figures}; {note}" if note else figures,
        }
        for field, known in (one.get("by_field") or {}).items():
            figures = f"{known.get('known')} of {known.get('expected')}"
            yield {"dimension": name, "score": known.get("percent"), "what": f"field {field}", "figures": figures}
        for worst in (*(one.get("worst_rows") or ()), *(one.get("worst_columns") or ())):
            yield {"dimension": name, "what": worst.get("why"), "column": worst.get("column"), "source": worst}


def quality(page: Page, data: ReportData, _: Figures) -> None:
    """The dimensions with their formulas, and the worst rows and columns of each."""
    found = dimensions(data)
    if not found:
        page.paragraph("The quality of the data has not been measured.")
        return
    told = data.of("data_cleansing")["quality"]
    page.paragraph(f"Score: {charts.number(told.get('overall'))} of 100 = ", page.text(told.get("formula"), "formula"))
    scored = {name: one["score"] for name, one in found if one.get("score") is not None}
    page.chart(charts.bars("c-quality", "Quality by dimension, of 100", scored, most=100))
    page.table(
        ["Dimension", "Score", "Good", "Of", "Weight", "Formula", "Note"],
        [
            (name, *(one.get(part) for part in ("score", "numerator", "denominator", "weight", "formula", "note")))
            for name, one in found
        ],
    )
    by_field: Mapping[str, Any] = next((one["by_field"] for _, one in found if one.get("by_field")), {})
    page.chart(
        charts.bars(
            "c-known",
            "Known of the expected fields",
            {f: one["percent"] for f, one in by_field.items()},
            unit=" %",
            most=100,
        )
    )
    for at, (name, one) in enumerate(found):
        worst = [(row, None) for row in one.get("worst_rows") or ()]
        worst += [(column, column.get("column")) for column in one.get("worst_columns") or ()]
        if worst:
            page.heading(f"quality-{at}", f"Worst rows and columns: {page.shown(name)}", 3)
            page.table(
                ["File", "Sheet", "Row", "Column", "Why"],
                [(one.get("file"), one.get("sheet"), one.get("row"), column, one.get("why")) for one, column in worst],
                names=["file", "sheet", "", "column", "message"],
            )


def reviews(page: Page, data: ReportData, _: Figures) -> None:
    """Matches that a person should look at."""
    if not data.has("reviews"):
        page.paragraph("No list of doubtful matches was made.")
        return
    kinds: Counter[str] = Counter()
    listed: list[Row] = []
    for row in data.rows("reviews"):
        kinds[str(row.get("kind") or "match")] += 1
        if len(listed) < LISTED:
            listed.append(row)
    if not listed:
        page.paragraph("No match is doubtful.")
        return
    page.paragraph(
        f"{charts.counted(kinds.total(), 'match is', 'matches are')} doubtful. What is doubtful was kept apart; look at each, and correct"
        " the source."
    )
    page.table(
        ["Kind", "Assets", "What is doubtful", "Confidence", "What speaks for and against it", "Suggestion"],
        [
            (
                str(row.get("kind")).replace("_", " "),
                as_text(row.get("names")),
                row.get("reason"),
                row.get("confidence"),
                as_text(row.get("evidence")),
                row.get("suggestion"),
            )
            for row in listed
        ],
        names=["kind", "name", "message", "", "message", "message"],
    )
    page.rest(len(listed), kinds.total(), "Reviews")


def changes(page: Page, data: ReportData, _: Figures) -> None:
    """What is new, gone, renamed or changed since the discovery before."""
    if not data.has("changes"):
        page.paragraph("There is no earlier discovery of this estate to compare with.")
        return
    kinds: Counter[str] = Counter()
    fields: Counter[str] = Counter()
    listed: dict[str, list[Row]] = {}
    for row in data.rows("changes"):
        kind = str(row.get("kind"))
        kinds[kind] += 1
        fields.update(str(one.get("field")) for one in row.get("fields") or ())
        kept = listed.setdefault(kind, [])
        if len(kept) < LISTED:
            kept.append(row)
    told = data.of("asset_inventory").get("changed") or {}
    number = told.get("against_round")
    against = f"round {number} of this flow" if number else f"the discovery {told.get('against', 'before')}"
    page.paragraph(
        f"Compared with {against}, which had {charts.number(told.get('before'))} assets;"
        f" {charts.number(told.get('unchanged'))} are unchanged."
    )
    page.chart(charts.bars("c-changes", "Assets new, gone, renamed and changed", dict(kinds.most_common())))
    page.chart(charts.bars("c-changed", "What has changed", _shown(page, dict(fields.most_common(15)))))
    for at, (kind, rows) in enumerate(listed.items()):
        page.heading(f"changes-{at}", f"{page.shown(kind).capitalize()}: {charts.number(kinds[kind])}", 3)
        page.table(
            ["Asset", "Type", "What has changed", "Found again by"],
            [(row.get("name"), row.get("asset_type"), _differences(page, row), row.get("matched_by")) for row in rows],
            names=["name", "asset_type", "", "matched_by"],
        )
        page.rest(len(rows), kinds[kind], "Changes")


def _shown(page: Page, counts: Mapping[str, int]) -> dict[str, int]:
    return {page.shown(name): count for name, count in counts.items()}


def _differences(page: Page, row: Row) -> Html | None:
    parts = [
        f"<div>{page.text(one.get('field'))}: {page.cell(one.get('before'), str(one.get('field')))} →"
        f" {page.cell(one.get('after'), str(one.get('field')))}</div>"
        for one in row.get("fields") or ()
    ]
    return Html("".join(parts)) if parts else None
