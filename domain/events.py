"""What happened to a flow: one class per fact, in the past tense.

A class's name (`FlowCreated`) is the fact's name everywhere; its wire name, used as the stored topic and the CloudEvents
type, is `mfo.flow.<name>.v1` and outlives the class. Readers ignore fields they do not know, and every field added later has a
default, so that each event ever written still loads (`tests/history`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from domain.questions import Question

Json = dict[str, Any]


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A fact about one flow."""


class PlannedPhase(msgspec.Struct, frozen=True, array_like=True):
    """A phase as the flow was created with it: its name and its weight in the progress."""

    name: str
    weight: float


class FlowCreated(Event, frozen=True, kw_only=True):
    """A flow began. `ancestors` are the flows above it, the root first, its parent last; `dependent_flow_ids` are those
    that must complete before its first phase begins. `follows` says which phases each comes after, where phases run at the same
    time; it is empty where one comes after the other, in the order of `phases`."""

    flow_type: str
    flow_version: str
    flow_name: str
    phases: tuple[PlannedPhase, ...]
    flow_description: str | None = None
    flow_tags: tuple[str, ...] = ()
    initial_data: Json = {}
    options: Json = {}
    auto_execute: bool = False
    parent_flow_id: UUID | None = None
    ancestors: tuple[UUID, ...] = ()
    dependent_flow_ids: tuple[UUID, ...] = ()
    follows: dict[str, tuple[str, ...]] = {}


class ImportedPhase(msgspec.Struct, frozen=True, kw_only=True):
    """A phase as it stood when its flow was taken over; `status` is a PhaseStatus that needs no work in hand."""

    name: str
    weight: float
    status: str = "pending"
    started_at: datetime | None = None
    completed_at: datetime | None = None
    execution_time_ms: int = 0
    outputs: Json = {}
    error: Json | None = None


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a flow was taken over from: by which import, the table, the SHA-256 of what was read, and how sure it is that it
    is this flow (0 to 1), found by `method`."""

    import_id: str
    table: str
    sha256: str
    method: str = "import"
    confidence: float = 1.0


class FlowImported(Event, frozen=True, kw_only=True):
    """A flow was taken over as it stood: that of an older system, or one whose own history is lost.

    Nothing of it is in hand: `status` is one of `initialized, waiting_for_input, paused, completed, failed, cancelled,
    deleted`. Times, names and people are those of the flow, not of the import. `former` are values that have no place of their
    own in a flow; the read model shows them. `children` are `(flow id, status at rest)`. Where phases were done by then there is a
    checkpoint to go back to, with the hash of that state. `follows` as in FlowCreated.
    """

    flow_type: str
    flow_version: str
    flow_name: str
    phases: tuple[ImportedPhase, ...]
    status: str
    origin: Origin
    created_at: datetime
    updated_at: datetime
    created_by: str
    updated_by: str
    completed_at: datetime | None = None
    flow_description: str | None = None
    flow_tags: tuple[str, ...] = ()
    initial_data: Json = {}
    options: Json = {}
    parent_flow_id: UUID | None = None
    ancestors: tuple[UUID, ...] = ()
    children: tuple[tuple[UUID, str | None], ...] = ()
    iteration_number: int = 1
    retry_count: int = 0
    error: Json | None = None
    errors: tuple[Json, ...] = ()
    transitions: tuple[Json, ...] = ()
    deletion: Json | None = None
    former: Json = {}
    checkpoint_id: UUID | None = None
    state_sha256: str = ""
    follows: dict[str, tuple[str, ...]] = {}


class FlowRepaired(Event, frozen=True, kw_only=True):
    """Somebody had what belongs to the flow, and did not fit its history, set right. `kind` is what was done (`link_assets`,
    `rewrite_row`), `items` how many rows that concerned; found by `method` with that `confidence` (0 to 1)."""

    kind: str
    method: str
    confidence: float
    items: int = 0
    reason: str | None = None


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


class PhaseSuspended(Event, frozen=True, kw_only=True):
    """Work gave way until something outside of the run is there; then the same attempt goes on.

    `until` says what is waited for (`domain/conditions.py`), `name` the step that its outcome becomes the result of. With
    `timeout_seconds` no longer than that, pauses not counted: then the outcome is `{"timed_out": true}`.
    """

    phase_name: str
    run_id: UUID
    attempt: int
    name: str
    until: Json
    timeout_seconds: float | None = None
    execution_time_ms: int = 0


class PhaseCompleted(Event, frozen=True, kw_only=True):
    """`handler_versions` says which code ran: the version of each handler, validator and hook of the run, by name.

    `reused_from` is `{flow_id, run_id, version}` of the completion whose result was taken instead of doing the work again.
    """

    phase_name: str
    run_id: UUID
    outputs: Json = {}
    execution_time_ms: int = 0
    validation_results: Json = {}
    resource_usage: Json = {}
    agent_insights: tuple[Json, ...] = ()
    handler_versions: dict[str, str] = {}
    reused_from: Json | None = None


class StepsCompleted(Event, frozen=True, kw_only=True):
    """Parts of a phase's work came to results; the next attempt of the phase gets them back instead of doing them again."""

    phase_name: str
    run_id: UUID
    results: Json


