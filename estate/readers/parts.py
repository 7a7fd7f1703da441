"""The parts of a zip, read as streams: counted while they are unpacked, whatever the zip says of them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from estate.errors import EstateError
from estate.readers.limits import MAX_UNPACK_RATIO, MAX_UNPACKED_BYTES, RATIO_COUNTS_FROM
from estate.readers.remedies import AGAIN, DIVIDE, UNPROTECTED

CHUNK = 1 << 20
_DAMAGED = (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError, RuntimeError, EOFError, KeyError)


class Parts:
    """An open zip. Raises EstateError `too_large, unreadable_file, encrypted_workbook`."""

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self._size = path.stat().st_size
        self._unpacked = 0
        # a stream that is left half read keeps the zip's own file open, so the file is ours to close
        self._file = path.open("rb")
        try:
            self._zip = zipfile.ZipFile(self._file)
            self.names = {info.filename.replace("\\", "/").lstrip("/"): info for info in self._zip.infolist()}
        except _DAMAGED as error:
            self._file.close()
            raise self._broken(error) from error
        self._lower = {name.lower(): name for name in self.names}

    def __enter__(self) -> Parts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()
        self._file.close()

    def _broken(self, error: BaseException) -> EstateError:
        if "encrypted" in str(error) or "password" in str(error):
            return EstateError(
                "encrypted_workbook", f"{self.name} is protected by a password; {UNPROTECTED}.", file=self.name
            )
        return EstateError(
            "unreadable_file", f"{self.name} is a damaged zip file ({str(error)[:200]}); {AGAIN}.", file=self.name
        )

    def has(self, part: str) -> bool:
        """True if there is such a part, in whatever case."""
        return part.lower() in self._lower

    def chunks(self, part: str, size: int = CHUNK) -> Iterator[bytes]:
        """The part's bytes."""
        try:
            with self._zip.open(self.names[self._lower[part.lower()]]) as stream:
                while data := stream.read(size):
                    self._count(len(data))
                    yield data
        except _DAMAGED as error:
            raise self._broken(error) from error

    def _count(self, size: int) -> None:
        self._unpacked += size
        # a sheet may be gone through twice, once for its merged cells
        if self._unpacked > 2 * MAX_UNPACKED_BYTES or (
            self._unpacked > 2 * RATIO_COUNTS_FROM and self._unpacked > 2 * MAX_UNPACK_RATIO * self._size
        ):
            raise EstateError(
                "too_large",
                f"{self.name} unpacks to more than {self._unpacked - size:,} bytes from {self._size:,}; that is"
                f" refused; {DIVIDE}.",
                file=self.name,
            )

    def whole(self, part: str, most: int = 64 * 1024**2) -> bytes:
        """A small part in one piece."""
        found, size = [], 0
        for chunk in self.chunks(part):
            size += len(chunk)
            if size > most:
                raise EstateError(
                    "too_large",
                    f"{self.name}: its part {part} is larger than {most:,} bytes; {DIVIDE}.",
                    file=self.name,
                )
            found.append(chunk)
        return b"".join(found)
