"""What cleansing has to say of a column's values without changing them, and the issues made of it."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from estate.clean import CleanColumn
from estate.cleansing.outcome import quoted
from estate.cleansing.rows import in_words, places_of
from estate.issues import issue
from estate.numbers import lower_median
from estate.tables import Cell, Codes, place_of, source

MAX_ISSUES = 500
"""Issues of one kind for one column; then one that says how many more."""
LARGEST = {
    "cpu_cores": (2_048.0, "processors"), "memory_gb": (49_152.0, "GiB"), "memory_used_gb": (49_152.0, "GiB"),
    "storage_gb": (2_097_152.0, "GiB"), "storage_used_gb": (2_097_152.0, "GiB"),
}  # fmt: skip
"""Above this a value is kept and flagged: 2048 processors, 48 TiB of memory, 2 PiB of storage."""
SPELLED = frozenset({"location", "department", "application_name", "business_owner", "technical_owner"})
"""Texts of which a column has one spelling."""
_SENTINEL = re.compile(r"9{4,}(?:\.0+)?|2147483647|4294967295|4294967296|9223372036854775807")
MIN_ROWS, FAR, FAR_TIMES = 30, 6.0, 16.0


class Findings:
    """The issues of one table as they are found, at most `MAX_ISSUES` of a kind for a column."""

    def __init__(self, namespace: UUID, file: str, sheet: str | None) -> None:
        self._namespace, self._file, self._sheet = namespace, file, sheet
        self.place = place_of(file, sheet)
        self.issues: list[dict[str, Any]] = []

    def add(self, kind: str, severity: str, message: str, row: int | None, field: str | None = None) -> None:
        """One issue."""
        where = source(self._file, self._sheet, row)
        self.issues.append(issue(self._namespace, kind, severity, message, field=field, source=where))

    def of_values(self, kind: str, column: str, target: str, found: Sequence[tuple[list[int], str]]) -> None:
        """Issues about values of a column: (numbers of the rows that hold it, sentence) each, the first row first."""
        listed = sorted((entry for entry in found if entry[0]), key=lambda entry: entry[0][0])
        for rows, why in listed[:MAX_ISSUES]:
            self.add(kind, "low", f"{self.place}, {in_words(rows)}, {column}: {why}.", rows[0], target)
        more = listed[MAX_ISSUES:]
        if more:
            rows_more = sum(len(rows) for rows, _ in more)
            sentence = f"{self.place}, {column}: {len(more):,} more values like these, in {rows_more:,} rows."
            self.add(kind, "low", sentence, None, target)

    def of_codes(self, kind: str, column: CleanColumn, numbers: Codes, said: dict[int, str]) -> None:
        """The same for values by code; `numbers` are the row numbers."""
        if said:
            rows = places_of(column.codes, said)
            listed = [([numbers[place] for place in rows[code]], why) for code, why in said.items()]
            self.of_values(kind, column.use.field, column.target, listed)

    def rejected(self, reasons: Iterable[tuple[int, str, str]], quiet: frozenset[str]) -> None:
        """One issue per row that was not taken, then how many more of each reason."""
        more: Counter[str] = Counter()
        for count, (row, reason, message) in enumerate(reasons):
            if count >= MAX_ISSUES:
                more[reason] += 1
                continue
            severity = "info" if reason in quiet else "medium"
            where = f"{self.place}, row {row}" if row else self.place
            self.add("rejected_row", severity, f"{where}: {message.rstrip('.')}.", row or None)
        if more:
            by_reason = ", ".join(f"{count:,} {reason}" for reason, count in more.most_common())
            self.add(
                "rejected_row", "medium", f"{self.place}: {more.total():,} more rejected rows ({by_reason}).", None
            )


def one_spelling(column: CleanColumn) -> tuple[list[Any] | None, dict[int, str], list[tuple[int, str]]]:
    """Spellings that differ only by case and blanks made the most frequent one: `(new values or None, rule by code,
    [(first code, sentence)])`. Of equally frequent ones the first in the file."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for code, value in enumerate(column.values):
        if value is not None:
            groups["".join(value.casefold().split())].append(code)
    several = {
        key: codes
        for key, codes in groups.items()
        if len(codes) > 1 and len({column.values[code] for code in codes}) > 1
    }
    if not several:
        return None, {}, []
    counts = Counter(column.codes)
    values = list(column.values)
    rules: dict[int, str] = {}
    said = []
    for codes in several.values():
        spelled: Counter[str] = Counter()
        for code in codes:
            if counts[code]:
                spelled[values[code]] += counts[code]
        if len(spelled) < 2:
            continue
        (chosen, _), *others = spelled.most_common()
        listed = ", ".join(f"{quoted(text)} ({_rows(count)})" for text, count in others[:5])
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        said.append(
            (
                codes[0],
                f"{quoted(chosen)} ({_rows(spelled[chosen])}) is also written {listed}{more}; the first is used for all",
            )
        )
        for code in codes:
            if values[code] != chosen:
                values[code], rules[code] = chosen, "common_spelling"
    return (values, rules, said) if said else (None, {}, [])


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def outliers(column: CleanColumn, raw: Sequence[Cell]) -> dict[int, str]:
    """Values that are kept and flagged, with the reason: above a fixed limit, the all-nines of programs, or far from
    the column's other values.

    Far: more than sixteen times (or less than a sixteenth of) the median, and a modified z-score of the logarithms,
    0.6745 x (log x - median) / MAD, beyond 6, of at least 30 rows (Iglewicz and Hoaglin, 1993).
    """
    target = column.target
    limit, measure = LARGEST[target]
    found: dict[int, str] = {}
    for code, value in enumerate(column.values):
        if value is None:
            continue
        if value > limit:
            found[code] = f"{value:,} {measure} is more than the {limit:,.0f} {measure} that are plausible"
        elif _stands_for_unknown(str(raw[code])):
            found[code] = f"{quoted(raw[code])} looks like a number that stands for unknown"
    for code, score, median in _far(column):
        if code not in found:
            value = column.values[code]
            found[code] = (
                f"{value:,} {measure} is far from the column's median of {median:,.6g} {measure} (robust z {score:.1f})"
            )
    return found


def _stands_for_unknown(text: str) -> bool:
    if "99" not in text and len(text) < 10:
        return False
    return _SENTINEL.fullmatch(re.sub(r"[,' ]", "", text.strip()).split(" ", maxsplit=1)[0]) is not None


def _far(column: CleanColumn) -> list[tuple[int, float, float]]:
    """(code, robust z, median) of the values far from the others."""
    rows = Counter(column.codes)
    logs = {code: math.log(value) for code, value in enumerate(column.values) if value and rows[code]}
    count = sum(rows[code] for code in logs)
    if count < MIN_ROWS:
        return []
    median = lower_median([(log, rows[code]) for code, log in logs.items()])
    spread = lower_median([(abs(log - median), rows[code]) for code, log in logs.items()])
    if spread <= 0:
        return []
    found = []
    for code, log in logs.items():
        score = 0.6745 * (log - median) / spread
        if abs(score) > FAR and abs(log - median) > math.log(FAR_TIMES):
            found.append((code, score, math.exp(median)))
    return found