class CheckpointCreated(Event, frozen=True, kw_only=True):
    """A point to roll back to. `state_sha256` is the hash of the flow's state in canonical JSON.

    `phase_name` is the phase that was done last, empty where none was; `reason` is given where somebody asked for it.
    """

    checkpoint_id: UUID
    phase_name: str
    state_sha256: str
    reason: str | None = None


class PhaseFailed(Event, frozen=True, kw_only=True):
    """An attempt of a phase ended without a result.

    `resolution` is what follows from the kind of failure: `{action, severity, message, needs_person, notify}`.
    `handler_versions` as in PhaseCompleted; empty where nobody can say.
    """

    phase_name: str
    run_id: UUID
    attempt: int
    error: Json
    execution_time_ms: int = 0
    resolution: Json = {}
    handler_versions: dict[str, str] = {}


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
    """A phase was left out, by somebody, because its failure does not matter or, `not_taken`, because the flow takes another
    branch; `outputs` stand in for its own."""

    phase_name: str
    reason: str | None = None
    outputs: Json = {}
    not_taken: bool = False


class FlowRetried(Event, frozen=True, kw_only=True):
    """Somebody wants it tried again: the failed flow from its failed phase, or an attempt that waits at once."""

    phase_name: str
    reason: str | None = None


class HookStarted(Event, frozen=True, kw_only=True):
    """An attempt of the hooks at a flow's end (`moment` is `end`), after its failure (`error`), to clean up after it was
    cancelled (`cancel`), or to undo a phase (`compensate`) began."""

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
    handler_versions: dict[str, str] = {}


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
    handler_versions: dict[str, str] = {}


class InputRequested(Event, frozen=True, kw_only=True):
    """The flow waits for somebody; with `expires_after_seconds` no longer than that, pauses not counted.

    `question` says how it is to be answered, and by whom. With `step` the answer becomes the result of that step of the
    handler, and joins the flow's inputs only without.
    """

    phase_name: str
    fields: tuple[str, ...]
    message: str
    suggestions: Json = {}
    run_id: UUID | None = None
    execution_time_ms: int = 0
    expires_after_seconds: float | None = None
    question: Question | None = None
    step: str | None = None


class InputAnswered(Event, frozen=True, kw_only=True):
    """The first of two people has answered; an answer of the same person before is replaced."""

    phase_name: str
    values: Json
    reason: str | None = None


class InputReminded(Event, frozen=True, kw_only=True):
    """Nobody has answered yet: whoever may is to be reminded, for the `number`-th time."""

    phase_name: str
    number: int


