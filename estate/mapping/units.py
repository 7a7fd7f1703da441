"""In which unit, with which separators and in which order of day and month a column is written, and why.

Said by the caller, by the cells, by the header, by the tool that wrote it, or told from the magnitude of all values: in
this order. Where two readings are possible the column is doubtful: it is asked about, never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from estate import dates
from estate.lexicon import header_key, unit_in_header, words
from estate.mapping.suggestion import DOUBTFUL, Suggestion
from estate.numbers import FORMATS, GIB, both_readings, lower_median, parse, split_unit, unit_of
from estate.profile import Profile
from estate.roles import DETAIL
from estate.tables import Cell, Column, Table
from estate.targets import (
    DATE_TARGETS,
    IN_VALUE,
    NUMBER_TARGETS,
    PERCENT_TARGETS,
    RATE_TARGETS,
    SIZE_TARGETS,
    TARGETS,
    units_of,
)

ASKS = 0.5
"""Confidence of a column whose reading is doubtful."""
_SMALL_SHARE = 0.02
_KIBI = 1024


def settle(suggestion: Suggestion, profile: Profile, table: Table, *, unit: str | None = None, sure: bool = True,
           date_order: str | None = None, beside: Mapping[tuple[str, ...], Column] | None = None) -> None:  # fmt: skip
    """Set number format, unit, date order and conversion of a suggestion that has a target.

    `unit` and `date_order` are what the tool that wrote the table is known to use; not `sure`: only where the values
    do not contradict it. `beside` are the table's `unit_columns`, where they are known already.
    """
    target = suggestion.target_field
    if target is None or target == "custom_attributes":
        return
    if target in NUMBER_TARGETS:
        _number_format(suggestion, profile, table, unit)
    if target in DATE_TARGETS:
        _date_order(suggestion, profile, table, date_order)
    given = given_unit(table, suggestion.source_field)
    if given is not None:
        _as_given(suggestion, given)
    elif _beside(suggestion, profile, unit_columns(table) if beside is None else beside):
        pass
    elif target == "bytes":
        _bytes(suggestion, profile)
    elif target in SIZE_TARGETS or target in RATE_TARGETS or target in PERCENT_TARGETS:
        _unit(suggestion, profile, unit, sure, table)
    suggestion.conversion = conversion(suggestion)


def doubt(suggestion: Suggestion, sentence: str) -> None:
    """The column must be asked about."""
    suggestion.confidence = min(suggestion.confidence, ASKS)
    suggestion.reason += f"; {sentence}"


def _given(table: Table, member: str) -> str | None:
    """What the caller said of the whole table; what its reader only noticed does not count."""
    return str(table.read_as[member]) if member in table.read_as.get("given", ()) else None


def _number_format(suggestion: Suggestion, profile: Profile, table: Table, known: str | None) -> None:
    """As the caller says; else by the column's own cells; where these can be read either way, in the one way in which they
    can be what the column tells; else as the rest of the file is written, or files with the delimiter are."""
    given = {"decimal": _given(table, "decimal"), "thousands": _given(table, "thousands")}
    found = profile.number_format(**given)
    if any(given.values()) and profile.number_format() != found:
        said = " and ".join(f"{member} {mark}" for member, mark in given.items() if mark is not None)
        suggestion.reason += f"; the import options say {said}"
    if found == DOUBTFUL:
        found, why = _only_reading(suggestion, profile, known)
        suggestion.reason += why
        if found == DOUBTFUL and not why:
            found = _as_the_file(suggestion, profile, table)
    suggestion.number_format = found
    if found == DOUBTFUL:
        example = next(
            (str(cell) for cell, _ in profile.said() if isinstance(cell, str) and ("," in cell or "." in cell)), ""
        )
        doubt(
            suggestion, f"its numbers can be read in two ways ({example}): say decimal or thousands in import_options"
        )


def _as_the_file(suggestion: Suggestion, profile: Profile, table: Table) -> str | None:
    decimal, thousands = table.read_as.get("decimal"), table.read_as.get("thousands")
    if decimal is None and thousands is None:
        return profile.number_format(delimiter=table.delimiter)
    found = profile.number_format(decimal=decimal, thousands=thousands)
    if any(both_readings(cell) is None and _is_number_but_not(cell, found) for cell, _ in profile.looked_at):
        return DOUBTFUL
    said = f"decimal {decimal}" if decimal is not None else f"thousands {thousands}"
    suggestion.reason += f"; its numbers are read as the file's are ({said})"
    return found


def _is_number_but_not(cell: Cell, number_format: str | None) -> bool:
    bare = split_unit(cell)[0]
    return parse(bare, number_format) is None and any(parse(bare, other) is not None for other in (None, *FORMATS))


_POSSIBLE: dict[str, tuple[float, float]] = {
    "memory_gb": (1 / 64, 64 * 1024), "memory_used_gb": (1 / 1024, 64 * 1024), "storage_gb": (1 / 64, 512 * 1024),
    "storage_used_gb": (1 / 1024, 512 * 1024), "cpu_cores": (1, 2048), "port": (1, 65535), "source_port": (1, 65535),
}  # fmt: skip
"""The least and the most that a machine can have, far beyond any there is."""


def _only_reading(suggestion: Suggestion, profile: Profile, known: str | None) -> tuple[str | None, str]:
    """The format under which the numbers can be what the column tells, and why; `doubtful` and nothing said where both
    can, `doubtful` and why where none can."""
    target = suggestion.target_field or ""
    unit = unit_in_header(suggestion.source_field) or known
    grouped = decimal = total = 0
    mark = ","
    for cell, count in profile.said():
        readings = both_readings(cell)
        if readings is None:
            continue
        total += count
        mark = "," if "," in str(cell) else "."
        own = split_unit(cell)[1] or unit
        grouped += count * _is_possible(target, readings[0], own)
        decimal += count * _is_possible(target, readings[1], own)
    if not total or (target in SIZE_TARGETS and unit is None and not profile.units.keys() & GIB.keys()):
        return DOUBTFUL, ""
    can = grouped * 20 >= total * 19, decimal * 20 >= total * 19
    if can == (True, False):
        return (
            f"thousands {mark}",
            f"; {mark} divides thousands, for it cannot be the decimal mark of {_counted(target)}",
        )
    if can == (False, True):
        return (
            "decimal ," if mark == "," else None
        ), f"; {mark} is the decimal mark, for the values would be too large"
    return DOUBTFUL, "" if all(can) else "; its values cannot be what it is taken for, however they are read"


def decimal_told(suggestion: Suggestion, profile: Profile) -> str | None:
    """The decimal mark of a column whose numbers can be what it tells in one way only; None for any other column."""
    if suggestion.target_field not in NUMBER_TARGETS or profile.number_format() != DOUBTFUL:
        return None
    found, why = _only_reading(suggestion, profile, None)
    if found == DOUBTFUL or not why:
        return None
    return "," if found in {"decimal ,", "thousands ."} else "."


def _counted(target: str) -> str:
    return "sizes so small" if target in SIZE_TARGETS else "whole numbers"


def _is_possible(target: str, number: float, unit: str | None) -> bool:
    if target in PERCENT_TARGETS:
        return 0 <= number <= 100
    if TARGETS[target].measure == "count" and number != int(number):
        return False
    least, most = _POSSIBLE.get(target, (0.0, float("inf")))
    if target in SIZE_TARGETS:
        number *= GIB.get(unit or "", 1.0)
    return number == 0 or least <= number <= most


def _date_order(suggestion: Suggestion, profile: Profile, table: Table, known: str | None) -> None:
    found = dates.order_of(cell for cell, _ in profile.said())
    given, said = _given(table, "date_order"), table.read_as.get("date_order")
    if given is not None:
        suggestion.reason += f"; the import options say {given}" if given != found else ""
        found = given
    elif found == DOUBTFUL and said in {"dmy", "mdy"} and _both_orders(profile) is None:
        found = str(said)
        suggestion.reason += f"; its dates are read as the file's are ({said})"
    elif found == DOUBTFUL and known is not None and _both_orders(profile) is None:
        found = known
        suggestion.reason += f"; {suggestion.kind} writes dates as {known}"
    suggestion.date_order = found
    both = _both_orders(profile) if found == DOUBTFUL else None
    if both is not None:
        doubt(
            suggestion,
            f"it holds both orders, {both[0]} with the day first and {both[1]} with the month first: say date_order in"
            " import_options, and dates that do not fit the order stay unknown",
        )
    elif found == DOUBTFUL:
        example = next((str(cell) for cell, _ in profile.said()), "")
        doubt(suggestion, f"day and month cannot be told apart ({example}): say date_order in import_options")


def _both_orders(profile: Profile) -> tuple[str, str] | None:
    """A cell that names the day first and one that names the month first, where a column holds both."""
    first: dict[str, str] = {}
    for cell, _ in profile.said():
        order = dates.order_of([cell])
        if order in {"dmy", "mdy"}:
            first.setdefault(str(order), str(cell))
        if len(first) == 2:
            return first["dmy"], first["mdy"]
    return None


_NO_UNIT_NAME = frozenset({"unit", "units", "uom"})
_OF_A_VALUE = frozenset({"value", "values", "text", "amount", "number", "quantity", "size", "capacity", "total"})
_SHOWN_UNITS = 5


def _beside(suggestion: Suggestion, profile: Profile, beside: Mapping[tuple[str, ...], Column]) -> bool:
    """The unit that a column beside states (`Memory, Memory Unit`): taken where it is one and the same in all rows, else
    asked about. False where there is no such column, or where the header or every value says a unit itself."""
    target = suggestion.target_field or ""
    allowed = units_of(target)
    if not beside or not allowed or unit_in_header(suggestion.source_field) is not None or profile.blank:
        return False
    column = beside.get(_whose(words(suggestion.source_field)))
    if (
        column is None
        or column is profile.column
        or not any(isinstance(cell, str) and unit_of(cell.strip()) in allowed for cell in column.distinct)
    ):
        return False
    if all(unit in allowed for unit in profile.units):
        return False
    stated = _stated_beside(profile, column)
    units = {unit_of(written.strip()) for written in stated}
    only = units.pop() if len(units) == 1 else None
    if only is not None and only in allowed and not any(unit for unit in profile.units if unit != only):
        suggestion.unit = only
        suggestion.reason += f"; the column {column.name} says {only}{_binary(only)}"
        return True
    suggestion.unit = DOUBTFUL
    named = sorted({unit_of(written) or ("another text" if written else "none") for written in stated})
    shown = ", ".join(named[:_SHOWN_UNITS])
    more = ", ..." if len(named) > _SHOWN_UNITS else ""
    doubt(
        suggestion,
        f"the column {column.name} says its units, and not one for all rows ({shown}{more}): write the unit into each cell"
        " (such as 512 MB) and upload the file again, or give the one unit that all its values are in",
    )
    return True


def unit_columns(table: Table) -> dict[tuple[str, ...], Column]:
    """The columns that state units, by the words of what they are the units of: `Memory Unit`, `unit of Memory`,
    `memory.unit`."""
    found: dict[tuple[str, ...], Column] = {}
    for column in table.columns:
        spoken = words(column.name)
        if not _NO_UNIT_NAME.isdisjoint(spoken):
            rest = [word for word in spoken if word not in _NO_UNIT_NAME and word not in {"of", "in"}]
            found.setdefault(_whose(rest), column)
    return found


def _whose(spoken: list[str]) -> tuple[str, ...]:
    """What a size or its unit is of: the words without `value` or `size` behind them."""
    while len(spoken) > 1 and spoken[-1] in _OF_A_VALUE:
        spoken = spoken[:-1]
    return tuple(spoken)


def _stated_beside(profile: Profile, column: Column) -> set[str]:
    """What the column of units says in the rows in which the profile's column says something; `` where it says nothing."""
    own = profile.column
    told = [cell is not None and not (isinstance(cell, str) and not cell.strip()) for cell in own.distinct]
    codes = {unit for code, unit in set(zip(own.codes, column.codes, strict=True)) if told[code]}
    return {str(column.distinct[code] or "").strip() for code in codes}


