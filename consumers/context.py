"""What a phase handler is given, and the ways it can end other than by returning its outputs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import structlog

Outputs = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ImportFile:
    """One uploaded file, on local disk for as long as the run lasts."""

    import_file_id: str
    filename: str
    sha256: str
    size_bytes: int
    path: Path


class Artifacts(Protocol):
    """The tenant's artifact store: immutable bytes by content hash."""

    async def put(self, data: bytes, media_type: str = "application/json") -> dict[str, Any]:
        """Keep `data`; the answer `{"artifact": <sha256>, "size_bytes": n, "media_type": ...}` is what goes into outputs."""
        ...

    async def get(self, ref: Mapping[str, Any]) -> bytes:
        """The bytes behind a reference made by `put`; raises ArtifactNotFound."""
        ...


class Imports(Protocol):
    """The tenant's uploaded files."""

    async def open(self, import_file_id: str) -> ImportFile:
        """Fetch an upload to a local temporary file; raises ImportNotFound."""
        ...


@dataclass(frozen=True, slots=True)
class PhaseContext:
    """Everything a handler may use: one run of one phase of one flow.

    `inputs` are the flow's initial data and everything given since (the newest wins), sensitive values in clear.
    `outputs` are the outputs of the phases completed before, by phase name.
    """

    flow_id: UUID
    flow_type: str
    phase: str
    run_id: UUID
    attempt: int
    client_account_id: UUID
    engagement_id: UUID
    user_id: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Mapping[str, Any]]
    artifacts: Artifacts
    imports: Imports
    log: Any = field(default_factory=structlog.get_logger)
    progress: Callable[[int, int, str], Awaitable[None]] | None = None

    @property
    def idempotency_key(self) -> str:
        """The key to hand to every outside system this run calls."""
        return str(self.run_id)

    async def heartbeat(self, done: int, total: int, message: str = "") -> None:
        """Say how far the work is: `done` of `total` units, and a sentence."""
        if self.progress is not None:
            await self.progress(done, total, message)


Handler = Callable[[PhaseContext], Awaitable[Outputs]]
Validator = Callable[[PhaseContext], Awaitable[list["Invalid"]]]


@dataclass(frozen=True, slots=True)
class Invalid:
    """One thing a validator objects to: the input field, and the sentence that says what to do."""

    field: str
    message: str


class NeedsInput(Exception):
    """The phase cannot go on without a person.

    `fields` name what is wanted, `message` says it to the person, `suggestions` travel with the request
    (kept as an artifact when large) and are shown in the flow's status under the given names.
    """

    def __init__(self, message: str, fields: list[str], suggestions: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields
        self.suggestions = dict(suggestions or {})


class Retryable(Exception):
    """The work failed for a reason that may pass."""


class Permanent(Exception):
    """The work failed for a reason that trying again does not cure."""

    def __init__(self, code: str, detail: str, fields: list[Invalid] | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.fields = fields or []
