"""What must hold of whatever comes in: a workbook that is whole, or an error that says why not."""

from __future__ import annotations

from pathlib import Path

from estate.errors import EstateError
from estate.options import ImportOptions
from estate.readers import check_readable, read
from estate.tables import Workbook, dump_table, load_table


def check(path: Path, name: str, options: ImportOptions | None = None) -> Workbook | None:
    """Read the file; the workbook, or None where it was refused with reasons. Raises AssertionError otherwise."""
    try:
        check_readable(path, name)
        book = read(path, name, options)
    except EstateError as error:
        if not error.code or not error.detail:
            raise AssertionError("a refusal without a reason") from error
        return None
    assert len({(table.file, table.sheet) for table in book.tables}) == len(book.tables)
    for table in book.tables:
        rows = len(table)
        assert len(set(table.names)) == len(table.columns)
        for column in table.columns:
            assert len(column.codes) == rows
            assert column.distinct[0] is None
            assert max(column.codes, default=0) < len(column.distinct)
        kept = load_table(dump_table(table))
        assert kept.names == table.names
        assert list(kept.rows(most=5)) == list(table.rows(most=5))
    for warning in book.warnings:
        assert warning.code
        assert warning.message
    return book
