"""A plain-SQL dump of PostgreSQL, read without a server: its `COPY` blocks and its `INSERT` statements."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from domain.errors import MfoError

Values = dict[str, str | None]

CUSTOM = b"PGDMP"
GZIP = b"\x1f\x8b"
NAME = r'(?:"?\w+"?\.)?"?(\w+)"?'
COPY = re.compile(rf"^COPY {NAME} \((.*)\) FROM stdin;\s*$", re.IGNORECASE)
TABLE = re.compile(rf"^CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?{NAME} \(\s*$", re.IGNORECASE)
INSERT = re.compile(rf"^INSERT INTO {NAME}(?: \(([^)]*)\))?(?: OVERRIDING \w+ VALUE)? VALUES\s*", re.IGNORECASE)
COLUMN = re.compile(r'^\s+"?(\w+)"? ')
CONSTRAINTS = frozenset({"constraint", "primary", "unique", "foreign", "check", "exclude", "like"})
CAST = r"(?:::[\w ]+(?:\(\d+(?:,\d+)?\))?(?:\[\])?)?"
VALUE = re.compile(rf"\s*(?:'((?:[^']|'')*)'|E'((?:[^'\\]|''|\\.)*)'|([\w.+-]+)){CAST}\s*([,)])", re.DOTALL)
ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
ESCAPED = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|u[0-9A-Fa-f]{4}|.)", re.DOTALL)


class SourceUnreadable(MfoError):
    """The older system's data cannot be read; name its database, or a dump made with pg_dump --format=plain."""

    code = "legacy_source_unreadable"
    status = 422


class DumpRow(NamedTuple):
    """A row of a table as it stands in a dump: every value as PostgreSQL writes it, none for NULL."""

    table: str
    values: Values


def rows(file: Path, wanted: Collection[str]) -> Iterator[DumpRow]:
    """The rows of the wanted tables, in the order of the file; raises SourceUnreadable, naming the line.

    Bytes that are not UTF-8 are kept as lone surrogates, for whoever reads the value to refuse.
    """
    try:
        with file.open("rb") as beginning:
            magic = beginning.read(5)
        if magic == CUSTOM:
            raise SourceUnreadable(f"{file} is a dump in custom format; make it anew with pg_dump --format=plain")
        if magic[:2] == GZIP:
            raise SourceUnreadable(f"{file} is compressed; unpack it first")
        with file.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
            yield from _Reader(file, lines, {name.lower() for name in wanted}).rows()
    except OSError as error:
        raise SourceUnreadable(f"{file} cannot be read: {error.strerror}") from None


class _Reader:
    def __init__(self, file: Path, lines: Iterator[str], wanted: Collection[str]) -> None:
        self._file = file
        self._lines = lines
        self._wanted = wanted
        self._columns: dict[str, list[str]] = {}
        self._line = 0

    def rows(self) -> Iterator[DumpRow]:
        known = False
        while (line := self._next()) is not None:
            if copy := COPY.match(line):
                known = True
                yield from self._copied(copy[1].lower(), _names(copy[2]))
            elif table := TABLE.match(line):
                known = True
                self._columns[table[1].lower()] = self._declared()
            elif insert := INSERT.match(line):
                known = True
                name = insert[1].lower()
                columns = _names(insert[2]) if insert[2] else self._columns.get(name)
                yield from self._inserted(name, columns, line, insert.end())
        if not known:
            raise SourceUnreadable(f"{self._file} holds no table of a plain-SQL dump")

    def _next(self) -> str | None:
        line = next(self._lines, None)
        self._line += line is not None
        return line

    def _broken(self, what: str) -> SourceUnreadable:
        return SourceUnreadable(f"{self._file}, line {self._line}: {what}; the dump is damaged or not whole")

    def _declared(self) -> list[str]:
        """The columns of a table, in order."""
        names: list[str] = []
        while (line := self._next()) is not None and not line.startswith(")"):
            column = COLUMN.match(line)
            if column is not None and column[1].lower() not in CONSTRAINTS:
                names.append(column[1].lower())
        return names

    def _copied(self, table: str, columns: list[str]) -> Iterator[DumpRow]:
        while (line := self._next()) is not None:
            if line.rstrip("\r\n") == "\\.":
                return
            if not line.endswith("\n"):
                break
            if table not in self._wanted:
                continue
            cells = line[:-1].split("\t")
            if len(cells) != len(columns):
                raise self._broken(f"a row of {table} has {len(cells)} values for {len(columns)} columns")
            values = (None if cell == "\\N" else _unescaped(cell) for cell in cells)
            yield DumpRow(table, dict(zip(columns, values, strict=True)))
        raise self._broken(f"the rows of {table} have no end")

    def _inserted(self, table: str, columns: list[str] | None, line: str, at: int) -> Iterator[DumpRow]:
        """The rows of one INSERT, which may go on over many lines."""
        parts, inside = [line], line.count("'") % 2
        while inside or not parts[-1].rstrip().endswith(";"):
            more = self._next()
            if more is None:
                raise self._broken(f"an INSERT into {table} has no end")
            parts.append(more)
            inside = (inside + more.count("'")) % 2
        if table not in self._wanted:
            return
        if columns is None:
            raise self._broken(f"the columns of {table} are not known: the dump lacks its CREATE TABLE")
        statement = "".join(parts)
        while True:
            while at < len(statement) and statement[at] in " \t\r\n,":
                at += 1
            if statement[at : at + 1] == ";":
                return
            if statement[at : at + 1] != "(":
                raise self._broken(f"an INSERT into {table} is not of the kind that pg_dump writes")
            cells, at = self._tuple(table, statement, at + 1)
            if len(cells) != len(columns):
                raise self._broken(f"a row of {table} has {len(cells)} values for {len(columns)} columns")
            yield DumpRow(table, dict(zip(columns, cells, strict=True)))

    def _tuple(self, table: str, statement: str, at: int) -> tuple[list[str | None], int]:
        cells: list[str | None] = []
        while True:
            value = VALUE.match(statement, at)
            if value is None:
                raise self._broken(f"a value in an INSERT into {table} cannot be read")
            plain, escaped, word, end = value.groups()
            if plain is not None:
                cells.append(plain.replace("''", "'"))
            elif escaped is not None:
                cells.append(_unescaped(escaped.replace("''", "'")))
            else:
                cells.append(None if word.upper() == "NULL" else word)
            at = value.end()
            if end == ")":
                return cells, at


def _names(text: str) -> list[str]:
    return [name.strip().strip('"').lower() for name in text.split(",")]


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text

    def one(found: re.Match[str]) -> str:
        code = found[1]
        if code[0] in "xu" and len(code) > 1:
            return chr(int(code[1:], 16))
        if code[0] in "01234567":
            return chr(int(code, 8))
        return ESCAPES.get(code, code)

    return ESCAPED.sub(one, text)
