"""What may be asked of a flow: one class per request, in the imperative.

The same classes serve HTTP and Kafka: a command's JSON on Kafka is the body of the HTTP call plus `flow_id`. They are strict:
an unknown field, a NUL or an over-long text is refused. What the workers and timers ask of a flow stands at the end; those
are never taken from outside.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from domain.addresses import MOST_EMAILS, EmailAddress
from domain.errors import TenantMissing

Json = dict[str, Any]

MAX_DEPTH = 64


def _no_nul(value: str) -> str:
    if "\x00" in value:
        raise ValueError("text must not contain NUL")
    return value


def _clean_json(value: Any, depth: int = 0) -> Any:
    """Refuse what PostgreSQL's jsonb cannot hold: NUL in any text or key, and nesting without end."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        _no_nul(value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            _no_nul(key)
            _clean_json(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _clean_json(inner, depth + 1)
    return value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("text must not be blank")
    return value


def _moment(value: Any) -> datetime:
    """A time with its zone, in UTC; numbers and times without a zone leave open what is meant."""
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError("write it as ISO 8601 with its zone, such as 2026-11-20T12:00:00+01:00")


MAX_WAIT_SECONDS = 10 * 366 * 86_400
Moment = Annotated[datetime, BeforeValidator(_moment)]
Name = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_no_nul), AfterValidator(_not_blank)]
Text = Annotated[str, Field(max_length=4000), AfterValidator(_no_nul)]
Tag = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_no_nul)]
Data = Annotated[Json, AfterValidator(_clean_json)]
Tags = Annotated[tuple[Tag, ...], Field(max_length=50)]
FlowIds = Annotated[tuple[UUID, ...], Field(max_length=100)]


# what is left out many clients write as null
def _none_given(value: Any) -> Any:
    return () if value is None else value


def _none_set(value: Any) -> Any:
    return {} if value is None else value


GivenData = Annotated[Data, BeforeValidator(_none_set, Json | None)]


class Command(BaseModel):
    """A request about one flow. The flow may refuse it."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    flow_id: UUID = Field(description="The flow that is asked.")


class ExecutionOptions(BaseModel):
    """How phases run. What is left out falls back: this call, the flow, the phase, the flow type, the default."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    timeout_seconds: float | None = Field(
        default=None, gt=0, le=86_400, strict=True, description="Deadline of one attempt in seconds (default 300)."
    )
    retry_on_failure: bool | None = Field(
        default=None, strict=True, description="Try again after a failure that may pass (default true)."
    )
    max_retries: int | None = Field(
        default=None, ge=0, le=100, strict=True, description="Attempts after the first (default 2)."
    )
    save_checkpoints: bool | None = Field(
        default=None, strict=True, description="Record a checkpoint after the phase (default true)."
    )
    validate_inputs: bool | None = Field(
        default=None, strict=True, description="Run the phase's validators before its handlers (default true)."
    )
    validate_outputs: bool | None = Field(
        default=None, strict=True, description="Check outputs against the phase's schema (default true)."
    )
    input_timeout_seconds: float | None = Field(
        default=None,
        gt=0,
        le=MAX_WAIT_SECONDS,
        strict=True,
        description="How long a question waits for its answer, in seconds; then what the phase says follows (default: for ever).",
    )
    priority: int | None = Field(
        default=None,
        ge=1,
        le=5,
        strict=True,
        description="1 (first) to 5 (last) among the tenant's own flows that wait for a place, from now on (default 3).",
    )
    reuse_results: bool | None = Field(
        default=None,
        strict=True,
        description="Take the result of an earlier run with the same inputs where the phase allows it (default true).",
    )