class InputProvided(Event, frozen=True, kw_only=True):
    """The flow has its answer. `answered_by`: whose it is, in order; nobody's where it is that of the time which was up."""

    phase_name: str
    values: Json
    reason: str | None = None
    answered_by: tuple[str, ...] = ()


class SignalReceived(Event, frozen=True, kw_only=True):
    """Word from outside: kept in order until the flow waits for one of this name."""

    name: str
    payload: Json = {}
    signal_id: str | None = None


class FlowPaused(Event, frozen=True, kw_only=True):
    """`timers`: they stand still meanwhile (`frozen`), or go on (`running`). `tree`: with all flows under it, where there are
    any. `by_flow_id`: a verb on that flow, above it, reached it. `standing_pause_id`: it began so, under that one, which
    the rule `pause_rule_id` set where that is given."""

    reason: str | None = None
    draining: bool = False
    timers: str = "frozen"
    tree: bool = True
    by_flow_id: UUID | None = None
    standing_pause_id: UUID | None = None
    pause_rule_id: UUID | None = None


class FlowDrained(Event, frozen=True, kw_only=True):
    """The work that had begun before the flow was paused has come to its end, one way or another."""


class FlowResumed(Event, frozen=True, kw_only=True):
    """`tree` and `by_flow_id` as in FlowPaused; `paused_by` is the flow whose pause had reached this one."""

    reason: str | None = None
    tree: bool = True
    by_flow_id: UUID | None = None
    paused_by: UUID | None = None


class FlowMigrated(Event, frozen=True, kw_only=True):
    """The flow goes on by another version of its type, and `phases` are its plan from now on.

    `mapping` says what each phase of before is called in it (null: left behind). `back`: the move before this one is undone;
    then `restored` are phases that it had left behind. A run that was in hand has ended, and its phase stands as handed back.
    `follows` as in FlowCreated.
    """

    from_version: str
    to_version: str
    phases: tuple[PlannedPhase, ...]
    mapping: dict[str, str | None]
    restored: tuple[str, ...] = ()
    back: bool = False
    reason: str | None = None
    follows: dict[str, tuple[str, ...]] = {}


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


class IterationStarted(Event, frozen=True, kw_only=True):
    """Round `number` began: the phases from `from_phase` on are to be done again; what they brought stays in the history.

    `asked_anew` are the inputs that particular people gave for one of them, and are to give again.
    """

    number: int
    from_phase: str
    inputs: Json = {}
    reason: str | None = None
    asked_anew: tuple[str, ...] = ()


class RecoveryStarted(Event, frozen=True, kw_only=True):
    """A phase has no attempt left, and its type says what is done before the flow fails.

    It is the `number`-th time of `at_most` by the rule at place `rule`; `reason` is `{class, code, message}` of the failure.
    A restart names `from_phase`: the phases from there on are to be done again, and the first attempt, under the limits
    given, begins when the timer `timer` fires, or at once. Other actions have what follows told by an event of its own.
    """

    phase_name: str
    action: str
    reason: Json
    rule: int
    number: int
    at_most: int
    inputs: Json = {}
    from_phase: str | None = None
    delay_seconds: float = 0.0
    timer: str | None = None
    timer_token: int = 0
    max_attempts: int = 1
    timeout_seconds: float = 300.0
    options: Json = {}


class Compensation(msgspec.Struct, frozen=True):
    """A phase whose work is undone by these handlers, one after the other."""

    phase_name: str
    handlers: tuple[str, ...]


class FlowRolledBack(Event, frozen=True, kw_only=True):
    """The flow went back to where it stood at the version `to_version`; what happened since stays in history.

    The phases `undone` (newest first) are pending as if they had never run, the inputs are as they were, and `phase_name` is
    the phase that comes next. Before it the `compensations` are run in this order. Without `checkpoint_id` the flow went back
    to its beginning. `compensate`: flows that were begun under it since are undone, too, when they are cancelled for it.
    """

    phase_name: str
    to_version: int
    checkpoint_id: UUID | None = None
    undone: tuple[str, ...] = ()
    compensations: tuple[Compensation, ...] = ()
    reason: str | None = None
    compensate: bool = True


