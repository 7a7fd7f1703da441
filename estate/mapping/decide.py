"""Which mappings hold: the given ones, the sure ones, and what stands in the way of the rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from estate.clean import Use
from estate.dates import ORDERS
from estate.formats import not_used
from estate.lexicon import header_key
from estate.mapping.suggestion import CREW, DOUBTFUL, MANUAL, UNUSED, Decision, Missing, Refused, Suggestion
from estate.mapping.units import ASKS, conversion, settle
from estate.numbers import FORMATS
from estate.profile import Profile
from estate.roles import APPLICATIONS, CONNECTIONS, DETAIL, IGNORED, MACHINES, PERFORMANCE, SOFTWARE, TAGS
from estate.tables import Table, place_of
from estate.targets import (
    ADDED_TARGETS,
    DATE_TARGETS,
    IDENTITY_TARGETS,
    MANY_TARGETS,
    NAME_TARGETS,
    NUMBER_TARGETS,
    REQUIRED_BY_ROLE,
    TARGET_ALIASES,
    TARGETS,
    UTILIZATION_TARGETS,
    units_of,
)

LEAVE_OUT = frozenset({"", "ignore", "skip", "none", "null"})
PLAIN = frozenset({"plain", "decimal ."})
_ATTRIBUTE = "custom_attributes"


@dataclass(frozen=True, slots=True)
class Given:
    """What the caller says of a column; `target` None leaves it out."""

    target: str | None
    unit: str | None = None
    number_format: str | None = None
    date_order: str | None = None


# --- given mappings ---------------------------------------------------------------------------------------------


def check(given: Mapping[str, Any], suggestions: Sequence[Suggestion]) -> tuple[dict[int, Given], list[Refused]]:
    """Given mappings by the index of the suggestion they speak of; and what is refused.

    A source is `field`, `sheet.field`, `file.field`, `file/sheet.field` or `file/field`; a bare field speaks of every
    column of that name. A target is one of TARGETS, null to leave the column out, or an object `{"target_field": ...,
    "unit": ..., "number_format": ..., "date_order": ...}`.
    """
    index = _sources(suggestions)
    chosen: dict[int, Given] = {}
    spoken: dict[int, str] = {}
    refused: list[Refused] = []
    # the longest key is the most exact, so it is read last and wins
    for key in sorted(given, key=len):
        wanted = _wanted(key, given[key])
        if isinstance(wanted, Refused):
            refused.append(wanted)
            continue
        columns = index.get(key) or index.get(header_key(key))
        if not columns:
            refused.append(Refused(key, f"no uploaded table has a column {key!r}"))
            continue
        for at in columns:
            chosen[at] = wanted
            spoken[at] = key
    refused.extend(_twice(chosen, spoken, suggestions))
    return chosen, refused


def _sources(suggestions: Sequence[Suggestion]) -> dict[str, list[int]]:
    """The ways to name a column -> the columns meant, each once."""
    index: dict[str, list[int]] = defaultdict(list)
    for at, suggestion in enumerate(suggestions):
        name, sheet, file = suggestion.source_field, suggestion.source_sheet, suggestion.source_file
        keys = {name, f"{file}.{name}", f"{file}/{name}"}
        if sheet is not None:
            keys |= {f"{sheet}.{name}", f"{file}/{sheet}.{name}"}
        for key in keys | {header_key(key) for key in keys}:
            index[key].append(at)
    return index


def _wanted(key: str, value: Any) -> Given | Refused:
    details: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
    target = details.get("target_field", details.get("target")) if isinstance(value, Mapping) else value
    if target is not None and not isinstance(target, str):
        return Refused(key, f"the target of {key} must be a text or null")
    if target is None or target.strip().lower() in LEAVE_OUT:
        return Given(None)
    name = TARGET_ALIASES.get(target.strip().lower(), target.strip().lower())
    if name not in TARGETS:
        return Refused(key, f"{target!r} is not a target field; targets are {', '.join(TARGETS)}")
    unit = details.get("unit")
    if unit is not None and unit not in units_of(name):
        allowed = ", ".join(units_of(name))
        return Refused(
            key, f"{unit!r} is not a unit of {name}; " + (f"units are {allowed}" if allowed else "it has none")
        )
    number_format = details.get("number_format")
    if number_format is not None and number_format not in {*FORMATS, *PLAIN}:
        formats = ", ".join(repr(one) for one in (*FORMATS, "plain"))
        return Refused(key, f"{number_format!r} is not a number format; they are {formats}")
    date_order = details.get("date_order")
    if date_order is not None and date_order not in ORDERS:
        return Refused(key, f"{date_order!r} is not a date order; they are {', '.join(ORDERS)}")
    return Given(name, unit, number_format, date_order)


def _twice(
    chosen: Mapping[int, Given], spoken: Mapping[int, str], suggestions: Sequence[Suggestion]
) -> list[Refused]:  # fmt: skip
    """Two columns of one table that are to be the same single-valued field: one of them would be lost."""
    first: dict[tuple[tuple[str, str | None], str], str] = {}
    refused = []
    for at in sorted(chosen):
        target = chosen[at].target
        if target is None or target in MANY_TARGETS:
            continue
        column = suggestions[at]
        place = (column.place, target)
        if place in first:
            sentence = (
                f"{column.source_field!r} and {first[place]!r} are both mapped to {target}; a field takes one column"
            )
            refused.append(Refused(spoken[at], sentence))
        first.setdefault(place, column.source_field)
    return refused


def columns_of(tables: Iterable[Table]) -> list[Suggestion]:
    """Every column of the tables as a suggestion without a meaning, for `check`."""
    return [
        Suggestion(table.file, table.sheet, name, None, 0.0, "none", [], kind=table.kind)
        for table in tables
        if table.role != IGNORED
        for name in table.names
    ]


# --- the decision -----------------------------------------------------------------------------------------------


def decide(
    tables: Sequence[Table],
    suggestions: Sequence[Suggestion],
    *,
    given: Mapping[str, Any] | None = None,
    threshold: float = 0.8,
    take_all: bool = False,
) -> Decision:
    """Which mappings hold: the given ones, and the suggestions at or above the threshold (with `take_all` all of more than
    0.5: what the values do not look like is not taken unasked; what agents say is taken with `take_all` alone).

    A column whose unit, separators or order of day and month are doubtful is not taken until they are given. Machine
    tables need one of name, hostname, fqdn; connections both ends; applications a name; measurements, disks and tags
    whose they are and what they tell; software a product. A table in which no column was understood is `not_understood`
    when another table of the same estate is, else it misses its required targets.
    """
    chosen, refused = check(given or {}, suggestions)
    by_place = {(table.file, table.sheet): table for table in tables}
    mappings: list[Suggestion] = []
    left_out: list[Suggestion] = []
    unsettled: list[Missing] = []
    for at, suggestion in enumerate(suggestions):
        if at in chosen:
            if chosen[at].target is None:
                left_out.append(suggestion)
                continue
            made = _given(suggestion, chosen[at], by_place.get(suggestion.place))
            mappings.append(made)
            unsettled += _unsettled(made)
        elif suggestion.match_type == UNUSED:
            continue
        elif suggestion.target_field is None:
            mappings.append(replace(suggestion, target_field=_ATTRIBUTE))
        elif _holds(suggestion, threshold, take_all):
            mappings.append(suggestion)
        else:
            left_out.append(suggestion)
            mappings.append(_as_attribute(suggestion))
    mappings = _given_wins(mappings)
    missing, not_understood, incomplete = _lacking(tables, mappings)
    return Decision(mappings, missing + unsettled, refused, left_out, not_understood, incomplete)


def _holds(suggestion: Suggestion, threshold: float, take_all: bool) -> bool:
    if suggestion.doubtful is not None:
        return False
    sure = suggestion.confidence >= threshold and suggestion.match_type != CREW
    return sure or (take_all and suggestion.confidence > ASKS)


def _as_attribute(suggestion: Suggestion) -> Suggestion:
    return replace(
        suggestion, target_field=_ATTRIBUTE, unit=None, number_format=None, date_order=None, conversion=None, rank=0
    )


def _given(suggestion: Suggestion, wanted: Given, table: Table | None) -> Suggestion:
    target = wanted.target
    made = replace(suggestion, target_field=target, match_type=MANUAL, rank=0, reason="given by the user")
    if target != suggestion.target_field:
        made = replace(made, unit=None, number_format=None, date_order=None, conversion=None)
        column = None if table is None else next((c for c in table.columns if c.name == made.source_field), None)
        if table is not None and column is not None:
            settle(made, Profile(column), table)
    if wanted.unit is not None:
        made.unit = wanted.unit
    elif not units_of(target or ""):
        made.unit = None
    if wanted.number_format is not None and target in NUMBER_TARGETS:
        made.number_format = None if wanted.number_format in PLAIN else wanted.number_format
    if wanted.date_order is not None and target in DATE_TARGETS:
        made.date_order = wanted.date_order
    made.conversion = conversion(made)
    made.confidence = 1.0
    if target == suggestion.target_field and made.doubtful is not None and made.doubtful == suggestion.doubtful:
        made.reason += f"; {why_doubtful(suggestion)}"
    return made


def why_doubtful(suggestion: Suggestion) -> str:
    """What stands in the way of reading a doubtful column: the last clause of its reason."""
    return suggestion.reason.rsplit("; ", 1)[-1]


def _unsettled(made: Suggestion) -> list[Missing]:
    """A given column that cannot be read before its unit, separators or order of day and month are given too."""
    doubtful = made.doubtful
    if doubtful is None or made.target_field is None:
        return []
    key = doubtful.replace(" ", "_")
    place = place_of(made.source_file, made.source_sheet)
    sentence = (
        f"{place}: the {doubtful} of {made.source_field!r} cannot be told from its values"
        f"{f' ({why_doubtful(made)})' if '; ' in made.reason else ''}; give "
        f'{{"target_field": "{made.target_field}", "{key}": ...}}'
    )
    return [Missing(made.source_file, made.source_sheet, made.target_field, sentence)]


def _given_wins(mappings: list[Suggestion]) -> list[Suggestion]:
    """Where the user gave a column for a target, a suggested column for the same target of that table is only kept as
    an attribute; so it is where the user's column is to be added up with suggested ones."""
    manual = {(mapping.place, mapping.target_field) for mapping in mappings if mapping.match_type == MANUAL}
    return [
        _as_attribute(mapping)
        if mapping.match_type != MANUAL
        and (mapping.target_field not in MANY_TARGETS or mapping.target_field in ADDED_TARGETS)
        and (mapping.place, mapping.target_field) in manual
        else mapping
        for mapping in mappings
    ]


