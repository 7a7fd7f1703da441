"""What a number in a workbook means by the format of its cell: a date, a time, a percentage, a quantity.

Formats as in ECMA-376 part 1, 18.8.30 (numFmts) and 18.8.31 (built-in identifiers).
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from math import isfinite

from estate.tables import Cell

_DATES = {*range(14, 18), *range(27, 32), 34, 35, 36, *range(50, 59)}
_TIMES = {18, 19, 20, 21, 32, 33, 45, 47}
_BUILT_IN = {9: "0%", 10: "0.00%", 22: "m/d/yy h:mm", 46: "[h]:mm:ss", 49: "@"}
_QUOTED = re.compile(r'"([^"]*)"|\\(.)|_.|\*.|\[(?![hms]+\])[^\]]*\]', re.IGNORECASE)
_UNIT = re.compile(r"(?:[KMGT]i?B|[KMGT]o|[MG]Hz|vCPUs?|cores?|%)(?:/s)?", re.IGNORECASE)
_LAST_DAY = 2_958_466
_WHOLE = 2**53


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """How numbers of a style are to be read."""

    moment: str = ""
    """`date`, `time`, `date time` or `duration`; empty for a number."""
    percent: bool = False
    unit: str = ""
    """A unit that the format writes behind the number."""
    digits: int = 0
    """Leading zeros up to this many digits."""

    @property
    def plain(self) -> bool:
        """True if the number says itself what it is."""
        return not (self.moment or self.percent or self.unit or self.digits)


PLAIN = NumberFormat()


def of_identifier(identifier: int, code: str | None) -> NumberFormat:
    """The format of a style by its identifier, and its code where the workbook states one."""
    if code is None:
        if identifier in _DATES:
            return NumberFormat("date")
        if identifier in _TIMES:
            return NumberFormat("time")
        code = _BUILT_IN.get(identifier, "General")
    return of_code(code)


def of_code(code: str) -> NumberFormat:
    """The format of a code such as `yyyy-mm-dd`, `0.0%`, `0 "GB"`, `00000`."""
    section = _first_section(code)
    bare = _QUOTED.sub("", section)
    if bare.strip().lower() in {"general", "@", "standard", ""}:
        return NumberFormat(unit=_unit(section)) if bare.strip() else PLAIN
    lowered = bare.lower()
    if re.search(r"\[[hms]+\]", lowered):
        return NumberFormat("duration")
    if re.search(r"[ymdhs]", lowered) and not re.search(r"[#?0]\.?[#?0]*e[+-]", lowered):
        day = bool(re.search(r"[yd]", lowered)) or not re.search(r"[hs]", lowered)
        clock = bool(re.search(r"[hs]", lowered))
        return NumberFormat("date time" if day and clock else "date" if day else "time")
    if "%" in bare:
        return NumberFormat(percent=True)
    if re.fullmatch(r"0{2,}", bare.strip()) and bare.strip() == section.strip():
        return NumberFormat(digits=len(bare.strip()))
    # a comma behind the last digit divides by a thousand: what is shown is no longer the number
    return PLAIN if re.search(r"[0#?],+(?![0#?])", bare) else NumberFormat(unit=_unit(section))


def _first_section(code: str) -> str:
    quoted = False
    for place, character in enumerate(code):
        if character == '"':
            quoted = not quoted
        elif character == ";" and not quoted:
            return code[:place]
    return code


def _unit(section: str) -> str:
    last = max(section.rfind(character) for character in "0#?lL@")
    said = "".join(found[0] or found[1] for found in re.findall(r'"([^"]*)"|\\(.)', section[last + 1 :])).strip()
    return said if _UNIT.fullmatch(said) else ""


def number_of(text: str) -> Cell:
    """A number as it stands in a file: whole ones as such, those too large for a number kept as text."""
    try:
        if text.lstrip("-").isdigit() and text.isascii():
            whole = int(text) if len(text) < 40 else 0
            return whole if len(text) < 40 and -(2**63) <= whole < 2**64 else text
        number = float(text)
    except ValueError:
        return text or None
    if not isfinite(number):
        return text
    return int(number) if number.is_integer() and abs(number) < _WHOLE else number


def shown(number: Cell, form: NumberFormat, *, since_1904: bool = False) -> Cell:
    """What the number means in a cell of this format; dates and times as ISO 8601 text."""
    if isinstance(number, bool) or not isinstance(number, int | float):
        return number
    if form.moment:
        return moment(number, form.moment, since_1904=since_1904)
    if form.percent:
        return f"{_decimal(round(number * 100, 10))}%"
    if form.unit:
        return f"{_decimal(number)} {form.unit}"
    if form.digits and isinstance(number, int) and number >= 0:
        return str(number).zfill(form.digits)
    return number


def _decimal(number: float) -> str:
    return str(int(number)) if float(number).is_integer() and abs(number) < _WHOLE else repr(float(number))


def moment(serial: float, kind: str, *, since_1904: bool) -> Cell:
    """A serial day number as ISO 8601 text; the number itself where it is no day of the calendar."""
    if not 0 <= serial < _LAST_DAY:
        return serial
    days = int(serial)
    milliseconds = round((serial - days) * 86_400_000)
    if milliseconds >= 86_400_000:
        days, milliseconds = days + 1, 0
    clock = dt.timedelta(milliseconds=round(milliseconds, -1) if milliseconds % 1000 in {1, 999} else milliseconds)
    if kind == "duration":
        seconds = days * 86_400 + clock.seconds + (clock.microseconds >= 500_000)
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if kind == "time" and days == 0:
        return (dt.datetime(2000, 1, 1) + clock).time().isoformat()  # noqa: DTZ001 - a time of day without a zone
    if since_1904:
        base = dt.datetime(1904, 1, 1)  # noqa: DTZ001 - workbooks know no zones
    else:
        # the first of March 1900 is day 61: day 60 is a leap day that never was
        base = dt.datetime(1899, 12, 31) if days < 60 else dt.datetime(1899, 12, 30)  # noqa: DTZ001
    try:
        when = base + dt.timedelta(days=days) + clock
    except OverflowError:
        return serial
    return when.isoformat() if clock else when.date().isoformat()
