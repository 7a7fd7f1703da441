"""ods: the sheets of an OpenDocument file, read as a stream; repeated blank rows and columns cost nothing.

Cells as in OpenDocument 1.3 part 3, 9.1.4 (table:table-cell) and 19.385 (office:value-type).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.parsers import expat

from estate.errors import EstateError
from estate.options import ImportOptions
from estate.readers import xmlsafe
from estate.readers.cells import counted
from estate.readers.headers import Merge, column_letters
from estate.readers.layout import Sheet
from estate.readers.limits import MAX_CELL_CHARACTERS, MAX_COLUMNS, MAX_SHEETS
from estate.readers.numfmt import NumberFormat, number_of, shown
from estate.readers.parts import Parts
from estate.readers.remedies import DIVIDE, UNPROTECTED
from estate.readers.workbooks import read_sheets
from estate.tables import Cell, Warned, Workbook

MAX_SHEET_ROWS = 1_048_576
MOST_SPACES = 10_000
_PERIOD = re.compile(r"PT(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,6})(?:[.,]\d+)?S)?")
_ERROR = re.compile(r"#[A-Z/0!?]{2,8}|Err:\d{3}")
_PERCENT = NumberFormat(percent=True)


def read_ods(path: Path, name: str, options: ImportOptions) -> Workbook:
    """The tables of an OpenDocument sheet file.

    Raises EstateError `unreadable_file, encrypted_workbook, too_large, cell_too_large, not_a_table, unsafe_xml`.
    """
    warnings: list[Warned] = []
    with Parts(path, name) as parts:
        if parts.has("META-INF/manifest.xml") and b"encryption-data" in parts.whole("META-INF/manifest.xml"):
            raise EstateError("encrypted_workbook", f"{name} is protected by a password; {UNPROTECTED}.", file=name)
        names = _sheet_names(parts)
        if len(names) > MAX_SHEETS:
            raise EstateError(
                "too_large", f"{name} has {len(names)} sheets; at most {MAX_SHEETS} are read; {DIVIDE}.", file=name
            )

        def sheets() -> Iterator[tuple[Sheet, bool, OdsRows]]:
            for place, (sheet, hidden) in enumerate(names):
                if options.wants(sheet):
                    rows = OdsRows(parts, place, sheet)
                    made = Sheet(name, sheet, rows.rows(), shifts=False, options=options, merges=rows.merges)
                    yield made, hidden, rows

        tables = read_sheets(name, sheets(), options, [sheet for sheet, _ in names], warnings)
    return Workbook(name, "ods", tables, warnings)


def _sheet_names(parts: Parts) -> list[tuple[str, bool]]:
    """The sheets in order, and whether each is hidden."""
    made = xmlsafe.parser(parts.name)
    found: list[tuple[str, bool]] = []
    hidden_styles: set[str] = set()
    style = [""]
    depth = [0]

    def start(tag: str, attributes: dict[str, str]) -> None:
        tag = xmlsafe.local(tag)
        if tag == "table":
            depth[0] += 1
            if depth[0] == 1:
                told = attributes.get("table:name", f"sheet {len(found) + 1}")
                found.append((told, attributes.get("table:style-name", "") in hidden_styles))
        elif tag == "style":
            style[0] = attributes.get("style:name", "")
        elif tag == "table-properties" and attributes.get("table:display") == "false":
            hidden_styles.add(style[0])

    def end(tag: str) -> None:
        depth[0] -= xmlsafe.local(tag) == "table"

    made.StartElementHandler, made.EndElementHandler = start, end
    _parse_all(made, parts)
    return found


def _parse_all(made: expat.XMLParserType, parts: Parts) -> None:
    try:
        for chunk in parts.chunks("content.xml"):
            made.Parse(chunk, False)
        made.Parse(b"", True)
    except expat.ExpatError as error:
        raise xmlsafe.broken(error, parts.name, "a workbook") from error


class OdsRows:
    """The rows of one sheet. `notes` and `merges` are complete once the rows have gone by."""

    def __init__(self, parts: Parts, place: int, name: str) -> None:
        self.empty = True
        self._parts = parts
        self._place = place
        self._name = name
        self._merges: list[Merge] = []
        self._hidden_rows = 0
        self._errors: dict[str, tuple[int, int]] = {}
        self._ready: list[tuple[int, list[Cell], int]] = []
        self._sheet = -1
        self._depth = 0
        self._number = 0
        self._repeat = 1
        self._cells: list[Cell] = []
        self._blank = 0
        self._cell: dict[str, str] | None = None
        self._pieces: list[str] = []
        self._paragraphs = 0
        self._reading = 0
        self._aside = 0
        self._over = False

    def merges(self) -> list[Merge]:
        """The merged ranges met so far."""
        return self._merges

    def notes(self) -> Iterator[tuple[str, str, int | None]]:
        """What was noticed: hidden rows, error values."""
        if self._hidden_rows:
            told = f"{self._hidden_rows} rows of sheet {self._name} are hidden (by a filter?); they were read."
            yield "hidden_rows", told, None
        for word, (count, row) in sorted(self._errors.items()):
            yield (
                "error_cells",
                f"{counted(count, 'cell holds', 'cells hold')} the error {word}; {'it counts' if count == 1 else 'they count'} as empty.",
                row,
            )

    def rows(self) -> Iterator[tuple[int, list[Cell]]]:
        """Row number and cells from column A on, of rows that hold something. Raises EstateError."""
        made = xmlsafe.parser(self._parts.name)
        made.StartElementHandler = self._start
        made.EndElementHandler = self._end
        made.CharacterDataHandler = self._text
        try:
            for chunk in self._parts.chunks("content.xml", 1 << 18):
                made.Parse(chunk, False)
                yield from self._taken()
                if self._over:
                    return
            made.Parse(b"", True)
        except expat.ExpatError as error:
            raise xmlsafe.broken(error, self._parts.name, "a workbook") from error
        yield from self._taken()

    def _taken(self) -> Iterator[tuple[int, list[Cell]]]:
        ready, self._ready = self._ready, []
        for number, cells, repeat in ready:
            self.empty = False
            for row in range(number, number + repeat):
                yield row, list(cells)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        tag = xmlsafe.local(tag)
        if tag == "table":
            self._depth += 1
            self._sheet += self._depth == 1
            return
        if self._sheet != self._place or self._depth != 1:
            return
        if tag == "table-cell":
            self._cell, self._pieces, self._paragraphs = attributes, [], 0
            return
        if tag == "p":
            if self._cell is not None and not self._aside:
                if self._paragraphs:
                    self._pieces.append("\n")
                self._paragraphs += 1
                self._reading += 1
            return
        match tag:
            case "table-row":
                self._cells, self._blank = [], 0
                self._repeat = _count(attributes.get("table:number-rows-repeated"))
                if attributes.get("table:visibility", "visible") != "visible":
                    self._hidden_rows += min(self._repeat, MAX_SHEET_ROWS)
            case "covered-table-cell":
                self._cell, self._pieces, self._paragraphs = attributes, [], 0
            case "annotation" | "shape" | "frame":
                self._aside += 1
            case "s" if self._reading:
                self._pieces.append(" " * min(_count(attributes.get("text:c")), MOST_SPACES))
            case "tab" if self._reading:
                self._pieces.append("\t")
            case "line-break" if self._reading:
                self._pieces.append("\n")
            case _:
                pass

    def _text(self, text: str) -> None:
        if self._reading and not self._aside:
            self._pieces.append(text)

    def _end(self, tag: str) -> None:
        tag = xmlsafe.local(tag)
        if tag == "table":
            if self._depth == 1 and self._sheet == self._place:
                self._over = True
            self._depth -= 1
            return
        if self._sheet != self._place or self._depth != 1:
            return
        if tag == "p":
            if self._reading and not self._aside:
                self._reading -= 1
            return
        match tag:
            case "table-cell" | "covered-table-cell":
                if self._cell is not None:
                    self._take(self._cell)
                    self._cell = None
            case "annotation" | "shape" | "frame":
                self._aside -= 1
            case "table-row":
                self._row()
            case _:
                pass

    def _take(self, attributes: dict[str, str]) -> None:
        repeat = 1
        if "table:number-columns-repeated" in attributes:
            repeat = min(_count(attributes["table:number-columns-repeated"]), MAX_COLUMNS)
        value = self._value(attributes) if attributes or self._pieces else None
        if value is None:
            self._blank += repeat
            return
        if not self._blank and repeat == 1 and len(attributes) == 1:
            self._cells.append(value)
            if len(self._cells) > MAX_COLUMNS:
                raise self._refused("unreadable_file", f"a cell stands beyond column {column_letters(MAX_COLUMNS - 1)}")
            return
        place = len(self._cells) + self._blank
        if place + repeat > MAX_COLUMNS:
            raise self._refused("unreadable_file", f"a cell stands beyond column {column_letters(MAX_COLUMNS - 1)}")
        self._cells.extend([None] * self._blank + [value] * repeat)
        self._blank = 0
        down = _count(attributes.get("table:number-rows-spanned"))
        across = _count(attributes.get("table:number-columns-spanned"))
        if (down > 1 or across > 1) and len(self._merges) < 200_000:
            row = self._number + 1
            self._merges.append((row, place, row + down - 1, place + across - 1))

    def _value(self, attributes: dict[str, str]) -> Cell:
        text = "".join(self._pieces)
        if len(text) > MAX_CELL_CHARACTERS:
            raise self._refused("cell_too_large", f"a cell holds more than {MAX_CELL_CHARACTERS:,} characters")
        error = attributes.get("calcext:value-type") == "error" or (
            "table:formula" in attributes and _ERROR.fullmatch(text)
        )
        if error:
            word = text[:20] if len(self._errors) < 20 else "#..."
            count, row = self._errors.get(word, (0, self._number + 1))
            self._errors[word] = (count + 1, row)
            return None
        match attributes.get("office:value-type"):
            case "float" | "currency":
                return number_of(attributes.get("office:value", text))
            case "percentage":
                return shown(number_of(attributes.get("office:value", text)), _PERCENT)
            case "date":
                return _moment(attributes.get("office:date-value", text))
            case "time":
                return _period(attributes.get("office:time-value", text))
            case "boolean":
                return attributes.get("office:boolean-value", text).lower() == "true"
            case _:
                return attributes.get("office:string-value", text) or None

    def _row(self) -> None:
        first = self._number + 1
        self._number += self._repeat
        if not self._cells:
            return
        if self._number > MAX_SHEET_ROWS:
            raise self._refused("unreadable_file", f"a row has the number {self._number}")
        self._ready.append((first, self._cells, self._repeat))

    def _refused(self, code: str, what: str) -> EstateError:
        row = self._number + 1
        name = self._parts.name
        column = column_letters(len(self._cells) + self._blank)
        return EstateError(
            code,
            f"{name}, sheet {self._name}, row {row}, column {column}: {what}; correct that place and upload the file again.",
            file=name,
            sheet=self._name,
            row=row,
            column=column,
        )


def _count(text: str | None) -> int:
    return max(1, int(text)) if text is not None and text.isdigit() and len(text) < 9 else 1


def _moment(text: str) -> Cell:
    """A date without its time of day where that is midnight, as a workbook's other dates."""
    return text.removesuffix("T00:00:00") or None


def _period(text: str) -> Cell:
    """A time of day, or hours and more as they are shown."""
    told = _PERIOD.fullmatch(text)
    if told is None:
        return text or None
    hours, minutes, seconds = (int(part or 0) for part in told.groups())
    return f"{hours:02}:{minutes:02}:{seconds:02}"
