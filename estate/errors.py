"""What can be wrong with the tables we are given."""

from __future__ import annotations


class EstateError(Exception):
    """A table that cannot be used: `code` for programs, `detail` for people, and the place where it went wrong.

    `file`, `sheet`, `row` (1-based, as a spreadsheet shows it) and `column` are None where they are not known.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        file: str | None = None,
        sheet: str | None = None,
        row: int | None = None,
        column: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.file = file
        self.sheet = sheet
        self.row = row
        self.column = column
