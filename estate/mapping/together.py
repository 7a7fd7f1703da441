"""What the columns of a table say about each other: nothing uses more than there is, and a host that is the machine itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from estate.mapping.suggestion import DOUBTFUL, Suggestion
from estate.mapping.units import conversion, doubt, is_guess, unit_columns
from estate.numbers import GIB, parse, split_unit
from estate.profile import Profile
from estate.roles import MACHINES
from estate.tables import Cell, Column, Table
from estate.targets import IN_VALUE, NAME_TARGETS
from estate.vocabulary import split_fqdn

MAX_ROWS = 2_000
"""Rows that are compared, spread over the table."""
_PARTS_OF = {"memory_used_gb": "memory_gb", "storage_used_gb": "storage_gb"}
_MOST_WRONG = 0.02
_SETTLED = 0.9


@dataclass(frozen=True, slots=True)
class _Told:
    """A column and what it was taken for."""

    suggestion: Suggestion
    profile: Profile
    guess: bool

    @property
    def column(self) -> Column:
        return self.profile.column


def compare(table: Table, found: Sequence[Suggestion], profiles: Sequence[Profile]) -> None:
    """Doubt or settle units by what a machine has and uses of it, and see whether a host is the machine itself."""
    beside = unit_columns(table)
    told = {
        suggestion.target_field: _Told(suggestion, profile, is_guess(suggestion, profile, table, beside))
        for suggestion, profile in reversed(list(zip(found, profiles, strict=True)))
        if suggestion.target_field is not None
    }
    if table.role == MACHINES:
        _of_something_else(table, found, profiles)
    for part, whole in _PARTS_OF.items():
        if part in told:
            _used(table, told[part], told.get(whole))
    if "runs_on" in told and told["runs_on"].suggestion.confidence < _SETTLED:
        names = next((told[name] for name in NAME_TARGETS if name in told), None)
        if names is not None:
            _same_name(table, told["runs_on"], names, set(told))


# --- what is used of what there is ------------------------------------------------------------------------------


def _used(table: Table, part: _Told, whole: _Told | None) -> None:
    suggestion = part.suggestion
    if DOUBTFUL in (suggestion.number_format, suggestion.unit) or not (
        part.guess or suggestion.unit is None or (whole and whole.guess)
    ):
        return
    shares = _like_shares(part)
    if whole is None or whole.suggestion.unit is None or whole.suggestion.number_format == DOUBTFUL:
        if part.guess and shares:
            _doubt_unit(suggestion, "it could be GiB or percent: say which")
        return
    pairs = list(_pairs(table, part, whole))
    if not pairs:
        return
    name, unit = whole.suggestion.source_field, whole.suggestion.unit
    if suggestion.unit is None or part.guess:
        fits = unit in GIB and not shares and _more(pairs, GIB[unit]) <= _MOST_WRONG and not _tiny(pairs, GIB[unit])
        if fits and unit is not None and (suggestion.unit is None or _more(pairs, GIB[suggestion.unit]) > _MOST_WRONG):
            suggestion.unit, suggestion.confidence = unit, _SETTLED
            suggestion.reason += f"; it is read in {unit} like {name}, of which it is a part"
            suggestion.conversion = conversion(suggestion)
            return
    if suggestion.unit is None:
        return
    wrong = _more(pairs, GIB.get(suggestion.unit, 1.0))
    if wrong > _MOST_WRONG:
        if part.guess:
            _doubt_unit(
                suggestion, f"in {suggestion.unit} more would be used than {name} says there is: say which unit it is"
            )
        elif whole.guess:
            _doubt_unit(
                whole.suggestion,
                f"in {unit} it would be less than {suggestion.source_field} says is used: say which unit it is",
            )
    elif part.guess and shares and sorted(there for _, there in pairs)[len(pairs) // 2] > 200:
        _doubt_unit(
            suggestion, f"none of its values is above 100, though {name} says there is more: it could be percent"
        )


def _doubt_unit(suggestion: Suggestion, sentence: str) -> None:
    suggestion.unit = None
    suggestion.conversion = None
    doubt(suggestion, sentence)


def _like_shares(part: _Told) -> bool:
    found = part.profile.numbers(part.suggestion.number_format)
    return bool(found) and found[-1][0] <= 100


def _pairs(table: Table, part: _Told, whole: _Told) -> Iterator[tuple[float, float]]:
    """(the number of what is used, how many GiB there are) by row, where both are known and above 0."""
    used = [_number(cell, part.suggestion, None) for cell in part.column.distinct]
    there = [_number(cell, whole.suggestion, whole.suggestion.unit) for cell in whole.column.distinct]
    for row in _rows(table):
        one, other = used[part.column.codes[row]], there[whole.column.codes[row]]
        if one is not None and other is not None and one > 0 and other > 0:
            yield one, other


def _number(cell: Cell, suggestion: Suggestion, unit: str | None) -> float | None:
    text, own = split_unit(cell)
    number = parse(text, suggestion.number_format)
    if number is None or unit is None:
        return number
    factor = GIB.get(own or "") if unit == IN_VALUE or own is not None else GIB.get(unit)
    return number * factor if factor is not None else None


def _rows(table: Table) -> range:
    return range(0, len(table), max(1, len(table) // MAX_ROWS))


def _more(pairs: Sequence[tuple[float, float]], factor: float) -> float:
    """The share of rows that use more than there is."""
    return sum(used * factor > there * 1.001 for used, there in pairs) / len(pairs)


def _tiny(pairs: Sequence[tuple[float, float]], factor: float) -> bool:
    """Is hardly anything used in most rows?"""
    return sum(used * factor < there * 0.005 for used, there in pairs) * 2 > len(pairs)


# --- rows that speak of something else --------------------------------------------------------------------------


_ONE_OF_A_MACHINE = frozenset(
    {"environment", "location", "criticality", "business_owner", "technical_owner", "department", "power_state", "asset_type",
     "cpu_cores", "memory_gb", "operating_system", "serial_number", "uuid", "last_seen"}
)  # fmt: skip
_REPEATED = 1.5
_DIFFERENT = 0.5


def _of_something_else(table: Table, found: Sequence[Suggestion], profiles: Sequence[Profile]) -> None:
    """Where most machines have several rows (a database, a ticket each), a column that differs between the rows of most
    of them does not speak of the machine."""
    named = next(
        (profile for one, profile in zip(found, profiles, strict=True) if one.target_field in NAME_TARGETS), None
    )
    if named is None or named.repeats < _REPEATED:
        return
    for suggestion, profile in zip(found, profiles, strict=True):
        if suggestion.target_field in _ONE_OF_A_MACHINE and _share_of_different(named, profile) >= _DIFFERENT:
            doubt(suggestion, f"it differs between rows of one {named.column.name}, so it speaks of something else")


def _share_of_different(named: Profile, profile: Profile) -> float:
    """Of the machines with several rows that say something, the share whose rows do not agree."""
    rows: Counter[int] = Counter()
    said: dict[int, set[int]] = defaultdict(set)
    for machine, code in zip(named.column.codes, profile.column.codes, strict=True):
        if machine and code:
            rows[machine] += 1
            said[machine].add(code)
    repeated = [machine for machine, count in rows.items() if count > 1]
    return sum(len(said[machine]) > 1 for machine in repeated) / len(repeated) if repeated else 0.0


# --- hosts ------------------------------------------------------------------------------------------------------


def _same_name(table: Table, host: _Told, names: _Told, taken: set[str]) -> None:
    """`Host name` beside `Server name` is the machine's own where it says the same, the domain aside."""
    own, other = _short_names(names.column), _short_names(host.column)
    same = rows = 0
    for row in _rows(table):
        one, another = own[names.column.codes[row]], other[host.column.codes[row]]
        if one and another:
            rows += 1
            same += one == another
    if not rows or same < 0.9 * rows:
        return
    suggestion = host.suggestion
    target = "fqdn" if host.profile.fits("fqdn") else "hostname"
    if target in taken:
        return
    suggestion.target_field, suggestion.confidence = target, _SETTLED
    suggestion.reason = f"it names the same machine as {names.suggestion.source_field}"


def _short_names(column: Column) -> list[str]:
    return ["" if cell is None else _short(str(cell).strip().lower()) for cell in column.distinct]


def _short(name: str) -> str:
    return name.split(".", 1)[0] if split_fqdn(name) is not None else name
