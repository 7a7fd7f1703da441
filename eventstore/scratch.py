"""Folders for temporary files that are removed at last, even where the process that had them was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MAKING = "new-"


@contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A new folder among the temporary files, locked for as long as it is in use and removed after the block.

    Folders of the same prefix that nobody has a lock on were left by processes that were killed; they are removed first.
    Raises OSError.
    """
    place = Path(tempfile.gettempdir())
    _sweep(place, prefix)
    # it gets its name once it is locked, so that nobody takes it for one that was left
    made = Path(tempfile.mkdtemp(prefix=MAKING + prefix, dir=place))
    lock = _locked(made)
    folder = made.rename(made.with_name(made.name.removeprefix(MAKING)))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _sweep(place: Path, prefix: str) -> None:
    for left in place.glob(f"{prefix}*"):
        # another user's, or one that somebody else has just removed
        with suppress(OSError):
            lock = _locked(left)
            if lock is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(lock)


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock, none where somebody else does; raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return descriptor
