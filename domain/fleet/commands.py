"""What may be asked about many flows at once, and what the service itself reports (at the end; never taken from outside)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self
from uuid import UUID, uuid5

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from domain.commands import (
    CancelFlow,
    Command,
    Data,
    DeleteFlow,
    Moment,
    Name,
    PauseFlow,
    ResumeFlow,
    RetryFlow,
    RollbackFlow,
    SkipPhase,
    Tag,
    Text,
)
from domain.words import status_of

Json = dict[str, Any]

MOST_NAMED = 5000
LONGEST_WINDOW_SECONDS = 31 * 86_400

Verb = Literal["pause", "resume", "cancel", "retry", "skip", "delete", "rollback"]
# the command that each flow of an operation gets
VERBS: dict[str, type[Command]] = {
    "pause": PauseFlow,
    "resume": ResumeFlow,
    "cancel": CancelFlow,
    "retry": RetryFlow,
    "skip": SkipPhase,
    "delete": DeleteFlow,
    "rollback": RollbackFlow,
}
Reason = Annotated[Text | None, Field(description="Why; kept in the history.")]


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _statuses(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(status_of(name)) for name in names)


def _type_names(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_type_name(name) for name in names)


def _type_name(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")


OneOrMore = Annotated[tuple[Name, ...], BeforeValidator(_listed), Field(min_length=1, max_length=50)]
TypeName = Annotated[Name, AfterValidator(_type_name)]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class FlowFilter(_Shape):
    """Which of the tenant's flows are meant: those for which everything given holds. Deleted flows only by their status."""

    type: Annotated[OneOrMore, AfterValidator(_type_names)] | None = Field(
        default=None, description="One flow type, or a list."
    )
    status: Annotated[OneOrMore, AfterValidator(_statuses)] | None = Field(
        default=None, description="One status, or a list; aliases are taken."
    )
    tag: Tag | None = None
    phase: Name | None = Field(default=None, description="The phase in hand, or the next one.")
    engagement: UUID | None = Field(default=None, description="The tenant's own engagement: all of its flows.")
    created_after: Moment | None = None
    created_before: Moment | None = None
    standing_pause_id: UUID | None = Field(
        default=None, description="Those that stand paused because of this standing pause."
    )
    flow_ids: tuple[UUID, ...] | None = Field(default=None, min_length=1, max_length=MOST_NAMED)
    all: bool = Field(default=False, strict=True, description="Every flow; wanted where nothing else is given.")

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) not in (None, False)]
        if not given:
            raise ValueError('say which flows, or {"all": true}')
        if self.all and len(given) > 1:
            raise ValueError("all goes alone; leave it out to narrow the choice")
        return self


class FleetCommand(_Shape):
    """A request about one operation, standing pause or rule, which may refuse it."""

    named: ClassVar[str]

    @property
    def subject_id(self) -> UUID:
        """What is asked."""
        subject: UUID = getattr(self, self.named)
        return subject


# operations


class OperationCommand(FleetCommand):
    """A request about one operation."""

    named = "operation_id"

    operation_id: UUID = Field(description="The operation that is asked.")


class StartOperation(OperationCommand):
    """Ask the same of every flow that a filter chooses."""

    verb: Verb
    filter: FlowFilter
    reason: Reason = None
    arguments: Data = Field(
        default_factory=dict, description="What the verb takes beside the reason, as in its own call for one flow."
    )
    rate_per_second: float | None = Field(
        default=None,
        gt=0,
        le=100_000,
        strict=True,
        allow_inf_nan=False,
        description="At most so many flows a second; left out: as fast as they are taken.",
    )
    dry_run: bool = Field(
        default=False, strict=True, description="Over HTTP: answer which flows would be asked, and ask none."
    )


class BeginOperation(StartOperation):
    """The service: an operation that follows from something else (`cause`)."""

    cause: Json


class PauseOperation(OperationCommand):
    """Ask no further flow until it is resumed."""

    reason: Reason = None


class ResumeOperation(OperationCommand):
    """Go on with the flows that are left."""

    reason: Reason = None


class CancelOperation(OperationCommand):
    """Ask none of the flows that are left; what was asked stands."""

    reason: Reason = None


class ReportListed(OperationCommand):
    """The service: these many flows were chosen, by the read model as of this place in the log. `most`: that may be."""

    total: int
    position: str
    most: int


class ReportDone(OperationCommand):
    """The service: every flow has been asked."""

    accepted: int
    refused: int
    parked: int


# standing pauses


class StandingPauseCommand(FleetCommand):
    """A request about one standing pause."""

    named = "standing_pause_id"

    standing_pause_id: UUID = Field(description="The standing pause that is asked.")


