"""What a phase handler is given, and the ways it can end other than by returning its outputs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID, uuid5

import structlog

Outputs = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ImportFile:
    """One uploaded file, on local disk for as long as the run lasts, and how the caller wants it read."""

    import_file_id: str
    filename: str
    sha256: str
    size_bytes: int
    path: Path
    import_options: Mapping[str, Any] = field(default_factory=dict)


class Artifacts(Protocol):
    """The tenant's artifact store: immutable bytes by content hash."""

    async def put(self, data: bytes, media_type: str = "application/json") -> dict[str, Any]:
        """Keep `data`; the answer `{"artifact": <sha256>, "size_bytes": n, "media_type": ...}` is what goes into outputs."""
        ...

    async def get(self, ref: Mapping[str, Any]) -> bytes:
        """The bytes behind a reference; raises ArtifactNotFound."""
        ...

    async def put_file(self, path: Path, media_type: str = "application/octet-stream") -> dict[str, Any]:
        """Keep a file, read in parts; answers the same as `put`."""
        ...

    async def fetch(self, ref: Mapping[str, Any]) -> Path:
        """The bytes behind a reference as a file in the run's folder; raises ArtifactNotFound."""
        ...


class Imports(Protocol):
    """The tenant's uploaded files."""

    async def open(self, import_file_id: str) -> ImportFile:
        """Fetch an upload to a local temporary file; raises ImportNotFound."""
        ...


class Past(Protocol):
    """What the tenant's other flows have found and been told."""

    async def learned(self) -> list[dict[str, Any]]:
        """Mappings that people of this client account approved or rejected in other flows.

        `{source_field, kind, target_field, unit, approvals, rejections}`. It grows with time, so a handler that uses it
        keeps it in its outputs.
        """
        ...

    async def earlier_inventory(self, wanted: str = "latest") -> tuple[UUID, dict[str, Any]] | None:
        """The flow id and the outputs of an earlier asset inventory of this engagement.

        `wanted` is a flow id, or `latest` for the one completed last; none where there is no such inventory.
        """
        ...


class DurableSteps(Protocol):
    """Parts of a phase's work whose results are kept (`consumers/steps.py`)."""

    async def step(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """The result of a step, of an earlier attempt where there is one."""
        ...

    async def map(
        self, name: str, items: Iterable[Any], work: Callable[[Any], Any], *, at_most: int = 8, retries: int = 2
    ) -> list[Any]:
        """The results of a step for each item, in order."""
        ...


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


@dataclass(frozen=True, slots=True)
class PhaseContext:
    """Everything a handler may use: one run of one phase of one flow.

    `inputs` are the flow's initial data and everything given since (the newest wins), sensitive values in clear.
    `outputs` are the outputs of the phases completed before, by phase name. `folder` answers a folder on local disk that
    is there as long as the run; `today` is the day (UTC) on which it began; `memory_mb` is how far the process may grow.
    `token` fences the run: it grows with every takeover, and an outside system may refuse a lower one than it has seen.
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
    past: Past
    folder: Callable[[], Path]
    steps: DurableSteps
    today: dt.date = field(default_factory=_today)
    memory_mb: int | None = None
    token: int = 1
    log: Any = field(default_factory=structlog.get_logger)
    progress: Callable[[int, int, str], Awaitable[None]] | None = None

    @property
    def idempotency_key(self) -> str:
        """The key to hand to every outside system this run calls."""
        return str(self.run_id)

    def key(self, step: str) -> str:
        """The key to hand to an outside system for what this step does: the same in every attempt of the phase."""
        return str(uuid5(self.flow_id, f"{self.phase}:{step}"))

    async def step(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do a part of the work once: its result is committed, and the next attempt gets it back instead of doing it again.

        `work(*arguments)` may be async or plain (it runs in a thread); its result must be JSON. Between the end of the work
        and its commit a crash repeats it: hand `key(name)` to outside systems.
        """
        return await self.steps.step(name, work, *arguments)

    async def map(
        self, name: str, items: Iterable[Any], work: Callable[[Any], Any], *, at_most: int = 8, retries: int = 2
    ) -> list[Any]:
        """Do a step for each item, `at_most` at a time; the results in order. Steps that have a result are not done again."""
        return await self.steps.map(name, items, work, at_most=at_most, retries=retries)

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

    kind = "retryable"
    code = "try_again"


class RateLimited(Retryable):
    """Another system wants to be left alone for a while: the phase is tried again not before `after_seconds`."""

    kind = "rate_limited"
    code = "rate_limited"

    def __init__(self, detail: str, after_seconds: float = 1.0) -> None:
        super().__init__(detail)
        self.after_seconds = after_seconds


class Permanent(Exception):
    """The work failed for a reason that trying again does not cure."""

    def __init__(self, code: str, detail: str, fields: list[Invalid] | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.fields = fields or []
