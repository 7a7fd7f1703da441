"""Rows that a completed phase handed over as an artifact, one JSON object a line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any
from uuid import UUID

import msgspec

from domain.errors import MfoError
from domain.events import TOPICS, FlowRolledBack
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


class _RolledBack(msgspec.Struct):
    """What a FlowRolledBack undid."""

    undone: tuple[str, ...] = ()


ROLLED_BACK = TOPICS[FlowRolledBack]
_completed = msgspec.json.Decoder(Completed)
_rolled_back = msgspec.json.Decoder(_RolledBack)


def completed(event: Told) -> Completed:
    """The phase and the outputs of an event; raises msgspec.DecodeError."""
    return _completed.decode(event.data())


def undone(event: Told) -> tuple[str, ...]:
    """The phases that an event undoes, whose rows are no more; none for other events. Raises msgspec.DecodeError."""
    return _rolled_back.decode(event.data()).undone if event.topic == ROLLED_BACK else ()


def names_artifacts(event: Told) -> bool:
    """Whether an event may name an artifact; the many that do not are told by their bytes."""
    data = event.data()
    return b'"artifact"' in data or SPILLED.encode() in data


def savepoint(connection: Connection, event: Told) -> AbstractAsyncContextManager[Any]:
    """A savepoint around an event that may write; the many that name no artifact go without."""
    return connection.transaction() if event.topic == ROLLED_BACK or names_artifacts(event) else nullcontext()


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
