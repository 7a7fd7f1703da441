"""Suggestions: what every column of an estate's tables probably means."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from estate.formats import BY_KIND
from estate.formats.exports import KEPT, Export
from estate.lexicon import bare, drive_of, of_one_drive, words
from estate.mapping.known import suggest_known
from estate.mapping.learned import MOST, STEP, Learned, Vote
from estate.mapping.suggestion import DOUBTFUL, LEARNED, NO_MATCH, Suggestion
from estate.mapping.together import compare
from estate.mapping.units import ASKS, conversion, decimal_told, settle, unit_columns
from estate.meanings import LEAST, Candidate, Surroundings, candidates, surroundings
from estate.personal import masked
from estate.profile import Profile
from estate.roles import IGNORED
from estate.tables import Cell, Column, Table
from estate.targets import (
    ADDED_TARGETS,
    MANY_TARGETS,
    NAME_TARGETS,
    RATE_TARGETS,
    REQUIRED_BY_ROLE,
    ROLE_TARGETS,
    SIZE_TARGETS,
)

MOST_ALTERNATIVES = 3
SHOWN_CHARACTERS = 80
_MASKED_CHARACTERS = 4096
_MANY_LEAST = 0.8
_SURE_PART = 0.9
_CONFIRM = 0.75
"""Confidence of what is likely and would be a wrong reading by a factor if it is not: below what is taken without asking."""
_LEAST_ALTERNATIVE = 0.3


def suggest(tables: Iterable[Table], learned: Learned | None = None) -> list[Suggestion]:
    """Suggestions for every column of every table that is not ignored.

    Confidence: 1.0 a known export or the exact name; 0.9 the name with filling words; 0.6..0.85 similar words or
    values only; lowered where the values do not have the shape of the target. A column that could be read under two
    units, separators or orders of day and month stays at 0.5 or below. `learned` are the approvals of the client.
    """
    votes = learned if learned is not None else Learned()
    found: list[Suggestion] = []
    for table in tables:
        if table.role != IGNORED:
            found += _of_table(table, votes)
    return found


def _of_table(table: Table, learned: Learned) -> list[Suggestion]:
    profiles = [Profile(column) for column in table.columns]
    export = BY_KIND.get(table.kind)
    if export is None:
        found = _by_meaning(table, profiles, learned)
        marks = {mark for one, profile in zip(found, profiles, strict=True) if (mark := decimal_told(one, profile))}
        if len(marks) == 1 and table.read_as.get("decimal") is None:
            found = _by_meaning(replace(table, read_as={**table.read_as, "decimal": marks.pop()}), profiles, learned)
        _disks_of_kinds(found)
        _one_column_each(found, profiles)
        compare(table, found, profiles)
    else:
        found = _by_list(table, export, profiles, learned)
    wanted = REQUIRED_BY_ROLE.get(table.role, ())
    for suggestion, profile in zip(found, profiles, strict=True):
        suggestion.samples = [_shown(suggestion.source_field, cell) for cell in profile.samples()]
        suggestion.required = suggestion.target_field in wanted
    return found


def _shown(name: str, cell: Cell) -> Cell:
    shown = masked(name, cell[:_MASKED_CHARACTERS] if isinstance(cell, str) else cell)
    return shown[:SHOWN_CHARACTERS] if isinstance(shown, str) else shown


# --- known exports ----------------------------------------------------------------------------------------------


def _by_list(table: Table, export: Export, profiles: Sequence[Profile], learned: Learned) -> list[Suggestion]:
    """The export's own columns by its list; the others by their meaning, as long as the list does not tell it better."""
    listed = suggest_known(table, export, profiles)
    claimed = {one.target_field for one in listed if one is not None} - MANY_TARGETS
    around, beside = surroundings(table.role, table.names), unit_columns(table)
    found: list[Suggestion] = []
    for known, name, profile in zip(listed, table.names, profiles, strict=True):
        if known is not None:
            found.append(known)
            continue
        meant = _suggested(table, profile, around, learned, beside)
        target = meant.target_field
        approved = meant.match_type == LEARNED
        if (export.rest == KEPT and not approved) or target is None or target in claimed or target in NAME_TARGETS:
            meant = _kept(table, name)
        elif target not in MANY_TARGETS:
            claimed.add(target)
        found.append(meant)
    return found


def _kept(table: Table, name: str) -> Suggestion:
    reason = "an attribute of the estate's own, kept under its name"
    return Suggestion(
        table.file, table.sheet, name, "custom_attributes", 0.9, "inferred", [], reason=reason, kind=table.kind
    )


# --- by meaning -------------------------------------------------------------------------------------------------


