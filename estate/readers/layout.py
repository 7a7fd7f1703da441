"""Where the tables of a sheet are: header rows, the rows below them, and what stands around them."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

from estate.errors import EstateError
from estate.options import NOTHING, ImportOptions, TableOptions
from estate.readers import beside, headers
from estate.readers.cells import blank, blank_row, counted, filled, header_share, looks_like_data
from estate.readers.headers import Header, Merge
from estate.readers.limits import MAX_TABLES
from estate.readers.remedies import DIVIDE
from estate.readers.rows import Block
from estate.roles import IGNORED
from estate.tables import Cell, SetAside, Table, Warned, place_of

Row = tuple[int, list[Cell]]
"""Row number as a spreadsheet shows it, and the cells from column A on; blank rows may be left out."""

SAMPLE_ROWS = 200
LEARN_ROWS = 500
LEARN_CELLS = 200_000
LOOK_AHEAD = 8


def no_merges() -> list[Merge]:
    """Of a text file."""
    return []


@dataclass(slots=True)
class Sheet:
    """The rows of one sheet (or of the one table of a text file) on their way to tables.

    `shifts` is True where a cell too many moves the ones behind it (text), False where every cell has its place.
    `merges` gives the merged ranges, as far as they are known; it is asked for the header, and again after the rows.
    """

    file: str
    name: str | None
    rows: Iterable[Row]
    shifts: bool
    options: ImportOptions = NOTHING
    merges: Callable[[], list[Merge]] = no_merges
    read_as: dict[str, object] = field(default_factory=dict)
    delimiter: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What a caller may call it in the options."""
        own = (self.name,) if self.name is not None else ()
        return (*own, self.file, self.file.rsplit("/", 1)[-1])


def tables_of(sheet: Sheet, warnings: list[Warned]) -> list[Table]:
    """The tables of a sheet, in order; none if no row with column names was found. Raises EstateError."""
    areas = _areas(sheet)
    kept: list[list[Row]] = [[] for _ in areas]
    outside = _outside(sheet.rows, areas, kept) if areas else sheet.rows
    tables = _found(sheet, outside, sheet.options.table(*sheet.names), warnings)
    if areas:
        deque(outside, 0)
    for (first, last, options, name), rows in zip(areas, kept, strict=True):
        for table in _Stretch(sheet, options, warnings).read(rows):
            table.sheet, table.read_as["table"] = name, f"rows {first}-{last}"
            tables.append(table)
    if len(tables) > MAX_TABLES:
        raise EstateError(
            "too_large", f"{sheet.file}: more than {MAX_TABLES} tables; {DIVIDE}.", file=sheet.file, sheet=sheet.name
        )
    _name_apart(sheet, tables)
    return tables


def _found(sheet: Sheet, rows: Iterable[Row], options: TableOptions, warnings: list[Warned]) -> list[Table]:
    head = list(islice((row for row in rows if not blank_row(row[1])), SAMPLE_ROWS))
    regions = [] if options.header_row is not None else beside.regions(head)
    whole = chain(head, rows)
    if not regions:
        return _Stretch(sheet, options, warnings).read(whole)
    stretches = [_Stretch(sheet, options, warnings) for _ in regions]
    parts: list[list[Row]] = [[] for _ in regions]
    for number, cells in whole:
        for part, (start, end) in zip(parts, regions, strict=True):
            piece = [None] * start + cells[start:end]
            if not blank_row(piece):
                part.append((number, piece))
    return [table for stretch, part in zip(stretches, parts, strict=True) for table in stretch.read(part)]


def _areas(sheet: Sheet) -> list[tuple[int, int, TableOptions, str]]:
    """The tables that the options place themselves: `Sheet1 (rows 40-80)` or, in a text file, `rows 40-80`."""
    base = re.escape(sheet.name) if sheet.name is not None else "(?:" + "|".join(map(re.escape, sheet.names)) + ")"
    found = []
    for name, own in sheet.options.tables.items():
        told = re.fullmatch(rf"(?:{base} )?\(?rows (\d{{1,9}})-(\d{{1,9}})\)?", name)
        if told and own.header_row is not None and (sheet.name is None or name.startswith(sheet.name)):
            found.append((int(told[1]), int(told[2]), sheet.options.table(name), name))
    return sorted(found, key=lambda area: area[:2])


