"""What agents are asked about the columns that rules leave open, and what of their answers can be used.

Pure: the question as data, the answer checked by its shape and the vocabulary alone. What agents say is never taken
unasked: its confidence is capped below what holds by itself, and `decide` takes it with a person's approval only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from estate.mapping.suggest import MOST_ALTERNATIVES, give_up
from estate.mapping.suggestion import CREW, NO_MATCH, Suggestion
from estate.mapping.units import settle
from estate.personal import SECRET, masked
from estate.profile import Profile, is_address_list, is_flag, is_number, is_person, is_time
from estate.roles import APPLICATIONS, CONNECTIONS, DETAIL, MACHINES, PERFORMANCE, SOFTWARE, TAGS
from estate.tables import Table
from estate.targets import ADDED_TARGETS, MANY_TARGETS, REQUIRED_BY_ROLE, ROLE_TARGETS, TARGETS

SURE = 0.8
"""From here on a meaning is no open question."""
CAP = 0.75
"""Most confidence that agents can give: below what is taken unasked, as high as what a person should confirm."""
MOST_COLUMNS = 20
"""Columns of one question."""
MOST_OBJECTIONS = 5
_HEADER = 120
_SAMPLE = 60
_REASON = 200
_ATTRIBUTE = "custom_attributes"
_SEVERAL = MANY_TARGETS - set(ADDED_TARGETS)
"""Fields that agents may give to several columns; those that are added up are only told by rules."""
_FENCED = re.compile(r"\A\s*```(?:json)?\s*\n(?P<inside>.*)\n\s*```\s*\Z", re.DOTALL)
_ROWS = {
    MACHINES: "machines", DETAIL: "parts of machines: disks, network cards, processors", APPLICATIONS: "applications",
    CONNECTIONS: "connections between machines", PERFORMANCE: "measurements of machines",
    SOFTWARE: "software on machines, or licences", TAGS: "tags of machines",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Open:
    """A column that rules leave open: its suggestion, its cells, its table."""

    suggestion: Suggestion
    profile: Profile
    table: Table

    @property
    def key(self) -> list[str | None]:
        """Which column it is, as JSON."""
        return [self.suggestion.source_file, self.suggestion.source_sheet, self.suggestion.source_field]


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an agent says of one column; `target` None = it fits no field."""

    column: str
    target: str | None
    confidence: Annotated[float, msgspec.Meta(ge=0, le=1)]
    reason: Annotated[str, msgspec.Meta(max_length=2000)] = ""


class _Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    columns: list[Said]


_answer = msgspec.json.Decoder(_Answer)


class AnswerRefused(Exception):
    """An answer that cannot be used; `objections` are sentences for whoever gave it."""

    def __init__(self, objections: Sequence[str]) -> None:
        super().__init__(" ".join(objections))
        self.objections = list(objections[:MOST_OBJECTIONS])


# --- the question -----------------------------------------------------------------------------------------------


def open_columns(tables: Sequence[Table], suggestions: Sequence[Suggestion]) -> Iterator[list[Open]]:
    """The columns that rules leave open, table by table, at most MOST_COLUMNS in a list.

    Open are those without a meaning, and those whose meaning is less than SURE for another reason than a unit,
    separators or an order of dates: only the estate's people can tell those. Blank columns are not asked about.
    """
    by_place: dict[tuple[str, str | None], dict[str, Suggestion]] = {}
    for suggestion in suggestions:
        by_place.setdefault(suggestion.place, {})[suggestion.source_field] = suggestion
    for table in tables:
        told = by_place.get((table.file, table.sheet), {})
        found = [
            Open(told[column.name], profile, table)
            for column in table.columns
            if column.name in told and _is_open(told[column.name])
            if not (profile := Profile(column)).blank
        ]
        yield from (found[start : start + MOST_COLUMNS] for start in range(0, len(found), MOST_COLUMNS))


def _is_open(suggestion: Suggestion) -> bool:
    if suggestion.target_field is None:
        return suggestion.match_type == NO_MATCH
    return suggestion.confidence < SURE and suggestion.doubtful is None


def offered(columns: Sequence[Open], suggestions: Sequence[Suggestion]) -> list[str]:
    """The fields that these columns of one table can have: those of its role that no other column has for certain."""
    table = columns[0].table
    asked = {id(one.suggestion) for one in columns}
    taken = {
        suggestion.target_field
        for suggestion in suggestions
        if suggestion.place == (table.file, table.sheet) and id(suggestion) not in asked
        if suggestion.confidence >= SURE or suggestion.doubtful is not None or suggestion.match_type == CREW
    }
    single = taken - _SEVERAL
    return [name for name in ROLE_TARGETS.get(table.role, ()) if name not in single and name != _ATTRIBUTE]


def question(columns: Sequence[Open], targets: Sequence[str], *, samples: int) -> dict[str, Any]:
    """What an agent is told: `{rows_are, fields{name: description}, columns[{column, header, holds, filled_percent,
    different_values, units, samples}]}`.

    Columns go by `c1, c2, ...`. Headers and samples (at most `samples` a column) have credentials and personal data masked;
    of a column that names persons, or holds credentials, no sample is shown.
    """
    return {
        "rows_are": _ROWS[columns[0].table.role],
        "fields": {name: TARGETS[name].description for name in targets},
        "columns": [_asked(f"c{n}", one, samples) for n, one in enumerate(columns, 1)],
    }


