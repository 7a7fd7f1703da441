"""Tables as they were read: a column is its distinct cells and, for every row, which of them it holds.

Inventories repeat themselves, so whatever is done to a cell is done once for each distinct cell, and a table of
100,000 rows and 60 columns is a few dozen megabytes.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import cramjam
import msgspec

from estate.bulk import bulk
from estate.roles import IGNORED

Cell = str | int | float | bool | None
"""One cell: text from csv, typed from a workbook or JSON; dates and times are ISO 8601 text; an empty cell is None."""

Codes: TypeAlias = "array[int]"
"""For every row the place of its cell among the column's distinct cells."""

CHUNK_ROWS = 256
CHUNK_CELLS = 1 << 18


@dataclass(slots=True)
class Column:
    """One column. `distinct[0]` is None, the empty cell; no two distinct cells are equal in value and type."""

    name: str
    distinct: list[Cell]
    codes: Codes

    @classmethod
    def of(cls, name: str, cells: Iterable[Cell]) -> Column:
        """A column of these cells, in order."""
        column = cls(name, [None], array("I"))
        column.codes.extend(_Encoder(column.distinct).encode(cells))
        return column

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[Cell]:
        distinct = self.distinct
        return (distinct[code] for code in self.codes)

    def __getitem__(self, row: int) -> Cell:
        return self.distinct[self.codes[row]]

    def counts(self) -> list[int]:
        """How many rows hold each distinct cell."""
        counted = [0] * len(self.distinct)
        for code in self.codes:
            counted[code] += 1
        return counted

    def pick(self, rows: Sequence[int]) -> Column:
        """The column with these rows only (places from 0), distinct cells kept as they are."""
        codes = self.codes
        return Column(self.name, self.distinct, array("I", [codes[row] for row in rows]))


class _Places(dict[Cell, int]):
    """The place of each distinct cell of one type; a cell that was not seen yet is given the next one."""

    def __init__(self, distinct: list[Cell]) -> None:
        super().__init__({None: 0, "": 0})
        self._distinct = distinct

    def __missing__(self, cell: Cell) -> int:
        place = self[cell] = len(self._distinct)
        self._distinct.append(cell)
        return place


class _Encoder:
    """Gives each distinct cell its place; 1, 1.0 and True are different cells."""

    def __init__(self, distinct: list[Cell]) -> None:
        self._distinct = distinct
        self._places: dict[type, Callable[[Cell], int]] = {}

    def _of(self, kind: type) -> Callable[[Cell], int]:
        if kind not in self._places:
            self._places[kind] = _Places(self._distinct).__getitem__
        return self._places[kind]

    def encode(self, cells: Iterable[Cell]) -> list[int]:
        """The codes of the cells; an empty text is an empty cell."""
        held = list(cells)
        kinds = set(map(type, held)) - {type(None)}
        if len(kinds) <= 1:
            return list(map(self._of(kinds.pop() if kinds else str), held))
        return [self._of(type(cell))(cell) for cell in held]


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
    """One table of a file: header and data rows. `sheet` is None where the file is one table (csv, ndjson).

    `numbers` are the row numbers as a spreadsheet shows them (1-based, header and blank lines counted; of JSON the
    place of the record). `read_as` tells how it was read, for the preview: delimiter, header rows, date order, ...
    """

    file: str
    sheet: str | None
    columns: list[Column]
    numbers: Codes
    header_row: int
    set_aside: list[SetAside] = field(default_factory=list)
    delimiter: str | None = None
    kind: str = "unknown"
    role: str = "unknown"
    read_as: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The column names, in order; each once."""
        return [column.name for column in self.columns]

    @property
    def place(self) -> str:
        """The table's name in a sentence."""
        return place_of(self.file, self.sheet)

    def __len__(self) -> int:
        return len(self.numbers)

    def rows(self, *, first: int = 0, most: int | None = None) -> Iterator[tuple[int, list[Cell]]]:
        """(row number, cells in the order of the columns), `most` of them from place `first` on."""
        end = len(self) if most is None else min(len(self), first + most)
        for row in range(first, end):
            yield self.numbers[row], [column[row] for column in self.columns]

    def pick(self, rows: Sequence[int]) -> Table:
        """The table with these rows only (places from 0); nothing is set aside in it."""
        numbers = array("I", [self.numbers[row] for row in rows])
        return Table(
            self.file,
            self.sheet,
            [column.pick(rows) for column in self.columns],
            numbers,
            self.header_row,
            [],
            self.delimiter,
            self.kind,
            self.role,
            dict(self.read_as),
        )