def given_unit(table: Table, name: str) -> str | None:
    """The unit that the import options say of a column, as they write it."""
    units: Mapping[str, Any] = table.read_as.get("units") or {}
    wanted = header_key(name)
    return next((str(unit) for column, unit in units.items() if header_key(column) == wanted), None)


def _as_given(suggestion: Suggestion, given: str) -> None:
    """The unit of the import options, where the target has it; else the column is asked about."""
    target = suggestion.target_field or ""
    allowed = units_of(target)
    written = given.strip()
    match = next((unit for unit in (written, unit_of(written), written.lower()) if unit in allowed), None)
    if match is not None:
        suggestion.unit = match
        suggestion.reason += f"; the import options say {match}"
        return
    suggestion.unit = None if target in {*SIZE_TARGETS, *RATE_TARGETS, "bytes"} else DOUBTFUL
    it = f"{target} can be in {', '.join(allowed)}" if allowed else f"{target} has no unit"
    doubt(suggestion, f"the import options say {given[:40]!r}, but {it}")


def _bytes(suggestion: Suggestion, profile: Profile) -> None:
    """How much went over a connection: in bytes where the name says so."""
    header = unit_in_header(suggestion.source_field)
    allowed = units_of("bytes")
    told = sum(count for unit, count in profile.units.items() if unit in allowed)
    if header is not None and header not in allowed:
        suggestion.confidence = min(suggestion.confidence, 0.4)
        suggestion.reason += "; but it does not count bytes"
    if told and told == profile.units.total():
        suggestion.unit = IN_VALUE
    elif told:
        doubt(suggestion, f"{told} values say a unit and the others do not: say which they are in")
    elif header in allowed or "bytes" in words(suggestion.source_field) or profile.blank:
        suggestion.unit = header if header in allowed else "B"
    else:
        doubt(suggestion, "no unit is given: say which")


