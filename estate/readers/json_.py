"""JSON: lists of records wherever they are in the document, read record by record; and one record per line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from math import isfinite
from pathlib import Path
from typing import Any

from estate.errors import EstateError
from estate.options import ImportOptions
from estate.readers import beside
from estate.readers.layout import Sheet, tables_of
from estate.readers.limits import MAX_DEPTH, MAX_RECORD_CHARACTERS, MAX_TABLES
from estate.readers.records import Records
from estate.readers.remedies import AGAIN, DIVIDE, FLATTER
from estate.readers.text import Text, look_through
from estate.tables import Cell, SetAside, Table, Warned, Workbook

_SPACE = re.compile(r"[ \t\r\n\ufeff]*")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_LONE = re.compile("[\ud800-\udfff]")
CHUNK = 1 << 18
MOST_OUTSIDE = 100
"""Values beside the records that are kept."""
SAME_LISTS = 3
"""From so many objects side by side with the same list in them, they are records themselves."""


def read_json(path: Path, name: str, options: ImportOptions) -> Workbook:
    """The tables of a JSON or ndjson file.

    A list of objects is a table; its name is the path to it, None where the file holds only one. `record_path` of
    the options names the list (or an object whose members are the records) instead.
    Raises EstateError `unreadable_file, not_a_table, too_large, too_deep, cell_too_large`.
    """
    text = look_through(path, name, options.encoding)
    reader = _Reader(text, options)
    try:
        lines = options.record_path is None and _is_lines(text, name)
        tables = reader.lines() if lines else reader.document()
    except RecursionError as error:
        raise EstateError("too_deep", f"{name} is nested too deeply to be read; {FLATTER}.", file=name) from error
    for table in tables:
        beside.tell(table, options.table(*filter(None, (table.sheet, name, name.rsplit("/", 1)[-1]))))
    return Workbook(name, "ndjson" if lines else "json", tables, [*text.warnings, *reader.warnings], text.encoding)


def _is_lines(text: Text, name: str) -> bool:
    """True if every line is an object of its own: the first one is whole, and more follow, or the file is called so."""
    found = []
    for line in text.lines():
        if line.strip("\ufeff \t\r\n"):
            found.append(line.strip("\ufeff \t\r\n"))
        if len(found) == 2:
            break
    if not found or not found[0].startswith("{"):
        return False
    try:
        first = json.loads(found[0])
    except ValueError:
        return False
    called_so = name.lower().endswith((".ndjson", ".jsonl"))
    return isinstance(first, dict) and (called_so or (len(found) > 1 and found[1].startswith("{")))


class _Reader:
    def __init__(self, text: Text, options: ImportOptions) -> None:
        self.warnings: list[Warned] = []
        self._text = text
        self._name = text.name
        self._options = options
        self._path = tuple(options.record_path.split(".")) if options.record_path else None
        self._decoder = json.JSONDecoder(object_pairs_hook=self._object)
        self._repeated = 0
        self._damaged = 0
        self._found: dict[str, Records | list[list[Cell]]] = {}
        self._outside: list[tuple[str, Any]] = []

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """An object; a key that it repeats is kept under another name."""
        made = dict(pairs)
        if len(made) == len(pairs):
            return made
        self._repeated += 1
        again: dict[str, Any] = {}
        counts: dict[str, int] = {}
        for key, value in pairs:
            name = key
            while name in again:
                counts[key] = counts.get(key, 1) + 1
                name = f"{key} ({counts[key]})"
            again[name] = value
        return again

    def _mended(self, value: Any) -> Any:
        """The value without halves of characters."""
        if isinstance(value, str):
            if _LONE.search(value):
                self._damaged += 1
                return _LONE.sub("\ufffd", value)
            return value
        if isinstance(value, dict):
            return {self._mended(key): self._mended(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self._mended(one) for one in value]
        return value

    def _notes(self) -> None:
        if self._repeated:
            told = f"{self._repeated} objects hold a key twice; the second is kept as `key (2)`."
            self.warnings.append(Warned("duplicate_key", told))
        if self._damaged:
            told = f"{self._damaged} texts hold halves of characters; each half was replaced by U+FFFD."
            self.warnings.append(Warned("encoding_damaged", told))

    # --- one object per line ---------------------------------------------------------------------------------------

    def lines(self) -> list[Table]:
        """The table of a file with an object on every line; its row numbers are those of the lines."""
        records = Records(self._name, "", self.warnings)
        number = 0
        for number, line in enumerate(self._text.lines(), 1):
            bare = line.strip("\ufeff \t\r\n")
            if not bare:
                continue
            try:
                value = self._decoder.decode(bare)
            except ValueError as error:
                told = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                records.put_aside(number, "not_a_record", f"is not JSON: {told[:100]}", [bare[:1000]])
                continue
            if not isinstance(value, dict):
                records.put_aside(number, "not_a_record", "is no JSON object", [bare[:1000]])
                continue
            records.add(number, self._mended(value) if _SURROGATE.search(bare) else value)
        wrong = [row for row in records.set_aside if row.reason == "not_a_record"]
        if len(wrong) > len(records):
            raise EstateError(
                "unreadable_file", f"{self._name}: {len(wrong)} of its lines are no JSON objects, first line"
                f" {wrong[0].row}; {AGAIN}.", file=self._name, row=wrong[0].row,
            )  # fmt: skip
        if wrong:
            told = f"{len(wrong)} lines are no JSON objects; they were set aside."
            self.warnings.append(Warned("broken_lines", told, None, wrong[0].row))
        self._notes()
        return records.tables(None, {"encoding": self._text.encoding})

    # --- a document --------------------------------------------------------------------------------------------------

    def document(self) -> list[Table]:
        """The tables of a document."""
        with self._text.open() as stream:
            source = _Source(stream, self._name, self._decoder, self._text.nuls > 0)
            self._walk(source, ())
            if source.peek():
                raise source.broken("more follows its end")
        self._notes()
        self._refuse_maps()
        if not self._found:
            where = f" at {self._options.record_path}" if self._path else ""
            raise EstateError(
                "not_a_table",
                f"{self._name} holds no list of records{where}; say where they are in import_options.record_path.",
                file=self._name,
            )
        tables: list[Table] = []
        for path, found in self._found.items():
            sheet = path if len(self._found) > 1 and path else None
            if isinstance(found, Records):
                tables.extend(found.tables(sheet, {"encoding": self._text.encoding}))
            else:
                rows = Sheet(self._name, sheet, enumerate(found, 1), shifts=False, options=self._options)
                tables.extend(tables_of(rows, self.warnings))
        if not tables:
            raise EstateError(
                "no_header_row", f"{self._name}: no row with column names was found; {FLATTER}.", file=self._name
            )
        for key, value in self._outside:
            cells: list[Cell] = [key, _plain_cell(value)]
            tables[0].set_aside.append(SetAside(0, "outside_records", f"{key} stands beside the records", cells))
        return tables

    def _refuse_maps(self) -> None:
        """Lists of the same name in many objects side by side: those objects are the records."""
        seen: dict[tuple[str, str], int] = {}
        for path in self._found:
            parts = path.split(".")
            if len(parts) >= 2:
                place = (".".join(parts[:-2]), parts[-1])
                seen[place] = seen.get(place, 0) + 1
        for (above, last), count in seen.items():
            if count >= SAME_LISTS:
                told = above or "the document"
                raise EstateError(
                    "not_a_table",
                    f"{self._name}: {count} objects in {told} each hold a list {last}; if they are the records, say so"
                    " with import_options.record_path.",
                    file=self._name,
                )

    def _walk(self, source: _Source, path: tuple[str, ...]) -> None:
        if len(path) > MAX_DEPTH:
            raise EstateError("too_deep", f"{self._name} is nested too deeply to be read; {FLATTER}.", file=self._name)
        here = source.peek()
        wanted = self._path
        if wanted is not None and path == wanted:
            self._at_path(source, path, here)
        elif here == "{":
            source.take()
            for key in source.members():
                self._walk(source, (*path, key))
        elif here == "[" and (wanted is None or len(path) < len(wanted)):
            source.take()
            inner = source.peek()
            if wanted is None and inner in {"{", "["}:
                self._list(source, path, inner)
            else:
                for _ in source.elements():
                    pass
        else:
            value = source.value()
            plain = not isinstance(value, list | dict) and value is not None
            if plain and path and len(self._outside) < MOST_OUTSIDE:
                self._outside.append((".".join(path)[:200], value))

    def _at_path(self, source: _Source, path: tuple[str, ...], here: str) -> None:
        if here == "[":
            source.take()
            self._list(source, path, source.peek())
            return
        if here != "{":
            raise EstateError(
                "not_a_table",
                f"{self._name}: at {'.'.join(path)} is neither a list nor an object; name the records in"
                " import_options.record_path.",
                file=self._name,
            )
        source.take()
        records = self._records(path)
        for number, key in enumerate(source.members(), 1):
            value = source.value()
            if isinstance(value, dict):
                own = "key" if "key" not in value else "record key"
                records.add(number, self._clean(source, {own: key, **value}))
            elif len(self._outside) < MOST_OUTSIDE:
                self._outside.append((key[:200], value))

    def _clean(self, source: _Source, value: Any) -> Any:
        return self._mended(value) if source.surrogates else value

    def _records(self, path: tuple[str, ...]) -> Records:
        if len(self._found) >= MAX_TABLES:
            raise EstateError(
                "too_large", f"{self._name}: more than {MAX_TABLES} lists of records; {DIVIDE}.", file=self._name
            )
        name = ".".join(path)
        while name in self._found:
            name += " (2)"
        made = Records(self._name, name, self.warnings)
        self._found[name] = made
        return made

    def _list(self, source: _Source, path: tuple[str, ...], inner: str) -> None:
        """The elements of a list whose first one begins with `inner`."""
        if inner == "[":
            self._grid(source, path)
            return
        records = self._records(path)
        for number, value in enumerate(source.elements(), 1):
            if isinstance(value, dict):
                records.add(number, self._clean(source, value))
            else:
                told = json.dumps(value)[:1000]
                records.put_aside(number, "not_a_record", "stands among records and is none", [told])

    def _grid(self, source: _Source, path: tuple[str, ...]) -> None:
        """A list of lists: rows as of a sheet."""
        rows: list[list[Cell]] = []
        size = 0
        for number, value in enumerate(source.elements(), 1):
            cells = value if isinstance(value, list) else [value]
            size += len(cells)
            if size > 5_000_000:
                raise EstateError(
                    "too_large", f"{self._name}, row {number}: a list of lists is too large; save it as csv and upload that.",
                    file=self._name, row=number,
                )  # fmt: skip
            rows.append([_plain_cell(self._clean(source, one)) for one in cells])
        if rows:
            self._found[".".join(path)] = rows


def _plain_cell(value: Any) -> Cell:
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value or None if isinstance(value, str) else value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else str(value)
    return value if isinstance(value, float) and isfinite(value) else None


class _Source:
    """Text of JSON, taken piece by piece."""

    def __init__(self, stream: Any, name: str, decoder: json.JSONDecoder, nuls: bool) -> None:
        self._stream = stream
        self._name = name
        self._scan: Callable[[str, int], tuple[Any, int]] = decoder.scan_once  # type: ignore[attr-defined]
        self._nuls = nuls
        self._text = ""
        self._at = 0
        self._lines = 0
        self._ended = False
        self.surrogates = False

    def _more(self, size: int = CHUNK) -> bool:
        """Read on; what was taken is let go."""
        if self._ended:
            return False
        piece = self._stream.read(size)
        if not piece:
            self._ended = True
            return False
        if self._nuls:
            piece = piece.replace("\x00", "")
        self._lines += self._text.count("\n", 0, self._at)
        self._text = self._text[self._at :] + piece
        self._at = 0
        self.surrogates = self.surrogates or bool(_SURROGATE.search(self._text))
        return True

    def broken(self, what: str, at: int | None = None) -> EstateError:
        """The refusal of text that is not JSON."""
        place = self._at if at is None else at
        line = self._lines + self._text.count("\n", 0, place) + 1
        return EstateError(
            "unreadable_file",
            f"{self._name} cannot be read as JSON: line {line}: {what[:200]}; {AGAIN}.",
            file=self._name,
        )

    def peek(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self) -> None:
        """Step over one character."""
        self._at += 1

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        size = CHUNK
        while True:
            try:
                value, end = self._scan(self._text, self._at)
                if end < len(self._text) or not self._more(size):
                    self._at = min(end, len(self._text))
                    return value
                continue
            except StopIteration as error:
                at, what = int(error.value), "a value is expected"
            except json.JSONDecodeError as error:
                at, what = error.pos, error.msg[:1].lower() + error.msg[1:]
            except ValueError as error:
                raise self.broken(str(error)) from error
            certain = at < len(self._text) - 32 and not what.startswith("unterminated string")
            if certain or len(self._text) - self._at > MAX_RECORD_CHARACTERS:
                if not certain:
                    raise EstateError(
                        "too_large",
                        f"{self._name}: a record has more than {MAX_RECORD_CHARACTERS:,} characters; {DIVIDE}.",
                        file=self._name,
                    )
                raise self.broken(what, at)
            size = max(CHUNK, len(self._text) - self._at)
            if not self._more(size):
                raise self.broken(what, min(at, len(self._text)))

    def members(self) -> Iterator[str]:
        """The keys of an object that has begun; the caller takes each value before it asks for the next key."""
        if self.peek() == "}":
            self._at += 1
            return
        while True:
            if self.peek() != '"':
                raise self.broken("a key is expected")
            key = self.value()
            if self.peek() != ":":
                raise self.broken("a colon is expected")
            self._at += 1
            yield _LONE.sub("\ufffd", key)
            if not self._goes_on("}"):
                return

    def elements(self) -> Iterator[Any]:
        """The values of a list that has begun."""
        if self.peek() == "]":
            self._at += 1
            return
        while True:
            yield self.value()
            if not self._goes_on("]"):
                return

    def _goes_on(self, closing: str) -> bool:
        here = self.peek()
        if here not in {",", closing}:
            raise self.broken(f"a comma or {closing} is expected" if here else "it ends too early")
        self._at += 1
        return here == ","
