"""What stands in one cell of an export: texts that no program takes for a formula, and marks for what cannot be seen."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

import orjson

from estate.report.columns import Field

_NUMBER = re.compile(r"\s*[+-]?[0-9]+(?:[.,][0-9]+)*(?:[eE][+-]?[0-9]{1,3})?%?\s*", re.ASCII)
_SIGNS = frozenset("=+-@−")
_QUOTES = frozenset("\"'`´‘’‚‛“”„‟«»‹›＇＂")
_BREAKS = frozenset("\t\r\n")
_INNER = re.compile(r"[;\t\r\n]")
_SPECIAL = re.compile(r"[^\w .,:/()]", re.ASCII)

# what changes how the text around it is shown, or is not shown at all
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_JOINERS = frozenset("\u200c\u200d")


def is_formula_like(text: str) -> bool:
    """Whether a spreadsheet may take the text for a formula.

    It does when the first sign is `=`, `+`, `-` or `@`, also full-width or behind blanks, quotes and signs that cannot
    be seen, unless the whole is a plain number; or when it starts with a tab or a line break.
    """
    if not text:
        return False
    if text[0] in _BREAKS:
        return True
    for sign in text:
        if sign in _QUOTES or sign.isspace() or unicodedata.category(sign) in _UNSEEN:
            continue
        plain = unicodedata.normalize("NFKC", sign)
        return plain[0] in _SIGNS and _NUMBER.fullmatch(text) is None
    return False


def defused(text: str) -> str:
    """The text with an apostrophe before whatever a spreadsheet may take for a formula.

    That is the text itself, and any part of it behind a semicolon, a tab or a line break: a program that takes those
    for the end of a cell would begin the next one there. Plain numbers stay as they are.
    """
    if _SPECIAL.search(text) is None:
        return text
    if _INNER.search(text) is not None:
        text = _INNER.sub(lambda found: found.group() + _apostrophe(text, found.end()), text)
    return f"'{text}" if is_formula_like(text) else text


def _apostrophe(text: str, start: int) -> str:
    following = _INNER.search(text, start)
    part = text[start : following.start()] if following else text[start:]
    return "'" if is_formula_like(part) else ""


def visible(text: str, *, breaks: bool = False) -> str:
    """The text with every sign that is not shown, or that turns the text around it, written out as `[U+202E]`.

    Tabs and line breaks become blanks, or stay with `breaks`; joiners between letters, which some scripts need, stay.
    """
    if text.isascii() and text.isprintable():
        return text
    shown = []
    for at, sign in enumerate(text):
        if sign in "\t\n\r":
            shown.append(sign if breaks else " ")
        elif unicodedata.category(sign) in _UNSEEN and not _joins(text, at):
            shown.append(f"[U+{ord(sign):04X}]")
        else:
            shown.append(sign)
    return "".join(shown)


def _joins(text: str, at: int) -> bool:
    """Whether the sign is a joiner between letters of a script that is written with it."""
    if text[at] not in _JOINERS or not 0 < at < len(text) - 1:
        return False
    return all(not side.isascii() and unicodedata.category(side)[0] in "LMS" for side in (text[at - 1], text[at + 1]))


def as_text(value: Any) -> str:
    """A value as the text of a cell: unknown is empty, maps and lists of maps are JSON, lists of values `a; b`."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list) and all(isinstance(each, str | int | float) for each in value):
        return "; ".join(as_text(each) for each in value)
    return orjson.dumps(value).decode()


def write_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[Field], out: IO[str]) -> int:
    """Write rows as csv: a header, commas, CRLF, quotes where needed, every text `defused`; answers how many.

    Unknown is an empty cell. `out` is open for text with `newline=""`.
    """
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([defused(column.name) for column in columns])
    count = 0
    for row in rows:
        writer.writerow([_written(column.of(row)) for column in columns])
        count += 1
    return count


def _written(value: Any) -> Any:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    return defused(as_text(value))
