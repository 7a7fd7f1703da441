"""Numbers as people and programs write them: which separators a column uses, and what a cell says under them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from estate.tables import Cell

DOUBTFUL = "doubtful"
"""The column can be read in two ways: whoever reads it has to ask."""
FORMATS = ("thousands ,", "thousands .", "decimal ,", "thousands  ", "thousands '")
"""How text numbers of a column are written, None (plain, decimal dot) left out: `1,024.5`, `1.024,5`, `1024,5`,
`1 024,5` (or with a dot), `1'024.5` (or with a comma)."""

GIB: dict[str, float] = {
    "B": 1 / 1024**3, "KB": 1 / 1024**2, "KiB": 1 / 1024**2, "MB": 1 / 1024, "MiB": 1 / 1024, "GB": 1.0, "GiB": 1.0,
    "TB": 1024.0, "TiB": 1024.0, "PB": 1024.0**2, "PiB": 1024.0**2,
}  # fmt: skip
"""How many GiB one of the unit is. Inventories write MB and GB and mean 1024."""
MB_PER_S: dict[str, float] = {
    "B/s": 1 / 1024**2, "KB/s": 1 / 1024, "KiB/s": 1 / 1024, "MB/s": 1.0, "MiB/s": 1.0, "GB/s": 1024.0,
    "GiB/s": 1024.0, "Kbit/s": 1 / 8000, "Mbit/s": 1 / 8, "Gbit/s": 125.0,
}  # fmt: skip
"""How many MB/s one of the rate is; a bit rate counts in thousands, eight bits to the byte."""

MAX_CHARACTERS = 64
"""A longer text is no number."""
_NEAR, _FAR = 16.0, 32.0
"""How many times smaller or greater than a column's plain numbers another one is still like them, or may be one."""

_UNITS = {
    "b": "B", "byte": "B", "bytes": "B", "octets": "B", "k": "KB", "kb": "KB", "kib": "KiB", "ko": "KB", "m": "MB",
    "mb": "MB", "mib": "MiB", "mo": "MB", "mbyte": "MB", "mbytes": "MB", "megabyte": "MB", "megabytes": "MB",
    "g": "GB", "gb": "GB", "gib": "GiB", "go": "GB", "gbyte": "GB", "gbytes": "GB", "gigabyte": "GB",
    "gigabytes": "GB", "t": "TB", "tb": "TB", "tib": "TiB", "to": "TB", "terabyte": "TB", "terabytes": "TB",
    "p": "PB", "pb": "PB", "pib": "PiB", "petabytes": "PB", "kbyte": "KB", "kbytes": "KB", "kilobytes": "KB",
    "%": "%", "percent": "%", "pct": "%", "bytes/s": "B/s", "bytes/sec": "B/s", "kib/s": "KiB/s", "mib/s": "MiB/s",
    "gib/s": "GiB/s", "kbit/s": "Kbit/s", "mbit/s": "Mbit/s", "gbit/s": "Gbit/s", "kbps": "Kbit/s", "mbps": "Mbit/s",
    "gbps": "Gbit/s", "mhz": "MHz", "ghz": "GHz", "iops": "IOPS",
}  # fmt: skip
_RATE = re.compile(r"([KkMmGg]?)([Bb])(?:/s|/sec|ps)")
"""Rates in which the capital says whether bytes or bits are meant; `mb/s` says neither."""
_MULTIPLIERS = frozenset(
    {"k", "m", "g", "t", "p", "bn", "mio", "mrd", "mill", "tsd", "million", "millions", "thousand"}
)

_BLANKS = "\u00a0\u202f\u2009\u2007\u2008\u200a"
_DIGITS = dict.fromkeys(map(ord, _BLANKS), " ") | {
    ord("\u2212"): "-", ord("\uff0d"): "-", ord("\uff0b"): "+", ord("\uff0c"): ",", ord("\uff0e"): ".", ord("\uff05"): "%",
    ord("\u2019"): "'", ord("\u2018"): "'", ord("\u02bc"): "'", ord("\u2032"): "'", ord("`"): "'",
}  # fmt: skip
_SHAPE = re.compile(
    r"""^(?P<open>\()?\s*(?P<sign>[-+])?\s*[$€£¥]?\s*(?P<sign2>[-+])?
    (?P<body>\d[\d.,' ]*\d|\d|[.,]\d+)(?P<exponent>e[-+]?\d{1,3})?(?P<minus>-(?=\s*(?:$|[€$£%])))?
    \s*(?P<unit>%|[€$£¥]|[a-zà-ÿ]+\.?(?:/[a-zà-ÿ]+|\(s\))?)?\s*(?P<close>\))?$""",
    re.VERBOSE | re.IGNORECASE,
)
_GROUPS = {mark: re.compile(rf"[1-9]\d{{0,2}}(?:{re.escape(mark)}\d{{3}})+") for mark in ",.' "}
_INDIAN = re.compile(r"[1-9]\d?(?:,\d{2})*,\d{3}")
_ADDRESS = re.compile(r"\d{1,3}(?:\.(?:[01]\d\d|2[0-4]\d|25[0-5])){3}")
_PLAIN = re.compile(r"\d+(?:\.\d*)?|\.\d+")