def _unit(suggestion: Suggestion, profile: Profile, known: str | None, sure: bool, table: Table) -> None:
    target = suggestion.target_field or ""
    header = unit_in_header(suggestion.source_field)
    below = None if header is not None else _unit_below(profile)
    if below is not None:
        header = below
        suggestion.reason += f"; a cell of it only says {below}"
    if target in PERCENT_TARGETS:
        in_text = table.delimiter is not None
        _share(suggestion, profile, certain=known is not None, in_header=header == "%" and in_text)
        return
    allowed = units_of(target)
    told = sum(count for unit, count in profile.units.items() if unit in allowed)
    bare = profile.units.total() - told
    if told and told >= bare:
        suggestion.unit = IN_VALUE
        beside = "" if not bare else f", {bare} rows say none" if bare > 1 else ", one row says none"
        suggestion.reason += f"; each value says its unit{beside}"
    elif header in allowed:
        suggestion.unit = header
        suggestion.reason += f"; the header says {header}{_binary(header)}" if below is None else ""
        if told:
            doubt(suggestion, f"{told} values say a unit of their own")
        elif target == "disk_mb_per_s" and header.endswith("bit/s"):
            suggestion.unit = None
            doubt(suggestion, "disks are measured in bytes and not in bits: say which unit it is")
    elif told:
        suggestion.unit = None
        doubt(suggestion, f"{told} values say a unit and the others do not: say which they are in")
    elif known == IN_VALUE and not profile.blank:
        suggestion.unit = None
        doubt(suggestion, "its values should say their unit and do not: say which")
    elif known is not None and (sure or profile.blank):
        suggestion.unit = known
        suggestion.reason += f"; {suggestion.kind} writes it in {known}{_binary(known)}"
    elif target in RATE_TARGETS:
        suggestion.unit = None
        if not profile.blank:
            doubt(suggestion, "no unit is given: say which")
    else:
        _by_magnitude(suggestion, profile, known, table.role)


