"""Find out which column means what, let a person approve it, and say what each column is used for."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from consumers.context import Invalid, NeedsInput, Outputs, Permanent, PhaseContext
from consumers.phases.discovery.handover import IssueRows, Rows, of_phase, place_of, raw_table
from consumers.phases.discovery.mapping_crew import AS_MEANT, NOT_ASKED, ask_agents
from domain.words import counted

if TYPE_CHECKING:
    from estate.mapping import Decision, Suggestion
    from estate.tables import Table

DEFAULT_THRESHOLD = 0.8
MAX_LISTED = 60
MAX_DOUBTS = 10
NOTHING_USED = (
    " Begin a discovery with other files; where such a sheet is an inventory all the same, say its role in import_options"
    " before (PATCH /api/v1/imports/{import_file_id})."
)
ATTRIBUTE = "custom_attributes"
MAPPER, USER = "mapper", "user"


async def mappings_complete(ctx: PhaseContext) -> list[Invalid]:
    """What was given about mappings can be used: kinds of values, known columns, known targets.

    Nothing given is no objection: the handler then asks, with suggestions.
    """
    objections = _wrong_kinds(ctx.inputs)
    given = ctx.inputs.get("mappings")
    if objections or not given:
        return objections
    from estate.mapping import check, columns_of

    _, refused = check(given, columns_of(await _headers(ctx)))
    return [Invalid(f"mappings.{one.field}", one.message) for one in refused]


async def apply_mappings(ctx: PhaseContext) -> Outputs:
    """Decide the mappings, and what each column of every table is used for; no row is copied.

    Where a model is configured, agents are asked about the columns that rules leave open; their suggestions hold where a
    person approves, and `agents` in the outputs says what came of it (`mapping_crew.ask_agents`).

    Outputs `{tables[{file, sheet, kind, role, rows, raw (artifact reference), uses[]}], mappings, issues (artifacts),
    mapped[], mapped_columns, attribute_columns, columns, incomplete[], learned, agents, issues_summary, message}`; `incomplete` says
    which targets no column tells, `learned` how many mappings approved before were known.
    A row of `mappings` is a suggestion with `{kind, status, suggested_by, approved_by}`: `approved` by a person, `rejected`
    where a person said otherwise, `suggested` where nobody was asked.

    Raises NeedsInput with `mapping_suggestions` when nobody approved, when a required target has no column, or when a unit
    or an order of dates is in doubt; Permanent `mappings_invalid` when a given mapping names an unknown column or target.
    """
    from estate.mapping import UNUSED, Learned, decide, suggest
    from estate.ndjson import read_ndjson
    from estate.roles import IGNORED

    wrong = _wrong_kinds(ctx.inputs)
    if wrong:
        raise Permanent("mappings_invalid", " ".join(one.message for one in wrong), wrong)
    imported = of_phase(ctx, "data_import")
    refs = [ref for ref in imported["tables"] if ref["role"] != IGNORED]
    unused = [table for table in await _headers(ctx) if table.role == IGNORED]
    tables: list[Table] = []
    for done, ref in enumerate(refs, 1):
        tables.append(await raw_table(ctx, ref))
        await ctx.heartbeat(done, len(refs) + 1, f"{tables[-1].place}: {len(tables[-1])} rows")
    learned = list(read_ndjson(await ctx.artifacts.fetch(imported["learned"])))
    suggestions = suggest(tables, Learned.of(learned))
    given: Mapping[str, Any] = ctx.inputs.get("mappings") or {}
    agents = await ask_agents(ctx, tables, suggestions, given)
    approval, automatic = ctx.inputs.get("approval"), bool(ctx.inputs.get("auto_approve_mappings"))
    decision = decide(
        [*tables, *unused],
        suggestions,
        given=given,
        threshold=float(ctx.inputs.get("mapping_confidence_threshold", DEFAULT_THRESHOLD)),
        take_all=approval is True and not given,
    )
    if decision.refused:
        fields = [Invalid(f"mappings.{one.field}", one.message) for one in decision.refused]
        raise Permanent("mappings_invalid", " ".join(f"{one.message}." for one in decision.refused), fields)
    shown = [suggestion.as_dict() for suggestion in suggestions if suggestion.match_type != UNUSED]
    asked_for = (["mappings", "approval"], {"mapping_suggestions": shown, "agents": agents})
    if approval is not True and (not automatic or approval is False):
        raise NeedsInput(_question(shown, given, agents), *asked_for)
    if decision.missing:
        then = (" Say which column it is in mappings." if _lacks_column(decision) else "") if tables else NOTHING_USED
        message = " ".join(f"{one.message}." for one in decision.missing[:MAX_DOUBTS]) + then
        raise NeedsInput(message, *asked_for)
    doubtful = _doubtful(decision)
    if doubtful and approval is not True:
        raise NeedsInput(_doubts(doubtful), *asked_for)
    outputs = await _outputs(ctx, refs, tables, suggestions, decision, learned=len(learned))
    message = outputs["message"] if agents["outcome"] in NOT_ASKED else f"{outputs['message']} {agents['message']}"
    return outputs | {"agents": agents, "message": message}


def _question(shown: list[dict[str, Any]], given: Mapping[str, Any], agents: Mapping[str, Any]) -> str:
    from estate.mapping.suggestion import CREW

    known = sum(1 for suggestion in shown if suggestion["target_field"] is not None)
    if given:
        return "The mappings were given and not approved; send approval: true with them to go on."
    theirs = sum(1 for suggestion in shown if suggestion["match_type"] == CREW)
    by_agents = f" ({theirs} of them by agents)" if theirs else ""
    fell_short = "" if agents["outcome"] in AS_MEANT else f" {agents['message']}"
    return (
        f"{known} of {len(shown)} columns have a suggested meaning{by_agents};"
        " send mappings and approval: true, or approval: true alone to accept all that their values do not contradict."
        f"{fell_short}"
    )


def _lacks_column(decision: Decision) -> bool:
    """Is a target missing that no column was given for? Not where a given column only lacks its unit."""
    told = {(*one.place, one.target_field) for one in decision.mappings if one.doubtful is not None}
    return any((one.file, one.sheet, one.field) not in told for one in decision.missing)


def _doubtful(decision: Decision) -> list[Suggestion]:
    """The columns that are not taken because it is unknown how to read them, and of which nobody has said anything."""
    kept = {(*one.place, one.source_field) for one in decision.mappings}
    return [one for one in decision.left_out if one.doubtful is not None and (*one.place, one.source_field) in kept]


def _doubts(doubtful: list[Suggestion]) -> str:
    from estate.mapping import why_doubtful

    told = "; ".join(
        f"the {one.doubtful} of {one.source_field!r} in {one.source_sheet or one.source_file} ({one.target_field}:"
        f" {why_doubtful(one)})"
        for one in doubtful[:MAX_DOUBTS]
    )
    more = f" and {len(doubtful) - MAX_DOUBTS} more" if len(doubtful) > MAX_DOUBTS else ""
    return (
        f"These cannot be told from the values: {told}{more}. Give them in mappings, such as {_answer(doubtful[0])}, or null"
        " for a column that is not needed; approval: true alone keeps such columns as attributes."
    )


def _answer(doubtful: Suggestion) -> str:
    """What a caller can say of a doubtful column, as JSON."""
    from estate.targets import units_of

    key = str(doubtful.doubtful).replace(" ", "_")
    if key == "unit" and not units_of(str(doubtful.target_field)):
        return f'{{"{doubtful.source_field}": "{doubtful.target_field}"}}'
    return f'{{"{doubtful.source_field}": {{"target_field": "{doubtful.target_field}", "{key}": ...}}}}'


def _wrong_kinds(inputs: Mapping[str, Any]) -> list[Invalid]:
    wrong = []
    mappings = inputs.get("mappings")
    if mappings is not None and not isinstance(mappings, Mapping):
        wrong.append(Invalid("mappings", 'mappings must be an object {"<source column>": "<target field>"}'))
    if inputs.get("approval") is not None and not isinstance(inputs["approval"], bool):
        wrong.append(Invalid("approval", "approval must be true or false"))
    if inputs.get("auto_approve_mappings") is not None and not isinstance(inputs["auto_approve_mappings"], bool):
        wrong.append(Invalid("auto_approve_mappings", "auto_approve_mappings must be true or false"))
    threshold = inputs.get("mapping_confidence_threshold", DEFAULT_THRESHOLD)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        wrong.append(
            Invalid("mapping_confidence_threshold", "mapping_confidence_threshold must be a number from 0 to 1")
        )
    return wrong


async def _headers(ctx: PhaseContext) -> list[Table]:
    """The tables of the import without their rows."""
    from estate.ndjson import read_ndjson
    from estate.tables import Column, Table

    path = await ctx.artifacts.fetch(of_phase(ctx, "data_import")["headers"])
    return [
        Table(
            one["file"],
            one["sheet"],
            [Column(name, [None], array("I")) for name in one["columns"]],
            array("I"),
            one["header_row"],
            kind=one["kind"],
            role=one["role"],
        )
        for one in read_ndjson(path)
    ]


async def _outputs(
    ctx: PhaseContext,
    refs: list[Mapping[str, Any]],
    tables: list[Table],
    suggestions: list[Suggestion],
    decision: Decision,
    *,
    learned: int,
) -> Outputs:
    from estate.mapping import uses

    used = [
        place_of(table) | {"raw": dict(ref), "uses": [asdict(use) for use in uses(table, decision)]}
        for ref, table in zip(refs, tables, strict=True)
        if (table.file, table.sheet) not in decision.not_understood
    ]
    understood = [mapping for mapping in decision.mappings if mapping.place not in decision.not_understood]
    facts = [mapping for mapping in understood if mapping.target_field != ATTRIBUTE]
    attributes = len(understood) - len(facts)
    columns = sum(len(table.columns) for table in tables)
    with Rows(ctx) as mappings, IssueRows(ctx) as issues:
        mappings.write_all(_rows(ctx, suggestions, decision))
        issues.write_all(_issues(ctx, decision))
        issues.write_all(_unused_units(ctx, tables, decision))
        return {
            "tables": used,
            "mappings": await mappings.keep(),
            "mapped": [
                {
                    "source_file": mapping.source_file,
                    "source_sheet": mapping.source_sheet,
                    "source_field": mapping.source_field,
                    "target_field": mapping.target_field,
                    "confidence": mapping.confidence,
                    "match_type": mapping.match_type,
                    "unit": mapping.unit,
                    "conversion": mapping.conversion,
                    "reason": mapping.reason,
                }
                for mapping in facts[:MAX_LISTED]
            ],
            "mapped_columns": len(facts),
            "attribute_columns": attributes,
            "columns": columns,
            "incomplete": [f"{one.message}." for one in decision.incomplete[:MAX_LISTED]],
            "learned": learned,
            "issues": await issues.keep(),
            "issues_summary": issues.summary(),
            "message": f"{counted(columns, 'column')}: {len(facts)} mapped to fields, {attributes} kept as attributes,"
            f" {columns - len(understood)} not used.",
        }


def _rows(ctx: PhaseContext, suggestions: list[Suggestion], decision: Decision) -> Iterator[dict[str, Any]]:
    """What is remembered of every column: what it was taken for and by whom, and the suggestion that a person put aside."""
    from estate.mapping.suggestion import MANUAL

    approved = ctx.inputs.get("approval") is True
    for mapping in decision.mappings:
        given = mapping.match_type == MANUAL
        by_person = given or (approved and mapping.target_field != ATTRIBUTE)
        yield _row(mapping, "approved" if by_person else "suggested", USER if given else MAPPER, ctx.user_id)
    taken = {(*one.place, one.source_field): one for one in decision.mappings}
    for one in decision.left_out:
        # a column that nobody was sure about is kept as an attribute; one that a person gave no meaning is not kept
        if (*one.place, one.source_field) not in taken and one.target_field is not None:
            yield _row(one, "rejected", MAPPER, ctx.user_id)
    for before in suggestions:
        after = taken.get((*before.place, before.source_field))
        other = after is not None and after.match_type == MANUAL and after.target_field != before.target_field
        if other and before.target_field not in (None, ATTRIBUTE):
            yield _row(before, "rejected", MAPPER, ctx.user_id)


def _row(mapping: Suggestion, status: str, suggested_by: str, user_id: str) -> dict[str, Any]:
    return mapping.as_dict() | {
        "status": status,
        "suggested_by": suggested_by,
        "approved_by": user_id if status != "suggested" else None,
    }


def _issues(ctx: PhaseContext, decision: Decision) -> Iterator[dict[str, Any]]:
    from estate.issues import issue
    from estate.mapping import UNUSED
    from estate.tables import source

    kept = {(*one.place, one.source_field) for one in decision.mappings}
    for one in decision.left_out:
        if (*one.place, one.source_field) not in kept:
            # a person left it out: nothing is open
            continue
        if one.match_type != UNUSED and one.target_field is not None:
            yield issue(
                ctx.flow_id,
                "mapping_not_taken",
                "low",
                f"{one.source_field} may be {one.target_field} (confidence {one.confidence:g}: {one.reason}); it is"
                f" kept as an attribute.",
                field=one.target_field,
                source=source(one.source_file, one.source_sheet, None),
            )
    for file, sheet in decision.not_understood:
        yield issue(
            ctx.flow_id,
            "sheet_not_understood",
            "medium",
            f"{sheet or file}: no column was understood; the sheet was left out.",
            source=source(file, sheet, None),
        )


def _unused_units(ctx: PhaseContext, tables: list[Table], decision: Decision) -> Iterator[dict[str, Any]]:
    """Units of the import options that nothing was read in."""
    from estate.issues import issue
    from estate.lexicon import header_key
    from estate.tables import source
    from estate.targets import units_of

    taken = {(*one.place, header_key(one.source_field)): one for one in decision.mappings}
    doubted = {(*one.place, header_key(one.source_field)): one for one in decision.left_out if one.doubtful == "unit"}
    for table in tables:
        for column, unit in (table.read_as.get("units") or {}).items():
            mapping = taken.get((table.file, table.sheet, header_key(column)))
            if mapping is not None and units_of(str(mapping.target_field)):
                continue
            known = any(header_key(name) == header_key(column) for name in table.names)
            why = "nothing that has a unit was found in it" if known else "there is no such column"
            asked = doubted.get((table.file, table.sheet, header_key(column)))
            if asked is not None:
                why = f"that is no unit of {asked.target_field}"
            yield issue(
                ctx.flow_id,
                "unit_not_used",
                "low",
                f"{table.place}: the import options give {column} in {unit}, but {why}.",
                field=column,
                source=source(table.file, table.sheet, None),
            )