def _ascii(text: str) -> str:
    """Full-width and other decimal digits, signs, blanks and apostrophes as ASCII; anything else as it is."""
    if text.isascii():
        return text
    text = text.translate(_DIGITS)
    if text.isascii():
        return text
    return "".join(str(int(char)) if char.isdecimal() else char for char in text)


@lru_cache(maxsize=16384)
def _taken_apart(text: str) -> tuple[str, str, str, str] | None:
    """(sign, body, exponent, unit as written) of a text number; None when it is none."""
    if len(text) > MAX_CHARACTERS:
        return None
    found = _SHAPE.match(_ascii(text).strip())
    if found is None or bool(found["open"]) != bool(found["close"]):
        return None
    signs = [sign for sign in (found["sign"], found["sign2"], found["minus"], "-" if found["open"] else None) if sign]
    if len(signs) > 1:
        return None
    return (signs or ["+"])[0], found["body"], (found["exponent"] or "").lower(), found["unit"] or ""


# --- which format -----------------------------------------------------------------------------------------------


def format_of(
    distinct: Iterable[Cell],
    *,
    delimiter: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
) -> str | None:
    """How the text numbers among these cells are written: one of `FORMATS`, None = plain with a decimal dot, or
    `doubtful`.

    `decimal` and `thousands` are what the caller knows of the file and settle it. A single separator before exactly
    three digits (`1.024`, `4,096`) says nothing by itself: it is read as the column's other values say (how they are
    written; of plain numbers their magnitude: `16,384` beside 4096 and 8192), and the column is doubtful when they do not.
    `delimiter` is the field separator of the text file, if any: files separated by commas come from where the dot is the
    decimal mark, those separated by semicolons from where the comma is. Of contradicting values a twentieth of the
    column is outvoted (those cells then fit no format).
    """
    seen = _Evidence()
    for cell in distinct:
        if type(cell) is str and not (cell.isascii() and cell.isdigit()):
            parts = _taken_apart(cell)
            if parts is not None:
                seen.add(parts[1], parts[3].lower())
        else:
            seen.add_plain(parse(cell), "")
    if decimal is not None or thousands is not None:
        return _stated(decimal, thousands, seen)
    return seen.verdict(delimiter)


def _stated(decimal: str | None, thousands: str | None, seen: _Evidence) -> str:
    """The format of these marks; a mark for thousands that nobody stated is the one the cells show, where it is a blank
    or an apostrophe."""
    if thousands is None:
        shown = _winner(seen.group)
        thousands = shown if shown in {" ", "'"} else "." if decimal == "," else ","
    return f"thousands {thousands}"


def both_readings(cell: Cell) -> tuple[float, float] | None:
    """What a text number with one separator before exactly three digits says if that divides thousands, and if it is the
    decimal mark: `1.024` -> (1024.0, 1.024); None for any other cell."""
    if type(cell) is not str or (parts := _taken_apart(cell)) is None:
        return None
    sign, body, exponent, _ = parts
    mark = next((mark for mark in ",." if mark in body), None)
    if mark is None or exponent or body.count(mark) != 1 or not _GROUPS[mark].fullmatch(body):
        return None
    grouped = float(body.replace(mark, "")) * (-1 if sign == "-" else 1)
    return grouped, grouped / 1000


