"""What the service and its child processes say to each other: JSON frames after their length, and how a run ended."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from domain.questions import Question
from eventstore.config import CrewConfig

Json = dict[str, Any]


class Begin(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The first frame to a child: what it needs to reach the store."""

    database_url: str
    shard: str
    master_key: bytes
    flow_type_modules: tuple[str, ...]
    memory_mb: int | None = None
    log_level: str = "INFO"
    crew: CrewConfig | None = None


class Undoing(msgspec.Struct, frozen=True, kw_only=True):
    """What a compensation undoes: the last run of a phase, with the results of its steps where it did not come to its own."""

    run_id: UUID | None = None
    completed: bool = True
    steps: Json = {}


class Job(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Run a phase. Inputs and outputs are as the flow holds them: sealed, and large members moved aside.

    `start`, `before` and `after` are hooks around its handlers. With `hook`, the name of a moment, the handlers are the hooks
    of that moment, and no phase runs. `iteration` is the flow's round, `anew` how often the phase was to be done again;
    `reusable`: the result of an earlier run may be taken. `undoing` is there for compensations. With `yields` it begins no
    further step while its flow is paused. `traceparent` is the run's span, where it is traced.
    """

    run_id: UUID
    token: int
    flow_id: UUID
    flow_type: str
    phase_name: str
    attempt: int
    client_account_id: UUID
    engagement_id: UUID
    user_id: str
    inputs: Json
    outputs: dict[str, Json]
    handlers: tuple[str, ...]
    validators: tuple[str, ...]
    steps: Json = {}
    start: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    hook: str = ""
    error: Json = {}
    validate_inputs: bool = True
    validate_outputs: bool = True
    output_schema: Json | None = None
    deadline: datetime | None = None
    seconds_left: float = 86_400.0
    paused: bool = False
    draining: bool = False
    yields: bool = False
    max_attempts: int = 1
    timeout_seconds: float | None = None
    iteration: int = 1
    anew: int = 0
    reusable: bool = False
    undoing: Undoing | None = None
    traceparent: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All that it runs, by the names in the registry."""
        checked = self.validators if self.validate_inputs else ()
        return (*checked, *self.start, *self.before, *self.handlers, *self.after)


class Describe(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Say what is in an upload, read under these options."""

    run_id: UUID
    import_id: UUID
    client_account_id: UUID
    engagement_id: UUID
    user_id: str
    import_options: Json = {}


class Kept(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The answer to StepsDone: they are committed, or the run is no longer the child's."""

    run_id: UUID
    number: int
    ours: bool


class FlowAnswered(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The answer to FlowAsked: the error it was refused with, none where it was taken; or the run is no longer the child's."""

    run_id: UUID
    number: int
    ours: bool
    error: Json | None = None


class Stop(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Give a run up."""

    run_id: UUID


class Asked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What is asked of a run: to end for good, to give way to a pause, or to let its process stop; and by when it ends."""

    run_id: UUID
    cancelled: bool = False
    paused: bool = False
    draining: bool = False
    deadline: datetime | None = None
    seconds_left: float | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """How far a run is."""

    run_id: UUID
    done: int
    total: int
    message: str


class StepsDone(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Steps of a run have results, as the flow may hold them; the child goes on when it hears Kept with this number."""

    run_id: UUID
    number: int
    results: Json


class FlowAsked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A run wants a command put before a child flow of its own; it goes on when it hears FlowAnswered with this number."""

    run_id: UUID
    number: int
    command: Literal["CreateFlow", "CancelFlow"]
    body: Json


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """How a run ended: `completed` with outputs, `failed` with an error, `input` with what is asked for, `handed_back` to go
    on later, `suspended` until what `step` waits for is there. `stuck`: a thread of its has not ended, so the child has to.
    `handler_versions`: which code ran, by name."""

    run_id: UUID
    how: Literal["completed", "failed", "input", "handed_back", "suspended"]
    outputs: Json = {}
    validation_results: Json = {}
    resource_usage: Json = {}
    agent_insights: tuple[Json, ...] = ()
    error: Json = {}
    fields: tuple[str, ...] = ()
    message: str = ""
    suggestions: Json = {}
    step: str = ""
    until: Json = {}
    wait_seconds: float | None = None
    question: Question | None = None
    execution_time_ms: int = 0
    stuck: bool = False
    handler_versions: dict[str, str] = {}
    reused_from: Json | None = None


class Alive(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The child's loop goes round."""


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The child can take work."""

    pid: int


ToChild = Begin | Job | Describe | Kept | FlowAnswered | Asked | Stop
FromChild = Ready | Alive | Progress | StepsDone | FlowAsked | Ended

_encoder = msgspec.json.Encoder()
to_child = msgspec.json.Decoder(ToChild)
from_child = msgspec.json.Decoder(FromChild)


def frame(message: ToChild | FromChild) -> bytes:
    """The message with its length before it: 4 bytes, big-endian."""
    body = _encoder.encode(message)
    return len(body).to_bytes(4, "big") + body
