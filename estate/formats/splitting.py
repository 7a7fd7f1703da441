"""Tables that hold several: record types of an application import, levels of a code scan, two figures in one cell."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence

from estate.formats.exports import Export
from estate.formats.others import CAST, KONVEYOR_APPLICATIONS, KONVEYOR_DEPENDENCIES
from estate.lexicon import compact
from estate.tables import Cell, Column, SetAside, Table, Warned
from estate.vocabulary import is_placeholder

_SIZE = r"([\d.,]{1,20}\s{0,3}[kmgt]?i?b)"
_PAIR = re.compile(rf"^\s{{0,9}}{_SIZE}\s{{0,3}}/\s{{0,3}}{_SIZE}\s{{0,9}}$", re.IGNORECASE)
APPLICATION_RECORD, DEPENDENCY_RECORD = "1", "2"


def column(table: Table, *names: str) -> Column | None:
    """The first column of one of these names, blanks and capitals aside."""
    wanted = [compact(name) for name in names]
    found = {compact(one.name): one for one in reversed(table.columns)}
    return next((found[name] for name in wanted if name in found), None)


def _named(table: Table, export: Export, what: str) -> Table:
    table.kind, table.role = export.kind, export.role
    table.read_as = {**table.read_as, "table": what}
    return table


def _texts(of: Column | None) -> list[str]:
    """For every place among the distinct cells its text without blanks around it; a whole number without `.0`."""
    if of is None:
        return [""]
    return [
        "" if cell is None else str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()
        for cell in of.distinct
    ]


def _aside(table: Table, rows: Sequence[int], reason: str, message: str) -> list[SetAside]:
    return [
        SetAside(table.numbers[row], reason, message, [one[row] for one in table.columns]) for row in rows
    ]  # fmt: skip


def split_konveyor(table: Table) -> tuple[list[Table], list[Warned]]:
    """Applications (record type 1) and dependencies (2) of an application import as two tables; rows of other record
    types, and rows that name no application, are set aside with the reason.

    Without a column of record types every row is an application, with a warning.
    """
    types = column(table, "Record Type 1", "Record Type")
    names = column(table, "Application Name")
    needs = column(table, "Dependency")
    type_of, name_of, need_of = _texts(types), _texts(names), _texts(needs)
    applications, dependencies = array("I"), array("I")
    aside: list[SetAside] = []
    for row in range(len(table)):
        kind = type_of[types.codes[row]] if types is not None else APPLICATION_RECORD
        named = names is not None and bool(name_of[names.codes[row]])
        if kind not in {APPLICATION_RECORD, DEPENDENCY_RECORD}:
            said = f"{kind!r} is no record type" if kind else "the row says no record type"
            aside += _aside(table, [row], "unknown_record_type", f"{said}; 1 is an application, 2 a dependency.")
        elif not named:
            aside += _aside(table, [row], "no_name", "the row names no application.")
        elif kind == APPLICATION_RECORD:
            applications.append(row)
        elif needs is None or not need_of[needs.codes[row]]:
            aside += _aside(table, [row], "no_dependency", "the row is a dependency and does not say on what.")
        else:
            dependencies.append(row)
    first = _named(table.pick(applications), KONVEYOR_APPLICATIONS, "applications (record type 1)")
    first.set_aside = sorted([*table.set_aside, *aside], key=lambda one: one.row)
    found = [first]
    if dependencies:
        second = _named(table.pick(dependencies), KONVEYOR_DEPENDENCIES, "dependencies (record type 2)")
        second.sheet = f"{table.sheet} (dependencies)" if table.sheet is not None else "dependencies"
        found.append(second)
    if types is not None:
        return found, []
    message = f"{table.place} has no column Record Type; every row is read as an application."
    return found, [Warned("no_record_type", message, table.sheet)]


def split_cast(table: Table) -> list[Table]:
    """The rows that speak of a whole application (`Level` = Application); the analyses of its parts are set aside,
    except of an application that has no row of its own."""
    levels, names = column(table, "Level"), column(table, "Application", "Apps")
    if levels is None or names is None:
        return [_named(table, CAST, "applications")]
    level_of, name_of = [text.lower() for text in _texts(levels)], _texts(names)
    whole = {
        name_of[name] for name, level in zip(names.codes, levels.codes, strict=True) if level_of[level] == "application"
    }
    kept, parts = array("I"), array("I")
    for row, (name, level) in enumerate(zip(names.codes, levels.codes, strict=True)):
        (parts if level_of[level] == "analysis" and name_of[name] in whole else kept).append(row)
    found = _named(table.pick(kept), CAST, "applications")
    message = "the row is the analysis of one technology of an application that has a row of its own."
    found.set_aside = sorted(
        [*table.set_aside, *_aside(table, parts, "analysis_row", message)], key=lambda one: one.row
    )
    return [found]


def split_pairs(table: Table) -> None:
    """A column of cells like `61.2 GiB / 127 GiB` gets two columns beside it, `<name>: used` and `<name>: total`."""
    made: list[Column] = []
    taken = set(table.names)
    for one in table.columns:
        made.append(one)
        some = one.distinct[1:21]
        if not some or not all(isinstance(cell, str) and (_PAIR.match(cell) or is_placeholder(cell)) for cell in some):
            continue
        if not any(isinstance(cell, str) and _PAIR.match(cell) for cell in some):
            continue
        for at, what in ((1, "used"), (2, "total")):
            name = f"{one.name}: {what}"
            if name not in taken:
                parts = [_part(cell, at) for cell in one.distinct]
                made.append(Column.of(name, (parts[code] for code in one.codes)))
                taken.add(name)
    table.columns = made


def _part(cell: Cell, at: int) -> Cell:
    found = _PAIR.match(cell) if isinstance(cell, str) else None
    return found.group(at) if found else None