def _unit_below(profile: Profile) -> str | None:
    """The unit that a cell says instead of a number, as second rows of headers do."""
    said = {
        unit_of(cell) for cell, count in profile.said() if count == 1 and isinstance(cell, str) and 1 < len(cell) < 8
    }
    units = said - {None}
    return units.pop() if len(units) == 1 else None


def is_guess(suggestion: Suggestion, profile: Profile, table: Table, beside: Mapping[tuple[str, ...], Column]) -> bool:
    """Was the unit of a size told from nothing but its values?"""
    return (
        suggestion.target_field in SIZE_TARGETS
        and suggestion.unit in GIB
        and unit_in_header(suggestion.source_field) is None
        and given_unit(table, suggestion.source_field) is None
        and _whose(words(suggestion.source_field)) not in beside
        and _unit_below(profile) is None
        and not profile.units.keys() & GIB.keys()
    )


def _binary(unit: str | None) -> str:
    return ", which means 1024 based here" if unit in {"KB", "MB", "GB", "TB"} else ""


def _share(suggestion: Suggestion, profile: Profile, *, certain: bool, in_header: bool) -> None:
    """Percent or a fraction of 1: a fraction only where all values are at most 1 and some lie between 0 and 1."""
    suggestion.unit = "%"
    if certain or suggestion.number_format == DOUBTFUL or profile.units["%"] == profile.units.total():
        return
    found = [number for number, _ in profile.numbers(suggestion.number_format)]
    if profile.units["%"] and any(0 < number <= 1 for number in _bare_numbers(suggestion, profile)):
        suggestion.unit = DOUBTFUL
        doubt(
            suggestion,
            "some values say % and others, at most 1, do not: say whether the unit of these is % or fraction",
        )
        return
    if not found or found[-1] > 1 or found[-1] <= 0:
        return
    between = any(0 < number < 1 for number in found)
    if between and not in_header:
        suggestion.unit = "fraction"
        suggestion.reason += f"; all values are at most 1 ({found[0]:g}..{found[-1]:g}), so they are fractions"
        return
    suggestion.unit = DOUBTFUL
    why = "the header says percent and no value is above 1" if between else "all values are 0 or 1"
    doubt(suggestion, f"{why}: say whether the unit is % or fraction")


