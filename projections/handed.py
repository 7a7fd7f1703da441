"""Rows that a completed phase handed over as an artifact, one JSON object a line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any
from uuid import UUID

import msgspec

from domain.errors import MfoError
from domain.words import SPILLED
from eventstore.artifacts import ArtifactStore
from eventstore.database import Connection
from projections.projection import ROW_ERRORS
from projections.told import Told

# what is about one flow: the artifact it names, or a row that PostgreSQL refuses
FLOW_ERRORS: tuple[type[Exception], ...] = (*ROW_ERRORS, MfoError, msgspec.MsgspecError)


class RowUnreadable(MfoError):
    """A line of an artifact is no JSON object with the members that its kind has."""

    code = "row_unreadable"


class Completed(msgspec.Struct):
    """A PhaseCompleted, its outputs not decoded yet."""

    phase_name: str
    outputs: dict[str, msgspec.Raw] = {}


_completed = msgspec.json.Decoder(Completed)


def completed(event: Told) -> Completed:
    """The phase and the outputs of an event; raises msgspec.DecodeError."""
    return _completed.decode(event.data())


def savepoint(connection: Connection, event: Told) -> AbstractAsyncContextManager[Any]:
    """A savepoint around an event that may write; the many that name no artifact go without."""
    data = event.data()
    if b'"artifact"' in data or SPILLED.encode() in data:
        return connection.transaction()
    return nullcontext()


class Handed:
    """The artifacts that outputs name."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts

    async def reference(self, event: Told, name: str, value: msgspec.Raw) -> str | None:
        """The SHA-256 of the artifact that the output `name` is, none where it is something else."""
        decoded: Any = msgspec.json.decode(value)
        if isinstance(decoded, dict) and SPILLED in decoded:
            account, _ = event.tenant()
            decoded = (await self._artifacts.unspill(account, {name: decoded}))[name]
        if isinstance(decoded, dict) and isinstance(decoded.get("artifact"), str):
            return str(decoded["artifact"])
        return None

    async def lines(self, account: UUID, sha256: str) -> AsyncIterator[bytes]:
        """The artifact line by line; at most one part of it and one line are held at a time."""
        rest = b""
        async for part in self._artifacts.read(account, sha256):
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                if line.strip():
                    yield line
        if rest.strip():
            yield rest