# --- what is lacking --------------------------------------------------------------------------------------------


def _lacking(
    tables: Sequence[Table], mappings: Sequence[Suggestion]
) -> tuple[list[Missing], list[tuple[str, str | None]], list[Missing]]:
    targets: dict[tuple[str, str | None], set[str]] = defaultdict(set)
    for mapping in mappings:
        if mapping.target_field is not None and mapping.target_field != _ATTRIBUTE:
            targets[mapping.place].add(mapping.target_field)
    used = [table for table in tables if table.role in _NEEDS and len(table)]
    if not used:
        # nothing of what was uploaded can be used: every table says why
        return [Missing(t.file, t.sheet, "name", _nothing(t)) for t in tables], [], []
    lacks = {id(table): _NEEDS[table.role](targets[table.file, table.sheet]) for table in used}
    complete = any(not lack for lack in lacks.values())
    missing: list[Missing] = []
    not_understood: list[tuple[str, str | None]] = []
    incomplete: list[Missing] = []
    for table in used:
        has = targets[table.file, table.sheet]
        lack = lacks[id(table)]
        if not lack:
            incomplete += _incomplete(table, has)
        elif complete and len(has) < (2 if table.kind == "table" else 1):
            not_understood.append((table.file, table.sheet))
        else:
            missing += [Missing(table.file, table.sheet, field, f"{table.place}: {what}") for field, what in lack]
    return missing, not_understood, incomplete


