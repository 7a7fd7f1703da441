"""What cleansing changed and rejected, kept as columns and told row by row only when somebody asks."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from estate.tables import Cell, Codes, Column, SetAside, Table, source

QUIET = frozenset(
    {"totals_row", "comment", "blank_row", "repeated_header", "above_header", "caption", "outside_records",
     "first_row", "last_row", "analysis_row"}
)  # fmt: skip
"""Reasons for which a row that is not taken is no loss."""

MAX_SHOWN = 2_000
Mask = Callable[[str, Cell], Cell]
"""(column name, cell) -> the cell as it may be shown."""


def ranges(numbers: Iterable[int]) -> str:
    """Row numbers as text, runs as ranges: `2-501,507`."""
    parts: list[str] = []
    first = last = None
    for number in numbers:
        if last is not None and number == last + 1:
            last = number
            continue
        if first is not None:
            parts.append(f"{first}-{last}" if last != first else str(first))
        first = last = number
    if first is not None:
        parts.append(f"{first}-{last}" if last != first else str(first))
    return ",".join(parts)


def in_words(numbers: Sequence[int], *, most: int = 8) -> str:
    """Row numbers in a sentence: `row 7`, `rows 2-501,507 (501 rows)`; after `most` ranges how many rows are left out."""
    if len(numbers) == 1:
        return f"row {numbers[0]}"
    text = ranges(numbers)
    parts = text.split(",")
    if len(parts) > most:
        text = f"{','.join(parts[:most])}, ..."
    return f"rows {text} ({len(numbers):,} rows)"


def places_of(codes: Codes, wanted: Collection[int]) -> dict[int, list[int]]:
    """For each wanted code the places of the rows that hold it, in order."""
    found: dict[int, list[int]] = {code: [] for code in wanted}
    get = found.get
    for place, code in enumerate(codes):
        places = get(code)
        if places is not None:
            places.append(place)
    return found


@dataclass(slots=True)
class Changed:
    """One column's changes: `rules[code]` is None where the cell stayed as it was."""

    field: str
    target: str
    old: Sequence[Any]
    new: Sequence[Any]
    rules: Sequence[str | None]
    codes: Codes

    def counts(self) -> Counter[int]:
        """How many rows hold each changed cell."""
        rules = self.rules
        return Counter({code: count for code, count in Counter(self.codes).items() if rules[code] is not None})


class Changes:
    """The changes of a table, one document per (column, old value, rule):

    `{source{file, sheet, row: the first}, field, target, old, new, rule, count, rows: "2-501,507"}`. They are made while
    they are iterated, so a table in which every cell was converted costs no more than its columns.
    """

    def __init__(self, file: str, sheet: str | None, numbers: Codes) -> None:
        self._file, self._sheet, self._numbers = file, sheet, numbers
        self._columns: list[Changed] = []
        self._counted: list[Counter[int]] = []

    def add(self, column: Changed) -> None:
        """The changes of one more column."""
        counts = column.counts()
        if counts:
            self._columns.append(column)
            self._counted.append(counts)

    def __len__(self) -> int:
        return sum(map(len, self._counted))

    @property
    def cells(self) -> int:
        """How many cells were changed."""
        return sum(counts.total() for counts in self._counted)

    def by_rule(self) -> dict[str, int]:
        """How many cells each rule changed, the most frequent first."""
        found: Counter[str] = Counter()
        for column, counts in zip(self._columns, self._counted, strict=True):
            for code, count in counts.items():
                found[column.rules[code] or ""] += count
        return dict(found.most_common())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        numbers = self._numbers
        for column, counts in zip(self._columns, self._counted, strict=True):
            for code, places in places_of(column.codes, counts).items():
                yield {
                    "source": source(self._file, self._sheet, numbers[places[0]]),
                    "field": column.field,
                    "target": column.target,
                    "old": _shown(column.old[code]),
                    "new": column.new[code],
                    "rule": column.rules[code],
                    "count": len(places),
                    "rows": ranges(numbers[place] for place in places),
                }


def _shown(cell: Any) -> Any:
    """The cell, a text of more than 2,000 characters by its beginning."""
    return f"{cell[:MAX_SHOWN]}..." if isinstance(cell, str) and len(cell) > MAX_SHOWN else cell


class Rejected:
    """The rows that were not taken, `{source, reason, message, values{column: cell}}` each, made while they are iterated.

    First the rows the reader set aside (their cells as `cell 1`, `cell 2`, ...), then those that cleansing refused. Credentials among the cells are masked.
    """

    def __init__(self, table: Table, mask: Mask) -> None:
        self._table, self._mask = table, mask
        self._secret = [name for name in table.names if mask(name, "Xy7-secret-9") != "Xy7-secret-9"]
        self._places: Codes = array("I")
        self._reasons: list[tuple[str, str]] = []

    def add(self, place: int, reason: str, message: str) -> None:
        """One more row of the table, by its place from 0."""
        self._places.append(place)
        self._reasons.append((reason, message))

    def __len__(self) -> int:
        return len(self._table.set_aside) + len(self._places)

    def reasons(self) -> Iterator[tuple[int, str, str]]:
        """(row number, reason, message) of each."""
        for row in self._table.set_aside:
            yield row.row, row.reason, row.message
        for place, (reason, message) in zip(self._places, self._reasons, strict=True):
            yield self._table.numbers[place], reason, message

    def by_reason(self) -> dict[str, int]:
        """How many rows each reason has, the most frequent first."""
        return dict(Counter(reason for _, reason, _ in self.reasons()).most_common())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        table = self._table
        for row in table.set_aside:
            yield self._document(row.row, row.reason, row.message, self._aside(row))
        for place, (reason, message) in zip(self._places, self._reasons, strict=True):
            cells = ((column.name, column[place]) for column in table.columns)
            yield self._document(table.numbers[place], reason, message, cells)

    def _aside(self, row: SetAside) -> Iterator[tuple[str, Cell]]:
        """The cells by their places; which columns they belong to is not certain, so a cell that would be a credential
        in one of the table's columns of credentials is masked, whatever its place."""
        for at, cell in enumerate(row.cells, 1):
            masked = cell
            for name in self._secret if row.reason not in QUIET else ():
                masked = self._mask(name, masked)
            yield f"cell {at}", masked

    def _document(self, number: int, reason: str, message: str, cells: Iterable[tuple[str, Cell]]) -> dict[str, Any]:
        return {
            "source": source(self._table.file, self._table.sheet, number),
            "reason": reason,
            "message": message,
            "values": {name: self._mask(name, cell) for name, cell in cells if cell is not None},
        }


def with_cells(column: Column, replaced: dict[int, Cell]) -> list[Cell]:
    """The distinct cells of a column, some of them replaced."""
    if not replaced:
        return column.distinct
    cells = list(column.distinct)
    for code, cell in replaced.items():
        cells[code] = cell
    return cells
