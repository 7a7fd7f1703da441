"""Read the uploaded files and keep their rows as they came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from consumers.context import ImportFile, Invalid, Outputs, Permanent, PhaseContext
from consumers.limits import memory_limit
from consumers.phases.discovery.handover import IssueRows, Rows, counted, keep, listed, place_of
from domain.errors import NotHere

if TYPE_CHECKING:
    from estate.errors import EstateError
    from estate.options import ImportOptions
    from estate.tables import Table, Workbook

MAX_FILES = 100
_SEVERITIES = {
    "encoding_damaged": "medium", "encoding_guessed": "low", "extension_mismatch": "low", "extra_cells": "low",
    "hidden_sheet": "low", "layout_doubtful": "medium", "no_header_row": "medium", "no_rows": "low",
    "short_rows": "low", "stray_quote": "low",
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


async def import_options_valid(ctx: PhaseContext) -> list[Invalid]:
    """The import options, those of the inputs and those kept with the files, can be used."""
    _, ids, problem = _wanted(ctx.inputs)
    if problem is not None:
        return []
    try:
        uploads = [await ctx.imports.open(import_file_id) for import_file_id in ids]
    except NotHere:
        return []
    return _options(ctx.inputs, uploads)[1]


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
            with memory_limit(ctx.memory_mb, upload.filename):
                check_readable(upload.path, upload.filename)
        except NotHere:
            continue
        except EstateError as error:
            objections.append(Invalid(field, error.detail))
    return objections


async def store_raw_data(ctx: PhaseContext) -> Outputs:
    """Read all files, one after the other, and keep each table as an artifact.

    Outputs `{files[], tables[] (artifact references), headers, set_aside, learned, issues (artifacts), rows, rows_unused,
    rows_set_aside, set_aside_by_reason, issues_summary, message}`. `rows` are those that later phases use, `rows_unused`
    those of sheets that hold nothing for discovery, `rows_set_aside` those that are no data; together they are all rows
    that were read. `learned` are the mappings that this client's people approved before, as of now: what field_mapping
    suggests does not change while it waits for an answer.

    Raises Permanent with the code of the first EstateError, naming every file that cannot be read; `no_rows` when none has
    data; `inputs_invalid` for import options that cannot be used.
    """
    field, ids, problem = _wanted(ctx.inputs)
    if problem is not None:
        raise Permanent("inputs_invalid", problem, [Invalid(field, problem)])
    uploads = [await ctx.imports.open(import_file_id) for import_file_id in ids]
    options, objections = _options(ctx.inputs, uploads)
    if objections:
        raise Permanent("inputs_invalid", " ".join(one.message for one in objections), objections)
    with Rows(ctx) as headers, Rows(ctx) as set_aside, IssueRows(ctx) as issues:
        reading = _Reading(ctx, headers, set_aside, issues)
        for done, upload in enumerate(_distinct_names(uploads), 1):
            await reading.take(upload, options[upload.import_file_id])
            await ctx.heartbeat(done, len(uploads), f"{upload.filename}: read")
        reading.check(field)
        return await reading.outputs()


class _Reading:
    """The files read so far: their tables are kept and let go, figures and failures stay."""

    def __init__(self, ctx: PhaseContext, headers: Rows, set_aside: Rows, issues: IssueRows) -> None:
        self._ctx = ctx
        self._headers = headers
        self._set_aside = set_aside
        self._issues = issues
        self._failures: list[EstateError] = []
        self._files: list[dict[str, Any]] = []
        self._tables: list[dict[str, Any]] = []
        self._by_reason: Counter[str] = Counter()
        self._why: dict[str, str] = {}

    async def take(self, upload: ImportFile, options: ImportOptions) -> None:
        """Read one file; one that cannot be read is remembered."""
        from estate.errors import EstateError
        from estate.formats import recognise, recognised_as
        from estate.readers import read

        try:
            with memory_limit(self._ctx.memory_mb, upload.filename):
                book = read(upload.path, upload.filename, options)
                recognise(book)
        except EstateError as error:
            self._failures.append(error)
            return
        known_as = recognised_as(book)
        for one in _issues(self._ctx, book):
            self._issues.write(one)
        tables = []
        # what was kept is let go at once: a large file is there once, not twice
        while book.tables:
            table = book.tables.pop(0)
            self._aside(table)
            tables.append(await self._keep(table))
        used = [table for table in tables if table["used"]]
        self._files.append(
            {
                "import_file_id": upload.import_file_id,
                "filename": book.file,
                "sha256": upload.sha256,
                "size_bytes": upload.size_bytes,
                "format": book.format,
                "encoding": book.encoding,
                "recognised_as": known_as,
                "import_options": options.as_dict(),
                "sheets": len(tables),
                "rows": sum(table["rows"] for table in used),
                "rows_unused": sum(table["rows"] for table in tables) - sum(table["rows"] for table in used),
                "rows_set_aside": sum(table["set_aside"] for table in tables),
                "tables": [
                    {name: table[name] for name in ("sheet", "kind", "role", "rows", "set_aside", "read_as")}
                    for table in tables
                ],
            }
        )

    def _aside(self, table: Table) -> None:
        for row in table.set_aside:
            self._set_aside.write(
                {
                    "source": {"file": table.file, "sheet": table.sheet, "row": row.row},
                    "reason": row.reason,
                    "message": row.message,
                    "cells": row.cells,
                }
            )
            self._by_reason[row.reason] += 1
            self._why.setdefault(row.reason, row.message)

    async def _keep(self, table: Table) -> dict[str, Any]:
        from estate.roles import IGNORED
        from estate.tables import TABLE_MEDIA_TYPE, dump_table

        place = place_of(table)
        more = {"set_aside": len(table.set_aside), "read_as": table.read_as, "used": table.role != IGNORED}
        self._headers.write({**place, "header_row": table.header_row, "columns": table.names})
        self._tables.append(place | await self._ctx.artifacts.put(dump_table(table), TABLE_MEDIA_TYPE))
        return place | more

    def check(self, field: str) -> None:
        """Raises Permanent where a file could not be read, or none has a row."""
        if self._failures:
            raise Permanent(
                self._failures[0].code,
                " ".join(error.detail for error in self._failures),
                [Invalid(field, error.detail) for error in self._failures],
            )
        if not any(table["rows"] for table in self._tables):
            names = ", ".join(str(file["filename"]) for file in self._files)
            why = "; ".join(
                f"{counted(count, 'row')}: {self._why[reason]}" for reason, count in self._by_reason.most_common()
            )
            aside = f" ({why})" if why else ""
            detail = f"{names}: there is no row of data{aside}; export the inventory again, with its rows."
            raise Permanent("no_rows", detail, [Invalid(field, detail)])

    async def outputs(self) -> Outputs:
        """What the phase hands over."""
        figures = {name: sum(file[name] for file in self._files) for name in ("rows", "rows_unused", "rows_set_aside")}
        return {
            "files": self._files,
            "tables": self._tables,
            "headers": await self._headers.keep(),
            "set_aside": await self._set_aside.keep(),
            "learned": await keep(self._ctx, await self._ctx.past.learned()),
            "issues": await self._issues.keep(),
            **figures,
            "set_aside_by_reason": dict(self._by_reason.most_common()),
            "issues_summary": self._issues.summary(),
            "message": _sentence(figures, self._by_reason, len(self._files)),
        }


def _sentence(figures: Mapping[str, int], by_reason: Mapping[str, int], files: int) -> str:
    said = f"{counted(sum(figures.values()), 'row')} of {counted(files, 'file')} read: {figures['rows']} to be used"
    if figures["rows_unused"]:
        said += f", {figures['rows_unused']} in sheets that hold nothing for discovery"
    if figures["rows_set_aside"]:
        said += f", {figures['rows_set_aside']} set aside ({listed(by_reason)})"
    return said + "."


def _options(inputs: Mapping[str, Any], uploads: list[ImportFile]) -> tuple[dict[str, ImportOptions], list[Invalid]]:
    """The options by import file id, and what is wrong with them.

    The inputs may have some by import file id or by file name; they take the place of those kept with the file.
    """
    from estate.errors import EstateError
    from estate.options import ImportOptions

    given = inputs.get("import_options")
    if given is not None and not isinstance(given, Mapping):
        message = 'import_options must be an object {"<import file id or file name>": {...}}'
        return {}, [Invalid("import_options", message)]
    given = given or {}
    known = {name for upload in uploads for name in (upload.import_file_id, upload.filename)}
    objections = [
        Invalid(f"import_options.{name}", f"import_options names {name!r}, which is no file of this flow")
        for name in given
        if name not in known
    ]
    options: dict[str, ImportOptions] = {}
    for upload in uploads:
        member = next((name for name in (upload.import_file_id, upload.filename) if name in given), None)
        try:
            options[upload.import_file_id] = ImportOptions.of(
                upload.import_options if member is None else given[member]
            )
        except EstateError as error:
            field = "import_options" if member is None else f"import_options.{member}"
            objections.append(Invalid(field, f"{upload.filename}: {error.detail}"))
    return options, objections


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


def _issues(ctx: PhaseContext, book: Workbook) -> Iterator[dict[str, Any]]:
    from estate.issues import issue
    from estate.tables import source

    for warning in book.warnings:
        yield issue(
            ctx.flow_id,
            warning.code,
            _SEVERITIES.get(warning.code, "info"),
            warning.message,
            source=source(book.file, warning.sheet, warning.row),
        )
    if not book.row_count:
        message = f"{book.file} has a header and no rows."
        yield issue(ctx.flow_id, "no_rows", "low", message, source=source(book.file, None, None))