class _Evidence:
    """What the numbers of a column say about its separators."""

    def __init__(self) -> None:
        self.group: Counter[str] = Counter()
        self.decimal: Counter[str] = Counter()
        self.either: Counter[str] = Counter()
        self.unsettled: list[int] = []
        """The numbers of `either`, their mark left out."""
        self.round = 0
        self.plain: tuple[float, float] | None = None
        """Least and greatest of the numbers above 0 that are written without a mark."""
        self.units: set[str] = set()
        """What stands behind the plain and the unsettled numbers, `` for nothing."""

    def add_plain(self, number: float | None, unit: str) -> None:
        """Take in a number that has no separators."""
        if number is not None and number > 0:
            least, greatest = self.plain or (number, number)
            self.plain = min(least, number), max(greatest, number)
            self.units.add(unit)

    def add(self, body: str, unit: str) -> None:
        """Take in one number without sign and exponent."""
        marks = [mark for mark in body if not mark.isdigit()]
        kinds = list(dict.fromkeys(marks))
        if not kinds:
            self.add_plain(parse(body), unit)
        elif len(kinds) == 1:
            self._one_kind(body, kinds[0], len(marks), unit)
        elif len(kinds) == 2 and marks.count(kinds[1]) == 1 and marks[-1] == kinds[1] and kinds[1] in ",.":
            whole = body[: body.rindex(kinds[1])]
            if _grouped(whole, kinds[0]):
                self.group[kinds[0]] += 1
                self.decimal[kinds[1]] += 1

    def _one_kind(self, body: str, mark: str, count: int, unit: str) -> None:
        if mark in " '" or count > 1:
            if _grouped(body, mark) and not (mark == "." and _ADDRESS.fullmatch(body)):
                self.group[mark] += 1
        elif _GROUPS[mark].fullmatch(body):
            self.either[mark] += 1
            self.unsettled.append(int(body.replace(mark, "")))
            self.units.add(unit)
            self.round += self.unsettled[-1] % 128 == 0
        else:
            self.decimal[mark] += 1

    def verdict(self, delimiter: str | None) -> str | None:
        """The format that the evidence is for."""
        self._settle(",", ".")
        self._settle(".", ",")
        group, decimal = _winner(self.group), _winner(self.decimal)
        if DOUBTFUL in {group, decimal}:
            return DOUBTFUL
        if group is not None and group == decimal:
            votes = sorted((self.group[group], self.decimal[group]))
            if votes[0] * 20 > sum(votes):
                return DOUBTFUL
            if self.group[group] < self.decimal[group]:
                group = None
        if self.either:
            if group or len(self.either) > 1:
                return DOUBTFUL
            mark = next(iter(self.either))
            return f"thousands {mark}" if self._grouped_like_plain() else self._by_delimiter(mark, delimiter)
        if group is not None:
            return f"thousands {group}"
        return "decimal ," if decimal == "," else None

    def _grouped_like_plain(self) -> bool:
        """Are the numbers of `either` of the magnitude of the column's plain ones if their mark divides thousands, and
        far from it if it is the decimal mark? (The other way round says nothing: of 8, 512 and `1,024` only one needs
        a mark.)"""
        if self.plain is None or len(self.units) > 1:
            return False
        least, greatest = self.plain
        like = sum(least / _NEAR <= number <= greatest * _NEAR for number in self.unsettled)
        unlike = sum(number / 1000 < least / _FAR for number in self.unsettled)
        return like * 20 >= 19 * len(self.unsettled) and unlike * 2 > len(self.unsettled)

    def _settle(self, mark: str, other: str) -> None:
        """Read `4,096` as the rest of the column says: grouped where the comma groups or the dot is the decimal mark,
        a decimal where the comma is, or where the dot groups."""
        if not self.either[mark]:
            del self.either[mark]
        elif self.decimal[mark] > self.decimal[other] and not self.group[mark]:
            self.decimal[mark] += self.either.pop(mark)
        elif self.group[mark] or self.decimal[other]:
            self.group[mark] += self.either.pop(mark)
        elif self.group[other] or self.decimal[mark]:
            self.decimal[mark] += self.either.pop(mark)

    def _by_delimiter(self, mark: str, delimiter: str | None) -> str | None:
        """Programs that separate fields by commas write the decimal dot, those that have to use semicolons the decimal
        comma. Between dots only what confirms it is read so: whole multiples of 128, as sizes are, divide thousands, and
        other numbers do not."""
        count = self.either[mark]
        if mark == ",":
            return "thousands ," if delimiter == "," else DOUBTFUL
        mostly_round = self.round * 2 >= count
        if delimiter == ";" and count > 1 and mostly_round:
            return "thousands ."
        return None if delimiter == "," and count > 2 and not mostly_round else DOUBTFUL


