"""Rows as csv, a batch at a time: texts that no spreadsheet takes for a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

# what a spreadsheet may begin a formula with, at the start of a cell or behind what some take for its end
_FORMULA = re.compile(r"(^|[;\t\r\n])(?=[\s\"'`]*[=+\-@\uff1d\uff0b\uff0d\uff20\u2212]|[\t\r\n])")


def harmless(text: str) -> str:
    """The text with an apostrophe before whatever a spreadsheet may take for a formula."""
    return _FORMULA.sub(r"\1'", text)


def csv_lines(rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows as csv in UTF-8, with commas and CRLF; none is an empty cell, and every text `harmless`."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerows([harmless(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return out.getvalue().encode()
