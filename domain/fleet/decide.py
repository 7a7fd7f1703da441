"""What operations, standing pauses and rules answer to a command: facts, silence for a repeat, or a refusal."""

from __future__ import annotations

from typing import assert_never
from uuid import UUID

from pydantic import ValidationError

from domain.errors import (
    FieldError,
    IdInUse,
    NotInThisState,
    NotSupported,
    OperationInvalid,
    OperationNotFound,
    PauseRuleNotFound,
    StandingPauseNotFound,
    VersionMoved,
)
from domain.fleet.commands import (
    VERBS,
    ArmPauseRule,
    BeginOperation,
    CancelOperation,
    DeletePauseRule,
    FleetCommand,
    ImposeStandingPause,
    PauseOperation,
    RemoveStandingPause,
    ReportDone,
    ReportListed,
    ResumeOperation,
    SetPauseRule,
    SetStandingPause,
    StartOperation,
    TripPauseRule,
    arguments_of,
)
from domain.fleet.events import (
    FleetEvent,
    OperationCancelled,
    OperationCompleted,
    OperationListed,
    OperationPaused,
    OperationResumed,
    OperationStarted,
    PauseRuleArmed,
    PauseRuleDeleted,
    PauseRuleSet,
    PauseRuleTripped,
    StandingPauseRemoved,
    StandingPauseSet,
)
from domain.fleet.rules import figures_of, message_of
from domain.fleet.subjects import (
    AnySubject,
    FleetRecorded,
    Operation,
    PauseRule,
    StandingPause,
    State,
    allowed,
    evolve,
    follow_up_id,
)
from domain.flow import Meta
from domain.flow_types import FlowTypes

MAKES = (StartOperation, SetStandingPause, SetPauseRule)
NOT_FOUND = {
    "operation_id": OperationNotFound,
    "standing_pause_id": StandingPauseNotFound,
    "pause_rule_id": PauseRuleNotFound,
}


class FleetStory:
    """A decision being told: each fact is added to the history, and the subject is what it makes of it."""

    def __init__(self, subject: AnySubject, meta: Meta, types: FlowTypes) -> None:
        self.subject = subject
        self.meta = meta
        self.types = types
        self.facts: list[FleetRecorded] = []

    def tell(self, fact: FleetEvent) -> None:
        recorded = FleetRecorded(self.subject.id, self.subject.version + 1, self.meta, fact)
        self.subject = evolve(self.subject, recorded)
        self.facts.append(recorded)


def decide(
    subject: AnySubject, command: FleetCommand, meta: Meta, types: FlowTypes, *, expected_version: int | None = None
) -> FleetStory:
    """What `command` brings about: the facts and the subject after them; no facts is silence.

    Raises a `Refused` error when the subject says no.
    """
    story = FleetStory(subject, meta, types)
    if isinstance(command, MAKES):
        if subject.exists:
            raise IdInUse
        _make(story, command)
        return story
    if not subject.exists or (subject.client_account_id, subject.engagement_id) != (
        meta.client_account_id,
        meta.engagement_id,
    ):
        raise NOT_FOUND[command.named]
    if expected_version is not None and expected_version != subject.version:
        raise VersionMoved(
            f"it is at version {subject.version}, not {expected_version}; read it again and decide anew",
            allowed=allowed(subject),
        )
    match subject:
        case Operation():
            _operation(story, subject, command)
        case StandingPause():
            _standing_pause(story, subject, command)
        case PauseRule():
            _pause_rule(story, subject, command)
        case _:  # pragma: no cover
            assert_never(subject)
    return story


def _make(story: FleetStory, command: StartOperation | SetStandingPause | SetPauseRule) -> None:
    if isinstance(command, StartOperation):
        _start(story, command)
        return
    _known_type(story.types, "flow_type", command.flow_type)
    if isinstance(command, SetPauseRule):
        story.tell(PauseRuleSet(**command.model_dump(exclude={"pause_rule_id"})))
        return
    cause = command.cause if isinstance(command, ImposeStandingPause) else None
    story.tell(StandingPauseSet(flow_type=command.flow_type, tag=command.tag, reason=command.reason, cause=cause))


