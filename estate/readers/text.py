"""csv and its kin: the encoding, the delimiter, and the rows."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from estate.errors import EstateError
from estate.options import ImportOptions
from estate.readers.cells import HEADER_WORDS, blank, is_remark, looks_like_data, name_words
from estate.readers.headers import SEARCH_ROWS
from estate.readers.layout import Row, Sheet, tables_of
from estate.readers.limits import MAX_CELL_CHARACTERS, MAX_COLUMNS, MAX_RECORD_CHARACTERS
from estate.readers.remedies import AGAIN, CHECK_QUOTES, DIVIDE, TABLE_INSTEAD
from estate.tables import Cell, Table, Warned, Workbook

DELIMITERS = (",", ";", "\t", "|")
CHUNK = 1 << 20
_DECLARED = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)
_SENTINEL = "\x00end\x00"


@dataclass(slots=True)
class Text:
    """A text file that has been looked through once: how to decode it, and what is odd about it."""

    path: Path
    name: str
    encoding: str
    errors: str = "strict"
    nuls: int = 0
    spaced_quotes: bool = False
    """A blank stands between a delimiter and a quotation mark somewhere."""
    warnings: list[Warned] = field(default_factory=list)

    def open(self) -> IO[str]:
        """The text from its beginning; line ends as they are."""
        return io.TextIOWrapper(self.path.open("rb", buffering=CHUNK), self.encoding, self.errors, newline="")

    def lines(self) -> Iterator[str]:
        """Its lines with their ends, without NUL characters."""
        with self.open() as stream:
            if self.nuls:
                yield from (line.replace("\x00", "") for line in stream)
            else:
                yield from stream

    def head(self, characters: int = 200_000) -> str:
        """The text's beginning, without NUL characters."""
        with self.open() as stream:
            return stream.read(characters).replace("\x00", "")


def look_through(path: Path, name: str, encoding: str | None = None) -> Text:
    """Find the encoding and check the whole file against it, a chunk at a time.

    Raises EstateError `not_a_table, unreadable_file, too_large, empty_file`.
    """
    with path.open("rb") as stream:
        head = stream.read(65_536)
    found = encoding or _encoding_of_mark(head) or _encoding_of_zeros(head, name)
    text = Text(path, name, found or "utf-8")
    try:
        _check(text)
    except UnicodeDecodeError as error:
        if found is not None:
            raise EstateError(
                "unreadable_file",
                f"{name} is not {found} throughout; it breaks at byte {error.start:,}. Name its encoding in"
                " import_options.encoding.",
                file=name,
            ) from error
        _settle_for_less(text)
        _check(text)
    if text.nuls:
        told = f"{name} holds {text.nuls} NUL characters; they were left out."
        text.warnings.append(Warned("nul_removed", told))
    return text


def _encoding_of_mark(head: bytes) -> str | None:
    marks = (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    )
    return next((encoding for mark, encoding in marks if head.startswith(mark)), None)