class TableBuilder:
    """Takes rows as a reader meets them; holds at most a few hundred of them as rows, fewer of wide ones."""

    def __init__(self, names: Sequence[str]) -> None:
        self._most = max(1, min(CHUNK_ROWS, CHUNK_CELLS // max(1, len(names))))
        self.columns = [Column(name, [None], array("I")) for name in names]
        self.numbers: Codes = array("I")
        self._encoders = [_Encoder(column.distinct) for column in self.columns]
        self._waiting: list[Sequence[Cell]] = []

    def add(self, number: int, cells: Sequence[Cell]) -> None:
        """One row; it has exactly as many cells as there are columns."""
        self.numbers.append(number)
        self._waiting.append(cells)
        if len(self._waiting) >= self._most:
            self.flush()

    def widen(self, name: str) -> None:
        """One more column, empty in all rows so far; rows to come have a cell more."""
        taken = len(self.numbers) - len(self._waiting)
        self.columns.append(Column(name, [None], array("I", bytes(4 * taken))))
        self._encoders.append(_Encoder(self.columns[-1].distinct))
        self._most = max(1, min(CHUNK_ROWS, CHUNK_CELLS // len(self.columns)))

    def distinct(self) -> int:
        """How many different cells the rows taken in hold, summed over the columns."""
        return sum(len(column.distinct) for column in self.columns)

    def flush(self) -> None:
        """Take in the rows that wait."""
        if not self._waiting:
            return
        width = len(self.columns)
        if len(self._waiting[0]) < width:
            self._waiting = [[*cells, *[None] * (width - len(cells))] for cells in self._waiting]
        for column, encoder, cells in zip(self.columns, self._encoders, zip(*self._waiting, strict=True), strict=True):
            column.codes.extend(encoder.encode(cells))
        self._waiting.clear()

    def __len__(self) -> int:
        return len(self.numbers)


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
        return sum(len(table) for table in self.tables)

    @property
    def used_rows(self) -> int:
        """Data rows of the tables that discovery uses."""
        return sum(len(table) for table in self.tables if table.role != IGNORED)


def place_of(file: str, sheet: str | None) -> str:
    """The name of a table in a sentence: its file, and its sheet where it has one."""
    return f"{file}, sheet {sheet}" if sheet is not None else file


def source(file: str, sheet: str | None, row: int | None) -> dict[str, Any]:
    """Where a value came from, in the shape every output uses."""
    return {"file": file, "sheet": sheet, "row": row}


# --- as bytes -------------------------------------------------------------------------------------------------

TABLE_MEDIA_TYPE = "application/vnd.mfo.table+zstd"
"""A table as an artifact: MessagePack under Zstandard, `[fields of the header, numbers, [[name, distinct, codes]]]`.

Numbers and codes are `[width, bytes]`, little-endian unsigned integers of `width` bytes.
"""


def _low(numbers: Codes, width: int) -> memoryview[Any]:
    """The low one or two bytes of each number of four: no number is looked at, so a million of them cost nothing."""
    step = 4 // width
    return _numbers(memoryview(numbers), width)[0 if sys.byteorder == "little" else step - 1 :: step]


def _numbers(data: memoryview[Any], width: int) -> memoryview[Any]:
    octets = data.cast("B")
    return octets if width == 1 else octets.cast("H")


def pack_codes(codes: Codes, below: int | None = None) -> list[Any]:
    """`[width, bytes]` of a column of unsigned integers, as narrow as they allow; all are less than `below`, where that
    is known."""
    end = max(codes, default=0) + 1 if below is None else below
    width = 1 if end <= 1 << 8 else 2 if end <= 1 << 16 else 4
    wide = codes if codes.itemsize == 4 else array("I", codes)
    return [width, wide.tobytes() if width == 4 else _low(wide, width).tobytes()]


def unpack_codes(packed: Sequence[Any]) -> Codes:
    """The inverse of `pack_codes`."""
    width, data = packed
    codes = array("I")
    if width == 4:
        codes.frombytes(data)
    else:
        codes.frombytes(bytes(4 // width * len(data)))
        _low(codes, width)[:] = _numbers(memoryview(data), width)
    return codes


def pack(value: Any) -> bytes:
    """MessagePack under Zstandard."""
    return bytes(cramjam.zstd.compress(msgspec.msgpack.encode(value), 1))


def unpack(data: bytes) -> Any:
    """The inverse of `pack`."""
    return msgspec.msgpack.decode(memoryview(cramjam.zstd.decompress(data)))


@bulk
def dump_table(table: Table) -> bytes:
    """A table as bytes, `TABLE_MEDIA_TYPE`."""
    header = {
        "file": table.file,
        "sheet": table.sheet,
        "header_row": table.header_row,
        "set_aside": [msgspec.to_builtins(row) for row in table.set_aside],
        "delimiter": table.delimiter,
        "kind": table.kind,
        "role": table.role,
        "read_as": table.read_as,
    }
    columns = [
        [column.name, column.distinct, pack_codes(column.codes, len(column.distinct))] for column in table.columns
    ]
    return pack([header, pack_codes(table.numbers), columns])


@bulk
def load_table(data: bytes) -> Table:
    """The inverse of `dump_table`."""
    header, numbers, columns = unpack(data)
    header["set_aside"] = [SetAside(**row) for row in header["set_aside"]]
    return Table(
        columns=[Column(name, distinct, unpack_codes(codes)) for name, distinct, codes in columns],
        numbers=unpack_codes(numbers),
        **header,
    )