class FlowCancelled(Event, frozen=True, kw_only=True):
    """The flow ended without a result. The `compensations` are run afterwards, in this order.

    With `cleanup_after_seconds` the hooks for cleaning up begin so much later, when the work in hand has stopped, and the
    compensations follow them. `tree` and `by_flow_id` as in FlowPaused.
    """

    reason: str | None = None
    compensations: tuple[Compensation, ...] = ()
    cleanup_after_seconds: float | None = None
    compensate: bool = False
    tree: bool = True
    by_flow_id: UUID | None = None


class FlowDeleted(Event, frozen=True, kw_only=True):
    """`tree` and `by_flow_id` as in FlowPaused."""

    reason: str | None = None
    tree: bool = True
    by_flow_id: UUID | None = None


class ChildStarted(Event, frozen=True, kw_only=True):
    """A flow was created under this one."""

    child_flow_id: UUID


class ChildEnded(Event, frozen=True, kw_only=True):
    """A child came to rest: `completed`, `failed`, `cancelled` or `deleted`.

    `outputs` are those of its last phase, or `{too_large, size_bytes}` where they are more than 4 KiB of JSON; the child's own
    history has them. A child that failed may be executed again and end another time.
    """

    child_flow_id: UUID
    status: str
    outputs: Json = {}
    error: Json | None = None


class DependencyEnded(Event, frozen=True, kw_only=True):
    """A flow that this one waits for came to rest: `completed`, `failed`, `cancelled` or `deleted`."""

    dependency_flow_id: UUID
    status: str


FlowEvent = (
    FlowCreated
    | FlowImported
    | FlowRepaired
    | PhaseStarted
    | RunReassigned
    | RunHandedBack
    | PhaseSuspended
    | StepsCompleted
    | PhaseCompleted
    | CheckpointCreated
    | PhaseFailed
    | PhaseRetryScheduled
    | PhasePostponed
    | PhaseSkipped
    | FlowRetried
    | HookStarted
    | HookCompleted
    | HookFailed
    | InputRequested
    | InputAnswered
    | InputReminded
    | InputProvided
    | SignalReceived
    | FlowPaused
    | FlowDrained
    | FlowResumed
    | FlowMigrated
    | FlowCompleted
    | FlowFailed
    | IterationStarted
    | RecoveryStarted
    | FlowRolledBack
    | FlowCancelled
    | FlowDeleted
    | ChildStarted
    | ChildEnded
    | DependencyEnded
)

EVENTS: tuple[type[FlowEvent], ...] = (
    FlowCreated,
    FlowImported,
    FlowRepaired,
    PhaseStarted,
    RunReassigned,
    RunHandedBack,
    PhaseSuspended,
    StepsCompleted,
    PhaseCompleted,
    CheckpointCreated,
    PhaseFailed,
    PhaseRetryScheduled,
    PhasePostponed,
    PhaseSkipped,
    FlowRetried,
    HookStarted,
    HookCompleted,
    HookFailed,
    InputRequested,
    InputAnswered,
    InputReminded,
    InputProvided,
    SignalReceived,
    FlowPaused,
    FlowDrained,
    FlowResumed,
    FlowMigrated,
    FlowCompleted,
    FlowFailed,
    IterationStarted,
    RecoveryStarted,
    FlowRolledBack,
    FlowCancelled,
    FlowDeleted,
    ChildStarted,
    ChildEnded,
    DependencyEnded,
)

FLOW_PREFIX = "mfo.flow."
TOPICS: dict[type[FlowEvent], str] = {event: f"{FLOW_PREFIX}{event.__name__}.v1" for event in EVENTS}
BY_TOPIC: dict[str, type[FlowEvent]] = {topic: event for event, topic in TOPICS.items()}
