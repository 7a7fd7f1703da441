"""Which row holds the column names, and what they are called where they stand in two or three rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from estate.readers.cells import (
    HEADER_WORDS,
    INVISIBLE,
    blank,
    filled,
    header_share,
    identifies,
    is_measure,
    is_number,
    is_remark,
    looks_like_data,
    name_words,
    names_something,
)
from estate.tables import Cell

SEARCH_ROWS = 30
MOST_STACKED = 3

Row: TypeAlias = "tuple[int, list[Cell]]"
Merge: TypeAlias = "tuple[int, int, int, int]"
"""A merged range: first row, first column, last row, last column; rows from 1, columns from 0."""
Merges: TypeAlias = "Callable[[], list[Merge]]"


@dataclass(frozen=True, slots=True)
class Header:
    """The column names of a table, and where they stand. `start` is the place of its first column in a row."""

    rows: tuple[int, ...]
    names: tuple[str, ...]
    start: int
    keys: tuple[tuple[str, ...], ...] = ()
    """The header's rows cell by cell, for telling a repeated header."""
    unnamed: frozenset[int] = frozenset()
    """Places among the columns that have no name."""
    doubtful: bool = False

    @property
    def width(self) -> int:
        """How many columns."""
        return len(self.names)

    @property
    def last(self) -> int:
        """The row above the first data row; 0 where there is no header."""
        return self.rows[-1] if self.rows else 0


def key(cells: Sequence[Cell]) -> tuple[str, ...]:
    """A row for comparison: trimmed, lower case."""
    return tuple("" if cell is None else str(cell).strip().lower() for cell in cells)


def column_letters(place: int) -> str:
    """What a spreadsheet calls the column at this place: 0 is A, 26 is AA."""
    letters = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def reads_like_header(cells: Sequence[Cell]) -> bool:
    """All texts, hardly any two alike, and at least half of them are usual column names."""
    held = filled(cells)
    if not held or any(looks_like_data(cell) or is_number(cell) for cell in held):
        return False
    return len(set(key(held))) >= 0.6 * len(held) and header_share(held) >= 0.5


def find(head: Sequence[Row], merges: Merges) -> Header | None:
    """The header among the first rows: wide, all text, no two alike; None when there is none."""
    rows = list(head[:SEARCH_ROWS])
    at = _row_with_names(rows)
    if at is None:
        return None
    first, last = _stack(rows, at, merges)
    header = of_rows(rows[first : last + 1], head[last + 1 :], merges)
    cells = rows[last][1]
    share = header_share(cells)
    if first == last and share < 0.5:
        below = [row for _, row in head[last + 1 :]]
        if _is_data_after_all(cells, below):
            return None
        doubtful = share == 0 and bool(below) and len(filled(cells)) > 1
        return Header(header.rows, header.names, header.start, header.keys, header.unnamed, doubtful)
    return header


def _row_with_names(rows: Sequence[Row]) -> int | None:
    table_width = max((len(filled(cells)) for _, cells in rows), default=0)
    found: int | None = None
    for place, (_, cells) in enumerate(rows):
        held = filled(cells)
        if is_remark(cells, table_width) and not (len(held) > 1 and header_share(cells) >= 0.5):
            continue
        if len(held) < max(1, table_width * 0.5):
            continue
        texts = set(key(held))
        if sum(map(looks_like_data, held)) > len(held) * 0.2 or (
            len(texts) < len(held) * 0.6 and (len(texts) < 2 or header_share(held) < 0.8)
        ):
            # lines of label and value may stand above a narrow table
            if len(held) > 2 or table_width == len(held):
                return None
            continue
        found = place
        break
    return None if found is None else _better_below(rows, found)


def _better_below(rows: Sequence[Row], found: int) -> int:
    """A title in several cells gives way to a wider row of usual column names just below."""
    cells = filled(rows[found][1])
    if len(cells) > 1 and header_share(cells) >= 0.75:
        return found
    for place in range(found + 1, min(found + 6, len(rows))):
        below = filled(rows[place][1])
        if len(below) <= len(cells):
            continue
        if any(map(looks_like_data, below)):
            break
        if (len(below) > 2 or len(cells) == 1) and header_share(below) >= 0.6:
            return place
    return found