class SetStandingPause(StandingPauseCommand):
    """Let new flows of a type, with a tag, or of the whole engagement begin paused."""

    flow_type: TypeName | None = Field(default=None, description="New flows of this type.")
    tag: Tag | None = Field(default=None, description="New flows with this tag; with a type: of both.")
    all: bool = Field(default=False, strict=True, description="Every new flow of the engagement.")
    reason: Reason = None

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if self.all == (self.flow_type is not None or self.tag is not None):
            raise ValueError("give flow_type, tag or both, or all: true alone")
        return self


class ImposeStandingPause(SetStandingPause):
    """The service: a standing pause that follows from something else (`cause`)."""

    cause: Json


class RemoveStandingPause(StandingPauseCommand):
    """Let new flows begin as they would. Those that it holds stay paused, unless they are to be resumed."""

    resume: bool = Field(default=False, description="Resume the flows that it holds, by an operation.")
    reason: Reason = None


# rules


class PauseRuleCommand(FleetCommand):
    """A request about one rule."""

    named = "pause_rule_id"

    pause_rule_id: UUID = Field(description="The rule that is asked.")


class SetPauseRule(PauseRuleCommand):
    """Pause by itself when a figure of the tenant's flows passes a limit. It counts from when it is made or armed."""

    flow_type: TypeName | None = Field(default=None, description="Flows of this type; left out: all of the engagement.")
    measure: Literal["error_rate", "tokens", "flows_begun", "slow_runs"] = Field(
        description="error_rate: failed attempts among the attempts of phases that ended; tokens: `total_tokens` in the resource"
        " usage of completed phases; flows_begun: flows created; slow_runs: runs of phases that completed, but took longer"
        " than `slower_than_seconds`."
    )
    limit: float = Field(
        gt=0,
        le=1e15,
        allow_inf_nan=False,
        description="It trips above this (error_rate: a part of 1, below 1), or when so many flows were begun, or so many runs"
        " were slow.",
    )
    window_seconds: int = Field(
        default=600,
        ge=60,
        le=LONGEST_WINDOW_SECONDS,
        strict=True,
        description="What is counted: the last so many seconds.",
    )
    at_least: int = Field(
        default=10, ge=1, le=1_000_000, strict=True, description="error_rate: not before so many attempts ended."
    )
    pause_running: bool = Field(
        default=False, strict=True, description="Also pause the flows that are there, by an operation."
    )
    alert_only: bool = Field(
        default=False, strict=True, description="Pause nothing: the event PauseRuleTripped is all that follows."
    )
    slower_than_seconds: float | None = Field(
        default=None, gt=0, le=1e9, allow_inf_nan=False, description="slow_runs, and only there: what counts as slow."
    )
    reason: Reason = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.measure == "error_rate" and self.limit >= 1:
            raise ValueError("limit of an error_rate is a part of 1, such as 0.5")
        if (self.measure == "slow_runs") is (self.slower_than_seconds is None):
            raise ValueError("slower_than_seconds and the measure slow_runs need each other")
        if self.alert_only and self.pause_running:
            raise ValueError("alert_only pauses nothing; leave out pause_running")
        return self


class ArmPauseRule(PauseRuleCommand):
    """Let a rule that has tripped watch again, counting anew. What it paused stays paused."""

    reason: Reason = None


class DeletePauseRule(PauseRuleCommand):
    """Let the rule watch no more. What it paused stays paused."""

    reason: Reason = None


class TripPauseRule(PauseRuleCommand):
    """The service: the figure has passed its limit. `armed` is the version since which was counted."""

    armed: int
    figures: Json


def new_id(kind: type[FleetCommand], client_account_id: UUID, command_id: str) -> UUID:
    """The id of what was not given one: the same for the same command."""
    return uuid5(client_account_id, f"{kind.named.removesuffix('_id')}:{command_id}")


def flow_command_id(operation_id: UUID, flow_id: UUID) -> str:
    """The id of the one command that a flow gets from an operation, whoever sends it and however often."""
    return str(uuid5(operation_id, str(flow_id)))


def arguments_of(verb: str, arguments: Json, reason: str | None) -> Json:
    """The fields of a verb's command beside the flow's id; not every one of them takes a reason."""
    takes_reason = "reason" in VERBS[verb].model_fields
    return arguments | ({"reason": reason} if takes_reason and reason is not None else {})


# what makes something new, and may come without an id
MAKING: tuple[type[FleetCommand], ...] = (StartOperation, SetStandingPause, SetPauseRule)
PUBLIC_FLEET: dict[str, type[FleetCommand]] = {
    command.__name__: command
    for command in (
        StartOperation,
        PauseOperation,
        ResumeOperation,
        CancelOperation,
        SetStandingPause,
        RemoveStandingPause,
        SetPauseRule,
        ArmPauseRule,
        DeletePauseRule,
    )
}
INTERNAL_FLEET: dict[str, type[FleetCommand]] = {
    command.__name__: command
    for command in (BeginOperation, ReportListed, ReportDone, ImposeStandingPause, TripPauseRule)
}