def _asked(column: str, one: Open, samples: int) -> dict[str, Any]:
    profile, name = one.profile, one.suggestion.source_field
    holds = _holds(profile)
    shown = [] if holds == "names of persons" else [str(cell)[:_SAMPLE] for cell in one.suggestion.samples]
    return {
        "column": column,
        "header": str(masked("", name))[:_HEADER],
        "holds": holds,
        "filled_percent": round(100 * profile.rows / max(1, len(profile.column))),
        "different_values": profile.distinct,
        "units": sorted(unit for unit in profile.units if unit)[:3],
        "samples": [] if any(SECRET in cell for cell in shown) else shown[:samples],
    }


def _holds(profile: Profile) -> str:
    kinds = (
        (is_flag, "yes or no"),
        (is_number, "numbers"),
        (is_time, "dates"),
        (is_address_list, "addresses"),
        (is_person, "names of persons"),
    )
    return next((what for test, what in kinds if profile.share(test) >= 0.5), "texts")


# --- the answer -------------------------------------------------------------------------------------------------


def read_answer(text: str, columns: int, targets: Sequence[str]) -> list[Said]:
    """What an answer says of `columns` columns that could have these targets; those that it gives no field are left out.

    Raises AnswerRefused unless it is one JSON object of the asked shape (a code fence around it aside), about columns
    that were asked, each once, with fields that were offered, each once unless several columns may have it.
    """
    fenced = _FENCED.match(text)
    try:
        said = _answer.decode(fenced["inside"] if fenced else text).columns
    except msgspec.ValidationError as error:
        raise AnswerRefused([f"The JSON does not have the asked form: {error}."]) from error
    except (ValueError, RecursionError) as error:
        raise AnswerRefused(["The answer is not one JSON object."]) from error
    objections: list[str] = []
    asked = {f"c{n}" for n in range(1, columns + 1)}
    seen: set[str] = set()
    used: set[str] = set()
    for one in said:
        if one.column not in asked:
            objections.append(f"Column {one.column[:40]!a} was not asked.")
        elif one.column in seen:
            objections.append(f"Column {one.column} is answered twice.")
        seen.add(one.column)
        if one.target is None:
            continue
        if one.target not in targets:
            objections.append(f"{one.target[:60]!a} is not one of the fields.")
        elif one.target in used and one.target not in _SEVERAL:
            objections.append(f"{one.target} is given to two columns; a field takes one.")
        used.add(one.target)
    if objections:
        raise AnswerRefused(objections)
    return [one for one in said if one.target is not None]


def take(columns: Sequence[Open], said: Sequence[Said], suggestions: Sequence[Suggestion]) -> int:
    """Work an answer into the suggestions; how many columns got their meaning by it.

    A surer meaning replaces the one that rules have, which stays an alternative, and the other way round. Where the
    cells do not look like the field, the confidence is halved, so that approving all does not take it.
    """
    by_name = {f"c{n}": one for n, one in enumerate(columns, 1)}
    for one in said:
        _take(by_name[one.column], one)
    got = [one.suggestion for one in columns if one.suggestion.match_type == CREW]
    for mine in got:
        if mine.target_field not in _SEVERAL:
            _settle_rivals(mine, suggestions)
    return sum(one.match_type == CREW for one in got)


def _settle_rivals(mine: Suggestion, suggestions: Sequence[Suggestion]) -> None:
    """Of two columns of a table for one field the surer keeps it."""
    for other in suggestions:
        if other is mine or other.place != mine.place or other.target_field != mine.target_field:
            continue
        loser, winner = (mine, other) if other.confidence >= mine.confidence else (other, mine)
        give_up(loser, f"{winner.source_field} fits {winner.target_field} better")
        if loser is mine:
            return


def _take(one: Open, said: Said) -> None:
    suggestion = one.suggestion
    confidence = round(min(CAP, said.confidence), 2)
    reason = "agents say: " + (_plain(said.reason) or "it fits")
    if one.profile.fits(str(said.target)) is False:
        confidence, reason = round(confidence / 2, 2), f"{reason}; its cells do not look like it"
    if suggestion.target_field == said.target:
        suggestion.reason += "; agents say so too"
        return
    if suggestion.target_field is not None and suggestion.confidence >= confidence:
        suggestion.alternatives.insert(0, {"target_field": said.target, "confidence": confidence, "reason": reason})
        del suggestion.alternatives[MOST_ALTERNATIVES:]
        return
    if suggestion.target_field is not None:
        give_up(suggestion, "")
    suggestion.target_field, suggestion.confidence = said.target, confidence
    suggestion.match_type, suggestion.reason = CREW, reason
    suggestion.required = said.target in REQUIRED_BY_ROLE.get(one.table.role, ())
    settle(suggestion, one.profile, one.table)


def _plain(reason: str) -> str:
    """One line of it, as it can be shown."""
    return " ".join("".join(char if char.isprintable() else " " for char in reason).split())[:_REASON].rstrip(".")


def columns_named(
    keys: Sequence[Sequence[str | None]], tables: Sequence[Table], suggestions: Sequence[Suggestion]
) -> list[Open]:
    """The columns of these keys (`Open.key`), in their order; raises KeyError."""
    by_place = {(table.file, table.sheet): table for table in tables}
    by_key = {(*one.place, one.source_field): one for one in suggestions}
    found = []
    for file, sheet, field in keys:
        table = by_place[str(file), sheet]
        column = next(column for column in table.columns if column.name == field)
        found.append(Open(by_key[str(file), sheet, str(field)], Profile(column), table))
    return found
