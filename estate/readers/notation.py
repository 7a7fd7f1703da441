"""How a table writes numbers and dates, and which of its cells hold characters that nobody sees."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from itertools import islice

from estate.readers.cells import INVISIBLE, LONGEST_DATUM, name_words
from estate.readers.limits import MAX_WARNINGS_OF_A_KIND
from estate.tables import Cell, Column, Table, Warned

LOOKED_AT = 2_000
"""Distinct cells of a column that are looked at for its notation."""

_SPACE = "[ \u00a0\u202f]"
# the decimal sign is certain where the digits around it cannot be a group of three
_DECIMALS = (
    (
        ",",
        re.compile(rf"[-+]?(?:\d{{1,3}}(?:[.']\d{{3}})+|\d{{1,3}}(?:{_SPACE}\d{{3}})*|\d+),(?:\d{{1,2}}|\d{{4,}})%?"),
    ),
    (",", re.compile(rf"[-+]?\d{{1,3}}(?:(?:\.\d{{3}})+|(?:{_SPACE}\d{{3}})+|(?:'\d{{3}})+),\d+%?")),
    (",", re.compile(r"[-+]?\d{1,3}(?:\.\d{3}){2,}")),
    (
        ".",
        re.compile(rf"[-+]?(?:\d{{1,3}}(?:[,']\d{{3}})+|\d{{1,3}}(?:{_SPACE}\d{{3}})*|\d+)\.(?:\d{{1,2}}|\d{{4,}})%?"),
    ),
    (".", re.compile(rf"[-+]?\d{{1,3}}(?:(?:,\d{{3}})+|(?:{_SPACE}\d{{3}})+|(?:'\d{{3}})+)\.\d+%?")),
    (".", re.compile(r"[-+]?\d{1,3}(?:,\d{3}){2,}")),
)
_GROUPS = re.compile(r"[-+]?\d{1,3}(?:([.,' \u00a0\u202f])\d{3})+(?:([.,])\d+)?%?")
_DAY = re.compile(r"(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})(?:[ T,].*)?")
_NUMBER = re.compile(
    rf"[-+]?(?:[1-9]\d{{0,2}}(?:([.,']|{_SPACE})\d{{3}}(?:\1\d{{3}})*)|\d+)(?:[.,]\d+)?"
    r"\s*(?:%|[A-Za-zµ]{1,7}(?:/[A-Za-z]{1,4})?)?"
)
# what looks like a number and is none: a dotted address, a month of a year
_NO_NUMBER = re.compile(
    r"(?:(?:\d{1,2}|1\d\d|2[0-4]\d|25[0-5])\.){3}(?:\d{1,2}|1\d\d|2[0-4]\d|25[0-5])|(?:0?[1-9]|1[0-2])\.(?:19|20)\d\d"
)
_NUMBERS_SHARE = 0.95
"""The share of a column's cells that begin with a digit and must be numbers, for the column to say how numbers are written."""
_NO_NUMBERS = frozenset(
    [
        "version",
        "release",
        "build",
        "ip",
        "ips",
        "address",
        "addresses",
        "netmask",
        "subnet",
        "gateway",
        "dns",
        "firmware",
        "patch",
        "oid",
        "mac",
        "id",
        "ids",
        "uuid",
        "guid",
        "serial",
        "sid",
        "phone",
        "telephone",
        "tel",
        "mobile",
        "fax",
        "date",
        "vlan",
        "vlans",
        "port",
        "ports",
        "postcode",
        "zip",
        "code",
        "sku",
        "tag",
        "host",
        "hosts",
        "hostname",
        "name",
        "bios",
        "driver",
        "kernel",
        "java",
        "jre",
        "jdk",
        "php",
        "python",
        "node",
        "tomcat",
        "esx",
        "esxi",
        "vsphere",
        "runtime",
    ]
)
_NAMES = {"\u200b": "zero width space", "\ufeff": "byte order mark", "\u00ad": "soft hyphen"}


