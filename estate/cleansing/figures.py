"""Numbers: sizes, rates, counts and shares in the measure of their target."""

from __future__ import annotations

import re

from estate import numbers
from estate.cleansing.outcome import NOTHING, Cleaner, Outcome, quoted
from estate.tables import Cell
from estate.vocabulary import is_placeholder

SIZES = frozenset({"memory_gb", "storage_gb", "memory_used_gb", "storage_used_gb"})
RATES = frozenset({"disk_mb_per_s", "network_mb_per_s"})
COUNTS = frozenset({"cpu_cores", "port", "users_count", "bytes", "connections"})
NUMBERS = SIZES | RATES | COUNTS | {"disk_iops", "licence_quantity"}
NEVER_ZERO = frozenset({"cpu_cores", "memory_gb", "storage_gb"})
_USED_OF = re.compile(r"^(.+?\d.*?)\s*(?:/|\bof\b|\bvon\b)\s*(\d.*)$", re.IGNORECASE)


def _tidy(number: float) -> float | int:
    """Whole numbers as integers (of 64 bits), others with six decimals, below 1 with six digits."""
    if number.is_integer() and abs(number) < 1 << 62:
        return int(number)
    return round(number, 6) if number >= 1 else float(f"{number:.6g}")


def number_cleaner(target: str, unit: str | None, number_format: str | None, *, part: bool = False) -> Cleaner:
    """What cleans a number of a column whose values have this unit and are written in this format; of `part` see
    `cells.clean_column`."""
    factors = numbers.GIB if target in SIZES or target == "bytes" else numbers.MB_PER_S if target in RATES else None
    percent = target.endswith("_percent")

    # most cells of a size are whole numbers in the column's unit
    factor = numbers.GIB[unit] if target in SIZES and unit in numbers.GIB else None
    factor_rule = None if factor == 1 else f"{(unit or '').lower()}_to_gib"

    def clean(cell: Cell) -> Outcome:
        if factor is not None and type(cell) is int and 0 < cell < 1 << 53:
            return _tidy(cell * factor), factor_rule, None
        own = None
        said: Cell = cell
        if type(cell) is str and not cell.isdigit():
            if is_placeholder(cell):
                return NOTHING
            if target in SIZES and len(cell) <= numbers.MAX_CHARACTERS and (both := _USED_OF.match(cell)) is not None:
                said = _of_both(target, both[1], both[2], number_format)
            said, own = numbers.split_unit(said)
        number = numbers.parse(said, number_format)
        if number is None:
            return None, "not_a_number_to_null", _no_number(cell, number_format)
        if number == -1:
            return None, "minus_one_to_null", None
        if number < 0:
            return None, "negative_to_null", f"{quoted(cell)} is negative"
        if number == 0 and target in NEVER_ZERO and not part:
            return None, "zero_size_to_null", None
        if factors is not None:
            number, rule = _converted(target, number, own, unit, factors)
        elif percent:
            number, rule = _share(number, own, unit)
        else:
            rule = "unit_unknown_to_null" if own in numbers.GIB or own in {"%", "MHz", "GHz"} else None
        if rule == "unit_unknown_to_null":
            return None, rule, _no_unit(target, cell, own or unit)
        return _fitting(target, _tidy(number), cell, rule, said is not cell and own is None)

    return clean


def _of_both(target: str, used: str, whole: str, number_format: str | None) -> Cell:
    """`61.2 GiB / 127 GiB`: what is in use of what there is; None when it cannot be that."""
    sizes = []
    for text in (used, whole):
        bare, unit = numbers.split_unit(text.strip())
        number = numbers.parse(bare, number_format)
        if number is None or unit not in numbers.GIB:
            return None
        sizes.append(number * numbers.GIB[unit])
    if sizes[0] > sizes[1]:
        return None
    return (used if "_used_" in target else whole).strip()


def _no_number(cell: Cell, number_format: str | None) -> str:
    if isinstance(cell, str) and any(numbers.parse(cell, other) is not None for other in (None, *numbers.FORMATS)):
        written = {None: "with a decimal dot and no separators", numbers.DOUBTFUL: "in a way that can be read twice"}
        return f"{quoted(cell)} does not fit the column, whose numbers are written {written.get(number_format, f'as {number_format!r}')}"
    return f"{quoted(cell)} is no number"


def _no_unit(target: str, cell: Cell, unit: str | None) -> str:
    if unit is None or unit == "in value":
        return f"{quoted(cell)} has no unit"
    return f"{quoted(cell)} in {unit} cannot be turned into {_MEASURES.get(target, 'a share' if '_percent' in target else 'a count')}"


_MEASURES = dict.fromkeys(SIZES, "GiB") | dict.fromkeys(RATES, "MB/s") | {"bytes": "bytes"}


def _converted(
    target: str, number: float, own: str | None, unit: str | None, factors: dict[str, float]
) -> tuple[float, str | None]:
    """In the target's own measure, by the unit the cell says, else by the column's."""
    base = "MB/s" if target in RATES else "B" if target == "bytes" else "GiB"
    given = own or unit or (base if target == "bytes" else None)
    if given is None or given not in factors:
        return number, "unit_unknown_to_null"
    factor = factors[given] / factors[base]
    made = {"GiB": "gib", "MB/s": "mb_per_s", "B": "bytes"}[base]
    rule = None if factor == 1 and not own else f"{given.lower().replace('/s', '_per_s')}_to_{made}"
    return number * factor, rule


def _share(number: float, own: str | None, unit: str | None) -> tuple[float, str | None]:
    """In percent."""
    if own is not None and own != "%":
        return number, "unit_unknown_to_null"
    if unit == "fraction" and own is None:
        return number * 100, "fraction_to_percent"
    return number, (None if unit in {None, "%", "fraction", "in value"} else "unit_unknown_to_null")


def _fitting(target: str, number: float | int, cell: Cell, rule: str | None, taken_apart: bool) -> Outcome:
    """The number if the target can have it."""
    if target.endswith("_percent") and number > 100:
        return None, "out_of_range_to_null", f"{number:g} is more than 100 percent"
    if target in COUNTS:
        if number >= 1 << 62:
            return None, "out_of_range_to_null", f"{quoted(cell)} is more than can be counted"
        if not isinstance(number, int):
            return None, "not_whole_to_null", f"{quoted(cell)} is no whole number"
        if target == "port" and not 0 < number < 65536:
            return None, "out_of_range_to_null", f"{quoted(cell)} is no port"
    if rule is None:
        if taken_apart:
            rule = "used_and_total_taken_apart"
        elif isinstance(cell, str) and cell != str(number) and not cell.endswith(".0"):
            rule = "number_format"
        elif type(cell) is float and cell != number:
            rule = "rounded"
    return number, rule, None


def port(cell: Cell) -> Outcome:
    """A port, with or without its protocol (`443/tcp`)."""
    text = str(cell).strip()
    both = re.match(r"^(\d+)\s*[/ ]\s*(tcp|udp)$|^(tcp|udp)\s*[/: ]\s*(\d+)$", text, re.IGNORECASE)
    if both:
        number = int(both.group(1) or both.group(4))
        if 0 < number < 65536:
            return number, "port_and_protocol", None
        return None, "out_of_range_to_null", f"{quoted(cell)} is no port"
    return _plain_port(cell)


_plain_port = number_cleaner("port", None, None)
