"""Find out which column means what, let a person approve it, and apply it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from consumers.context import Invalid, NeedsInput, Outputs, Permanent, PhaseContext
from consumers.phases.discovery.handover import keep, keep_table, of_phase

if TYPE_CHECKING:
    from estate.mapping import Decision, Suggestion
    from estate.tables import Table

DEFAULT_THRESHOLD = 0.8
MAX_LISTED = 60


async def mappings_complete(ctx: PhaseContext) -> list[Invalid]:
    """What was given about mappings can be used: kinds of values, known columns, known targets.

    Nothing given is no objection: the handler then asks, with suggestions.
    """
    objections = _wrong_kinds(ctx.inputs)
    given = ctx.inputs.get("mappings")
    if objections or not given:
        return objections
    from estate.mapping import check, columns_of
    from estate.tables import load_columns

    headers = [load_columns(await ctx.artifacts.get(ref)) for ref in of_phase(ctx, "data_import")["tables"]]
    _, refused = check(given, columns_of(headers))
    return [Invalid(f"mappings.{one.field}", one.message) for one in refused]


async def apply_mappings(ctx: PhaseContext) -> Outputs:
    """Decide the mappings and pick the mapped columns of every table.

    Outputs `{tables[] (artifact references), mappings (artifact), mapped[], mapped_columns, columns, left_out,
    issues, message}`.
    Raises NeedsInput with `mapping_suggestions` when nobody approved, or when a required target has no column;
    Permanent
    `mappings_invalid` when a given mapping names an unknown column or target.
    """
    from estate.formats import IGNORED
    from estate.mapping import UNUSED, decide, suggest
    from estate.tables import load_table

    wrong = _wrong_kinds(ctx.inputs)
    if wrong:
        raise Permanent("mappings_invalid", " ".join(one.message for one in wrong), wrong)
    refs = of_phase(ctx, "data_import")["tables"]
    tables = [load_table(await ctx.artifacts.get(ref)) for ref in refs if ref["role"] != IGNORED]
    suggestions = suggest(tables)
    given: Mapping[str, Any] = ctx.inputs.get("mappings") or {}
    approval, automatic = ctx.inputs.get("approval"), bool(ctx.inputs.get("auto_approve_mappings"))
    decision = decide(
        tables,
        suggestions,
        given=given,
        threshold=float(ctx.inputs.get("mapping_confidence_threshold", DEFAULT_THRESHOLD)),
        take_all=approval is True and not given,
    )
    if decision.refused:
        fields = [Invalid(f"mappings.{one.field}", one.message) for one in decision.refused]
        raise Permanent("mappings_invalid", " ".join(f"{one.message}." for one in decision.refused), fields)
    shown = [suggestion.as_dict() for suggestion in suggestions if suggestion.match_type != UNUSED]
    if approval is not True and (not automatic or approval is False):
        raise NeedsInput(_question(shown, given), ["mappings", "approval"], {"mapping_suggestions": shown})
    if decision.missing:
        message = " ".join(f"{one.message}." for one in decision.missing) + " Say which column it is in mappings."
        raise NeedsInput(message, ["mappings", "approval"], {"mapping_suggestions": shown})
    return await _apply(ctx, tables, decision)


def _question(shown: list[dict[str, Any]], given: Mapping[str, Any]) -> str:
    known = sum(1 for suggestion in shown if suggestion["target_field"] is not None)
    if given:
        return "The mappings were given and not approved; send approval: true with them to go on."
    return (
        f"{known} of {len(shown)} columns have a suggested meaning;"
        " send mappings and approval: true, or approval: true alone to accept all."
    )


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


async def _apply(ctx: PhaseContext, tables: list[Table], decision: Decision) -> Outputs:
    from estate.cleansing import apply_mappings as pick

    by_table: dict[tuple[str, str | None], list[Suggestion]] = defaultdict(list)
    for mapping in decision.mappings:
        by_table[mapping.source_file, mapping.source_sheet].append(mapping)
    refs = []
    for done, table in enumerate(tables, 1):
        if (table.file, table.sheet) in decision.not_understood:
            continue
        mapped = pick(table, by_table[table.file, table.sheet])
        refs.append(await keep_table(ctx, mapped.dump(), mapped, len(mapped.rows)))
        await ctx.heartbeat(done, len(tables), f"{table.place}: {len(mapped.columns)} columns mapped")
    facts = [mapping for mapping in decision.mappings if mapping.target_field != "custom_attributes"]
    return {
        "tables": refs,
        "mappings": await keep(ctx, [mapping.as_dict() for mapping in decision.mappings]),
        "mapped": [
            {
                "source_file": mapping.source_file,
                "source_sheet": mapping.source_sheet,
                "source_field": mapping.source_field,
                "target_field": mapping.target_field,
                "confidence": mapping.confidence,
                "unit": mapping.unit,
            }
            for mapping in facts[:MAX_LISTED]
        ],
        "mapped_columns": len(facts),
        "attribute_columns": len(decision.mappings) - len(facts),
        "columns": sum(len(table.columns) for table in tables),
        "issues": await keep(ctx, _issues(ctx, decision)),
        "message": f"{len(facts)} columns were mapped to fields, {len(decision.mappings) - len(facts)} are kept"
        f" as attributes.",
    }


def _issues(ctx: PhaseContext, decision: Decision) -> list[dict[str, Any]]:
    from estate.issues import issue
    from estate.mapping import UNUSED
    from estate.tables import source

    made = [
        issue(
            ctx.flow_id,
            "mapping_not_taken",
            "low",
            f"{one.source_field} may be {one.target_field} (confidence {one.confidence:g}: {one.reason}); it is"
            f" kept as an attribute.",
            field=one.target_field,
            source=source(one.source_file, one.source_sheet, None),
        )
        for one in decision.left_out
        if one.match_type != UNUSED and one.target_field is not None
    ]
    made.extend(
        issue(
            ctx.flow_id,
            "sheet_not_understood",
            "medium",
            f"{sheet or file}: no column was understood; the sheet was left out.",
            source=source(file, sheet, None),
        )
        for file, sheet in decision.not_understood
    )
    return made