def _outside(
    rows: Iterable[Row], areas: Sequence[tuple[int, int, TableOptions, str]], kept: list[list[Row]]
) -> Iterator[Row]:
    """The rows that the options place in no table of its own; the others are kept."""
    for row in rows:
        for area, own in zip(areas, kept, strict=True):
            if area[0] <= row[0] <= area[1]:
                own.append(row)
                break
        else:
            yield row


def _name_apart(sheet: Sheet, tables: list[Table]) -> None:
    taken: set[str | None] = set()
    for table in tables:
        if table.sheet in taken:
            where = table.read_as.get("table", "")
            base = f"{table.sheet} ({where})" if table.sheet is not None else str(where)
            name, count = base, 1
            while name in taken:
                count += 1
                name = f"{base} {count}"
            table.sheet = name
            own = sheet.options.tables.get(name)
            if own is not None:
                beside.tell(table, sheet.options.table(name))
        taken.add(table.sheet)


def _unbroken(rows: list[Row]) -> list[Row]:
    """The rows up to the first gap: what comes after it may be another table."""
    for place in range(1, len(rows)):
        if rows[place][0] - rows[place - 1][0] > 1:
            return rows[:place]
    return rows


class _Stretch:
    """Reads rows from top to bottom: a table, and further ones below it."""

    def __init__(self, sheet: Sheet, options: TableOptions, warnings: list[Warned]) -> None:
        self._sheet = sheet
        self._options = options
        self._warnings = warnings
        self._waiting: deque[Row] = deque()
        self._rows: Iterator[Row] = iter(())
        self._blank = 0
        self._cut = 0
        self._set_aside: list[SetAside] = []

    def read(self, rows: Iterable[Row]) -> list[Table]:
        """The tables; what stands above a header is set aside with it."""
        options = self._options
        self._rows = iter(rows)
        head = self._ahead(SAMPLE_ROWS)
        header = self._header(head)
        if header is None:
            return []
        tables = []
        while header is not None:
            block = self._start(header)
            header = self._fill(block)
            for table in block.tables(self._sheet.merges):
                if options.role is None and beside.lies_across(table):
                    table.read_as["role"], table.read_as["role_why"] = IGNORED, "its machines stand side by side"
                    self._warn(
                        "transposed",
                        f"the machines stand side by side and their facts below each other ({table.names[0]}: "
                        f"{', '.join(str(cell)[:30] for cell in table.columns[0].distinct[1:4])}); it is not used. Turn rows into "
                        "columns (copy, paste special, transpose) and upload it again; if its rows are machines, say so in role.",
                        table.header_row,
                    )
                tables.append(table)
        if self._blank:
            left_out = "blank row was" if self._blank == 1 else "blank rows were"
            self._warn("blank_rows", f"{self._blank} {left_out} left out.")
        if self._cut:
            self._warn(
                "rows_left_out",
                f"{counted(self._cut, 'row', 'rows')} outside of first_row and last_row {'was' if self._cut == 1 else 'were'} left out.",
            )
        for table in tables:
            beside.tell(table, options)
        return tables

    def _warn(self, code: str, message: str, row: int | None = None) -> None:
        self._warnings.append(Warned(code, message, self._sheet.name, row))

    def _ahead(self, most: int) -> list[Row]:
        while len(self._waiting) < most:
            row = next(self._rows, None)
            if row is None:
                break
            if not blank_row(row[1]):
                self._waiting.append(row)
        return list(islice(self._waiting, most))

    def _header(self, head: list[Row]) -> Header | None:
        wanted = self._options.header_row
        if wanted == 0:
            return headers.lettered(head)
        if wanted is not None:
            rows = wanted if isinstance(wanted, tuple) else (wanted,)
            return self._stated(rows)
        header = headers.find(head, self._sheet.merges)
        if header is not None and not self._sheet.shifts and header.width == 1 and not headers.stands_alone(header):
            return None
        if header is not None and header.doubtful:
            self._warn(
                "header_doubtful",
                f"row {header.last} was taken for the column names and holds no usual one; if it is data, "
                "set header_row to 0.",
                header.last,
            )
        return header

    def _stated(self, wanted: tuple[int, ...]) -> Header:
        above: list[Row] = []
        found: list[Row] = []
        while len(found) < len(wanted):
            if not self._ahead(1):
                break
            row = self._waiting.popleft()
            if row[0] > wanted[-1]:
                self._waiting.appendleft(row)
                break
            (found if row[0] in wanted else above).append(row)
        if not found or all(blank_row(cells) for _, cells in found):
            told = ", ".join(map(str, wanted))
            raise EstateError(
                "no_header_row",
                f"{self._place()}: header_row says row {told}, and nothing is there; name another row, or leave header_row out.",
                file=self._sheet.file,
                sheet=self._sheet.name,
                row=wanted[0],
            )
        self._waiting.extendleft(reversed(found))
        self._waiting.extendleft(reversed(above))
        return headers.of_rows(found, self._ahead(SAMPLE_ROWS), self._sheet.merges)

    def _place(self) -> str:
        sheet = self._sheet
        return place_of(sheet.file, sheet.name)

    def _start(self, header: Header) -> Block:
        """Take the rows up to the header off, and begin its table."""
        aside: list[SetAside] = []
        while self._waiting and header.rows and self._waiting[0][0] <= header.rows[-1]:
            number, cells = self._waiting.popleft()
            if number not in header.rows:
                aside.append(SetAside(number, "above_header", "stands above the header", cells))
        learnt = min(LEARN_ROWS, max(20, LEARN_CELLS // header.width))
        body = _unbroken([row for row in self._ahead(learnt) if row[0] > header.last])
        block = Block(self._sheet.file, self._sheet.name, header, self._warnings, shifts=self._sheet.shifts)
        block.read_as.update(self._sheet.read_as)
        block.delimiter = self._sheet.delimiter
        block.set_aside.extend(aside)
        block.learn([cells for _, cells in body])
        return block

    def _fill(self, block: Block) -> Header | None:
        """Rows into the table until it ends; the header of the next one, if there is one."""
        options = self._options
        first, last = options.first_row or 0, options.last_row
        alone = options.header_row is not None
        before, pending = block.header.last, 0
        waiting, rows, take = self._waiting, self._rows, block.take
        while True:
            row = waiting.popleft() if waiting else next(rows, None)
            if row is None:
                return None
            number, cells = row
            if not cells or (blank(cells[0]) and blank_row(cells)):
                continue
            gap = number - before - 1
            if gap > 0 and len(block) and not alone:
                waiting.appendleft(row)
                header = self._next_header(block)
                if header is not None:
                    return header
                waiting.popleft()
            if number < first or (last is not None and number > last):
                self._cut += 1
            else:
                pending += gap
                if take(number, cells, after_gap=gap > 0):
                    self._blank, pending = self._blank + pending, 0
            before = number

    def _next_header(self, block: Block) -> Header | None:
        """The header of another table that begins after a gap, perhaps below a title; None if the rows go on."""
        window = self._ahead(LOOK_AHEAD)
        for place, (_, cells) in enumerate(window[:4]):
            held = filled(cells)
            if len(held) > 1 and headers.reads_like_header(cells) and not block.repeats_header(cells):
                titled = place > 0 and header_share(cells) >= 0.6 and not block.knows(cells)
                if titled or block.differs(cells, window[place + 1 :]):
                    return headers.of_rows_below(window[place:], self._sheet.merges)
                return None
            if len(held) > 2 or any(looks_like_data(cell) for cell in held) or not block.is_title(cells):
                return None
        return None
