"""JSON that is given on the command line, as it is or in a file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

Json = dict[str, Any]

ImportOptions = Annotated[
    str | None,
    typer.Option(
        "--options",
        metavar="JSON|@FILE.json",
        help='How to read it where that is not detected right, such as {"delimiter": ";", "header_row": 3}; {} for none.',
    ),
]


UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def duration(text: str | None, option: str) -> float | None:
    """The seconds in a text such as `90`, `15m`, `2h` or `1d`; raises a usage error that names the option."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([smhd]?)", text.strip().lower())
    if found is None:
        raise typer.BadParameter(f"{option} {text!r} is no time such as 90, 15m, 2h or 1d")
    return float(found[1]) * UNITS[found[2]]


def object_in(file: Path, option: str) -> Json:
    """The JSON object in a file; raises a usage error that names the option."""
    try:
        text = file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{option} @{file} cannot be read: {error.strerror}") from None
    return _object(text, f"{option} @{file}")


def object_of(text: str, option: str) -> Json:
    """The JSON object in a text, or in the file that `@file` names; raises a usage error that names the option."""
    return object_in(Path(text[1:]), option) if text.startswith("@") else _object(text, option)


def _object(text: str | bytes, what: str) -> Json:
    try:
        body = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{what} is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise typer.BadParameter(f"{what} must hold a JSON object")
    return body
