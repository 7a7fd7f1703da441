"""A zip of tables: each file in it is read as if it had come alone."""

from __future__ import annotations

import re
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from estate.errors import EstateError
from estate.options import ImportOptions
from estate.readers.containers import ARCHIVE, DAMAGED, container
from estate.readers.limits import MAX_MEMBERS, MAX_UNPACK_RATIO, MAX_UNPACKED_BYTES, RATIO_COUNTS_FROM
from estate.readers.remedies import AGAIN, DIVIDE, UNPROTECTED
from estate.tables import Warned, Workbook

CHUNK = 1 << 20
_LEFT_OUT = re.compile(
    r"(^|/)(__MACOSX/.*|\.DS_Store|\._[^/]*|Thumbs\.db|desktop\.ini|~\$[^/]*|\.gitkeep|\.gitignore)$", re.IGNORECASE
)
_NO_TABLES = re.compile(
    r"\.(pdf|png|jpe?g|gif|svg|docx?|pptx?|md|rtf|html?|css|js|log|exe|dll|bat|ps1|sh|eml|msg)$|(^|/)(readme|licen[cs]e)[^/]*$",
    re.IGNORECASE,
)
_TRAVELS = re.compile(r"(^|[/\\])\.\.([/\\]|$)|^[/\\]|^[A-Za-z]:")

ReadOne = Callable[[Path, str, ImportOptions, str], Workbook]


def read_archive(path: Path, name: str, options: ImportOptions, read_one: ReadOne) -> Workbook:
    """The tables of every file in a zip; `file` of each is "<zip>/<name in the zip>".

    The names in the zip are only told, nothing is ever written under them. `sheets` and `skip_sheets` of the options
    may name files in the zip. A file that is no table is a warning, unless none is left.
    Raises EstateError `too_large, unreadable_file, not_a_table, encrypted_workbook`.
    """
    book = Workbook(name, ARCHIVE, [])
    refusals: list[EstateError] = []
    with tempfile.TemporaryDirectory(prefix="mfo-zip-") as place:
        folder = Path(place)
        try:
            archive = zipfile.ZipFile(path)
        except DAMAGED as error:
            raise _damaged(name, error) from error
        with archive:
            members = _members(archive, name, options, book.warnings)
            budget = _Budget(name, path.stat().st_size)
            for number, (member, info) in enumerate(members):
                whole = f"{name}/{member}"
                file = folder / f"member-{number}"
                try:
                    _unpack(archive, info, file, whole, budget)
                    read = _read_member(file, whole, options, read_one)
                except EstateError as error:
                    if error.code == "too_large" and error.file == name:
                        raise
                    refusals.append(error)
                    book.warnings.append(Warned("file_not_read", error.detail))
                else:
                    book.tables.extend(read.tables)
                    book.warnings.extend(read.warnings)
                finally:
                    file.unlink(missing_ok=True)
    if not book.tables:
        if len(refusals) == 1:
            raise refusals[0]
        why = f" {refusals[0].detail}" if refusals else ""
        raise EstateError("not_a_table", f"{name}: no file in it is a table.{why}", file=name)
    return book


def _damaged(name: str, error: BaseException) -> EstateError:
    if "encrypted" in str(error) or "password" in str(error):
        return EstateError("encrypted_workbook", f"{name} is protected by a password; {UNPROTECTED}.", file=name)
    return EstateError("unreadable_file", f"{name} is a damaged zip file ({str(error)[:200]}); {AGAIN}.", file=name)


def _members(
    archive: zipfile.ZipFile, name: str, options: ImportOptions, warnings: list[Warned]
) -> list[tuple[str, zipfile.ZipInfo]]:
    """The files to be read, by names that are told apart."""
    found: list[tuple[str, zipfile.ZipInfo]] = []
    taken: set[str] = set()
    named = set(options.sheets) & {part for info in archive.infolist() for part in _called(info.filename)}
    for info in archive.infolist():
        called = info.filename.replace("\\", "/")
        if not info.filename or info.is_dir() or _LEFT_OUT.search(called):
            continue
        if _TRAVELS.search(info.filename):
            warnings.append(
                Warned("path_in_zip", f"{name}: {called[:200]!r} points out of the zip; only its name counts.")
            )
            called = called.rsplit("/", 1)[-1] or "file"
        called = "".join(character for character in called if character.isprintable())[:500] or "file"
        names = _called(info.filename)
        if (named and not named.intersection(names)) or set(options.skip_sheets).intersection(names):
            continue
        if _NO_TABLES.search(called):
            warnings.append(Warned("file_not_read", f"{name}: {called} is no table; it was left out."))
            continue
        count, apart = 1, called
        while apart in taken:
            count += 1
            apart = f"{called} ({count})"
        taken.add(apart)
        found.append((apart, info))
    if len(found) > MAX_MEMBERS:
        raise EstateError(
            "too_large", f"{name} holds {len(found):,} files; at most {MAX_MEMBERS:,} are read; {DIVIDE}.", file=name
        )
    return found


def _called(filename: str) -> set[str]:
    plain = filename.replace("\\", "/")
    return {plain, plain.rsplit("/", 1)[-1]}


class _Budget:
    """How much may still be unpacked."""

    def __init__(self, name: str, packed: int) -> None:
        self._name = name
        self._packed = max(1, packed)
        self._unpacked = 0

    def take(self, size: int) -> None:
        """Count bytes that were unpacked. Raises EstateError `too_large`."""
        self._unpacked += size
        ratio = self._unpacked / self._packed
        if self._unpacked > MAX_UNPACKED_BYTES or (self._unpacked > RATIO_COUNTS_FROM and ratio > MAX_UNPACK_RATIO):
            raise EstateError(
                "too_large",
                f"{self._name} unpacks to more than {self._unpacked - size:,} bytes from {self._packed:,}; that is"
                f" refused; {DIVIDE}.",
                file=self._name,
            )


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: Path, whole: str, budget: _Budget) -> None:
    try:
        with archive.open(info) as stream, file.open("wb") as out:
            while data := stream.read(CHUNK):
                budget.take(len(data))
                out.write(data)
    except (*DAMAGED, zlib.error) as error:
        raise _damaged(whole, error) from error


def _read_member(file: Path, whole: str, options: ImportOptions, read_one: ReadOne) -> Workbook:
    with file.open("rb") as stream:
        head = stream.read(65_536)
    if not head:
        raise EstateError("empty_file", f"{whole} is empty (0 bytes); {AGAIN}.", file=whole)
    found = container(file, whole, head)
    if found == ARCHIVE:
        raise EstateError(
            "format_not_supported", f"{whole} is a zip inside of a zip; unpack it and upload it alone.", file=whole
        )
    return read_one(file, whole, options, found)