def _start(story: FleetStory, command: StartOperation) -> None:
    if command.dry_run:
        raise NotSupported(
            "dry_run: ask for a dry run over HTTP (POST /api/v1/operations), which answers the flows",
            errors=[FieldError("dry_run", "is answered over HTTP only")],
        )
    check(command, story.meta.engagement_id, story.types)
    story.tell(
        OperationStarted(
            verb=command.verb,
            filter=command.filter.model_dump(mode="json", exclude_none=True, exclude_defaults=True),
            reason=command.reason,
            arguments=command.arguments,
            rate_per_second=command.rate_per_second,
            cause=command.cause if isinstance(command, BeginOperation) else None,
        )
    )


def check(command: StartOperation, engagement_id: UUID, types: FlowTypes) -> None:
    """Whether the operation could be started; raises OperationInvalid naming the fields that are wrong."""
    for name in command.filter.type or ():
        _known_type(types, "filter.type", name)
    asked = command.filter.engagement
    if asked is not None and asked != engagement_id:
        _wrong("filter.engagement", "is not that of the caller; ask in the name of that engagement")
    given = set(command.arguments) & {"flow_id", "reason"}
    if given:
        _wrong(
            f"arguments.{min(given)}", "does not belong here; flows come from the filter, the reason stands beside it"
        )
    fields = arguments_of(command.verb, command.arguments, command.reason)
    try:
        VERBS[command.verb].model_validate({**fields, "flow_id": command.operation_id})
    except ValidationError as error:
        errors = [FieldError(".".join(["arguments", *map(str, one["loc"])]), one["msg"]) for one in error.errors()]
        told = "; ".join(f"{one.field}: {one.message}" for one in errors[:3])
        raise OperationInvalid(f"{command.verb} does not take these arguments: {told}", errors=errors) from None


def _known_type(types: FlowTypes, field: str, name: str | None) -> None:
    if name is not None and name not in types.names():
        _wrong(field, f"{name} is no flow type; use one of {', '.join(types.names())}")


def _wrong(field: str, message: str) -> None:
    raise OperationInvalid(f"{field}: {message}", errors=[FieldError(field, message)])


def _operation(story: FleetStory, operation: Operation, command: FleetCommand) -> None:
    match command:
        case PauseOperation():
            if operation.state is not State.PAUSED:
                _must_be(operation, State.RUNNING)
                story.tell(OperationPaused(reason=command.reason))
        case ResumeOperation():
            _must_be(operation, State.PAUSED)
            story.tell(OperationResumed(reason=command.reason))
        case CancelOperation():
            if operation.state is not State.CANCELLED:
                _must_be(operation, State.RUNNING, State.PAUSED)
                story.tell(OperationCancelled(reason=command.reason))
        case ReportListed():
            if operation.under_way and operation.total is None:
                story.tell(OperationListed(total=command.total, position=command.position))
                if command.total > command.most:
                    said = f"the filter chooses {command.total} flows; one operation takes {command.most} at most"
                    story.tell(OperationCancelled(reason=said, error_code="too_many_flows"))
        case ReportDone():
            if operation.under_way:
                counts = {"accepted": command.accepted, "refused": command.refused, "parked": command.parked}
                story.tell(OperationCompleted(**counts))
        case _:  # pragma: no cover
            raise AssertionError(command)


def _standing_pause(story: FleetStory, pause: StandingPause, command: FleetCommand) -> None:
    assert isinstance(command, RemoveStandingPause)
    if pause.state is not State.REMOVED:
        resumes = follow_up_id(pause, "resume") if command.resume else None
        story.tell(StandingPauseRemoved(reason=command.reason, operation_id=resumes))


def _pause_rule(story: FleetStory, rule: PauseRule, command: FleetCommand) -> None:
    match command:
        case ArmPauseRule():
            if rule.state is not State.ARMED:
                _must_be(rule, State.TRIPPED)
                story.tell(PauseRuleArmed(reason=command.reason))
        case DeletePauseRule():
            if rule.state is not State.DELETED:
                story.tell(PauseRuleDeleted(reason=command.reason))
        case TripPauseRule():
            if rule.state is State.ARMED and rule.armed == command.armed:
                figures = figures_of(rule, command.figures)
                story.tell(
                    PauseRuleTripped(
                        figures=figures,
                        message=message_of(rule, figures),
                        standing_pause_id=None if rule.alert_only else follow_up_id(rule, "standing_pause"),
                        operation_id=follow_up_id(rule, "operation") if rule.pause_running else None,
                    )
                )
        case _:  # pragma: no cover
            raise AssertionError(command)


def _must_be(subject: AnySubject, *states: State) -> None:
    if subject.state not in states:
        raise NotInThisState(f"it is {subject.state}", allowed=allowed(subject))
