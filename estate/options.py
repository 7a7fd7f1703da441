"""What a caller may say about how a file is to be read, where it is not to be guessed."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from estate.errors import EstateError
from estate.roles import IGNORED, USED

ENCODINGS = re.compile(
    r"(utf[-_]?(8([-_]sig)?|16([-_]?[lb]e)?|32([-_]?[lb]e)?)|us[-_]?ascii|latin[-_]?1|iso[-_]?8859[-_]\d{1,2}"
    r"|(windows[-_]?|cp)\d{3,4}|mac[-_]roman|shift[-_]?jis|euc[-_](jp|kr)|big5|gb18030|gbk|koi8[-_][ru])",
    re.IGNORECASE,
)
DECIMALS = (",", ".")
THOUSANDS = (",", ".", " ", "'")
DATE_ORDERS = ("dmy", "mdy", "ymd")
MOST_NAMES = 500


@dataclass(frozen=True, slots=True)
class TableOptions:
    """How one table is to be read; None (or nothing in `units`) leaves it to the reader.

    `header_row` is a row number as a spreadsheet shows it, several numbers for a header in stacked rows, 0 for none.
    """

    header_row: int | tuple[int, ...] | None = None
    first_row: int | None = None
    last_row: int | None = None
    decimal: str | None = None
    thousands: str | None = None
    date_order: str | None = None
    kind: str | None = None
    role: str | None = None
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How a file is to be read; every member may be left out. `tables` speaks of one sheet or table by its name."""

    encoding: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    date_order: str | None = None
    header_row: int | tuple[int, ...] | None = None
    first_row: int | None = None
    last_row: int | None = None
    sheets: tuple[str, ...] = ()
    skip_sheets: tuple[str, ...] = ()
    tables: Mapping[str, TableOptions] = field(default_factory=dict)
    record_path: str | None = None
    kind: str | None = None

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> ImportOptions:
        """Options from JSON. Raises EstateError `import_options_invalid` naming the member that is wrong."""
        known = {one.name for one in fields(cls)}
        _only(value, known, "")
        made = {name: _CHECKS[name](given, name) for name, given in value.items() if given is not None}
        options = cls(**made)
        _apart(options.decimal, options.thousands, "")
        _in_order(options.first_row, options.last_row, "")
        return options

    def as_dict(self) -> dict[str, Any]:
        """The members that say something, as JSON knows them; the inverse of `of`."""
        said = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "tables"}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}
        made = {name: value for name, value in plain.items() if value not in (None, [])}
        if self.tables:
            made["tables"] = {name: _table_dict(options) for name, options in self.tables.items()}
        return made

    def table(self, *names: str) -> TableOptions:
        """What holds for the table of these names: its own word first, then the file's."""
        whole = TableOptions(
            self.header_row, self.first_row, self.last_row, self.decimal, self.thousands, self.date_order, self.kind
        )
        for name in names:
            own = self.tables.get(name)
            if own is not None:
                return replace(whole, **{key: value for key, value in _said(own).items() if value is not None})
        return whole

    def wants(self, sheet: str) -> bool:
        """True if the sheet is to be read."""
        return (not self.sheets or sheet in self.sheets) and sheet not in self.skip_sheets


NOTHING = ImportOptions()


def _said(options: TableOptions) -> dict[str, Any]:
    said = {one.name: getattr(options, one.name) for one in fields(options)}
    if not said["units"]:
        said["units"] = None
    return said


def _table_dict(options: TableOptions) -> dict[str, Any]:
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in _said(options).items()}
    return {name: dict(value) if name == "units" else value for name, value in plain.items() if value is not None}


def _refuse(member: str, must: str) -> EstateError:
    return EstateError("import_options_invalid", f"import_options.{member} {must}.")


def _only(value: Any, known: set[str], inside: str) -> None:
    if not isinstance(value, Mapping):
        raise (
            _refuse(inside.rstrip("."), "must be an object")
            if inside
            else EstateError("import_options_invalid", "import_options must be an object.")
        )
    for name in value:
        if name not in known:
            raise _refuse(f"{inside}{str(name)[:80]}", f"is not known; known are {', '.join(sorted(known))}")


