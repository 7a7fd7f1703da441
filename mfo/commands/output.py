"""What a command prints: its answer on stdout, as text or as one JSON document; everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum
from typing import Annotated, Any

import typer

from domain.errors import MfoError

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, everything else on stderr.")]


class Code(IntEnum):
    """What the exit code of a command says."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


def give(document: Any, text: str, as_json: bool) -> None:
    """The command's answer: the document, or the same as text."""
    if as_json:
        text = json.dumps(document, indent=2, ensure_ascii=False, default=_told)
    print(text, flush=True)


def say(text: str) -> None:
    """A word to whoever is watching; never part of the answer."""
    print(text, file=sys.stderr, flush=True)


def sentence(error: MfoError) -> str:
    """An error in one line: what, the code, what is allowed, which fields."""
    told = error.as_dict()
    detail = str(told["detail"]).strip().rstrip(".")
    text = f"{detail} ({told['code']})."
    fields = [f"{name}: {message}" if name else message for name, message in error.errors]
    # "at: lies ahead" says no more than "at lies ahead"
    more = [field for field in fields if field not in detail and field.replace(": ", " ", 1) not in detail]
    if more:
        text += f" Fields: {'; '.join(more)}."
    if error.allowed:
        text += " Allowed now: " + ", ".join(error.allowed) + "."
    return text


def table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows under their headings, two blanks between columns, nothing cut off."""
    cells = [[plain(value) for value in row] for row in rows]
    widths = [max(len(line[at]) for line in [list(headings), *cells]) for at in range(len(headings))]
    lines = [[heading.upper() for heading in headings], *cells]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def facts(pairs: Mapping[str, Any]) -> str:
    """Names and values, one a line; what is unknown is left out."""
    shown = {name: plain(value) for name, value in pairs.items() if value not in (None, "", [], {})}
    width = max((len(name) for name in shown), default=0)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in shown.items())


def seconds(milliseconds: float | None) -> str:
    """A span of time as people read it: `340 ms`, `2.4 s`, `3 min 10 s`."""
    if milliseconds is None:
        return "-"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 100_000:
        return f"{milliseconds / 1000:.1f} s"
    minutes, left = divmod(round(milliseconds / 1000), 60)
    return f"{minutes} min {left} s"


def plain(value: Any) -> str:
    """A value as people read it, on one line: `-` for what is unknown, yes and no, no digit of a number lost."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        text = format(Decimal(repr(value)), "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, datetime):
        return _told(value)
    if isinstance(value, list | tuple):
        return ", ".join(plain(each) for each in value)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, default=_told)
    return " ".join(str(value).split())


def _told(value: Any) -> str:
    """What JSON has no form for; a time as the service writes it."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)


def short(text: str, most: int) -> str:
    """A text of at most so many characters, cut at a blank where there is one near, `…` for what was cut."""
    if len(text) <= most:
        return text
    kept = text[: most - 1]
    whole, blank, _ = kept.rpartition(" ")
    return f"{(whole if blank and len(whole) > most // 2 else kept).rstrip(' ,;:')}…"
