"""Suggestions for the columns of known exports: what their tool writes in them is known, the cells only tell how."""

from __future__ import annotations

import re
from collections.abc import Sequence

from estate.formats.exports import DROP, KEEP, UNUSED, Export, Meaning
from estate.lexicon import compact
from estate.mapping.suggestion import UNUSED as NOT_USED
from estate.mapping.suggestion import Suggestion
from estate.mapping.units import doubt, settle, unit_columns
from estate.profile import Profile
from estate.tables import Table
from estate.targets import ADDED_TARGETS, MANY_TARGETS

_TAG = re.compile(r"tag(\d+)")
_TAG_TARGETS = {"datacenter": "location", "applicationtype": "custom_attributes", "environment": "environment",
                "criticality": "criticality", "businessunit": "department"}  # fmt: skip


def suggest_known(table: Table, export: Export, profiles: Sequence[Profile]) -> list[Suggestion | None]:
    """One suggestion per column; None where the export's list does not say what the column is."""
    meanings = [export.meaning(column.name) for column in table.columns]
    if export.kind == "konveyor.applications":
        meanings = _tags_by_category(table, meanings, profiles)
    if export.product == "servicenow":
        meanings = _cores_by_processor(table, meanings, profiles)
    chosen = _chosen_ranks(meanings, profiles)
    own = _own_columns(table, export)
    taken: set[str] = set()
    beside = unit_columns(table)
    found: list[Suggestion | None] = []
    for at, (column, profile) in enumerate(zip(table.columns, profiles, strict=True)):
        meaning = meanings[at]
        if meaning is None:
            if export.rest != UNUSED or at in own:
                found.append(None)
                continue
            meaning = DROP
        held = _held(meaning, chosen, taken, profile)
        suggestion = _suggestion(table, export, column.name, held)
        if held.target is not None:
            settle(suggestion, profile, table, unit=held.unit, sure=held.sure, date_order=held.date_order,
                   beside=beside)  # fmt: skip
            taken.add(held.target)
        found.append(suggestion)
    if export.product == "servicenow":
        _ask_for_cores(table, meanings, profiles, found)
    return found


def _chosen_ranks(meanings: Sequence[Meaning | None], profiles: Sequence[Profile]) -> dict[str, int]:
    """By target the lowest rank of a column that is not blank; of blank ones where all are."""
    ranks: dict[str, tuple[bool, int]] = {}
    for meaning, profile in zip(meanings, profiles, strict=True):
        if meaning is None or meaning.target is None:
            continue
        found = (profile.blank, meaning.rank)
        ranks[meaning.target] = min(found, ranks.get(meaning.target, found))
    return {target: rank for target, (_, rank) in ranks.items()}


def _held(meaning: Meaning, chosen: dict[str, int], taken: set[str], profile: Profile) -> Meaning:
    """What a column means beside the others of its table."""
    target = meaning.target
    if target is None or target == "custom_attributes":
        return meaning
    if target in MANY_TARGETS and target not in ADDED_TARGETS:
        return meaning
    if meaning.rank != chosen[target]:
        other = meaning.otherwise or KEEP
        return DROP if profile.blank and other == KEEP else other
    if target in taken and target not in ADDED_TARGETS:
        return KEEP
    return meaning


def _suggestion(table: Table, export: Export, name: str, held: Meaning) -> Suggestion:
    made = Suggestion(table.file, table.sheet, name, held.target, 1.0, "direct", [], rank=held.rank, kind=table.kind)
    if held.target is None:
        made.confidence, made.match_type = 0.0, NOT_USED
        made.reason = f"known column of {export.kind}, not used"
    elif held.target == "custom_attributes":
        made.reason = f"known column of {export.kind}, kept under its name"
    else:
        made.reason = f"known column of {export.kind}"
    return made


def _own_columns(table: Table, export: Export) -> range:
    """RVTools writes an estate's own attributes between Annotation and Datacenter."""
    keys = [export.key(column.name) for column in table.columns]
    if export.product == "rvtools" and "annotation" in keys and "datacenter" in keys:
        return range(keys.index("annotation") + 1, keys.index("datacenter"))
    return range(0)


def _tags_by_category(
    table: Table, meanings: list[Meaning | None], profiles: Sequence[Profile]
) -> list[Meaning | None]:  # fmt: skip
    """`Tag 3` means what `Tag Category 3` says, where that is one and the same in every row."""
    keys = [compact(column.name) for column in table.columns]
    made = list(meanings)
    for at, key in enumerate(keys):
        tag = _TAG.fullmatch(key)
        if tag is None:
            continue
        category = next((keys.index(name) for name in (f"tagcategory{tag.group(1)}", f"tagtype{tag.group(1)}")
                         if name in keys), None)  # fmt: skip
        if category is None:
            continue
        said = {compact(str(cell)) for cell, _ in profiles[category].said()}
        if profiles[at].blank:
            made[at] = made[category] = DROP
        elif len(said) == 1:
            made[at], made[category] = Meaning(_TAG_TARGETS.get(said.pop(), "technologies")), DROP
        else:
            made[category] = KEEP
    return made


def _cores_by_processor(
    table: Table, meanings: Sequence[Meaning | None], profiles: Sequence[Profile]
) -> list[Meaning | None]:
    """ServiceNow counts processors in one column and the cores of one in another: where each machine has one processor,
    the second is what is wanted."""
    processors = _counted(table, meanings, profiles, 0)
    each = _counted(table, meanings, profiles, 1)
    if processors is None or each is None or not _all_one(profiles[processors]):
        return list(meanings)
    return [KEEP if at == processors else meaning for at, meaning in enumerate(meanings)]


def _counted(
    table: Table, meanings: Sequence[Meaning | None], profiles: Sequence[Profile], rank: int
) -> int | None:  # fmt: skip
    return next(
        (
            at
            for at in range(len(table.columns))
            if (meaning := meanings[at]) is not None
            and (meaning.target, meaning.rank) == ("cpu_cores", rank)
            and not profiles[at].blank
        ),
        None,
    )


def _all_one(profile: Profile) -> bool:
    return all(number == 1 for number, _ in profile.numbers(None))


def _ask_for_cores(
    table: Table,
    meanings: Sequence[Meaning | None],
    profiles: Sequence[Profile],
    found: Sequence[Suggestion | None],
) -> None:
    """Several processors of several cores: the product is wanted, which no column tells."""
    processors = _counted(table, meanings, profiles, 0)
    each = _counted(table, meanings, profiles, 1)
    if processors is None or each is None or _all_one(profiles[each]):
        return
    suggestion = found[processors]
    if suggestion is not None and suggestion.target_field == "cpu_cores":
        doubt(suggestion, f"it counts processors, and {table.columns[each].name} the cores of each")
