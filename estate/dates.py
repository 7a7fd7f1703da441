"""Dates as people and programs write them: in which order a column names day and month, and what a cell says."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import date, datetime
from functools import lru_cache

from estate.tables import Cell

DOUBTFUL = "doubtful"
"""Day and month cannot be told apart: whoever reads the column has to ask."""
ORDERS = ("ymd", "dmy", "mdy")

MAX_CHARACTERS = 64
"""A longer text is no date."""

_NORMAL = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-](?:0\d|1[0-4]):[0-5]\d)?)?", re.ASCII)
_ISO = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?:[T ]\s*(.+))?$", re.IGNORECASE)
_BASIC = re.compile(r"(\d{4})(\d{2})(\d{2})(?:T?(\d{2})(\d{2})(\d{2})?(Z|[+-]\d{2}:?\d{2})?)?$")
_NUMBERS = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})(?:[T ,]\s*(.+))?$")
_TIME = re.compile(
    r"(\d{1,2})[:.hH](\d{2})(?:[:.](\d{2})(?:[.,](\d{1,9}))?)?\s*(?:([ap])\.?\s?m\.?)?\s*"
    r"(Z|[+-]\d{2}:?\d{2}|[+-]\d{2}|(?!Uhr)[A-Z]{3,4}|\(?UTC(?:[+-]\d{1,2}(?::\d{2})?)?\)?)?(?:\s*Uhr)?$",
    re.IGNORECASE,
)
_ZONES = {
    "Z": "Z", "UTC": "Z", "GMT": "Z", "WET": "Z", "WEST": "+01:00", "CET": "+01:00", "CEST": "+02:00", "MEZ": "+01:00",
    "MESZ": "+02:00", "EET": "+02:00", "EEST": "+03:00", "MSK": "+03:00", "JST": "+09:00", "EST": "-05:00",
    "EDT": "-04:00", "CDT": "-05:00", "MST": "-07:00", "MDT": "-06:00", "PST": "-08:00", "PDT": "-07:00",
}  # fmt: skip
_MONTH_WORDS = (
    "jan january januar janv janvier ene enero jaenner", "feb february februar febr fev fevr fevrier febrero",
    "mar march marz maerz mrz mars marzo", "apr april avr avril abr abril", "may mai mayo",
    "jun june juni juin junio", "jul july juli juil juillet julio", "aug august aout ago agosto",
    "sep sept september septembre septiembre setiembre", "oct october okt oktober octobre octubre",
    "nov november novembre noviembre", "dec december dez dezember decembre dic diciembre",
)  # fmt: skip
_MONTHS = {word: month for month, words in enumerate(_MONTH_WORDS, 1) for word in words.split()}
_WEEKDAY_WORDS = (
    "mon monday tue tues tuesday wed wednesday thu thur thurs thursday fri friday sat saturday sun sunday",
    "mo montag di dienstag mi mittwoch do donnerstag fr freitag sa samstag sonnabend so sonntag",
    "lun lundi mardi mer mercredi jeu jeudi ven vendredi sam samedi dim dimanche",
    "lunes martes mie miercoles jue jueves vie viernes sab sabado dom domingo",
)
_WEEKDAYS = frozenset(word for words in _WEEKDAY_WORDS for word in words.split())
_FILLERS = frozenset({"de", "del", "of", "the", "le", "el", "den", "um", "at", "a", "uhr"})
_DAY = re.compile(r"(\d{1,2})(?:st|nd|rd|th|er|\.|º)?$")
_CLOCK = re.compile(r"\d{1,2}:\d{2}")


def order_of(distinct: Iterable[Cell]) -> str | None:
    """In which order the dates among these cells name their parts.

    `dmy` or `mdy` where some date shows it (a part above 12; dates written with dots name the day first) and none
    shows the other; `doubtful` where dates like `9/2/2023` are all there are, or where they contradict each other;
    `ymd` where every date says by itself which part is which (ISO 8601, names of months); None where there is no date.
    """
    dmy = mdy = either = plain = False
    for cell in distinct:
        if type(cell) is not str or not 8 <= len(cell) <= MAX_CHARACTERS:
            continue
        found = _NUMBERS.match(cell.strip())
        if found is None:
            plain = plain or (not plain and parse(cell, "ymd") is not None)
            continue
        first, second = int(found[1]), int(found[3])
        if _iso(cell.strip(), "dmy") is None and _iso(cell.strip(), "mdy") is None:
            continue
        if found[2] == "." or first > 12:
            dmy = True
        elif second > 12:
            mdy = True
        else:
            either = either or first != second
            plain = plain or first == second
    if dmy and mdy:
        return DOUBTFUL
    if dmy or mdy:
        return "dmy" if dmy else "mdy"
    if either:
        return DOUBTFUL
    return "ymd" if plain else None


def parse(cell: Cell, order: str | None = None) -> str | None:
    """A date or a date and time as ISO 8601 text (`2023-09-02`, `2023-09-02T18:23:00Z`); None when the cell is no date,
    an impossible one, or one that the order does not settle.

    Zones are kept (`Z`, `+02:00`; abbreviations that mean one zone are turned into its distance), fractions of a second
    cut to six digits. Dates whose parts name themselves (ISO 8601, names of months in English, German, French, Spanish)
    are read whatever the order; `9/2/2023` needs `dmy` or `mdy`. Years of two digits and bare numbers are refused.
    """
    if type(cell) is not str or not 8 <= len(cell) <= MAX_CHARACTERS:
        return None
    if _NORMAL.fullmatch(cell):
        try:
            datetime.fromisoformat(cell)
        except ValueError:
            return None
        return cell
    return _iso(" ".join(cell.split()), order)


def is_date(cell: Cell) -> bool:
    """Is this a date in some order?"""
    return any(parse(cell, order) is not None for order in ORDERS)


@lru_cache(maxsize=16384)
def _iso(text: str, order: str | None) -> str | None:
    found = _ISO.match(text)
    if found is not None:
        return _put_together(found[1], found[3], found[4], found[5])
    found = _NUMBERS.match(text)
    if found is not None:
        if order == "dmy" or (order != "mdy" and found[2] == "."):
            return _put_together(found[4], found[3], found[1], found[5])
        if order == "mdy" and found[2] != ".":
            return _put_together(found[4], found[1], found[3], found[5])
        return _put_together(found[4], found[1], found[3], found[5]) if int(found[1]) == int(found[3]) else None
    found = _BASIC.match(text)
    if found is not None:
        if found[4] is None and order != "ymd":
            return None
        clock = f"{found[4]}:{found[5]}:{found[6] or '00'}{found[7] or ''}" if found[4] else None
        return _put_together(found[1], found[2], found[3], clock)
    return _with_month_name(text)


def _with_month_name(text: str) -> str | None:
    """`29 Oct 2019 18:23`, `Oct 29, 2019`, `29. Oktober 2019`, `Fri Oct 29 18:23:00 UTC 2019`."""
    if not any(char.isalpha() for char in text):
        return None
    clock = _CLOCK.search(text)
    year = re.search(r"(?<![\d:.])(\d{4})(?![\d:])", text)
    if year is None:
        return None
    before = clock.start() if clock else len(text)
    dated = text[:before] if year.start() < before else text[:before] + " " + year[1]
    months: list[int] = []
    days: list[str] = []
    for raw in re.split(r"[\s,/-]+", dated):
        word = _folded(raw)
        if not word or word == year[1] or word in _FILLERS or word == "t":
            continue
        if (day := _DAY.match(word)) is not None:
            days.append(day[1])
        elif (bare := word.rstrip(".")) in _MONTHS:
            months.append(_MONTHS[bare])
        elif bare not in _WEEKDAYS:
            return None
    if len(months) == 2 and _folded(re.split(r"[\s,]+", dated)[0]).rstrip(".") == "mar":
        months = months[1:]
    if len(months) != 1 or len(days) != 1:
        return None
    time = None
    if clock:
        time = text[clock.start() :]
        if year.start() > clock.start():
            time = time.replace(year[1], "", 1).strip()
    return _put_together(year[1], str(months[0]), days[0], time)


def _folded(text: str) -> str:
    """Lower case without accents."""
    if text.isascii():
        return text.lower()
    parts = unicodedata.normalize("NFD", text.lower())
    return "".join(char for char in parts if not unicodedata.combining(char))


def _put_together(year: str, month: str, day: str, clock: str | None) -> str | None:
    try:
        dated = date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return None
    if clock is None or not clock.strip():
        return dated
    time = _time(clock.strip())
    return f"{dated}T{time}" if time is not None else None


def _time(text: str) -> str | None:
    """`18:23`, `6:23:15 PM`, `10:00:00.1234567Z` -> `18:23:00`, `18:23:15`, `10:00:00.123456Z`."""
    found = _TIME.match(text)
    if found is None:
        return None
    hour, minute, second = int(found[1]), int(found[2]), int(found[3] or 0)
    half = (found[5] or "").lower()
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "p" else 0)
    if hour > 23 or minute > 59 or second > 59:
        return None
    zone = _zone(found[6])
    if zone is None:
        return None
    fraction = f".{found[4][:6]}" if found[4] else ""
    return f"{hour:02}:{minute:02}:{second:02}{fraction}{zone}"


def _zone(text: str | None) -> str | None:
    """`Z`, `+02:00`, empty where none is said; None where it could be several."""
    if text is None:
        return ""
    word = text.upper().strip("()")
    if word in _ZONES:
        return _ZONES[word]
    found = re.fullmatch(r"(?:UTC)?([+-])(\d{1,2}):?(\d{2})?", word)
    if found is None:
        return None
    hours, minutes = int(found[2]), int(found[3] or 0)
    if hours > 14 or minutes > 59:
        return None
    return f"{found[1]}{hours:02}:{minutes:02}"