def _grouped(digits: str, mark: str) -> bool:
    return bool(_GROUPS[mark].fullmatch(digits) or (mark == "," and _INDIAN.fullmatch(digits)))


def _winner(votes: Counter[str]) -> str | None:
    """The mark most votes are for; `doubtful` when a twentieth or more of them are for another."""
    if not votes:
        return None
    (first, count), *rest = votes.most_common()
    others = sum(number for _, number in rest)
    return DOUBTFUL if others * 20 > count + others else first


# --- one cell ---------------------------------------------------------------------------------------------------


def parse(cell: Cell, number_format: str | None = None) -> float | None:
    """The number a cell says, unit, percent sign and blanks around it left out; None when it is none, or when it does
    not fit the column's format.

    Reads accounting negatives `(1,024)`, a minus behind, a leading `+`, exponents, full-width digits and Indian
    grouping. A letter that multiplies (`4K`, `1.5M`) is refused: `split_unit` tells what it means for sizes.
    """
    if type(cell) is str:
        if cell.isdigit() and cell.isascii() and len(cell) <= MAX_CHARACTERS:
            return float(cell)
        parts = _taken_apart(cell)
        if parts is None or parts[3].lower().rstrip(".") in _MULTIPLIERS:
            return None
        sign, body, exponent, _ = parts
        digits = _plain(body, number_format)
        number = float(f"{'-' if sign == '-' else ''}{digits}{exponent}") if digits is not None else None
        return number if number is not None and math.isfinite(number) else None
    if type(cell) is int:
        return float(cell) if -(2**1000) < cell < 2**1000 else None
    if type(cell) is float:
        return cell if math.isfinite(cell) else None
    return None


def _plain(body: str, number_format: str | None) -> str | None:
    """The digits with a decimal dot and no grouping; None when they do not fit the format."""
    if body.isdigit():
        return body
    if number_format is None:
        return body if _PLAIN.fullmatch(body) else None
    if number_format == "decimal ,":
        return _decimal(body, "", ",")
    if number_format == "thousands ,":
        return _decimal(body, ",", ".")
    if number_format == "thousands .":
        return _decimal(body, ".", ",")
    if number_format in {"thousands  ", "thousands '"}:
        mark = "," if "," in body else "."
        return _decimal(body, number_format[-1], mark)
    return None


def _decimal(body: str, group: str, mark: str) -> str | None:
    whole, found, fraction = body.partition(mark)
    if found and fraction and not fraction.isdigit():
        return None
    if whole and not whole.isdigit():
        if not group or not _grouped(whole, group):
            return None
        whole = whole.replace(group, "")
    return f"{whole or '0'}.{fraction or '0'}"


def split_unit(cell: Cell) -> tuple[Cell, str | None]:
    """The cell without its unit, and the unit: `16 GiB` -> (`16`, `GiB`), `12,5 %` -> (`12,5`, `%`), `8 cores` ->
    (`8`, `cores`); (the cell, None) where it names none.

    Units of size and rate come in one spelling (`gb`, `GByte`, `G` -> `GB`; `Mbps` -> `Mbit/s`, `MBps` -> `MB/s`),
    others as they are written.
    """
    if type(cell) is not str:
        return cell, None
    parts = _taken_apart(cell)
    if parts is None or not parts[3]:
        return cell, None
    sign, body, exponent, unit = parts
    return f"{'-' if sign == '-' else ''}{body}{exponent}", unit_of(unit) or unit


def unit_of(text: str) -> str | None:
    """The unit of size, rate or share a word names, in one spelling (`gbytes` -> `GB`, `Mb/s` -> `Mbit/s`, `MB/s` ->
    `MB/s`); None when it names none, or a rate that could be of bytes and of bits (`mb/s`)."""
    word = text.strip().rstrip(".")
    rate = _RATE.fullmatch(word)
    if rate is not None and rate[2] == "B":
        return f"{rate[1].upper()}B/s"
    if rate is not None and rate[1].isupper():
        return f"{rate[1]}bit/s"
    return _UNITS.get(word.lower())


def lower_median(weighted: Iterable[tuple[float, int]]) -> float:
    """The lower median of values with how often each stands there; not a number where there are none."""
    ordered = sorted(weighted)
    half, passed = sum(times for _, times in ordered) / 2, 0
    for value, times in ordered:
        passed += times
        if passed >= half:
            return value
    return math.nan
