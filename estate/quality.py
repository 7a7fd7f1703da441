"""How good the data of an estate is: five dimensions, each with its formula, its figures and its worst rows."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from estate.clean import CleanColumn, CleanTable
from estate.roles import APPLICATIONS, MACHINES
from estate.tables import Codes
from estate.vocabulary import parse_ip

EXPECTED: dict[str, tuple[str, ...]] = {
    MACHINES: (
        "ip_addresses", "operating_system", "os_version", "cpu_cores", "memory_gb", "storage_gb", "environment", "location",
        "criticality", "business_owner", "application_name", "power_state",
    ),
    APPLICATIONS: ("environment", "criticality", "business_owner", "technical_owner", "technologies", "hosts"),
}  # fmt: skip
"""What is worth knowing of every row, by what the row speaks of."""
WEIGHTS = {"completeness": 0.3, "validity": 0.25, "consistency": 0.2, "uniqueness": 0.15, "timeliness": 0.1}
FRESH_DAYS, STALE_DAYS = 30, 365
WORST = 10
"""How many worst rows and columns are named for each dimension."""
FORMULAS = {
    "completeness": "100 x known values / expected values; expected are "
    + "; ".join(f"for each row of {role} {', '.join(targets)}" for role, targets in EXPECTED.items())
    + "; over the tables that have a column for the field, over all rows of that role where no table has one",
    "validity": "100 x stated values that could be read / stated values; empty cells and placeholders are not stated",
    "consistency": "100 x checks passed / checks that could be made within a row: operating system against version, name "
    "against FQDN, switched off against utilisation, used against allocated, average against peak",
    "uniqueness": "100 x different keys / rows with a key, table by table; the key is the first of UUID, external id and "
    "name that nine tenths of the rows have",
    "timeliness": f"100 x sum of freshness / rows with a date; freshness is 1 up to {FRESH_DAYS} days before the day of "
    f"reading, falls evenly to 0 at {STALE_DAYS} days, and is 0 for days yet to come",
}


@dataclass(frozen=True, slots=True)
class StatedColumn:
    """A column with a meaning as it came, for validity: the codes of cells that state nothing, and of those that state
    something that could not be read."""

    field: str
    target: str
    unstated: frozenset[int]
    unreadable: frozenset[int]
    codes: Codes


@dataclass(slots=True)
class Worst:
    """A row or column that pulls a dimension down; the higher `weight`, the more."""

    weight: float
    why: str
    row: int | None = None
    column: str | None = None


@dataclass(slots=True)
class TableQuality:
    """The figures of one table; `score` puts those of all tables together."""

    file: str
    sheet: str | None
    role: str
    rows: int
    known: dict[str, tuple[int, int]] = field(default_factory=dict)
    """(rows that know it, rows) by expected field that the table has a column for."""
    readable: tuple[int, int] = (0, 0)
    checks: tuple[int, int] = (0, 0)
    keys: tuple[int, int] = (0, 0)
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    """(rows, number of the first of them) by day on which the source last saw them."""
    worst_rows: dict[str, list[Worst]] = field(default_factory=dict)
    worst_columns: dict[str, list[Worst]] = field(default_factory=dict)
    contradictions: list[tuple[str, str, int]] = field(default_factory=list)
    """(field, why, row) of the rows that contradict themselves."""


# --- one table --------------------------------------------------------------------------------------------------


def measure(
    table: CleanTable,
    stated: Sequence[StatedColumn],
    os_contradictions: tuple[Codes, dict[int, str]] | None = None,
) -> TableQuality:
    """The figures of one table. `stated` are its columns with a meaning as they were before values were merged;
    `os_contradictions` (code per row, why by code) come from putting names and versions of systems together."""
    found = TableQuality(table.file, table.sheet, table.role, len(table))
    if len(table):
        _completeness(table, found)
        _validity(table, stated, found)
        _consistency(table, found, os_contradictions)
        _uniqueness(table, found)
        _timeliness(table, found)
    return found


def _flags(values: Iterable[object], codes: Codes) -> bytes:
    """One byte per row: 1 where the value of its code is true."""
    byte = bytes(1 if value else 0 for value in values)
    return bytes(map(byte.__getitem__, codes))


def _code_flags(codes_meant: frozenset[int], codes: Codes) -> bytes:
    """One byte per row: 1 where its code is one of those meant."""
    return bytes(map(codes_meant.__contains__, codes))


def _either(flags: Sequence[bytes]) -> bytes:
    both = 0
    for one in flags:
        both |= int.from_bytes(one, "big")
    return both.to_bytes(len(flags[0]), "big")


def _sums(flags: Sequence[bytes]) -> bytes:
    """Per row how many of the flags are 1 (at most 255 of them): added as one large number, a byte each."""
    total = 0
    for one in flags[:255]:
        total += int.from_bytes(one, "big")
    return total.to_bytes(len(flags[0]), "big")


def _places(flags: bytes, value: int, most: int) -> Iterator[int]:
    """The first `most` rows whose byte is `value`."""
    place = flags.find(value)
    while place >= 0 and most:
        yield place
        most -= 1
        place = flags.find(value, place + 1)


def _known_flags(columns: Sequence[CleanColumn], part: str | None = None) -> bytes:
    return _either(
        [
            _flags(
                (value is not None and (part is None or value.get(part) is not None) for value in column.values),
                column.codes,
            )
            for column in columns
        ]
    )


def _completeness(table: CleanTable, found: TableQuality) -> None:
    flags: dict[str, bytes] = {}
    for target in EXPECTED.get(table.role, ()):
        part = target if target in {"operating_system", "os_version"} else None
        columns = table.of("operating_system" if part else target)
        if columns:
            flags[target] = _known_flags(columns, part)
            found.known[target] = (flags[target].count(1), len(table))
    if not flags:
        return
    sums = _sums(list(flags.values()))
    worst: list[Worst] = []
    for known in range(len(flags)):
        for place in _places(sums, known, WORST - len(worst)):
            lacks = [target for target, one in flags.items() if not one[place]]
            why = f"lacks {', '.join(lacks)}"
            worst.append(Worst(len(lacks) / len(flags), why, row=table.numbers[place]))
        if len(worst) >= WORST:
            break
    found.worst_rows["completeness"] = worst
    found.worst_columns["completeness"] = [
        Worst(1 - known / rows, f"known in {known:,} of {rows:,} rows", column=target)
        for target, (known, rows) in found.known.items()
        if known < rows
    ]


def _validity(table: CleanTable, stated: Sequence[StatedColumn], found: TableQuality) -> None:
    readable = total = 0
    bad_flags: list[bytes] = []
    bad_fields: list[str] = []
    worst_columns = []
    for column in stated:
        stated_rows = len(column.codes) - _code_flags(column.unstated, column.codes).count(1)
        bad = 0
        if column.unreadable:
            flags = _code_flags(column.unreadable, column.codes)
            bad = flags.count(1)
            if bad:
                bad_flags.append(flags)
                bad_fields.append(column.field)
                why = f"{bad:,} of {stated_rows:,} stated values could not be read as {column.target}"
                worst_columns.append(Worst(bad / stated_rows, why, column=column.field))
        readable += stated_rows - bad
        total += stated_rows
    found.readable = (readable, total)
    found.worst_columns["validity"] = worst_columns
    if bad_flags:
        sums = _sums(bad_flags)
        worst: list[Worst] = []
        for count in range(min(len(bad_flags), 255), 0, -1):
            for place in _places(sums, count, WORST - len(worst)):
                fields = [name for name, one in zip(bad_fields, bad_flags, strict=True) if one[place]]
                worst.append(Worst(count, f"could not be read: {', '.join(fields)}", row=table.numbers[place]))
            if len(worst) >= WORST:
                break
        found.worst_rows["validity"] = worst


def _uniqueness(table: CleanTable, found: TableQuality) -> None:
    if table.role not in {MACHINES, APPLICATIONS}:
        return
    for column in table.of("uuid", "external_id", "name", "hostname", "fqdn", "application_name"):
        counts = Counter(column.codes)
        keys = {
            code: str(value).lower() for code, value in enumerate(column.values) if value is not None and code in counts
        }
        by_key: Counter[str] = Counter()
        for code, key in keys.items():
            by_key[key] += counts[code]
        keyed = by_key.total()
        if keyed * 10 < len(table) * 9:
            continue
        found.keys = (len(by_key), keyed)
        repeated = {key: count for key, count in by_key.most_common(WORST) if count > 1}
        first: dict[str, int] = {}
        for code, key in keys.items():
            if key in repeated:
                first[key] = min(column.codes.index(code), first.get(key, len(table)))
        found.worst_rows["uniqueness"] = [
            Worst(
                count,
                f"{column.use.field} {_short(column[first[key]])} is in {count:,} rows",
                row=table.numbers[first[key]],
            )
            for key, count in repeated.items()
        ]
        return


def _timeliness(table: CleanTable, found: TableQuality) -> None:
    columns = table.of("last_seen", "measured_at", "observed_at")
    if not columns:
        return
    column = columns[0]
    rows = len(column.codes)
    first_place = dict(zip(reversed(column.codes), range(rows - 1, -1, -1), strict=True))
    for code, count in Counter(column.codes).items():
        value = column.values[code]
        if value is None:
            continue
        number = table.numbers[first_place[code]]
        before, first = found.seen.get(value[:10], (0, number))
        found.seen[value[:10]] = (before + count, min(first, number))


# --- consistency ------------------------------------------------------------------------------------------------


def _consistency(
    table: CleanTable, found: TableQuality, os_contradictions: tuple[Codes, dict[int, str]] | None
) -> None:
    made = failed = 0
    worst: list[Worst] = []
    for name, checked, codes, reasons in _checks(table, os_contradictions):
        made += checked
        if not reasons:
            continue
        for place, code in enumerate(codes):
            why = reasons.get(code)
            if why is not None:
                failed += 1
                found.contradictions.append((name, why, table.numbers[place]))
                if len(worst) < WORST:
                    worst.append(Worst(1, why, row=table.numbers[place]))
    found.checks = (made - failed, made)
    if worst:
        found.worst_rows["consistency"] = worst


_Check = tuple[str, int, Codes, dict[int, str]]
"""(field, rows that could be checked, code per row, why it fails by code)"""


def _checks(table: CleanTable, os_contradictions: tuple[Codes, dict[int, str]] | None) -> Iterator[_Check]:
    if os_contradictions is not None:
        codes, reasons = os_contradictions
        yield "operating_system", len(codes) - codes.count(0), codes, reasons
    if table.role != MACHINES:
        return
    pairs = (
        ("name", "fqdn", _names_differ),
        ("power_state", "cpu_utilization_percent", _off_but_busy),
        ("storage_gb", "storage_used_gb", _more_used),
        ("memory_gb", "memory_used_gb", _more_used),
        ("cpu_utilization_percent", "cpu_utilization_peak_percent", _above_peak),
        ("memory_utilization_percent", "memory_utilization_peak_percent", _above_peak),
    )
    for first, second, check in pairs:
        one, other = table.of(first)[:1], table.of(second)[:1]
        if one and other:
            yield _pair_check(second, one[0], other[0], check)


def _pair_check(name: str, one: CleanColumn, other: CleanColumn, check: Any) -> _Check:
    """A check of two values of a row, made once for every pair of values that occurs."""
    places: dict[tuple[int, int], int] = {}
    codes = array("I", [places.setdefault(pair, len(places)) for pair in zip(one.codes, other.codes, strict=True)])
    reasons: dict[int, str] = {}
    unchecked = set()
    for code, (first, second) in enumerate(places):
        a, b = one.values[first], other.values[second]
        if a is None or b is None:
            unchecked.add(code)
            continue
        why = check(a, b)
        if why is not None:
            reasons[code] = why
    made = sum(code not in unchecked for code in codes) if unchecked else len(codes)
    return name, made, codes, reasons


def _names_differ(name: str, fqdn: str) -> str | None:
    short, full = name.lower(), fqdn.lower()
    if full == short or full.startswith(f"{short}."):
        return None
    if short.startswith(f"{full}.") or " " in short or parse_ip(short) or parse_ip(full):
        return None
    if short.split(".")[0] == full.split(".")[0]:
        return None
    return f"the name {_short(name)} and the FQDN {_short(fqdn)} differ"


def _off_but_busy(power: str, percent: float) -> str | None:
    return f"switched off, but its processors are {percent:g} % busy" if power == "off" and percent > 0 else None


def _more_used(whole: float, used: float) -> str | None:
    return f"{used:g} GiB in use of {whole:g} GiB" if used > whole * 1.01 else None


def _above_peak(average: float, peak: float) -> str | None:
    return f"the average of {average:g} % is above the peak of {peak:g} %" if average > peak + 0.01 else None


def _short(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


# --- all tables -------------------------------------------------------------------------------------------------


def score(found: Iterable[TableQuality], today: date | None) -> dict[str, Any]:
    """The quality of an estate.

    `{overall, formula, dimensions{name: {score, formula, numerator, denominator, weight, by_field?, worst_rows[{file,
    sheet, row, why}], worst_columns[{file, sheet, column, why}], note}}, left_out[]}`. Scores are 0..100. A dimension
    that nothing in the data speaks of has score None, is named in `left_out` and has no share in the overall score.
    """
    tables = list(found)
    dimensions = {
        "completeness": _scored_completeness(tables),
        "validity": _scored("validity", tables, [table.readable for table in tables], "no cell states anything"),
        "consistency": _scored(
            "consistency", tables, [table.checks for table in tables], "no row can be checked against itself"
        ),
        "uniqueness": _scored(
            "uniqueness", tables, [table.keys for table in tables], "no table of machines or applications has keys"
        ),
        "timeliness": _scored_timeliness(tables, today),
    }
    counted = {name: one for name, one in dimensions.items() if one["score"] is not None}
    weight = sum(one["weight"] for one in counted.values())
    overall = round(sum(one["score"] * one["weight"] for one in counted.values()) / weight, 1) if weight else None
    left_out = [name for name in dimensions if name not in counted]
    shares = " + ".join(f"{one['weight']:g} x {name}" for name, one in counted.items())
    formula = f"({shares}) / {round(weight, 2):g}" if counted else "nothing could be measured"
    return {"overall": overall, "formula": formula, "dimensions": dimensions, "left_out": left_out}


def _dimension(
    name: str, numerator: float, denominator: int, tables: Sequence[TableQuality], nothing: str
) -> dict[str, Any]:
    return {
        "score": round(100 * numerator / denominator, 1) if denominator else None,
        "formula": FORMULAS[name],
        "numerator": round(numerator, 2),
        "denominator": denominator,
        "weight": WEIGHTS[name],
        "worst_rows": _worst(tables, name, "row"),
        "worst_columns": _worst(tables, name, "column"),
        "note": None if denominator else f"Left out of the overall score: {nothing}.",
    }


def _worst(tables: Sequence[TableQuality], name: str, what: str) -> list[dict[str, Any]]:
    listed = [
        (one.weight, table, one)
        for table in tables
        for one in (table.worst_rows if what == "row" else table.worst_columns).get(name, ())
    ]
    listed.sort(key=lambda entry: -entry[0])
    return [
        {"file": table.file, "sheet": table.sheet, what: one.row if what == "row" else one.column, "why": one.why}
        for _, table, one in listed[:WORST]
    ]


def _scored(
    name: str, tables: Sequence[TableQuality], figures: Sequence[tuple[int, int]], nothing: str
) -> dict[str, Any]:
    return _dimension(name, sum(good for good, _ in figures), sum(of for _, of in figures), tables, nothing)


def _scored_completeness(tables: Sequence[TableQuality]) -> dict[str, Any]:
    known = expected = 0
    by_field: dict[str, dict[str, Any]] = {}
    for role, targets in EXPECTED.items():
        of_role = [table for table in tables if table.role == role and table.rows]
        rows = sum(table.rows for table in of_role)
        for target in targets if rows else ():
            stated = [table.known[target] for table in of_role if target in table.known]
            has = sum(count for count, _ in stated)
            of = sum(count for _, count in stated) or rows
            known, expected = known + has, expected + of
            before = by_field.get(target, {"known": 0, "expected": 0, "stated": False})
            by_field[target] = {
                "known": before["known"] + has,
                "expected": before["expected"] + of,
                "stated": before["stated"] or bool(stated),
            }
    made = _dimension("completeness", known, expected, tables, "no table lists machines or applications")
    made["by_field"] = {
        target: {**one, "percent": round(100 * one["known"] / one["expected"], 1)} for target, one in by_field.items()
    }
    unstated = [target for target, one in by_field.items() if not one["stated"]]
    if unstated:
        made["note"] = f"No table has a column for {', '.join(unstated)}."
    return made


def _scored_timeliness(tables: Sequence[TableQuality], today: date | None) -> dict[str, Any]:
    fresh, rows = 0.0, 0
    nothing = "no table says when a row was last seen" if today is not None else "the day of reading is not known"
    for table in tables if today is not None else ():
        worst = []
        for day, (count, first) in table.seen.items():
            freshness, why = _freshness(date.fromisoformat(day), today)
            fresh += count * freshness
            rows += count
            if freshness < 1:
                worst.append(Worst(1 - freshness, why, row=first))
        worst.sort(key=lambda one: -one.weight)
        table.worst_rows["timeliness"] = worst[:WORST]
    return _dimension("timeliness", fresh, rows, tables, nothing)


def _freshness(day: date, today: date | None) -> tuple[float, str]:
    age = (today - day).days if today is not None else 0
    if age < 0:
        return 0.0, f"last seen on {day}, a day yet to come"
    share = 1 - (age - FRESH_DAYS) / (STALE_DAYS - FRESH_DAYS)
    return min(1.0, max(0.0, share)), f"last seen on {day}, {age:,} days ago"