def _bare_numbers(suggestion: Suggestion, profile: Profile) -> list[float]:
    """The numbers that say no unit."""
    cells = (cell for cell, _ in profile.said() if split_unit(cell)[1] is None)
    return [number for cell in cells if (number := parse(cell, suggestion.number_format)) is not None]


def _by_magnitude(suggestion: Suggestion, profile: Profile, known: str | None, role: str) -> None:
    if suggestion.number_format == DOUBTFUL:
        suggestion.unit = None
        return
    found = [(number, count) for number, count in profile.numbers(suggestion.number_format) if number > 0]
    if not found:
        suggestion.unit = known or "GiB"
        return
    memory = (suggestion.target_field or "").startswith("memory")
    unit, why = memory_unit(found) if memory else storage_unit(found)
    least, most = found[0][0], found[-1][0]
    if suggestion.target_field == "storage_gb" and known is None and role != DETAIL and _few(found):
        unit, why = None, "could be GiB, TiB or how many disks there are"
    if unit is None or (known is not None and not _same(unit, known)):
        suggestion.unit = None
        beside = f"; {suggestion.kind} writes it in {known}, which they do not look like" if known and unit else ""
        doubt(suggestion, f"no unit given, and values {least:g}..{most:g} {why}{beside}: say which")
        return
    suggestion.unit = known or unit
    suggestion.reason += f"; no unit given, values {least:g}..{most:g} {why}"


def _same(unit: str, other: str) -> bool:
    return unit.replace("i", "") == other.replace("i", "")


def _weight(found: list[tuple[float, int]], least: float, most: float) -> float:
    """The share of rows with a number in [least, most]."""
    total = sum(count for _, count in found)
    return sum(count for number, count in found if least <= number <= most) / total


def memory_unit(found: list[tuple[float, int]]) -> tuple[str | None, str]:
    """(unit, why) of memory sizes by their magnitude, ascending (number, rows); None where two units are plausible.

    Memory of machines is 0.5 GiB to 24 TiB, and mostly a multiple of 128 MiB.
    """
    middle = lower_median(found)
    steps = sum(count for number, count in found if number % 128 == 0) / sum(count for _, count in found)
    if middle <= 256 and found[-1][0] <= 24 * _KIBI:
        if _weight(found, 2 * _KIBI, 24 * _KIBI) >= _SMALL_SHARE:
            return None, "are of two magnitudes, GiB and MiB"
        return "GiB", "are GiB"
    if 512 <= middle < 512 * _KIBI and steps >= 0.7:
        if _weight(found, 0, 63) >= _SMALL_SHARE:
            return None, "are of two magnitudes, GiB and MiB"
        return "MiB", "in steps of 128 are MiB"
    if 2 * _KIBI**2 <= middle < 256 * _KIBI**2 and steps >= 0.7:
        return "KiB", "in steps of 128 are KiB"
    if middle >= _KIBI**3:
        return "B", "are bytes"
    return None, "could be MiB or GiB" if middle < _KIBI**2 else "could be of several units"