def _nothing(table: Table) -> str:
    if table.role == IGNORED:
        return not_used(table).rstrip(".")
    return f"{table.place}: it has no row of data"


def _incomplete(table: Table, has: set[str]) -> list[Missing]:
    wanted = [target for target in REQUIRED_BY_ROLE.get(table.role, ()) if target not in has]
    named = any(target in has for target in NAME_TARGETS)
    return [
        Missing(table.file, table.sheet, target, f"{table.place}: no column tells {target}")
        for target in wanted
        if not (target == "name" and named) and not target.startswith(("source_", "target_"))
    ]


def _needs_name(has: set[str]) -> list[tuple[str, str]]:
    if has & set(NAME_TARGETS):
        return []
    return [("name", "no column is mapped to name, hostname or fqdn; a machine needs one of them")]


def _needs_both_ends(has: set[str]) -> list[tuple[str, str]]:
    return [
        (
            f"{end}_name",
            f"no column is mapped to {end}_name, {end}_ip or {end}_application; a connection needs both ends",
        )
        for end in ("source", "target")
        if not has & {f"{end}_name", f"{end}_ip", f"{end}_application"}
    ]


def _needs_application(has: set[str]) -> list[tuple[str, str]]:
    return [] if "name" in has else [("name", "no column is mapped to name; an application needs one")]


def _needs_whose(what: str, *alternatives: Sequence[str]) -> Callable[[set[str]], list[tuple[str, str]]]:
    def needs(has: set[str]) -> list[tuple[str, str]]:
        lack = []
        if not has & set(IDENTITY_TARGETS):
            lack.append(("name", f"no column says which machine {what} is of; name, hostname or external_id would"))
        lack += [
            (some[0], f"no column is mapped to {' or '.join(some[:3])}; {what} needs it")
            for some in alternatives
            if not has & set(some)
        ]
        return lack

    return needs


def _needs_product(has: set[str]) -> list[tuple[str, str]]:
    return [] if "software" in has else [("software", "no column is mapped to software; a product needs a name")]


_NEEDS: dict[str, Callable[[set[str]], list[tuple[str, str]]]] = {
    MACHINES: _needs_name,
    DETAIL: _needs_whose("a disk or network card"),
    APPLICATIONS: _needs_application,
    CONNECTIONS: _needs_both_ends,
    PERFORMANCE: _needs_whose("a measurement", UTILIZATION_TARGETS),
    SOFTWARE: _needs_product,
    TAGS: _needs_whose("a tag", ("tag_key",), ("tag_value",)),
}


def uses(table: Table, decision: Decision) -> list[Use]:
    """What the columns of one table are used for, in the order of the file; nothing for a table not understood."""
    place = (table.file, table.sheet)
    if place in decision.not_understood:
        return []
    return [
        Use(
            mapping.source_field,
            mapping.target_field,
            mapping.unit,
            None if mapping.number_format == DOUBTFUL else mapping.number_format,
            None if mapping.date_order == DOUBTFUL else mapping.date_order,
            mapping.rank,
            mapping.confidence,
            mapping.reason,
        )
        for mapping in decision.mappings
        if mapping.place == place and mapping.target_field is not None
    ]
