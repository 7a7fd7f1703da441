"""Rows of findings, one JSON document per line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import orjson


class Lines:
    """Writes documents to a file as they come; `count` of them so far."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.count = 0

    def write(self, document: Any) -> None:
        """One more line; dicts, lists and msgspec structs' builtins alike."""
        self._file.write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))
        self.count += 1


def dump_ndjson(rows: Iterable[Any]) -> bytes:
    """One JSON document per line."""
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def load_ndjson(data: bytes) -> Iterator[Any]:
    """The documents of `dump_ndjson`, one by one."""
    for line in data.split(b"\n"):
        if line:
            yield orjson.loads(line)


def read_ndjson(path: Path) -> Iterator[Any]:
    """The documents of a file, one by one; at most one line is held."""
    with path.open("rb") as file:
        for line in file:
            if line != b"\n":
                yield orjson.loads(line)
