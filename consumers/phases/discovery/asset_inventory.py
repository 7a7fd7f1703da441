"""Make one asset of every machine, and say what has changed since an earlier discovery."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from consumers.context import Invalid, Outputs, Permanent, PhaseContext
from consumers.phases.discovery.handover import IssueRows, Rows, clean_table, keep, of_phase
from domain.errors import ArtifactNotFound
from domain.words import counted

if TYPE_CHECKING:
    from estate.assets import Asset

LATEST, NONE = "latest", "none"
MAX_LISTED = 10
SIZES = {"cpu_cores": "cores", "memory_gb": "GiB of memory", "storage_gb": "GiB of storage"}
# an output that discovery 1.0 did not have: its assets have other fields, all of which would seem to have changed
COMPARABLE = "reviews"
SIDES = ("before", "after")


async def compare_with_valid(ctx: PhaseContext) -> list[Invalid]:
    """`compare_with`, where given, is `latest`, `none` or a flow of this engagement that has an inventory."""
    try:
        await _earlier(ctx)
    except Permanent as error:
        return error.fields
    return []


async def build_inventory(ctx: PhaseContext) -> Outputs:
    """Bring the clean rows together, and compare with the inventory that `compare_with` names.

    Outputs `{assets, issues, reviews, estate_changes (artifact references), assets_total, reviews_total, first_reviews[],
    by_type, by_environment, ..., changed{new, gone, changed, ..., against, against_round?}, first_changes[], issues_summary, message}`: the
    figures of `estate.inventory.build`. Those of changes are missing where there is nothing to compare with. Raises Permanent `inputs_invalid` on a `compare_with` that names no inventory.
    """
    from estate.inventory import build

    earlier = await _earlier(ctx)
    refs = of_phase(ctx, "data_cleansing")["tables"]
    tables = []
    for done, ref in enumerate(refs, 1):
        tables.append(await clean_table(ctx, ref))
        await ctx.heartbeat(done, len(refs) + 2, f"{tables[-1].place}: {len(tables[-1])} rows read")
    with Rows(ctx) as assets, IssueRows(ctx) as issues:

        def each(asset: Asset) -> None:
            assets.write(msgspec.structs.asdict(asset))

        found = build(tables, ctx.flow_id, each)
        tables.clear()
        await ctx.heartbeat(len(refs) + 1, len(refs) + 2, f"{assets.count} assets found")
        issues.write_all(found.issues)
        kept = await assets.keep()
        figures = dict(found.summary)
        for name in ("assets", "reviews"):
            # artifacts have these names
            del figures[name]
        outputs: Outputs = {
            "assets": kept,
            "issues": await issues.keep(),
            "reviews": await keep(ctx, found.reviews),
            "assets_total": assets.count,
            "reviews_total": len(found.reviews),
            "first_reviews": found.reviews[:MAX_LISTED],
            **figures,
            "issues_summary": issues.summary(),
            "message": _sentence(found.summary, assets.count, len(found.reviews)),
        }
        if earlier is not None:
            outputs |= await _compared(ctx, *earlier, assets.path)
            outputs["message"] += f"; {_told(outputs['changed'])}"
        outputs["message"] += "."
        return outputs


async def _earlier(ctx: PhaseContext) -> tuple[dict[str, Any], Path] | None:
    """What to compare with, `{against, against_round?}`, and its assets; raises Permanent `inputs_invalid`.

    The latest is, in a later round, the inventory of the round before in this flow.
    """
    wanted = ctx.inputs.get("compare_with")
    if wanted is None:
        wanted = LATEST
    if wanted == NONE:
        return None
    former = await _former(ctx) if wanted == LATEST else None
    if former is not None:
        return former
    found = await ctx.past.earlier_inventory(wanted) if isinstance(wanted, str) else None
    assets: Any = found[1].get("assets") if found is not None else None
    if found is not None and isinstance(assets, dict) and COMPARABLE in found[1]:
        try:
            return {"against": str(found[0])}, await ctx.artifacts.fetch(assets)
        except ArtifactNotFound:
            if wanted != LATEST:
                raise
            return None
    if wanted == LATEST:
        return None
    message = "compare_with must be latest, none, or the id of a discovery of this engagement that has an inventory"
    if assets is not None:
        message += "; that of this one was made by an older version and cannot be compared"
    wrong = Invalid("compare_with", message)
    raise Permanent("inputs_invalid", wrong.message, [wrong])


async def _former(ctx: PhaseContext) -> tuple[dict[str, Any], Path] | None:
    """The inventory of the newest former round of this flow that has one."""
    for number in range(ctx.iteration - 1, 0, -1):
        outputs = (await ctx.former(number) or {}).get("asset_inventory", {})
        if isinstance(assets := outputs.get("assets"), dict) and COMPARABLE in outputs:
            try:
                file = await ctx.artifacts.fetch(assets)
            except ArtifactNotFound:
                continue
            return {"against": str(ctx.flow_id), "against_round": number}, file
    return None


async def _compared(ctx: PhaseContext, earlier: dict[str, Any], before: Path, after: Path) -> Outputs:
    from estate.changes import compare

    with Rows(ctx) as changes:
        first: list[dict[str, Any]] = []

        def each(change: dict[str, Any]) -> None:
            changes.write(change)
            if len(first) < MAX_LISTED:
                first.append(_shown(change))

        summary = compare(before, after, each)
        by_kind = summary.pop("by_kind")
        await ctx.heartbeat(1, 1, f"compared with {earlier['against']}")
        return {
            "estate_changes": await changes.keep(),
            "first_changes": first,
            "changed": by_kind | summary | earlier,
        }


def _shown(change: dict[str, Any]) -> dict[str, Any]:
    """A change as outputs may hold it: what looks like personal data is masked, the artifact has all of it."""
    fields = [
        {**one, **{side: _masked(one["field"].removeprefix("custom_attributes."), one[side]) for side in SIDES}}
        for one in change["fields"][:MAX_LISTED]
    ]
    return {**change, "fields": fields, "fields_total": len(change["fields"])}


def _masked(field: str, value: Any) -> Any:
    from estate.personal import masked

    if isinstance(value, list):
        return [_masked(field, one) for one in value]
    return masked(field, value) if isinstance(value, str | int | float) else value


def _sentence(figures: Mapping[str, Any], assets: int, reviews: int) -> str:
    elsewhere = {
        "belong to no asset": figures["orphan_rows"],
        "name no machine": figures["rows_without_machine"],
    }
    aside = "".join(f", {count} {what}" for what, count in elsewhere.items() if count)
    return (
        f"{counted(figures['rows'], 'row')}: {figures['rows_in_assets']} make {counted(assets, 'asset')}{aside};"
        f" {counted(figures['with_conflicts'], 'asset has', 'assets have')} conflicting values,"
        f" {counted(reviews, 'match is', 'matches are')} to be reviewed{_capacity(figures['totals'])}"
    )


def _capacity(totals: Mapping[str, Any]) -> str:
    """What is to be moved, and how many machines are not; nothing where there are none."""
    parts = {unit: totals[name]["to_move"] for name, unit in SIZES.items()}
    machines = totals["cpu_cores"]["to_move"]["known"] + totals["cpu_cores"]["to_move"]["unknown"]
    stay = sum(one["known"] + one["unknown"] for one in totals["cpu_cores"]["not_moved"].values())
    told = []
    for unit, one in parts.items():
        partly = f" (known of {one['known']})" if one["unknown"] and one["known"] else ""
        told.append(f"{one['sum']:.12g} {unit}{partly}" if one["known"] else f"{unit.rpartition(' ')[2]} unknown")
    moved = f"; to be moved: {counted(machines, 'machine')}, {', '.join(told)}" if machines else ""
    return moved + (f"; not moved and not in these sizes: {counted(stay, 'machine')}" if stay else "")


def _told(changed: Mapping[str, Any]) -> str:
    figures = ", ".join(f"{changed[kind]} {kind}" for kind in ("new", "gone", "changed", "renamed", "unchanged"))
    number = changed.get("against_round")
    return f"against {f'round {number} of this flow' if number else changed['against']}: {figures}"
