"""What happened to a flow: one class per fact, in the past tense.

A class's name (`FlowCreated`) is the fact's name everywhere; its wire name, used as the stored topic and the CloudEvents
type, is `mfo.flow.<name>.v1` and outlives the class. Readers ignore fields they do not know, and every field added later has a
default, so that each event ever written still loads (`tests/history`).
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

Json = dict[str, Any]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A fact about one flow."""


class PlannedPhase(msgspec.Struct, frozen=True, array_like=True):
    """A phase as the flow was created with it: its name and its weight in the progress."""

    name: str
    weight: float


class FlowCreated(Event, frozen=True, kw_only=True):
    flow_type: str
    flow_version: str
    flow_name: str
    phases: tuple[PlannedPhase, ...]
    flow_description: str | None = None
    flow_tags: tuple[str, ...] = ()
    initial_data: Json = {}
    options: Json = {}
    auto_execute: bool = False


class PhaseStarted(Event, frozen=True, kw_only=True):
    """An attempt of a phase began; `max_attempts` counts this one, `timeout_seconds` is its deadline from now."""

    phase_name: str
    run_id: UUID
    token: int
    attempt: int
    max_attempts: int
    timeout_seconds: float
    inputs: Json = {}
    options: Json = {}


class RunReassigned(Event, frozen=True, kw_only=True):
    """A run goes to another worker, under the next token: its own fell silent (`lapsed`), was lost (`worker_lost`), or gave
    it back unfinished (`handed_back`)."""

    phase_name: str
    run_id: UUID
    token: int
    reason: str = "lapsed"


class RunHandedBack(Event, frozen=True, kw_only=True):
    """Work gave way to a pause. Resuming goes on with the same attempt, and with the steps that have results."""

    phase_name: str
    run_id: UUID
    execution_time_ms: int = 0


class PhaseCompleted(Event, frozen=True, kw_only=True):
    phase_name: str
    run_id: UUID
    outputs: Json = {}
    execution_time_ms: int = 0
    validation_results: Json = {}
    resource_usage: Json = {}
    agent_insights: tuple[Json, ...] = ()


class StepsCompleted(Event, frozen=True, kw_only=True):
    """Parts of a phase's work came to results; the next attempt of the phase gets them back instead of doing them again."""

    phase_name: str
    run_id: UUID
    results: Json


class CheckpointCreated(Event, frozen=True, kw_only=True):
    """A point to roll back to. `state_sha256` is the hash of the flow's state in canonical JSON."""

    checkpoint_id: UUID
    phase_name: str
    state_sha256: str


class PhaseFailed(Event, frozen=True, kw_only=True):
    """An attempt of a phase ended without a result.

    `resolution` is what follows from the kind of failure: `{action, severity, message, needs_person, notify}`.
    """

    phase_name: str
    run_id: UUID
    attempt: int
    error: Json
    execution_time_ms: int = 0
    resolution: Json = {}


class PhaseRetryScheduled(Event, frozen=True, kw_only=True):
    """The next attempt starts when the timer `timer` fires, `delay_seconds` after this event."""

    phase_name: str
    attempt: int
    timer: str
    timer_token: int
    delay_seconds: float
    max_attempts: int | None = None


class PhasePostponed(Event, frozen=True, kw_only=True):
    """A run met a target that is left alone for a while: it begins anew, as the same attempt, when the timer `timer` fires.

    `reason` is `{code, message, target}`. Also told of a hook's run.
    """

    phase_name: str
    run_id: UUID
    attempt: int
    timer: str
    timer_token: int
    delay_seconds: float
    reason: Json
    execution_time_ms: int = 0


class PhaseSkipped(Event, frozen=True, kw_only=True):
    """A phase was left out, by somebody or because its failure does not matter; `outputs` stand in for its own."""

    phase_name: str
    reason: str | None = None
    outputs: Json = {}


class HookStarted(Event, frozen=True, kw_only=True):
    """An attempt of the hooks at a flow's end (`moment` is `end`) or after its failure (`error`) began."""

    moment: str
    phase_name: str
    run_id: UUID
    token: int
    attempt: int
    max_attempts: int
    timeout_seconds: float
    inputs: Json = {}
    options: Json = {}


class HookCompleted(Event, frozen=True, kw_only=True):
    """The hooks are done. Outputs of end hooks join those of the phase; those of error hooks are the flow's advice."""

    moment: str
    phase_name: str
    run_id: UUID
    outputs: Json = {}
    execution_time_ms: int = 0
    resource_usage: Json = {}


class HookFailed(Event, frozen=True, kw_only=True):
    """An attempt of the hooks ended without a result; after a `final` one there is no further attempt."""

    moment: str
    phase_name: str
    run_id: UUID
    attempt: int
    error: Json
    execution_time_ms: int = 0
    resolution: Json = {}
    final: bool = True


class InputRequested(Event, frozen=True, kw_only=True):
    """The flow waits for somebody; with `expires_after_seconds` no longer than that, pauses not counted."""

    phase_name: str
    fields: tuple[str, ...]
    message: str
    suggestions: Json = {}
    run_id: UUID | None = None
    execution_time_ms: int = 0
    expires_after_seconds: float | None = None


class InputProvided(Event, frozen=True, kw_only=True):
    phase_name: str
    values: Json
    reason: str | None = None


class FlowPaused(Event, frozen=True, kw_only=True):
    """The flow stands still. `standing_pause_id`: it began so, because of that standing pause."""

    reason: str | None = None
    draining: bool = False
    standing_pause_id: UUID | None = None


class FlowResumed(Event, frozen=True, kw_only=True):
    reason: str | None = None


class FlowCompleted(Event, frozen=True, kw_only=True):
    pass


class FlowFailed(Event, frozen=True, kw_only=True):
    """The flow came to rest at a phase that did not work; it may be executed again from there.

    `chain` is how its attempts ended, oldest first: `{attempt, started_at, failed_at, class, code, message}`.
    """

    phase_name: str
    error: Json
    attempts: int
    chain: tuple[Json, ...] = ()


class FlowCancelled(Event, frozen=True, kw_only=True):
    reason: str | None = None


class FlowDeleted(Event, frozen=True, kw_only=True):
    reason: str | None = None


FlowEvent = (
    FlowCreated
    | PhaseStarted
    | RunReassigned
    | RunHandedBack
    | StepsCompleted
    | PhaseCompleted
    | CheckpointCreated
    | PhaseFailed
    | PhaseRetryScheduled
    | PhasePostponed
    | PhaseSkipped
    | HookStarted
    | HookCompleted
    | HookFailed
    | InputRequested
    | InputProvided
    | FlowPaused
    | FlowResumed
    | FlowCompleted
    | FlowFailed
    | FlowCancelled
    | FlowDeleted
)

EVENTS: tuple[type[FlowEvent], ...] = (
    FlowCreated,
    PhaseStarted,
    RunReassigned,
    RunHandedBack,
    StepsCompleted,
    PhaseCompleted,
    CheckpointCreated,
    PhaseFailed,
    PhaseRetryScheduled,
    PhasePostponed,
    PhaseSkipped,
    HookStarted,
    HookCompleted,
    HookFailed,
    InputRequested,
    InputProvided,
    FlowPaused,
    FlowResumed,
    FlowCompleted,
    FlowFailed,
    FlowCancelled,
    FlowDeleted,
)

FLOW_PREFIX = "mfo.flow."
TOPICS: dict[type[FlowEvent], str] = {event: f"{FLOW_PREFIX}{event.__name__}.v1" for event in EVENTS}
BY_TOPIC: dict[str, type[FlowEvent]] = {topic: event for event, topic in TOPICS.items()}