class CreateOptions(ExecutionOptions):
    """Options of a whole flow: how it goes on, and how its phases run."""

    auto_execute: bool = Field(
        default=False,
        strict=True,
        description="Start the first phase at once and each next phase after the one before.",
    )
    start_at: Moment | None = Field(
        default=None,
        description="Start the first phase at this time, ISO 8601 with its zone; one that is past: at once.",
    )
    start_after_seconds: float | None = Field(
        default=None, gt=0, le=MAX_WAIT_SECONDS, strict=True, description="Start the first phase after so many seconds."
    )
    flow_timeout_seconds: float | None = Field(
        default=None,
        gt=0,
        le=MAX_WAIT_SECONDS,
        strict=True,
        description="Deadline of the whole flow in seconds from its start, pauses not counted (default: none).",
    )
    on_dependency_failure: Literal["fail", "ignore", "wait"] | None = Field(
        default=None,
        description="What follows where a flow that this one waits for fails, or is cancelled or deleted (default wait).",
    )
    notification_emails: tuple[EmailAddress, ...] = Field(
        default=(),
        max_length=MOST_EMAILS,
        description="Who is told by e-mail when the flow completes, fails, wants input or is paused by a rule.",
    )

    @model_validator(mode="after")
    def _one_start(self) -> CreateOptions:
        if self.start_at is not None and self.start_after_seconds is not None:
            raise ValueError("give start_at or start_after_seconds, not both")
        return self


class CreateFlow(Command):
    """Begin a flow of a type."""

    flow_type: Name = Field(description="One of the registered flow types.")
    flow_name: Name
    flow_description: Text | None = None
    flow_tags: Annotated[Tags, BeforeValidator(_none_given, Tags | None)] = ()
    initial_data: GivenData = Field(
        default_factory=dict, description="Inputs known from the start; they satisfy required inputs."
    )
    options: Annotated[CreateOptions, BeforeValidator(_none_set, CreateOptions | None)] = CreateOptions()
    parent_flow_id: UUID | None = Field(
        default=None, description="The flow that this one is a child of; verbs on the parent reach it, too."
    )
    dependent_flow_ids: Annotated[FlowIds, BeforeValidator(_none_given, FlowIds | None)] = Field(
        default=(), description="Flows that must complete before the first phase of this one begins."
    )


class ExecutePhase(Command):
    """Run the next phase, or the one named."""

    phase_name: Name | None = Field(
        default=None,
        description="Left out: the next phase; where phases run at the same time, all that are next.",
    )
    inputs: GivenData = Field(default_factory=dict)
    options: Annotated[ExecutionOptions, BeforeValidator(_none_set, ExecutionOptions | None)] = ExecutionOptions()


class Verb(Command):
    """A request that needs nothing but a reason, and not even that."""

    reason: Text | None = None


class TreeVerb(Verb):
    """A verb that reaches the flows under a flow, too."""

    tree: bool | None = Field(
        default=None, strict=True, description="With all flows under it (default: true); `false`: this flow alone."
    )


class PauseFlow(TreeVerb):
    """Stop before the next phase; work in progress drains."""

    timers: Literal["frozen", "running"] | None = Field(
        default=None,
        description="What the flow's timers do meanwhile: `frozen` (the default) keeps what is left of each; `running` lets"
        " them go on: a deadline or the end of the time for an answer takes effect at once, what else is due when the flow"
        " is resumed.",
    )


class ResumeFlow(TreeVerb):
    """Go on where the flow was paused."""


class CancelFlow(TreeVerb):
    """End the flow for good, without a result; what its type has for cleaning up runs then."""

    compensate: bool = Field(
        default=False, strict=True, description="Undo what its phases did, by their compensations, newest first."
    )


class DeleteFlow(TreeVerb):
    """Hide the flow; its history stays."""


class ProvideInput(Verb):
    """Answer what the flow asked for: every field but `flow_id` and `reason` is one of the values.

    Where several phases ask at the same time, `phase_name` beside them says which question is meant, unless one of the phases
    asks for a field of that name.
    """

    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)

    @model_validator(mode="after")
    def _values_are_clean(self) -> ProvideInput:
        _clean_json(self.values)
        return self

    @property
    def values(self) -> Json:
        """The answer, by field name."""
        return dict(self.model_extra or {})


class SignalFlow(Command):
    """Tell the flow something from outside; a handler takes it up with `ctx.wait_for(name)`."""

    name: Name
    payload: Data = Field(default_factory=dict, description="What there is to say; at most 64 KiB of JSON.")
    signal_id: Name | None = Field(
        default=None, description="The sender's own id: a second signal of the flow under it changes nothing."
    )


class SkipPhase(Verb):
    """Leave the next phase out, also one that is running, waits, or has failed."""

    phase_name: Name | None = Field(
        default=None, description="Left out: the next phase. Where several are next, it names one of them."
    )
    outputs: Data | None = Field(
        default=None, description="What stands in for the phase's outputs; it fits the phase's schema."
    )


