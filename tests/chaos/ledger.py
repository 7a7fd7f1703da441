"""What handlers do to the outside: a file that only grows, on disk, beside the service and its stores.

Each line is one entry, written with a single `write` on a descriptor in append mode, so that any number of processes may
write at once and a kill leaves whole lines only.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import msgspec

from consumers.context import PhaseContext

PATH = "CHAOS_LEDGER"
Kind = Literal["begun", "effect", "ended"]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line. `key` is the idempotency key of an effect, `step` the step it belongs to, `at` seconds of the machine's clock."""

    kind: Kind
    visit: str
    flow: str
    phase: str
    run: str
    token: int
    attempt: int
    pid: int
    parent: int
    at: float
    key: str = ""
    step: str = ""


class Visit:
    """One stay of a handler in a run: what it enters."""

    def __init__(self, context: PhaseContext) -> None:
        self._context = context
        self._visit = uuid4().hex

    def effect(self, step: str = "", *, synced: bool = True) -> str:
        """Do something to the outside under the run's key, or the step's; answers the key."""
        key = self._context.key(step) if step else self._context.idempotency_key
        self.enter("effect", key=key, step=step, synced=synced)
        return key

    def enter(self, kind: Kind, *, key: str = "", step: str = "", synced: bool = False) -> None:
        """Add a line; `synced` waits until the disk has it."""
        context = self._context
        entry = Entry(
            kind=kind,
            visit=self._visit,
            flow=str(context.flow_id),
            phase=context.phase,
            run=str(context.run_id),
            token=context.token,
            attempt=context.attempt,
            pid=os.getpid(),
            parent=os.getppid(),
            # the same on every process of the machine, and never set back
            at=time.monotonic(),
            key=key,
            step=step,
        )
        descriptor = os.open(os.environ[PATH], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, msgspec.json.encode(entry) + b"\n")
            if synced:
                os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def visit(context: PhaseContext) -> Iterator[Visit]:
    """A handler's stay, entered at its beginning and, however it ends, at its end."""
    stay = Visit(context)
    stay.enter("begun")
    try:
        yield stay
    finally:
        stay.enter("ended")


def entries(path: Path) -> list[Entry]:
    """Every entry, in the order in which they were written."""
    if not path.exists():
        return []
    return [msgspec.json.decode(line, type=Entry) for line in path.read_bytes().splitlines()]


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file of lines; none where it is missing."""
    if path.exists():
        yield from (json.loads(line) for line in path.read_text().splitlines() if line.strip())