def storage_unit(found: list[tuple[float, int]]) -> tuple[str | None, str]:
    """(unit, why) of storage sizes by their magnitude; storage of machines is 1 GiB to some TiB."""
    middle = lower_median(found)
    if middle <= 4 * _KIBI:
        if _weight(found, 100 * _KIBI, float("inf")) >= _SMALL_SHARE:
            return None, "are of two magnitudes, GiB and MiB"
        return "GiB", "are GiB"
    if 16 * _KIBI <= middle < 4 * _KIBI**2:
        if _weight(found, 0, 63) >= _SMALL_SHARE:
            return None, "are of two magnitudes, GiB and MiB"
        return "MiB", "are MiB"
    if 16 * _KIBI**2 <= middle < 4 * _KIBI**3:
        return "KiB", "are KiB"
    if middle >= 8 * _KIBI**3:
        return "B", "are bytes"
    return None, "could be MiB or GiB" if middle < 16 * _KIBI else "could be of several units"


def _few(found: list[tuple[float, int]]) -> bool:
    """Storage of less than 16 that is broken, or of 4 at most: hardly gibibytes."""
    broken = any(number != int(number) for number, _ in found)
    return found[-1][0] <= 4 or (lower_median(found) < 16 and broken)


_FORMATS = {
    "thousands ,": "1,024.5 -> 1024.5", "thousands .": "1.024,5 -> 1024.5", "decimal ,": "1024,5 -> 1024.5",
    "thousands  ": "1 024.5 -> 1024.5", "thousands '": "1'024.5 -> 1024.5",
}  # fmt: skip
_UNITS = {
    "B": "B / 1024^3 -> GiB", "KB": "KB / 1024^2 -> GiB", "KiB": "KiB / 1024^2 -> GiB", "MB": "MB / 1024 -> GiB",
    "MiB": "MiB / 1024 -> GiB", "TB": "TB * 1024 -> GiB", "TiB": "TiB * 1024 -> GiB", "fraction":
    "fraction * 100 -> percent", "B/s": "B/s / 1024^2 -> MB/s", "KB/s": "KB/s / 1024 -> MB/s",
    "GB/s": "GB/s * 1024 -> MB/s", "KiB/s": "KiB/s / 1024 -> MB/s", "GiB/s": "GiB/s * 1024 -> MB/s",
    "Kbit/s": "Kbit/s / 8000 -> MB/s", "Mbit/s": "Mbit/s / 8 -> MB/s", "Gbit/s": "Gbit/s * 125 -> MB/s",
}  # fmt: skip
_ORDERS = {"dmy": "day.month.year -> ISO 8601", "mdy": "month/day/year -> ISO 8601"}


def conversion(suggestion: Suggestion) -> str | None:
    """What is done to the column's values, as a formula; None where they are kept as they are."""
    steps = []
    if suggestion.number_format in _FORMATS:
        steps.append(_FORMATS[suggestion.number_format])
    if suggestion.unit == IN_VALUE:
        measure = TARGETS[suggestion.target_field].measure if suggestion.target_field in TARGETS else None
        steps.append(f"each value by its own unit -> {measure if measure != 'count' else 'bytes'}")
    elif suggestion.target_field == "bytes" and suggestion.unit in GIB:
        power = round(math.log(GIB[suggestion.unit] / GIB["B"], 1024))
        steps += [f"{suggestion.unit} * 1024^{power} -> bytes"] if power else []
    elif suggestion.unit in _UNITS:
        steps.append(_UNITS[suggestion.unit])
    if suggestion.date_order in _ORDERS:
        steps.append(_ORDERS[suggestion.date_order])
    return "; ".join(steps) or None
