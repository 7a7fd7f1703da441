"""What all workbooks have in common: sheets that are hidden, empty or no tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from estate.errors import EstateError
from estate.options import ImportOptions
from estate.readers.layout import Sheet, tables_of
from estate.readers.remedies import TABLE_INSTEAD
from estate.tables import Table, Warned


class Noted(Protocol):
    """What a reader noticed while the rows of a sheet went by; to be asked after them."""

    empty: bool
    """No row held a cell."""

    def notes(self) -> Iterable[tuple[str, str, int | None]]:
        """(code, sentence, row)."""
        ...


def read_sheets(
    file: str,
    sheets: Iterable[tuple[Sheet, bool, Noted]],
    options: ImportOptions,
    listed: list[str],
    warnings: list[Warned],
) -> list[Table]:
    """The tables of all sheets; each sheet comes with whether it is hidden. Raises EstateError `not_a_table`."""
    for name in options.sheets:
        if name not in listed:
            told = ", ".join(listed[:20])
            raise EstateError(
                "import_options_invalid", f"{file} has no sheet {name!r}; it has {told}.", file=file, sheet=name
            )
    tables: list[Table] = []
    for sheet, hidden, noted in sheets:
        if hidden:
            told = f"sheet {sheet.name} is hidden; it was read all the same."
            warnings.append(Warned("hidden_sheet", told, sheet.name))
        found = tables_of(sheet, warnings)
        warnings.extend(Warned(code, told, sheet.name, row) for code, told, row in noted.notes())
        if noted.empty:
            warnings.append(Warned("empty_sheet", f"sheet {sheet.name} is empty.", sheet.name))
        elif not found:
            told = f"sheet {sheet.name} has no row with column names; it was left out."
            warnings.append(Warned("no_header_row", told, sheet.name))
        tables.extend(found)
    if not tables:
        raise EstateError("not_a_table", f"{file}: no sheet holds a table; {TABLE_INSTEAD}.", file=file)
    return tables