def _is_data_after_all(cells: Sequence[Cell], below: Sequence[Sequence[Cell]]) -> bool:
    """True if a row without any usual name has the shape of the rows below it: `web01,linux` above `web02,linux`."""
    alike = []
    for place, cell in enumerate(cells):
        if not isinstance(cell, str) or blank(cell):
            continue
        column = [str(row[place]) for row in below[:50] if place < len(row) and isinstance(row[place], str)]
        shape = _shape(cell)
        same = sum(_shape(other) == shape for other in column) if "9" in shape else 0
        alike.append(len(column) > 0 and (cell in column or same >= 0.8 * len(column)))
    return bool(alike) and (sum(alike) * 2 >= len(alike) or (alike[0] and len(below) > 1))


def _shape(text: str) -> str:
    return re.sub(r"\d+", "9", re.sub(r"[^\W\d_]+", "a", text.strip()))


def _stack(rows: Sequence[Row], at: int, merges: Merges) -> tuple[int, int]:
    """The first and last place of the header's rows."""
    first = last = at
    while first > 0 and last - first + 1 < MOST_STACKED and _heads(rows, first, last, merges):
        first -= 1
    while last - first + 1 < MOST_STACKED and last + 1 < len(rows) and _goes_on(rows, first, last, merges):
        last += 1
    return first, last


def _heads(rows: Sequence[Row], first: int, last: int, merges: Merges) -> bool:
    """True if the row above carries headings over the names below it: adjacent, several texts, and gaps."""
    above, below = rows[first - 1], rows[first]
    held = filled(above[1])
    if below[0] - above[0] != 1 or len(held) < 2 or any(map(looks_like_data, held)):
        return False
    if any(str(cell).rstrip().endswith(":") for cell in held):
        return False
    names = {place for _, cells in rows[first : last + 1] for place, cell in enumerate(cells) if not blank(cell)}
    over = [place for place, cell in enumerate(above[1]) if not blank(cell)]
    if not names.issuperset(over) or len(held) >= len(names) or len(set(key(held))) != len(held):
        return False
    return header_share(held) > 0.6 or any(one[0] == above[0] and one[3] > one[1] for one in merges())


def _goes_on(rows: Sequence[Row], first: int, last: int, merges: Merges) -> bool:
    """True if the row below belongs to the header as well: it names what the gaps of the header are for."""
    top, below = rows[last], rows[last + 1]
    if below[0] - top[0] != 1:
        return False
    names = below[1]
    held = filled(names)
    if not held or any(map(looks_like_data, held)):
        return False
    width = max(len(cells) for _, cells in rows[first : last + 1])
    width = max(width, len(names))
    has = [any(place < len(cells) and not blank(cells[place]) for _, cells in rows[first : last + 1])
           for place in range(width)]  # fmt: skip
    named = [place < len(names) and not blank(names[place]) for place in range(width)]
    gaps = [place for place in range(width) if not has[place] and named[place]]
    usual = sum(names_something(cell) or is_measure(cell) for cell in held) / len(held)
    again = len(set(key(held))) < len(held)
    if gaps and usual >= 0.6 and any(has[: gaps[0]]) and (again or any(is_measure(names[place]) for place in gaps)):
        return True
    if not gaps and usual < 0.5 and len(held) == sum(has):
        return False
    spans = [one for one in merges() if one[0] <= top[0] <= one[2]] if gaps or len(held) < sum(has) else []
    across = [one for one in spans if one[3] > one[1]]
    down = [one for one in spans if one[2] > top[0]]
    return bool(across) and (bool(down) or usual >= 0.5) and not all(map(looks_like_data, held))


