"""`mfo import`, `preview`, `imports`: files that are uploaded, what they were taken for and how they were read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from domain.words import counted
from mfo.client import UNREAD, Client
from mfo.commands.connection import talk
from mfo.commands.given import ImportOptions, object_of
from mfo.commands.output import AsJson, Code, give, plain, say, short, table

Json = dict[str, Any]

# longer than the service takes at most to read one file
READ_SECONDS = 120.0
PREVIEW_ROWS = 3
PREVIEW_WIDTH = 40
READ_AS = {"delimiter": "delimiter", "decimal": "decimal", "thousands": "thousands", "date_order": "dates"}
SEPARATORS = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar", ".": "point", " ": "blank", "'": "apostrophe"}


def import_file(
    *,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", exists=True, dir_okay=False, readable=True, help="The inventory.")
    ],
    import_type: Annotated[str | None, typer.Option("--type", help="What kind of file it is, as a note.")] = None,
    options: ImportOptions = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until it has been read, and say on stderr what it was taken for.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Upload inventories and print the import_file_id of each; the same bytes again give the same id.

    With --wait ends with 1 if one of them cannot be read.
    """
    wanted = None if options is None else object_of(options, "--options")

    async def converse(client: Client) -> list[Json]:
        stored = [await _store(client, file, import_type, wanted) for file in files]
        if not wait:
            return stored
        return [await client.described(one["import_file_id"], patience_seconds=READ_SECONDS) for one in stored]

    found = talk(converse)
    if wait:
        for one in found:
            say(described(one))
    ids = "\n".join(str(one["import_file_id"]) for one in found)
    give(found[0] if len(files) == 1 else {"imports": found}, ids, as_json)
    if wait and any(one["state"] != "readable" for one in found):
        raise typer.Exit(Code.REFUSED)


async def _store(client: Client, file: Path, import_type: str | None, wanted: Json | None) -> Json:
    stored = await client.upload(file, import_type, import_options=wanted)
    if wanted is None or stored["import_options"] == wanted:
        return stored
    # it had been uploaded before, and keeps the options of then
    anew = await client.read_anew(stored["import_file_id"], wanted)
    say(f"{file}: uploaded before; it is read anew with these options")
    return stored | {"import_options": anew["import_options"]}


def preview(
    *,
    import_file_id: Annotated[str, typer.Argument(metavar="ID", help="The import_file_id.")],
    options: ImportOptions = None,
    rows: Annotated[int, typer.Option(min=1, max=20, help="So many rows of each sheet.")] = PREVIEW_ROWS,
    as_json: AsJson = False,
) -> None:
    """What a file was taken for, how its sheets were read, and their first rows; with --options after reading it anew."""
    wanted = None if options is None else object_of(options, "--options")

    async def converse(client: Client) -> Json:
        if wanted is not None:
            await client.read_anew(import_file_id, wanted)
        await client.described(import_file_id, patience_seconds=READ_SECONDS)
        return await client.preview(import_file_id)

    found = talk(converse)
    sheets = [_first_rows(found, sheet, rows) for sheet in found["sheets"] or []]
    give(found, "\n\n".join([described(found | {"state": "readable"}), *sheets]), as_json)


def imports(
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 50, as_json: AsJson = False
) -> None:
    """The uploaded files of this engagement, the newest first."""

    async def converse(client: Client) -> Json:
        return await client.request("GET", "/imports", params={"limit": limit})

    page = talk(converse)
    names = ("import_file_id", "filename", "size_bytes", "state", "format", "recognised_as", "rows")
    rows = [[row.get(name) for name in names] for row in page["imports"]]
    headings = ["import_file_id", "file", "bytes", "state", "format", "recognised as", "rows"]
    give(page, table(headings, rows) if rows else "no imports", as_json)


def described(found: Json) -> str:
    """What a file was taken for and how it was read, or why it was not: a line, its sheets, the warnings."""
    if found["state"] == "unreadable":
        error = found.get("error") or {}
        return f"{found['filename']}: cannot be read: {error.get('detail') or error.get('code')}"
    if found["state"] in UNREAD:
        return f"{found['filename']}: not read yet; mfo preview {found['import_file_id']} asks again"
    sheets = found["sheets"] or []
    rows = [
        [
            one["name"],
            one["kind"],
            one["role"],
            one["rows"],
            one["set_aside"],
            read_as(one["read_as"], found["encoding"]),
        ]
        for one in sheets
    ]
    used = counted(found["rows"] or 0, "row")
    lines = [
        f"{found['filename']}: {found['recognised_as']}, {found['format']}, {used} to be used",
        table(["sheet", "recognised as", "rows are", "rows", "set aside", "read as"], rows),
    ]
    if found["import_options"]:
        lines.append(f"import options: {plain(found['import_options'])}")
    lines += [f"warning: {one['message']}" for one in found["warnings"] or []]
    return "\n".join(lines)


def read_as(told: Mapping[str, Any], encoding: str | None) -> str:
    """How a table was read: `header in row 1, encoding utf-8, delimiter comma`."""
    headers = told.get("header_rows") or []
    rows = f"header in row{'s' if len(headers) > 1 else ''} {', '.join(map(str, headers))}" if headers else None
    parts = [rows, f"encoding {encoding}" if encoding else None]
    parts += [
        f"{word} {SEPARATORS.get(told[name], told[name])}"
        for name, word in READ_AS.items()
        if told.get(name) is not None
    ]
    return ", ".join(part for part in parts if part)


def _first_rows(found: Json, sheet: Json, most: int) -> str:
    """The columns one below the other, because there are often many, with the values of the first rows beside them."""
    name = sheet["name"]
    rows = (found["preview"] or {}).get(name, [])[:most]
    cells = [[column, *(short(plain(row.get(column)), PREVIEW_WIDTH) for row in rows)] for column in sheet["columns"]]
    aside = (found["set_aside"] or {}).get(name, [])[:most]
    return "\n".join(
        [
            f"{name}: the first {counted(len(rows), 'row')} of {sheet['rows']}",
            table(["column", *(f"#{number}" for number in range(1, len(rows) + 1))], cells),
            *(f"set aside, row {one['row']}: {one['message']}" for one in aside),
        ]
    )
