"""Reads xls and xlsb in a process of its own: the library that knows them may be led to take any amount of memory.

Started by `estate.readers.binary`; `python -m estate.readers.binary_child <path>`, the wanted sheets as JSON on standard
input. Answers on standard output in frames of 4 bytes length (big-endian) and MessagePack: `["sheets", [[name, hidden]]]`,
then for each wanted sheet `["rows", [[number, cells]]]` ..., `["merges", [[top, left, bottom, right]]]`, `["end"]`;
or `["error", text]`, after which nothing follows.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import resource
import sys
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import msgspec

from estate.parent import end_with_parent

MOST_MEMORY = 3 * 1024**3
MOST_SECONDS = 120
MOST_CELLS = 60_000_000
ROWS_A_FRAME = 256


def main() -> None:
    """Read the file named by the first argument."""
    end_with_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    out = sys.stdout.buffer

    def say(message: list[Any]) -> None:
        data = msgspec.msgpack.encode(message)
        out.write(len(data).to_bytes(4, "big") + data)

    wanted = set(json.loads(sys.stdin.read() or "[]"))
    try:
        _read(sys.argv[1], wanted, say, out)
    except BaseException as error:
        say(["error", f"{type(error).__name__}: {str(error)[:500]}"])
    with contextlib.suppress(BrokenPipeError):
        out.flush()


def _read(path: str, wanted: set[str], say: Callable[[list[Any]], None], out: BinaryIO) -> None:
    import python_calamine

    book = python_calamine.CalamineWorkbook.from_path(path)
    sheets = [
        (meta.name, meta.visible is not python_calamine.SheetVisibleEnum.Visible)
        for meta in book.sheets_metadata
        if meta.typ is python_calamine.SheetTypeEnum.WorkSheet
    ]
    say(["sheets", sheets])
    out.flush()
    for name, _ in sheets:
        if wanted and name not in wanted:
            continue
        sheet = book.get_sheet_by_name(name)
        if sheet.total_height * sheet.total_width > MOST_CELLS:
            raise MemoryError(f"sheet {name} has {sheet.total_height} rows and {sheet.total_width} columns")
        for rows in _frames(sheet):
            say(["rows", rows])
        merged = sheet.merged_cell_ranges or []
        say(["merges", [[top + 1, left, bottom + 1, right] for (top, left), (bottom, right) in merged]])
        say(["end"])


def _frames(sheet: Any) -> Iterator[list[list[Any]]]:
    rows: list[list[Any]] = []
    for number, cells in enumerate(sheet.to_python(skip_empty_area=False), 1):
        converted = [_cell(cell) for cell in cells]
        while converted and converted[-1] is None:
            converted.pop()
        if converted:
            rows.append([number, converted])
        if len(rows) >= ROWS_A_FRAME:
            yield rows
            rows = []
    yield rows


def _cell(value: Any) -> Any:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value.replace("\x00", "") or None
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date().isoformat()
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        seconds = round(value.total_seconds())
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return str(value)


if __name__ == "__main__":
    main()
