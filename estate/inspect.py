"""What an uploaded file holds, told before anything is done with it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from estate.formats import IGNORED, recognise, recognised_as
from estate.readers import read

PREVIEW_ROWS = 20
PREVIEW_TEXT = 200


def inspect(path: Path, filename: str) -> dict[str, Any]:
    """Describe an upload.

    Returns `{format, recognised_as, encoding, sheets: [{name, rows, columns[], kind, role, header_row, set_aside}],
    rows, preview: {sheet: [first 20 rows as {column: cell}]}, warnings: [{code, message, sheet, row}]}`.
    `rows` leaves out sheets that discovery does not use. The one table of a csv file has its file name as sheet name
    here. Raises EstateError for unreadable files.
    """
    book = read(path, filename)
    recognise(book)
    sheets = []
    preview: dict[str, list[dict[str, Any]]] = {}
    for table in book.tables:
        name = table.sheet if table.sheet is not None else filename
        sheets.append(
            {
                "name": name,
                "rows": len(table.rows),
                "columns": table.columns,
                "kind": table.kind,
                "role": table.role,
                "header_row": table.header_row,
                "set_aside": len(table.set_aside),
            }
        )
        preview[name] = [
            dict(zip(table.columns, map(_short, cells), strict=False)) for _, cells in table.rows[:PREVIEW_ROWS]
        ]
    warnings = [asdict(warning) for warning in book.warnings]
    rows = sum(len(table.rows) for table in book.tables if table.role != IGNORED)
    if not book.row_count:
        warnings.append(
            {
                "code": "no_rows",
                "message": f"{filename} has a header and no data row below it.",
                "sheet": None,
                "row": None,
            }
        )
    return {
        "format": book.format,
        "recognised_as": recognised_as(book),
        "encoding": book.encoding,
        "sheets": sheets,
        "rows": rows,
        "preview": preview,
        "warnings": warnings,
    }


def _short(cell: Any) -> Any:
    return cell[: PREVIEW_TEXT - 1] + "…" if isinstance(cell, str) and len(cell) > PREVIEW_TEXT else cell
