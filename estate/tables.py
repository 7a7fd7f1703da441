"""Tables as they came: every row knows the file, the sheet and the row number it came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

import orjson

from estate.bulk import bulk

Cell = str | int | float | bool | None
"""One cell: text from csv, typed from a workbook; dates and times are ISO 8601 text; an empty cell is None."""

Row = tuple[int, list[Cell]]
"""Row number as a spreadsheet shows it (1-based, blank and header lines counted), and one cell per column."""


@dataclass(frozen=True, slots=True)
class Warned:
    """Something the reader noticed and did not change."""

    code: str
    message: str
    sheet: str | None = None
    row: int | None = None


@dataclass(frozen=True, slots=True)
class SetAside:
    """A row that was not taken as data, with the reason and its cells as they came."""

    row: int
    reason: str
    message: str
    cells: list[Cell]


@dataclass(slots=True)
class Table:
    """One sheet, or one csv file (its sheet is None): header and data rows."""

    file: str
    sheet: str | None
    columns: list[str]
    header_row: int
    rows: list[Row]
    set_aside: list[SetAside] = field(default_factory=list)
    delimiter: str | None = None
    kind: str = "unknown"
    role: str = "unknown"

    @property
    def place(self) -> str:
        """The table's name in a sentence."""
        return f"{self.file}, sheet {self.sheet}" if self.sheet is not None else self.file


@dataclass(slots=True)
class Workbook:
    """One file: its container format by content, and its tables in order."""

    file: str
    format: str
    tables: list[Table]
    warnings: list[Warned] = field(default_factory=list)
    encoding: str | None = None

    @property
    def row_count(self) -> int:
        """Data rows of all tables."""
        return sum(len(table.rows) for table in self.tables)


def source(file: str, sheet: str | None, row: int | None) -> dict[str, Any]:
    """Where a value came from, in the shape every output uses."""
    return {"file": file, "sheet": sheet, "row": row}


@bulk
def dump_table(table: Table) -> bytes:
    """A table as ndjson: a header object, then one array `[row number, cell, ...]` per data row."""
    header = {
        "file": table.file,
        "sheet": table.sheet,
        "columns": table.columns,
        "header_row": table.header_row,
        "kind": table.kind,
        "role": table.role,
        "delimiter": table.delimiter,
        "set_aside": [asdict(row) for row in table.set_aside],
    }
    return dump_ndjson(chain([header], ([number, *cells] for number, cells in table.rows)))


@bulk
def load_table(data: bytes) -> Table:
    """The inverse of `dump_table`."""
    lines = load_ndjson(data)
    header = next(lines)
    return Table(
        file=header["file"],
        sheet=header["sheet"],
        columns=header["columns"],
        header_row=header["header_row"],
        kind=header["kind"],
        role=header["role"],
        delimiter=header["delimiter"],
        set_aside=[SetAside(**row) for row in header["set_aside"]],
        rows=[(line[0], line[1:]) for line in lines],
    )


def load_columns(data: bytes) -> Table:
    """Like `load_table`, header only: no rows."""
    return load_table(data[: data.index(b"\n") + 1])


@bulk
def dump_ndjson(rows: Iterable[Any]) -> bytes:
    """One JSON document per line."""
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


@bulk
def load_rows(data: bytes) -> list[Any]:
    """All documents of `dump_ndjson`."""
    return list(load_ndjson(data))


def load_ndjson(data: bytes) -> Iterator[Any]:
    """The documents of `dump_ndjson`, one by one."""
    loads = orjson.loads
    for line in data.split(b"\n"):
        if line:
            yield loads(line)
