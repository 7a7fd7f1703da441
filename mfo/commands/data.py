"""`mfo sample`: a made-up estate to try flows on."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mfo.commands.output import AsJson, give


class Format(StrEnum):
    """How a made-up estate is written."""

    XLSX = "xlsx"
    CSV = "csv"


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
