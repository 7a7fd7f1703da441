"""What discovery does around its phases: says what it starts from, sums up what it found, and advises after a failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from consumers.context import Outputs, Permanent, PhaseContext
from consumers.phases.discovery.data_import import file_exists, file_format_valid, wanted_files
from domain.errors import NotHere
from domain.words import FailureClass, counted

Json = dict[str, Any]

GOOD_QUALITY = 80.0
MAX_LISTED = 20
PASSING = frozenset({FailureClass.NETWORK, FailureClass.TIMEOUT, FailureClass.DATABASE, FailureClass.RATE_LIMITED})
ABOUT_FILES = ("data_import", "field_mapping")


async def discovery_initialization(ctx: PhaseContext) -> Outputs:
    """Every file named is there and starts like a table that can be read; outputs `starts_from`, what the discovery stands on.

    `{files[{import_file_id, filename, size_bytes, sha256}], size_bytes, given}`; `given` are the names of the inputs. Raises
    Permanent `inputs_invalid` naming the input.
    """
    objections = await file_exists(ctx) or await file_format_valid(ctx)
    if objections:
        raise Permanent("inputs_invalid", " ".join(one.message for one in objections), objections)
    uploads = [await ctx.imports.open(one) for one in wanted_files(ctx.inputs)]
    files = [
        {
            "import_file_id": upload.import_file_id,
            "filename": upload.filename,
            "size_bytes": upload.size_bytes,
            "sha256": upload.sha256,
        }
        for upload in uploads
    ]
    size = sum(upload.size_bytes for upload in uploads)
    return {"starts_from": {"files": files, "size_bytes": size, "given": sorted(ctx.inputs)}}


async def discovery_finalization(ctx: PhaseContext) -> Outputs:
    """Sum up the phases: outputs `summary` with counts, what to do next, and whether an assessment can begin.

    `{files, rows_read, rows_clean, rows_rejected, quality, assets, by_type, to_review, dependencies, move_groups, findings,
    out_of_support, issues, ready_for_assessment, next_steps[], message}`; what a phase that was left out would tell is null.
    """

    def figure(phase: str, name: str) -> Any:
        return ctx.outputs.get(phase, {}).get(name)

    issues: Counter[str] = Counter()
    for outputs in ctx.outputs.values():
        issues.update((outputs.get("issues_summary") or {}).get("by_severity") or {})
    support = figure("tech_debt_assessment", "support") or {}
    assets, quality = figure("asset_inventory", "assets_total"), figure("data_cleansing", "quality") or {}
    files = figure("data_import", "files")
    summary: Json = {
        "files": None if files is None else len(files),
        "rows_read": figure("data_cleansing", "rows_read"),
        "rows_clean": figure("data_cleansing", "rows"),
        "rows_rejected": figure("data_cleansing", "rows_rejected"),
        "quality": quality.get("overall"),
        "assets": assets,
        "by_type": figure("asset_inventory", "by_type"),
        "to_review": figure("asset_inventory", "reviews_total"),
        "dependencies": figure("dependency_analysis", "without_noise"),
        "move_groups": figure("dependency_analysis", "groups"),
        "findings": figure("tech_debt_assessment", "findings_total"),
        "out_of_support": support.get("ended", 0) if support else None,
        "issues": dict(issues),
        "ready_for_assessment": bool(assets),
    }
    summary["next_steps"] = _next_steps(summary)
    summary["message"] = (
        f"{counted(assets or 0, 'asset')} from {counted(summary['files'] or 0, 'file')}, "
        f"{counted(summary['dependencies'] or 0, 'dependency', 'dependencies')}, "
        f"{counted(summary['findings'] or 0, 'finding')}."
    )
    return {"summary": summary}


def _next_steps(summary: Json) -> list[str]:
    steps = []
    if summary["rows_rejected"]:
        steps.append(f"look at the {counted(summary['rows_rejected'], 'row')} that were rejected (issues)")
    if summary["to_review"]:
        steps.append(f"decide {counted(summary['to_review'], 'doubtful match', 'doubtful matches')} (reviews)")
    if summary["quality"] is not None and summary["quality"] < GOOD_QUALITY:
        steps.append(f"improve the data: its quality is {summary['quality']:g} of 100")
    steps.append("run an assessment" if summary["ready_for_assessment"] else "upload an inventory that names machines")
    return steps


async def discovery_error_handler(ctx: PhaseContext) -> Outputs:
    """Say what the failure concerns and what a person can do next: the flow's advice.

    `{phase, recovery, message, concerns{files[{import_file_id, filename, rows}], place}, next_steps[]}`; `place` is the table,
    row or column where the failure arose, where it is known; `rows` are those read from a file, null before that.
    """
    recovery, steps = _recovery(ctx.phase, ctx.error)
    files = await _files(ctx)
    names = ", ".join(str(one["filename"]) for one in files[:3]) + (" and others" if len(files) > 3 else "")
    place = ctx.error.get("place") or {}
    where = _where(place) or names
    return {
        "phase": ctx.phase,
        "recovery": recovery,
        "message": f"{steps[0]}{f' ({where})' if where else ''}",
        "concerns": {"files": files[:MAX_LISTED], "place": place},
        "next_steps": steps,
    }


def _recovery(phase: str, error: Mapping[str, Any]) -> tuple[str, list[str]]:
    """How to recover, by the class of the failure, and the steps for the person."""
    again = f"then execute {phase} again"
    kind = error.get("class")
    if kind in PASSING:
        return "retry_with_backoff", [f"see that the other system answers, {again}"]
    if kind == FailureClass.VALIDATION:
        return "retry_with_data_cleanup", [
            f"correct the data and upload it again, {again} with the new file",
            "cancel the flow",
        ]
    if kind == FailureClass.RESOURCE:
        return "restart_from_last_checkpoint", [
            f"split the files, or give the workers more memory (MFO_WORKER_MEMORY_MB), {again}"
        ]
    if error.get("retryable") is False:
        return "manual_intervention_required", [f"remove the cause that the error names, {again}", "cancel the flow"]
    if phase in ABOUT_FILES:
        return "restart_from_phase", [f"execute {phase} again", "if it fails again, export the files anew"]
    return "restart_from_last_checkpoint", [f"execute {phase} again: what is done is kept", "cancel the flow"]


async def _files(ctx: PhaseContext) -> list[Json]:
    """The files that the failed phase worked on, with the range of rows where they have been read."""
    read = ctx.outputs.get("data_import", {}).get("files")
    if isinstance(read, list):
        return [
            {
                "import_file_id": one["import_file_id"],
                "filename": one["filename"],
                "rows": one["rows"],
            }
            for one in read
        ]
    files: list[Json] = []
    for import_file_id in wanted_files(ctx.inputs):
        try:
            filename = (await ctx.imports.open(import_file_id)).filename
        except NotHere:
            filename = import_file_id
        files.append({"import_file_id": import_file_id, "filename": filename, "rows": None})
    return files


def _where(place: Mapping[str, Any]) -> str:
    said = [
        f"{name} {place[name]}" if name != "file" else str(place[name])
        for name in ("file", "sheet", "row", "column")
        if name in place
    ]
    return ", ".join(said)
