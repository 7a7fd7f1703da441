"""xls and xlsb, read by a process of its own with bounded memory and time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import msgspec

import estate
from estate.errors import EstateError
from estate.options import ImportOptions
from estate.readers.headers import Merge
from estate.readers.layout import Sheet
from estate.readers.limits import MAX_SHEETS
from estate.readers.remedies import DIVIDE, UNPROTECTED
from estate.readers.workbooks import read_sheets
from estate.tables import Cell, Warned, Workbook

MOST_FRAME = 1 << 30
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")


def read_binary(path: Path, name: str, options: ImportOptions, container: str) -> Workbook:
    """The tables of an xls or xlsb file.

    Raises EstateError `unreadable_file, encrypted_workbook, too_large, cell_too_large, not_a_table`.
    """
    if container == "xls":
        with path.open("rb") as stream:
            if _ENCRYPTED in stream.read(1 << 20):
                raise _encrypted(name)
    folder = str(Path(estate.__file__).parent.parent)
    # a file that takes the process over is to find no secret of ours in it
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MFO_")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))
    warnings: list[Warned] = []
    with subprocess.Popen(
        [sys.executable, "-m", "estate.readers.binary_child", str(path.resolve())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as child:
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            # all sheets are asked for: which ones are wanted is known only once their names are
            with suppress(BrokenPipeError):
                # a process that could not begin is met when its answer is read
                child.stdin.write(json.dumps(list(options.sheets)).encode())
                child.stdin.close()
            answers = _Answers(child.stdout, name)
            listed = [(str(sheet), bool(hidden)) for sheet, hidden in answers.next("sheets")[1]]
            if len(listed) > MAX_SHEETS:
                raise EstateError(
                    "too_large", f"{name} has {len(listed)} sheets; at most {MAX_SHEETS} are read; {DIVIDE}.", file=name
                )
            names = [sheet for sheet, _ in listed]
            tables = read_sheets(name, _sheets(answers, listed, name, options), options, names, warnings)
        finally:
            child.kill()
    return Workbook(name, container, tables, warnings)


def _sheets(
    answers: _Answers, listed: list[tuple[str, bool]], name: str, options: ImportOptions
) -> Iterator[tuple[Sheet, bool, BinaryRows]]:
    for sheet, hidden in listed:
        if options.sheets and sheet not in options.sheets:
            continue
        rows = BinaryRows(answers)
        made = Sheet(name, sheet, rows.rows(), shifts=False, options=options, merges=rows.merges)
        if options.wants(sheet):
            yield made, hidden, rows
        for _ in made.rows:
            pass


def _encrypted(name: str) -> EstateError:
    return EstateError("encrypted_workbook", f"{name} is protected by a password; {UNPROTECTED}.", file=name)


class _Answers:
    """What the process says."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream = stream
        self._name = name

    def next(self, *expected: str) -> list[Any]:
        """Its next message. Raises EstateError where it gave up or ended."""
        size = int.from_bytes(self._stream.read(4), "big")
        data = self._stream.read(size) if 0 < size <= MOST_FRAME else b""
        if not data or len(data) < size:
            raise EstateError(
                "too_large",
                f"{self._name} takes more memory or time to be read than is allowed; save it as xlsx and upload that.",
                file=self._name,
            )
        message: list[Any] = msgspec.msgpack.decode(data)
        if message[0] == "error":
            raise self._refused(str(message[1]))
        assert message[0] in expected, message[0]
        return message

    def _refused(self, text: str) -> EstateError:
        lowered = text.lower()
        if "password" in lowered or "encrypted" in lowered:
            return _encrypted(self._name)
        if lowered.startswith("memoryerror"):
            return EstateError(
                "too_large",
                f"{self._name} is too large ({text.split(':', 1)[-1].strip()[:200]}); {DIVIDE}.",
                file=self._name,
            )
        told = text.strip().rstrip(".")[:200]
        return EstateError(
            "unreadable_file",
            f"{self._name} cannot be read as a workbook ({told}); save it as xlsx and upload that.",
            file=self._name,
        )


class BinaryRows:
    """The rows of one sheet as the process tells them."""

    def __init__(self, answers: _Answers) -> None:
        self.empty = True
        self._answers = answers
        self._merges: list[Merge] = []

    def merges(self) -> list[Merge]:
        """The merged ranges; known once the rows have gone by."""
        return self._merges

    def notes(self) -> list[tuple[str, str, int | None]]:
        """Nothing is known beside the cells."""
        return []

    def rows(self) -> Iterator[tuple[int, list[Cell]]]:
        """Row number and cells from column A on, of rows that hold something."""
        while (message := self._answers.next("rows", "merges", "end"))[0] != "end":
            if message[0] == "merges":
                self._merges = [tuple(one) for one in message[1]]
                continue
            for number, cells in message[1]:
                self.empty = False
                yield number, cells
