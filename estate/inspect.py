"""What an uploaded file holds, told before anything is done with it."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from estate.formats import recognise, recognised_as
from estate.options import NOTHING, ImportOptions
from estate.readers import read
from estate.tables import Cell, SetAside, Table

PREVIEW_ROWS = 20
PREVIEW_TEXT = 200
PREVIEW_CELLS = 50
"""Cells of a row that was set aside."""
PREVIEW_COLUMNS = 200
"""Columns of a table that are shown; `columns_total` says how many there are."""
SHOWN_CELLS = 20_000
"""Of all tables together."""


def inspect(path: Path, filename: str, options: ImportOptions | None = None) -> dict[str, Any]:
    """Describe an upload.

    Returns `{format, recognised_as, encoding, sheets: [{name, rows, columns[], kind, role, header_row, header_rows,
    set_aside, columns_total, read_as}], rows, preview: {sheet: [first 20 rows as {column: cell}]}, set_aside: {sheet: [first 20 of
    {row, reason, message, cells}]}, warnings: [{code, message, sheet, row}], import_options}`.
    `rows` leaves out sheets that discovery does not use. The table of a file without sheets has its file name as name
    here. Cells that look like credentials or personal data are masked. Raises EstateError for unreadable files.
    """
    book = read(path, filename, options)
    recognise(book)
    sheets = []
    preview: dict[str, list[dict[str, Any]]] = {}
    set_aside: dict[str, list[dict[str, Any]]] = {}
    left = SHOWN_CELLS
    for table in book.tables:
        name = _name(table, filename)
        names = [_short(column) for column in table.names[:PREVIEW_COLUMNS]]
        rows = min(PREVIEW_ROWS, len(table), left // max(len(names), 1))
        left -= rows * len(names)
        sheets.append(
            {
                "name": name,
                "rows": len(table),
                "columns": names,
                "columns_total": len(table.columns),
                "kind": table.kind,
                "role": table.role,
                "header_row": table.header_row,
                "header_rows": table.read_as.get("header_rows", []),
                "set_aside": len(table.set_aside),
                "read_as": table.read_as,
            }
        )
        preview[name] = _preview(table, rows)
        set_aside[name] = [_aside(row, table.names[:PREVIEW_COLUMNS]) for row in islice(table.set_aside, PREVIEW_ROWS)]
    warnings = [asdict(warning) for warning in book.warnings]
    if not book.row_count:
        told = f"{filename} has a header and no data row below it."
        warnings.append({"code": "no_rows", "message": told, "sheet": None, "row": None})
    return {
        "format": book.format,
        "recognised_as": recognised_as(book),
        "encoding": book.encoding,
        "sheets": sheets,
        "rows": book.used_rows,
        "preview": preview,
        "set_aside": set_aside,
        "warnings": warnings,
        "import_options": (options or NOTHING).as_dict(),
    }


def _name(table: Table, filename: str) -> str:
    """The sheet; in a zip with the file in it before that."""
    if table.file == filename:
        return table.sheet if table.sheet is not None else filename
    member = table.file.removeprefix(f"{filename}/")
    return member if table.sheet is None else f"{member}: {table.sheet}"


def _preview(table: Table, rows: int) -> list[dict[str, Any]]:
    from estate.personal import masked

    columns = table.columns[:PREVIEW_COLUMNS]
    return [
        {str(_short(column.name)): _short(masked(column.name, column[row])) for column in columns}
        for row in range(rows)
    ]


def _aside(row: SetAside, columns: list[str]) -> dict[str, Any]:
    """A row set aside. Where its cells stand under the columns each is masked as its column says; where they may have
    moved, as every column would have it."""
    from estate.personal import masked

    cells = []
    for at, cell in enumerate(row.cells[:PREVIEW_CELLS]):
        hidden = masked("", cell)
        for name in columns if row.reason == "too_many_cells" else columns[at : at + 1]:
            hidden = masked(name, hidden)
        cells.append(_short(hidden))
    return {"row": row.row, "reason": row.reason, "message": row.message, "cells": cells}


def _short(cell: Cell) -> Cell:
    return cell[: PREVIEW_TEXT - 1] + "…" if isinstance(cell, str) and len(cell) > PREVIEW_TEXT else cell