class RetryFlow(Verb):
    """Go on with a failed flow at the phase that failed, with all attempts anew; or do not wait for the next attempt."""


class RollbackFlow(Verb):
    """Go back to a phase or checkpoint, as a forward event: give one of the two."""

    phase_name: Name | None = Field(default=None, description="The phase that is to be done next, again.")
    checkpoint_id: UUID | None = Field(default=None, description="Or the checkpoint after which all is undone.")
    compensate: bool = Field(
        default=True, strict=True, description="Run the compensations of the phases undone, newest first."
    )


class CreateCheckpoint(Verb):
    """Record a point to roll back to, now."""


class StartIteration(Verb):
    """Begin a new round of the flow's phases; what the former rounds brought stays."""

    phase_name: Name | None = Field(default=None, description="From this phase on; left out: from the first.")
    inputs: GivenData = Field(
        default_factory=dict, description="Joins what the flow was given before; the newest wins."
    )


class MigrateFlow(Verb):
    """Go on by another version of the flow's type."""

    to_version: Annotated[str, Field(min_length=1, max_length=50), AfterValidator(_no_nul)] | None = Field(
        default=None,
        description="A version of the flow's type that the service knows; left out: the one that new flows get.",
    )
    phase_mapping: dict[Name, Name | None] = Field(
        default_factory=dict,
        max_length=200,
        description="What phases of the flow are called in that version, null for one that is left behind. Left out: the"
        " same name, or the phase that it is an alias of.",
    )
    back: bool = Field(
        default=False,
        strict=True,
        description="Undo the flow's last migration, by its mapping the other way round.",
    )
    restart_run: bool = Field(
        default=False,
        strict=True,
        description="A phase under way begins anew by that version, as the same attempt and with the steps that have"
        " results; what its worker brings then is refused. Without it such a flow is not migrated.",
    )

    @model_validator(mode="after")
    def _one_mapping(self) -> MigrateFlow:
        if self.back and self.phase_mapping:
            raise ValueError("back goes by the mapping of the migration that it undoes; leave phase_mapping out")
        return self


class CompletePhase(Command):
    """A worker: the run ended with outputs. `handler_versions` says which code ran, by the name of what the run named."""

    run_id: UUID
    token: int
    outputs: Json = {}
    execution_time_ms: int = 0
    validation_results: Json = {}
    resource_usage: Json = {}
    agent_insights: tuple[Json, ...] = ()
    handler_versions: dict[str, str] = {}
    reused_from: Json | None = None


class RecordSteps(Command):
    """A worker: parts of the run's work have results, by the names the handler gives them."""

    run_id: UUID
    token: int
    results: Json


class FailPhase(Command):
    """A worker, or the deadline: the run ended without outputs.

    `error` is `{class, code, message, retryable, fields?, after_seconds?}`; see `domain/failures.py`.
    """

    run_id: UUID
    token: int
    error: Json
    execution_time_ms: int = 0
    handler_versions: dict[str, str] = {}


class RequestInput(Command):
    """A worker: the run cannot go on without a person; `question` and `step` as in `InputRequested`."""

    run_id: UUID
    token: int
    fields: tuple[str, ...]
    message: str
    suggestions: Json = {}
    execution_time_ms: int = 0
    question: Json | None = None
    step: str | None = None


class HandBackRun(Command):
    """A worker: the run gives way unfinished, to a pause or because its process stops."""

    run_id: UUID
    token: int
    execution_time_ms: int = 0


class SuspendRun(Command):
    """A worker: the run gives way until something outside of it is there; see `PhaseSuspended`."""

    run_id: UUID
    token: int
    name: str
    until: Json
    timeout_seconds: float | None = None
    execution_time_ms: int = 0


class ReassignRun(Command):
    """The keeper of runs: another worker takes the run over. `token` is that of the worker which no longer has it."""

    run_id: UUID
    token: int
    reason: Literal["lapsed", "worker_lost", "handed_back"] = "lapsed"


class ReportLoss(Command):
    """The keeper of runs, in the service's own name: the run cannot be done, because `artifact` (SHA-256 in hex), which the
    outputs of earlier phases name, is gone. With `mendable` the state at `checkpoint_id` (none: the beginning) is whole."""

    run_id: UUID
    token: int
    artifact: str
    mendable: bool = False
    checkpoint_id: UUID | None = None
    execution_time_ms: int = 0


