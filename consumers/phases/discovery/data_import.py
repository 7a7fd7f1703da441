"""Read the uploaded files and keep their rows as they came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from consumers.context import ImportFile, Invalid, Outputs, Permanent, PhaseContext
from consumers.limits import memory_limit
from consumers.phases.discovery.handover import IssueRows, Rows, keep, listed, place_of
from domain.errors import NotHere
from domain.words import counted

if TYPE_CHECKING:
    from estate.options import ImportOptions
    from estate.tables import SetAside, Table, Workbook

MAX_FILES = 100
MAX_EXAMPLES = 3
_NO_DATA = frozenset(
    {"above_header", "caption", "comment", "outside_records", "outside_table", "repeated_header", "totals_row"}
)
"""Why rows are set apart that nobody meant to be data; any other reason is something wrong with a row."""
OTHER_FILES = (
    "Upload an inventory and name that file instead; where such a sheet is an inventory all the same, say its role in"
    " import_options."
)
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
    data that can be used; `nothing_to_discover` when all data is of a kind that discovery does not use; `inputs_invalid` for import options that cannot be used.
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
        # code and sentence: an error itself would hold on to what had been read of its file
        self._failures: list[tuple[str, str]] = []
        self._files: list[dict[str, Any]] = []
        self._tables: list[dict[str, Any]] = []
        self._by_reason: Counter[str] = Counter()
        self._refused: list[tuple[str, str]] = []
        self._unused: list[str] = []

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
            self._failures.append((error.code, error.detail))
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
            if row.reason not in _NO_DATA and len(self._refused) < MAX_EXAMPLES:
                self._refused.append((table.place, _said_of(row)))

    async def _keep(self, table: Table) -> dict[str, Any]:
        from estate.formats import not_used
        from estate.roles import IGNORED
        from estate.tables import TABLE_MEDIA_TYPE, dump_table

        place = place_of(table)
        more = {"set_aside": len(table.set_aside), "read_as": table.read_as, "used": table.role != IGNORED}
        if table.role == IGNORED and len(table):
            self._unused.append(not_used(table))
        self._headers.write({**place, "header_row": table.header_row, "columns": table.names})
        self._tables.append(place | await self._ctx.artifacts.put(dump_table(table), TABLE_MEDIA_TYPE))
        return place | more

    def check(self, field: str) -> None:
        """Raises Permanent where a file could not be read, or none has a row that can be used."""
        if self._failures:
            raise Permanent(
                self._failures[0][0],
                " ".join(detail for _, detail in self._failures),
                [Invalid(field, detail) for _, detail in self._failures],
            )
        if any(file["rows"] for file in self._files):
            return
        if self._unused:
            code, detail = "nothing_to_discover", f"{_some(self._unused, ' ')} {OTHER_FILES}"
        else:
            code, detail = "no_rows", self._no_rows()
        raise Permanent(code, detail, [Invalid(field, detail)])

    def _no_rows(self) -> str:
        names = ", ".join(str(file["filename"]) for file in self._files)
        refused = sum(count for reason, count in self._by_reason.items() if reason not in _NO_DATA)
        if not refused:
            return f"{names}: there is no row of data below the header; export the inventory again, with its rows."
        whose, several = ("its", False) if len(self._files) == 1 else ("their", True)
        more = f" and {refused - len(self._refused)} more" if refused > len(self._refused) else ""
        told = "; ".join(f"{place}, {said}" if several else said for place, said in self._refused)
        return f"{names}: none of {whose} rows can be used: {told}{more}; correct the file and upload it again."

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


def _said_of(row: SetAside) -> str:
    """Which row, and what is wrong with it: `row 2 names no application`."""
    message = row.message.rstrip(".").replace("; ", ", ")
    if message.startswith("the row "):
        return f"row {row.row} {message.removeprefix('the row ')}"
    return f"row {row.row} {message}" if message.startswith(("is ", "has ", "stands ")) else f"row {row.row}: {message}"


def _some(sentences: list[str], between: str) -> str:
    """The first of them and how many more there are."""
    more = len(sentences) - MAX_EXAMPLES
    told = between.join(sentences[:MAX_EXAMPLES])
    return f"{told} {counted(more, 'more sheet')} of that kind." if more > 0 else told


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


def wanted_files(inputs: Mapping[str, Any]) -> list[str]:
    """The ids of the import files that the inputs name; none where they cannot be read."""
    return _wanted(inputs)[1]


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
    """Uploads with file names that tell them apart: a second `servers.csv` becomes `servers (2).csv`."""
    own = {upload.filename for upload in uploads}
    taken: set[str] = set()
    named = []
    for upload in uploads:
        name, count, path = upload.filename, 1, PurePath(upload.filename)
        while name in taken or (count > 1 and name in own):
            count += 1
            name = f"{path.stem} ({count}){path.suffix}"
        taken.add(name)
        named.append(replace(upload, filename=name))
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
