"""Read the uploaded files and keep their rows as they came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from consumers.context import ImportFile, Invalid, Outputs, Permanent, PhaseContext
from consumers.phases.discovery.handover import keep, keep_table
from domain.errors import NotHere

if TYPE_CHECKING:
    from estate.tables import Workbook

MAX_FILES = 100
_SEVERITIES = {
    "encoding_damaged": "medium", "encoding_guessed": "low", "extension_mismatch": "low", "extra_cells": "low",
    "hidden_sheet": "low",
    "no_header_row": "medium", "no_rows": "low", "short_rows": "low", "stray_quote": "low",
}  # fmt: skip


async def file_exists(ctx: PhaseContext) -> list[Invalid]:
    """Every import file named in the inputs is there."""
    field, ids, problem = _wanted(ctx.inputs)
    if problem is not None:
        return [Invalid(field, problem)]
    objections = []
    for import_file_id in ids:
        try:
            await ctx.imports.open(import_file_id)
        except NotHere:
            objections.append(
                Invalid(field, f"there is no import file {import_file_id}; upload it first (POST /api/v1/imports)")
            )
    return objections


async def file_format_valid(ctx: PhaseContext) -> list[Invalid]:
    """Every import file starts like a table that can be read."""
    from estate.errors import EstateError
    from estate.readers import check_readable

    field, ids, problem = _wanted(ctx.inputs)
    if problem is not None:
        return [Invalid(field, problem)]
    objections = []
    for import_file_id in ids:
        try:
            upload = await ctx.imports.open(import_file_id)
            check_readable(upload.path, upload.filename)
        except NotHere:
            continue
        except EstateError as error:
            objections.append(Invalid(field, error.detail))
    return objections


async def store_raw_data(ctx: PhaseContext) -> Outputs:
    """Read all files; outputs `{files[], tables[] (artifact references), rows, rows_set_aside, issues, message}`.

    Raises Permanent with the code of the first EstateError, naming every file that cannot be read; `no_rows` when
    none has data.
    """
    from estate.errors import EstateError
    from estate.formats import IGNORED, recognise, recognised_as
    from estate.readers import require_rows
    from estate.tables import dump_table

    field, ids, problem = _wanted(ctx.inputs)
    if problem is not None:
        raise Permanent("inputs_invalid", problem, [Invalid(field, problem)])
    uploads = _distinct_names([await ctx.imports.open(import_file_id) for import_file_id in ids])
    books, failures = _read_all(uploads)
    if failures:
        raise Permanent(
            failures[0].code, " ".join(error.detail for error in failures), [Invalid(field, e.detail) for e in failures]
        )
    try:
        require_rows(books)
    except EstateError as error:
        raise Permanent(error.code, error.detail, [Invalid(field, error.detail)]) from error
    files: list[dict[str, Any]] = []
    tables: list[dict[str, Any]] = []
    for done, (upload, book) in enumerate(zip(uploads, books, strict=True), 1):
        recognise(book)
        tables += [await keep_table(ctx, dump_table(table), table, len(table.rows)) for table in book.tables]
        files.append(
            {
                "import_file_id": upload.import_file_id,
                "filename": book.file,
                "sha256": upload.sha256,
                "size_bytes": upload.size_bytes,
                "format": book.format,
                "recognised_as": recognised_as(book),
                "sheets": len(book.tables),
                "rows": sum(len(table.rows) for table in book.tables if table.role != IGNORED),
            }
        )
        await ctx.heartbeat(done, len(uploads), f"{book.file}: {book.row_count} rows")
    issues = [row for book in books for row in _issues(ctx, book)]
    rows = sum(file["rows"] for file in files)
    set_aside = sum(len(table.set_aside) for book in books for table in book.tables)
    return {
        "files": files,
        "tables": tables,
        "rows": rows,
        "rows_set_aside": set_aside,
        "issues": await keep(ctx, issues),
        "message": f"{rows} row{'s' * (rows != 1)} of {len(files)} file{'s' * (len(files) != 1)} read.",
    }


def _wanted(inputs: Mapping[str, Any]) -> tuple[str, list[str], str | None]:
    """(input field, import file ids, what is wrong with them)."""
    several: Any = inputs.get("import_file_ids")
    if several is not None:
        field = "import_file_ids"
        if not isinstance(several, list) or not several or not _all_texts(several):
            return field, [], "import_file_ids must be a list of at least one import file id"
        if len(several) > MAX_FILES:
            return field, [], f"import_file_ids names {len(several)} files; at most {MAX_FILES} make one estate"
        one = inputs.get("import_file_id")
        return field, list(dict.fromkeys([*map(str, several), *([one] if isinstance(one, str) and one else [])])), None
    one = inputs.get("import_file_id")
    if not isinstance(one, str) or not one:
        return "import_file_id", [], "import_file_id must be the id of an uploaded file"
    return "import_file_id", [one], None


def _all_texts(values: list[Any]) -> bool:
    return all(isinstance(value, str) and value for value in values)


def _distinct_names(uploads: list[ImportFile]) -> list[ImportFile]:
    """Uploads with file names that tell them apart: a second `servers.csv` becomes `servers.csv (2)`."""
    seen: dict[str, int] = {}
    named = []
    for upload in uploads:
        count = seen[upload.filename] = seen.get(upload.filename, 0) + 1
        named.append(upload if count == 1 else replace(upload, filename=f"{upload.filename} ({count})"))
    return named


def _read_all(uploads: list[ImportFile]) -> tuple[list[Workbook], list[Any]]:
    from estate.errors import EstateError
    from estate.readers import read

    books: list[Workbook] = []
    failures: list[Any] = []
    for upload in uploads:
        try:
            books.append(read(upload.path, upload.filename))
        except EstateError as error:
            failures.append(error)
    return books, failures


def _issues(ctx: PhaseContext, book: Workbook) -> list[dict[str, Any]]:
    from estate.issues import issue
    from estate.tables import source

    made = [
        issue(
            ctx.flow_id,
            warning.code,
            _SEVERITIES.get(warning.code, "info"),
            warning.message,
            source=source(book.file, warning.sheet, warning.row),
        )
        for warning in book.warnings
    ]
    if not book.row_count:
        made.append(
            issue(
                ctx.flow_id,
                "no_rows",
                "low",
                f"{book.file} has a header and no rows.",
                source=source(book.file, None, None),
            )
        )
    return made