class FireTimer(Command):
    """A timer of the flow is due."""

    timer: str
    token: int


class ReportChild(Command):
    """The follower of relations, to a parent: a child has begun or, with `status`, has come to rest.

    `outputs` are those of its last phase; `error` is what it failed with.
    """

    child_flow_id: UUID
    status: str | None = None
    outputs: Json = {}
    error: Json | None = None


class ReportDependency(Command):
    """The follower of relations, to a flow that waits for another: that one came to rest."""

    dependency_flow_id: UUID
    status: str


class FollowParent(Command):
    """The follower of relations: a verb on the flow `by_flow_id`, further up in the tree, reaches this one.

    `resume` concerns it only where it was paused by one of `paused_by`. `timers` as in PauseFlow, `compensate` as in CancelFlow,
    but that a flow which cannot be undone is cancelled all the same.
    """

    verb: Literal["pause", "resume", "cancel", "delete"]
    by_flow_id: UUID
    paused_by: tuple[UUID, ...] = ()
    timers: Literal["frozen", "running"] | None = None
    compensate: bool = False
    reason: str | None = None


class ImportFlow(Command):
    """The importer: take the flow over as it stood; `told` is a FlowImported, as JSON. `again`: also where a former import of
    it was undone."""

    told: Json
    again: bool = False


class RepairFlow(Command):
    """Set right what belongs to the flow and does not fit its history; see `FlowRepaired`."""

    kind: str
    method: str
    confidence: float
    items: int = 0
    reason: str | None = None


PUBLIC: dict[str, type[Command]] = {
    command.__name__: command
    for command in (
        CreateFlow,
        ExecutePhase,
        PauseFlow,
        ResumeFlow,
        ProvideInput,
        SignalFlow,
        SkipPhase,
        RetryFlow,
        RollbackFlow,
        CreateCheckpoint,
        CancelFlow,
        DeleteFlow,
        StartIteration,
        MigrateFlow,
    )
}
INTERNAL: dict[str, type[Command]] = {
    command.__name__: command
    for command in (
        *(CompletePhase, RecordSteps, FailPhase, RequestInput, HandBackRun, SuspendRun, ReassignRun, FireTimer),
        *(ReportChild, ReportDependency, FollowParent, ReportLoss),
        *(ImportFlow, RepairFlow),
    )
}


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """Who asked, when, and because of what. `at` is ISO 8601 in UTC, set when the command is decided.

    `traceparent` names the span (W3C trace context) that the command belongs to.
    """

    command_id: str
    client_account_id: UUID
    engagement_id: UUID
    user_id: str
    correlation_id: str
    causation_id: str | None = None
    source: str = "http"
    expected_version: int | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    traceparent: str | None = None


class Tenant(msgspec.Struct, frozen=True):
    """Whose flow it is, and who is acting."""

    client_account_id: UUID
    engagement_id: UUID
    user_id: str


UUID_WANTED = "send it as a UUID with hyphens"


def tenant_from(
    client_account_id: str | None,
    engagement_id: str | None,
    user_id: str | None,
    called: tuple[str, str, str] = ("client_account_id", "engagement_id", "user_id"),
) -> Tenant:
    """The tenant named by three texts, which the sender knows by the names `called`.

    Raises TenantMissing naming the first that is absent or malformed.
    """
    ids: list[UUID] = []
    for name, text in zip(called, (client_account_id, engagement_id), strict=False):
        if not text:
            raise TenantMissing(f"{name} is missing; {UUID_WANTED}")
        try:
            found = UUID(text.strip())
        except ValueError:
            raise TenantMissing(f"{name} is not a UUID; {UUID_WANTED}") from None
        # UUID() also takes braces, underscores and hyphens in strange places
        if str(found) != text.strip().lower():
            raise TenantMissing(f"{name} is not a UUID; {UUID_WANTED}")
        ids.append(found)
    user = (user_id or "").strip()
    if not user or len(user) > 255 or "\x00" in user:
        raise TenantMissing(
            f"{called[2]} is missing, longer than 255 characters or contains NUL; send who acts as text"
        )
    return Tenant(ids[0], ids[1], user)
