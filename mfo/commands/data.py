"""`mfo import`, `imports`, `sample`, `flow-types`: what flows work on, and which kinds there are."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mfo.client import Client
from mfo.commands.connection import talk
from mfo.commands.output import AsJson, facts, give, table

Json = dict[str, Any]


class Format(StrEnum):
    """How a made-up estate is written."""

    XLSX = "xlsx"
    CSV = "csv"


def import_file(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True, help="The inventory.")
    ],
    import_type: Annotated[str | None, typer.Option("--type", help="What kind of file it is, as a note.")] = None,
    as_json: AsJson = False,
) -> None:
    """Upload an inventory and print its import_file_id; the same bytes again give the same id."""
    stored = talk(lambda client: client.upload(file, import_type))
    give(stored, str(stored["import_file_id"]), as_json)


def imports(
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 50, as_json: AsJson = False
) -> None:
    """The uploaded files of this engagement, the newest first."""

    async def converse(client: Client) -> Json:
        return await client.request("GET", "/imports", params={"limit": limit})

    page = talk(converse)
    rows = [
        [
            row["import_file_id"],
            row.get("filename"),
            row.get("size_bytes"),
            row.get("state"),
            row.get("format"),
            row.get("rows"),
        ]
        for row in page["imports"]
    ]
    headings = ["import_file_id", "file", "bytes", "state", "format", "rows"]
    give(page, table(headings, rows) if rows else "no imports", as_json)


def flow_types(
    name: Annotated[str | None, typer.Argument(metavar="[TYPE]", help="Left out: all of them.")] = None,
    as_json: AsJson = False,
) -> None:
    """The flow types and their phases."""

    async def converse(client: Client) -> Json:
        return await client.request("GET", f"/flow-types/{name}" if name else "/flow-types")

    found = talk(converse)
    kinds = [found] if name else found.get("flow_types") or found.get("items") or []
    give(found, "\n\n".join(_flow_type(kind) for kind in kinds), as_json)


def _flow_type(kind: Json) -> str:
    phases = ", ".join(str(phase["name"]) for phase in kind.get("phases") or [])
    return facts(
        {"type": kind["name"], "version": kind.get("version"), "description": kind.get("description"), "phases": phases}
    )


def sample(
    path: Annotated[Path | None, typer.Argument(help="Where to; left out: sample.xlsx or sample.csv here.")] = None,
    servers: Annotated[int, typer.Option(min=20, max=200_000, help="How many machines.")] = 500,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 7,
    fmt: Annotated[Format | None, typer.Option("--format", help="Left out: as the path ends, else xlsx.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a made-up estate with the faults that real exports have."""
    # polars and xlsxwriter load slowly, and only this command needs them
    from estate.sample import write_sample

    chosen = fmt or (Format.CSV if path is not None and path.suffix.lower() == ".csv" else Format.XLSX)
    target = path or Path(f"sample.{chosen}")
    try:
        write_sample(target, servers=servers, seed=seed, fmt=chosen.value)
    except OSError as error:
        raise typer.BadParameter(f"{target} cannot be written: {error.strerror}") from None
    written = {
        "path": str(target),
        "servers": servers,
        "seed": seed,
        "format": chosen.value,
        "size_bytes": target.stat().st_size,
    }
    give(written, f"{target}: {servers} servers, seed {seed}, {written['size_bytes']} bytes", as_json)
