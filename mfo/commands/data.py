"""`mfo sample`, `flow-types`: a made-up estate to try flows on, and which kinds of flows there are."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mfo.client import Client
from mfo.commands.connection import talk
from mfo.commands.output import AsJson, facts, give

Json = dict[str, Any]


class Format(StrEnum):
    """How a made-up estate is written."""

    XLSX = "xlsx"
    CSV = "csv"


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
    # xlsxwriter loads slowly, and only this command needs it
    from estate.sample import write_sample

    chosen = _format(path, fmt)
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


def _format(path: Path | None, stated: Format | None) -> Format:
    """As stated, else as the path ends, else xlsx; raises a usage error where the path ends in something else."""
    ending = path.suffix.lower().removeprefix(".") if path is not None else ""
    allowed = [each.value for each in Format if stated in (None, each)]
    if ending and ending not in allowed:
        wanted = " or ".join(f".{each}" for each in allowed)
        raise typer.BadParameter(f"{path}: a sample is written to a file that ends in {wanted}")
    return stated or Format(ending or Format.XLSX)