def of(table: Table) -> dict[str, str | None]:
    """`decimal, thousands, date_order` as the cells show them; None where they leave it open or disagree."""
    decimals: Counter[str] = Counter()
    thousands: Counter[str] = Counter()
    orders: Counter[str] = Counter()
    for column in table.columns:
        texts = [
            cell
            for cell in islice(column.distinct, 1, LOOKED_AT)
            if type(cell) is str and cell[:1] in _STARTS and len(cell) <= LONGEST_DATUM
        ]
        if not texts:
            continue
        said = _numbers(texts) if _NO_NUMBERS.isdisjoint(name_words(column.name)) else []
        decimals.update(_decimals(said))
        thousands.update(_thousands(said))
        orders.update(_orders(texts))
    decimal = _clear(decimals, 0.8)
    group = _clear(thousands, 0.8)
    return {
        "decimal": decimal,
        "thousands": group if group != decimal else None,
        "date_order": _clear(orders, 1.0),
    }


_STARTS = frozenset("0123456789+-")


def _numbers(texts: list[str]) -> list[str]:
    """The cells that are numbers; none where others among them show that the column holds addresses, versions or dates."""
    marked = [bare for text in texts if not (bare := text.strip()).isdigit() and bare.lstrip("+-")[:1].isdigit()]
    found = [bare for bare in marked if _NUMBER.fullmatch(bare) and not _NO_NUMBER.fullmatch(bare)]
    return found if len(found) >= _NUMBERS_SHARE * len(marked) else []


def _clear(votes: Counter[str], share: float) -> str | None:
    """What has at least this share of the votes."""
    if not votes:
        return None
    said, count = votes.most_common(1)[0]
    return said if count >= share * votes.total() else None


def _decimals(texts: Iterable[str]) -> Counter[str]:
    """One vote of a column for each sign that its cells cannot be read without."""
    found: set[str] = set()
    for bare in texts:
        found.update(sign for sign, pattern in _DECIMALS if pattern.fullmatch(bare))
        if len(found) > 1:
            break
    return Counter(found)


def _thousands(texts: Iterable[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for bare in texts:
        grouped = _GROUPS.fullmatch(bare)
        if (
            grouped
            and grouped[1] != grouped[2]
            and (grouped[2] or bare.count(grouped[1]) > 1 or grouped[1] not in ".,")
        ):
            found[" " if grouped[1] in " \u00a0\u202f" else grouped[1]] = 1
    return found


def _orders(texts: Iterable[str]) -> Counter[str]:
    """One vote of a column for the order that fits all of its dates; none where two orders fit."""
    fits = {"dmy", "mdy", "ymd"}
    dates = 0
    for text in texts:
        told = _DAY.fullmatch(text.strip())
        if told is None:
            continue
        first, middle, last = told[1], int(told[3]), told[4]
        if len(first) == 4:
            fits &= {"ymd"} if 1 <= middle <= 12 and len(last) <= 2 else set()
        elif len(first) <= 2 and len(last) in {2, 4}:
            possible = {"dmy"} if middle <= 12 and int(first) <= 31 else set()
            if told[2] != "." and int(first) <= 12 and middle <= 31:
                possible |= {"mdy"}
            if len(last) == 2 and told[2] == "-" and int(last) <= 31:
                possible |= {"ymd"}
            fits &= possible
        else:
            continue
        dates += 1
    return Counter(fits) if dates and len(fits) == 1 else Counter()


# --- characters that nobody sees ------------------------------------------------------------------------------


def unseen(table: Table) -> list[Warned]:
    """A warning for each column with such characters: which, in how many rows, and where first."""
    warnings = []
    for column in table.columns:
        codes = _codes_with_unseen(column)
        if not codes:
            continue
        rows = [row for row, code in enumerate(column.codes) if code in codes]
        if not rows:
            continue
        character = next(iter(INVISIBLE.findall(str(column[rows[0]]))))
        name = _NAMES.get(character) or unicodedata.name(character, "a control character").lower()
        count = f"{len(rows)} cells hold" if len(rows) > 1 else "1 cell holds"
        warnings.append(
            Warned(
                "invisible_characters",
                f"column {column.name[:80]}: {count} characters that cannot be seen"
                f" (first U+{ord(character):04X}, {name}); they are kept.",
                table.sheet,
                table.numbers[rows[0]],
            )
        )
        if len(warnings) >= MAX_WARNINGS_OF_A_KIND:
            break
    return warnings


def _codes_with_unseen(column: Column) -> set[int]:
    distinct = column.distinct
    if not INVISIBLE.search("\n".join([cell for cell in distinct if type(cell) is str])):
        return set()
    return {code for code, cell in enumerate(distinct) if holds_unseen(cell)}


def holds_unseen(cell: Cell) -> bool:
    """True for a text with a character that nobody sees."""
    return type(cell) is str and bool(INVISIBLE.search(cell))
