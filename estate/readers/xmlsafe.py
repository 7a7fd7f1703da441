"""XML without its dangers: no document type, no entities, nothing from outside."""

from __future__ import annotations

import re
from functools import lru_cache
from xml.parsers import expat

from estate.errors import EstateError
from estate.readers.remedies import AGAIN

_ENTITIES = {b"lt": "<", b"gt": ">", b"amp": "&", b"quot": '"', b"apos": "'"}
_REFERENCE = re.compile(rb"&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|(\w+));")


def parser(name: str) -> expat.XMLParserType:
    """A parser that raises EstateError `unsafe_xml` where a document type or an entity is declared."""
    made = expat.ParserCreate()
    made.buffer_text = True
    made.buffer_size = 1 << 16

    def declared(*_: object) -> int:
        raise refusal(f"{name}, line {made.CurrentLineNumber}")

    made.StartDoctypeDeclHandler = declared
    made.EntityDeclHandler = declared
    made.UnparsedEntityDeclHandler = declared
    made.ExternalEntityRefHandler = declared
    return made


def refusal(where: str) -> EstateError:
    """The refusal of a declaration."""
    return EstateError(
        "unsafe_xml",
        f"{where}: a document type or an entity is declared there; that is refused. Save the file without it and upload that.",
        file=where.split(", line", 1)[0],
    )


def broken(error: expat.ExpatError, name: str, what: str = "XML") -> EstateError:
    """The refusal of text that is not well-formed."""
    told = expat.ErrorString(error.code) or "not well-formed"
    return EstateError(
        "unreadable_file",
        f"{name} cannot be read as {what}: line {error.lineno}, column {error.offset + 1}: {told}; {AGAIN}.",
        file=name,
    )


@lru_cache(maxsize=10_000)
def local(tag: str) -> str:
    """A name without its prefix."""
    return tag.rsplit(":", 1)[-1]


def unescape(data: bytes) -> str:
    """The text of character data as it stands in a file. Raises ValueError for a reference that says nothing."""
    if b"&" not in data:
        return data.decode("utf-8")

    def character(found: re.Match[bytes]) -> bytes:
        decimal, hexadecimal, word = found.groups()
        if word is not None:
            if word not in _ENTITIES:
                raise ValueError(f"unknown entity {word[:40]!r}")
            return _ENTITIES[word].encode()
        code = int(decimal) if decimal is not None else int(hexadecimal, 16)
        return ("\ufffd" if code > 0x10FFFF or 0xD800 <= code < 0xE000 or code == 0 else chr(code)).encode()

    return _REFERENCE.sub(character, data).decode("utf-8")