def stands_alone(header: Header) -> bool:
    """True if the one column of a sheet is a list of something; else its lines are a cover or a note."""
    words = [word for word in name_words(header.names[0]) if len(word) > 2]
    return identifies(header.names[0]) and all(word in HEADER_WORDS for word in words)


def of_rows(rows: Sequence[Row], body: Sequence[Row], merges: Merges) -> Header:
    """The header that these rows make; `body` are rows below it, which may reach further to the left."""
    cells = [list(cells) for _, cells in rows]
    places = [place for one in cells for place, cell in enumerate(one) if not blank(cell)]
    start, end = min(places), max(places) + 1
    for _, row in body[:50]:
        left = next((place for place, cell in enumerate(row[:start]) if not blank(cell)), start)
        start = min(start, left)
    padded = [[one[place] if place < len(one) else None for place in range(start, end)] for one in cells]
    keys = tuple(key(one) for one in padded)
    if len(padded) > 1:
        padded = _spread(padded, [number for number, _ in rows], start, merges)
    stacked = [_joined([one[place] for one in padded]) for place in range(end - start)]
    names, unnamed = _names(stacked)
    return Header(tuple(number for number, _ in rows), names, start, keys, unnamed)


def of_rows_below(window: Sequence[Row], merges: Merges) -> Header:
    """The header that begins with the first of these rows."""
    first, last = _stack(window, 0, merges)
    return of_rows(window[first : last + 1], window[last + 1 :], merges)


def lettered(head: Sequence[Row]) -> Header | None:
    """No header: the columns are called A, B, C, ..."""
    if not head:
        return None
    width = max(len(cells) for _, cells in head)
    while width > 1 and all(len(cells) < width or blank(cells[width - 1]) for _, cells in head):
        width -= 1
    return Header((), tuple(map(column_letters, range(width))), 0)


def _spread(rows: list[list[Cell]], numbers: list[int], start: int, merges: Merges) -> list[list[Cell]]:
    """Headings written over every column they stand for: by merged ranges, else over names that need one."""
    spans = [one for one in merges() if one[0] in numbers]
    below = rows[-1]
    again = Counter(key(below))
    made = [list(row) for row in rows]
    for level, row in enumerate(made[:-1]):
        merged = [one for one in spans if one[0] == numbers[level] and one[3] > one[1]]
        if merged:
            for _, left, _, right in merged:
                for place in range(max(0, left - start), min(len(row), right - start + 1)):
                    row[place] = rows[level][left - start] if 0 <= left - start < len(row) else None
            continue
        heading: Cell = None
        for place, cell in enumerate(row):
            if not blank(cell):
                heading = cell
            elif blank(below[place]):
                heading = None
            elif heading is not None and (again[key([below[place]])[0]] > 1 or is_measure(below[place])):
                row[place] = heading
    return made


def _joined(cells: Sequence[Cell]) -> str:
    parts: list[str] = []
    for cell in cells:
        part = name_of(cell)
        if part and (not parts or parts[-1].lower() != part.lower()):
            parts.append(part)
    return " ".join(parts)


def name_of(cell: Cell) -> str:
    """A column name: blanks made one, characters that nobody sees left out."""
    return "" if blank(cell) else " ".join(INVISIBLE.sub("", str(cell)).split())


def _names(stacked: Sequence[str]) -> tuple[tuple[str, ...], frozenset[int]]:
    """Names told apart: `column 3` for one without, `Name (2)` for the second of a name."""
    unnamed = frozenset(place for place, name in enumerate(stacked) if not name)
    return tuple(apart(name or f"column {place + 1}" for place, name in enumerate(stacked))), unnamed


def apart(names: Iterable[str]) -> list[str]:
    """The names, each once: a second `Name` is `Name (2)`."""
    taken: set[str] = set()
    told: list[str] = []
    seen: Counter[str] = Counter()
    for name in names:
        seen[name] += 1
        made = name if seen[name] == 1 else f"{name} ({seen[name]})"
        while made in taken:
            seen[name] += 1
            made = f"{name} ({seen[name]})"
        taken.add(made)
        told.append(made)
    return told
