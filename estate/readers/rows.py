"""The rows below a header: which are data, and which are set apart with the reason."""

from __future__ import annotations

from collections.abc import Sequence

from estate.errors import EstateError
from estate.readers import beside
from estate.readers.cells import (
    begins_total,
    blank,
    counted,
    filled,
    header_share,
    is_footnote,
    is_number,
    is_remark,
    is_total,
    looks_like_data,
    may_be_apart,
)
from estate.readers.headers import Header, Merges, column_letters, key
from estate.readers.limits import (
    MAX_CELL_CHARACTERS,
    MAX_CELLS,
    MAX_COLUMNS,
    MAX_DISTINCT,
    MAX_SET_ASIDE,
    MAX_SET_ASIDE_CELLS,
    MAX_WARNINGS_OF_A_KIND,
)
from estate.readers.remedies import DIVIDE
from estate.tables import Cell, SetAside, Table, TableBuilder, Warned, place_of

SHORTEST_ASIDE = 2048
"""Set-apart rows wider than this keep their filled cells only."""
CHECK_EVERY = 50_000
MOST_REMEMBERED = 50_000
MOST_FOOTNOTES = 20
"""Rows at the end of a table that may be notes below it."""


class Block:
    """One table while its rows come in."""

    def __init__(self, file: str, sheet: str | None, header: Header, warnings: list[Warned], *, shifts: bool) -> None:
        self.file = file
        self.sheet = sheet
        self.header = header
        self.set_aside: list[SetAside] = []
        self.read_as: dict[str, object] = {}
        self.delimiter: str | None = None
        self._warnings = warnings
        self._shifts = shifts
        if header.width > MAX_COLUMNS:
            raise EstateError(
                "too_large",
                f"{self._place()}, row {header.last}: more than {MAX_COLUMNS:,} columns; {DIVIDE}.",
                file=file,
                sheet=sheet,
                row=header.last,
            )
        self._builder = TableBuilder(header.names)
        self._most_rows = MAX_CELLS // max(1, header.width)
        self._numeric: list[int] = []
        self._texts: frozenset[int] = frozenset()
        self._values: list[set[Cell]] = []
        self._apart: dict[Cell, bool] = {}
        self._aside_cells = 0
        self._short = 0
        self._extra = 0
        self._extra_row = 0

    def __len__(self) -> int:
        return len(self._builder)

    def _place(self) -> str:
        return place_of(self.file, self.sheet)

    def learn(self, sample: Sequence[Sequence[Cell]]) -> None:
        """Look at the first rows below the header: columns of numbers, columns beyond the last name."""
        header, start = self.header, self.header.start
        end = start + header.width
        if not self._shifts:
            self._widen(sample)
            end = start + self.header.width
        whole = [row[start:end] for row in sample if len(row) == end or not self._shifts]
        plain = [row[start:end] for row in sample if not any(map(begins_total, filled(row)[:1]))]
        self._texts = frozenset(place for place in range(self.header.width) if _is_text(plain, place))
        self._numeric = []
        for place in range(self.header.width):
            values = [row[place] for row in whole if place < len(row) and not blank(row[place])]
            if values and sum(map(looks_like_data, values)) >= 0.9 * len(values):
                self._numeric.append(place)
        self._values = [
            {row[place] for row in whole if place < len(row) and isinstance(row[place], str)}
            for place in range(min(self.header.width, 50))
        ]

    def _widen(self, sample: Sequence[Sequence[Cell]]) -> None:
        """Columns without a name right beside the last one, where most rows fill them."""
        header = self.header
        end = header.start + header.width
        names, unnamed = list(header.names), set(header.unnamed)
        while sample and sum(len(row) > end and not blank(row[end]) for row in sample) * 2 > len(sample):
            if len(names) >= MAX_COLUMNS:
                break
            unnamed.add(len(names))
            names.append(f"column {len(names) + 1}")
            end += 1
        if len(names) > header.width:
            self.header = Header(
                header.rows, tuple(names), header.start, header.keys, frozenset(unnamed), header.doubtful
            )
            self._builder = TableBuilder(names)

    def take(self, number: int, cells: list[Cell], *, after_gap: bool = False) -> bool:
        """One row that is not blank; True if it is data."""
        header = self.header
        width = header.width
        if header.start:
            if not all(map(blank, cells[: header.start])):
                self._outside(number, cells[: header.start], 0)
            cells = cells[header.start :]
        held = len(cells)
        if held and cells[0] is not None and cells[0] != "":
            first: Cell = cells[0]
        else:
            first = next((cell for cell in cells if not blank(cell)), None)
        apart = self._apart.get(first)
        if apart is None:
            apart = self._remember(first)
        if apart and self._takes_apart(number, cells, width):
            return False
        if after_gap and self._counts(cells):
            self._put(number, "totals_row", "sums up other rows", cells)
            return False
        if after_gap and self._closes(cells):
            self._put(number, "comment", "stands alone below the table", cells)
            return False
        before = len(self._builder)
        if held == width:
            self._builder.add(number, cells)
        elif held < width:
            if self._shifts:
                self._short += 1
            if held == 0:
                return False
            self._builder.add(number, cells + [None] * (width - held))
        else:
            self._long(number, cells, width)
        count = len(self._builder)
        if count > self._most_rows or not count % CHECK_EVERY:
            self._check(number)
        return count > before

    def _check(self, number: int) -> None:
        if len(self._builder) > self._most_rows:
            what = f"more than {MAX_CELLS:,} cells"
        elif self._builder.distinct() > MAX_DISTINCT:
            what = f"more than {MAX_DISTINCT:,} different cells"
        else:
            return
        raise EstateError(
            "too_large",
            f"{self._place()}, row {number}: {what}; {DIVIDE}.",
            file=self.file,
            sheet=self.sheet,
            row=number,
        )

    def _remember(self, first: Cell) -> bool:
        if len(self._apart) >= MOST_REMEMBERED:
            self._apart.clear()
        apart = may_be_apart(first) or any(names and _plain(first) == names[0] for names in self._first_names())
        self._apart[first] = apart
        return apart

    def _first_names(self) -> list[list[str]]:
        return [[name for name in names if name] for names in self.header.keys]

    def _takes_apart(self, number: int, cells: list[Cell], width: int) -> bool:
        if self.repeats_header(cells, placed=True):
            return self._put(number, "repeated_header", "repeats the header", cells)
        if is_total(cells) or self._sums_up(cells):
            return self._put(number, "totals_row", "sums up other rows", cells)
        if is_remark(cells, width):
            return self._put(number, "comment", "is a remark, not data", cells)
        return False

    def _sums_up(self, cells: Sequence[Cell]) -> bool:
        """`Total Leeds` and numbers, nothing in the columns of texts that other rows fill."""
        held = [place for place, cell in enumerate(cells) if not blank(cell)]
        if len(held) < 2 or not begins_total(cells[held[0]]):
            return False
        told = self._texts - {held[0]}
        return bool(told) and told.isdisjoint(held) and all(is_number(cells[place]) for place in held[1:])

    def _counts(self, cells: Sequence[Cell]) -> bool:
        """`2 servers | 24 GB` below a gap: quantities only, the first of them where the rows hold texts."""
        held = [place for place, cell in enumerate(cells) if not blank(cell)]
        first = held[0] if held else 0
        if len(held) < 2 or first not in self._texts or not all(is_number(cells[place]) for place in held):
            return False
        return any(char.isalpha() for char in str(cells[first]))

    def _closes(self, cells: Sequence[Cell]) -> bool:
        """True for a sentence below the rows: three words or more in the first cell only, where no name has so many."""
        held = filled(cells)
        if len(held) != 1 or self.header.width < 2 or blank(cells[0]) or not isinstance(held[0], str):
            return False
        names = self._values[0] if self._values else set()
        return len(held[0].split()) >= 3 and not any(len(str(name).split()) >= 3 for name in names)

    def repeats_header(self, cells: Sequence[Cell], *, placed: bool = False) -> bool:
        """True if the row is one of the header's rows again. `placed`: the cells begin with the first column."""
        own = key(cells if placed else cells[self.header.start :])
        while own and not own[-1]:
            own = own[:-1]
        return any(own == tuple(_trimmed(names)) for names in self.header.keys)

    def differs(self, cells: Sequence[Cell], below: Sequence[tuple[int, list[Cell]]]) -> bool:
        """True if a row of usual column names cannot be a row of this table: other columns, or names over data."""
        if self.knows(cells):
            return False
        start = self.header.start
        own = cells[start : start + self.header.width]
        places = {place for place, cell in enumerate(cells) if not blank(cell)}
        mine = {start + place for place in range(self.header.width) if place not in self.header.unnamed}
        over_numbers = sum(place < len(own) and not blank(own[place]) for place in self._numeric)
        data_below = any(
            looks_like_data(cell)
            for _, row in below[:3]
            for place, cell in enumerate(row)
            if place in places and not blank(cell)
        )
        evidence = (places != mine) + bool(over_numbers) + data_below + (header_share(cells) >= 0.8)
        return evidence >= 2

    def knows(self, cells: Sequence[Cell]) -> bool:
        """True if one of the cells is a value of its column."""
        own = cells[self.header.start : self.header.start + self.header.width]
        return any(cell in values for cell, values in zip(own, self._values, strict=False) if not blank(cell))

    def is_title(self, cells: Sequence[Cell]) -> bool:
        """True for a line that may stand above a further table: one or two texts, none of which the table knows."""
        held = filled(cells)
        known = any(cell in values for cell in held for values in self._values)
        return self.header.width > 2 and len(held) <= 2 and not known

    def _put(self, number: int, reason: str, message: str, cells: Sequence[Cell]) -> bool:
        self._aside_cells += len(cells)
        if len(self.set_aside) >= MAX_SET_ASIDE or self._aside_cells > MAX_SET_ASIDE_CELLS:
            raise EstateError(
                "not_a_table",
                f"{self._place()}, row {number}: {len(self.set_aside):,} rows do not fit under the header of row "
                f"{self.header.last}; check the delimiter and header_row.",
                file=self.file,
                sheet=self.sheet,
                row=number,
            )
        kept = list(cells)
        while kept and blank(kept[-1]):
            kept.pop()
        if len(kept) > SHORTEST_ASIDE:
            kept = filled(kept)
        self.set_aside.append(SetAside(number, reason, message, [cell if cell != "" else None for cell in kept]))
        return True

    def _outside(self, number: int, cells: Sequence[Cell], first: int) -> None:
        held = [place for place, cell in enumerate(cells) if not blank(cell)]
        where = ", ".join(column_letters(first + place) for place in held[:5])
        self._put(number, "outside_table", f"cells beside the table, in column {where}", [cells[one] for one in held])
        self._extra += 1
        self._extra_row = self._extra_row or number
        if self._extra <= MAX_WARNINGS_OF_A_KIND:
            self._warnings.append(
                Warned(
                    "extra_cells",
                    f"{counted(len(held), 'cell stands', 'cells stand')} beyond the last column name; {'it was' if len(held) == 1 else 'they were'} left out.",
                    self.sheet,
                    number,
                )
            )

    def _long(self, number: int, cells: list[Cell], width: int) -> None:
        """A row with cells beyond the header: kept if its number columns still hold numbers, else values have moved."""
        extra = cells[width:]
        if all(map(blank, extra)):
            self._builder.add(number, cells[:width])
            return
        aligned = all(blank(cells[place]) or looks_like_data(cells[place]) for place in self._numeric)
        if self._shifts and not (self._numeric and aligned):
            self._put(number, "too_many_cells", f"has {len(cells)} cells under {width} column names", cells)
            return
        if any(not blank(cell) for cell in cells[:width]):
            self._builder.add(number, cells[:width])
        self._outside(number, extra, self.header.start + width)

    def tables(self, merges: Merges) -> list[Table]:
        """The table, or the tables that stand side by side in it; to be called once, after the last row."""
        self._builder.flush()
        self._check(self.header.last)
        if self._short:
            self._warnings.append(
                Warned(
                    "short_rows",
                    f"{counted(self._short, 'row has', 'rows have')} fewer cells than the header; the rest is unknown.",
                    self.sheet,
                )
            )
        if self._extra > MAX_WARNINGS_OF_A_KIND:
            self._warnings.append(
                Warned(
                    "extra_cells",
                    f"{self._extra:,} rows in all have cells beyond the last column name; they were left out.",
                    self.sheet,
                    self._extra_row,
                )
            )
        self._refuse_giants()
        builder, header = self._builder, self.header
        table = Table(
            self.file, self.sheet, builder.columns, builder.numbers, header.last, self.set_aside, self.delimiter
        )
        table.read_as.update(self.read_as)
        table.read_as["header_rows"] = list(header.rows)
        last = table.numbers[-1] if len(table) else header.last
        table.read_as["table"] = f"rows {header.rows[0] if header.rows else 1}-{last}"
        self._take_footnotes(table)
        beside.settle_merges(table, header.start, merges(), self._warnings)
        return beside.split(table, header)

    def _take_footnotes(self, table: Table) -> None:
        """Rows at the end that hold their first cell only, where other rows hold several: notes are set aside, a row of
        one word is kept and asked about."""
        columns, rows = table.columns, len(table)
        if len(columns) < 2:
            return
        end = rows
        while end > 0 and columns[0].codes[end - 1] and not any(column.codes[end - 1] for column in columns[1:]):
            end -= 1
        looked = range(min(end, 500))
        full = sum(any(column.codes[row] for column in columns[1:]) for row in looked)
        if not 0 < rows - end <= MOST_FOOTNOTES or full < 2 or full < 0.9 * len(looked):
            return
        words = not any(len(str(columns[0][row]).split()) > 1 for row in looked)
        gone = [row for row in range(end, rows) if is_footnote(str(columns[0][row]), words=words)]
        for row in range(end, rows):
            if row not in gone:
                told = f"row {table.numbers[row]} holds nothing but {str(columns[0][row])[:60]!r}; is this a machine? It was kept."
                self._warnings.append(Warned("lonely_row", told, self.sheet, table.numbers[row]))
        for row in gone:
            self._put(table.numbers[row], "comment", "is a note below the table, not data", [columns[0][row]])
        for row in reversed(gone):
            del table.numbers[row]
            for column in columns:
                del column.codes[row]

    def _refuse_giants(self) -> None:
        for column in self._builder.columns:
            if max((len(cell) for cell in column.distinct if type(cell) is str), default=0) <= MAX_CELL_CHARACTERS:
                continue
            code = next(
                at for at, cell in enumerate(column.distinct) if type(cell) is str and len(cell) > MAX_CELL_CHARACTERS
            )
            row = self._builder.numbers[column.codes.index(code)]
            raise EstateError(
                "cell_too_large",
                f"{self._place()}, row {row}, column {column.name[:80]}: a cell holds more than"
                f" {MAX_CELL_CHARACTERS:,} characters; shorten it and upload the file again.",
                file=self.file,
                sheet=self.sheet,
                row=row,
                column=column.name[:80],
            )


def _is_text(rows: Sequence[Sequence[Cell]], place: int) -> bool:
    """True if most rows fill the column, and hardly any of them with a number or an address."""
    values = [row[place] for row in rows if place < len(row) and not blank(row[place])]
    return len(values) * 10 >= 6 * len(rows) > 0 and sum(map(looks_like_data, values)) * 10 <= len(values)


def _plain(cell: Cell) -> str:
    return "" if cell is None else str(cell).strip().lower()


def _trimmed(names: Sequence[str]) -> list[str]:
    made = list(names)
    while made and not made[-1]:
        made.pop()
    return made
