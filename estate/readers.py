"""How a file becomes tables: content decides what it is, and whatever cannot be read is named."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import python_calamine

from estate.bulk import bulk
from estate.errors import EstateError
from estate.tables import Cell, Row, SetAside, Table, Warned, Workbook

MAX_CELL_CHARACTERS = 1_000_000
MAX_CELLS_PER_SHEET = 60_000_000
MAX_COLUMNS = 16_384
MAX_SHEETS = 500
MAX_UNPACKED_BYTES = 2 * 1024**3
MAX_UNPACK_RATIO = 400
HEADER_SEARCH_ROWS = 30

WORKBOOK_FORMATS = {"xlsx", "xlsm", "xlsb", "xls", "ods"}

_SIGNATURES = (
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"7z\xbc\xaf", "a 7-zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90", "a program"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3", "an SQLite database"),
)
_NUMBER = re.compile(r"^[-+]?[\d.,' ]*\d[\d.,' ]*%?$")
_ADDRESS = re.compile(r"^\d{1,3}(\.\d{1,3}){3}$")
_DATE = re.compile(r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?$")


@bulk
def read(path: Path, filename: str | None = None) -> Workbook:
    """Read a file into tables; `filename` is what the user calls it (default: the path's name).

    Raises EstateError with one of the codes `empty_file, unreadable_file, not_a_table, format_not_supported,
    encrypted_workbook, too_large, cell_too_large, unterminated_quote, no_header_row`.
    A file with a header and no rows is read (its table has no rows); see `require_rows`.
    """
    name = filename or path.name
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(64)
    except OSError as error:
        raise EstateError("unreadable_file", f"{name} cannot be opened: {error.strerror}.", file=name) from error
    if size == 0:
        raise EstateError("empty_file", f"{name} is empty (0 bytes).", file=name)
    found = _container(path, head, name)
    workbook = _read_text(path, name) if found == "text" else _read_workbook(path, name, found)
    extension = Path(name).suffix.lower().lstrip(".")
    text_like = {"csv", "tsv", "txt", "psv", ""}
    matches = extension == workbook.format or (workbook.format in {"csv", "tsv"} and extension in text_like)
    if workbook.format in {"xlsx", "xlsm"} and extension in {"xlsx", "xlsm"}:
        matches = True
    if not matches:
        workbook.warnings.append(
            Warned(
                "extension_mismatch", f"{name} is called .{extension}, its content is {workbook.format}; read as that."
            )
        )
    return workbook


def check_readable(path: Path, filename: str) -> str:
    """Look at the first bytes only: the container format (`text, xlsx, xls, ...`) a full `read` would start from.

    Raises EstateError `empty_file, unreadable_file, not_a_table, format_not_supported, too_large` where `read` is
    bound to.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(65_536)
    except OSError as error:
        raise EstateError(
            "unreadable_file", f"{filename} cannot be opened: {error.strerror}.", file=filename
        ) from error
    if not head:
        raise EstateError("empty_file", f"{filename} is empty (0 bytes).", file=filename)
    found = _container(path, head, filename)
    if found == "text":
        text, _ = _decode(head[: len(head) // 4 * 4], filename, [])
        _refuse_markup(text, filename)
    return found


def require_rows(workbooks: list[Workbook]) -> None:
    """Raise EstateError `no_rows` when none of the files holds a single data row."""
    if any(book.row_count for book in workbooks):
        return
    names = ", ".join(book.file for book in workbooks)
    raise EstateError(
        "no_rows",
        f"{names}: there is a header and no data row below it.",
        file=workbooks[0].file if workbooks else None,
    )


def _container(path: Path, head: bytes, name: str) -> str:
    """What the bytes are: `text` or one of WORKBOOK_FORMATS."""
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_container(path, name)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return "xls"
    for signature, what in _SIGNATURES:
        if head.startswith(signature):
            raise EstateError("format_not_supported", f"{name} is {what}, not a table (csv, tsv or xlsx).", file=name)
    return "text"


def _zip_container(path: Path, name: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise EstateError("unreadable_file", f"{name} is a damaged zip or xlsx file: {error}.", file=name) from error
    unpacked = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members) or 1
    if unpacked > MAX_UNPACKED_BYTES or (unpacked > 64 * 1024**2 and unpacked / packed > MAX_UNPACK_RATIO):
        raise EstateError(
            "too_large", f"{name} would unpack to {unpacked:,} bytes from {packed:,}; that is refused.", file=name
        )
    names = {member.filename for member in members}
    if any(entry.startswith("xl/vbaProject") for entry in names) and "xl/workbook.xml" in names:
        return "xlsm"
    if "xl/workbook.xml" in names:
        return "xlsx"
    if "xl/workbook.bin" in names:
        return "xlsb"
    if "content.xml" in names:
        return "ods"
    raise EstateError(
        "format_not_supported", f"{name} is a zip archive without a workbook; upload its files one by one.", file=name
    )


# --- text -----------------------------------------------------------------------------------------------------


def _decode(data: bytes, name: str, warnings: list[Warned]) -> tuple[str, str]:
    """The text and the name of its encoding: byte order mark, UTF-8, UTF-16 by its zeros, else Windows-1252."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            try:
                return data.decode(encoding), encoding
            except UnicodeDecodeError as error:
                raise EstateError(
                    "unreadable_file", f"{name} starts as {encoding} and breaks at byte {error.start}.", file=name
                ) from error
    head = data[:4000]
    if head.count(0) > len(head) // 5:
        encoding = "utf-16-le" if head[1::2].count(0) > head[0::2].count(0) else "utf-16-be"
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            text = ""
        if text and sum(character.isprintable() or character in "\r\n\t" for character in text[:2000]) > 0.95 * min(
            len(text), 2000
        ):
            return text, encoding
        raise EstateError("not_a_table", f"{name} holds binary data, not a table.", file=name)
    controls = sum(1 for byte in head if byte < 32 and byte not in (9, 10, 12, 13, 0))
    if controls > max(2, len(head) // 100):
        raise EstateError("not_a_table", f"{name} holds binary data, not a table.", file=name)
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        broken = data.count(b"\n", 0, error.start) + 1
    repaired = data.decode("utf-8", errors="replace")
    bad = repaired.count("\ufffd")
    good = sum(1 for character in repaired if ord(character) > 127) - bad
    if good > 4 * bad:
        warnings.append(
            Warned("encoding_damaged", f"{bad} characters are not valid UTF-8, first in line {broken}.", None, broken)
        )
        return repaired, "utf-8"
    warnings.append(Warned("encoding_guessed", f"{name} is not UTF-8; read as Windows-1252.", None, broken))
    return data.decode("cp1252", errors="replace"), "cp1252"


def _refuse_markup(text: str, name: str) -> None:
    stripped = text.lstrip()
    if not stripped:
        raise EstateError("empty_file", f"{name} holds nothing but blanks.", file=name)
    what = None
    if stripped[0] == "<":
        what = "XML or HTML"
    elif stripped[0] == "{" or re.match(r"\[\s*[\[{\]]", stripped):
        what = "JSON"
    if what is not None:
        raise EstateError(
            "format_not_supported", f"{name} is {what}, which is not read; save it as csv or xlsx.", file=name
        )


def _read_text(path: Path, name: str) -> Workbook:
    warnings: list[Warned] = []
    text, encoding = _decode(path.read_bytes(), name, warnings)
    _refuse_markup(text, name)
    if "\x00" in text:
        warnings.append(Warned("nul_removed", f"{name} holds {text.count(chr(0))} NUL characters; they were left out."))
        text = text.replace("\x00", "")
        if not text.strip():
            raise EstateError("not_a_table", f"{name} holds binary data, not a table.", file=name)
    offset = 0
    declared = re.match(r"sep=(.)\r?\n", text, re.IGNORECASE)
    if declared:
        text, offset = text[declared.end() :], 1
    delimiter = declared.group(1) if declared else _delimiter(text)
    numbered = _parse(text, delimiter, offset, name, warnings)
    del text
    table = _table(name, None, numbered, warnings)
    if table is None:
        raise EstateError(
            "no_header_row",
            f"{name}: no row with column names was found in the first {HEADER_SEARCH_ROWS} rows.",
            file=name,
        )
    table.delimiter = delimiter
    return Workbook(name, "tsv" if delimiter == "\t" else "csv", [table], warnings, encoding)


def _delimiter(text: str) -> str:
    """The delimiter under which most of the first lines have as many cells as the widest common row."""
    lines = [line for line in text[:200_000].splitlines()[:200] if line.strip()][:60]
    best, best_score = ",", 0.0
    for candidate in (",", ";", "\t", "|"):
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=candidate, skipinitialspace=True) if row]
        except csv.Error:
            continue
        common = Counter(width for width in widths if width > 1).most_common()
        if not common:
            continue
        width, count = max(common, key=lambda pair: (pair[1], pair[0]))
        # the share of rows that agree weighs more than the number of columns they agree on
        score = (count / len(widths)) * 10 + min(width, 50) / 50
        if score > best_score:
            best, best_score = candidate, score
    return best


def _parse(text: str, delimiter: str, offset: int, name: str, warnings: list[Warned]) -> list[Row]:
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    for strict in (True, False):
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=strict)
        rows: list[Row] = []
        # the same text once in memory, however many cells hold it
        shared: dict[str, Cell] = {"": None}
        once = shared.setdefault
        try:
            for number, cells in enumerate(reader, 1 + offset):
                rows.append((number, [once(cell, cell) for cell in cells]))
                if len(cells) > MAX_COLUMNS:
                    raise EstateError(
                        "too_large", f"{name}, row {number}: more than {MAX_COLUMNS:,} columns.", file=name, row=number
                    )
        except csv.Error as error:
            row = len(rows) + 1 + offset
            if "field larger" in str(error):
                raise EstateError(
                    "cell_too_large",
                    f"{name}, row {row}: a cell holds more than {MAX_CELL_CHARACTERS:,} characters"
                    " (often a quotation mark that is never closed).",
                    file=name,
                    row=row,
                ) from error
            if "unexpected end" in str(error):
                raise EstateError(
                    "unterminated_quote",
                    f"{name}, row {row}: a quotation mark opens there and is never closed.",
                    file=name,
                    row=row,
                ) from error
            if not strict:
                raise EstateError("unreadable_file", f"{name}, row {row}: {error}.", file=name, row=row) from error
            warnings.append(
                Warned("stray_quote", f"{name}, row {row}: text follows a closing quotation mark.", None, row)
            )
            continue
        return rows
    raise AssertionError("unreachable")


# --- workbooks ------------------------------------------------------------------------------------------------


def _read_workbook(path: Path, name: str, container: str) -> Workbook:
    warnings: list[Warned] = []
    try:
        book = python_calamine.CalamineWorkbook.from_path(str(path))
        metadata = book.sheets_metadata
    except python_calamine.PasswordError as error:
        raise EstateError(
            "encrypted_workbook", f"{name} is protected by a password; save it without one.", file=name
        ) from error
    except BaseException as error:
        raise _unreadable(error, name, None) from error
    if len(metadata) > MAX_SHEETS:
        raise EstateError("too_large", f"{name} has {len(metadata)} sheets; at most {MAX_SHEETS} are read.", file=name)
    tables: list[Table] = []
    for meta in metadata:
        if meta.typ is not python_calamine.SheetTypeEnum.WorkSheet:
            continue
        if meta.visible is not python_calamine.SheetVisibleEnum.Visible:
            warnings.append(
                Warned("hidden_sheet", f"sheet {meta.name} is hidden; it was read all the same.", meta.name)
            )
        grid = _grid(book, meta.name, name)
        if not grid:
            warnings.append(Warned("empty_sheet", f"sheet {meta.name} is empty.", meta.name))
            continue
        table = _table(name, meta.name, grid, warnings)
        if table is None:
            warnings.append(
                Warned("no_header_row", f"sheet {meta.name} has no row with column names; it was left out.", meta.name)
            )
            continue
        tables.append(table)
    if not tables:
        raise EstateError("not_a_table", f"{name}: no sheet holds a table.", file=name)
    return Workbook(name, container, tables, warnings)


def _grid(book: python_calamine.CalamineWorkbook, sheet_name: str, name: str) -> list[Row]:
    try:
        sheet = book.get_sheet_by_name(sheet_name)
        start = sheet.start or (0, 0)
        size = (sheet.height, sheet.width)
        rows: list[list[Any]] = []
        if size[0] * size[1] <= MAX_CELLS_PER_SHEET:
            rows = sheet.to_python(skip_empty_area=True)
    except BaseException as error:
        raise _unreadable(error, name, sheet_name) from error
    if size[0] * size[1] > MAX_CELLS_PER_SHEET:
        raise EstateError(
            "too_large",
            f"{name}, sheet {sheet_name}: its used range has {size[0]:,} rows and {size[1]:,} columns,"
            f" more than {MAX_CELLS_PER_SHEET:,} cells.",
            file=name,
            sheet=sheet_name,
        )
    grid: list[Row] = []
    for number, cells in enumerate(rows, start[0] + 1):
        converted = [_cell(value) for value in cells]
        for column, value in enumerate(converted, start[1] + 1):
            if isinstance(value, str) and len(value) > MAX_CELL_CHARACTERS:
                raise EstateError(
                    "cell_too_large",
                    f"{name}, sheet {sheet_name}, row {number}, column {column}: more than"
                    f" {MAX_CELL_CHARACTERS:,} characters.",
                    file=name,
                    sheet=sheet_name,
                    row=number,
                    column=str(column),
                )
        grid.append((number, converted))
    return grid


def _unreadable(error: BaseException, name: str, sheet: str | None) -> EstateError:
    # a panic of the reader's Rust code is a BaseException; interrupts and memory are not ours to hide
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit | MemoryError):
        raise error
    where = f"{name}, sheet {sheet}" if sheet else name
    text = str(error).strip().rstrip(".")
    if "password" in text.lower() or "encrypted" in text.lower():
        return EstateError("encrypted_workbook", f"{where} is protected by a password; save it without one.", file=name)
    return EstateError(
        "unreadable_file", f"{where} cannot be read as a workbook: {text[:200]}.", file=name, sheet=sheet
    )


def _cell(value: Any) -> Cell:
    if value == "" or value is None:
        return None
    if isinstance(value, str):
        return value.replace("\x00", "") if "\x00" in value else value
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    return str(value)


# --- the header, and the rows below it ------------------------------------------------------------------------


def _blank(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _looks_like_data(cell: Cell) -> bool:
    if isinstance(cell, bool | int | float):
        return True
    text = str(cell).strip()
    return bool(_NUMBER.match(text) or _ADDRESS.match(text) or _DATE.match(text))


def _header_at(grid: list[Row]) -> int | None:
    """Index in `grid` of the row with the column names: wide, all text, no two alike; None when there is none."""
    seen = [(index, cells) for index, (_, cells) in enumerate(grid) if not all(map(_blank, cells))][:HEADER_SEARCH_ROWS]
    if not seen:
        return None
    width = max(sum(not _blank(cell) for cell in cells) for _, cells in seen)
    for index, cells in seen:
        filled = [cell for cell in cells if not _blank(cell)]
        if len(filled) < max(1, width * 0.5):
            continue
        texts = {str(cell).strip().lower() for cell in filled}
        if sum(map(_looks_like_data, filled)) > len(filled) * 0.2 or len(texts) < len(filled) * 0.6:
            if len(filled) > 1 or _looks_like_data(filled[0]):
                return None
            continue
        return index
    return None


def _columns(cells: list[Cell]) -> list[str]:
    """Column names as they came (trimmed), unnamed and repeated ones told apart: `column 3`, `Name (2)`."""
    names: list[str] = []
    seen: Counter[str] = Counter()
    for number, cell in enumerate(cells, 1):
        name = f"column {number}" if _blank(cell) else " ".join(str(cell).split())
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names


def _table(file: str, sheet: str | None, grid: list[Row], warnings: list[Warned]) -> Table | None:
    at = _header_at(grid)
    if at is None:
        return None
    header_row, header = grid[at]
    while header and _blank(header[-1]):
        header = header[:-1]
    width = len(header)
    table = Table(file, sheet, _columns(header), header_row, [])
    if header_row > 1 and any(not all(map(_blank, cells)) for _, cells in grid[:at]):
        table.set_aside.extend(
            SetAside(number, "above_header", "stands above the header", cells)
            for number, cells in grid[:at]
            if not all(map(_blank, cells))
        )
    header_key = [str(cell).strip().lower() for cell in header]
    blank_lines, short, long = 0, 0, []
    for number, cells in grid[at + 1 :]:
        if not any(cell is not None and not (type(cell) is str and not cell.strip()) for cell in cells):
            blank_lines += 1
            continue
        if len(cells) == width:
            if cells[0] == header[0] and [str(cell).strip().lower() for cell in cells] == header_key:
                table.set_aside.append(SetAside(number, "repeated_header", "repeats the header", cells))
                continue
            table.rows.append((number, cells))
        elif len(cells) < width:
            short += 1
            table.rows.append((number, cells + [None] * (width - len(cells))))
        else:
            extra = cells[width:]
            if all(map(_blank, extra)):
                table.rows.append((number, cells[:width]))
            else:
                long.append((number, cells))
    if long:
        _place_long_rows(table, long, width, warnings)
    if blank_lines:
        warnings.append(Warned("blank_rows", f"{blank_lines} blank rows were left out.", sheet))
    if short:
        warnings.append(
            Warned("short_rows", f"{short} rows have fewer cells than the header; the rest is unknown.", sheet)
        )
    return table


def _place_long_rows(table: Table, long: list[Row], width: int, warnings: list[Warned]) -> None:
    """Keep a row with cells beyond the header only if its number columns still hold numbers; else values have
    shifted."""
    sample = [cells for _, cells in table.rows[:500]]
    numeric = [
        column
        for column in range(width)
        if (values := [cells[column] for cells in sample if not _blank(cells[column])])
        and sum(map(_looks_like_data, values)) >= 0.9 * len(values)
    ]
    for number, cells in long:
        aligned = all(_blank(cells[column]) or _looks_like_data(cells[column]) for column in numeric)
        if numeric and aligned:
            table.rows.append((number, cells[:width]))
            extra = [cell for cell in cells[width:] if not _blank(cell)]
            warnings.append(
                Warned(
                    "extra_cells",
                    f"{len(extra)} cells stand beyond the last column name; they were left out.",
                    table.sheet,
                    number,
                )
            )
        else:
            table.set_aside.append(
                SetAside(number, "too_many_cells", f"has {len(cells)} cells under {width} column names", cells)
            )
    table.rows.sort(key=lambda row: row[0])