def _by_meaning(table: Table, profiles: Sequence[Profile], learned: Learned) -> list[Suggestion]:
    around, beside = surroundings(table.role, table.names), unit_columns(table)
    return [_suggested(table, profile, around, learned, beside) for profile in profiles]


def _suggested(
    table: Table,
    profile: Profile,
    around: Surroundings,
    learned: Learned,
    beside: Mapping[tuple[str, ...], Column],
) -> Suggestion:
    name = profile.column.name
    votes = learned.votes(name, table.kind)
    allowed = ROLE_TARGETS.get(table.role, ())
    offered = [one for one in candidates(name, profile, around) if one.target in allowed]
    offered = _with_votes(offered, votes, profile, allowed)
    suggestion = Suggestion(
        table.file, table.sheet, name, None, 0.0, NO_MATCH, [], reason="no known meaning", kind=table.kind
    )
    if offered and offered[0].confidence >= LEAST:
        best = offered.pop(0)
        suggestion.target_field, suggestion.confidence = best.target, round(best.confidence, 2)
        suggestion.match_type, suggestion.reason = best.match_type, best.reason
        settle(suggestion, profile, table, beside=beside)
        _with_approved_unit(suggestion, votes.get(best.target), best.confidence)
        if profile.blank:
            suggestion.reason += "; the column is blank"
    suggestion.alternatives = [_alternative(one) for one in offered if one.confidence >= _LEAST_ALTERNATIVE]
    del suggestion.alternatives[MOST_ALTERNATIVES:]
    return suggestion


def _alternative(one: Candidate) -> dict[str, Any]:
    return {"target_field": one.target, "confidence": round(one.confidence, 2), "reason": one.reason}


def _with_votes(
    offered: Sequence[Candidate], votes: Mapping[str, Vote], profile: Profile, allowed: Sequence[str]
) -> list[Candidate]:
    """The candidates, each approval and rejection weighed in, and the meanings only approvals know."""
    if not votes:
        return list(offered)
    found = {one.target: one for one in offered}
    for vote in votes.values():
        before = found.get(vote.target)
        if before is not None:
            weight = STEP * vote.net
            confidence = max(0.0, min(max(MOST, before.confidence), before.confidence + weight))
            if vote.net > 0:
                confidence = max(confidence, _fitting(vote, profile))
            found[vote.target] = Candidate(
                vote.target, confidence, before.match_type, f"{before.reason}; {_counted(vote)}"
            )
        elif vote.net > 0 and vote.target in allowed:
            found[vote.target] = Candidate(vote.target, _fitting(vote, profile), LEARNED, _counted(vote))
    return sorted(found.values(), key=lambda one: -one.confidence)


def _fitting(vote: Vote, profile: Profile) -> float:
    """The vote's confidence; half of it where the cells do not look like the target."""
    return vote.confidence * (0.5 if profile.fits(vote.target) is False else 1.0)


def _counted(vote: Vote) -> str:
    said = []
    for count, what in ((vote.approvals, "approved"), (vote.rejections, "rejected")):
        if count:
            said.append(f"{what} {'once' if count == 1 else f'{count} times'}")
    return f"{' and '.join(said)} as {vote.target} before"


def _with_approved_unit(suggestion: Suggestion, vote: Vote | None, confidence: float) -> None:
    """Where the values leave the unit open, the one people approved before is suggested, for somebody to confirm."""
    sized = suggestion.target_field in {*SIZE_TARGETS, *RATE_TARGETS}
    if vote is None or vote.net <= 0 or vote.unit is None or not sized or suggestion.doubtful != "unit":
        return
    if suggestion.unit == DOUBTFUL:
        # another column says the units, row by row
        return
    suggestion.unit = vote.unit
    suggestion.confidence = round(min(_CONFIRM, max(ASKS, confidence)), 2)
    suggestion.reason += f"; it was approved in {vote.unit}, and these values could be in another unit too: confirm it"
    suggestion.conversion = conversion(suggestion)


# --- one column for each target ---------------------------------------------------------------------------------


def _one_column_each(found: Sequence[Suggestion], profiles: Sequence[Profile]) -> None:
    """Of several columns for one target the best keeps it; the others become alternatives."""
    claims: dict[str, list[tuple[Suggestion, Profile]]] = defaultdict(list)
    for suggestion, profile in zip(found, profiles, strict=True):
        if suggestion.target_field is not None:
            claims[suggestion.target_field].append((suggestion, profile))
    for target, claimants in claims.items():
        claimants.sort(key=lambda claim: (-claim[0].confidence, claim[1].blank, _core_order(claim[0])))
        if target in ADDED_TARGETS:
            _parts_or_total(target, claimants)
        else:
            _best_first(target, claimants)


