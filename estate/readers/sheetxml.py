"""The rows of one worksheet part, as a stream: what is not there costs nothing, however large the sheet claims to be.

Cells as in ECMA-376 part 1, 18.3.1.4 (c). Rows in the usual spelling are taken apart by a pattern; any other row goes
through an XML parser.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias, TypeVar
from xml.parsers import expat

from estate.errors import EstateError
from estate.readers import xmlsafe
from estate.readers.cells import counted
from estate.readers.headers import Merge, column_letters
from estate.readers.limits import MAX_CELL_CHARACTERS, MAX_COLUMNS, MAX_RECORD_CHARACTERS
from estate.readers.numfmt import NumberFormat, number_of, shown
from estate.readers.parts import Parts
from estate.readers.remedies import AGAIN, DIVIDE
from estate.tables import Cell

T = TypeVar("T")
MAX_SHEET_ROWS = 1_048_576
MOST_KEPT = 100_000
"""Different numbers of a style that are remembered."""
MOST_MERGES = 200_000
MANY_STYLED = 10_000
"""From so many formatted cells in rows that hold nothing on, it is told."""
_MERGE = re.compile(rb'<(?:\w+:)?mergeCell\s+ref="([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})"')
_HIDDEN_COLUMN = re.compile(rb'<(?:\w+:)?col\s[^<>]*hidden="(?:1|true)"')
_SHEET_DATA = re.compile(rb"<(\w+:)?sheetData\s*(/?)>")
_ROW_NUMBER = re.compile(rb'\br="(\d{1,10})"')
_TYPE = re.compile(rb'\bt="(\w+)"')
_STYLE = re.compile(rb'\bs="(\d{1,9})"')
_REFERENCE = re.compile(r"([A-Za-z]{1,3})\d*")
_HOLLOW = re.compile(rb"<row[^<>]*>(?:<c [^<>]*(?:/>|></c>))*")
"""A row of formatted cells that hold nothing."""
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


@dataclass(frozen=True, slots=True)
class Context:
    """What the cells of a workbook refer to."""

    file: str
    texts: Sequence[str]
    formats: Sequence[NumberFormat]
    since_1904: bool


class _Known(dict[bytes, T]):
    """What bytes of the file mean; found out once, and forgotten when there is too much of it."""

    def __init__(self, find: Callable[[bytes], T]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, raw: bytes) -> T:
        found = self._find(raw)
        if len(self) >= MOST_KEPT:
            self.clear()
        self[raw] = found
        return found


_Values: TypeAlias = "_Known[Cell]"
"""Cells by what stands in the file, for one type and style."""


def column_place(letters: str) -> int:
    """The place of a column by its letters, A is 0."""
    place = 0
    for letter in letters.upper():
        place = place * 26 + ord(letter) - 64
    return place - 1


class SheetRows:
    """The rows of a sheet. `notes` and `merges` are complete once the rows have gone by."""

    def __init__(self, parts: Parts, part: str, name: str, context: Context) -> None:
        self.empty = True
        self._parts = parts
        self._part = part
        self._name = name
        self._context = context
        self._merges: list[Merge] | None = None
        self._hidden_rows = 0
        self._hidden_columns = 0
        self._errors: dict[str, tuple[int, int]] = {}
        self._unvalued = (0, 0)
        self._styled = 0

    # --- what is told beside the rows ------------------------------------------------------------------------------

    def merges(self) -> list[Merge]:
        """The merged ranges; the part is gone through for them if its rows have not gone by yet."""
        if self._merges is None:
            found: list[Merge] = []
            rest = b""
            for chunk in self._parts.chunks(self._part):
                data = rest + chunk
                found.extend(self._merged(data))
                cut = data.rfind(b"<")
                rest = data[cut:] if cut >= 0 and len(data) - cut < 200 else b""
            self._merges = found
        return self._merges

    def _merged(self, data: bytes) -> Iterator[Merge]:
        for left, top, right, bottom in _MERGE.findall(data):
            yield int(top), column_place(left.decode()), int(bottom), column_place(right.decode())

    def notes(self) -> Iterator[tuple[str, str, int | None]]:
        """What was noticed: hidden rows and columns, error values, formulas without a value."""
        if self._styled >= MANY_STYLED:
            told = (
                f"{self._styled:,} cells of sheet {self._name} have a format and hold nothing; they were passed over."
            )
            yield "styled_blank_cells", told, None
        if self._hidden_rows:
            told = f"{counted(self._hidden_rows, 'row', 'rows')} of sheet {self._name} {'is' if self._hidden_rows == 1 else 'are'} hidden (by a filter?); read all the same."
            yield "hidden_rows", told, None
        if self._hidden_columns:
            yield "hidden_columns", f"columns of sheet {self._name} are hidden; they were read.", None
        for word, (count, row) in sorted(self._errors.items()):
            yield (
                "error_cells",
                f"{counted(count, 'cell holds', 'cells hold')} the error {word}; {'it counts' if count == 1 else 'they count'} as empty.",
                row,
            )
        count, row = self._unvalued
        if count:
            told = f"{counted(count, 'formula has', 'formulas have')} no value; open and save the file in a spreadsheet program to compute them."
            yield "formula_without_value", told, row

    # --- rows ------------------------------------------------------------------------------------------------------

    def rows(self) -> Iterator[tuple[int, list[Cell]]]:
        """Row number and cells from column A on, of rows that hold something. Raises EstateError."""
        chunks = self._parts.chunks(self._part)
        prefix, rest = self._begin(chunks)
        merges: list[Merge] = []
        if rest is not None:
            rest = yield from self._stream(chain([b""], chunks), prefix, rest)
            for chunk in chain([b""], chunks):
                whole = rest + chunk
                merges.extend(self._merged(whole))
                cut = whole.rfind(b"<")
                rest = whole[cut:] if cut >= 0 and len(whole) - cut < 200 else b""
        self._merges = merges[:MOST_MERGES]

    def _begin(self, chunks: Iterator[bytes]) -> tuple[bytes, bytes | None]:
        """The prefix of the part's elements and what follows the start of its rows; None if it has none."""
        head = b""
        for chunk in chunks:
            head += chunk
            if b"<!DOCTYPE" in head or b"<!ENTITY" in head:
                raise xmlsafe.refusal(self._context.file)
            if head.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise self._broken("it is written in UTF-16")
            found = _SHEET_DATA.search(head)
            if found:
                self._hidden_columns = len(_HIDDEN_COLUMN.findall(head[: found.start()]))
                return found[1] or b"", None if found[2] else head[found.end() :]
            if len(head) > MAX_RECORD_CHARACTERS:
                break
        if not head.rstrip().endswith(b">"):
            raise self._broken("its XML ends too early")
        return b"", None

    def _stream(
        self, chunks: Iterator[bytes], prefix: bytes, rest: bytes
    ) -> Generator[tuple[int, list[Cell]], None, bytes]:
        """The rows; returns what follows their end."""
        opening, closing, last = b"<" + prefix + b"row", b"</" + prefix + b"row>", b"</" + prefix + b"sheetData>"
        taker = _RowTaker(prefix, self._decoder)
        number = skipped = 0
        for chunk in chunks:
            pieces = (rest + chunk).split(closing)
            rest = pieces.pop()
            for piece in pieces:
                at = piece.rfind(opening)
                if at < 0:
                    raise self._broken("a row ends that never began", number)
                end = piece.find(b">", at)
                if end < 0:
                    raise self._broken("the start of a row is cut off", number)
                tag = piece[at:end]
                told = _ROW_NUMBER.search(tag)
                number = int(told[1]) if told else number + skipped + piece.count(opening, 0, at) + 1
                skipped = 0
                if not 1 <= number <= MAX_SHEET_ROWS:
                    raise self._broken(f"a row has the number {number}")
                if b"hidden=" in tag and re.search(rb'hidden="(?:1|true)"', tag):
                    self._hidden_rows += 1
                if _HOLLOW.fullmatch(piece, at) is not None:
                    self._styled += piece.count(b"<c ", at)
                    continue
                cells = self._row(taker, piece, at, number)
                if cells:
                    self.empty = False
                    yield number, cells
            end = rest.find(last)
            if end >= 0:
                return rest[end:]
            # rows without cells close themselves; what stands before the last row that began is over
            begun = rest.rfind(opening)
            if begun > 0:
                skipped += rest.count(opening, 0, begun)
                rest = rest[begun:]
            if len(rest) > MAX_RECORD_CHARACTERS:
                raise EstateError(
                    "too_large",
                    f"{self._context.file}, sheet {self._name}: the row after row {number} is too long; {DIVIDE}.",
                    file=self._context.file,
                    sheet=self._name,
                    row=number + 1,
                )
        raise self._broken("its XML ends too early", number)

    def _row(self, taker: _RowTaker, piece: bytes, at: int, number: int) -> list[Cell]:
        try:
            cells = taker.cells(piece, at)
        except _TooLong:
            place = next(iter(taker.too_long(piece, at)), None)
            column = column_letters(place) if place is not None else None
            raise EstateError(
                "cell_too_large",
                f"{self._context.file}, sheet {self._name}, row {number}, column {column or '?'}: a cell holds more"
                f" than {MAX_CELL_CHARACTERS:,} characters; shorten it and upload the file again.",
                file=self._context.file,
                sheet=self._name,
                row=number,
                column=column,
            ) from None
        except expat.ExpatError as error:
            raise self._broken(expat.ErrorString(error.code) or "not well-formed", number) from error
        except (ValueError, IndexError) as error:
            raise self._broken(str(error)[:200] or "a cell cannot be read", number) from error
        if taker.errors:
            for word in taker.errors:
                count, first = self._errors.get(word, (0, number))
                self._errors[word if len(self._errors) < 20 else "#..."] = (count + 1, first)
            taker.errors.clear()
        if taker.unvalued:
            count, first = self._unvalued
            self._unvalued = (count + taker.unvalued, first or number)
            taker.unvalued = 0
        while cells and cells[-1] is None:
            cells.pop()
        return cells

    def _broken(self, what: str, row: int | None = None) -> EstateError:
        where = f"{self._context.file}, sheet {self._name}" + (f", row {row}" if row else "")
        return EstateError(
            "unreadable_file",
            f"{where} cannot be read as a workbook ({what}); {AGAIN}.",
            file=self._context.file,
            sheet=self._name,
            row=row,
        )

    def _decoder(self, kind: str, style: int) -> Callable[[str], Cell]:
        """What a cell of this type and style holds, by the text of its value."""
        context = self._context
        if kind == "s":
            return self._shared
        if kind in {"str", "inlineStr", "d"}:
            return _own_text
        if kind == "b":
            return lambda text: {"1": True, "0": False, "true": True, "false": False}.get(text, text or None)
        if not 0 <= style < len(context.formats) or context.formats[style].plain:
            return number_of
        form = context.formats[style]
        return lambda text: shown(number_of(text), form, since_1904=context.since_1904)

    def _shared(self, text: str) -> Cell:
        told = text.strip()
        if not (told.isascii() and told.isdigit()):
            # what stands there instead is a cell's content
            raise ValueError("a cell refers to a text by something that is no number")
        place = int(told[:20])
        if place >= len(self._context.texts):
            raise ValueError(f"a cell refers to text {place}, which is not there")
        found = self._context.texts[place]
        if len(found) > MAX_CELL_CHARACTERS:
            raise _TooLong
        return found or None


