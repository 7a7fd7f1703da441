"""Which code a handler or validator is: the version that it declares, or a digest of its sources.

The digest is over bytes of files, so it is the same in every process and on every machine that has the same sources, whatever
the Python. Line ends do not count.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Iterable
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from domain.errors import RegistrationError

LENGTH = 12
"""Characters of a derived version."""


def version_of(name: str, work: Callable[..., Any], also: Iterable[str] = ()) -> str:
    """The version of what is registered as `name`; `also` names packages whose sources belong to it.

    Raises RegistrationError where it declares none and has no sources.
    """
    declared = getattr(work, "version", None)
    if declared is not None:
        return str(declared)
    try:
        parts = [_module(_home(work)), *map(_package, also)]
    except (ImportError, OSError, KeyError, ValueError, AttributeError) as error:
        raise RegistrationError(
            f"{name!r} has no version: its sources cannot be read ({type(error).__name__}); declare one by @versioned"
        ) from error
    return hashlib.sha256(b"".join(parts)).hexdigest()[:LENGTH]


def _home(work: Callable[..., Any]) -> str:
    """The module that something was written in."""
    inner = inspect.unwrap(work)
    while isinstance(inner, partial):
        inner = inspect.unwrap(inner.func)
    return str(inner.__module__)


@cache
def _module(name: str) -> bytes:
    return _digest([Path(str(sys.modules[name].__file__))])


@cache
def _package(name: str) -> bytes:
    """The sources of a package with all that is in it, or of a module; it is not imported for that."""
    found = find_spec(name)
    if found is None:
        raise KeyError(name)
    folders = found.submodule_search_locations
    if folders is None:
        return _digest([Path(str(found.origin))])
    return _digest(sorted(file for folder in folders for file in Path(folder).rglob("*.py")))


def _digest(files: Iterable[Path]) -> bytes:
    whole = hashlib.sha256()
    for file in files:
        text = file.read_bytes().replace(b"\r\n", b"\n")
        whole.update(file.name.encode() + b"\0" + hashlib.sha256(text).digest())
    return whole.digest()