def _best_first(target: str, claimants: Sequence[tuple[Suggestion, Profile]]) -> None:
    best = claimants[0][0]
    for rank, (suggestion, _) in enumerate(claimants):
        suggestion.rank = rank
        if rank and not (target in MANY_TARGETS and suggestion.confidence >= _MANY_LEAST):
            give_up(suggestion, f"{best.source_field} fits {target} better")


def _core_order(suggestion: Suggestion) -> int:
    """Logical processors before cores before processors, where a table tells several."""
    if suggestion.target_field != "cpu_cores":
        return 0
    spoken = set(bare(suggestion.source_field)) | set(words(suggestion.source_field))
    order = ({"logical", "thread", "threads"}, {"vcpu", "vcpus", "v", "vcores"}, {"core", "cores"})
    return next((at for at, said in enumerate(order) if spoken & said), len(order))


def _parts_or_total(target: str, claimants: Sequence[tuple[Suggestion, Profile]]) -> None:
    """Columns that differ by a number, a letter, read and write, or in and out, are parts to be added; a column that
    is none of these is the whole, and the parts are left to it."""
    sure = [one for one, profile in claimants if one.confidence >= _MANY_LEAST and not profile.blank]
    parts = [one for one in sure if _is_part(one.source_field)]
    added = set(map(id, parts))
    whole = next((one for one in sure if id(one) not in added), None)
    if whole is None and len(parts) > 1:
        for suggestion, _ in claimants:
            if id(suggestion) in added:
                suggestion.reason += f"; one of {len(parts)} parts of {target}, which are added"
            else:
                give_up(suggestion, f"{parts[0].source_field} and {len(parts) - 1} more fit {target} better")
        return
    best = whole or claimants[0][0]
    for suggestion, _ in claimants:
        if suggestion is not best:
            give_up(suggestion, f"{best.source_field} fits {target} better")


_DISK_PARTS = frozenset({"os", "boot", "system", "root", "data"})


def _disks_of_kinds(found: Sequence[Suggestion]) -> None:
    """`OS disk (GB)` and `Data disk (GB)`, `Disk C (GB)` and `/var (GB)` are parts of the storage; one of them alone is not
    the storage."""
    parts = [
        one
        for one in found
        if one.target_field in {"storage_gb", "storage_used_gb"} and _names_a_disk(one.source_field)
    ]
    for target in ("storage_gb", "storage_used_gb"):
        own = _each_drive_once([one for one in parts if one.target_field == target])
        for one in own:
            if len(own) > 1 and one.doubtful is None:
                one.confidence = max(one.confidence, _SURE_PART)
            elif len(own) == 1:
                give_up(one, "it is one disk, and no column tells the others")


def _each_drive_once(parts: Sequence[Suggestion]) -> list[Suggestion]:
    """Without the columns that tell of a drive again: added, it would count twice."""
    told: dict[str, str] = {}
    kept = []
    for one in parts:
        drive = drive_of(one.source_field)
        if drive is not None and drive in told:
            give_up(one, f"{told[drive]} tells the size of that drive already")
            continue
        if drive is not None:
            told[drive] = one.source_field
        kept.append(one)
    return kept


def _names_a_disk(name: str) -> bool:
    """Does the column speak of one disk, by what it is for, its letter or its mount point?"""
    spoken = bare(name)
    of_a_kind = not _DISK_PARTS.isdisjoint(spoken) and not {"disk", "disks", "drive", "volume"}.isdisjoint(spoken)
    return of_a_kind or of_one_drive(name) is not None


_PART_WORDS = frozenset({"read", "reads", "write", "writes", "written", "in", "out", "sent", "received", "receive",
                         "transmit", "transmitted", "rx", "tx", "inbound", "outbound", "upload", "download", "source",
                         "destination", "src", "dst", "client", "server"})  # fmt: skip


def _is_part(name: str) -> bool:
    spoken = bare(name)
    if "total" in spoken:
        return False
    return _names_a_disk(name) or any(word in _PART_WORDS or word.isdigit() or len(word) == 1 for word in spoken)


def give_up(suggestion: Suggestion, why: str) -> None:
    suggestion.alternatives.insert(
        0, {"target_field": suggestion.target_field, "confidence": suggestion.confidence, "reason": suggestion.reason}
    )
    del suggestion.alternatives[MOST_ALTERNATIVES:]
    suggestion.target_field, suggestion.unit, suggestion.number_format = None, None, None
    suggestion.date_order, suggestion.conversion, suggestion.rank = None, None, 0
    suggestion.reason, suggestion.confidence, suggestion.match_type = why, 0.0, NO_MATCH