class _TooLong(Exception):
    """A cell holds more than a cell may."""


def _own_text(text: str) -> Cell:
    return plain_text(text) or None


def plain_text(text: str) -> str:
    """A text of a workbook with its `_x000D_` escapes undone and NUL characters left out."""
    made = _ESCAPED.sub(_unescaped, text) if "_x" in text else text
    return made.replace("\x00", "") if "\x00" in made else made


def _unescaped(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return "\ufffd" if 0xD800 <= code < 0xE000 else chr(code)


class _RowTaker:
    """Takes rows apart. Rows of a table are written alike, so what was found out about one is kept for the next."""

    def __init__(self, prefix: bytes, decoder: Callable[[str, int], Callable[[str], Cell]]) -> None:
        p = re.escape(prefix)
        self._pattern = re.compile(
            rb'<%(p)sc r="([A-Z]{1,3})\d{1,7}"([^<>/]*)(?:/>|>(?:<%(p)sf[^<>]*(?:/>|>[^<]*</%(p)sf>))?'
            rb'(?:<%(p)sv/>|(?:<%(p)sis>)?<%(p)s[vt](?: xml:space="preserve")?>([^<]*)</%(p)s[vt]>(?:</%(p)sis>)?)?'
            rb"</%(p)sc>)" % {b"p": p}
        )
        self._unvalued_pattern = re.compile(
            rb"(?:</%(p)sf>|<%(p)sf[^<>]*/>)(?:<%(p)sv/>|<%(p)sv></%(p)sv>)?</%(p)sc>" % {b"p": p}
        )
        self._cell, self._formula, self._closing = b"<" + prefix + b"c", b"<" + prefix + b"f", b"</" + prefix + b"row>"
        self._decoder = decoder
        self._of = _Known(self._values_of).__getitem__
        self._place = _Known(lambda letters: _checked(column_place(letters.decode()))).__getitem__
        self._error_kinds: set[bytes] = set()
        self._letters: tuple[bytes, ...] = ()
        self._attributes: tuple[bytes, ...] = ()
        self._places: list[int] = []
        self._dense = True
        self._faulty = False
        self._row: list[_Values] = []
        self.errors: list[str] = []
        self.unvalued = 0

    def cells(self, piece: bytes, at: int) -> list[Cell]:
        """The cells of the row that begins at `at`. Raises ValueError, ExpatError, _TooLong."""
        found = self._pattern.findall(piece, at)
        if len(found) != piece.count(self._cell, at):
            return self._slowly(piece, at)
        if not found:
            return []
        if self._formula in piece:
            self.unvalued += len(self._unvalued_pattern.findall(piece, at))
        letters, attributes, raw = zip(*found, strict=True)
        if letters != self._letters or attributes != self._attributes:
            self._learn(letters, attributes)
        if self._faulty:
            self.errors.extend(
                value.decode("utf-8", "replace")[:20]
                for kind, value in zip(attributes, raw, strict=True)
                if kind in self._error_kinds
            )
        cells = [values[one] for values, one in zip(self._row, raw, strict=True)]
        if self._dense:
            return cells
        spread: list[Cell] = [None] * (max(self._places) + 1)
        for place, cell in zip(self._places, cells, strict=True):
            spread[place] = cell
        return spread

    def too_long(self, piece: bytes, at: int) -> Iterator[int]:
        """The places of the cells that hold too much."""
        for letters, attributes, raw in self._pattern.findall(piece, at):
            try:
                _ = self._of(attributes)[raw]
            except _TooLong:
                yield column_place(letters.decode())

    def _learn(self, letters: tuple[bytes, ...], attributes: tuple[bytes, ...]) -> None:
        if letters != self._letters:
            self._letters = letters
            self._places = list(map(self._place, letters))
            self._dense = self._places == list(range(len(letters)))
        if attributes != self._attributes:
            self._attributes = attributes
            self._row = list(map(self._of, attributes))
            self._faulty = not self._error_kinds.isdisjoint(attributes)

    def _values_of(self, attributes: bytes) -> _Values:
        kind, style = _TYPE.search(attributes), _STYLE.search(attributes)
        told = kind[1].decode() if kind else "n"
        if told == "e":
            self._error_kinds.add(attributes)
        read = self._reader(told, int(style[1]) if style else 0)
        return _Known(lambda raw: read(xmlsafe.unescape(raw)) if raw else None)

    def _reader(self, kind: str, style: int) -> Callable[[str], Cell]:
        if kind == "e":
            return lambda _: None
        read = self._decoder(kind, style)

        def checked(text: str) -> Cell:
            if len(text) > MAX_CELL_CHARACTERS:
                raise _TooLong
            return read(text)

        return checked

    def _slowly(self, piece: bytes, at: int) -> list[Cell]:
        """The same by an XML parser, for rows in another spelling."""
        made = xmlsafe.parser("")
        cells: dict[int, Cell] = {}
        place, kind, style, reading, skip, formula = -1, "n", 0, False, 0, False
        pieces: list[str] = []

        def start(tag: str, attributes: dict[str, str]) -> None:
            nonlocal place, kind, style, reading, skip, formula
            tag = xmlsafe.local(tag)
            if tag == "c":
                told = _REFERENCE.match(attributes.get("r", ""))
                place = _checked(column_place(told[1]) if told else place + 1)
                kind, style = attributes.get("t", "n"), _style(attributes.get("s") or "0")
                formula = False
                pieces.clear()
            reading = tag in {"v", "t"}
            formula = formula or tag == "f"
            skip += tag == "rPh"

        def end(tag: str) -> None:
            nonlocal reading, skip
            tag = xmlsafe.local(tag)
            reading = False
            skip -= tag == "rPh"
            if tag == "c":
                text = "".join(pieces)
                if kind == "e":
                    self.errors.append(text[:20])
                elif text:
                    cells[place] = self._reader(kind, style)(text)
                self.unvalued += formula and not text

        def text(piece: str) -> None:
            if reading and not skip:
                pieces.append(piece)

        made.StartElementHandler, made.EndElementHandler, made.CharacterDataHandler = start, end, text
        made.Parse(piece[at:] + self._closing, True)
        row: list[Cell] = [None] * (max(cells, default=-1) + 1)
        for column, cell in cells.items():
            row[column] = cell
        return row


def _style(told: str) -> int:
    if not (told.isascii() and told.isdigit()):
        raise ValueError("a cell has a style that is no number")
    return int(told[:9])


def _checked(place: int) -> int:
    if place >= MAX_COLUMNS:
        raise ValueError(f"a cell stands in column {column_letters(place)}, beyond the last column of a sheet")
    return place
