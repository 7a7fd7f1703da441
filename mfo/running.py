"""Which `mfo dev` runs in a data folder, and how to reach it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from domain.errors import MfoError

NOTE = "dev.json"


class Unreachable(MfoError):
    """The service cannot be reached."""

    code = "unreachable"
    status = 503


@dataclass(frozen=True, slots=True)
class Running:
    """A `mfo dev` that is ready: its process, its addresses, and the variables that lead to it."""

    pid: int
    process_started: float
    data: str
    url: str
    postgres: str
    kafka: str
    kafka_bootstrap: str
    kafka_reason: str
    environment: dict[str, str]

    def as_note(self) -> str:
        """JSON, as it is kept in the data folder; it holds the database's password."""
        return json.dumps(asdict(self), indent=2)

    def as_public(self) -> dict[str, Any]:
        """Everything but the variables, which hold the database's password."""
        return {name: value for name, value in asdict(self).items() if name not in {"environment", "process_started"}}


def default_folder() -> Path:
    """Where `mfo dev` keeps its data unless told otherwise."""
    share = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(share) / "mfo" / "dev"


def running(folder: Path | None = None) -> Running | None:
    """The `mfo dev` that is up in this folder (left out: the usual one); None where none is."""
    note = (folder or default_folder()).expanduser().resolve() / NOTE
    try:
        found = Running(**json.loads(note.read_text()))
        alive = abs(psutil.Process(found.pid).create_time() - found.process_started) < 1
    except (OSError, ValueError, TypeError, psutil.Error):
        return None
    return found if alive else None


def command() -> str:
    """How `mfo` is called from the reader's shell, whether or not it is on the path."""
    return "mfo" if shutil.which("mfo") else f"{shlex.quote(sys.executable)} -m mfo"