def _apart(decimal: str | None, thousands: str | None, inside: str) -> None:
    if decimal is not None and decimal == thousands:
        raise _refuse(f"{inside}thousands", "must differ from decimal")


def _in_order(first: int | None, last: int | None, inside: str) -> None:
    if first is not None and last is not None and last < first:
        raise _refuse(f"{inside}last_row", "must not be smaller than first_row")


def _text(value: Any, member: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 500:
        raise _refuse(member, "must be a text of 1 to 500 characters")
    return value


def _encoding(value: Any, member: str) -> str:
    name = _text(value, member)
    try:
        known = bool(ENCODINGS.fullmatch(name)) and bool(codecs.lookup(name))
    except LookupError:
        known = False
    if not known:
        raise _refuse(member, "must name a text encoding, such as utf-8, utf-16, windows-1252 or iso-8859-1")
    return name


def _delimiter(value: Any, member: str) -> str:
    value = {"tab": "\t", "\\t": "\t"}.get(value, value) if isinstance(value, str) else value
    if not isinstance(value, str) or len(value) != 1 or value in '"\r\n\x00' or value.isalnum():
        raise _refuse(member, "must be one character that divides cells, such as a comma, semicolon, tab or bar")
    return value


def _one_of(*allowed: str) -> Any:
    def check(value: Any, member: str) -> str:
        if value not in allowed:
            raise _refuse(member, f"must be one of {', '.join(repr(one) for one in allowed)}")
        return str(value)

    return check


def _row(value: Any, member: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 2**31:
        raise _refuse(member, "must be a row number, counted from 1")
    return value


def _header(value: Any, member: str) -> int | tuple[int, ...]:
    if isinstance(value, list | tuple):
        rows = tuple(_row(one, member) for one in value)
        if not 1 <= len(rows) <= 5 or list(rows) != sorted(set(rows)):
            raise _refuse(member, "must list one to five row numbers, each once and in order")
        return rows if len(rows) > 1 else rows[0]
    if value == 0 and not isinstance(value, bool):
        return 0
    try:
        return _row(value, member)
    except EstateError:
        raise _refuse(member, "must be a row number from 1, a list of them (stacked header) or 0 (no header)") from None


def _names(value: Any, member: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or len(value) > MOST_NAMES:
        raise _refuse(member, f"must be a list of at most {MOST_NAMES} names")
    return tuple(_text(one, member) for one in value)


def _units(value: Any, member: str) -> dict[str, str]:
    if not isinstance(value, Mapping) or len(value) > MOST_NAMES:
        raise _refuse(member, f"must be an object of at most {MOST_NAMES} units by column")
    return {_text(column, member): _text(unit, f"{member}.{str(column)[:80]}") for column, unit in value.items()}


def _tables(value: Any, member: str) -> dict[str, TableOptions]:
    if not isinstance(value, Mapping) or len(value) > MOST_NAMES:
        raise _refuse(member, f"must be an object of at most {MOST_NAMES} tables by name")
    made = {}
    for name, given in value.items():
        inside = f"{member}.{str(name)[:80]}."
        _only(given, set(_TABLE_CHECKS), inside)
        said = {key: _TABLE_CHECKS[key](one, inside + key) for key, one in given.items() if one is not None}
        made[_text(name, member)] = TableOptions(**said)
        _apart(made[name].decimal, made[name].thousands, inside)
        _in_order(made[name].first_row, made[name].last_row, inside)
    return made


_TABLE_CHECKS: dict[str, Any] = {
    "header_row": _header,
    "first_row": _row,
    "last_row": _row,
    "decimal": _one_of(*DECIMALS),
    "thousands": _one_of(*THOUSANDS),
    "date_order": _one_of(*DATE_ORDERS),
    "kind": _text,
    "role": _one_of(*USED, IGNORED),
    "units": _units,
}
_CHECKS: dict[str, Any] = {
    **{name: check for name, check in _TABLE_CHECKS.items() if name not in {"role", "units"}},
    "encoding": _encoding,
    "delimiter": _delimiter,
    "sheets": _names,
    "skip_sheets": _names,
    "tables": _tables,
    "record_path": _text,
}
