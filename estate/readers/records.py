"""Nested records (JSON, XML) become tables: nested objects are columns with dots, lists of objects tables of their own.

A list of plain values is one cell: its values joined by ", ", or the list as JSON text where a value holds a comma or
the list holds lists. An empty list is an empty cell.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from math import isfinite
from typing import Any

from estate.errors import EstateError
from estate.readers.cells import name_words
from estate.readers.headers import name_of
from estate.readers.limits import (
    MAX_CELL_CHARACTERS,
    MAX_CELLS,
    MAX_COLUMNS,
    MAX_DEPTH,
    MAX_DISTINCT,
    MAX_SET_ASIDE,
    MAX_TABLES,
)
from estate.readers.remedies import DIVIDE, FLATTER
from estate.roles import DETAIL
from estate.tables import Cell, Codes, Column, SetAside, Table, TableBuilder, Warned

_KEY_WORDS = ("name", "hostname", "fqdn", "id", "uuid", "guid", "key")
CHECK_EVERY = 10_000
SPARSE_FROM = 1_000
"""From so many columns on, at least one cell in `SPARSE` must hold something."""
SPARSE = 50


class Records:
    """The records of one list while they come in. Raises EstateError `too_large, cell_too_large`."""

    def __init__(self, file: str, path: str, warnings: list[Warned], parent: Records | None = None) -> None:
        self.file = file
        self.path = path
        self.set_aside: list[SetAside] = []
        self._warnings = warnings
        self.root: Records = parent.root if parent is not None else self
        self.count = 1
        self._builder = TableBuilder([])
        self._places: dict[str, int] = {}
        self.parents: Codes = array("I")
        self._details: dict[str, Records] = {}
        self._not_numbers = 0
        self._filled = 0

    def __len__(self) -> int:
        return len(self._builder)

    def add(self, number: int, record: Mapping[str, Any]) -> None:
        """One record."""
        self.take(number, record, len(self._builder), "")

    def put_aside(self, number: int, reason: str, message: str, cells: list[Cell]) -> None:
        """Something in the list that is no record."""
        if len(self.set_aside) >= MAX_SET_ASIDE:
            raise EstateError(
                "not_a_table", f"{self.file}: more than {MAX_SET_ASIDE:,} entries are no records; {FLATTER}.", file=self.file,
                row=number,
            )  # fmt: skip
        self.set_aside.append(SetAside(number, reason, message, cells))

    def take(self, number: int, record: Mapping[str, Any], parent: int, prefix: str) -> None:
        """One record; of a detail table the place of its record in the parent's table, and what its columns begin with."""
        flat: dict[str, Cell] = {}
        self._flatten(record, prefix, flat, 1, (number, parent))
        places = self._places
        for name in flat:
            if name not in places:
                if len(places) >= MAX_COLUMNS:
                    raise self._too_large(f"more than {MAX_COLUMNS:,} columns", number)
                places[name] = len(places)
                if not len(places) % SPARSE_FROM and self._filled * SPARSE < len(self._builder) * len(places):
                    raise self._too_large("ever new keys; they seem to be values", number)
                self._builder.widen(name)
        self._filled += len(flat)
        self._builder.add(number, list(map(flat.get, places)))
        if self.root is not self:
            self.parents.append(parent)
        count = len(self._builder)
        if count * len(places) > MAX_CELLS:
            raise self._too_large(f"more than {MAX_CELLS:,} cells", number)
        if not count % CHECK_EVERY and self._builder.distinct() > MAX_DISTINCT:
            raise self._too_large(f"more than {MAX_DISTINCT:,} different cells", number)

    def _too_large(self, what: str, number: int) -> EstateError:
        return EstateError("too_large", f"{self.file}, record {number}: {what}; {DIVIDE}.", file=self.file, row=number)

    def _flatten(
        self, record: Mapping[str, Any], prefix: str, flat: dict[str, Cell], depth: int, row: tuple[int, int]
    ) -> None:
        number = row[0]
        for key, value in record.items():
            name = prefix + key
            kind = type(value)
            if kind is str:
                cell: Cell = value if len(value) <= MAX_CELL_CHARACTERS else self._giant(name, number)
            elif kind is dict:
                if depth >= MAX_DEPTH:
                    cell = self._as_json(value, name, number)
                elif value:
                    self._flatten(value, name + ".", flat, depth + 1, row)
                    continue
                else:
                    cell = None
            elif kind is list:
                if any(type(one) is dict for one in value):
                    self._detail(name, value, *row)
                    continue
                cell = self._joined(value, name, number)
            else:
                cell = self._scalar(value)
            while name in flat:
                name += " (2)"
            flat[name] = cell

    def _scalar(self, value: Any) -> Cell:
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int):
            return value if -(2**63) <= value < 2**64 else str(value)
        if isinstance(value, float) and not isfinite(value):
            self._not_numbers += 1
            return None
        return value if isinstance(value, float) else str(value)

    def _joined(self, values: list[Any], name: str, number: int) -> Cell:
        if not values:
            return None
        if any(isinstance(one, list | dict) or (isinstance(one, str) and "," in one) for one in values):
            return self._as_json(values, name, number)
        told = [one if isinstance(one, str) else json.dumps(one) for one in values if one is not None]
        text = ", ".join(told)
        return (text if len(text) <= MAX_CELL_CHARACTERS else self._giant(name, number)) or None

    def _as_json(self, value: Any, name: str, number: int) -> str:
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= MAX_CELL_CHARACTERS else self._giant(name, number)

    def _giant(self, name: str, number: int) -> str:
        raise EstateError(
            "cell_too_large",
            f"{self.file}, record {number}, {name[:80]}: a value holds more than {MAX_CELL_CHARACTERS:,} characters;"
            f" shorten or leave out that field and upload the file again.",
            file=self.file,
            row=number,
            column=name[:80],
        )

    def _detail(self, name: str, values: list[Any], number: int, parent: int) -> None:
        detail = self._details.get(name)
        if detail is None:
            self.root.count += 1
            if self.root.count > MAX_TABLES:
                raise EstateError("too_large", f"{self.file}: more than {MAX_TABLES} tables; {DIVIDE}.", file=self.file)
            path = f"{self.path}.{name}" if self.path else name
            detail = self._details[name] = Records(self.file, path, self._warnings, self)
        prefix = name.rsplit(".", 1)[-1] + "."
        for value in values:
            if type(value) is dict:
                detail.take(number, value, parent, prefix)
            elif value is not None:
                detail.put_aside(number, "not_a_record", "stands among records and is none", [self._plain(value)])

    def _plain(self, value: Any) -> Cell:
        return self._as_json(value, "", 0) if isinstance(value, list | dict) else self._scalar(value)

    # --- the end ---------------------------------------------------------------------------------------------------

    def tables(self, sheet: str | None, read_as: Mapping[str, Any]) -> list[Table]:
        """The table, and one for each list of objects in the records, whose first column is the key of their record."""
        table = self.table(sheet, read_as)
        made = [table]
        if self._details:
            key = _key_of(table)
            for detail in self.details():
                own = detail.table(detail.path, read_as)
                own.columns.insert(0, _key_column(key, table, detail.parents, own))
                own.role = DETAIL
                own.read_as["detail_of"] = sheet
                own.read_as["parent_key"] = own.columns[0].name
                made.append(own)
        return made

    def details(self) -> list[Records]:
        """The lists inside of these records, and those inside of them."""
        found = []
        for detail in self._details.values():
            found.append(detail)
            found.extend(detail.details())
        return found

    def table(self, sheet: str | None, read_as: Mapping[str, Any]) -> Table:
        """The records of this list alone."""
        self._builder.flush()
        if self._not_numbers:
            told = f"{self._not_numbers} values are NaN or infinite; they count as empty."
            self._warnings.append(Warned("not_a_number", told, sheet))
        columns = self._builder.columns
        nested = {name.rsplit(".", depth)[0] for name in self._places for depth in range(1, name.count(".") + 1)}
        kept = [column for column in columns if column.name not in nested or any(column.codes)]
        taken: set[str] = set()
        for place, column in enumerate(kept, 1):
            name = name_of(column.name) or f"column {place}"
            while name in taken:
                name += " (2)"
            taken.add(name)
            column.name = name
        table = Table(self.file, sheet, kept, self._builder.numbers, 0, self.set_aside)
        table.read_as.update(read_as)
        table.read_as["record_path"] = self.path
        return table


def _key_of(table: Table) -> Column | None:
    """The column that tells the records apart: in every row, each cell once; by name rather than by number."""
    rows = len(table)
    unique = [column for column in table.columns if len(column.distinct) - 1 == rows and all(column.codes)]
    full = [column for column in table.columns if rows and all(column.codes)]
    for columns in (unique, full):
        for word in _KEY_WORDS:
            for column in columns:
                if name_words(column.name)[-1:] == [word]:
                    return column
    return unique[0] if unique else None


def _key_column(key: Column | None, parent: Table, rows: Codes, detail: Table) -> Column:
    names = set(detail.names)
    name = key.name if key is not None else "record"
    while name in names:
        name = f"parent {name}"
    if key is None:
        return Column.of(name, (parent.numbers[row] for row in rows))
    return Column(name, key.distinct, array("I", [key.codes[row] for row in rows]))