def _encoding_of_zeros(head: bytes, name: str) -> str | None:
    """UTF-16 without a mark by its zero bytes. Raises EstateError for what is no text."""
    head = head[:4000]
    binary = EstateError("not_a_table", f"{name} holds binary data, not a table; {TABLE_INSTEAD}.", file=name)
    if head.count(0) > len(head) // 5:
        encoding = "utf-16-le" if head[1::2].count(0) > head[0::2].count(0) else "utf-16-be"
        text = head[: len(head) // 2 * 2].decode(encoding, "replace")[:2000]
        if sum(character.isprintable() or character in "\r\n\t" for character in text) > 0.95 * len(text):
            return encoding
        raise binary
    controls = sum(1 for byte in head if byte < 32 and byte not in {0, 9, 10, 12, 13})
    if controls > max(2, len(head) // 100):
        raise binary
    return None


def _check(text: Text) -> None:
    """Decode all of it; count what is odd. Raises UnicodeDecodeError with the place in the file, EstateError."""
    decoder = codecs.getincrementaldecoder(text.encoding)(text.errors)
    text.nuls, text.spaced_quotes = 0, False
    at, run, before, seen = 0, 0, "", False
    patterns = [f'{delimiter} "' for delimiter in DELIMITERS]
    with text.path.open("rb") as stream:
        while True:
            data = stream.read(CHUNK)
            try:
                chunk = decoder.decode(data, not data)
            except UnicodeDecodeError as error:
                error.start += at - (len(error.object) - len(data))
                raise
            at += len(data)
            seen = seen or not (chunk.isspace() or not chunk)
            text.nuls += chunk.count("\x00")
            joint = before + chunk
            text.spaced_quotes = text.spaced_quotes or any(pattern in joint for pattern in patterns)
            before = chunk[-2:]
            line_end = max(chunk.rfind("\n"), chunk.rfind("\r"))
            run = run + len(chunk) if line_end < 0 else len(chunk) - line_end
            if run > MAX_RECORD_CHARACTERS:
                raise EstateError(
                    "too_large", f"{text.name}: a line has more than {MAX_RECORD_CHARACTERS:,} characters; {AGAIN}.",
                    file=text.name,
                )  # fmt: skip
            if not data:
                break
    if not seen:
        raise EstateError("empty_file", f"{text.name} holds nothing but blanks; {AGAIN}.", file=text.name)


def _settle_for_less(text: Text) -> None:
    """Of a text that is not UTF-8: damaged UTF-8 if most of its other characters are right, else Windows-1252."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    bad = good = lines = first = 0
    with text.path.open("rb") as stream:
        while data := stream.read(CHUNK):
            chunk = decoder.decode(data)
            wrong = chunk.count("\ufffd")
            if wrong and not bad:
                first = lines + chunk.count("\n", 0, chunk.index("\ufffd")) + 1
            bad += wrong
            good += sum(ord(character) > 127 for character in chunk) - wrong if not chunk.isascii() else 0
            lines += chunk.count("\n")
    text.errors = "replace"
    if good > 4 * bad:
        told = f"{bad} characters are not valid UTF-8, first in line {first}."
        text.warnings.append(Warned("encoding_damaged", told, None, first))
        return
    text.encoding = "cp1252"
    text.warnings.append(
        Warned("encoding_guessed", f"{text.name} is not UTF-8; read as Windows-1252.", None, first or None)
    )


# --- rows -------------------------------------------------------------------------------------------------------


class _StrayQuote(Exception):
    """Text follows a closing quotation mark: the file is not strict csv."""

    def __init__(self, row: int) -> None:
        self.row = row


@dataclass(frozen=True, slots=True)
class _Dialect:
    delimiter: str
    skipped: int
    """Lines before the rows: the one that declares the separator."""
    spaced: bool
    wrapped: bool
    """Every line is one quoted cell that holds the row."""
    strict: bool


def read_text(text: Text, options: ImportOptions) -> Workbook:
    """The tables of a csv-like file.

    Raises EstateError `no_header_row, mixed_delimiters, unterminated_quote, cell_too_large, too_large,
    unreadable_file`.
    """
    head = text.head()
    declared = _DECLARED.match(head)
    first = head[declared.end() :] if declared else head
    delimiter = options.delimiter or (declared.group(1) if declared else None)
    wrapped = delimiter_in_cells = None
    if delimiter is None:
        delimiter_in_cells = _delimiter_of_wrapped(first)
        wrapped = delimiter_in_cells is not None
        delimiter = delimiter_in_cells or find_delimiter(first)
        if not wrapped:
            _refuse_mixed(first, delimiter, text.name, 1 if declared else 0)
    for strict in (True, False):
        warnings = list(text.warnings)
        if wrapped:
            warnings.append(
                Warned("lines_wrapped_in_quotes", f"every line of {text.name} is wrapped in quotation marks.")
            )
        dialect = _Dialect(delimiter, 1 if declared else 0, text.spaced_quotes, bool(wrapped), strict)
        try:
            tables = _tables(text, dialect, options, warnings)
        except _StrayQuote as stray:
            told = f"{text.name}, row {stray.row}: text follows a closing quotation mark."
            text.warnings.append(Warned("stray_quote", told, None, stray.row))
            continue
        return Workbook(text.name, "tsv" if delimiter == "\t" else "csv", tables, warnings, text.encoding)
    raise AssertionError("unreachable")


def _tables(text: Text, dialect: _Dialect, options: ImportOptions, warnings: list[Warned]) -> list[Table]:
    rows = _rows(text, dialect)
    sheet = Sheet(
        text.name,
        None,
        rows,
        shifts=True,
        options=options,
        read_as={"encoding": text.encoding, "delimiter": dialect.delimiter},
        delimiter=dialect.delimiter,
    )
    tables = tables_of(sheet, warnings)
    if not tables:
        raise EstateError(
            "no_header_row",
            f"{text.name}: no row with column names was found in the first {SEARCH_ROWS} rows; say where it is in"
            " import_options.header_row (0 if there is none).",
            file=text.name,
        )
    [name, *others] = tables[0].names
    if not others and sum(word in HEADER_WORDS for word in name_words(name)) >= 3:
        told = f"{text.name} has a single column, {name[:80]}; if there are several, name import_options.delimiter."
        warnings.append(Warned("one_column", told))
    return tables


def _rows(text: Text, dialect: _Dialect) -> Iterator[Row]:
    """The rows with their numbers; a row may go over several lines. Raises EstateError, _StrayQuote."""
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    number = dialect.skipped
    lines = _with_end(text.lines(), dialect.skipped)
    reader = csv.reader(lines, delimiter=dialect.delimiter, skipinitialspace=dialect.spaced, strict=dialect.strict)
    source: Iterable[list[str]] = _unwrapped(lines, dialect) if dialect.wrapped else reader
    ended = False
    line = width = 0
    try:
        for cells in source:
            if len(cells) == 1 and cells[0] == _SENTINEL:
                ended = True
                break
            number += 1
            if len(cells) > MAX_COLUMNS:
                raise EstateError(
                    "too_large",
                    f"{text.name}, row {number}: more than {MAX_COLUMNS:,} columns; {DIVIDE}.",
                    file=text.name,
                    row=number,
                )
            width = width or len(cells)
            if not dialect.strict and reader.line_num > line + 1 and _swallows(cells, dialect.delimiter, width):
                raise _unterminated(text.name, number)
            line = reader.line_num
            yield number, cells  # type: ignore[misc]
    except csv.Error as error:
        raise _csv_error(error, text.name, number + 1, dialect) from error
    except UnicodeError as error:
        raise EstateError(
            "unreadable_file", f"{text.name}, row {number + 1}: {error}; {AGAIN}.", file=text.name, row=number + 1
        ) from error
    if not ended:
        raise _unterminated(text.name, number)


def _with_end(lines: Iterator[str], skipped: int) -> Iterator[str]:
    """The lines, and one more that comes out alone unless a quotation mark is still open."""
    for _ in range(skipped):
        next(lines, None)
    yield from lines
    yield _SENTINEL


def _unwrapped(lines: Iterator[str], dialect: _Dialect) -> Iterator[list[str]]:
    """Each line is one quoted cell; what it holds is the row."""
    outer = csv.reader(lines, delimiter="\x1f", strict=dialect.strict)
    inner = (cells[0] if cells else "" for cells in outer)
    return iter(csv.reader(inner, delimiter=dialect.delimiter, skipinitialspace=dialect.spaced, strict=dialect.strict))


def _swallows(cells: Sequence[str], delimiter: str, width: int) -> bool:
    """True if a cell holds whole lines of the file: a quotation mark opened where none was meant."""
    if width < 3:
        return False
    return any(
        line.count(delimiter) >= width - 1
        for cell in cells
        if "\n" in cell or "\r" in cell
        for line in cell.splitlines()[1:]
    )


def _unterminated(name: str, row: int) -> EstateError:
    return EstateError(
        "unterminated_quote",
        f"{name}, row {row}: a quotation mark opens there and is never closed; {CHECK_QUOTES}.",
        file=name,
        row=row,
    )


def _csv_error(error: csv.Error, name: str, row: int, dialect: _Dialect) -> Exception:
    if "field larger" in str(error):
        return EstateError(
            "cell_too_large",
            f"{name}, row {row}: a cell holds more than {MAX_CELL_CHARACTERS:,} characters"
            f" (often a quotation mark that is never closed); {CHECK_QUOTES}.",
            file=name,
            row=row,
        )
    if "unexpected end" in str(error):
        return _unterminated(name, row)
    if dialect.strict:
        return _StrayQuote(row)
    return EstateError("unreadable_file", f"{name}, row {row}: {error}; {AGAIN}.", file=name, row=row)


# --- the delimiter ------------------------------------------------------------------------------------------------


def _sample(text: str) -> list[str]:
    lines = [line for line in text.splitlines()[:-1][:200] or [text[:100_000]] if line.strip()]
    return lines[:60]


def find_delimiter(text: str) -> str:
    """The delimiter under which most of the first lines have as many cells as the widest common row."""
    lines = _sample(text)
    best, best_score = ",", 0.0
    for candidate in DELIMITERS:
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


def _delimiter_of_wrapped(text: str) -> str | None:
    """The delimiter inside of lines that are each one quoted cell; None if they are not."""
    lines = _sample(text)
    if len(lines) < 2 or not all(line.startswith('"') and line.rstrip().endswith('"') for line in lines):
        return None
    try:
        outer = list(csv.reader(lines, delimiter="\x1f", strict=True))
    except csv.Error:
        return None
    if any(len(cells) != 1 for cells in outer):
        return None
    inner = [cells[0] for cells in outer]
    delimiter = find_delimiter("\n".join(inner) + "\n")
    widths = {len(row) for row in csv.reader(inner, delimiter=delimiter)}
    return delimiter if len(widths) == 1 and widths.pop() > 1 else None


def _refuse_mixed(text: str, delimiter: str, name: str, skipped: int) -> None:
    """Raise EstateError if the first row is divided by one sign and the rows below by another."""
    lines = _sample(text)
    split = _splitter(delimiter)
    widths = Counter(len(split(line)) for line in lines[1:])
    if not widths:
        return
    width = widths.most_common(1)[0][0]
    if width < 2 and len(lines) > 1:
        return
    for number, line in enumerate(lines[:5], 1 + skipped):
        cells = split(line)
        if len(cells) >= max(2, width * 0.5):
            return
        if is_remark(list(cells), width):
            continue
        for other in DELIMITERS:
            apart = _splitter(other)(line)
            if other == delimiter or len(apart) < 2 or len(apart) < width - 1:
                continue
            if any(looks_like_data(cell) or blank(cell) for cell in apart):
                continue
            raise EstateError(
                "mixed_delimiters",
                f"{name}: row {number} is divided by {other!r} and the rows below by {delimiter!r}; save the file with"
                " one delimiter, or name it in import_options.delimiter.",
                file=name,
                row=number,
            )


def _splitter(delimiter: str) -> Callable[[str], list[Cell]]:
    def split(line: str) -> list[Cell]:
        try:
            return [cell for row in csv.reader([line], delimiter=delimiter, skipinitialspace=True) for cell in row]
        except csv.Error:
            return [line]

    return split
