"""In which unit, with which separators and in which order of day and month a column is written, and why.

Said by the caller, by the cells, by the header, by the tool that wrote it, or told from the magnitude of all values: in
this order. Where two readings are possible the column is doubtful: it is asked about, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estate import dates
from estate.errors import EstateError
from estate.lexicon import header_key, unit_in_header
from estate.mapping.suggestion import DOUBTFUL, Suggestion
from estate.profile import Profile
from estate.tables import Table
from estate.targets import (
    DATE_TARGETS,
    IN_VALUE,
    NUMBER_TARGETS,
    PERCENT_TARGETS,
    RATE_TARGETS,
    SIZE_TARGETS,
    units_of,
)

ASKS = 0.5
"""Confidence of a column whose reading is doubtful."""
_SMALL_SHARE = 0.02
_KIBI = 1024


def settle(suggestion: Suggestion, profile: Profile, table: Table, *, unit: str | None = None, sure: bool = True,
           date_order: str | None = None) -> None:  # fmt: skip
    """Set number format, unit, date order and conversion of a suggestion that has a target.

    `unit` and `date_order` are what the tool that wrote the table is known to use; not `sure`: only where the values
    do not contradict it.
    """
    target = suggestion.target_field
    if target is None or target == "custom_attributes":
        return
    if target in NUMBER_TARGETS:
        _number_format(suggestion, profile, table)
    if target in DATE_TARGETS:
        _date_order(suggestion, profile, table, date_order)
    if target in SIZE_TARGETS or target in RATE_TARGETS or target in PERCENT_TARGETS:
        given = _given_unit(table, suggestion)
        if given is not None:
            suggestion.unit = given
            suggestion.reason += f"; the import options say {given}"
        else:
            _unit(suggestion, profile, unit, sure, in_text=table.delimiter is not None)
    elif target == "bytes" and unit_in_header(suggestion.source_field) not in {None, "B"}:
        suggestion.confidence = min(suggestion.confidence, 0.4)
        suggestion.reason += "; but it does not count bytes"
    suggestion.conversion = conversion(suggestion)


def doubt(suggestion: Suggestion, sentence: str) -> None:
    """The column must be asked about."""
    suggestion.confidence = min(suggestion.confidence, ASKS)
    suggestion.reason += f"; {sentence}"


def _number_format(suggestion: Suggestion, profile: Profile, table: Table) -> None:
    """By the column's own cells; where these can be read either way, as the caller or the rest of the file says, else
    as files with the delimiter are written."""
    found = profile.number_format()
    decimal, thousands = table.read_as.get("decimal"), table.read_as.get("thousands")
    if found == DOUBTFUL and (decimal is not None or thousands is not None):
        found = profile.number_format(decimal=decimal, thousands=thousands)
        said = f"decimal {decimal}" if decimal is not None else f"thousands {thousands}"
        suggestion.reason += f"; its numbers are read as the file's are ({said})"
    elif found == DOUBTFUL:
        found = profile.number_format(delimiter=table.delimiter)
    suggestion.number_format = found
    if found == DOUBTFUL:
        example = next(
            (str(cell) for cell, _ in profile.said() if isinstance(cell, str) and ("," in cell or "." in cell)), ""
        )
        doubt(
            suggestion, f"its numbers can be read in two ways ({example}): say decimal or thousands in import_options"
        )


def _date_order(suggestion: Suggestion, profile: Profile, table: Table, known: str | None) -> None:
    found = dates.order_of(cell for cell, _ in profile.said())
    said = table.read_as.get("date_order")
    if found == DOUBTFUL and said in {"dmy", "mdy"}:
        found = str(said)
        suggestion.reason += f"; its dates are read as the file's are ({said})"
    elif found == DOUBTFUL and known is not None:
        found = known
        suggestion.reason += f"; {suggestion.kind} writes dates as {known}"
    suggestion.date_order = found
    if found == DOUBTFUL:
        example = next((str(cell) for cell, _ in profile.said()), "")
        doubt(suggestion, f"day and month cannot be told apart ({example}): say date_order in import_options")


def _given_unit(table: Table, suggestion: Suggestion) -> str | None:
    units: Mapping[str, Any] = table.read_as.get("units") or {}
    wanted = header_key(suggestion.source_field)
    given = next((str(unit) for name, unit in units.items() if header_key(name) == wanted), None)
    if given is None:
        return None
    allowed = units_of(suggestion.target_field or "")
    match = next((unit for unit in allowed if unit.lower() == given.strip().lower()), None)
    if match is None:
        sentence = f"{given!r} is no unit of {suggestion.source_field}; it can be {', '.join(allowed)}."
        raise EstateError("import_options_invalid", f"{table.place}: {sentence}", file=table.file, sheet=table.sheet,
                          column=suggestion.source_field)  # fmt: skip
    return match


def _unit(suggestion: Suggestion, profile: Profile, known: str | None, sure: bool, *, in_text: bool) -> None:
    target = suggestion.target_field or ""
    header = unit_in_header(suggestion.source_field)
    if target in PERCENT_TARGETS:
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
        suggestion.reason += f"; the header says {header}{_binary(header)}"
        if told:
            doubt(suggestion, f"{told} values say a unit of their own")
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
        _by_magnitude(suggestion, profile, known)


def _binary(unit: str | None) -> str:
    return ", which means 1024 based here" if unit in {"KB", "MB", "GB", "TB"} else ""


def _share(suggestion: Suggestion, profile: Profile, *, certain: bool, in_header: bool) -> None:
    """Percent or a fraction of 1: a fraction only where all values are at most 1 and some lie between 0 and 1."""
    suggestion.unit = "%"
    if certain or 2 * profile.units["%"] > profile.units.total() or suggestion.number_format == DOUBTFUL:
        return
    found = [number for number, _ in profile.numbers(suggestion.number_format)]
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


def _by_magnitude(suggestion: Suggestion, profile: Profile, known: str | None) -> None:
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
    if unit is None or (known is not None and not _same(unit, known)):
        suggestion.unit = None
        beside = f"; {suggestion.kind} writes it in {known}, which they do not look like" if known and unit else ""
        doubt(suggestion, f"no unit given, and values {least:g}..{most:g} {why}{beside}: say which")
        return
    suggestion.unit = known or unit
    suggestion.reason += f"; no unit given, values {least:g}..{most:g} {why}"


def _same(unit: str, other: str) -> bool:
    return unit.replace("i", "") == other.replace("i", "")


def _median(found: list[tuple[float, int]]) -> float:
    half = sum(count for _, count in found) / 2
    passed = 0
    for number, count in found:
        passed += count
        if passed >= half:
            return number
    return found[-1][0]


def _weight(found: list[tuple[float, int]], least: float, most: float) -> float:
    """The share of rows with a number in [least, most]."""
    total = sum(count for _, count in found)
    return sum(count for number, count in found if least <= number <= most) / total


def memory_unit(found: list[tuple[float, int]]) -> tuple[str | None, str]:
    """(unit, why) of memory sizes by their magnitude, ascending (number, rows); None where two units are plausible.

    Memory of machines is 0.5 GiB to 24 TiB, and mostly a multiple of 128 MiB.
    """
    middle = _median(found)
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
    middle = _median(found)
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
        steps.append("each value by its own unit -> " + ("GiB" if suggestion.target_field in SIZE_TARGETS else "MB/s"))
    elif suggestion.unit in _UNITS:
        steps.append(_UNITS[suggestion.unit])
    if suggestion.date_order in _ORDERS:
        steps.append(_ORDERS[suggestion.date_order])
    return "; ".join(steps) or None
