"""Tables that stand side by side, merged cells below the header, and what a table tells about how it was read."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise

from estate.options import TableOptions
from estate.readers import notation
from estate.readers.cells import blank, header_share, identifies, looks_like_data, names_something
from estate.readers.headers import Header, Merge, Row, apart, column_letters, find
from estate.tables import SetAside, Table, Warned

MOST_WORK = 20_000_000
"""Cells that are looked at for merged ranges."""


def regions(head: Sequence[Row]) -> list[tuple[int, int]]:
    """Column ranges that hold tables with headers in different rows; empty where the sheet is read as one.

    `(start, end)` places of columns; at least two columns each, divided by columns that are blank in all rows.
    """
    width = max((len(cells) for _, cells in head), default=0)
    used = [False] * width
    for _, cells in head:
        for place, cell in enumerate(cells):
            if not blank(cell):
                used[place] = True
    ranges: list[tuple[int, int]] = []
    start: int | None = None
    for place in range(width + 1):
        if place < width and used[place]:
            start = place if start is None else start
        elif start is not None:
            ranges.append((start, place))
            start = None
    ranges = [(start, end) for start, end in ranges if end - start >= 2]
    if not 2 <= len(ranges) <= 20:
        return []
    found = []
    for start, end in ranges:
        part = [(number, cells[start:end]) for number, cells in head]
        header = find([row for row in part if not all(map(blank, row[1]))], list)
        if header is None or header_share(list(header.names)) < 0.5:
            return []
        found.append(header.last)
    return ranges if len(set(found)) > 1 else []


def split(table: Table, header: Header) -> list[Table]:
    """The table without columns that have neither name nor cells, divided there if its parts are tables of their own."""
    hollow = [
        place
        for place, column in enumerate(table.columns)
        if place in header.unnamed and not any(column.codes) and place > 0
    ]
    if not hollow:
        return [table]
    edges = [-1, *hollow, len(table.columns)]
    parts = [range(left + 1, right) for left, right in pairwise(edges) if right - left > 1]
    if not _apart(table, header, parts):
        gone = set(hollow)
        table.columns = [column for place, column in enumerate(table.columns) if place not in gone]
        return [table]
    made = []
    for part in parts:
        columns = [table.columns[place] for place in part]
        rows = [row for row in range(len(table)) if any(column.codes[row] for column in columns)]
        own = table.pick([])
        own.columns = [column.pick(rows) for column in columns]
        own.numbers = array("I", [table.numbers[row] for row in rows])
        names = apart(_own_name(column.name, header, place) for column, place in zip(own.columns, part, strict=True))
        for column, name in zip(own.columns, names, strict=True):
            column.name = name
        first, last = header.start + part[0], header.start + part[-1]
        own.read_as["table"] = f"columns {column_letters(first)}-{column_letters(last)}"
        made.append(own)
    made[0].set_aside = table.set_aside
    return made


def _own_name(name: str, header: Header, place: int) -> str:
    """The name without the number that told it from its namesake in the table beside."""
    if place in header.unnamed or not header.keys:
        return name
    bare = name.rsplit(" (", 1)[0]
    return bare if len(header.keys) == 1 and header.keys[0][place] == bare.lower() else name


def _apart(table: Table, header: Header, parts: Sequence[range]) -> bool:
    if len(parts) < 2 or any(len(part) < 2 for part in parts) or not header.keys:
        return False
    names = [[column.name for column in table.columns[part.start : part.stop]] for part in parts]
    if any(header_share(list(own)) < 0.5 for own in names):
        return False
    keys = [set(header.keys[-1][part.start : part.stop]) - {""} for part in parts]
    if any(identifies(name) for first, second in pairwise(keys) for name in first & second):
        return True
    if not all(identifies(own[0]) for own in names):
        return False
    lengths = []
    for part in parts:
        codes = table.columns[part.start].codes
        length = len(codes)
        while length and not codes[length - 1]:
            length -= 1
        if not all(codes[:length]):
            return False
        lengths.append(length)
    return len(set(lengths)) > 1


def lies_across(table: Table) -> bool:
    """True if machines are columns and facts are rows: the first column holds usual column names, the header row names
    of machines, and each row holds either numbers or texts."""
    names, rows = table.names, len(table)
    if not 3 <= rows <= 200 or len(names) < 3 or not identifies(names[0]):
        return False
    first = [str(cell) for cell in table.columns[0]]
    facts = [cell for cell in first if names_something(cell) and not cell.strip()[-1:].isdigit()]
    if len(set(first)) < rows or len(facts) < 0.8 * rows:
        return False
    if sum(names_something(name) and not any(map(str.isdigit, name)) for name in names[1:]) * 5 > len(names) - 1:
        return False
    kinds = []
    for row in range(rows):
        told = [looks_like_data(cell) for column in table.columns[1:] if not blank(cell := column[row])]
        if told and 0 < sum(told) < len(told):
            return False
        kinds += told[:1]
    return any(kinds) and not all(kinds)


def settle_merges(table: Table, start: int, merges: Sequence[Merge], warnings: list[Warned]) -> None:
    """Merged cells below the header: a cell over several rows holds for each; one across the table is a caption.

    `start` is the place of the table's first column in the sheet.
    """
    numbers = table.numbers
    filled = work = 0
    captions: list[int] = []
    for top, left, bottom, right in merges:
        if top <= table.header_row or not start <= left < start + len(table.columns):
            continue
        first, end = bisect_left(numbers, top), bisect_right(numbers, bottom)
        work += end - first + (len(table.columns) if right > left else 0)
        if first >= end or numbers[first] != top:
            continue
        if work > MOST_WORK:
            told = "there are too many merged cells; not all were looked at."
            warnings.append(Warned("merged_cells", told, table.sheet))
            break
        codes = table.columns[left - start].codes
        if not codes[first]:
            continue
        if right > left:
            alone = sum(column.codes[first] > 0 for column in table.columns) == 1
            if alone and 2 * (right - left + 1) >= len(table.columns) > 2:
                captions.append(first)
            continue
        for row in range(first + 1, end):
            if not codes[row]:
                codes[row] = codes[first]
                filled += 1
    if filled:
        told = (
            "1 cell is merged with the one above it; it holds its value."
            if filled == 1
            else f"{filled} cells are merged with the one above them; they hold its value."
        )
        warnings.append(Warned("merged_cells", told, table.sheet))
    if captions:
        _take_out(table, set(captions))


def _take_out(table: Table, gone: set[int]) -> None:
    for row in sorted(gone):
        cells = [column[row] for column in table.columns if column.codes[row]]
        table.set_aside.append(SetAside(table.numbers[row], "caption", "stands over the rows below it", cells))
    rows = [row for row in range(len(table)) if row not in gone]
    table.numbers = array("I", [table.numbers[row] for row in rows])
    table.columns = [column.pick(rows) for column in table.columns]


def tell(table: Table, options: TableOptions) -> None:
    """Write into `read_as` what the options say, and what the cells tell where the options are silent."""
    said = {
        "decimal": options.decimal,
        "thousands": options.thousands,
        "date_order": options.date_order,
        "first_row": options.first_row,
        "last_row": options.last_row,
        "kind": options.kind,
        "role": options.role,
        "units": dict(options.units) or None,
    }
    seen = notation.of(table) if "decimal" not in table.read_as else {}
    table.read_as.update(seen)
    table.read_as.update({name: value for name, value in said.items() if value is not None})
    given = [name for name in ("decimal", "thousands", "date_order") if said[name] is not None]
    if given:
        table.read_as["given"] = given
